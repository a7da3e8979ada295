#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
# gasthaus-test: short 300
"""One disk, several machines and programs: a second writer is refused and told who has it, readers share, QEMU and we respect each
other, and a machine's end, however sudden, gives the disk back."""
import os
import re
import subprocess
import tempfile
import time

from guestlib import BUILD, VM, Alone, Process, check, fail

IMAGE = f"{BUILD}/src/image-tool/gasthaus-image"
temp = tempfile.TemporaryDirectory(prefix="gh-locks-")
d = temp.name
count = 0


def run(*args):
    p = subprocess.run([str(a) for a in args], capture_output=True, text=True, timeout=200)
    return p.returncode, p.stdout + p.stderr


def machine(disk):
    global count
    count += 1
    return Alone(f"locks-{count}", "--paused", "--disk", disk, memory="32M")


def refused(what, disk, holder="gasthaus-vm"):
    p = Process([VM, "--accel", "soft", "--memory", "32M", "--paused", "--serial", "none", "--disk", disk], "locks-refused")
    code = p.wait(100)
    check(code not in (0, None) and "[DiskLocked]" in p.text and re.search(re.escape(holder) + r" \(process \d+\)", p.text),
          f"{what}: refused: {p.text.strip().splitlines()[-1] if p.text.strip() else code}")


def free_again(path, what):
    deadline = time.time() + 60
    while time.time() < deadline:
        if run("qemu-img", "info", path)[0] == 0:
            check(True, what)
            return
        time.sleep(0.1)
    fail(what)


for form in ("qcow2", "raw", "vdi", "vmdk", "vhd", "vhdx"):
    run(IMAGE, "create", f"{d}/disk.{form}", "8M", "--to", form)
    disk = f"{d}/disk.{form},format={form}"
    with machine(disk):
        refused(f"{form}, a second writer", disk)
        if form != "qcow2":
            continue
        refused("a reader beside a writer", f"{disk},readonly")
        refused("a machine that forgets its changes beside a writer", f"{disk},snapshot")
        os.link(f"{d}/disk.qcow2", f"{d}/other name.qcow2")
        refused("the same file by another name", f"{d}/other name.qcow2,format=qcow2")
        for tool, args in (("qemu-img", ("info", f"{d}/disk.qcow2")), ("qemu-img", ("check", f"{d}/disk.qcow2")), ("qemu-io", ("-c", "write 0 512", f"{d}/disk.qcow2"))):
            code, out = run(tool, *args)
            check(code != 0 and "lock" in out, f"{tool} {args[0]}: QEMU respects our lock: {out.strip()}")
        code, out = run("qemu-img", "info", "-U", f"{d}/disk.qcow2")
        check(code == 0, f"and may look past it by its own wish: {out.strip()[:60]}")
        for args in (("resize", f"{d}/disk.qcow2", "16M"), ("compact", f"{d}/disk.qcow2"), ("check", "--repair", f"{d}/disk.qcow2"),
                     ("convert", f"{d}/disk.qcow2", f"{d}/copy.raw", "--to", "raw"), ("create", "--force", f"{d}/disk.qcow2", "8M")):
            code, out = run(IMAGE, *args)
            check(code == 1 and "[DiskLocked]" in out and "gasthaus-vm (process" in out, f"gasthaus-image {args[0]}: {out.strip()}")
        code, out = run(IMAGE, "info", f"{d}/disk.qcow2")
        check(code == 0 and not os.path.exists(f"{d}/copy.raw"), "gasthaus-image info reads what a header says at any time")
    # The machine was killed just now.
    free_again(f"{d}/disk.qcow2", "a killed machine's disk is free")
    with machine(disk):
        check(True, "and another machine may have it")
free_again(f"{d}/disk.qcow2", "the disk is free")

# Readers share one disk, also those that keep changes to themselves.
disk = f"{d}/disk.qcow2,format=qcow2"
with machine(f"{disk},readonly") as one, machine(f"{disk},readonly") as two, machine(f"{disk},snapshot") as three, machine(f"{disk},snapshot") as four:
    check(all(m.ask("status")["ok"]["state"] == "paused" for m in (one, two, three, four)), "two read-only and two immutable uses of one disk at once")
    refused("a writer beside readers", disk)
    code, out = run("qemu-img", "info", f"{d}/disk.qcow2")
    check(code == 0, f"QEMU may read as well: {out.strip()[:40]}")
    code, out = run("qemu-io", "-c", "write 0 512", f"{d}/disk.qcow2")
    check(code != 0 and "lock" in out, f"but not write: {out.strip()}")
free_again(f"{d}/disk.qcow2", "the disk is free")

# Two machines on children of one parent.
for name in ("one", "two"):
    run(IMAGE, "create", f"{d}/{name}.qcow2", "0", "--parent", "disk.qcow2", "--parent-format", "qcow2")
with machine(f"{d}/one.qcow2,format=qcow2") as one, machine(f"{d}/two.qcow2,format=qcow2") as two:
    check(all(m.ask("status")["ok"]["state"] == "paused" for m in (one, two)), "two machines on one parent")
    refused("a writer of the parent", disk)
    code, out = run(IMAGE, "commit", f"{d}/one.qcow2")
    check(code == 1 and "[DiskLocked]" in out, f"merging into it: {out.strip()}")
free_again(f"{d}/disk.qcow2", "the parent is free")

# QEMU has it.
user = subprocess.Popen(["qemu-io", f"{d}/disk.qcow2"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
user.stdin.write("write -P 1 0 64k\n")
user.stdin.flush()
while "wrote" not in (line := user.stdout.readline()):
    check(line != "", "qemu-io writes")
for mode in ("", ",readonly", ",snapshot"):
    refused(f"QEMU writes to it, “{mode}”", disk + mode, "qemu-io")
refused("a child of what QEMU writes to", f"{d}/two.qcow2,format=qcow2", "qemu-io")
user.stdin.close()
user.wait()
user.stdout.close()
reader = subprocess.Popen(["qemu-io", "-r", f"{d}/disk.qcow2"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
reader.stdin.write("read 0 64k\n")
reader.stdin.flush()
while "read " not in (line := reader.stdout.readline()):
    check(line != "", "qemu-io reads")
refused("QEMU reads it", disk, "qemu-io")
with machine(f"{disk},readonly") as one:
    check(one.ask("status")["ok"]["state"] == "paused", "reading beside QEMU that reads")
reader.stdin.close()
reader.wait()
reader.stdout.close()

# Two that come at once: never both.
for _ in range(3):
    free_again(f"{d}/disk.qcow2", "free before a race")
    both = [Process([VM, "--accel", "soft", "--memory", "32M", "--paused", "--serial", "none", "--disk", disk], f"locks-race-{i}") for i in range(2)]
    deadline = time.time() + 60
    while not any(p.p.poll() is not None for p in both) and time.time() < deadline:
        time.sleep(0.05)
    ended = [p for p in both if p.p.poll() is not None]
    check(len(ended) >= 1, "of two machines that start at once one at least is refused")
    for p in ended:
        p.wait(20)
        check("[DiskLocked]" in p.text, f"and told why: {p.text.strip().splitlines()[-1:]}")
    for p in both:
        p.kill()
temp.cleanup()
