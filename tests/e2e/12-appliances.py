#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
# gasthaus-test: short 400
"""Import and export by the command line: report, machine, content, round trip, cancel, refusals that leave nothing."""
import hashlib
import os
import signal
import subprocess
import sys
import time

from guestlib import BUILD, Engine, check

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "appliance"))
import samples

TOOL = f"{BUILD}/src/image-tool/gasthaus-image"


def tree(folder):
    return {os.path.join(d, n): (os.stat(os.path.join(d, n)).st_mtime_ns, os.path.getsize(os.path.join(d, n)))
            for d, _, names in os.walk(folder) for n in names}


def same(raw, image):
    p = subprocess.run(["qemu-img", "compare", "-f", "raw", "-F", "qcow2", raw, image], capture_output=True, text=True)
    return p.returncode == 0


with Engine("appliances") as e:
    source = f"{e.folder}/source"
    os.mkdir(source)
    ova, raw = samples.ova(source)
    before = tree(source)
    text = e.ctl("import", ova, "--report")
    check("Kept:" in text and "Left out:" in text and "1024 MiB of memory" in text and "Space needed:" in text, "the report in words")
    report = e.json("import", ova, "--report")
    check(report["space_there"] > report["space_needed"] > 0 and report["name"] == "web", "the report as JSON, with the space")
    check(e.json("list") == [] and tree(source) == before, "the report makes nothing")

    uuid = e.json("import", ova)["uuid"]
    m = e.json("show", uuid)
    disk = [d for d in m["disks"] if d["kind"] == "disk"][0]
    check((m["name"], m["memory-bytes"], m["cpus"], m["os-id"]) == ("web", 1 << 30, 2, "http://debian.org/debian/12"), "the machine is as described")
    check(disk["bus"] == "ahci" and disk["format"] == "qcow2" and same(raw, disk["file"]), "its disk holds the same bytes")
    check(len(m["networks"]) == 1 and m["networks"][0]["adapter"] == "e1000", "its network adapter")
    check(tree(source) == before, "the source was not touched")

    # Again, under another name: a second machine, the first stays as it is.
    second = e.json("import", ova, "--name", "web two")["uuid"]
    check(second != uuid and sorted(x["name"] for x in e.json("list")) == ["web", "web two"], "the same file twice makes two machines")
    code, _, err = e.try_ctl("import", ova, "--name", "a/b")
    check(code == 1 and "[NameInvalid]" in err, f"a bad name is refused before anything is copied: {err.strip()}")

    # Export: tar reads it, qemu-img opens its disk, it comes back byte-identical.
    for version in ("1", "2"):
        out = f"{e.folder}/out{version}.ova"
        e.ctl("export", "web", out, "--ovf", version)
        names = subprocess.run(["tar", "tf", out], capture_output=True, text=True, check=True).stdout.split()
        check(names == [f"out{version}.ovf", f"out{version}.mf", f"out{version}-disk001.vmdk"], f"tar lists {names}")
        os.mkdir(f"{e.folder}/x{version}")
        subprocess.run(["tar", "xf", out, "-C", f"{e.folder}/x{version}"], check=True)
        vmdk = f"{e.folder}/x{version}/out{version}-disk001.vmdk"
        p = subprocess.run(["qemu-img", "compare", "-f", "raw", "-F", "vmdk", raw, vmdk], capture_output=True, text=True)
        check(p.returncode == 0, f"qemu-img reads the exported disk: {p.stdout.strip()}")
        mf = dict(line.rstrip("\n").split(")= ") for line in open(f"{e.folder}/x{version}/out{version}.mf"))
        sums = {f"SHA256({n}": hashlib.sha256(open(f"{e.folder}/x{version}/{n}", "rb").read()).hexdigest() for n in names if not n.endswith(".mf")}
        check(mf == sums, "the manifest is right")
        subprocess.run(["xmllint", "--noout", f"{e.folder}/x{version}/out{version}.ovf"], check=True)
        back = e.json("import", out, "--name", f"back {version}")["uuid"]
        b = e.json("show", back)
        check(same(raw, [d for d in b["disks"] if d["kind"] == "disk"][0]["file"]), "and comes back byte-identical")
        check(all(b[k] == m[k] for k in ("memory-bytes", "cpus", "os-id", "firmware", "description")), "with the same settings")
    code, _, err = e.try_ctl("export", "web", f"{e.folder}/out1.ova")
    check(code == 1 and "[FileExists]" in err, f"an existing file is not overwritten: {err.strip()}")
    code, _, err = e.try_ctl("export", "web", f"{e.folder}/out1.zip")
    check(code == 1 and "[ExportNameInvalid]" in err, f"other endings are refused: {err.strip()}")
    e.ctl("export", "web", f"{e.folder}/folder.ovf")
    check(e.json("import", f"{e.folder}/folder.ovf", "--report")["dialect"] == "Gasthaus", "a folder's OVF too")
    exported = {n for n in os.listdir(e.folder) if n.startswith("folder")}
    code, _, err = e.try_ctl("export", "web", f"{e.folder}/folder.ovf")
    check(code == 1 and "[FileExists]" in err, f"which is not overwritten either: {err.strip()}")
    e.ctl("export", "web", f"{e.folder}/folder.ovf", "--force")
    now = {n for n in os.listdir(e.folder) if n.startswith("folder")}
    check(len(now) == len(exported) == 3 and e.json("import", f"{e.folder}/folder.ovf", "--report")["dialect"] == "Gasthaus", f"unless that is wished: {now}")

    # In place: the machine uses the file where it is.
    lib = f"{e.folder}/lib"
    os.mkdir(lib)
    xml, raw2 = samples.libvirt(lib)
    check(e.json("import", xml, "--report")["space_needed"] > 0 and e.json("import", xml, "--report", "--in-place")["space_needed"] == 0,
          "what stays in place needs no space")
    placed = e.json("show", e.json("import", xml, "--in-place")["uuid"])
    check(placed["disks"][0]["file"] == f"{lib}/vm/images/top.qcow2", "in place nothing is copied")
    e.ctl("delete", placed["name"])
    check(os.path.exists(f"{lib}/vm/images/top.qcow2"), "and deleting the machine leaves the file")

    # One snapshot of a machine as a machine of its own; "-x" is a name like any other.
    os.mkdir(f"{e.folder}/vb")
    box, _ = samples.vbox(f"{e.folder}/vb", TOOL)
    check([s["name"] for s in e.json("import", box, "--report")["snapshots"]] == ["Before the update", "Inner"], "the report names the snapshots")
    then = e.json("show", e.json("import", box, "--snapshot", "Before the update")["uuid"])
    check(then["name"] == "Win Machine (Before the update)" and then["cpus"] == 1 and same(f"{e.folder}/vb/base.raw", then["disks"][0]["file"]),
          "a snapshot as a machine of its own, with the disk as it was")
    code, _, err = e.try_ctl("import", box, "--snapshot", "-x")
    check(code == 1 and "[SnapshotUnknown]" in err, f"an unknown snapshot: {err.strip()}")
    e.ctl("delete", then["name"])

    # An appliance of several machines: each its own, or the one that is asked for.
    os.mkdir(f"{e.folder}/multi")
    multi, raws = samples.multi(f"{e.folder}/multi")
    report = e.json("import", multi, "--report")
    check([r["name"] for r in report] == ["front", "store", "front-2"] and [s["name"] for s in report[0]["systems"]] == ["front", "store", "front-2"],
          "the report names every machine of the appliance")
    check(any("3 machines" in x["text"] for x in report[1]["lines"]) and any("order" in x["text"] for x in report[0]["lines"] if x["kind"] == "dropped"),
          "says so, and what of the collection is left out")
    before = {m["name"] for m in e.json("list")}
    uuids = e.json("import", multi)["uuids"]
    made = [e.json("show", u) for u in uuids]
    check([(m["name"], m["memory-bytes"] >> 20) for m in made] == [("front", 512), ("store", 1024), ("front-2", 256)], "all three are imported")
    check(all(same(raw, m["disks"][0]["file"]) for raw, m in zip(raws, made)), "each with its own disk")
    check({m["name"] for m in e.json("list")} - before == {"front", "store", "front-2"}, "and nothing else")
    one = e.json("import", multi, "--machine", "store", "--name", "the store")["uuids"]
    check(len(one) == 1 and same(raws[1], e.json("show", one[0])["disks"][0]["file"]), "one of them by its name")
    check(e.json("show", e.json("import", multi, "--machine", "3", "--name", "third")["uuid"])["memory-bytes"] >> 20 == 256, "or by its number")
    for args, id_ in ((("--machine", "none"), "ApplianceMachineUnknown"), (("--machine", "4"), "ApplianceMachineUnknown"), (("--name", "x"), "NameForSeveral")):
        code, _, err = e.try_ctl("import", multi, *args)
        check(code == 1 and f"[{id_}]" in err, f"{' '.join(args)}: {err.strip()}")

    # What cannot start here is imported all the same, and says why.
    os.mkdir(f"{e.folder}/pv")
    samples.raw_disk(f"{e.folder}/pv/disk.img", seed=12)
    open(f"{e.folder}/pv/pv.cfg", "w").write("name = 'para'\nmemory = 64\nkernel = '/boot/vmlinuz'\ndisk = [ 'file:%s/pv/disk.img,xvda,w' ]\n" % e.folder)
    para = e.json("show", e.json("import", f"{e.folder}/pv/pv.cfg")["uuid"])
    check(para["error-id"] == "ImportedIncomplete" and "boot loader" in para["error-text"], f"a paravirtualized machine: {para['error-text']}")

    # A machine for UEFI where that firmware is not installed: imported, and it says what makes it startable.
    e.kill_daemon()
    os.mkdir(f"{e.folder}/no-ovmf")
    e.env["GASTHAUS_OVMF"] = f"{e.folder}/no-ovmf"
    os.mkdir(f"{e.folder}/efi")
    efi, _ = samples.ova(f"{e.folder}/efi", firmware="EFI")
    check(any("package ovmf" in x["text"] and x["kind"] == "warning" for x in e.json("import", efi, "--report")["lines"]), "the report says that UEFI is missing")
    made = e.json("show", e.json("import", efi, "--name", "for uefi")["uuid"])
    check(made["firmware"] == "uefi" and made["error-id"] == "ImportedIncomplete" and "package ovmf" in made["error-text"], f"and the machine: {made['error-text']}")
    code, _, err = e.try_ctl("start", "for uefi")
    check(code == 1 and "[FirmwareMissing]" in err, f"it does not start: {err.strip()}")
    e.kill_daemon()
    del e.env["GASTHAUS_OVMF"]
    check(not any("package ovmf" in x["text"] for x in e.json("import", efi, "--report")["lines"]) or not os.path.exists("/usr/share/OVMF/OVMF_CODE_4M.fd"),
          "with the firmware there is nothing to say")

    # Out and in again is the same machine, also in what OVF has no words for; but for the hardware addresses, which are taken here.
    e.ctl("create", "Über Kreuz", "--memory", "96M", "--cpus", "3", "--disk", "8M", "--accel", "auto")
    e.ctl("set", "Über Kreuz", "--boot", "dnc", "--clock", "local", "--description", "zwei\nZeilen <&>")
    folder = e.json("show", "Über Kreuz")["folder"]
    for name, fmt, bus in (("b.vdi", "vdi", "nvme"), ("c.vmdk", "vmdk", "virtio"), ("d.img", "raw", "ahci")):
        e.ctl("media", "create", f"{folder}/{name}", "5M", "--to", fmt, "--machine", "Über Kreuz", "--bus", bus)
    e.ctl("network", "Über Kreuz", "add", "--adapter", "virtio-net", "--mode", "internal", "--network", "lab-1")
    e.ctl("network", "Über Kreuz", "add", "--mode", "none", "--cable", "out")
    uuid = e.json("show", "Über Kreuz")["uuid"]
    for out in ("Über Kreuz.ova", "Über Kreuz 2.ovf"):
        before = e.json("show", uuid)
        e.ctl("export", uuid, f"{e.folder}/{out}", *(["--ovf", "2"] if "2" in out else []))
        report = e.json("import", f"{e.folder}/{out}", "--report")
        check(sum("belongs to the machine “Über Kreuz” here" in x["text"] for x in report["lines"] if x["kind"] == "changed") == 3, f"{out}: its addresses are taken")
        after = e.json("show", e.json("import", f"{e.folder}/{out}")["uuid"])
        check(not {n["mac"] for n in before["networks"]} & {n["mac"] for n in after["networks"]}, "it gets others")
        for m in (before, after):
            for key in ("uuid", "folder", "created", "revision"):
                m.pop(key, None)
            for d in m["disks"]:
                for key in ("file", "host-bytes", "format"):
                    d.pop(key, None)
            for n in m["networks"]:
                n.pop("mac", None)
        check(before == after, f"{out}: the same machine: {[(k, before[k], after[k]) for k in before if before[k] != after.get(k)]}")

    # A name of 63 characters is one in every language; a disk that stays where it is may be another machine's already.
    samples.raw_disk(f"{e.folder}/stays.raw", seed=30)
    long = e.json("import", f"{e.folder}/stays.raw", "--in-place", "--name", "ж" * 63)["uuid"]
    e.ctl("set", long, "--memory", "32M", "--accel", "soft")
    e.ctl("start", long)
    check(e.json("show", long)["name"] == "ж" * 63, "a machine with a long name starts")
    e.ctl("stop", long)
    lines = e.json("import", f"{e.folder}/stays.raw", "--in-place", "--report")["lines"]
    check(any("used by the machine “ж" in x["text"] for x in lines if x["kind"] == "warning"), "a disk that another machine has already")
    check(not any("used by the machine" in x["text"] for x in e.json("import", f"{e.folder}/stays.raw", "--report")["lines"]), "a copy is nobody else's")

    # Everything that is refused leaves nothing.
    left = sorted(os.listdir(e.machines))
    data = bytearray(samples.read(ova))
    data[len(data) // 2] ^= 0x40
    open(f"{e.folder}/changed.ova", "wb").write(data)
    for path, id_ in ((f"{e.folder}/changed.ova", "ManifestMismatch"), ("/etc/passwd", "ImportFormatUnknown"), (f"{e.folder}/none.ova", "FileNotFound"),
                      (f"{lib}/vm/seed.iso", "ImportIsCdImage")):
        code, _, err = e.try_ctl("import", path)
        check(code == 1 and f"[{id_}]" in err, f"{os.path.basename(path)}: {err.strip()}")
    check(sorted(os.listdir(e.machines)) == left, "and nothing is left in the machines' folder")

    # A client that is no gasthausctl: a path is a path, never an option.
    ask = ("import sys; from gi.repository import Gio, GLib; c = Gio.DBusConnection.new_for_address_sync(sys.argv[1], "
           "Gio.DBusConnectionFlags.AUTHENTICATION_CLIENT, None, None); c.call_sync(None, '/org/gasthaus/Engine1', 'org.gasthaus.Engine1', "
           "'InspectAppliance', GLib.Variant('(sa{sv})', ('--allow=/', {})), None, 0, 9000, None)")
    p = subprocess.run(["/usr/bin/python3", "-c", ask, f"unix:path={e.env['XDG_RUNTIME_DIR']}/gasthaus/bus"], capture_output=True, text=True, env=e.env)
    check("PathInvalid" in p.stderr, f"a path that looks like an option: {p.stderr.strip().splitlines()[-1:]}")

    # Cancel leaves nothing: a large disk, and Ctrl+C in the middle.
    big = f"{e.folder}/big"
    os.mkdir(big)
    with open(f"{big}/big.raw", "wb") as f:
        f.write(b"\xfa" + bytes(509) + b"\x55\xaa")
        block = os.urandom(1 << 20)
        for _ in range(int(os.environ.get("GH_BIG_MIB", "700"))):
            f.write(block)
        f.truncate(f.tell() // 512 * 512)

    def begin_and_hold():
        """The copying child is held, so that a fast computer is not done before the key comes; None: it was done all the same."""
        p = subprocess.Popen([f"{BUILD}/src/cli/gasthausctl", "import", f"{big}/big.raw"], env=e.env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        while p.poll() is None:
            if [n for n in os.listdir(e.machines) if n.startswith(".importing-") and os.listdir(f"{e.machines}/{n}")]:
                child = e.processes("gasthaus-image")
                for pid in child:
                    os.kill(pid, signal.SIGSTOP)
                if child and [n for n in os.listdir(e.machines) if n.startswith(".importing-")]:
                    return p, child
            time.sleep(0.005)
        check(p.returncode == 0, "an import that was done before it could be held")
        p.stderr.close()
        e.ctl("delete", "big")
        return None

    def held_import():
        held = next(filter(None, (begin_and_hold() for _ in range(10))), None)
        check(held and len(held[1]) == 1, "the copy has begun, by one child, and is held")
        return held[0], held[1][0]

    p, child = held_import()
    p.send_signal(2)
    time.sleep(0.5)
    os.kill(child, signal.SIGCONT)
    _, err = p.communicate(timeout=60)
    check(p.returncode == 1 and "[Cancelled]" in err, f"Ctrl+C cancels: status {p.returncode}, {err.strip()}")
    check(sorted(os.listdir(e.machines)) == left, "and leaves nothing")

    # A second daemon on the same folder, as of another session: what the first one imports stays.
    p, child = held_import()
    hidden = [n for n in os.listdir(e.machines) if n.startswith(".importing-")]
    os.mkdir(f"{e.folder}/run2", 0o700)
    os.mkdir(f"{e.machines}/.importing-left-behind")
    other = dict(e.env, XDG_RUNTIME_DIR=f"{e.folder}/run2")
    subprocess.run([f"{BUILD}/src/cli/gasthausctl", "list"], env=other, check=True, stdout=subprocess.DEVNULL, timeout=60)
    now = [n for n in os.listdir(e.machines) if n.startswith(".importing-")]
    check(len(hidden) == 1 and now == hidden, f"a second daemon leaves the import of a live one and removes the rest: {now}")
    os.kill(child, signal.SIGCONT)
    p.stderr.close()
    check(p.wait(120) == 0, "which ends well")
    e.ctl("delete", "big")
    for pid in e.processes("gasthausd"):
        if f"{e.folder}/run2" in open(f"/proc/{pid}/environ").read():
            os.kill(pid, signal.SIGTERM)

    # The daemon killed in the middle: the next one cleans up.
    p, child = held_import()
    e.kill_daemon()
    os.kill(child, signal.SIGCONT)
    p.stderr.close()
    check(p.wait(60) != 0, "an import whose daemon died fails")
    deadline = time.time() + 20
    while e.processes("gasthaus-image") and time.time() < deadline:
        time.sleep(0.1)
    check(not e.processes("gasthaus-image"), "its child ends too")
    e.json("list")
    check(sorted(os.listdir(e.machines)) == left, "and the next daemon cleans up")
