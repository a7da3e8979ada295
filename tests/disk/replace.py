#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever gasthaus-image writes over: the old image stays whole until the new one is, also when the program is killed.

replace.py GASTHAUS_IMAGE [--kills N] [--seed S]
Also: a cancel leaves nothing behind, a running user of the old image is respected, hash is the same in every format.
"""
import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import checks  # noqa: E402
from checks import check  # noqa: E402

ap = argparse.ArgumentParser()
ap.add_argument("tool")
ap.add_argument("--kills", type=int, default=500 if os.environ.get("GH_ALL") else 20)
ap.add_argument("--seed", type=int, default=1)
args = ap.parse_args()
rnd = random.Random(args.seed)
MIB = 1 << 20


def run(*cmd):
    p = subprocess.run([args.tool, *map(str, cmd)], capture_output=True, text=True, timeout=300)
    return p.returncode, p.stdout + p.stderr


def plain(path, *more):
    code, out = run("hash", "--plain", "--json", path, *more)
    return json.loads(out)["hash"] if code == 0 else f"unreadable: {out}"


def content(seed, mib):
    """Data, holes, and zeros that are written out."""
    r = random.Random(seed)
    return b"".join(r.choice([r.randbytes(MIB // 4), bytes(MIB // 4)]) for _ in range(mib * 4))


def leaf(data):
    return hashlib.sha256(b"\0" + data).digest()


def tree(leaves):
    """The tree of ops.h, straight from its definition."""
    if len(leaves) == 1:
        return leaves[0]
    left = 1
    while left * 2 < len(leaves):
        left *= 2
    return hashlib.sha256(b"\1" + tree(leaves[:left]) + tree(leaves[left:])).digest()


def tree_hash(data):
    root = tree([leaf(data[at:at + 65536]) for at in range(0, len(data), 65536)])
    return hashlib.sha256(b"\2" + len(data).to_bytes(8, "big") + root).hexdigest()


def left_over(folder, keep):
    return sorted(set(os.listdir(folder)) - set(keep))


# name, options of convert, format
KINDS = [("qcow2", []), ("raw", []), ("vdi", []), ("vhd", []), ("vhdx", []), ("vmdk", []), ("vmdk", ["--variant", "split-sparse"]),
         ("vmdk", ["--variant", "monolithic-flat"]), ("qcow2", ["--compression", "zstd"]), ("vmdk", ["--variant", "stream-optimized"])]


def hashes(folder):
    for mib, extra in ((1, 512), (4, 0), (9, 65536 + 1024), (13, 0)):
        data = content(mib, mib) + random.Random(3).randbytes(extra)
        with open(f"{folder}/h.raw", "wb") as f:
            f.write(data)
        for fmt, options in KINDS:
            target = f"{folder}/h.{fmt}"
            if fmt != "raw":
                code, out = run("convert", f"{folder}/h.raw", target, "--from", "raw", "--to", fmt, *options, "--force")
                check(code == 0, f"hash: convert to {fmt}: {out}")
            code, out = run("hash", "--json", target, "--from", fmt)
            answer = json.loads(out)
            check(code == 0 and answer["hash"] == tree_hash(data) and answer["bytes"] == len(data), f"hash: {fmt} {options} {mib} MiB: {out}")
            check(plain(target, "--from", fmt) == hashlib.sha256(data).hexdigest(), f"hash --plain: {fmt} {options}")
    # Whole subtrees of zeros, without looking at them.
    run("create", f"{folder}/big.qcow2", "8T")
    begin = time.monotonic()
    code, out = run("hash", f"{folder}/big.qcow2")
    check(code == 0 and time.monotonic() - begin < 60, f"hash of 8 TiB of nothing took {time.monotonic() - begin:.1f} s: {out}")
    with open(f"{folder}/z.raw", "wb") as f:
        f.truncate(40 * MIB)
    with open(f"{folder}/z.written", "wb") as f:
        f.write(bytes(40 * MIB))
    code, sparse = run("hash", f"{folder}/z.raw", "--from", "raw")
    code, written = run("hash", f"{folder}/z.written", "--from", "raw")
    check(sparse.split()[0] == written.split()[0] == "sha256-tree:" + tree_hash(bytes(40 * MIB)), f"hash of zeros: {sparse} {written}")
    for name in os.listdir(folder):
        os.unlink(f"{folder}/{name}")


def refusals(folder):
    run("create", f"{folder}/a.qcow2", "8M")
    run("create", f"{folder}/b.qcow2", "8M")
    for cmd in (("create", f"{folder}/b.qcow2", "9M"), ("convert", f"{folder}/a.qcow2", f"{folder}/b.qcow2")):
        before = open(f"{folder}/b.qcow2", "rb").read()
        code, out = run(*cmd)
        check(code == 1 and "[FileExists]" in out, f"{cmd[0]} over an image: {out}")
        check(open(f"{folder}/b.qcow2", "rb").read() == before, f"{cmd[0]} without --force changed the image")
    os.makedirs(f"{folder}/d")
    code, out = run("convert", f"{folder}/a.qcow2", f"{folder}/d", "--force")
    check(code == 1 and os.path.isdir(f"{folder}/d"), f"over a folder: {out}")
    os.rmdir(f"{folder}/d")
    # Permissions stay; a link stays a link.
    os.chmod(f"{folder}/b.qcow2", 0o640)
    os.symlink("b.qcow2", f"{folder}/link.qcow2")
    code, out = run("convert", f"{folder}/a.qcow2", f"{folder}/link.qcow2", "--force")
    check(code == 0 and os.path.islink(f"{folder}/link.qcow2"), f"through a link: {out}")
    check(stat.S_IMODE(os.stat(f"{folder}/b.qcow2").st_mode) == 0o640, "permissions of the old image")
    check(left_over(folder, ["a.qcow2", "b.qcow2", "link.qcow2"]) == [], f"left over: {os.listdir(folder)}")
    # Somebody works with it.
    if shutil.which("qemu-io"):
        user = subprocess.Popen(["qemu-io", "-f", "qcow2", f"{folder}/b.qcow2"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        user.stdin.write("write -P 3 0 64k\n")
        user.stdin.flush()
        while "ops" not in (line := user.stdout.readline()) and line:
            pass
        for cmd in (("convert", f"{folder}/a.qcow2", f"{folder}/b.qcow2", "--force"), ("create", f"{folder}/b.qcow2", "8M", "--force"),
                    ("compact", f"{folder}/b.qcow2")):
            code, out = run(*cmd)
            check(code == 1 and "[DiskLocked]" in out and f"qemu-io (process {user.pid})" in out, f"{cmd[0]} over a used image: {code} {out}")
        code, out = run("resize", f"{folder}/b.qcow2", "+1M")
        check(code == 1 and "[DiskLocked]" in out and f"qemu-io (process {user.pid})" in out, f"resize of a used image: {code} {out}")
        user.stdin.write("read -P 3 0 64k\nquit\n")
        user.stdin.flush()
        check("failed" not in user.communicate()[0], "the user's data are gone")
    for name in os.listdir(folder):
        os.unlink(f"{folder}/{name}")


def over(folder, fmt, options, sig):
    """One command that replaces t.FMT, ended by sig at a random moment."""
    target = f"{folder}/t.{fmt}"
    new, old = f"{folder}/new.raw", f"{folder}/old.raw"
    for name in os.listdir(folder):
        os.unlink(f"{folder}/{name}")
    for path, data in ((new, over.new), (old, over.old)):
        with open(path, "wb") as f:
            f.write(data)
    code, out = run("convert", old, target, "--from", "raw", "--to", fmt, *options, "--force")
    check(code == 0, f"{fmt} {options}: {out}")
    names = set(os.listdir(folder))
    command = rnd.choice(["convert", "convert", "compact"] if options[:1] != ["--variant"] else ["convert"])
    cmd = [args.tool, command, target, "--from", fmt] if command == "compact" else \
        [args.tool, "convert", new, target, "--from", "raw", "--to", fmt, *options, "--force"]
    p = subprocess.Popen(cmd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(rnd.random() * over.time)
    p.send_signal(sig)
    code = p.wait()
    what = f"{command} {fmt} {options} ended by {sig.name} ({code})"
    is_now = plain(target, "--from", fmt)
    allowed = [over.old_hash] if command == "compact" else [over.old_hash, over.new_hash]
    check(is_now in allowed, f"{what}: the image is neither the old nor the new one: {is_now}")
    if code == 0:
        check(is_now == allowed[-1], f"{what}: done, but the image is the old one")
    if sig == signal.SIGINT or code >= 0:
        check(code in (0, 1), what)
        rest = left_over(folder, names) if code else [n for n in left_over(folder, names) if n.startswith(".")]
        check(rest == [], f"{what}: left behind {rest}")
        over.cancelled += code == 1
    else:
        over.killed += 1
    check(all(n.startswith(".") for n in left_over(folder, names) if "-2-" not in n and "-2." not in n), f"{what}: {os.listdir(folder)}")
    # The next one is not disturbed and leaves nothing but itself.
    code, out = run("convert", new, target, "--from", "raw", "--to", fmt, *options, "--force")
    check(code == 0 and plain(target, "--from", fmt) == over.new_hash, f"{what}: the next one: {out}")
    check(not [n for n in os.listdir(folder) if n.startswith(".t." + fmt)], f"{what}: {os.listdir(folder)}")


def merge(folder, fmt):
    """A merge into the parent that is killed: the child still reads as before, and merging again completes it."""
    for name in os.listdir(folder):
        os.unlink(f"{folder}/{name}")
    base, top = f"{folder}/base.{fmt}", f"{folder}/top.{fmt}"
    for path, data in ((f"{folder}/new.raw", over.new), (f"{folder}/old.raw", over.old)):
        with open(path, "wb") as f:
            f.write(data)
    for source, target in ((f"{folder}/old.raw", base), (f"{folder}/new.raw", top)):
        code, out = run("convert", source, target, "--from", "raw", "--to", fmt)
        check(code == 0, f"merge {fmt}: {out}")
    code, out = run("rebase", top, "--parent", f"base.{fmt}", "--parent-format", fmt)
    check(code == 0, f"merge {fmt}: rebase: {out}")
    p = subprocess.Popen([args.tool, "commit", top], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(rnd.random() * over.time / 2)
    p.send_signal(rnd.choice([signal.SIGKILL, signal.SIGINT]))
    if p.wait() != 0:
        over.merges += 1
        check(plain(top, "--from", fmt) == over.new_hash, f"merge {fmt}: after an interrupted merge the child reads as something else: {plain(top)}")
        code, out = run("commit", top)
        check(code == 0, f"merge {fmt}: again: {out}")
    check(plain(base, "--from", fmt) == over.new_hash, f"merge {fmt}: the parent has the child's content: {plain(base)}")
    check(plain(top, "--from", fmt) == over.new_hash, f"merge {fmt}: what was merged fits its parent still: {plain(top)}")


def space(folder):
    """An image that may outgrow its file system is made all the same, with a note."""
    def note(*cmd):
        p = subprocess.run([args.tool, *map(str, cmd), "--json"], capture_output=True, text=True, timeout=300)
        check(p.returncode == 0, f"{cmd}: {p.stdout} {p.stderr}")
        found = [json.loads(line)["note"] for line in p.stderr.splitlines() if line.startswith('{"note"')]
        check(all(n["id"] == "DiskMayOutgrowHost" and n["message"] for n in found), f"{cmd}: {found}")
        return len(found)

    s = os.statvfs(folder)
    much = (s.f_blocks * s.f_frsize + MIB) // 512 * 512 * 2
    for fmt in ("qcow2", "raw", "vhdx"):
        limit = min(much, 63 << 40) if fmt != "raw" else min(much, 8 << 40)
        check(note("create", f"{folder}/large.{fmt}", limit, "--to", fmt) == 1, f"create {fmt}: one note for {limit} bytes")
        check(note("create", f"{folder}/small.{fmt}", MIB, "--to", fmt) == 0, f"create {fmt}: no note for 1 MiB")
        if fmt != "vhdx":                     # its table is as large as the disk was to be
            check(note("resize", f"{folder}/small.{fmt}", limit, "--from", fmt) == 1, f"resize {fmt}: one note")
    check(note("convert", f"{folder}/large.qcow2", f"{folder}/other.vhdx", "--to", "vhdx") == 1, "convert: one note")
    check(note("create", f"{folder}/fixed.raw", MIB, "--to", "raw", "--variant", "fixed") == 0, "create: no note for what has its space")
    for f in os.listdir(folder):
        os.unlink(f"{folder}/{f}")
    short(folder)


def short(folder):
    """What does not fit is announced, fails, and leaves nothing. On a small file system, where one may be made."""
    full, small = f"{folder}/full.raw", f"{folder}/small"
    with open(full, "wb") as f:
        f.write(random.Random(4).randbytes(16 * MIB))
    os.mkdir(small)
    script = ('mount -t tmpfs -o size=8m none "$1" || exit 99; "$2" convert "$3" "$1/out.raw" --to raw --json; '
              'code=$?; ls -A "$1"; exit $code')
    p = subprocess.run(["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", small, args.tool, full],
                       capture_output=True, text=True, timeout=300)
    os.rmdir(small)
    os.unlink(full)
    if p.returncode == 99 or "unshare" in p.stderr:
        print("no small file system could be made here: skipped")
        return
    notes = [json.loads(line)["note"]["id"] for line in p.stderr.splitlines() if line.startswith('{"note"')]
    check(p.returncode != 0 and notes[:1] == ["DiskSpaceShort"], f"convert to a small file system: {p.returncode} {p.stdout} {p.stderr}")
    check("out.raw" not in p.stdout.splitlines() and "gasthaus-new" not in p.stdout, f"convert to a small file system leaves {p.stdout}")


with tempfile.TemporaryDirectory(prefix="gh-replace-", dir=os.environ.get("TMPDIR", "/var/tmp")) as folder:
    space(folder)
    hashes(folder)
    refusals(folder)
    over.new, over.old = content(11, 24), content(12, 24)
    over.new_hash, over.old_hash = hashlib.sha256(over.new).hexdigest(), hashlib.sha256(over.old).hexdigest()
    over.killed = over.cancelled = over.merges = 0
    with open(f"{folder}/o.raw", "wb") as f:
        f.write(over.new)
    begin = time.monotonic()
    run("convert", f"{folder}/o.raw", f"{folder}/o.vmdk", "--from", "raw", "--to", "vmdk")
    over.time = time.monotonic() - begin
    for i in range(args.kills):
        over(folder, *KINDS[i % len(KINDS)], signal.SIGINT if i // len(KINDS) % 4 == 3 else signal.SIGKILL)
    for i in range(max(5, args.kills // 4)):
        merge(folder, ("vdi", "qcow2", "vmdk", "vhd", "vhdx")[i % 5])
    check(over.killed > 0, "nothing was killed in time")
checks.end(f"{over.killed} killed, {over.cancelled} cancelled, {over.merges} merges interrupted")
