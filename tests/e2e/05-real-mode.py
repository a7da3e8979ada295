#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
# gasthaus-test: short 1200
"""Random instructions of a 386 in real mode, to the ends of segments and over them: our software CPU line by line
against Bochs."""
import os
import subprocess
import sys

from guestlib import BUILD, VM

here = os.path.dirname(os.path.abspath(__file__))
rounds, cases = (20, 10000) if os.environ.get("GH_ALL") else (1, 3000)
r = subprocess.run([sys.executable, os.path.join(here, "../cpu/systest/compare.py"), f"{BUILD}/tests/cpu/real.img", VM,
                    "--cases", str(cases), "--seed", "7000", "--rounds", str(rounds)])
sys.exit(r.returncode)
