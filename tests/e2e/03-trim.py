#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
# gasthaus-test: short 500
"""Deleted data gives its space back while the guest runs: each format that guests write to, on each bus, is
filled and then trimmed by Linux; the images shrink, the rest of the data stays, and they check clean."""
import hashlib
import os
import shutil
import subprocess
import tempfile
import time

from guestlib import BUILD, check, linux

IMAGE = f"{BUILD}/src/image-tool/gasthaus-image"
folder = tempfile.mkdtemp(prefix="gh-trim-", dir="/var/tmp")
disks = [("raw", "virtio", "/dev/vda"), ("qcow2", "virtio", "/dev/vdb"), ("vdi", "ahci", "/dev/sda"), ("vhd", "ahci", "/dev/sdb"),
         ("qcow2", "nvme", "/dev/nvme0n1"), ("vmdk", "ide", None)]
args, files = [], []
for i, (form, bus, _) in enumerate(disks):
    path = f"{folder}/{i}.{form}"
    subprocess.run([IMAGE, "create", path, "48M", "--to", form], check=True, stdout=subprocess.DEVNULL)
    args += ["--disk", f"{path},format={form},bus={bus}"]
    files.append(path)


def used(path):
    return os.stat(path).st_blocks * 512


vm = linux("trim", "gh.modules=virtio_pci,virtio_blk,ahci,sd_mod,nvme,ata_piix,button loglevel=4", *args)
vm.expect(r"GUEST-READY", 300)


def ask(command, pattern, timeout=120):
    start = len(vm.text)
    vm.send(command + "\n")
    return vm.expect(pattern, timeout, after=start)


ask("for i in 1 2 3 4 5 6 7 8 9; do [ -e /dev/sdb -a -e /dev/nvme0n1 ] && break; sleep 1; done; dd if=/dev/urandom of=/data bs=1M count=24 2>/dev/null;"
    " echo data-$(md5sum < /data | cut -c1-32)-end", r"^data-([0-9a-f]{32})-end")
# The kernel numbers SCSI disks as it finds them: the IDE one is the one that is neither AHCI's first nor second.
ask("for d in /sys/block/sd?; do echo where-${d##*/}-$(readlink -f $d | grep -o 'ata[0-9]*' | head -1)-$(readlink -f $d/device/../../../.. | sed 's/.*0000:00:\\([0-9a-f.]*\\).*/\\1/')-; done; echo shown",
    r"^shown")
names = {}
for line in vm.text.splitlines():
    if line.startswith("where-") and line.count("-") >= 3:
        _, name, _, address, *_ = line.split("-")
        names.setdefault("ide" if address == "01.1" else "ahci", []).append("/dev/" + name)
ahci = iter(sorted(names["ahci"]))
nodes = [node if node and not node.startswith("/dev/sd") else next(ahci) if bus == "ahci" else names["ide"][0] if bus == "ide" else node
         for form, bus, node in disks]
for (form, bus, _), node, path in zip(disks, nodes, files):
    ask(f"dd if=/data of={node} bs=1M seek=8 conv=fsync 2>/dev/null; echo wrote-$?-end", r"^wrote-0-end")
    full = used(path)
    check(full >= 24 << 20, f"{form} on {bus} holds what was written: {full >> 20} MiB")
    # Not on the borders of any format's clusters: 16 MiB and a little, from 12 MiB and a little on.
    ask(f"blkdiscard -o {(12 << 20) + 12288} -l {16 << 20} {node}; sync; echo trimmed-$?-end", r"^trimmed-0-end")
    for _ in range(20):
        if used(path) <= full - (15 << 20):
            break
        time.sleep(0.2)
    check(used(path) <= full - (15 << 20), f"{form} on {bus} shrank while running: {used(path) >> 20} MiB")
    ask(f"echo same-$( (dd if={node} bs=1M skip=8 count=4; dd if={node} bs=4k skip={(28 << 8) + 3} count={(4 << 8) - 3}) 2>/dev/null | md5sum | cut -c1-8)"
        f"-$( (dd if=/data bs=1M count=4; dd if=/data bs=4k skip={(20 << 8) + 3} count={(4 << 8) - 3}) 2>/dev/null | md5sum | cut -c1-8)-end", r"^same-([0-9a-f]{8})-\1-end")
    check(True, f"{form} on {bus} kept what was not trimmed")
vm.send("poweroff -f\n")
check(vm.wait(60) == 0, "the guest powers off")
for (form, bus, _), path in zip(disks, files):
    p = subprocess.run([IMAGE, "check", path], capture_output=True, text=True)
    check(p.returncode == 0, f"{form} checks clean afterwards")
shutil.rmtree(folder)
