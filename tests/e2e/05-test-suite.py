#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
# gasthaus-test: short 900
"""Our own test suite for whole processors (tests/guest/suite): what public suites ask of a PC, in every tier of the
software CPU and on its CPU models."""
import os
import re
import subprocess
import tempfile
import time

from guestlib import TOP, VM, Process, check

SOURCES = f"{TOP}/tests/guest/suite"
FLAGS = ("-m64 -O1 -ffreestanding -fno-pic -fno-pie -mcmodel=small -mno-red-zone -mno-sse -mno-mmx -mno-80387 -fno-stack-protector "
         "-fno-asynchronous-unwind-tables -fcf-protection=none -Wall -Wextra -Werror").split()


def build(folder):
    objects = []
    for name in sorted(os.listdir(SOURCES)):
        if name.endswith((".c", ".S")):
            objects.append(f"{folder}/{name}.o")
            subprocess.run(["gcc", *FLAGS, "-c", "-o", objects[-1], f"{SOURCES}/{name}"], check=True)
    subprocess.run(["ld", "-m", "elf_x86_64", "-n", "-static", "-e", "_start", "-Ttext=0x400000", "--section-start=.boot=0x300000",
                    "--no-warn-rwx-segments", "-o", f"{folder}/suite64", *objects], check=True)
    subprocess.run(["objcopy", "-O", "elf32-i386", f"{folder}/suite64", f"{folder}/suite.elf"], check=True)
    return f"{folder}/suite.elf"


def run(program, tests, cpus=2, cpu="max", tier=""):
    before = os.environ.get("GH_DEBUG")
    if tier:
        os.environ["GH_DEBUG"] = tier
    vm = Process([VM, "--accel", "soft", "--cpu", cpu, "--cpus", str(cpus), "--memory", "256M", "--kernel", program, "--append", " ".join(tests),
                  "--serial", "stdio", "--device", "pc-testdev", "--no-reboot"], "test-suite")
    if tier:
        os.environ.pop("GH_DEBUG")
        if before is not None:
            os.environ["GH_DEBUG"] = before
    status = vm.wait(300)
    failed = re.findall(r"^FAIL (.*)$", vm.text, re.M)
    done = re.search(r"^DONE (\w+) (\w+)", vm.text, re.M)
    missing = [t for t in tests if f"TEST {t}" not in vm.text]
    check(status == 1 and done and not failed and not missing,
          f"{cpu} {tier or 'translated'}, {cpus} CPUs: {' '.join(tests)}: {int(done.group(1), 16) if done else 0} passed, failed: {failed + missing}")
    return vm.text


def sleeps(program, cpus, tier=""):
    os.environ["GH_DEBUG"] = tier
    vm = Process([VM, "--accel", "soft", "--cpu", "max", "--cpus", str(cpus), "--memory", "64M", "--kernel", program, "--append", "sleep",
                  "--serial", "stdio", "--no-reboot"], "test-sleep")
    os.environ.pop("GH_DEBUG")
    check(vm.wait(120) == 0x2b and "asleep" in vm.text, f"{tier or 'translated'}, {cpus} CPUs: asleep until the clock's alarm")


with tempfile.TemporaryDirectory(prefix="gh-suite-") as temporary:
    suite = build(temporary)
    one = "hypercall msr xsave debug syscall system emulator access events".split()
    for t in ("", "soft:threshold=0", "soft:interp"):
        run(suite, one, 1, tier=t)
    for t in ("", "soft:interp"):
        text = run(suite, ["apic", "kvmclock"], tier=t)
        wall = int(re.search(r"^WALL (\w+)", text, re.M).group(1), 16)
        check(abs(wall - time.time()) < 600, "the wall clock is the host's")
    run(suite, ["ioapic"], 4)
    sleeps(suite, 1, "soft:interp")
    sleeps(suite, 2)
    for model in ("x86-64-v2", "host"):
        run(suite, one, 1, model)
