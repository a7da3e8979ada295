#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
# gasthaus-test: short 1200
"""Random descriptors, gates, tasks, returns and V86 code: our software CPU line by line against Bochs."""
import os
import subprocess
import sys

from guestlib import BUILD, VM

here = os.path.dirname(os.path.abspath(__file__))
rounds, cases = (25, 20000) if os.environ.get("GH_ALL") else (2, 5000)
r = subprocess.run([sys.executable, os.path.join(here, "../cpu/systest/compare.py"), f"{BUILD}/tests/cpu/sys.img", VM,
                    "--cases", str(cases), "--seed", "1000", "--rounds", str(rounds)])
sys.exit(r.returncode)
