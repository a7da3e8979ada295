#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""seeds.py FOLDER GASTHAUS-IMAGE: one folder of small valid files for each fuzz target of images and appliances."""
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "appliance"))
import samples as s

OUT, TOOL = sys.argv[1], sys.argv[2]


def sparse(data):
    """The form fuzz-image.c takes: only sectors that are not zeros."""
    data += bytes(-len(data) % 512)
    out, at = (len(data) // 512).to_bytes(4, "little"), 0
    while at < len(data):
        end = at
        while end < len(data) and end - at < 255 * 512 and any(data[end:end + 512]):
            end += 512
        if end > at:
            out += (at // 512).to_bytes(3, "little") + bytes([(end - at) // 512]) + data[at:end]
        at = max(end, at + 512)
    return out


def put(target, name, data):
    if target.startswith("image"):
        data = sparse(bytes(data))
    os.makedirs(f"{OUT}/{target}", exist_ok=True)
    for how in range(0, 8, 3):  # the last byte chooses what is done
        with open(f"{OUT}/{target}/{name}-{how}", "wb") as f:
            f.write((data if isinstance(data, bytes) else data.encode()) + (bytes([how]) if target.startswith("image") else b""))


with tempfile.TemporaryDirectory() as d:
    raw = s.raw_disk(f"{d}/a.raw", mib=1, seed=3)
    with open(f"{d}/few.raw", "wb") as f: # tables are what a fuzzer shall change, not data
        f.truncate(1 << 20)
        for at in (0, 70000, 300000, 1000000):
            f.seek(at // 512 * 512)
            f.write(bytes([at % 251 + 1]) * 700)
    qemu = [("qcow2", "qcow2", ["-o", "cluster_size=4096"]), ("qcow2", "qcow2", ["-c"]), ("qcow2", "qcow2", ["-o", "compat=0.10,cluster_size=512"]),
            ("qcow2", "qcow2", ["-o", "extended_l2=on,cluster_size=65536"]), ("vdi", "vdi", []), ("vmdk", "vmdk", []),
            ("vmdk", "vmdk", ["-o", "subformat=streamOptimized"]), ("vhd", "vpc", []), ("vhd", "vpc", ["-o", "subformat=fixed"]),
            ("qed", "qed", ["-o", "cluster_size=4096"]), ("hdd", "parallels", []), ("raw", "raw", [])]
    for n, (ours, theirs, options) in enumerate(qemu):
        path = f"{d}/{n}.{ours}"
        s.run("qemu-img", "convert", "-f", "raw", "-O", theirs, *options, f"{d}/few.raw", path)
        if os.path.getsize(path) <= 15 << 20:
            put(f"image-{ours}", f"seed{n}", s.read(path))
    for fmt in ("qcow2", "vdi", "vmdk", "vhd"):
        s.run(TOOL, "convert", f"{d}/few.raw", f"{d}/own.{fmt}", "--to", fmt)
        put(f"image-{fmt}", "own", s.read(f"{d}/own.{fmt}"))
    s.run(TOOL, "convert", f"{d}/few.raw", f"{d}/own.vhdx", "--to", "vhdx", "--cluster", "1M")
    put("image-vhdx", "own", s.read(f"{d}/own.vhdx"))
    # QED: a sector more than one table of tables holds, which a reader must not look for behind it.
    put("image-qed", "beyond", b"QED\0" + b"".join(n.to_bytes(4, "little") for n in (4096, 1, 1)) +
        b"".join(n.to_bytes(8, "little") for n in (0, 0, 0, 4096, 512 * 512 * 4096 + 512)) + bytes(4096 - 56) + bytes(4096))
    # DMG: a trailer "koly" with an empty table is where a reader starts.
    koly = bytearray(512)
    koly[0:4], koly[4:8], koly[8:12] = b"koly", (4).to_bytes(4, "big"), (512).to_bytes(4, "big")
    plist = b'<?xml version="1.0"?><plist version="1.0"><dict><key>resource-fork</key><dict><key>blkx</key><array><dict><key>Data</key><data>bWlzaAAAAAE=</data></dict></array></dict></dict></plist>'
    koly[216:224], koly[224:232], koly[492:500] = (4096).to_bytes(8, "big"), len(plist).to_bytes(8, "big"), (64).to_bytes(8, "big")
    put("image-dmg", "seed", bytes(4096) + plist + bytes(koly))

    put("appliance-ovf", "virtualbox", s.ovf_virtualbox())
    put("appliance-ovf", "virtualbox2", s.ovf_virtualbox(version=2, firmware="EFI", compression="gzip"))
    put("appliance-ovf", "vmware", s.ovf_vmware())
    put("appliance-ovf", "ovirt", s.ovf_ovirt())
    for name, make in (("vbox", lambda f: s.vbox(f, TOOL)), ("vmx", s.vmx), ("libvirt", s.libvirt), ("xen", s.xen), ("quickemu", s.quickemu)):
        sub = f"{d}/{name}"
        os.mkdir(sub)
        put(f"appliance-{name}", "seed", s.read(make(sub)[0]))
    for kind in ("virtualbox", "vmware"):
        sub = f"{d}/{kind}"
        os.mkdir(sub)
        put("appliance-ova", kind, s.read(s.ova(sub, kind)[0]))
