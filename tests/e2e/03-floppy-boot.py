#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
# gasthaus-test: short 180
"""A boot floppy through SeaBIOS: controller, DMA, timer, clock, keyboard and serial line as a BIOS uses them.
On every accelerator that is here."""
import datetime
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import tempfile

from guestlib import Process, TOP, VM, check, skip

TRACK = 18 * 512
SOURCE, COPY = 3 * 2 * TRACK, 5 * 2 * TRACK
TEXT = "Hello, 123 [World]!"

if not shutil.which("nasm"):
    skip("nasm is not installed")
folder = tempfile.mkdtemp(prefix="gh-floppy-")
subprocess.run(["nasm", "-f", "bin", f"{TOP}/tests/e2e/floppy-boot.asm", "-o", f"{folder}/boot"], check=True)
image = bytearray(1474560)
with open(f"{folder}/boot", "rb") as f:
    image[:512] = f.read()
for i in range(2 * TRACK // 2):
    struct.pack_into("<H", image, SOURCE + 2 * i, i)

for accel in ["soft"] + (["kvm"] if os.access("/dev/kvm", os.R_OK | os.W_OK) else []):
    floppy, control = f"{folder}/{accel}.img", f"{folder}/{accel}.ctl"
    with open(floppy, "wb") as f:
        f.write(image)
    vm = Process([VM, "--accel", accel, "--memory", "64M", "--floppy", floppy, "--boot", "a", "--serial", "stdio",
                  "--control", f"unix:{control}"], f"floppy-{accel}")
    vm.expect(r"^hi$", 60)
    for word in ("read ok", "write ok", "ticks ok"):
        vm.expect(f"^{word}$", 30)
    hour, minute = map(int, re.fullmatch(r"rtc (\d\d)(\d\d)", vm.expect(r"^rtc \d{4}$", 30).group(0)).groups())
    now = datetime.datetime.now(datetime.timezone.utc)
    apart = (now.hour * 60 + now.minute - hour * 60 - minute) % 1440
    check(apart <= 2, f"{accel}: the clock is right ({hour:02}:{minute:02} UTC)")
    vm.expect(r"^type$", 30)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        s.settimeout(30)
        s.connect(control)
        for n, request in enumerate(({"verb": "hello", "version": 1, "client": "test"},
                                     {"verb": "send-keys", "text": TEXT}), 1):
            s.send(json.dumps(dict(request, id=n)).encode())
            while (reply := json.loads(s.recv(65536))).get("id") != n:
                pass
            check("error" not in reply, f"{accel}: {request['verb']} is answered")
        vm.expect("^" + re.escape(TEXT), 30)
        print(f"ok: {accel}: typed keys arrive, all and in order")
        s.send(json.dumps({"id": 3, "verb": "send-keys", "text": "\n"}).encode())
    check(vm.wait(30) == 67, f"{accel}: the guest ends the machine with its own status")
    with open(floppy, "rb") as f:
        after = f.read()
    check(after[COPY:COPY + TRACK] == image[SOURCE:SOURCE + TRACK], f"{accel}: what the guest wrote is on the floppy")
    check(after[:COPY] == image[:COPY] and after[COPY + TRACK:] == image[COPY + TRACK:], f"{accel}: and nothing else changed")
shutil.rmtree(folder)
