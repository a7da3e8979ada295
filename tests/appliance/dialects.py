#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines of every kind that gasthaus-image reads: what the report says, and that the disk's content arrives."""
import json
import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import samples  # noqa: E402
import checks  # noqa: E402
from checks import check  # noqa: E402

TOOL = sys.argv[1]


def image(*args):
    p = subprocess.run([TOOL, *map(str, args)], capture_output=True, text=True, timeout=300, env=dict(os.environ, LC_ALL="C.UTF-8"))
    return p.returncode, p.stdout, p.stderr


def try_one(label, make, want, *args, allow=None, disks=1, **how):
    with tempfile.TemporaryDirectory(prefix="gh-appl-") as d:
        path, raw = make(d, *args, **how)
        before = {p: os.stat(p).st_mtime_ns for f in os.walk(d) for p in [f"{f[0]}/{n}" for n in f[2]]}
        os.mkdir(f"{d}/out")
        code, out, err = image("inspect", "--json", path, *(["--allow", allow] if allow else []))
        check(code == 0, f"{label}: inspect: {out} {err}")
        if code:
            return
        report = json.loads(out)
        lines = {k: [x["text"] for x in report["lines"] if x["kind"] == k] for k in ("kept", "changed", "dropped", "warning")}
        for key, value in want.items():
            if key in lines:
                for part in value:
                    check(any(part in t for t in lines[key]), f"{label}: no line “{part}” among the {key}: {lines[key]}")
            elif callable(value):
                check(value(report), f"{label}: {key}: {report}")
            else:
                check(report[key] == value, f"{label}: {key} is {report.get(key)!r}, not {value!r}")
        code, out, err = image("import", "--json", path, f"{d}/out", *(["--allow", allow] if allow else []))
        check(code == 0, f"{label}: import: {out} {err}")
        if code:
            return
        got = [m for m in json.loads(out)["media"] if m["kind"] == "disk" and m.get("target")]
        check(len(got) == disks, f"{label}: {len(got)} disks")
        check(sorted(m["target"] for m in got) == sorted(n for n in os.listdir(f"{d}/out") if n.endswith("qcow2")), f"{label}: {os.listdir(f'{d}/out')}")
        p = subprocess.run(["qemu-img", "compare", "-f", "raw", "-F", "qcow2", raw, f"{d}/out/{got[0]['target']}"], capture_output=True, text=True)
        check(p.returncode == 0, f"{label}: the disk's content: {p.stdout}{p.stderr}")
        check(subprocess.run(["qemu-img", "check", "-q", f"{d}/out/{got[0]['target']}"]).returncode == 0, f"{label}: qemu-img check")
        after = {p: os.stat(p).st_mtime_ns for p in before if os.path.exists(p)}
        check(before == after, f"{label}: the source was touched")
        check(all(b["needed_bytes"] >= os.stat(f"{d}/out/{b['target']}").st_blocks * 512 for b in got), f"{label}: the space stated is too little")


VBOX = dict(name="web", memory_bytes=1 << 30, cpus=2, dialect="VirtualBox", os_id="http://debian.org/debian/12", firmware="bios",
            dropped=["sound card", "USB", "Product"], warning=["licence"], description="Two lines\nof notes",
            media=lambda r: [m["bus"] for m in r["media"]] == ["ahci", "ide"] and r["media"][0]["virtual_bytes"] == 8 << 20)
try_one("VirtualBox OVA 1.0, SHA-256", samples.ova, VBOX | {"kept": ["checksums"]})
try_one("VirtualBox OVA 2.0, SHA-512", samples.ova, VBOX, version=2, sha="SHA512")
try_one("VirtualBox OVA, UEFI, no manifest", samples.ova, {"firmware": "uefi", "warning": ["no manifest"]}, sha=None, firmware="EFI")
try_one("OVA, gzip'ed disk", samples.ova, VBOX, packed=True)
try_one("VMware OVA, SHA-1", samples.ova, dict(name="App server", memory_bytes=2 << 30, cpus=4, dialect="VMware", os_id="http://ubuntu.com/ubuntu/22.04",
        changed=["VirtualSCSI", "VmxNet3", "VM Network"]), "vmware", sha="SHA1")
try_one("VMware OVA, EFI", samples.ova, dict(firmware="uefi"), "vmware", firmware="efi")
try_one("oVirt OVF", samples.ovirt, dict(name="rhv guest", memory_bytes=3 << 30, cpus=2, dialect="oVirt", os_id="http://redhat.com/rhel/8.0",
        networks=lambda r: r["networks"][0]["mac"] == "00:1a:4a:16:01:51" and r["networks"][0]["adapter"] == "virtio-net"))
try_one(".vbox with snapshots", samples.vbox, dict(name="Win Machine", cpus=3, memory_bytes=2 << 30, firmware="uefi", clock_base="local", boot_order="dc",
        os_id="http://microsoft.com/win/10", dropped=["Before the update", "Inner", "Port forwarding", "3D", "Shared folders"], warning=["tools.iso"],
        networks=lambda r: [(n["adapter"], n["mode"], n["connected"], n["mac"]) for n in r["networks"]] ==
        [("e1000", "nat", True, "08:00:27:a1:b2:c3"), ("virtio-net", "internal", False, "08:00:27:a1:b2:c4")]), TOOL)
try_one(".vmx with a snapshot, split VMDK", samples.vmx, dict(name="Old Linux", description="first\nsecond", cpus=2, memory_bytes=768 << 20,
        os_id="http://debian.org/debian/10", dropped=["The snapshot “Clean \"install\"”: the current state", "sound card"], changed=["lsilogic", "vmxnet3"],
        media=lambda r: [m["kind"] for m in r["media"]] == ["cdrom", "disk"] or [m["kind"] for m in r["media"]] == ["disk", "cdrom"]))
try_one("libvirt XML with a backing chain", samples.libvirt, dict(name="Guest One", cpus=2, memory_bytes=1536 << 20, firmware="uefi",
        os_id="http://ubuntu.com/ubuntu/22.04", boot_order="cd", dropped=["TPM"], changed=["bridge", "rtl8139"],
        media=lambda r: r["media"][0]["bus"] == "virtio" and r["media"][1]["path"].endswith("seed.iso")))
try_one("Xen configuration", samples.xen, dict(name="xen guest", cpus=2, memory_bytes=512 << 20, clock_base="local", boot_order="cd",
        media=lambda r: [m["kind"] for m in r["media"]] == ["disk", "cdrom"]))
try_one("Quickemu", samples.quickemu, dict(name="debian-12", os_id="http://debian.org/debian/12", memory_bytes=3 << 30, firmware="bios",
        dropped=["public_dir”, which would have to be computed", "port_forwards"], warning=["missing.iso"]))
for fmt in ("vdi", "qcow2", "vmdk", "vhd", "raw"):
    try_one(f"bare {fmt}", samples.bare, dict(name="debian-server", firmware="bios", changed=["looks like Linux"], os_id="http://debian.org/debian/12"), fmt=fmt)

# A snapshot instead of the current state: the disks as they were then, and nothing of the source is ever written.
for label, make, names, folder, now in (
        ("vbox", samples.vbox, ("Before the update", "22222222-0000-4000-8000-000000000001"), "Win Machine", dict(cpus=1, memory_bytes=1 << 30)),
        ("vmx", samples.vmx, ('Clean "install"', "1"), "Old Linux.vmwarevm", dict(cpus=2, memory_bytes=768 << 20))):
    with tempfile.TemporaryDirectory(prefix="gh-appl-") as d:
        path, raw = make(d, TOOL) if label == "vbox" else make(d)
        files = {p: open(p, "rb").read() for f in os.walk(d) for p in [f"{f[0]}/{n}" for n in f[2]]}
        report = json.loads(image("inspect", "--json", path)[1])
        check(names[0] in [s["name"] for s in report["snapshots"]] and names[1] in [s["id"] for s in report["snapshots"]], f"{label}: snapshots: {report.get('snapshots')}")
        for i, name in enumerate(names):
            os.mkdir(f"{d}/out{i}")
            code, out, err = image("import", "--json", "--in-place", "--snapshot", name, path, f"{d}/out{i}")
            got = json.loads(out) if code == 0 else {}
            disks = [m for m in got.get("media", []) if m["kind"] == "disk"]
            check(code == 0 and all(got[k] == v for k, v in now.items()) and len(disks) == 1 and disks[0].get("target") == "disk.qcow2",
                  f"{label}: {name}: {out} {err}")
            check(code or (any("as they were at" in x["text"] for x in got["lines"] if x["kind"] == "kept") and any("came after" in x["text"] for x in got["lines"] if x["kind"] == "dropped")
                           and (label == "vmx" or any("memory" in x["text"] for x in got["lines"] if x["kind"] == "dropped"))), f"{label}: its report: {got.get('lines')}")
            p = subprocess.run(["qemu-img", "compare", "-f", "raw", "-F", "qcow2", f"{d}/base.raw", f"{d}/out{i}/disk.qcow2"], capture_output=True, text=True)
            check(p.returncode == 0, f"{label}: the disk as it was: {p.stdout}{p.stderr}")
        check({p: open(p, "rb").read() for p in files} == files, f"{label}: the source was changed")
        for bad in ("no such one", "Inner " * 30):
            code, out, err = image("inspect", "--json", "--snapshot", bad, path)
            check(code == 1 and json.loads(out)["error"]["id"] == "SnapshotUnknown", f"{label}: an unknown snapshot: {out}{err}")
# An id in braces, as the file has it; the machine is still called by the snapshot's name.
with tempfile.TemporaryDirectory(prefix="gh-appl-") as d:
    path, raw = samples.vbox(d, TOOL)
    code, out, err = image("inspect", "--json", "--snapshot", "{22222222-0000-4000-8000-000000000001}", path)
    check(code == 0 and json.loads(out)["name"] == "Win Machine (Before the update)", f"a snapshot by its id in braces: {out} {err}")

# Paths of the computer it was made on, of Windows or ESXi: the disks lie beside the description here. Text in Windows' code page.
def moved(label, make, change, encoding="utf-8"):
    with tempfile.TemporaryDirectory(prefix="gh-appl-") as d:
        path, raw = make(d)
        text = change(open(path, encoding="utf-8").read())
        open(path, "w", encoding=encoding).write(text)
        os.mkdir(f"{d}/out")
        code, out, err = image("import", "--json", path, f"{d}/out")
        lines = json.loads(out).get("lines", []) if code == 0 else []
        check(code == 0 and (encoding != "utf-8" or any("another computer" in x["text"] for x in lines if x["kind"] == "changed")), f"{label}: {out} {err}")
        p = subprocess.run(["qemu-img", "compare", "-f", "raw", "-F", "qcow2", raw, f"{d}/out/disk.qcow2"], capture_output=True, text=True)
        check(p.returncode == 0, f"{label}: its disk: {p.stdout}{p.stderr}")
        return json.loads(out) if code == 0 else {}


moved(".vbox with Windows paths", lambda d: samples.vbox(d, TOOL), lambda t: re.sub(r'location="([^"/]*/)?([^"]*\.vdi)"',
      lambda m: 'location="C:\\Users\\Jörg\\Win Machine\\' + (m[1] or "").replace("/", "\\") + m[2] + '"', t))
for place in ("D:\\VMs\\Old Linux\\", "/vmfs/volumes/datastore1/Old Linux/"):
    moved(f".vmx with {place}", samples.vmx, lambda t: t.replace('fileName = "Old Linux', f'fileName = "{place}Old Linux'))
got = moved(".vmx of a German Windows", samples.vmx, lambda t: re.sub('displayName = ".*"', 'displayName = "Bürorechner – groß"', t).replace('"UTF-8"', '"windows-1252"'), "windows-1252")
check(got.get("name") == "Bürorechner – groß", f"its name: {got.get('name')}")

with tempfile.TemporaryDirectory(prefix="gh-appl-") as d:
    path, raw = samples.quickemu(d)
    code, out, err = image("inspect", "--json", "--snapshot", "x", path)
    check(code == 1 and json.loads(out)["error"]["id"] == "SnapshotUnknown", f"a snapshot of what has none: {out}{err}")

# What a bare disk's system has drivers for decides where its disk hangs.
def bare_disk(path, kind):
    with open(path, "wb") as f:
        f.truncate(8 << 20)
        def put(at, data):
            f.seek(at)
            f.write(data)
        put(0, b"\xeb\x63" + bytes(444) + b"\x80\0\0\0" + (b"\x07" if kind == "ntfs" else b"\x83") + b"\0\0\0" + (2048).to_bytes(4, "little") + (8192).to_bytes(4, "little"))
        put(510, b"\x55\xaa")
        if kind in ("ext2", "ext4"):
            put((1 << 20) + 1024 + 56, b"\x53\xef")
            put((1 << 20) + 1024 + 0x60, (0x42 if kind == "ext4" else 2).to_bytes(4, "little"))
        elif kind in ("xfs4", "xfs5"):
            put(1 << 20, b"XFSB")
            put((1 << 20) + 100, (0xb4a0 + int(kind[3])).to_bytes(2, "big"))
        elif kind == "btrfs":
            put((1 << 20) + 65536 + 64, b"_BHRfS_M")
        elif kind == "ntfs":
            put((1 << 20) + 3, b"NTFS    ")


with tempfile.TemporaryDirectory(prefix="gh-appl-") as d:
    for name, kind, fmt, bus, adapter in (
            ("thing", "ext4", "qcow2", "virtio", "virtio-net"), ("thing", "ext4", "raw", "virtio", "virtio-net"), ("thing", "ext4", "vdi", "ahci", "virtio-net"),
            ("thing", "ext4", "vmdk", "ahci", "virtio-net"), ("thing", "xfs5", "qcow2", "virtio", "virtio-net"), ("thing", "btrfs", "qcow2", "virtio", "virtio-net"),
            ("thing", "ext2", "qcow2", "ide", "e1000"), ("thing", "xfs4", "raw", "ide", "e1000"), ("debian-4", "ext2", "qcow2", "ide", "e1000"),
            ("thing", "ntfs", "vdi", "ide", "e1000"), ("Windows XP", "ntfs", "vdi", "ide", "e1000"), ("Windows 10", "ntfs", "vhd", "ahci", "e1000"),
            ("thing", "nothing", "raw", "ide", "e1000")):
        bare_disk(f"{d}/plain", kind)
        path = f"{d}/{name}.{fmt}"
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", {"vhd": "vpc"}.get(fmt, fmt), f"{d}/plain", path], check=True)
        code, out, err = image("inspect", "--json", path)
        report = json.loads(out)
        got = (report["media"][0]["bus"], report["networks"][0]["adapter"]) if code == 0 else out
        said = [x["text"] for x in report.get("lines", []) if x["kind"] == "changed"]
        check(got == (bus, adapter) and any({"virtio": "virtio", "ahci": "AHCI", "ide": "IDE"}[bus] in t for t in said), f"bare {name}, {kind}, {fmt}: {got} {said}")
        os.unlink(path)

# A missing disk is skipped with a warning; a wrong checksum refuses everything; in place copies nothing.
with tempfile.TemporaryDirectory(prefix="gh-appl-") as d:
    text = samples.ovf_virtualbox("gone.vmdk").encode()
    samples.pack(f"{d}/a.ova", [("a.ovf", text)])
    code, out, err = image("inspect", "--json", f"{d}/a.ova")
    check(code == 0 and any("gone.vmdk" in x["text"] and x["kind"] == "warning" for x in json.loads(out)["lines"]), f"missing disk: {out}{err}")
    path, raw = samples.ova(d)
    data = bytearray(samples.read(path))
    data[len(data) // 2] ^= 1
    open(path, "wb").write(data)
    os.mkdir(f"{d}/out")
    code, out, err = image("import", "--json", path, f"{d}/out")
    check(code == 1 and json.loads(out)["error"]["id"] == "ManifestMismatch" and os.listdir(f"{d}/out") == [], f"changed OVA: {out}{err}")
    path, raw = samples.libvirt(d)
    code, out, err = image("import", "--json", "--in-place", path, f"{d}/out")
    media = json.loads(out)["media"] if code == 0 else []
    check(code == 0 and not media[0].get("target") and media[0]["path"].endswith("top.qcow2") and os.listdir(f"{d}/out") == [], f"in place: {out}{err}")
    # Outside of the folder only with the user's grant.
    os.rename(f"{d}/vm/guest.xml", f"{d}/vm/images/../../guest.xml")
    os.mkdir(f"{d}/elsewhere")
    os.rename(f"{d}/guest.xml", f"{d}/elsewhere/guest.xml")
    code, out, err = image("inspect", "--json", f"{d}/elsewhere/guest.xml")
    check(code == 1 and json.loads(out)["error"]["id"] == "DiskReferenceRefused", f"outside: {out}{err}")
    code, out, err = image("inspect", "--json", "--allow", f"{d}/vm", f"{d}/elsewhere/guest.xml")
    check(code == 0, f"outside, allowed: {out}{err}")

# VirtualBox's base disk may lie elsewhere: found by its UUID in the folder that is granted.
with tempfile.TemporaryDirectory(prefix="gh-appl-") as d:
    path, raw = samples.vbox(d, TOOL)
    os.mkdir(f"{d}/disks")
    os.rename(f"{os.path.dirname(path)}/Win Machine.vdi", f"{d}/disks/renamed.vdi")
    os.mkdir(f"{d}/out")
    code, out, err = image("import", "--json", path, f"{d}/out")
    check(code == 1 and json.loads(out)["error"]["id"] == "DiskParentMissing" and os.listdir(f"{d}/out") == [], f"a base disk elsewhere: {out}{err}")
    code, out, err = image("import", "--json", "--allow", f"{d}/disks", path, f"{d}/out")
    p = subprocess.run(["qemu-img", "compare", "-f", "raw", "-F", "qcow2", raw, f"{d}/out/disk.qcow2"], capture_output=True, text=True)
    check(code == 0 and p.returncode == 0, f"a base disk elsewhere, allowed: {out}{err}{p.stdout}{p.stderr}")

checks.end()
