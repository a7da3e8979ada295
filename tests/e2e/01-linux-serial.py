#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
# gasthaus-test: short 600
"""Debian 12's kernel and a busybox initramfs to a shell on the serial line, on the software CPU:
CPU, memory and PCI devices as configured, read inside the guest."""
import os
import re

from guestlib import check, linux

cpus_list = [1, 2] if os.environ.get("GH_ALL") else [1]
for cpus in cpus_list:
    vm = linux(f"linux-hw-{cpus}", "quiet gh.test=hw", memory="300M", cpus=cpus)
    vm.expect(r"GUEST-READY", 240)
    status = vm.wait(60)
    text = vm.text
    check(status == 0, f"{cpus} vCPU: the machine ends with status 0 after power-off")
    check(f"GUEST-CPUS {cpus}\n" in text, f"the guest sees {cpus} CPU(s)")
    kib = int(re.search(r"GUEST-MEM-KIB (\d+)", text).group(1))
    check(200 * 1024 < kib < 300 * 1024, f"the guest sees its memory ({kib} KiB of 300 MiB)")
    for function, ids in (("00:00.0", "0x8086 0x1237"), ("00:01.0", "0x8086 0x7000"), ("00:01.1", "0x8086 0x7010"),
                          ("00:01.3", "0x8086 0x7113")):
        check(f"GUEST-PCI 0000:{function} {ids}" in text, f"PCI function {function} is {ids}")
    check("0x1234 0x1111 0x030000" in text, "the VGA adapter is there")
    check("GUEST-VULN meltdown: Not affected" in text, "Meltdown: not affected")
    spectre = re.search(r"GUEST-VULN spectre_v2: (.*)", text).group(1)
    check("Retpoline" not in spectre, f"no retpolines ({spectre})")

# The host unpacks the kernel and puts it somewhere at random, as the kernel itself would; --kernel-as-is leaves it to that.
places = {}
for name, append, extra in (("random", "quiet", []), ("again", "quiet", []), ("fixed", "quiet nokaslr", []), ("itself", "quiet", ["--kernel-as-is"])):
    vm = linux(f"linux-{name}", append, *extra)
    vm.expect(r"GUEST-READY", 240)
    vm.expect(r"[#$] ", 60, after=vm.text.index("GUEST-READY"))
    vm.send("echo text-$(grep -w _text /proc/kallsyms | cut -c1-16) code-$(grep 'Kernel code' /proc/iomem | cut -c3-10); poweroff -f\n")
    places[name] = vm.expect(r"^text-([0-9a-f]{16}) code-([0-9a-f]{8})", 60).groups()
    vm.wait(60)
check(places["random"] != places["again"], f"two starts put the kernel elsewhere ({places['random']}, {places['again']})")
check(places["fixed"] == ("ffffffff81000000", "01000000"), f"nokaslr: where it is linked ({places['fixed']})")
check(places["itself"] != places["fixed"], f"it unpacks itself at random too ({places['itself']})")

vm = linux("linux-shell", "quiet")
vm.expect(r"GUEST-READY", 240)
vm.expect(r"[#$] ", 60, after=vm.text.index("GUEST-READY"))
vm.send("echo shell-$((6 * 7)); cat /proc/interrupts; poweroff -f\n")
vm.expect(r"^shell-42$", 60)
check(vm.wait(60) == 0, "a shell on the serial line takes typed commands")
