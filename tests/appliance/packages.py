#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages in the shapes that other programs and people give them: archives of several tars, members in any order, manifests of every
kind, signatures, files that something still writes."""
import gzip
import hashlib
import io
import json
import os
import random
import subprocess
import sys
import tarfile
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import checks  # noqa: E402
from checks import check  # noqa: E402
import foreign_ovf as ovf  # noqa: E402
import samples  # noqa: E402

TOOL = sys.argv[1]
TOP = tempfile.mkdtemp(prefix="gh-packages-")
RAW = samples.raw_disk(f"{TOP}/raw", mib=4, seed=3)
VMDK = samples.read(samples.stream_vmdk(RAW, f"{TOP}/d1.vmdk"))
OVF = ovf.envelope(ovf.system(ovf.plain_items())).encode()


def tool(*args):
    p = subprocess.run([TOOL, "--json", *args], capture_output=True, text=True, timeout=300, env=dict(os.environ, LC_ALL="C.UTF-8"))
    try:
        return p.returncode, json.loads(p.stdout)
    except ValueError:
        return p.returncode, {"error": {"id": p.stdout + p.stderr}}


def archive(members, fmt=tarfile.GNU_FORMAT):
    path = tempfile.mktemp(suffix=".ova", dir=TOP)
    with tarfile.open(path, "w", format=fmt) as t:
        for name, data, *more in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for k, v in (more[0] if more else {}).items():
                setattr(info, k, v)
            t.addfile(info, io.BytesIO(data))
    return path


def taken(label, path, lines=(), no=()):
    """Imported, byte-identical, the source as it was, and the report says it."""
    before = hashlib.sha256(samples.read(path)).digest()
    out = tempfile.mkdtemp(dir=TOP)
    code, report = tool("inspect", path)
    texts = [x["text"] for x in report.get("lines", [])]
    check(code == 0 and all(any(part in t for t in texts) for part in lines) and not any(part in t for t in texts for part in no), f"{label}: the report: {code} {texts or report}")
    code, got = tool("import", path, out)
    check(code == 0, f"{label}: {got.get('error')}")
    same = code == 0 and subprocess.run(["qemu-img", "compare", "-f", "raw", "-F", "qcow2", RAW, f"{out}/disk.qcow2"], stdout=subprocess.DEVNULL).returncode == 0
    texts = [x["text"] for x in got.get("lines", [])]
    check(same and hashlib.sha256(samples.read(path)).digest() == before, f"{label}: its disk, and the source as it was")
    check(code != 0 or all(any(part in t for t in texts) for part in lines), f"{label}: the import's report: {texts}")


def refused(label, path, id_):
    out = tempfile.mkdtemp(dir=TOP)
    code, got = tool("import", path, out)
    check(code == 1 and got["error"]["id"] == id_ and os.listdir(out) == [], f"{label}: {code} {got.get('error')} {os.listdir(out)}")


FILES = [("a.ovf", OVF), ("d1.vmdk", VMDK)]
for kind in ("SHA1", "SHA256", "SHA384", "SHA512"):
    mf = samples.digest(FILES, kind).encode()
    taken(f"a manifest of {kind}", archive([FILES[0], ("a.mf", mf), FILES[1]]), ["checksums of the manifest are right"])
    wrong = bytearray(mf)
    wrong[-2] = ord("0") if wrong[-2] != ord("0") else ord("1")
    refused(f"a wrong {kind}", archive([FILES[0], ("a.mf", bytes(wrong)), FILES[1]]), "ManifestMismatch")
mf = samples.digest(FILES, "SHA256").encode()
taken("a signature", archive([FILES[0], ("a.mf", mf), ("a.cert", b"SHA256(a.mf)= 00\n-----BEGIN CERTIFICATE-----\n"), FILES[1]]), ["signature is not checked", "are right"])
taken("the disk first", archive([FILES[1], ("a.mf", mf), FILES[0]]), ["are right"])
taken("a manifest with more than there is", archive([FILES[0], ("a.mf", mf + b"SHA256(x.nvram)= " + b"0" * 64 + b"\n"), FILES[1]]), ["names “x.nvram”, which is not in the package"])
taken("a manifest without the disk", archive([FILES[0], ("a.mf", mf.splitlines(True)[0]), FILES[1]]), ["says nothing of “d1.vmdk”"], ["nothing of “a.ovf”"])
taken("a manifest with CRLF and blanks", archive([FILES[0], ("a.mf", mf.replace(b"\n", b"\r\n").replace(b")= ", b") = ")), FILES[1]]), ["are right"], ["says nothing"])
taken("no manifest", archive(FILES), ["there is no manifest"])
taken("./ before each name, and the folder itself", archive([("./", b"", {"type": tarfile.DIRTYPE}), ("./a.ovf", OVF), ("./d1.vmdk", VMDK)]))
taken("what macOS adds", archive([("._a.ovf", b"\0\5\x16\7"), FILES[0], ("._a.mf", b"\0\5\x16\7"), ("a.mf", mf), ("._d1.vmdk", b"x"), FILES[1]]), ["are right"])
taken("pax headers", archive([("a.ovf", OVF, {"pax_headers": {"comment": "x", "mtime": "1.5", "LIBARCHIVE.creationtime": "1"}}),
                              ("d1.vmdk", VMDK, {"pax_headers": {"size": str(len(VMDK))}})], tarfile.PAX_FORMAT))
d = tempfile.mkdtemp(dir=TOP)
for name, data in (("a.ovf", OVF.replace(b"d1.vmdk", b"d1.raw")), ("d1.raw", samples.read(RAW))):
    open(f"{d}/{name}", "wb").write(data)
for fmt in ("v7", "oldgnu", "gnu", "ustar", "pax"):
    samples.run("tar", f"--format={fmt}", "-cf", f"{TOP}/{fmt}.ova", "-C", d, "a.ovf", "d1.raw")
    taken(f"tar --format={fmt}", f"{TOP}/{fmt}.ova")
samples.run("tar", "-cf", f"{TOP}/dot.ova", "-C", d, ".")
taken("tar of a folder", f"{TOP}/dot.ova")
open(f"{d}/d1.raw", "wb").truncate(4 << 20)
samples.run("tar", "--sparse", "--format=gnu", "-cf", f"{TOP}/sparse.ova", "-C", d, "a.ovf", "d1.raw")
refused("tar --sparse", f"{TOP}/sparse.ova", "ApplianceMemberRefused")
refused("a folder in it", archive([("vm", b"", {"type": tarfile.DIRTYPE}), ("vm/a.ovf", OVF), ("vm/d1.vmdk", VMDK)]), "ApplianceMemberRefused")
refused("a hard link", archive(FILES + [("d2.vmdk", b"", {"type": tarfile.LNKTYPE, "linkname": "d1.vmdk"})]), "ApplianceMemberRefused")
code, got = tool("inspect", archive([FILES[0], ("d1.vmdk", b"<!DOCTYPE html><title>404</title>" * 50)]))
check(code == 0 and any("no image of the kind" in x["text"] for x in got["lines"] if x["kind"] == "warning"), f"an error page under a disk's name: {got}")

# A size in base 256, as for members of 8 GiB and more.
path = archive(FILES)
data, at = bytearray(samples.read(path)), 512 + (len(OVF) + 511) // 512 * 512
data[at + 124:at + 136] = b"\x80" + len(VMDK).to_bytes(11, "big")
data[at + 148:at + 156] = b"        "
data[at + 148:at + 156] = b"%06o\0 " % sum(data[at:at + 512])
open(path, "wb").write(data)
taken("a size in base 256", path)
# More than 8 GiB really: the hole behind the disk is its last part.
big = 9 << 30
info = tarfile.TarInfo("d1.raw")
info.size = big
head = io.BytesIO()
with tarfile.open(fileobj=head, mode="w", format=tarfile.GNU_FORMAT) as t:
    i = tarfile.TarInfo("a.ovf")
    text = OVF.replace(b"d1.vmdk", b"d1.raw").replace(b'ovf:capacity="4194304"', b'ovf:capacity="%d"' % big)
    i.size = len(text)
    t.addfile(i, io.BytesIO(text))
start = (512 + len(text) + 511) // 512 * 512
with open(f"{TOP}/nine.ova", "wb") as f:
    f.write(head.getvalue()[:start] + info.tobuf(tarfile.GNU_FORMAT) + samples.read(RAW))
    f.truncate(start + 512 + big + 1024)
code, got = tool("inspect", f"{TOP}/nine.ova")
check(code == 0 and got["media"][0]["virtual_bytes"] == big and got["media"][0]["bytes"] == big, f"a member of 9 GiB: {got.get('error') or got.get('media')}")
os.unlink(f"{TOP}/nine.ova")

# What a packed disk needs is known before, whatever the description says of it.
noise = random.Random(2).randbytes(6 << 20)
open(f"{TOP}/noise.raw", "wb").write(noise)
packed = gzip.compress(samples.read(samples.stream_vmdk(f"{TOP}/noise.raw", f"{TOP}/noise.vmdk")), 1)
text = OVF.replace(b'd1.vmdk"', b'd1.vmdk.gz" ovf:compression="gzip"').replace(b'ovf:capacity="4194304"', b'ovf:capacity="%d"' % len(noise))
code, got = tool("inspect", archive([("a.ovf", text), ("d1.vmdk.gz", packed)]))
check(code == 0 and 12 << 20 <= got["space_needed"] < 16 << 20, f"the space for a packed disk: {got.get('space_needed')}")

# A file that is still written: never half an import that says nothing.
noise = random.Random(1).randbytes(24 << 20)
with open(f"{TOP}/large.raw", "wb") as f:
    f.write(samples.read(RAW) + noise)
whole = samples.read(f"{TOP}/large.raw")


def import_growing():
    """One that nothing was written to in its time is no failure."""
    out, stop = tempfile.mkdtemp(dir=TOP), threading.Event()

    def write():
        with open(f"{TOP}/grows.raw", "r+b", buffering=0) as f:
            f.seek(0, 2)
            while not stop.is_set():
                f.write(noise[:512])
                time.sleep(0.001)

    open(f"{TOP}/grows.raw", "wb").write(whole)
    writer = threading.Thread(target=write)
    writer.start()
    time.sleep(0.05)
    code, got = tool("import", f"{TOP}/grows.raw", out)
    stop.set()
    writer.join()
    return code, got, os.listdir(out)


tries = [import_growing() for _ in range(5)]
while all(code == 0 for code, _, _ in tries) and len(tries) < 30:
    tries.append(import_growing())
refusals = [(code, got, left) for code, got, left in tries if code]
check(refusals and all(code == 1 and got["error"]["id"] == "FileChanged" and left == [] for code, got, left in refusals),
      f"a disk that grows: {[(code, got.get('error'), left) for code, got, left in refusals]}")
out = tempfile.mkdtemp(dir=TOP)
code, got = tool("import", f"{TOP}/grows.raw", out)
check(code == 0, f"when it has ended: {got.get('error')}")

subprocess.run(["rm", "-rf", TOP])
checks.end()
