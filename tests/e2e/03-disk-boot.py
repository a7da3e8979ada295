#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
# gasthaus-test: short 600
"""The BIOS boots from every bus, each with another image format: its own driver reads and writes through INT 13h,
and the host finds in the image what was written. The same on KVM, where virtio's kicks arrive by eventfd. CD drives on
IDE and AHCI boot too."""
import os
import shutil
import struct
import subprocess
import tempfile
import time

from guestlib import BUILD, TOP, VM, Alone, Process, check, skip

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
kvm = os.access("/dev/kvm", os.R_OK | os.W_OK)
cases = [("soft", b, f) for b, f in (("ide", "vhd"), ("ahci", "vdi"), ("nvme", "qcow2"), ("virtio", "vmdk"), ("ahci", "raw"))]
if kvm:
    cases += [("kvm", b, f) for b, f in (("ide", "qcow2"), ("ahci", "vmdk"), ("nvme", "vdi"), ("virtio", "qcow2"))]
for accel, bus, form in cases:
    disk = f"{folder}/{accel}-{bus}.{form}"
    subprocess.run([IMAGE, "convert", f"{folder}/source.raw", disk, "--from", "raw", "--to", form], check=True, stdout=subprocess.DEVNULL)
    vm = Process([VM, "--accel", accel, "--memory", "64M", "--disk", f"{disk},format={form},bus={bus}", "--boot", "c", "--serial", "stdio"],
                 f"disk-boot-{accel}-{bus}-{form}")
    for word in ("hi", "read ok", "write ok", "back ok"):
        vm.expect(f"^{word}$", 200)
    status = vm.wait(60)
    check(status == 67, f"{form} on {bus}, {accel}: booted, read, wrote and read back through the BIOS, status {status}")
    subprocess.run([IMAGE, "convert", disk, f"{folder}/out.raw", "--from", form, "--to", "raw", "--force"], check=True, stdout=subprocess.DEVNULL)
    with open(f"{folder}/out.raw", "rb") as f:
        after = f.read()
    want = bytearray(raw)
    want[4096 * 512:4160 * 512] = bytes(b ^ 0xff for b in words)
    check(after[:len(raw)] == bytes(want), f"{form} on {bus}, {accel}: the image holds that and nothing else changed")
if kvm:
    subprocess.run(["nasm", "-DSTAY", "-f", "bin", f"{TOP}/tests/e2e/disk-boot.asm", "-o", f"{folder}/boot"], check=True)
    raw[:512] = open(f"{folder}/boot", "rb").read()
    with open(f"{folder}/source.raw", "wb") as f:
        f.write(raw)
    line = f"{folder}/line"
    with Alone("disk-boot-doorbells", "--disk", f"{folder}/source.raw,format=raw,bus=virtio", "--boot", "c", "--serial", f"file:{line}",
               memory="64M", accel="kvm") as vm:
        deadline = time.time() + 200
        while b"back ok" not in open(line, "rb").read() and time.time() < deadline:
            time.sleep(0.3)
        counters = vm.ask("query-counters")["ok"]["counters"]
        check(counters.get("virtio-blk0.doorbell0", 0) >= 3, "on KVM the kicks of virtio reach their worker without an exit")
        vm.ask("reset")                     # the register is nowhere until firmware has placed it again
        deadline = time.time() + 200
        while open(line, "rb").read().count(b"back ok") < 2 and time.time() < deadline:
            time.sleep(0.3)
        again = vm.ask("query-counters")["ok"]["counters"]["virtio-blk0.doorbell0"]
        check(again >= counters["virtio-blk0.doorbell0"] + 3, "and so they do after a reset")
for bus in ("ide", "ahci"):
    vm = Process([VM, "--accel", "soft", "--memory", "256M", "--cdrom", f"/usr/lib/grub-rescue/grub-rescue-cdrom.iso,bus={bus}", "--boot", "d",
                  "--debugcon", "stderr"], f"cd-boot-{bus}")
    vm.expect(r"Booting from DVD/CD", 60)
    vm.expect(r"Booting from 0000:7c00", 60)
    vm.kill()
    check(True, f"a CD on {bus} boots")
shutil.rmtree(folder)
