#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""gasthaus-image at its edges: sizes, names, every resize, large disks with little in them, chains that other programs read.

tool.py GASTHAUS_IMAGE
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import checks  # noqa: E402
from checks import check  # noqa: E402

TOOL = os.path.abspath(sys.argv[1])
if not shutil.which("qemu-img"):
    print("skipped: qemu-img is not installed")
    sys.exit(77)
KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40


def run(*cmd):
    p = subprocess.run([TOOL, *map(os.fsencode, map(str, cmd))], capture_output=True, timeout=600)
    return p.returncode, p.stdout.decode(), p.stderr.decode(errors="replace")


def refused(name, *cmd):
    code, _, err = run(*cmd)
    return code == 1 and f"[{name}]" in err


def made(*cmd):
    """Runs it with --json: says what is there now."""
    code, out, err = run(*cmd, "--json")
    check(code == 0, f"{cmd}: {out} {err}")
    return json.loads(out) if out.startswith("{") else {}


def qemu(*cmd):
    p = subprocess.run(cmd, capture_output=True, text=True, timeout=600)
    check(p.returncode == 0, f"{cmd}: {p.stdout} {p.stderr}")
    return p.stdout


def io(path, fmt, *cmds):
    return qemu("qemu-io", "-f", fmt, *[a for c in cmds for a in ("-c", c)], path)


def same(raw, path, fmt):
    p = subprocess.run(["qemu-img", "compare", "-f", "raw", "-F", fmt, raw, path], capture_output=True, text=True, timeout=600)
    return p.returncode == 0 and "identical" in p.stdout


def sizes():
    for text, want in (("1048576", MIB), ("10G", 10 * GIB), ("10g", 10 * GIB), ("10Gi", 10 * GIB), ("1.5GiB", 3 * GIB // 2), ("10GB", 10 * GIB),
                       (".5M", MIB // 2), ("64T", 64 * TIB), ("512", 512), ("3K", 3 * KIB), ("700B", 1024)):
        check(made("create", "size.qcow2", text, "--force")["bytes"] == want, f"{text} is {want}")
    for text in ("1e9", "nan", "nanG", "inf", "0x10", " 5G", "+5G", "1.5", "5.", ".", "", "G", "10X", "10 G", "10GG", "-5", "1e3G", "99999999999999999999"):
        check(refused("DiskSizeInvalid", "create", "bad.qcow2", text) if text[:1] != "-" else run("create", "bad.qcow2", text)[0] == 2, f"{text!r} is no size")
    check(not os.path.exists("bad.qcow2"), "nothing was made")


def names():
    """Names are bytes; JSON stays JSON."""
    for name in (b"\xff\xfe.qcow2", b"sp ace\nline.qcow2", "üñï 日本.qcow2".encode(), b"\xe2\x82.qcow2"):
        p = subprocess.run([TOOL, "create", "--json", b"./" + name, "1M"], capture_output=True, timeout=60)
        info = json.loads(p.stdout)
        check(p.returncode == 0 and os.path.exists(name) and info["bytes"] == MIB, f"{name}: made")
        check(info["file"].endswith(name.decode(errors="replace")) or "\ufffd" in info["file"], f"{name}: named {info['file']}")
        p = subprocess.run([TOOL, "create", "--json", b"./" + name, "1M"], capture_output=True, timeout=60)
        check(p.returncode == 1 and json.loads(p.stdout)["error"]["id"] == "FileExists", f"{name}: refused in JSON")
    os.mkfifo("fifo")
    check(refused("DiskNotAFile", "info", "fifo") and refused("DiskNotAFile", "info", "."), "neither a file nor a device")
    made("create", "one.qcow2", "1M")
    os.link("one.qcow2", "two.qcow2")
    check(refused("FileSame", "convert", "one.qcow2", "two.qcow2", "--force"), "two names of one file")
    deep = "/".join(f"ein-ordner-mit-einem-langen-namen-{i}" for i in range(8))
    os.makedirs(deep)
    made("create", f"{deep}/base.qcow2", "4M")
    made("create", f"{deep}/kid.qcow2", "4M", "--parent", "base.qcow2")
    io(f"{deep}/kid.qcow2", "qcow2", "write -P 7 0 1M")
    check(made("commit", f"{deep}/kid.qcow2")["file"].endswith("/base.qcow2"), "merged far down")
    io(f"{deep}/base.qcow2", "qcow2", "read -P 7 0 1M")


def json_everywhere():
    made("create", "j.qcow2", "8M")
    check(made("convert", "j.qcow2", "j.vdi", "--to", "vdi", "--variant", "fixed")["variant"] == "fixed", "convert says what it made")
    check(made("resize", "j.qcow2", "+1M")["bytes"] == 9 * MIB, "resize does")
    check(made("compact", "j.qcow2")["format"] == "qcow2", "compact does")
    made("create", "jk.qcow2", "9M", "--parent", "j.qcow2")
    check(made("rebase", "jk.qcow2", "--accept-parent")["parent"] == "j.qcow2", "rebase does")
    check("parent" not in made("rebase", "jk.qcow2", "--flatten"), "flattened")
    io("j.qcow2", "qcow2", "write -P 1 1M 64k")
    data = [m for m in json.loads(run("map", "--json", "j.qcow2")[1]) if m["kind"] == "data"]
    with open("j.qcow2", "rb") as f:
        f.seek(data[0]["offset"])
        check(f.read(64 * KIB) == b"\1" * 64 * KIB, "map says where data is")


def resizes():
    """Whatever the format has room for: it grows and shrinks, as the same kind of image, and others read it."""
    cases = [("vmdk", "vmdk", f"subformat={s}") for s in ("monolithicSparse", "monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat")]
    cases += [("vdi", "vdi", ""), ("vdi", "vdi", "static=on"), ("vhdx", "vhdx", "subformat=fixed"), ("vhdx", "vhdx", ""), ("vhd", "vpc", "force_size=on"),
              ("vhd", "vpc", "force_size=on,subformat=fixed"), ("qcow2", "qcow2", ""), ("raw", "raw", "")]
    for ours, theirs, option in cases:
        name = f"r-{ours}"
        for f in os.listdir("."):
            if f.startswith("r-"):
                os.unlink(f)
        qemu("qemu-img", "create", "-q", "-f", theirs, *(["-o", option] if option else []), name, "24M")
        io(name, theirs, "write -P 9 20M 3M", "write -P 4 64k 1M", "write -P 6 9M 2M")
        qemu("qemu-img", "convert", "-f", theirs, "-O", "raw", name, "r-truth")
        kind = made("info", name, "--from", ours)["variant"]
        for size in (300 * MIB, 10 * MIB + 512, 24 * MIB, 1 * MIB):
            was = os.path.getsize("r-truth")
            if size < was:
                check(refused("DiskShrinkRefused", "resize", name, size, "--from", ours), f"{ours} {option}: not smaller unasked")
            info = made("resize", name, size, "--from", ours, *(["--shrink"] if size < was else []))
            os.truncate("r-truth", size)
            check(info.get("bytes") == size and (info["variant"] == kind or ours == "vhdx"), f"{ours} {option}: {size}: {info}")
            if theirs == "vpc":              # whose size QEMU takes from the geometry
                check(run("compare", "r-truth", name, "--from", "raw")[0] == 0, f"{ours} {option}: content at {size}")
            else:
                check(same("r-truth", name, theirs), f"{ours} {option}: content at {size}")
            if theirs not in ("raw", "vpc"):
                p = subprocess.run(["qemu-img", "check", "-f", theirs, name], capture_output=True, text=True, timeout=60)
                check(p.returncode in (0, 63), f"{ours} {option}: {size}: {p.stdout} {p.stderr}")
        check(not [f for f in os.listdir(".") if f.startswith(".")], f"{ours} {option}: nothing is left over")
    qemu("qemu-img", "create", "-q", "-f", "vdi", "r-gap.vdi", "8M")
    io("r-gap.vdi", "vdi", "write -P 1 0 1M", "write -P 2 6M 1M", "write -P 3 7M 1M", "write -P 4 1M 1M")
    made("resize", "r-gap.vdi", "5M", "--shrink")
    check("failed" not in io("r-gap.vdi", "vdi", "read -P 1 0 1M", "read -P 4 1M 1M", "read -P 0 2M 3M"), "no gap is left")
    qemu("qemu-img", "check", "-f", "vdi", "r-gap.vdi")
    # An image that another program shrank like that: places beyond the blocks.
    qemu("qemu-img", "create", "-q", "-f", "vdi", "r-far.vdi", "4M")
    io("r-far.vdi", "vdi", "write -P 1 3M 1M", "write -P 2 2M 1M", "write -P 3 0 1M")
    qemu("qemu-img", "convert", "-f", "vdi", "-O", "raw", "r-far.vdi", "r-truth")
    os.truncate("r-truth", MIB)
    with open("r-far.vdi", "r+b") as f:
        f.seek(0x170)
        f.write(MIB.to_bytes(8, "little"))
        f.seek(0x180)
        f.write((1).to_bytes(4, "little"))
    check(run("check", "r-far.vdi")[0] == 1 and run("check", "--repair", "r-far.vdi")[0] == 0 and run("check", "r-far.vdi")[0] == 0, "places are mended")
    check(same("r-truth", "r-far.vdi", "vdi"), "with their content")
    qemu("qemu-img", "check", "-f", "vdi", "r-far.vdi")


def last_words():
    made("create", "w.qcow2", "1M")
    with open("/dev/full", "w") as full:
        check(subprocess.run([TOOL, "info", "--json", "w.qcow2"], stdout=full, stderr=subprocess.DEVNULL, timeout=60).returncode == 1, "an answer that is lost is a failure")


def options():
    """What a format cannot do is refused, not left out."""
    made("create", "p.qcow2", "8M", "--cluster", "4k", "--compression", "zstd")
    for more in (("--to", "vdi", "--compression", "zlib"), ("--compression", "lzo"), ("--to", "raw", "--compression", "zstd"),
                 ("--to", "vmdk", "--variant", "stream-optimized", "--compression", "zstd")):
        check(refused("DiskNoCompression", "create", "p.new", "8M", *more) and refused("DiskNoCompression", "convert", "p.qcow2", "p.new", *more), f"{more}")
    for more in (("--to", "vdi", "--cluster", "4M"), ("--to", "raw", "--cluster", "4k"), ("--to", "qcow2", "--cluster", "3k")):
        check(refused("DiskClusterInvalid", "create", "p.new", "8M", *more), f"{more}")
    check(made("convert", "p.qcow2", "p.vmdk", "--to", "vmdk", "--variant", "stream-optimized", "--compression", "zlib")["variant"] == "streamOptimized", "a stream is")
    check(made("create", "p.vhdx", "8M", "--to", "vhdx", "--cluster", "8M")["cluster_bytes"] == 8 * MIB, "blocks of vhdx")


def other_size():
    made("create", "s.qcow2", "16M")
    io("s.qcow2", "qcow2", "write -P 5 0 16M")
    check(made("convert", "s.qcow2", "s.vmdk", "--to", "vmdk", "--size", "20M", "--verify")["bytes"] == 20 * MIB, "the copy is larger")
    io("s.vmdk", "vmdk", "read -P 5 0 16M", "read -P 0 16M 4M")
    check(refused("DiskShrinkRefused", "convert", "s.qcow2", "t.vdi", "--to", "vdi", "--size", "3M"), "not smaller unasked")
    check(made("convert", "s.qcow2", "t.vdi", "--to", "vdi", "--size", "3M", "--shrink", "--verify")["bytes"] == 3 * MIB, "smaller where allowed")


def gained():
    """What a child gains is zeros, however long its parent is; what was cut off does not come back."""
    qemu("qemu-img", "create", "-q", "-f", "raw", "g.raw", "20M")
    io("g.raw", "raw", "write -P 11 0 20M")
    for cluster in ("64k", "2M", "512"):
        for f in ("g.qcow2", "g2.qcow2"):
            if os.path.exists(f):
                os.unlink(f)
        qemu("qemu-img", "create", "-q", "-f", "qcow2", "-o", f"cluster_size={cluster}", "-b", "g.raw", "-F", "raw", "g.qcow2", "5000K")
        io("g.qcow2", "qcow2", "write -P 12 4990K 10K")
        made("resize", "g.qcow2", "30M")
        out = io("g.qcow2", "qcow2", "read -P 11 0 4990K", "read -P 12 4990K 10K", "read -P 0 5000K 25720K")
        check("failed" not in out, f"{cluster}: gained zeros: {out}")
        qemu("qemu-img", "create", "-q", "-f", "qcow2", "-o", f"cluster_size={cluster}", "g2.qcow2", "5000K")
        io("g2.qcow2", "qcow2", "write -P 13 0 5000K")
        qemu("qemu-img", "resize", "-q", "-f", "qcow2", "--shrink", "g2.qcow2", "4999K")
        made("resize", "g2.qcow2", "6M")
        out = io("g2.qcow2", "qcow2", "read -P 13 0 4999K", "read -P 0 4999K 1145K")
        check("failed" not in out, f"{cluster}: what was cut off stays away: {out}")
    os.unlink("g.qcow2")
    qemu("qemu-img", "create", "-q", "-f", "qcow2", "-o", "compat=0.10", "-b", "g.raw", "-F", "raw", "g.qcow2", "18M")
    io("g.qcow2", "qcow2", "write -P 12 2M 16M")
    check(made("resize", "g.qcow2", "3M", "--shrink")["bytes"] == 3 * MIB, "version 2 above a parent shrinks")
    made("resize", "g.qcow2", "8M")
    out = io("g.qcow2", "qcow2", "read -P 11 0 2M", "read -P 12 2M 1M", "read -P 0 3M 5M")
    check("failed" not in out and "No errors" in qemu("qemu-img", "check", "g.qcow2"), f"version 2: {out}")


def chains():
    """The format of a parent is written as QEMU names it, and believed."""
    for ours, theirs in (("vhd", "vpc"), ("hdd", "parallels"), ("vdi", "vdi"), ("raw", "raw")):
        qemu("qemu-img", "create", "-q", "-f", theirs, *(["-o", "force_size=on"] if theirs == "vpc" else []), f"c.{ours}", "6M")
        io(f"c.{ours}", theirs, "write -P 3 1M 1M")
        made("create", f"c-{ours}.qcow2", "6M", "--parent", f"c.{ours}", "--parent-format", ours)
        io(f"c-{ours}.qcow2", "qcow2", "read -P 3 1M 1M", "read -P 0 2M 1M")
        check(run("compare", f"c.{ours}", f"c-{ours}.qcow2", "--from", ours)[0] == 0 if ours != "raw" else True, f"{ours}: read by us")
    qemu("qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", "c.raw", "-F", "luks", "c-luks.qcow2", "6M")
    check(refused("DiskFormatUnknown", "convert", "c-luks.qcow2", "c.out"), "a format that is not known is not guessed")
    for protocol in ("file", "host_device"):
        qemu("qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", "c.raw", "-F", protocol, f"c-{protocol}.qcow2", "6M")
        check(run("compare", "--from", "qcow2", f"c-{protocol}.qcow2", "c-raw.qcow2")[0] == 0, f"{protocol} is raw")


def thin():
    """Terabytes that hold nothing cost nothing."""
    qemu("qemu-img", "create", "-q", "-f", "qcow2", "l.qcow2", "8T")
    io("l.qcow2", "qcow2", "write -P 5 7T 1M", "write -P 6 100G 4k")
    shutil.copy("l.qcow2", "l2.qcow2")
    began = time.monotonic()
    for cmd in (("compare", "l.qcow2", "l2.qcow2"), ("compact", "l.qcow2"), ("convert", "l.qcow2", "l.raw", "--to", "raw", "--verify"),
                ("convert", "l.qcow2", "l.vhdx", "--to", "vhdx"), ("rebase", "--flatten", "l2.qcow2"), ("compare", "l2.qcow2", "l.vhdx"), ("hash", "l.raw", "--from", "raw")):
        code, out, err = run(*cmd)
        check(code == 0, f"{cmd}: {out} {err}")
    check(time.monotonic() - began < 300, f"8 TiB of nothing took {time.monotonic() - began:.0f} s")
    io("l.vhdx", "vhdx", "read -P 5 7T 1M", "read -P 6 100G 4k", "read -P 0 1T 1M")


def short_ids():
    """QEMU writes the ids of a VMDK without leading zeros: what takes their place must not take the line's end too."""
    for digits in (8, 7, 6, 3, 1):
        for f in os.listdir("."):
            if f.startswith("i-"):
                os.unlink(f)
        qemu("qemu-img", "create", "-q", "-f", "vmdk", "i-base.vmdk", "4M")
        io("i-base.vmdk", "vmdk", "write -P 7 1M 2M")
        qemu("qemu-img", "create", "-q", "-f", "vmdk", "-b", "i-base.vmdk", "-F", "vmdk", "i-top.vmdk")
        with open("i-base.vmdk", "r+b") as base, open("i-top.vmdk", "r+b") as top:
            for f, keys in ((base, (b"CID",)), (top, (b"CID", b"parentCID"))):
                f.seek(512)
                text = f.read(20 * 512)
                for key in keys:
                    at = text.index(b"\n" + key + b"=") + len(key) + 2
                    text = text[:at] + b"9" * digits + text[text.index(b"\n", at):]
                f.seek(512)
                f.write(text.ljust(20 * 512, b"\0"))
        made("create", "i-kid.qcow2", "4M", "--parent", "i-top.vmdk")
        io("i-kid.qcow2", "qcow2", "write -P 8 0 512k")
        check(made("commit", "i-kid.qcow2").get("parent") == "i-base.vmdk", f"{digits} digits: the merged one keeps its parent")
        check("failed" not in io("i-top.vmdk", "vmdk", "read -P 8 0 512k", "read -P 0 512k 512k", "read -P 7 1M 2M"), f"{digits} digits: it reads right")
        check(run("commit", "i-top.vmdk")[0] == 0, f"{digits} digits: merged once more")
        check("failed" not in io("i-base.vmdk", "vmdk", "read -P 8 0 512k", "read -P 7 1M 2M"), f"{digits} digits: it is in the base")
        for f in ("i-base.vmdk", "i-top.vmdk"):
            with open(f, "rb") as image:
                image.seek(512)
                lines = image.read(20 * 512).split(b"\0")[0].decode().splitlines()  # QEMU leaves the end of a longer text behind
            found = [line.split("=")[0] for line in lines if "CID=" in line]
            check(found == ["CID", "parentCID"] and all("=" in line or not line or line[0] in "#R" for line in lines), f"{digits} digits: {f}: {lines}")
        check(run("compare", "i-top.vmdk", "i-base.vmdk")[0] == 0 and run("compare", "i-kid.qcow2", "i-top.vmdk")[0] == 0, f"{digits} digits: all the same")
        qemu("qemu-img", "create", "-q", "-f", "vmdk", "-o", "subformat=monolithicFlat", "i-flat.vmdk", "4M")
        with open("i-flat.vmdk") as f:
            text = f.read()
        with open("i-flat.vmdk", "w") as f:
            at = text.index("\nCID=") + 5
            f.write(text[:at] + "9" * digits + text[text.index("\n", at):])
        made("create", "i-kid2.qcow2", "4M", "--parent", "i-flat.vmdk")
        io("i-kid2.qcow2", "qcow2", "write -P 8 0 512k")
        check(run("commit", "i-kid2.qcow2")[0] == 0 and "failed" not in io("i-flat.vmdk", "vmdk", "read -P 8 0 512k"), f"{digits} digits: a description of its own")
        with open("i-flat.vmdk") as f:
            check([line.split("=")[0] for line in f if "CID=" in line] == ["CID", "parentCID"], f"{digits} digits: its lines are whole")


def windows_paths():
    """Parents that Windows knows by a path: the file of that name beside the child, if it is the right one."""
    for name in ("C:\\VMs\\w-base.vhd", "\\\\server\\share\\w-base.vhd", "w-base.vhd", ".\\w-base.vhd"):
        for f in ("w-base.vhd", "w-kid.vhd", "w-base.vmdk", "w-kid.vmdk"):
            if os.path.exists(f):
                os.unlink(f)
        with open("w-truth", "wb") as f:
            f.write(b"w" * 4 * MIB)
        made("convert", "w-truth", "w-base.vhd", "--to", "vhd")
        made("create", "w-kid.vhd", "4M", "--to", "vhd", "--parent", "w-base.vhd")
        with open("w-kid.vhd", "r+b") as f:
            image = bytearray(f.read())
            image[512 + 0x40:512 + 0x240] = name.encode("utf-16-be").ljust(512, b"\0")
            image[512 + 0x24:512 + 0x28] = bytes(4)
            image[512 + 0x24:512 + 0x28] = (~sum(image[512:1536]) & 0xffffffff).to_bytes(4, "big")
            f.seek(0)
            f.write(image)
        check(run("compare", "w-kid.vhd", "w-truth", "--to", "raw")[0] == 0, f"VHD on {name}")
        made("convert", "w-truth", "w-base.vmdk", "--to", "vmdk")
        made("create", "w-kid.vmdk", "4M", "--to", "vmdk", "--parent", "w-base.vmdk")
        if "\\" not in name or name[0] != ".":
            with open("w-kid.vmdk", "r+b") as f:
                image = f.read()
                at = image.index(b'Hint="') + 6
                end = image.index(b"\0", at)
                text = image[at + len("w-base.vmdk"):end]
                new = name.replace(".vhd", ".vmdk").encode() + text
                f.seek(at)
                f.write(new)
            check(run("compare", "w-kid.vmdk", "w-truth", "--to", "raw")[0] == 0, f"VMDK on {name}")


def cut_short():
    """Half a download is not copied as if it were whole, and what is missing is told; whoever accepts that mends it."""
    data = os.urandom(12 * MIB)
    with open("k-truth", "wb") as f:
        f.write(data)
    for ours, theirs, option in (("qcow2", "qcow2", ""), ("vdi", "vdi", ""), ("vdi", "vdi", "static=on"), ("vmdk", "vmdk", ""), ("vmdk", "vmdk", "subformat=monolithicFlat"),
                                 ("vhdx", "vhdx", ""), ("vhdx", "vhdx", "subformat=fixed"), ("qed", "qed", ""), ("hdd", "parallels", ""), ("vhd", "vpc", "force_size=on")):
        for f in os.listdir("."):
            if f.startswith("k-") and f != "k-truth":
                os.unlink(f)
        name = f"k-image.{ours}"
        qemu("qemu-img", "convert", "-f", "raw", "-O", theirs, *(["-o", option] if option else []), "k-truth", name)
        check(run("convert", name, "k-whole", "--to", "raw")[0] == 0 and run("check", name)[0] == 0, f"{ours} {option}: whole")
        cut = "k-image-flat.vmdk" if "Flat" in option else name
        os.truncate(cut, os.path.getsize(cut) // 2)
        check(refused("DiskDamaged", "convert", name, "k-out") and not os.path.exists("k-out"), f"{ours} {option}: not copied")
        check(run("check", name)[0] == 1, f"{ours} {option}: seen")
        if ours not in ("qed", "hdd") and "Flat" not in option:
            check(refused("DiskDamaged", "compact", name), f"{ours} {option}: not rewritten")
            code, out, err = run("check", "--repair", name)
            check(code == 0 and run("check", name)[0] == 0 and run("convert", name, "k-out", "--to", "raw")[0] == 0, f"{ours} {option}: mended: {out} {err}")
    qemu("qemu-img", "convert", "-f", "raw", "-O", "vpc", "-o", "subformat=fixed,force_size=on", "k-truth", "k-fixed.vhd")
    os.truncate("k-fixed.vhd", 5 * MIB)
    check("[DiskMisnamed]" in run("convert", "k-fixed.vhd", "k-out", "--force")[2], "a fixed VHD without its footer is said to be none")


def others():
    """As other programs, and people, write them."""
    data = os.urandom(2 * MIB)
    with open("o-flat.vmdk", "wb") as f:
        f.write(data)
    for name, line in (("blanks", "  RW   4096\tFLAT  \"o-flat.vmdk\"   0 "), ("tabs", "RW\t4096\tFLAT\t\"o-flat.vmdk\"\t0"), ("vmfs", "RW 4096 VMFS \"o-flat.vmdk\"")):
        with open(f"o-{name}.vmdk", "w") as f:
            f.write(f'# Disk DescriptorFile\r\nversion=1\r\nCID=12345678\r\nparentCID=ffffffff\r\ncreateType="monolithicFlat"\r\n{line}\r\n')
        check(run("compare", f"o-{name}.vmdk", "o-flat.vmdk", "--to", "raw")[0] == 0, f"description with {name}")
    with open("o-child.vmdk", "w") as f:
        f.write('# Disk DescriptorFile\nCID=12345678\nparentCID=00000001\ncreateType="monolithicFlat"\nRW 4096 FLAT "o-flat.vmdk" 0\n')
    check(refused("DiskParentMissing", "convert", "o-child.vmdk", "o.out"), "a parent without a name is missing")
    # Parallels' folders, and what is wrong inside an image.
    os.mkdir("o.hdd")
    name = "o.hdd/o.hdd.0.{5fbaabe3-6958-40ff-92a7-860e329aab41}.hds"
    qemu("qemu-img", "convert", "-f", "raw", "-O", "parallels", "o-flat.vmdk", name)
    with open("o.hdd/DiskDescriptor.xml", "w") as f:
        f.write("<Parallels_disk_image/>")
    for path in ("o.hdd", "o.hdd/DiskDescriptor.xml", name):
        check(run("compare", path, "o-flat.vmdk", "--to", "raw")[0] == 0 and run("check", path)[0] == 0, f"{path}: read")
    with open("o.hdd/second.hds", "wb") as f:
        f.write(b"x")
    check(refused("DiskUnsupported", "info", "o.hdd"), "a folder of several is refused")
    with open(name, "r+b") as f:
        f.seek(64)
        f.write(b"\xff\xff\0\0")
    check(run("check", name)[0] == 1, "a cluster outside the file is found")
    qemu("qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", "o-flat.vmdk", "o-so.vmdk")
    os.truncate("o-so.vmdk", os.path.getsize("o-so.vmdk") // 2)
    code, _, err = run("convert", "o-so.vmdk", "o.out")
    check(code == 1 and "damaged" in err and not os.path.exists("o.out"), f"what is damaged says so: {err}")


folder = tempfile.mkdtemp(prefix="gasthaus-tool-")
try:
    os.chdir(folder)
    for part in (sizes, names, json_everywhere, resizes, last_words, options, other_size, gained, chains, thin, short_ids, windows_paths, cut_short, others):
        part()
finally:
    os.chdir("/")
    shutil.rmtree(folder)
checks.end()
