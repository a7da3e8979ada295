#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
# gasthaus-test: short 200
"""The media registry: who uses what, chains and orphans, grow, compact with space returned, convert, move, relink, trash and undo."""
import json
import os
import random
import signal
import struct
import subprocess
import time
import zlib

from guestlib import BUILD, Engine, check


def qemu(*args):
    subprocess.run(["qemu-img", *args], check=True, stdout=subprocess.DEVNULL)


def write(path, *commands):
    subprocess.run(["qemu-io", "-f", "qcow2", *[x for c in commands for x in ("-c", c)], path], check=True, stdout=subprocess.DEVNULL)


def full_qcow2(path, mib):
    """As much data as is wished in a small file: every cluster is the same compressed one."""
    qemu("create", "-q", "-f", "qcow2", "-o", "cluster_size=2M", path, f"{mib // 2 * 2}M")
    z = zlib.compressobj(9, zlib.DEFLATED, -12)
    packed = z.compress(b"A" * (2 << 20)) + z.flush()
    with open(path, "r+b") as f:
        f.seek(36)
        l1_size, l1 = struct.unpack(">IQ", f.read(12))
        f.seek(0, 2)
        l2 = (f.tell() + (2 << 20) - 1) // (2 << 20) * (2 << 20)
        f.seek(l2)
        f.write(struct.pack(">Q", 1 << 62 | ((len(packed) + 511) // 512) << (62 - 13) | (l2 + (2 << 20))) * (1 << 18))
        f.write(packed + bytes(-len(packed) % 512 + 512))
        f.seek(l1)
        f.write(struct.pack(">Q", 1 << 63 | l2) * l1_size)


with Engine("media") as e:
    e.ctl("create", "one", "--memory", "64M", "--disk", "256M", "--accel", "soft")
    e.ctl("create", "two", "--memory", "64M", "--disk", "64M", "--accel", "soft")
    folder = e.json("show", "one")["folder"]
    disk = e.json("show", "one")["disks"][0]["file"]
    write(disk, "write -P 0x11 0 64M", "write -P 0x22 100M 1M")
    # A disk that builds on another, and one that nobody uses.
    qemu("create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", "base.qcow2", "-u", f"{folder}/child.qcow2", "8M")
    qemu("create", "-q", "-f", "qcow2", f"{folder}/base.qcow2", "8M")
    qemu("create", "-q", "-f", "vdi", f"{folder}/left over.vdi", "8M")

    def media():
        return {os.path.basename(m["path"]): m for m in e.json("media", "list")}

    m = media()
    one = [x for x in e.json("media", "list") if x["path"] == os.path.realpath(disk)][0]
    check([u["name"] for u in one["users"]] == ["one"] and one["users"][0]["drive"] == "disk0" and one["present"] and not one["orphan"], "who uses a disk")
    check(one["bytes"] == 256 << 20 and 64 << 20 < one["host_bytes"] < 100 << 20, "its size, and what it takes here")
    check(m["left over.vdi"]["orphan"] and m["left over.vdi"]["format"] == "vdi" and m["left over.vdi"]["users"] == [], "what nobody uses")
    check(m["child.qcow2"]["chain"] == [os.path.realpath(f"{folder}/base.qcow2")] and not m["base.qcow2"]["orphan"]
          and m["base.qcow2"]["parent_of"] == [m["child.qcow2"]["path"]], "the chain, and that a parent is no orphan")
    check("used by nobody" in e.ctl("media", "list") and "builds" not in e.ctl("media", "info", disk), "the list in words")

    def refused(id_, *args):
        code, out, err = e.try_ctl("media", *args)
        check(code == 1 and f"[{id_}]" in err, f"media {' '.join(map(os.path.basename, args))}: {err.strip()}")

    refused("MediumInUse", "delete", disk)
    refused("DiskHasChildren", "compact", f"{folder}/base.qcow2")
    refused("DiskHasChildren", "delete", f"{folder}/base.qcow2")
    refused("DiskHasSnapshots", "compact", f"{folder}/child.qcow2")
    refused("MediumUnknown", "compact", "/etc/passwd")

    # A parent that changed under its child is told, still known as the parent, and can be accepted.
    subprocess.run([f"{BUILD}/src/image-tool/gasthaus-image", "resize", f"{folder}/child.qcow2", "9M"], check=True)
    check("error" not in media()["child.qcow2"], "a child that was written to")
    write(f"{folder}/base.qcow2", "write -P 5 0 64k")
    m = media()
    check(m["child.qcow2"].get("error", {}).get("id") == "DiskParentChanged" and m["base.qcow2"]["parent_of"] == [m["child.qcow2"]["path"]],
          f"its parent was changed: {m['child.qcow2'].get('error')}")
    e.ctl("media", "accept-parent", f"{folder}/child.qcow2")
    check("error" not in media()["child.qcow2"], "accept-parent")
    refused("DiskHasNoParent", "accept-parent", f"{folder}/base.qcow2")
    refused("FileNotFound", "relink", disk, "/nonexistent/disk.qcow2")

    # Grow.
    e.ctl("media", "resize", disk, "300M")
    check(e.json("media", "info", disk)["bytes"] == 300 << 20, "a disk grows")
    code, _, err = e.try_ctl("media", "resize", disk, "100M")
    check(code == 1 and e.json("media", "info", disk)["bytes"] == 300 << 20, f"and does not shrink unasked: {err.strip()}")

    # Compact: 60 MiB become zeros, and come back.
    write(disk, "write -P 0 2M 60M")
    before = os.stat(disk).st_blocks * 512
    result = e.json("media", "compact", disk)
    after = os.stat(disk).st_blocks * 512
    check(result["before"] == before and result["after"] == after and before - after > 50 << 20, f"compact returns {before - after >> 20} MiB")
    out = subprocess.run(["qemu-io", "-r", "-f", "qcow2", "-c", "read -P 0x11 0 2M", "-c", "read -P 0 2M 60M", "-c", "read -P 0x22 100M 1M", disk],
                         capture_output=True, text=True).stdout
    check("failed" not in out, "and the content is the same")
    report = e.json("media", "check", disk)
    check(report["errors"] == 0 and report["leaks"] == 0, "check finds no damage")

    # Convert, in place of the old one; undo of a deletion.
    e.ctl("media", "convert", disk, "--to", "vdi", "--replace")
    now = e.json("show", "one")["disks"][0]
    check(now["format"] == "vdi" and now["file"].endswith(".vdi") and os.path.exists(now["file"]) and not os.path.exists(disk), "convert, and the machine uses the new one")
    e.ctl("media", "restore", disk)
    check(os.path.exists(disk) and media()[os.path.basename(disk)]["orphan"], "the old one comes back from the trash")
    e.ctl("media", "delete", disk)
    check(not os.path.exists(disk), "delete moves it to the trash")
    e.ctl("media", "restore", disk)
    check(os.path.exists(disk), "and restore brings it back")

    # Move and relink.
    os.mkdir(f"{e.folder}/elsewhere")
    e.ctl("media", "move", now["file"], f"{e.folder}/elsewhere")
    moved = e.json("show", "one")["disks"][0]["file"]
    check(moved == f"{e.folder}/elsewhere/{os.path.basename(now['file'])}" and os.path.exists(moved), "a moved disk is known at its new place")
    os.rename(moved, f"{e.folder}/renamed.vdi")
    check([x for x in e.json("media", "list") if x["path"] == moved][0]["present"] is False, "a missing disk is shown as missing")
    e.ctl("media", "relink", moved, f"{e.folder}/renamed.vdi")
    check(e.json("show", "one")["disks"][0]["file"] == f"{e.folder}/renamed.vdi", "and found again by relink")
    e.ctl("media", "release", f"{e.folder}/renamed.vdi")
    check([d["kind"] for d in e.json("show", "one")["disks"]] == ["cdrom"], "released: the machine has no disk any more")

    # Create: for a machine, for nobody, and what is refused leaves no file.
    new = f"{e.json('show', 'two')['folder']}/more.vdi"
    check(e.json("media", "create", new, "32M", "--to", "vdi", "--machine", "two", "--bus", "nvme")["path"] == new, "a new disk for a machine")
    made = e.json("show", "two")["disks"]
    check([(d["bus"], d["format"], d["file"]) for d in made if d["file"].endswith("more.vdi")] == [("nvme", "vdi", new)], "which has it as its disk")
    check(e.json("media", "info", new)["bytes"] == 32 << 20 and [u["name"] for u in e.json("media", "info", new)["users"]] == ["two"], "of that size")
    alone = f"{e.folder}/data/gasthaus/disks/spare.qcow2"
    e.ctl("media", "create", alone, "1G")
    spare = e.json("media", "info", alone)
    check(spare["orphan"] and spare["format"] == "qcow2" and spare["bytes"] == 1 << 30 and spare["host_bytes"] < 1 << 20, "a new disk for nobody, among the others")
    e.ctl("media", "create", f"{e.folder}/fixed.vmdk", "4M", "--to", "vmdk", "--variant", "monolithic-flat")
    check(subprocess.run(["qemu-img", "info", f"{e.folder}/fixed.vmdk"], capture_output=True, text=True).stdout.count("monolithicFlat") == 1, "a variant")
    refused("FileExists", "create", alone, "2G")
    check(e.json("media", "info", alone)["bytes"] == 1 << 30, "an existing disk is not overwritten")
    for id_, args in (("DiskSizeOutOfRange", ("1000T",)), ("MachineUnknown", ("8M", "--machine", "nobody")), ("DiskFormatReadOnly", ("8M", "--to", "floppy"))):
        refused(id_, "create", f"{e.folder}/never.img", *args)
    check(not os.path.exists(f"{e.folder}/never.img"), "and leaves no file")

    # A disk of several files is one: its extents are nobody's left-overs, and go where it goes.
    disks = f"{e.folder}/data/gasthaus/disks"
    for name, variant in (("flat", "monolithicFlat"), ("split", "twoGbMaxExtentSparse")):
        qemu("create", "-q", "-f", "vmdk", "-o", f"subformat={variant}", f"{disks}/{name}.vmdk", "20M")
        subprocess.run(["qemu-io", "-f", "vmdk", "-c", "write -P 0x33 1M 4M", f"{disks}/{name}.vmdk"], check=True, stdout=subprocess.DEVNULL)
        with_parts = sorted(n for n in os.listdir(disks) if n.startswith(name))
        check(len(with_parts) == 2 and [n for n in media() if n.startswith(name)] == [f"{name}.vmdk"], f"{with_parts} are one disk")
        taken = sum(os.stat(f"{disks}/{n}").st_blocks * 512 for n in with_parts)
        check(media()[f"{name}.vmdk"]["host_bytes"] == taken, "which takes what its files take")
        e.ctl("media", "delete", f"{disks}/{name}.vmdk")
        check(not [n for n in os.listdir(disks) if n.startswith(name)], "deleted, with its extents")
        e.ctl("media", "restore", f"{disks}/{name}.vmdk")
        check(sorted(n for n in os.listdir(disks) if n.startswith(name)) == with_parts, "and brought back")
        os.mkdir(f"{e.folder}/{name}")
        e.ctl("media", "move", f"{disks}/{name}.vmdk", f"{e.folder}/{name}/other name.vmdk")
        check(not [n for n in os.listdir(disks) if n.startswith(name)] and
              subprocess.run(["qemu-io", "-r", "-f", "vmdk", "-c", "read -P 0x33 1M 4M", f"{e.folder}/{name}/other name.vmdk"], capture_output=True, text=True).stdout.count("failed") == 0,
              "moved, with its extents")
        subprocess.run(["mv", *[f"{e.folder}/{name}/{n}" for n in os.listdir(f"{e.folder}/{name}")], disks], check=True)
        open(f"{e.folder}/{name}/{with_parts[0]}", "w").write("in the way")
        before = sorted(os.listdir(disks))
        code, _, err = e.try_ctl("media", "move", f"{disks}/other name.vmdk", f"{e.folder}/{name}/")
        check(code == 1 and "[MoveFailed]" in err and sorted(os.listdir(disks)) == before, f"a file in the way leaves all where it was: {err.strip()}")
        os.rename(f"{disks}/other name.vmdk", f"{disks}/{name}.vmdk")
        result = e.json("media", "compact", f"{disks}/{name}.vmdk")
        check(result["before"] == taken and result["after"] == media()[f"{name}.vmdk"]["host_bytes"] and result["after"] > 4 << 20, f"compact counts the extents: {result}")
        for n in os.listdir(disks):
            if n.startswith(name):
                os.unlink(f"{disks}/{n}")

    # Wrong uses.
    check(e.json("media", "create", f"{e.folder}/named.vdi", "8M") and subprocess.run(["qemu-img", "info", "-f", "vdi", f"{e.folder}/named.vdi"], stdout=subprocess.DEVNULL).returncode == 0,
          "a file's ending says its format")
    refused("BusUnknown", "create", f"{e.folder}/never.img", "8M", "--machine", "two", "--bus", "fdc")
    refused("MediumNotUsed", "release", alone)
    refused("MediumNotUsed", "relink", alone, f"{e.folder}/named.vdi")
    refused("FolderUnreadable", "move", alone, f"{e.folder}/nothing/here/")
    open(f"{e.folder}/notes.txt", "w").write("not a disk")
    refused("MediumIsNoDisk", "relink", new, f"{e.folder}/notes.txt")

    # What may not fit is said: at once where something is copied, and it can be cancelled then; beside the result where it is only made.
    vfs = os.statvfs(e.folder)
    much = (vfs.f_bavail * vfs.f_frsize >> 20) + 4096
    code, out, err = e.try_ctl("media", "create", f"{e.folder}/wide.qcow2", f"{much}M")
    check(code == 0 and "[DiskMayOutgrowHost]" in err and os.path.exists(f"{e.folder}/wide.qcow2"), f"a disk that may outgrow the host: {err.strip()}")
    made = e.json("media", "create", f"{e.folder}/data/gasthaus/disks/wide.qcow2", f"{much}M")
    check([n["id"] for n in made["notes"]] == ["DiskMayOutgrowHost"], "the same in JSON")
    check("notes" not in e.json("media", "create", f"{e.folder}/narrow.qcow2", "8M"), "and nothing where there is nothing to say")
    full = f"{e.folder}/data/gasthaus/disks/full.qcow2"
    full_qcow2(full, much)
    before = os.stat(full)
    p = subprocess.Popen([f"{BUILD}/src/cli/gasthausctl", "media", "convert", full, "--to", "vdi", "--target", f"{e.folder}/copy.vdi"],
                         env=e.env, stderr=subprocess.PIPE, text=True)
    line = p.stderr.readline()
    check("[DiskSpaceShort]" in line, f"before it copies: {line.strip()}")
    p.send_signal(signal.SIGINT)
    rest = p.communicate(timeout=120)[1]
    check(p.returncode == 1 and "[Cancelled]" in rest and not [n for n in os.listdir(e.folder) if "copy" in n], f"cancelled on that: {rest.strip()}")
    check(os.stat(full) == before or os.stat(full).st_mtime_ns == before.st_mtime_ns, "the source is as it was")
    os.unlink(full)

    # How a machine uses its disks: put in, changed, taken out.
    def disks(name):
        return {d["id"]: d for d in e.json("show", name)["disks"] if d["kind"] == "disk"}

    def no(id_, *args):
        code, out, err = e.try_ctl("disk", *args)
        check(code == 1 and f"[{id_}]" in err, f"disk {' '.join(map(os.path.basename, args))}: {err.strip()}")

    first = disks("one")
    id_ = e.ctl("disk", "one", "add", alone, "--bus", "virtio", "--mode", "read-only").strip()
    d = disks("one")[id_]
    check(d["file"] == alone and d["format"] == "qcow2" and d["bus"] == "virtio" and d["mode"] == "read-only" and d["read-only"] and d["discard"]
          and d["cache"] == "writeback" and not e.json("media", "info", alone)["orphan"], "a disk that exists is put in, its format found out")
    e.ctl("disk", "one", "set", id_, "--mode", "immutable", "--cache", "writethrough", "--trim", "off", "--limit", "20M", "--iops", "300", "--bus", "nvme")
    d = disks("one")[id_]
    check((d["mode"], d["cache"], d["discard"], d["limit-bytes"], d["limit-ops"], d["bus"]) == ("immutable", "writethrough", False, 20 << 20, 300, "nvme"), "and used otherwise")
    check("immutable" in e.ctl("disk", "one") and "20.0\u00a0MiB" in e.ctl("disk", "one"), "as the list says")
    e.ctl("disk", "one", "set", id_, "--limit", "off", "--iops", "off", "--trim", "on")
    d = disks("one")[id_]
    check((d["mode"], d["discard"], d["limit-bytes"], d["limit-ops"]) == ("immutable", True, 0, 0), "what is not named stays")
    for refusal, args in (("DiskModeUnknown", ("one", "set", id_, "--mode", "sometimes")), ("BusUnknown", ("one", "set", id_, "--bus", "scsi")),
                          ("CacheUnknown", ("one", "set", id_, "--cache", "none")), ("DriveUnknown", ("one", "set", "disk9", "--trim", "on")),
                          ("DriveUnknown", ("one", "remove", "cdrom0")), ("LimitInvalid", ("one", "set", id_, "--limit", "1k")), ("DiskTwice", ("one", "add", alone)),
                          ("FileNotFound", ("one", "add", "/nonexistent/disk.qcow2")), ("DiskNotShared", ("two", "add", alone))):
        no(refusal, *args)
    check(disks("one")[id_] == d and alone not in [x["file"] for x in disks("two").values()], "what is refused changes nothing")
    e.ctl("disk", "one", "set", id_, "--mode", "shared", "--bus", "ahci")
    shared = e.ctl("disk", "two", "add", alone, "--mode", "shared").strip()
    no("DiskNotShared", "two", "set", shared, "--mode", "normal")
    e.ctl("start", "one")
    e.ctl("start", "two")
    check({m["name"]: m["state"] for m in e.json("list") if m["name"] in ("one", "two")} == {"one": "running", "two": "running"}, "two machines run with one shared disk")
    no("MachineRunning", "two", "set", shared, "--trim", "off")
    no("MachineRunning", "two", "remove", shared)
    e.ctl("stop", "one")
    e.ctl("stop", "two")
    deadline = time.time() + 60
    while {m["state"] for m in e.json("list")} != {"off"} and time.time() < deadline:
        time.sleep(0.1)
    e.ctl("disk", "one", "remove", id_)
    e.ctl("disk", "two", "remove", shared)
    check(disks("one") == first and os.path.exists(alone) and e.json("media", "info", alone)["orphan"], "taken out: the file stays")

    # A running machine keeps what it has.
    e.ctl("start", "two")
    refused("MachineRunning", "compact", e.json("show", "two")["disks"][0]["file"])
    refused("MachineRunning", "create", f"{e.folder}/never.img", "8M", "--machine", "two")
    refused("MachineRunning", "release", e.json("show", "two")["disks"][0]["file"])
    e.ctl("stop", "two")
