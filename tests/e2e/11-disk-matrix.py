#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
# gasthaus-test: long 14000
"""A Debian 12 disk boots from every bus and every writable format, through the BIOS's own driver, GRUB, the kernel's
driver and systemd to a login; logged in, it writes files with known sums, drops its caches, reads them back and shuts
down. Afterwards the image checks clean and its file system too.

  11-disk-matrix.py [BUS:FORMAT]...    only these
"""
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

from guestlib import BUILD, Alone, check, guest

IMAGE = f"{BUILD}/src/image-tool/gasthaus-image"
BUSES, FORMATS = ("ide", "ahci", "nvme", "virtio"), ("vdi", "vmdk", "vhd", "qcow2", "raw")
PARTITION = 2048 * 512
cases = [tuple(a.split(":")) for a in sys.argv[1:]] or [(b, f) for f in FORMATS for b in BUSES]
source = guest("disk") + "/disk.img"
folder = tempfile.mkdtemp(prefix="gh-matrix-", dir=os.environ.get("TMPDIR", "/var/tmp"))
# Written and read through the page cache and past it, in sizes that are no format's cluster.
SCRIPT = ("cd /root; dd if=/dev/urandom of=a bs=1000 count=20000 2>/dev/null; cp a b; split -b 70000 b p.; cat p.* > c; sync; "
          "echo 3 > /proc/sys/vm/drop_caches; cmp a c \\&\\& cmp a b \\&\\& rm p.* b \\&\\& fstrim -v / > /dev/null; sync; md5sum < a > s; "
          "md5sum < c | cmp - s \\&\\& echo Do''ne\\n")
for bus, form in cases:
    begin = time.time()
    disk = f"{folder}/disk.{form}"
    if form == "raw":
        subprocess.run(["cp", "--sparse=always", source, disk], check=True)
    else:
        subprocess.run([IMAGE, "convert", source, disk, "--from", "raw", "--to", form, "--force"], check=True, stdout=subprocess.DEVNULL)
    with Alone(f"matrix-{bus}-{form}", "--disk", f"{disk},format={form},bus={bus}", memory="512M") as vm:
        vm.wait_text(r"^gasthaus login:", 900, 4)
        time.sleep(8)                       # getty throws away what was typed before it reads
        vm.type("root\n")
        vm.wait_text(r"Pass.ord:", 120, 2)
        time.sleep(2)
        vm.type("gasthaus\n")
        vm.wait_text(r"^root@gasthaus:.#", 180, 2)
        vm.type(SCRIPT.replace("\\&", "&").replace("\\n", "\n"))
        vm.wait_text(r"^Done$", 400, 3)
        vm.type("poweroff\n")
        status = vm.p.wait(300)
    check(status == 0, f"{form} on {bus}: Debian booted, verified 60 MB of its writes and shut down")
    p = subprocess.run([IMAGE, "check", disk], capture_output=True, text=True)
    check(p.returncode == 0, f"{form} on {bus}: the image checks clean")
    raw = disk
    if form != "raw":
        raw = f"{folder}/out.raw"
        subprocess.run([IMAGE, "convert", disk, raw, "--from", form, "--to", "raw", "--force"], check=True, stdout=subprocess.DEVNULL)
    p = subprocess.run(["dumpe2fs", "-h", f"{raw}?offset={PARTITION}"], capture_output=True, text=True)
    check(re.search(r"Filesystem state:\s+clean$", p.stdout, re.M) and "needs_recovery" not in p.stdout,
          f"{form} on {bus}: the file system was unmounted cleanly")
    sums = [subprocess.run(["debugfs", "-R", f"cat /root/{name}", f"{raw}?offset={PARTITION}"], capture_output=True).stdout for name in "acs"]

    check(len(sums[0]) == 20000000 and sums[0] == sums[1] and hashlib.md5(sums[0]).hexdigest() == sums[2][:32].decode(),
          f"{form} on {bus}: the host finds the files whole ({time.time() - begin:.0f} s)")
    os.unlink(disk)
shutil.rmtree(folder)
