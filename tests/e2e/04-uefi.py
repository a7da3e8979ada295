#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
# gasthaus-test: short 400
"""Debian's OVMF on the software CPU: a kernel given with the machine starts under UEFI, and the firmware's
variables are kept in their file from one run to the next."""
import hashlib
import os
import shutil
import tempfile
import time

from guestlib import Engine, check, linux, skip

CODE, VARS = "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"
if not os.path.exists(CODE) or not os.path.exists(VARS):
    skip("the package ovmf is not installed")
folder = tempfile.mkdtemp(prefix="gh-uefi-")
store = f"{folder}/vars.fd"
shutil.copyfile(VARS, store)


def digest():
    with open(store, "rb") as f:
        return hashlib.md5(f.read()).hexdigest()


before = digest()
for run in (1, 2):
    vm = linux(f"uefi-{run}", "quiet", "--bios", CODE, "--nvram", store, memory="512M")
    vm.expect(r"GUEST-READY", 180)
    start = len(vm.text)
    vm.send("echo efi-$(ls -d /sys/firmware/efi)-$(cat /sys/class/dmi/id/product_name)\n")
    vm.expect(r"^efi-/sys/firmware/efi-Gasthaus", 60, after=start)
    vm.send("poweroff -f\n")
    check(vm.wait(60) == 0, f"run {run}: Linux came up under UEFI and powered off")
    with open(store, "rb") as f:
        kept = f.read()
    check(len(kept) == os.path.getsize(VARS), "the variable store keeps its size")
    check("BootOrder".encode("utf-16-le") in kept, f"run {run}: the boot order is in the store")
check(digest() != before, "the firmware has written its variables")
shutil.rmtree(folder)

with Engine("uefi") as e:
    code, out, err = e.try_ctl("create", "wrong", "--firmware", "coreboot")
    check(code != 0 and "[FirmwareUnknown]" in err, f"an unknown firmware is refused: {err.strip()}")
    e.ctl("create", "modern", "--firmware", "uefi", "--memory", "256M", "--accel", "soft")
    e.ctl("start", "modern")
    e.wait_state("modern", "running")
    store = f"{e.machines}/modern/nvram/uefi-vars.fd"
    deadline = time.time() + 120
    with open(VARS, "rb") as f:
        original = hashlib.md5(f.read()).hexdigest()
    while digest() == original and time.time() < deadline:
        time.sleep(1)
    check(digest() != original, "a machine with firmware uefi starts, and its firmware writes its own store")
