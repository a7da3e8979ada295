#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Descriptions as many versions of the real programs write them: what becomes of each, line by line, and that its disks arrive."""
import gzip
import hashlib
import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import foreign_ovf  # noqa: E402
import foreign_others  # noqa: E402
import checks  # noqa: E402
from checks import check  # noqa: E402
import samples  # noqa: E402

TOOL, ONLY = sys.argv[1], sys.argv[2:]


def image(*args):
    p = subprocess.run([TOOL, *map(str, args)], capture_output=True, text=True, timeout=300, env=dict(os.environ, LC_ALL="C.UTF-8"))
    return p.returncode, p.stdout, p.stderr


def make_file(folder, raw, name, how):
    """how: a format of qemu-img with its options behind a comma, "gz" for gzip around a stream, bytes, or "chunks N" for pieces."""
    path = f"{folder}/{name}"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if isinstance(how, bytes):
        open(path, "wb").write(how)
        return
    if how == "gz":
        samples.stream_vmdk(raw, path + ".plain")
        open(path, "wb").write(gzip.compress(open(path + ".plain", "rb").read()))
        os.unlink(path + ".plain")
        return
    if how.startswith("chunks "):
        samples.stream_vmdk(raw, path + ".plain")
        data = open(path + ".plain", "rb").read()
        os.unlink(path + ".plain")
        step = int(how.split()[1])
        for i in range(0, len(data), step):
            open(f"{path}.{i // step:09d}", "wb").write(data[i:i + step])
        return
    fmt, _, options = how.partition(",")
    samples.run("qemu-img", "convert", "-f", "raw", "-O", fmt, *(["-o", options] if options else []), raw, path)


def tree(folder):
    return {p: hashlib.sha256(open(p, "rb").read()).hexdigest() for f in os.walk(folder) for p in [f"{f[0]}/{n}" for n in f[2]]}


def media(report):
    return [(m["kind"], m["bus"], "missing" if m.get("missing") else "empty" if not m.get("source") else "there") for m in report.get("media", [])]


def nets(report):
    return [(n["adapter"], n["mode"], n.get("mac", ""), n.get("connected", False)) for n in report.get("networks", [])]


def one(case):
    label, name, text, files = case["label"], case["name"], case["text"], case.get("files", {})
    if ONLY and not any(o in label for o in ONLY):
        return
    with tempfile.TemporaryDirectory(prefix="gh-foreign-") as d:
        raw = samples.raw_disk(f"{d}/raw", mib=4, seed=len(case["label"]))
        src = f"{d}/src"
        os.mkdir(src)
        for n, how in files.items():
            make_file(src, raw, n, how)
        path = f"{src}/{name}"
        if callable(text):
            text = text(src)
        open(path, "wb").write(text if isinstance(text, bytes) else text.encode())
        if case.get("prepare"):
            case["prepare"](src, raw, TOOL)
        before = tree(src)
        code, out, err = image("inspect", "--json", path, *case.get("args", []))
        if "error" in case:
            got = json.loads(out)["error"]["id"] if code == 1 else None
            check(got == case["error"], f"{label}: refused with {case['error']}: {out[:300]} {err}")
            return
        check(code == 0, f"{label}: inspect: {out[:500]} {err}")
        if code:
            return
        report = json.loads(out)
        lines = {k: [x["text"] for x in report["lines"] if x["kind"] == k] for k in ("kept", "changed", "dropped", "warning")}
        for key, value in case["want"].items():
            if key in lines:
                for part in value:
                    check(any(part in t for t in lines[key]), f"{label}: a line “{part}” among the {key}: {lines[key]}")
            elif key == "not":
                for part in value:
                    check(not any(part in t for k in lines for t in lines[k]), f"{label}: no line “{part}”: {lines}")
            elif key == "media":
                check(media(report) == value, f"{label}: drives {media(report)}, not {value}")
            elif key == "nets":
                check(nets(report) == value, f"{label}: networks {nets(report)}, not {value}")
            elif key == "blocker":
                check(value in (report.get("blocker") or ""), f"{label}: what it lacks: {report.get('blocker')}")
            else:
                check(report.get(key) == value, f"{label}: {key} is {report.get(key)!r}, not {value!r}")
        if "blocker" not in case["want"]:
            check(not report.get("blocker"), f"{label}: lacks {report.get('blocker')}")
        os.mkdir(f"{d}/out")
        code, out, err = image("import", "--json", path, f"{d}/out", *case.get("args", []))
        check(code == 0, f"{label}: import: {out[:500]} {err}")
        if code:
            return
        got = [m for m in json.loads(out).get("media", []) if m["kind"] == "disk" and m.get("target")]
        if case.get("sizes"):
            check([m["virtual_bytes"] for m in got] == case["sizes"], f"{label}: {[m['virtual_bytes'] for m in got]} bytes")
        for m in got if not case.get("sizes") else []:
            check(m["virtual_bytes"] == 4 << 20, f"{label}: {m['source']} has {m['virtual_bytes']} bytes")
            p = subprocess.run(["qemu-img", "compare", "-f", "raw", "-F", "qcow2", case.get("content", {}).get(m["source"], raw), f"{d}/out/{m['target']}"],
                               capture_output=True, text=True)
            check(p.returncode == 0, f"{label}: the content of {m['source']}: {p.stdout}{p.stderr}")
        check(len(got) == case.get("disks", len([m for m in case["want"].get("media", []) if m[0] == "disk" and m[2] == "there"])),
              f"{label}: {len(got)} disks arrived")
        check(tree(src) == before, f"{label}: the source was touched")


for c in foreign_ovf.cases() + foreign_others.cases():
    one(c)
checks.end()
