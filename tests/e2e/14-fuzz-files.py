#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
# gasthaus-test: long 7200
"""libFuzzer over every disk format and every kind of foreign machine: GH_FUZZ_SECONDS (60) each, no findings."""
import os
import re
import subprocess
import sys
import tempfile

from guestlib import BUILD, OUT, check

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FUZZ = f"{TOP}/build-fuzz"
SECONDS = "60" if os.environ.get("GH_ALL") else os.environ.get("GH_FUZZ_SECONDS", "60")
if subprocess.run(["clang", "--version"], capture_output=True).returncode:
    print("skipped: clang is missing")
    sys.exit(77)
env = dict(os.environ, CC="clang")
if not os.path.isdir(FUZZ):
    subprocess.run(["meson", "setup", FUZZ, "-Dfuzz=true", "-Dgui=disabled"], cwd=TOP, env=env, check=True, stdout=subprocess.DEVNULL)
targets = ["image-" + f for f in ("raw", "qcow2", "vdi", "vmdk", "vhd", "vhdx", "qed", "hdd", "dmg")] + \
    ["appliance-" + f for f in ("ovf", "vbox", "vmx", "libvirt", "xen", "quickemu", "ova")]
subprocess.run(["ninja", "-C", FUZZ, *[f"tests/fuzz/fuzz-{t}" for t in targets]], check=True, stdout=subprocess.DEVNULL)
found = 0
with tempfile.TemporaryDirectory(prefix="gh-fuzz-") as d:
    subprocess.run([sys.executable, f"{TOP}/tests/fuzz/seeds.py", f"{d}/seeds", f"{BUILD}/src/image-tool/gasthaus-image"], check=True)
    for t in targets:
        os.mkdir(f"{d}/{t}")
        p = subprocess.run([f"{FUZZ}/tests/fuzz/fuzz-{t}", f"-max_total_time={SECONDS}", "-timeout=25", "-rss_limit_mb=1500", "-len_control=0",
                            f"-artifact_prefix={OUT}/fuzz-{t}-", f"{d}/{t}", f"{d}/seeds/{t}"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                           text=True, errors="replace", env=dict(os.environ, ASAN_OPTIONS="detect_leaks=1:allocator_may_return_null=1"))
        done = re.findall(r"#(\d+)\s+DONE.*", p.stderr)
        if p.returncode or not done or not int(done[-1]):
            open(f"{OUT}/fuzz-{t}.txt", "w").write(p.stderr)
            print(p.stderr[-3000:])
            found += 1
        print(f"{'ok' if p.returncode == 0 else 'FINDING'}: {t}: {done[-1] if done else '?'} inputs", flush=True)
check(found == 0, f"{found} of {len(targets)} targets have a finding")
