#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Differencing children of every format that has them: made, written to, read, merged; QEMU reads what it can read."""
import os
import random
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import checks  # noqa: E402
from checks import check  # noqa: E402

TOOL = sys.argv[1]


def run(*args):
    p = subprocess.run([str(a) for a in args], capture_output=True, text=True)
    return p.returncode, p.stdout + p.stderr


for fmt, qemu in (("qcow2", "qcow2"), ("vdi", None), ("vmdk", "vmdk"), ("vhd", None), ("vhdx", None)):
    with tempfile.TemporaryDirectory(prefix="gh-children-") as d:
        r = random.Random(fmt)
        data = bytearray(r.randbytes(5 << 20) + bytes(7 << 20))
        with open(f"{d}/base.raw", "wb") as f:
            f.write(data)
        code, out = run(TOOL, "convert", f"{d}/base.raw", f"{d}/base.{fmt}", "--to", fmt)
        check(code == 0, f"{fmt}: base: {out}")
        before = open(f"{d}/base.{fmt}", "rb").read()
        # Two generations; between them changes that hide the parent with data and with zeros.
        for n, parent in ((1, "base"), (2, "child1")):
            code, out = run(TOOL, "create", f"{d}/child{n}.{fmt}", "0", "--to", fmt, "--parent", f"{parent}.{fmt}", "--parent-format", fmt)
            check(code == 0, f"{fmt}: child {n}: {out}")
            patch = bytearray(data)
            for _ in range(6):
                at, size = r.randrange(0, len(data) - 200000) & ~511, r.randrange(512, 150000) & ~511
                patch[at:at + size] = r.randbytes(size) if r.random() < 0.6 else bytes(size)
            if n == 2: # whole blocks of every format
                patch[0:9 << 20] = bytes(9 << 20)
            with open(f"{d}/want.raw", "wb") as f:
                f.write(patch)
            # rebase puts exactly the difference into a child: the flattened image moves onto its parent again.
            shutil.copy(f"{d}/want.raw", f"{d}/w.raw")
            os.unlink(f"{d}/child{n}.{fmt}")
            code, out = run(TOOL, "convert", f"{d}/w.raw", f"{d}/child{n}.{fmt}", "--to", fmt)
            code2, out2 = run(TOOL, "rebase", f"{d}/child{n}.{fmt}", "--parent", f"{parent}.{fmt}", "--parent-format", fmt)
            check(code == 0 and code2 == 0, f"{fmt}: rebase {n}: {out}{out2}")
            data = patch
            code, out = run(TOOL, "compare", f"{d}/want.raw", f"{d}/child{n}.{fmt}")
            check(code == 0, f"{fmt}: child {n} reads: {out}")
            if qemu:
                code, out = run("qemu-img", "compare", "-f", "raw", "-F", qemu, f"{d}/want.raw", f"{d}/child{n}.{fmt}")
                check(code == 0, f"{fmt}: child {n} by qemu-img: {out}")
                code, out = run("qemu-img", "info", "--backing-chain", f"{d}/child{n}.{fmt}")
                check(out.count("image: ") == n + 1, f"{fmt}: qemu-img sees the chain: {out}")
        check(open(f"{d}/base.{fmt}", "rb").read() == before, f"{fmt}: the parent was touched")
        check(os.path.getsize(f"{d}/child2.{fmt}") < os.path.getsize(f"{d}/base.{fmt}") + (12 << 20), f"{fmt}: a child holds only what differs")
        code, out = run(TOOL, "check", f"{d}/child2.{fmt}")
        check(code == 0, f"{fmt}: check: {out}")
        # Merged down, twice.
        for n in (2, 1):
            code, out = run(TOOL, "commit", f"{d}/child{n}.{fmt}")
            check(code == 0, f"{fmt}: commit {n}: {out}")
            os.unlink(f"{d}/child{n}.{fmt}")
        code, out = run(TOOL, "compare", f"{d}/want.raw", f"{d}/base.{fmt}")
        check(code == 0, f"{fmt}: merged: {out}")
        # A parent of another format is refused, and so is one that changed under its child.
        if fmt != "qcow2":
            run("qemu-img", "create", "-q", "-f", "qcow2", f"{d}/other.qcow2", "12M")
            code, out = run(TOOL, "create", f"{d}/bad.{fmt}", "0", "--to", fmt, "--parent", "other.qcow2", "--parent-format", "qcow2")
            check(code != 0 and not os.path.exists(f"{d}/bad.{fmt}"), f"{fmt}: a foreign parent: {out}")
# A damaged parent whose header is not counted: nothing may be put where the header is.
with tempfile.TemporaryDirectory(prefix="gh-children-") as d:
    run("qemu-img", "create", "-q", "-f", "qcow2", f"{d}/base.qcow2", "12M")
    with open(f"{d}/base.qcow2", "r+b") as f:
        head = f.read(72)
        table = int.from_bytes(head[48:56], "big")
        f.seek(table)
        f.write(bytes(8))
    run("qemu-img", "create", "-q", "-f", "qcow2", "-u", "-F", "qcow2", "-b", "base.qcow2", f"{d}/top.qcow2", "12M")
    run("qemu-io", "-f", "qcow2", "-c", "write -P 7 0 4M", f"{d}/top.qcow2")
    code, out = run(TOOL, "commit", f"{d}/top.qcow2")
    check(code in (0, 1) and open(f"{d}/base.qcow2", "rb").read(4) == head[:4], f"an uncounted header is overwritten: {code} {out}")

checks.end()
