#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
# gasthaus-test: short 400
"""Linux's own virtio drivers on our devices, on the software CPU: disk contents on both sides, random
numbers, console output, input devices, MSI-X, ACPI tables and the orderly end."""
import hashlib
import os
import shutil
import tempfile

from guestlib import check, linux

folder = tempfile.mkdtemp(prefix="gh-virtio-")
disk = f"{folder}/disk.img"
pattern = os.urandom(1 << 20)
with open(disk, "wb") as f:
    f.write(pattern)
    f.truncate(8 << 20)

vm = linux("virtio", "quiet gh.modules=virtio_pci,virtio_blk,virtio-rng,virtio_console,virtio_input,evdev,qemu_fw_cfg,button",
           "--disk", f"{disk},format=raw,bus=virtio", "--device", "virtio-rng,id=rng0", "--device", "virtio-tablet,id=tablet0",
           "--device", "virtio-keyboard,id=keyboard0", "--device", "virtio-console,id=console0")
vm.expect(r"GUEST-READY", 240)


def ask(command, pattern, timeout=60):
    start = len(vm.text)
    vm.send(command + "\n")
    return vm.expect(pattern, timeout, after=start)


ask("echo size-$(cat /sys/block/vda/size)", r"^size-16384")
check(True, "the disk has its size")
ask("echo read-$(dd if=/dev/vda bs=64k count=16 2>/dev/null | md5sum | cut -c1-32)",
    "^read-" + hashlib.md5(pattern).hexdigest())
check(True, "the guest reads what the host wrote")
ask("dd if=/dev/urandom of=/data bs=64k count=32 2>/dev/null; dd if=/data of=/dev/vda bs=64k seek=64 conv=fsync 2>/dev/null;"
    " echo sum-$(md5sum < /data | cut -c1-32)-end", r"^sum-[0-9a-f]{32}-end")
written = vm.text[vm.text.rindex("\nsum-") + 5:][:32]
with open(disk, "rb") as f:
    f.seek(4 << 20)
    check(hashlib.md5(f.read(2 << 20)).hexdigest() == written, "the host finds what the guest wrote and flushed")
ask("echo rng-$(cat /sys/class/misc/hw_random/rng_current)-$(dd if=/dev/hwrng bs=64 count=1 2>/dev/null | wc -c)",
    r"^rng-virtio_rng\.0-64")
check(True, "random numbers come from the virtio device")
ask("echo through the console > /dev/hvc0; echo hvc-$?", r"^hvc-0")
check(True, "the console takes output")
ask("echo input-$(grep -c -E 'Gasthaus (Tablet|Keyboard)' /proc/bus/input/devices)", r"^input-2")
check(True, "tablet and keyboard are there")
ask("echo msix-$(grep -c 'PCI-MSI.*virtio' /proc/interrupts)-end", r"^msix-1[0-9]-end")
check(True, "they interrupt by MSI-X")
ask("echo dmi-$(cat /sys/class/dmi/id/product_name)-$(ls /sys/firmware/acpi/tables | tr '\\n' ' ')", r"^dmi-Gasthaus-APIC DSDT FACP FACS HPET WAET")
check(True, "SMBIOS and ACPI tables are there")
ask("echo errors-$(dmesg | grep -c -i -E 'acpi (bios )?(error|exception|warning)')-end", r"^errors-0-end")
check(True, "the kernel has no complaint about ACPI")
vm.send("poweroff -f\n")
check(vm.wait(60) == 0, "the guest powers off by ACPI")
shutil.rmtree(folder)
