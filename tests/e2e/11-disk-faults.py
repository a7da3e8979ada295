#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
# gasthaus-test: short 400
"""The host's trouble with a disk pauses the machine and says why; when it is over, resume goes on and nothing is
lost: a full file system (of which a note warns before), a file that may not grow (two buses each), and a user who lets the guest see the error."""
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time

from guestlib import BUILD, check, fail, linux, skip

IMAGE = f"{BUILD}/src/image-tool/gasthaus-image"
if os.getuid():
    skip("needs root to mount a small file system")
folder = tempfile.mkdtemp(prefix="gh-faults-", dir="/var/tmp")
small = f"{folder}/small"
os.mkdir(small)
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20M", "gh-faults", small], check=True)


class Control:
    def __init__(self, path):
        self.socket, self.ids, self.notes = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET), 0, []
        self.socket.settimeout(60)
        for _ in range(300):
            try:
                self.socket.connect(path)
                break
            except OSError:
                time.sleep(0.1)
        self.ask("hello", version=1, client="test")

    def ask(self, verb, **args):
        self.ids += 1
        self.socket.send(json.dumps(dict(args, id=self.ids, verb=verb)).encode())
        while True:
            reply = json.loads(self.socket.recv(65536))
            if reply.get("event") == "error":
                self.notes.append(reply)
            if reply.get("id") == self.ids:
                if "ok" not in reply:
                    fail(f"{verb}: {reply}")
                return reply["ok"] if isinstance(reply["ok"], dict) else reply

    def wait_paused(self, reason, timeout=120):
        deadline = time.time() + timeout
        while time.time() < deadline:
            s = self.ask("status")
            if s["state"] == "paused":
                check(s["reason"] == reason, f"paused with {s['reason']}: {s['text']}")
                return s["text"]
            time.sleep(0.2)
        fail(f"the machine did not pause: {s}")


def image(path, form, size="64M"):
    subprocess.run([IMAGE, "create", path, size, "--to", form], check=True, stdout=subprocess.DEVNULL)
    return path


try:
    full = image(f"{small}/full.qcow2", "qcow2")
    big = image(f"{folder}/big.vdi", "vdi")
    vm = linux("disk-faults", "gh.modules=virtio_pci,virtio_blk,ahci,sd_mod,button loglevel=1", "--disk", f"{full},format=qcow2,bus=virtio",
               "--disk", f"{big},format=vdi,bus=ahci", "--control", f"unix:{folder}/control")
    c = Control(f"{folder}/control")
    vm.expect(r"GUEST-READY", 300)

    def ask(command, pattern, timeout=120):
        start = len(vm.text)
        vm.send(command + "\n")
        return vm.expect(pattern, timeout, after=start)

    ask("for i in 1 2 3 4 5 6 7 8 9; do [ -e /dev/sda ] && break; sleep 1; done; dd if=/dev/urandom of=/data bs=1M count=30 2>/dev/null;"
        " echo data-$(md5sum < /data | cut -c1-32)-end", r"^data-([0-9a-f]{32})-end")
    sum_ = vm.text[vm.text.rindex("\ndata-") + 6:][:32]

    # F3: the host's file system is full.
    vm.send("dd if=/data of=/dev/vda bs=1M conv=fsync 2>/dev/null; echo wrote-$?-end\n")
    text = c.wait_paused("DiskFull")
    check("full.qcow2" in text and "resume" in text, "the sentence names the disk and the way out")
    check([n["id"] for n in c.notes] == ["DiskSpaceLow"] and "full.qcow2" in c.notes[0]["text"] and c.notes[0]["message"],
          f"before that a note told once that little is left: {c.notes}")
    c.ask("resume")                         # too early: it pauses again, and nothing is lost either
    c.wait_paused("DiskFull")
    subprocess.run(["mount", "-o", "remount,size=100M", small], check=True)
    c.ask("resume")
    vm.expect(r"^wrote-0-end", 120)
    check(True, "with room again the guest's write ends well")
    ask("echo back-$(dd if=/dev/vda bs=1M count=30 iflag=direct 2>/dev/null | md5sum | cut -c1-32)", f"^back-{sum_}")
    check(True, "it reads what it wrote")

    # F4: the file may not grow further. The limit is the machine process's own.
    machine = [pid for pid in filter(str.isdigit, os.listdir("/proc")) if os.path.exists(f"/proc/{pid}/cmdline") and
               b"--machine-fd" in open(f"/proc/{pid}/cmdline", "rb").read() and os.getpgid(int(pid)) == vm.p.pid]
    if not machine:
        fail("the machine process was not found")
    subprocess.run(["prlimit", f"--pid={machine[0]}", "--fsize=16000000:unlimited"], check=True)
    vm.send("dd if=/data of=/dev/sda bs=1M conv=fsync 2>/dev/null; echo grew-$?-end\n")
    c.wait_paused("DiskTooLargeForHost")
    subprocess.run(["prlimit", f"--pid={machine[0]}", "--fsize=unlimited:unlimited"], check=True)
    c.ask("resume")
    vm.expect(r"^grew-0-end", 120)
    check(True, "when it may grow again the guest's write ends well")

    # The user lets the guest see the error instead.
    subprocess.run(["mount", "-o", "remount,size=32M", small], check=True)
    vm.send("dd if=/data of=/dev/vda bs=1M seek=32 conv=fsync 2>/dev/null; echo seen-$?-end\n")
    c.wait_paused("DiskFull")
    for _ in range(400):                    # each request that was under way has its own error
        if c.ask("status")["state"] == "paused":
            c.ask("resume", report=True)
        vm.pump(0.05)
        if "\nseen-" in vm.text.split("seen-$?-end\n")[-1]:
            break
    vm.expect(r"^seen-[1-9]\d*-end", 60)
    check(True, "a reported error reaches the guest's program")
    subprocess.run(["mount", "-o", "remount,size=100M", small], check=True)
    check(len(c.notes) == 1, f"the note about space is not told again: {c.notes}")
    vm.send("poweroff -f\n")
    check(vm.wait(60) == 0, "the guest powers off")
    for path in (full, big):
        check(subprocess.run([IMAGE, "check", path], capture_output=True).returncode == 0, f"{os.path.basename(path)} checks clean")
        p = subprocess.run(f"'{IMAGE}' convert '{path}' '{folder}/out.raw' --to raw --force >/dev/null && head -c {30 << 20} '{folder}/out.raw' | md5sum",
                           shell=True, capture_output=True, text=True)
        check(p.stdout.startswith(sum_), f"{os.path.basename(path)} holds what the guest was told is written")
finally:
    subprocess.run(["umount", "-l", small])
    shutil.rmtree(folder)
