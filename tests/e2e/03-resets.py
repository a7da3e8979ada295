#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
# gasthaus-test: short 400
"""A machine with two processors is reset a dozen times at any moment, in firmware, loader and kernel, and Linux
boots again."""
import os
import random
import tempfile
import time

from guestlib import Alone, check, guest

g = guest("linux")
seed = int(time.time())
print(f"seed {seed}")
moments = random.Random(seed)
with tempfile.TemporaryDirectory(prefix="gh-resets-") as folder:
    line = f"{folder}/line"
    with Alone("resets", "--kernel", f"{g}/vmlinuz", "--initrd", f"{g}/initrd.gz", "--append", "console=ttyS0 quiet gh.test=heartbeat",
               "--serial", f"file:{line}", memory="256M", cpus=2) as vm:
        for _ in range(12):
            time.sleep(moments.choice([0.05, 0.3, 1, 2, 4]))
            vm.ask("reset")
        before, text, deadline = os.path.getsize(line), b"", time.time() + 240
        while b"HEARTBEAT 3" not in text and time.time() < deadline:
            time.sleep(1)
            with open(line, "rb") as f:
                f.seek(before)
                text = f.read()
        check(b"HEARTBEAT 3" in text, "after the last of 12 resets Linux comes up")
        check(vm.ask("status")["ok"]["state"] == "running", "and the machine runs")
