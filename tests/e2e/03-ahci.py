#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
# gasthaus-test: short 400
"""Linux's own AHCI driver on our controller, on the software CPU: two disks and a CD drive; queued
reads and writes, flush, TRIM that empties the image, MSI, and a clean kernel log."""
import hashlib
import os
import shutil
import tempfile

from guestlib import check, linux

folder = tempfile.mkdtemp(prefix="gh-ahci-")
disk, second, cd = f"{folder}/disk.img", f"{folder}/second.img", f"{folder}/cd.iso"
pattern = os.urandom(1 << 20)
with open(disk, "wb") as f:
    f.write(pattern)
    f.truncate(16 << 20)
with open(second, "wb") as f:
    f.truncate(8 << 20)
with open(cd, "wb") as f:
    f.write(os.urandom(512 << 10))

vm = linux("ahci", "gh.modules=ahci,sd_mod,sr_mod,button loglevel=4", "--disk", f"{disk},format=raw,bus=ahci",
           "--disk", f"{second},format=raw,bus=ahci", "--cdrom", f"{cd},bus=ahci")
vm.expect(r"GUEST-READY", 240)


def ask(command, pattern, timeout=90):
    start = len(vm.text)
    vm.send(command + "\n")
    return vm.expect(pattern, timeout, after=start)


ask("for i in 1 2 3 4 5 6 7 8 9; do [ -e /dev/sdb -a -e /dev/sr0 ] && break; sleep 1; done;"
    " echo size-$(cat /sys/block/sda/size)-$(cat /sys/block/sdb/size)-$(cat /sys/block/sr0/size)-end", r"^size-32768-16384-1024-end")
check(True, "two disks and a CD have their sizes")
ask("echo depth-$(cat /sys/block/sda/device/queue_depth)-end", r"^depth-(3[12])-end")
check(True, "commands are queued natively")
ask("echo read-$(dd if=/dev/sda bs=64k count=16 2>/dev/null | md5sum | cut -c1-32)", "^read-" + hashlib.md5(pattern).hexdigest())
check(True, "the guest reads what the host wrote")
ask("echo cd-$(md5sum < /dev/sr0 | cut -c1-32)", "^cd-" + hashlib.md5(open(cd, "rb").read()).hexdigest())
check(True, "the CD reads through packets")
ask("dd if=/dev/urandom of=/data bs=64k count=64 2>/dev/null;"
    " for i in 0 1 2 3; do (dd if=/data of=/dev/sda bs=4k seek=$((2048 + i * 256)) skip=$((i * 256)) count=256 conv=fsync 2>/dev/null) & done; wait;"
    " echo sum-$(md5sum < /data | cut -c1-32)-end", r"^sum-[0-9a-f]{32}-end")
written = vm.text[vm.text.rindex("\nsum-") + 5:][:32]
with open(disk, "rb") as f:
    f.seek(8 << 20)
    check(hashlib.md5(f.read(4 << 20)).hexdigest() == written, "the host finds what four writers at once wrote and flushed")
used = os.stat(disk).st_blocks * 512
ask("echo trim-$(cat /sys/block/sda/queue/discard_granularity)-$(blkdiscard -o 8388608 -l 4194304 /dev/sda; echo $?)-end", r"^trim-4096-0-end")
check(os.stat(disk).st_blocks * 512 <= used - (4 << 20), "TRIM gives the image's space back while the guest runs")
ask("echo zeros-$(dd if=/dev/sda bs=1M skip=8 count=4 2>/dev/null | tr -d '\\0' | wc -c)-end", r"^zeros-0-end")
check(True, "what was trimmed reads as zeros")
ask("echo msi-$(grep -c 'PCI-MSI.*ahci' /proc/interrupts)-end", r"^msi-1-end")
check(True, "it interrupts by MSI")
ask("echo errors-$(dmesg | grep -i -E 'ata[0-9].*(error|fail|exception|reset|frozen)' | grep -v -i 'hardreset' | wc -l)-end", r"^errors-0-end")
check(True, "the kernel saw no errors")
vm.send("poweroff -f\n")
check(vm.wait(60) == 0, "the guest powers off")
shutil.rmtree(folder)
