#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
# gasthaus-test: short 600
"""CPU models on the software CPU: what a Linux guest finds, that it computes with it, and that others are refused."""
import hashlib
import re

from guestlib import VM, Process, check, linux

host = re.search(r"^flags\s*: (.*)$", open("/proc/cpuinfo").read(), re.M).group(1).split()
V2 = "cx16 popcnt sse4_1 sse4_2 ssse3 lahf_lm".split()
V3 = "avx avx2 bmi1 bmi2 f16c fma movbe xsave aes abm".split()
for model in ("x86-64-v2", "x86-64-v3", "host", "max"):
    if model == "x86-64-v3" and not set(V3) <= set(host):
        vm = Process([VM, "--accel", "soft", "--cpu", model], "cpu-model")
        check(vm.wait(30) == 2 and "x86-64-v2" in vm.text, "x86-64-v3 is refused on a host that lacks its units, with a hint")
        continue
    vm = linux(f"cpu-{model}", "quiet", "--cpu", model)
    vm.expect(r"GUEST-READY", 240)
    vm.expect(r"[#$] ", 60, after=vm.text.index("GUEST-READY"))
    vm.send("grep -m1 ^flags /proc/cpuinfo; grep -m1 'model name' /proc/cpuinfo; dd if=/dev/zero bs=1k count=200 2>/dev/null | sha256sum; poweroff -f\n")
    check(vm.wait(120) == 0, f"{model}: it boots and shuts down")
    flags = re.search(r"^flags\s*: (.*)$", vm.text, re.M).group(1).split()
    check(set(V2) <= set(flags), f"{model}: all features of x86-64-v2")
    wide = model != "x86-64-v2" and set(V3) <= set(host)
    check(set(V3) <= set(flags) if wide else not set(V3) & set(flags), f"{model}: {'all' if wide else 'none'} of x86-64-v3's")
    extra = {"rdrand", "rdseed", "adx", "sha_ni", "clwb"} & set(flags)
    check(extra == ({"rdrand", "rdseed", "adx", "sha_ni", "clwb"} & set(host) if model in ("host", "max") else set()), f"{model}: beyond it {sorted(extra)}")
    check({"pku", "ospke"} <= set(flags) if wide and model == "max" else not {"pku", "ospke"} & set(flags), f"{model}: protection keys")
    # busybox takes another way through SHA-256 where the processor has instructions for it.
    check(hashlib.sha256(bytes(200 * 1024)).hexdigest() + "  -" in vm.text, f"{model}: it computes")
vm = Process([VM, "--accel", "soft", "--cpu", "486dx"], "cpu-model")
check(vm.wait(30) == 2 and "x86-64-v2, x86-64-v3, host or max" in vm.text, "another model is refused, and those that exist are named")
