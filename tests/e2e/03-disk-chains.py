#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
# gasthaus-test: short 400
"""Disks of several files, from their paths to the guest: a qcow2 on a raw base, a VMDK in two extents, a VDI known
by its name, an immutable disk; read and written by Linux, looked at by qemu-img. A raw disk in which a guest
wrote the head of another format is not believed."""
import hashlib
import os
import shutil
import subprocess
import tempfile

from guestlib import VM, check, linux

MIB = 1 << 20
folder = tempfile.mkdtemp(prefix="gh-chains-")


def qemu_img(*args):
    return subprocess.run(["qemu-img", *args], cwd=folder, check=True, capture_output=True, text=True).stdout


def content(name, form, offset, length):
    raw = f"{folder}/out.raw"
    qemu_img("convert", "-f", form, "-O", "raw", name, raw)
    with open(raw, "rb") as f:
        f.seek(offset)
        return f.read(length)


def refused(id_, *args):
    p = subprocess.run([VM, "--accel", "soft", "--memory", "64M", *args], capture_output=True, text=True, timeout=60,
                       stdin=subprocess.DEVNULL, cwd=folder)
    last = p.stderr.strip().splitlines()[-1] if p.stderr.strip() else ""
    check(p.returncode == 2 and f"[{id_}]" in last, f"{' '.join(args)}: {last}")


try:
    base = os.urandom(MIB)
    for name, size in (("base.img", 8), ("fixed.img", 12)):
        with open(f"{folder}/{name}", "wb") as f:
            f.write(base)
            f.truncate(size * MIB)
    qemu_img("create", "-f", "qcow2", "-F", "raw", "-b", "base.img", "top.qcow2")
    qemu_img("create", "-f", "vmdk", "-o", "subformat=twoGbMaxExtentSparse", "split.vmdk", "3G")
    qemu_img("create", "-f", "vdi", "plain.vdi", "16M")

    qemu_img("create", "-f", "qcow2", "-F", "raw", "-b", "/etc/hostname", "thief.img")
    refused("DiskFormatNeeded", "--disk", "thief.img")
    refused("DiskReferenceRefused", "--disk", "thief.img,format=qcow2")
    os.rename(f"{folder}/base.img", f"{folder}/moved.img")
    refused("DiskParentMissing", "--disk", "top.qcow2")
    os.rename(f"{folder}/moved.img", f"{folder}/base.img")

    vm = linux("chains", "quiet gh.modules=ata_piix,sd_mod", "--disk", f"{folder}/top.qcow2", "--disk",
               f"{folder}/split.vmdk,format=vmdk", "--disk", f"{folder}/plain.vdi", "--disk", f"{folder}/fixed.img,snapshot")
    vm.expect(r"GUEST-READY", 240)

    def ask(command, pattern):
        start = len(vm.text)
        vm.send(command + "\n")
        return vm.expect(pattern, 90, after=start)

    # Linux names disks in the order in which it finds them: ours are known by their sizes, in sectors.
    vm.send("d() { for b in /sys/block/sd?; do [ $(cat $b/size) = $1 ] && echo /dev/${b##*/}; done; }\n")
    vm.send("top=$(d 16384) split=$(d 6291456) plain=$(d 32768) fixed=$(d 24576)\n")
    ask("echo found-$top-$split-$plain-$fixed-end", r"^found(-/dev/sd.){4}-end")
    check(True, "four disks have their sizes")
    digest = hashlib.md5(base).hexdigest()
    ask("echo read-$(dd if=$top bs=64k count=16 2>/dev/null | md5sum | cut -c1-32)", f"^read-{digest}")
    check(True, "the guest reads the base through the qcow2 on top of it")
    ask("dd if=$top of=/data bs=64k count=16 2>/dev/null;"
        " dd if=/data of=$top bs=1M seek=4 conv=fsync 2>/dev/null; dd if=/data of=$split bs=1M seek=2500 conv=fsync 2>/dev/null;"
        " dd if=/data of=$plain bs=1M seek=3 conv=fsync 2>/dev/null; dd if=/dev/zero of=$fixed bs=64k count=16 conv=fsync 2>/dev/null;"
        " echo 3 > /proc/sys/vm/drop_caches; echo back-$(dd if=$split bs=1M skip=2500 count=1 2>/dev/null | md5sum | cut -c1-32)",
        f"^back-{digest}")
    check(True, "what it writes into the second extent of the VMDK is there")
    ask("echo forget-$(dd if=$fixed bs=64k count=16 2>/dev/null | md5sum | cut -c1-32)",
        "^forget-" + hashlib.md5(bytes(MIB)).hexdigest())
    vm.send("poweroff -f\n")
    check(vm.wait(60) == 0, "the machine ends")
    for name, form, offset in (("top.qcow2", "qcow2", 4), ("split.vmdk", "vmdk", 2500), ("plain.vdi", "vdi", 3)):
        check(content(name, form, offset * MIB, MIB) == base, f"{name} holds it, says qemu-img")
    for name in ("base.img", "fixed.img"):
        with open(f"{folder}/{name}", "rb") as f:
            whole = f.read()
        check(whole[:MIB] == base and not any(whole[MIB:]), f"{name} is what it was")
    qemu_img("check", "-f", "qcow2", "top.qcow2")
finally:
    shutil.rmtree(folder)
