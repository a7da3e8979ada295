#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Export over an older appliance: whatever goes wrong in the middle, the older one stays whole; nothing is left lying about."""
import hashlib
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import checks  # noqa: E402
from checks import check  # noqa: E402

TOOL = sys.argv[1]
rnd = random.Random(4)


def limit(size):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def machine(d, disks):
    return json.dumps({"kind": "disk", "name": "old house", "memory_bytes": 64 << 20, "cpus": 1, "firmware": "bios", "clock_base": "utc",
                       "boot_order": "cd", "space_needed": 0, "systems": [], "networks": [], "lines": [],
                       "media": [{"kind": "disk", "bus": "ide", "path": p, "format": "raw"} for p in disks]})


def export(d, disks, out, *options, size=None, stop=None):
    args = [TOOL, "export", f"{d}/{out}", "-p", "--json", *options]
    p = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                         preexec_fn=(lambda: limit(size)) if size else None)
    p.stdin.write(machine(d, disks))
    p.stdin.close()
    for line in p.stderr:
        if stop and '"done"' in line:
            p.send_signal(stop)
            stop = None
    said = p.stdout.read()
    p.stdout.close()
    p.stderr.close()
    return p.wait(), said


def content(d, out):
    """Each file of a folder's appliance by its description, and whether its manifest is right."""
    stem = out[:-4]
    text = open(f"{d}/{out}").read()
    names = re.findall(r'href="([^"]+)"', text)
    sums = {}
    if os.path.exists(f"{d}/{stem}.mf"):
        for line in open(f"{d}/{stem}.mf"):
            name, digest = re.fullmatch(r"SHA256\((.*)\)= ([0-9a-f]{64})\n", line).groups()
            sums[name] = digest
        for name in [out, *names]:
            if hashlib.sha256(open(f"{d}/{name}", "rb").read()).hexdigest() != sums.get(name):
                return None
    return [hashlib.sha256(open(f"{d}/{n}", "rb").read()).hexdigest() for n in names]


def visible(d):
    return sorted(n for n in os.listdir(d) if not n.endswith(".raw"))


with tempfile.TemporaryDirectory(prefix="gh-export-") as d:
    for name, data in (("a", rnd.randbytes(2 << 20)), ("b", rnd.randbytes(3 << 20)), ("c", rnd.randbytes(24 << 20)), ("d", rnd.randbytes(1 << 20))):
        with open(f"{d}/{name}.raw", "wb") as f:
            f.write(data)
    a, b, c, e = (f"{d}/{n}.raw" for n in "abcd")
    for out in ("x.ovf", "x.ova"):
        folder = out.endswith("ovf")
        code, said = export(d, [a, b], out)
        check(code == 0, f"{out}: {said}")
        first = visible(d)
        old = {n: open(f"{d}/{n}", "rb").read() for n in first}
        check(not folder or (content(d, out) and len(first) == 4), f"{out}: complete: {first}")

        def whole(what):
            check({n: open(f"{d}/{n}", "rb").read() for n in first} == old, f"{out}: the older one after {what}")

        code, said = export(d, [a, c], out)
        check(code == 1 and "FileExists" in said, f"{out}: not without --force: {said}")
        whole("a refusal")
        # The second disk does not fit: the first one is written already.
        code, said = export(d, [e, c], out, "--force", size=6 << 20)
        check(code == 1 and '"id"' in said, f"{out}: a full disk: {said}")
        whole("a full disk")
        check(visible(d) == first, f"{out}: nothing is left: {visible(d)}")
        code, said = export(d, [e, c], out, "--force", stop=signal.SIGINT)
        check(code == 1 and "Cancelled" in said, f"{out}: cancelled: {code} {said}")
        whole("a cancel")
        check(visible(d) == first, f"{out}: nothing is left: {visible(d)}")
        code, said = export(d, [e, c], out, "--force", stop=signal.SIGKILL)
        check(code == -signal.SIGKILL, f"{out}: killed: {code}")
        whole("a kill")
        for n in set(visible(d)) - set(first):
            check(n.endswith(".part"), f"{out}: what a killed one leaves says so: {n}")
            os.unlink(f"{d}/{n}")
        # And at last it is replaced, twice, with nothing of the older ones left.
        for disks in ([e, c, b], [a]):
            code, said = export(d, disks, out, "--force")
            check(code == 0, f"{out}: replaced: {said}")
            check(len(visible(d)) == (len(disks) + 2 if folder else 1), f"{out}: only the new one is there: {visible(d)}")
            if folder:
                check(len(content(d, out) or []) == len(disks), f"{out}: and whole")
            p = subprocess.run([TOOL, "inspect", f"{d}/{out}", "--json"], capture_output=True, text=True)
            report = json.loads(p.stdout)
            check(p.returncode == 0 and any("checksums" in x["text"] for x in report["lines"]) or folder and "c.raw" not in p.stdout, f"{out}: reads: {p.stdout}")
            shown = [m for m in report["media"] if m["kind"] == "disk"]
            check([m["virtual_bytes"] for m in shown] == [os.path.getsize(x) for x in disks], f"{out}: its disks")
        for n in visible(d):
            os.unlink(f"{d}/{n}")
    # A manifest that is somebody else's is not taken away.
    with open(f"{d}/y.mf", "w") as f:
        f.write("mine")
    code, said = export(d, [a], "y.ovf")
    check(code == 1 and "FileExists" in said and open(f"{d}/y.mf").read() == "mine" and visible(d) == ["y.mf"], f"a manifest without description: {said} {visible(d)}")

checks.end()
