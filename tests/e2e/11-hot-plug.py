#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
# gasthaus-test: short 400
"""Disks are plugged in and pulled out while Linux runs: on AHCI into an empty port, on NVMe the namespace goes and
comes. What was written and flushed is in the image that was pulled; other disks go on."""
import array
import hashlib
import json
import os
import shutil
import socket
import tempfile
import time

from guestlib import check, fail, linux

folder = tempfile.mkdtemp(prefix="gh-hot-plug-")
first, second = f"{folder}/first.raw", f"{folder}/second.raw"
for path, mib in ((first, 16), (second, 24)):
    with open(path, "wb") as f:
        f.write(os.urandom(1 << 20))
        f.truncate(mib << 20)
with open(f"{folder}/fixed.raw", "wb") as f:
    f.truncate(8 << 20)
vm = linux("hot-plug", "gh.modules=ahci,sd_mod,nvme,button loglevel=1", "--disk", f"{folder}/fixed.raw,format=raw,bus=ahci",
           "--disk", "none,bus=ahci,hotplug", "--disk", f"{second},format=raw,bus=nvme,hotplug", "--control", f"unix:{folder}/control")
control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
control.settimeout(60)
for _ in range(300):
    try:
        control.connect(f"{folder}/control")
        break
    except OSError:
        time.sleep(0.1)
asked = 0


def verb(name, fd=None, **args):
    global asked
    asked += 1
    extra = {} if fd is None else {"fd": 0}
    control.sendmsg([json.dumps(dict(args, id=asked, verb=name, **extra)).encode()],
                    [] if fd is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])
    while True:
        reply = json.loads(control.recv(65536))
        if reply.get("id") == asked:
            return reply


def ask(command, pattern, timeout=120):
    start = len(vm.text)
    vm.send(command + "\n")
    return vm.expect(pattern, timeout, after=start)


def wait_for(condition, word):
    ask(f"i=0; while [ $i -lt 60 ]; do {condition} && break; sleep 1; i=$((i + 1)); done; echo {word}-$({condition}; echo $?)-end", f"^{word}-0-end", 120)


if "ok" not in verb("hello", version=1, client="test"):
    fail("hello")
vm.expect(r"GUEST-READY", 300)
wait_for("[ -e /sys/block/sda ]", "fixed")
ask("echo before-$([ -e /sys/block/sdb ]; echo $?)-end", r"^before-1-end")
check(True, "the empty port has no disk")
fd = os.open(first, os.O_RDWR)
reply = verb("insert", fd=fd, drive="disk1", format="raw", label="first.raw")
os.close(fd)
check("ok" in reply, f"a disk is plugged in: {reply}")
wait_for("[ -e /sys/block/sdb ]", "came")
ask("echo size-$(cat /sys/block/sdb/size)-$(dd if=/dev/sdb bs=1M count=1 2>/dev/null | md5sum | cut -c1-32)-end",
    f"^size-32768-{hashlib.md5(open(first, 'rb').read(1 << 20)).hexdigest()}-end")
check(True, "Linux finds it by itself and reads it")
ask("dd if=/dev/urandom of=/data bs=64k count=32 2>/dev/null; dd if=/data of=/dev/sdb bs=64k seek=64 conv=fsync 2>/dev/null; echo sum-$(md5sum < /data | cut -c1-32)-end",
    r"^sum-[0-9a-f]{32}-end")
written = vm.text[vm.text.rindex("\nsum-") + 5:][:32]
check("ok" in verb("eject", drive="disk1"), "it is pulled out")
wait_for("[ ! -e /sys/block/sdb ]", "went")
check(True, "Linux notices that it is gone")
with open(first, "rb") as f:
    f.seek(4 << 20)
    check(hashlib.md5(f.read(2 << 20)).hexdigest() == written, "what was written and flushed is in it")
ask("echo fixed-$(dd if=/dev/zero of=/dev/sda bs=64k count=16 conv=fsync 2>/dev/null; echo $?)-end", r"^fixed-0-end")
check(True, "the other disk goes on")
check("DriveNotRemovable" in json.dumps(verb("eject", drive="disk0")), "a fixed disk is refused")
check("ok" in verb("eject", drive="disk2"), "the NVMe disk is pulled out")
wait_for("[ ! -e /sys/block/nvme0n1 ]", "nsgone")
fd = os.open(first, os.O_RDWR)
check("ok" in verb("insert", fd=fd, drive="disk2", format="raw", label="first.raw"), "another one is plugged in")
os.close(fd)
wait_for("[ -e /sys/block/nvme0n1 ] && [ $(cat /sys/block/nvme0n1/size) = 32768 ]", "nscame")
check(True, "the namespace comes back with the new size")
vm.send("poweroff -f\n")
check(vm.wait(60) == 0, "the guest powers off")
shutil.rmtree(folder)
