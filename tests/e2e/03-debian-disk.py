#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
# gasthaus-test: long 1500
"""A Debian 12 disk boots from IDE through GRUB to its login prompt on the screen; typed keys log in and write a
file; the ACPI power button shuts it down; the file is in the image afterwards."""
import re
import subprocess
import time

from guestlib import Engine, check, guest

PARTITION = 2048 * 512
image = guest("disk") + "/disk.img"
with Engine("debian") as e:
    e.ctl("create", "debian", "--memory", "1G", "--disk", "1536M", "--disk-format", "raw", "--accel", "soft", "--boot", "c")
    disk = e.json("show", "debian")["disks"][0]["file"]
    subprocess.run(["cp", "--sparse=always", image, disk], check=True)
    e.ctl("start", "debian")
    _, shot = e.wait_text("debian", r"^gasthaus login:", 700)
    check(True, f"the login prompt is on the screen: {shot}")
    time.sleep(8) # getty throws away what was typed before it reads
    e.ctl("type", "debian", "root\\n")
    e.wait_text("debian", r"Pass.ord:", 90) # some glyphs of the kernel are not the BIOS's
    time.sleep(2)
    e.ctl("type", "debian", "gasthaus\\n")
    e.wait_text("debian", r"^root@gasthaus:.#", 120)
    check(True, "typed keys log in")
    e.ctl("type", "debian", "echo written-$((6 * 7)) > /root/x && echo Done\\n")
    _, shot = e.wait_text("debian", r"^Done$", 60)
    check(True, f"a file is written by a typed command: {shot}")
    e.ctl("shutdown", "debian")
    e.wait_state("debian", "off", 240)
    check(True, "the power button ends the machine through the guest's own shutdown")
    p = subprocess.run(["debugfs", "-R", "cat /root/x", f"{disk}?offset={PARTITION}"], capture_output=True, text=True)
    check(p.stdout == "written-42\n", f"the file is in the image: {p.stdout.strip()}")
    p = subprocess.run(["dumpe2fs", "-h", f"{disk}?offset={PARTITION}"], capture_output=True, text=True)
    check(re.search(r"Filesystem state:\s+clean$", p.stdout, re.M) and "needs_recovery" not in p.stdout,
          "the file system was unmounted cleanly")
