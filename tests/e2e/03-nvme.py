#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
# gasthaus-test: short 400
"""Linux's own NVMe driver on our controller, on the software CPU with two processors: a queue for each,
large and small transfers, flush, write zeroes, TRIM that empties the image, MSI-X, and a clean kernel log."""
import hashlib
import os
import shutil
import tempfile

from guestlib import check, linux

folder = tempfile.mkdtemp(prefix="gh-nvme-")
disk = f"{folder}/disk.img"
pattern = os.urandom(1 << 20)
with open(disk, "wb") as f:
    f.write(pattern)
    f.truncate(32 << 20)

vm = linux("nvme", "gh.modules=nvme,button loglevel=4", "--disk", f"{disk},format=raw,bus=nvme", cpus=2)
vm.expect(r"GUEST-READY", 300)


def ask(command, pattern, timeout=90):
    start = len(vm.text)
    vm.send(command + "\n")
    return vm.expect(pattern, timeout, after=start)


ask("for i in 1 2 3 4 5 6 7 8 9; do [ -e /dev/nvme0n1 ] && break; sleep 1; done; cd /sys/block/nvme0n1;"
    " echo size-$(cat size)-$(cat queue/logical_block_size)-$(cat queue/minimum_io_size)-$(cat queue/write_cache | tr ' ' _)-end",
    r"^size-65536-512-4096-write_back-end")
check(True, "the namespace has its size, sectors and write cache")
ask("echo queues-$(ls mq | wc -l)-$(cat /sys/class/nvme/nvme0/model | tr -d ' ')-end", r"^queues-2-GasthausDisk-end")
check(True, "each processor has its queue")
ask("echo read-$(dd if=/dev/nvme0n1 bs=1M count=1 2>/dev/null | md5sum | cut -c1-32)", "^read-" + hashlib.md5(pattern).hexdigest())
check(True, "the guest reads what the host wrote")
ask("dd if=/dev/urandom of=/data bs=64k count=128 2>/dev/null;"
    " for i in 0 1 2 3; do (dd if=/data of=/dev/nvme0n1 bs=4k seek=$((4096 + i * 512)) skip=$((i * 512)) count=512 conv=fsync 2>/dev/null) & done; wait;"
    " echo sum-$(md5sum < /data | cut -c1-32)-end", r"^sum-[0-9a-f]{32}-end")
written = vm.text[vm.text.rindex("\nsum-") + 5:][:32]
with open(disk, "rb") as f:
    f.seek(16 << 20)
    check(hashlib.md5(f.read(8 << 20)).hexdigest() == written, "the host finds what four writers at once wrote and flushed")
used = os.stat(disk).st_blocks * 512
ask("echo trim-$(blkdiscard -o 16777216 -l 4194304 /dev/nvme0n1; echo $?)-$(blkdiscard -z -o 20971520 -l 4194304 /dev/nvme0n1; echo $?)-end",
    r"^trim-0-\d+-end")
check(os.stat(disk).st_blocks * 512 <= used - (4 << 20), "TRIM gives the image's space back while the guest runs")
ask("echo zeros-$(dd if=/dev/nvme0n1 bs=1M skip=16 count=4 2>/dev/null | tr -d '\\0' | wc -c)-end", r"^zeros-0-end")
check(True, "what was trimmed reads as zeros")
ask("echo msix-$(grep -c 'PCI-MSI.*nvme0q' /proc/interrupts)-end", r"^msix-3-end")
check(True, "it interrupts by MSI-X, one message a queue")
ask("echo errors-$(dmesg | grep -i -E 'nvme.*(error|fail|timeout|abort|reset)' | wc -l)-end", r"^errors-0-end")
check(True, "the kernel saw no errors")
vm.send("poweroff -f\n")
check(vm.wait(60) == 0, "the guest powers off, after an orderly shutdown of the controller")
shutil.rmtree(folder)
