#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
# gasthaus-test: long 7200
"""Ten million random instructions and sequences against the host's processor, on each tier of the software CPU."""
import os
import subprocess

from guestlib import BUILD, check, skip

program = f"{BUILD}/tests/cpu/difftest/difftest"
if not os.path.exists(program):
    skip("the differential test was not built")
for engine, cases, seed in (("interp", 3000000, 11), ("blocks", 2000000, 12), ("jit", 5000000, 13)):
    p = subprocess.run(["nice", program, "--engine", engine, "--cases", str(cases), "--seed", str(seed)], stdout=subprocess.PIPE, text=True)
    print(p.stdout[-4000:], flush=True)
    check(p.returncode == 0, f"{engine}: {cases} cases, none differs")
