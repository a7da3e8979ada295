# SPDX-License-Identifier: GPL-3.0-or-later
"""What the benchmarks share: an equal processor for QEMU, CPU clocks, memory, initramfs archives."""
import hashlib
import math
import os
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "e2e"))
from guestlib import BUILD, TOP, VM, Process, guest  # noqa: E402,F401

CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")), "gasthaus-bench")
# Vendor, family and features of our model x86-64-v2, as far as TCG has them: a guest kernel then takes the same
# decisions (no mitigations, the same string routines) on both.
QEMU_CPU = ("qemu64,vendor=GenuineIntel,family=6,model=54,stepping=1,+ssse3,+sse4.1,+sse4.2,+popcnt,+cx16,+fsgsbase,"
            "+erms,+smep,+smap,+umip,+rdpid,+rdtscp,+pdpe1gb,+clflushopt,+invtsc,-svm,-3dnow,-3dnowext,-mmxext")


def group(pgid):
    """Process ids of a group."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if int(open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[2]) == pgid:
                found.append(int(pid))
        except (OSError, IndexError):
            continue
    return found


def cpu_ns(pids):
    """CPU time of processes, to the nanosecond; ended threads count, ended processes do not."""
    total = 0
    for pid in pids:
        try:
            total += time.clock_gettime_ns((~pid << 3) | 2)
        except OSError:
            continue
    return total


def overhead_kib(pids, ram_bytes):
    """PSS of processes without the mapping that is the guest's memory."""
    total = 0
    for pid in pids:
        skip = False
        try:
            lines = open(f"/proc/{pid}/smaps").read().splitlines()
        except OSError:
            continue
        for line in lines:
            words = line.split()
            if "-" in words[0] and not words[0].endswith(":"):
                start, end = (int(x, 16) for x in words[0].split("-"))
                skip = end - start >= ram_bytes * 3 // 4
            elif words[0] == "Pss:" and not skip:
                total += int(words[1])
    return total


def geomean(values):
    values = list(values)
    return math.exp(sum(map(math.log, values)) / len(values)) if values else float("nan")


def initramfs(path, files, nodes=()):
    """A newc archive. files: name -> (mode, bytes); nodes: (name, mode with type, major, minor)."""
    def entry(name, mode, data=b"", rdev=(0, 0)):
        entry.ino += 1
        fields = [entry.ino, mode, 0, 0, 1, 0, len(data), 0, 0, rdev[0], rdev[1], len(name) + 1, 0]
        head = b"070701" + b"".join(b"%08X" % f for f in fields) + name.encode() + b"\0"
        head += b"\0" * (-len(head) % 4)
        return head + data + b"\0" * (-len(data) % 4)
    entry.ino = 0
    out = b"".join(entry(n, 0o040755) for n in sorted({os.path.dirname(f) for f in files} - {""}))
    out += b"".join(entry(n, m, b"", (a, b)) for n, m, a, b in nodes)
    out += b"".join(entry(n, 0o100000 | m, d) for n, (m, d) in files.items()) + entry("TRAILER!!!", 0)
    with open(path, "wb") as f:
        f.write(out)
    return path


def debian_tree(kind, packages, files, mib):
    """Debian 12 packages and files (name -> text, executable) in a folder: `root`, and an ext4 image of it, disk.img. Cached by
    what they are made of."""
    key = hashlib.sha256(repr((packages, sorted(files.items()), mib)).encode()).hexdigest()[:12]
    folder = f"{CACHE}/{kind}-{key}"
    if os.path.exists(f"{folder}/.done"):
        return folder
    if os.getuid():
        sys.exit("this benchmark must run as root the first time: mmdebstrap unpacks with the right owners")
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    print(f"unpacking Debian's packages for {kind} (once)", flush=True)
    subprocess.run(["mmdebstrap", "--quiet", "--mode=root", "--variant=extract", f"--include={packages}", "--aptopt=APT::Install-Recommends \"false\"",
                    "--skip=essential/unlink", "bookworm", f"{folder}/root", os.environ.get("GH_DEBIAN_MIRROR", "http://deb.debian.org/debian")], check=True)
    for name, text in files.items():
        os.makedirs(os.path.dirname(f"{folder}/root/{name}"), exist_ok=True)
        open(f"{folder}/root/{name}", "w").write(text)
        os.chmod(f"{folder}/root/{name}", 0o755)
    for name in ("usr/share/doc", "usr/share/man", "usr/share/locale", "var/cache/apt", "var/lib/apt", "var/lib/dpkg"):
        shutil.rmtree(f"{folder}/root/{name}", ignore_errors=True)
    for name in ("tmp", "proc", "dev", "sys", "run"):
        os.makedirs(f"{folder}/root/{name}", exist_ok=True)
    subprocess.run(["/sbin/mke2fs", "-q", "-t", "ext4", "-d", f"{folder}/root", f"{folder}/disk.img", f"{mib}M"], check=True)
    open(f"{folder}/.done", "w").close()
    return folder


def joined_initrd(path, *parts):
    """Several archives as one; the kernel wants each at a multiple of four."""
    with open(path, "wb") as f:
        for part in parts:
            data = open(part, "rb").read()
            f.write(data + b"\0" * (-len(data) % 4))
    return path


def vm_args(kernel, initrd, append, memory, *more):
    return [VM, "--memory", f"{memory}M", "--accel", "soft", "--kernel", kernel, "--initrd", initrd, "--append", append,
            "--serial", "stdio", "--no-reboot", *more]


def qemu_args(kernel, initrd, append, memory, *more):
    return ["qemu-system-x86_64", "-M", "pc", "-accel", "tcg", "-cpu", QEMU_CPU, "-m", str(memory), "-nic", "none", "-display", "none",
            "-no-reboot", "-kernel", kernel, "-initrd", initrd, "-append", append, "-serial", "stdio", *more]


def build_kernels(folder):
    """The micro-kernels as a static program."""
    here = f"{TOP}/bench/kernels"
    sources = sorted(f"{here}/{f}" for f in os.listdir(here) if f.endswith(".c"))
    subprocess.run(["gcc", "-O2", "-fno-tree-vectorize", "-static", "-o", f"{folder}/kernels", *sources], check=True)
    return f"{folder}/kernels"
