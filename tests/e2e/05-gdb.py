#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
# gasthaus-test: short 200
"""GDB on a machine with two processors: threads, registers, memory, breakpoints, steps, watchpoints, changing both,
and leaving; the same on KVM where it debugs; a hostile client."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from guestlib import TOP, VM, Alone, Process, check, fail, skip

if not shutil.which("gdb"):
    skip("gdb is not installed")
folder = tempfile.mkdtemp(prefix="gh-gdb-")
program = f"{folder}/program"
subprocess.run(["gcc", "-m64", "-nostdlib", "-static", "-no-pie", "-Wl,-Ttext=0x400000,--build-id=none", "-o", f"{program}.elf64",
                f"{TOP}/tests/guest/gdb.S"], check=True, stderr=subprocess.DEVNULL)
subprocess.run(["objcopy", "-O", "elf32-i386", f"{program}.elf64", program], check=True)


def gdb(sock, *commands, timeout=100):
    args = ["gdb", "-nx", "-batch", "-ex", "set pagination off", "-ex", "set confirm off", "-ex", "set tcp connect-timeout 30", f"{program}.elf64",
            "-ex", f"target remote {sock}"]
    for c in commands:
        args += ["-ex", f"echo \\n@@ {c}\\n", "-ex", c]
    p = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout, stdin=subprocess.DEVNULL)
    print(p.stdout)
    parts = re.split(r"^@@ (.*)$", p.stdout, flags=re.M)
    return list(zip(parts[1::2], parts[2::2])), p.stdout


def answer(parts, command, number=0):
    return [text for c, text in parts if c == command][number]


def start(accel, *more, cpus=2):
    sock = f"{folder}/{accel}.sock"
    vm = Process([VM, "--accel", accel, "--cpus", str(cpus), "--memory", "32M", "--kernel", program, "--gdb", f"unix:{sock}", "--no-reboot",
                  "--serial", "none", *more], f"gdb-{accel}")
    for _ in range(200):
        vm.pump(0.05)
        if os.path.exists(sock) or vm.p.poll() is not None:
            break
    return vm, sock


vm, sock = start("soft", "--paused")
time.sleep(0.5)
parts, text = gdb(sock, "info registers rip cs", "x/1xb 0xffff0", "hbreak tick", "continue", "info threads", "p/x $cr0", "p/x $efer", "p/x $gs_base",
                  "p/x $xmm3.v2_int64", "bt 1", "continue", "p (long)counter", "stepi", "p (long)counter", "p (long)$rip - (long)&tick", "delete",
                  "watch *(long*)&watched", "continue", "p/x (long)watched", "p (long)$rip - (long)&after_touch", "info breakpoints", "delete", "rwatch *(long*)&counter", "continue", "delete",
                  "set var *(long*)&counter = 1000", "break touch if (long)counter == 1151", "continue", "p (long)counter", "set $rax = 0x4242", "stepi", "p/x (long)watched", "delete",
                  "thread 2", "p (long)$rip >= (long)&others && (long)$rip < (long)&others + 16", "p $_thread", "monitor translate 0x400000", "monitor nonsense",
                  "x/2i tick", "p (long)others_counter > 0", "p *(int*)0xfee00000", "p *(int*)0x123456789000", "detach")
check("0xfff0" in answer(parts, "info registers rip cs"), "a paused machine stands at its reset vector")
check("0xea" in answer(parts, "x/1xb 0xffff0"), "the firmware's ROM can be read")
check(re.search(r"tick", answer(parts, "continue")), "stopped at tick")
check(answer(parts, "info threads").count("vCPU") == 2, "two vCPUs are two threads")
check("0x80000011" in answer(parts, "p/x $cr0") and "0x500" in answer(parts, "p/x $efer"), "control registers of long mode")
check("0x123456789abc" in answer(parts, "p/x $gs_base") and "0x1122334455667788" in answer(parts, "p/x $xmm3.v2_int64"), "GS base and XMM3")
before, after = (int(re.search(r"= (\d+)", answer(parts, "p (long)counter", i)).group(1)) for i in (0, 1))
check(before == 1 and after == 2, f"one instruction was stepped: {before}, {after}")
check("= 8" in answer(parts, "p (long)$rip - (long)&tick"), "to the next instruction")
check(re.search(r"= 0x7f$", answer(parts, "p/x (long)watched"), re.M), "a write was watched")
check(re.search(r"= 0$", answer(parts, "p (long)$rip - (long)&after_touch"), re.M), "it stopped right behind it")
check(re.search(r"Value = \d+", answer(parts, "continue", 3)), "a read was watched")
check("= 1151" in answer(parts, "p (long)counter", 2), "memory was written; a condition was met")
check("= 0x4242" in answer(parts, "p/x (long)watched", 1), "a register was written")
check("= 1" in answer(parts, "p (long)$rip >= (long)&others && (long)$rip < (long)&others + 16"), "the other vCPU is in its own loop")
check("= 2" in answer(parts, "p $_thread"), "it is thread 2")
check("physical address 0x400000" in answer(parts, "monitor translate 0x400000") and "reset" in answer(parts, "monitor nonsense"), "monitor commands")
check("incq" in answer(parts, "x/2i tick") and "= 1" in answer(parts, "p (long)others_counter > 0"), "code and data are read")
check("Cannot access" in answer(parts, "p *(int*)0xfee00000") and "Cannot access" in answer(parts, "p *(int*)0x123456789000"),
      "neither devices nor nothing")

# Again: it ran on, an interrupt stops it, and a breakpoint that stays set when the client dies is gone.
parts, text = gdb(sock, "p (long)counter > 1200", "break tick", "detach")
check("= 1" in answer(parts, "p (long)counter > 1200"), "it ran on after the debugger had left")
c = subprocess.Popen(["gdb", "-nx", "-q", "-ex", "set pagination off", "-ex", "set confirm off", f"{program}.elf64", "-ex", f"target remote {sock}", "-ex", "break touch", "-ex", "continue", "-ex",
                      "delete", "-ex", "echo @GO\\n", "-ex", "continue"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
seen = b""
while b"@GO" not in seen:
    data = os.read(c.stdout.fileno(), 4096)
    if not data:
        fail("gdb ended: " + seen.decode())
    seen += data
time.sleep(1)
os.kill(c.pid, signal.SIGINT)
deadline = time.time() + 30
while b"SIGINT" not in seen and time.time() < deadline:
    seen += os.read(c.stdout.fileno(), 4096)
check(b"SIGINT" in seen, "Ctrl-C stops the running machine")
c.kill()
c.wait()

# A client that does not speak the protocol does no harm.
for junk in (b"GET / HTTP/1.0\r\n\r\n", b"$" * 40000, b"$m0,ffffffffffffffff#00", b"$vCont;s:ffffffffffff;:;c:-1#%02x", b"$Z9,0,0#42$z0#aa$M0,10000:#00$p999#d3$G00#d7$Hg7777#00",
             b"$qXfer:features:read:target.xml:fffffffffffffff,ffff#00"):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(5)
    s.connect(sock)
    s.sendall(b"$QStartNoAckMode#b0")
    try:
        for piece in re.split(rb"(?=\$)", junk):
            if b"#" in piece:
                body = piece[1:piece.index(b"#")]
                piece = b"$" + body + b"#%02x" % (sum(body) & 255)
            s.sendall(piece)
        s.recv(100)
    except OSError:
        pass
    s.close()
parts, text = gdb(sock, "p (long)counter > 1200", "kill")
check("= 1" in answer(parts, "p (long)counter > 1200"), "it still answers after clients that talked nonsense")
check(vm.wait(30) == 0, "kill ends the machine")

# By the control socket, on a running machine.
with Alone("gdb-control", "--kernel", program, "--no-reboot") as m:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{folder}/late")
    listener.listen(1)
    m.ask("gdb", send_fd=listener.fileno())
    listener.close()
    parts, text = gdb(f"{folder}/late", "break tick", "continue", "p (long)$rip == (long)&tick", "detach")
    check("= 1" in answer(parts, "p (long)$rip == (long)&tick"), "the control verb gdb serves one on a running machine")
    check(m.ask("status")["ok"]["state"] == "running", "and it runs on")

if os.access("/dev/kvm", os.R_OK | os.W_OK):
    vm, sock = start("kvm", cpus=1)
    if vm.p.poll() is None:
        parts, text = gdb(sock, "hbreak tick", "continue", "delete", "hbreak touch", "continue", "p (long)$rip - (long)&touch", "stepi", "p (long)$rip - (long)&after_touch", "kill", timeout=150)
        at, behind = answer(parts, "p (long)$rip - (long)&touch"), answer(parts, "p (long)$rip - (long)&after_touch")
        check(re.search(r"= 0$", at, re.M) and re.search(r"= 0$", behind, re.M), "KVM: a breakpoint and a step")
    vm.kill()
shutil.rmtree(folder)
