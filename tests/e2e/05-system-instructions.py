#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
# gasthaus-test: short 600
"""Random descriptors, gates, tasks, returns and V86 code: our software CPU line by line against Bochs."""
import os
import subprocess
import sys

from guestlib import BUILD, VM

here = os.path.dirname(os.path.abspath(__file__))
rounds = 25 if os.environ.get("GH_ALL") else 2
r = subprocess.run([sys.executable, os.path.join(here, "../cpu/systest/compare.py"), f"{BUILD}/tests/cpu/sys.img", VM,
                    "--cases", "20000", "--seed", "1000", "--rounds", str(rounds)])
sys.exit(r.returncode)
