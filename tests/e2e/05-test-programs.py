#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
# gasthaus-test: short 200
"""What test suites for processors need: Multiboot programs with a module, pc-testdev, exit and shutdown ports, other ROMs
with their codes at port 80h."""
import os
import re
import shutil
import subprocess
import tempfile

from guestlib import TOP, VM, Process, check, skip

if not shutil.which("nasm"):
    skip("nasm is not installed")
with tempfile.TemporaryDirectory(prefix="gh-programs-") as folder:
    program = f"{folder}/multiboot.elf"
    subprocess.run(["gcc", "-m32", "-nostdlib", "-static", "-no-pie", "-Wl,-Ttext=0x400000,--build-id=none", "-o", program,
                    f"{TOP}/tests/guest/multiboot.S"], check=True)
    open(f"{folder}/module", "w").write("FEATURE=1 and more")
    for append, status in (("one two=3", 0x41), ("off", 0)):
        vm = Process([VM, "--accel", "soft", "--cpus", "3", "--memory", "64M", "--kernel", program, "--initrd", f"{folder}/module", "--append", append,
                      "--serial", "stdio", "--device", "pc-testdev", "--no-reboot"], "test-program")
        check(vm.wait(60) == status, f"a Multiboot program ends with status {status}")
        text = vm.text
        check(re.search(rf"^CMDLINE program {append}$", text, re.M), f"its command line is “program {append}”")
        check("MODULE FEATURE=1 and more\n" in text, "the initial RAM disk is its module")
        ends = re.search(r"^MAP ([0-9A-F ]+)", text, re.M).group(1).split()
        check(ends[0] == "0009FC00" and 0x3f00000 <= int(ends[1], 16) <= 0x4000000, f"its memory map ends where memory does ({ends})")
        check("CPUS 00000003" in text, "fw_cfg counts three processors")
        check("LINE 00000001 00001234 0000003C" in text, "a line of the test device interrupts at once; its ports and memory remember")
    low = f"{folder}/low.elf"
    subprocess.run(["gcc", "-m32", "-nostdlib", "-static", "-no-pie", "-Wl,-Ttext=0x4000,--build-id=none,--no-warn-rwx-segments", "-o", low,
                    f"{TOP}/tests/guest/lowboot.S"], check=True)
    vm = Process([VM, "--accel", "soft", "--memory", "16M", "--kernel", low, "--initrd", f"{folder}/module", "--serial", "stdio", "--no-reboot"],
                 "test-program")
    check(vm.wait(60) == 0x25 and "in real mode" in vm.text, "a Multiboot program below 1 MiB is loaded whole and goes to real mode")
    # The runner of kvm-unit-tests: asks for devices and a kernel that is not there, then runs with nothing on stderr.
    stand_in = [f"{TOP}/tests/tools/qemu-for-kvm-unit-tests"]
    words = ("--no-reboot -nodefaults -global kvm-pit.lost_tick_policy=discard -device pc-testdev -device isa-debug-exit,iobase=0xf4,iosize=0x4 "
             "-display none -serial stdio -accel tcg -smp 3 -cpu qemu64,+x2apic -m 64").split()
    environment = dict(os.environ, GASTHAUS_VM=VM)

    def qemu(*words):
        return subprocess.run([*stand_in, *words], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    check('"pc-testdev"' in qemu("-device", "?").stdout and "pci-testdev" not in qemu("-device", "?").stdout, "QEMU's stand-in lists its devices")
    r = qemu(*words, "-kernel", "_NO_FILE_")
    check(r.returncode == 1 and "could not load kernel '_NO_FILE_'" in r.stderr, "it misses a kernel in QEMU's words")
    r = qemu(*words, "-device", "edu", "-kernel", program)
    check(r.returncode == 1 and "'edu' is not a valid device model name" in r.stderr, "it refuses devices that Gasthaus lacks")
    r = qemu(*words, "-kernel", program, "-append", "one two=3", "-initrd", f"{folder}/module")
    check(r.returncode == 0x41 and not r.stderr and "CPUS 00000003" in r.stdout and "two=3" in r.stdout and "FEATURE=1" in r.stdout,
          f"and runs a program as QEMU would ({r.returncode} {r.stderr})")
    rom = f"{folder}/rom.bin"
    subprocess.run(["nasm", "-f", "bin", "-o", rom, f"{TOP}/tests/guest/testrom.asm"], check=True)
    other = f"{folder}/other.bin"
    subprocess.run(["nasm", "-f", "bin", "-DPORT=0x190", "-o", other, f"{TOP}/tests/guest/testrom.asm"], check=True)
    post, port = ["--post", f"file:{folder}/post"], ["--device", "debugcon,id=post,port=0x190"]
    for image, options, heard in ((rom, post, True), (rom, post + port, False), (other, post + port, True), (other, port + post, True), (other, post, False)):
        vm = Process([VM, "--accel", "soft", "--memory", "16M", "--bios", image, *options, "--no-reboot"], "test-rom")
        check(vm.wait(60) == 0x21, "a 64 KiB ROM runs from the reset vector")
        codes = open(f"{folder}/post").read()
        check(codes == ("01\n02\n03\n04\nff\n" if heard else ""), f"its codes come out of the port that was chosen ({codes.split()})")
    open(f"{folder}/bad", "wb").write(b"x" * 1000)
    vm = Process([VM, "--bios", f"{folder}/bad", "--no-reboot"], "test-rom")
    check(vm.wait(60) == 2 and "64 KiB" in vm.text, "a ROM of another size is refused with a sentence")
