#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
# gasthaus-test: short 300
"""The BIOS boots from every bus, each with another image format: its own driver reads and writes through INT 13h,
and the host finds in the image what was written. CD drives on IDE and AHCI boot too."""
import os
import shutil
import struct
import subprocess
import tempfile

from guestlib import BUILD, TOP, VM, Process, check, skip

if not shutil.which("nasm"):
    skip("nasm is not installed")
IMAGE = f"{BUILD}/src/image-tool/gasthaus-image"
folder = tempfile.mkdtemp(prefix="gh-disk-boot-")
subprocess.run(["nasm", "-f", "bin", f"{TOP}/tests/e2e/disk-boot.asm", "-o", f"{folder}/boot"], check=True)
words = b"".join(struct.pack("<H", i) for i in range(64 * 256))
raw = bytearray(16 << 20)
raw[:512] = open(f"{folder}/boot", "rb").read()
raw[128 * 512:192 * 512] = words
with open(f"{folder}/source.raw", "wb") as f:
    f.write(raw)
for bus, form in (("ide", "vhd"), ("ahci", "vdi"), ("nvme", "qcow2"), ("virtio", "vmdk"), ("ahci", "raw")):
    disk = f"{folder}/{bus}.{form}"
    subprocess.run([IMAGE, "convert", f"{folder}/source.raw", disk, "--from", "raw", "--to", form], check=True, stdout=subprocess.DEVNULL)
    vm = Process([VM, "--accel", "soft", "--memory", "64M", "--disk", f"{disk},format={form},bus={bus}", "--boot", "c", "--serial", "stdio"],
                 f"disk-boot-{bus}-{form}")
    for word in ("hi", "read ok", "write ok", "back ok"):
        vm.expect(f"^{word}$", 60)
    check(vm.wait(30) == 67, f"{form} on {bus}: booted, read, wrote and read back through the BIOS")
    subprocess.run([IMAGE, "convert", disk, f"{folder}/out.raw", "--from", form, "--to", "raw", "--force"], check=True, stdout=subprocess.DEVNULL)
    with open(f"{folder}/out.raw", "rb") as f:
        after = f.read()
    want = bytearray(raw)
    want[4096 * 512:4160 * 512] = bytes(b ^ 0xff for b in words)
    check(after[:len(raw)] == bytes(want), f"{form} on {bus}: the image holds that and nothing else changed")
for bus in ("ide", "ahci"):
    vm = Process([VM, "--accel", "soft", "--memory", "256M", "--cdrom", f"/usr/lib/grub-rescue/grub-rescue-cdrom.iso,bus={bus}", "--boot", "d",
                  "--debugcon", "stderr"], f"cd-boot-{bus}")
    vm.expect(r"Booting from DVD/CD", 60)
    vm.expect(r"Booting from 0000:7c00", 60)
    vm.kill()
    check(True, f"a CD on {bus} boots")
shutil.rmtree(folder)
