#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""A parent that was changed under its child is refused with names and times, and nothing else is."""
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import checks  # noqa: E402
from checks import check  # noqa: E402

TOOL = sys.argv[1]
PAST = time.time_ns() - 3600 * 10**9 + 123456789  # so that no later change falls into the same tick of a clock


def run(*args):
    p = subprocess.run([str(a) for a in args], capture_output=True, text=True, timeout=600)
    return p.returncode, p.stdout + p.stderr


def made(*args):
    code, out = run(*args)
    check(code == 0, f"{' '.join(str(a) for a in args)}: {out}")


def opens(path, what):
    code, out = run(TOOL, "map", path)
    check(code == 0, f"{what}: refused: {out}")


def refused(path, what, *names):
    code, out = run(TOOL, "map", path)
    check(code == 1 and "[DiskParentChanged]" in out, f"{what}: not refused: {code} {out[-300:]}")
    check(all(n in out for n in names) and len(re.findall(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", out)) == 2 and "--accept-parent" in out,
          f"{what}: names and times: {out}")


def age(path):
    os.utime(path, ns=(PAST, PAST))


def parent(d, fmt, name="base", size=8 << 20):
    raw = f"{d}/{name}.data"
    with open(raw, "wb") as f:
        f.write(random.Random(fmt).randbytes(3 << 20) + bytes(size - (3 << 20)))
    made(TOOL, "convert", raw, f"{d}/{name}.{fmt}", "--to", fmt)
    os.unlink(raw)
    age(f"{d}/{name}.{fmt}")
    return f"{d}/{name}.{fmt}"


def child(d, name, fmt, base, base_fmt):
    made(TOOL, "create", f"{d}/{name}.{fmt}", "0", "--to", fmt, "--parent", base, "--parent-format", base_fmt)
    return f"{d}/{name}.{fmt}"


def put(path, fmt, at=0, value=7):
    """What another program does to an image."""
    made("qemu-io", "-f", {"vhd": "vpc"}.get(fmt, fmt), "-c", f"write -P {value} {at} 64k", path)


PAIRS = [("qcow2", f) for f in ("raw", "qcow2", "vdi", "vmdk", "vhd", "vhdx")] + [(f, f) for f in ("vdi", "vmdk", "vhd", "vhdx")]
for fmt, base_fmt in PAIRS:
    with tempfile.TemporaryDirectory(prefix="gh-parents-") as d:
        what = f"{fmt} on {base_fmt}"
        base = parent(d, base_fmt)
        leaf = os.path.basename(base)
        one, two = child(d, "one", fmt, leaf, base_fmt), child(d, "two", fmt, leaf, base_fmt)
        opens(one, what)
        # Read, backed up, copied with its times, moved: it is the same disk.
        made(TOOL, "info", base)
        made(TOOL, "convert", base, f"{d}/copy.raw", "--to", "raw")
        os.utime(base, ns=(time.time_ns(), os.stat(base).st_mtime_ns))
        opens(one, f"{what}: read, and another access time")
        os.mkdir(f"{d}/other")
        made("cp", "-p", base, one, f"{d}/other")
        opens(f"{d}/other/one.{fmt}", f"{what}: copied")
        shutil.rmtree(f"{d}/other")
        made("tar", "-C", d, "-cf", f"{d}/t.tar", "--format=ustar", leaf, f"one.{fmt}")
        os.mkdir(f"{d}/tar")
        made("tar", "-C", f"{d}/tar", "-xf", f"{d}/t.tar")
        opens(f"{d}/tar/one.{fmt}", f"{what}: out of an archive with whole seconds")
        shutil.rmtree(f"{d}/tar")
        # Rewritten by ourselves, the content and the identity are the same.
        if base_fmt != "raw":
            made(TOOL, "compact", base)
            opens(one, f"{what}: parent compacted")
        code, want = run(TOOL, "hash", one)
        # Merged: what was merged still fits, a sibling does not.
        grand = child(d, "grand", fmt, f"one.{fmt}", fmt) if fmt == "qcow2" else None
        made(TOOL, "commit", one)
        opens(one, f"{what}: merged")
        if grand:
            opens(grand, f"{what}: a child of what was merged")
            os.unlink(grand)
        # An empty merge changes nothing; so a sibling with content comes first, made by rebase.
        shutil.copy(f"{d}/copy.raw", f"{d}/want.raw")
        with open(f"{d}/want.raw", "r+b") as f:
            f.seek(1 << 20)
            f.write(b"changed by a sibling" * 1000)
        os.unlink(one)
        made(TOOL, "convert", f"{d}/want.raw", one, "--to", fmt)
        made(TOOL, "rebase", one, "--parent", leaf, "--parent-format", base_fmt)
        opens(two, f"{what}: before the sibling is merged")
        made(TOOL, "commit", one)
        opens(one, f"{what}: merged with content")
        refused(two, f"{what}: its sibling was merged", base, two)
        # The user knows better. (VHD counts in seconds: the next change is to fall into another one.)
        age(base)
        code, out = run(TOOL, "rebase", two, "--accept-parent")
        check(code == 0, f"{what}: accepted: {out}")
        opens(two, f"{what}: accepted")
        code, out = run(TOOL, "check", two)
        check(code == 0, f"{what}: check: {out}")
        # Another program writes to it. QEMU's VDI, VHDX and VPC know nothing of ids; the time tells qcow2 and VHD children.
        if fmt in ("qcow2", "vhd"):
            put(base, base_fmt, 4 << 20)
            refused(two, f"{what}: written by another program", base, two)
            os.utime(base, ns=(PAST + 7 * 10**9, PAST + 7 * 10**9))
            refused(two, f"{what}: another time", base, two)
            code, out = run(TOOL, "rebase", two, "--accept-parent")
            check(code == 0, f"{what}: accepted again: {out}")
            opens(two, f"{what}: accepted again")

with tempfile.TemporaryDirectory(prefix="gh-parents-") as d:
    # QEMU: does not mind the extension, keeps it, and clean is clean.
    base = parent(d, "qcow2")
    top = child(d, "top", "qcow2", "base.qcow2", "qcow2")
    made("qemu-img", "check", "-q", top)
    code, out = run("qemu-img", "info", top)
    check(code == 0 and "backing file: base.qcow2" in out, f"qemu-img info: {out}")
    put(top, "qcow2")
    made("qemu-img", "check", "-q", top)
    opens(top, "written to by QEMU")
    put(base, "qcow2")
    refused(top, "QEMU kept what is remembered", base, top)
    code, out = run("qemu-img", "map", top)
    check(code == 0, f"QEMU reads it: {out}")
    # Another parent by somebody's explicit wish is not the one that is remembered.
    shutil.copy(base, f"{d}/new.qcow2")
    made("qemu-img", "rebase", "-u", "-F", "qcow2", "-b", "new.qcow2", top)
    opens(top, "qemu-img rebase -u")

    # Made by qemu-img: not watched until we write to it.
    for version, extra in (("0.10", ()), ("1.1", ()), ("1.1", ("-o", "cluster_size=512"))):
        base = parent(d, "raw", "plain")
        top = f"{d}/theirs.qcow2"
        made("qemu-img", "create", "-q", "-f", "qcow2", "-o", f"compat={version}", *extra, "-F", "raw", "-b", "plain.raw", top)
        os.utime(base)
        opens(top, f"QEMU's {version}: a changed parent is not known")
        made(TOOL, "resize", top, "9M")
        code, out = run("qemu-img", "info", top)
        check(code == 0 and "backing file: plain.raw" in out and "backing file format: raw" in out, f"QEMU's {version} after our write: {out}")
        made("qemu-img", "check", "-q", top)
        code, out = run("qemu-img", "compare", "-f", "raw", "-F", "qcow2", base, top)
        check(code == 0, f"QEMU's {version} reads: {out}")
        opens(top, f"QEMU's {version} after our write")
        age(base)
        if extra: # such a small header may have no room
            code, out = run(TOOL, "map", top)
            check(code == 0 or "[DiskParentChanged]" in out, f"QEMU's small clusters: {out}")
        else:
            refused(top, f"QEMU's {version} after our write", base, top)
        os.unlink(top)
        os.unlink(base)

    # A merge that is killed can be done again; a sibling is refused from its first write on.
    base = parent(d, "qcow2", "big", 64 << 20)
    before = open(base, "rb").read()
    made("qemu-img", "create", "-q", "-f", "raw", f"{d}/want.raw", "64M")
    made("qemu-io", "-f", "raw", "-c", "write -P 9 0 64M", f"{d}/want.raw")
    made(TOOL, "convert", f"{d}/want.raw", f"{d}/killed.qcow2", "--to", "qcow2")
    made(TOOL, "rebase", f"{d}/killed.qcow2", "--parent", "big.qcow2", "--parent-format", "qcow2")
    sibling = child(d, "sibling", "qcow2", "big.qcow2", "qcow2")
    killed = 0
    for _ in range(20):
        p = subprocess.Popen([TOOL, "commit", f"{d}/killed.qcow2", "-p", "--json"], stderr=subprocess.PIPE)
        for line in p.stderr:
            if b'"done"' in line:
                p.send_signal(signal.SIGKILL)
                break
        p.stderr.close()
        if p.wait() < 0 and open(base, "rb").read() != before:
            killed += 1
            break
    check(killed == 1, "a merge was killed in the middle")
    opens(f"{d}/killed.qcow2", "after a killed merge")
    refused(sibling, "the sibling of a killed merge", base, sibling)
    made(TOOL, "commit", f"{d}/killed.qcow2")
    opens(f"{d}/killed.qcow2", "merged at last")
    code, out = run(TOOL, "compare", f"{d}/want.raw", base)
    check(code == 0, f"merged at last: {out}")

    # The middle of a chain is rewritten: who builds on it does not mind.
    base = parent(d, "qcow2", "floor")
    shutil.copy2(base, f"{d}/floor2.qcow2")
    middle = child(d, "middle", "qcow2", "floor.qcow2", "qcow2")
    top = child(d, "roof", "qcow2", "middle.qcow2", "qcow2")
    made(TOOL, "rebase", middle, "--parent", "floor2.qcow2", "--parent-format", "qcow2")
    opens(top, "the middle moved to a copy of the parent")
    made(TOOL, "rebase", middle, "--flatten")
    opens(top, "the middle became whole")
    code, out = run(TOOL, "rebase", base, "--accept-parent")
    check(code == 1 and "[DiskHasNoParent]" in out, f"nothing to accept: {out}")

# compact keeps the id, in every format that has one: children find their parent, definitions of VirtualBox their disk.
for fmt in ("vdi", "vhd", "vhdx", "vmdk"):
    with tempfile.TemporaryDirectory(prefix="gh-parents-") as d:
        base = parent(d, fmt)
        top = child(d, "top", fmt, f"base.{fmt}", fmt)
        code, content = run(TOOL, "hash", top)
        ids = [re.search(r'"uuid": "([^"]*)"|$', run(TOOL, "info", base, "--json")[1]).group(1)]
        was = os.stat(base).st_ino
        made(TOOL, "compact", base)
        ids.append(re.search(r'"uuid": "([^"]*)"|$', run(TOOL, "info", base, "--json")[1]).group(1))
        check(os.stat(base).st_ino != was, f"{fmt}: compact made a new file")
        check(ids[0] == ids[1] and (ids[0] or fmt == "vmdk"), f"{fmt}: compact keeps the id: {ids}")
        check(run(TOOL, "hash", top) == (0, content), f"{fmt}: the child reads the same")

checks.end()
