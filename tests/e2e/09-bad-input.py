#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
# gasthaus-test: short 120
"""Bad input: each a clear sentence with its message id, and nothing half-made is left behind."""
import os
import subprocess

from guestlib import VM, Engine, check

with Engine("bad-input") as e:
    d = e.folder
    os.mkdir(f"{d}/folder.iso")
    open(f"{d}/empty.iso", "w").close()
    good = "/usr/lib/grub-rescue/grub-rescue-cdrom.iso"

    def refused(id_, *args):
        code, out, err = e.try_ctl(*args)
        check(code != 0 and f"[{id_}]" in err and len(err.strip().splitlines()) == 1, f"{' '.join(args[:4])}: {err.strip()}")

    refused("MediumMissing", "create", "a", "--media", f"{d}/missing.iso")
    refused("MediumEmpty", "create", "a", "--media", f"{d}/empty.iso")
    refused("MediumIsFolder", "create", "a", "--media", f"{d}/folder.iso")
    refused("MemoryOutOfRange", "create", "a", "--memory", "0")
    refused("MemoryOutOfRange", "create", "a", "--memory", "10T")
    refused("CpusOutOfRange", "create", "a", "--cpus", "0")
    refused("NameInvalid", "create", "a/b", "--memory", "64M")
    refused("NameInvalid", "create", "", "--memory", "64M")
    refused("DiskSizeOutOfRange", "create", "a", "--disk", "100T")
    refused("MachineUnknown", "start", "nobody")
    check(e.json("list") == [], "no machine was made")
    left = os.listdir(e.machines) if os.path.isdir(e.machines) else []
    check(left == [], "nothing half-made is left behind")

    # Two machines with one disk: the second refuses to start while the first runs.
    e.ctl("create", "first", "--memory", "64M", "--disk", "16M", "--accel", "soft")
    e.ctl("create", "second", "--memory", "64M", "--disk", "16M", "--accel", "soft")
    disk = e.json("show", "first")["disks"][0]["file"]
    other = e.json("show", "second")["disks"][0]["file"]
    os.unlink(other)
    os.link(disk, other)
    e.ctl("start", "first")
    code, _, err = e.try_ctl("start", "second")
    check(code != 0 and ("DiskLocked" in err or "DiskInUse" in err), f"one disk, two machines: {err.strip()}")
    e.ctl("stop", "first")
    e.wait_state("first", "off")

    # A broken definition hides nobody else, and is refused by name of the file.
    xml = f"{e.json('show', 'second')['folder']}/machine.xml"
    os.unlink(f"{xml}.prev") if os.path.exists(f"{xml}.prev") else None
    e.kill_daemon()
    open(xml, "w").write("<machine")
    names = [m["name"] for m in e.json("list")]
    check(names == ["first"], "a broken definition does not hide the other machines")

    # The program alone.
    with open(f"{d}/file", "w") as f:
        f.write("mine")
    for args, id_ in ((["--memory", "0"], "MemoryOutOfRange"), (["--cdrom", f"{d}/missing.iso"], "FileMissing"),
                      (["--cdrom", f"{d}/folder.iso"], "FileIsFolder"), (["--cdrom", f"{d}/empty.iso"], "FileEmpty"),
                      (["--cpus", "1000"], "CpusOutOfRange"), (["--accel", "magic"], "AcceleratorUnknown"),
                      (["--disk", f"{good},format=raw,bus=usb"], "BusUnknown"), (["--cdrom", f"{good},bus=nvme"], "BusUnknown"),
                      (["--disk", f"{good},format=raw,readonly,cache=fast"], "DiskOptionUnknown"),
                      (["--disk", f"{good},format=raw,readonly,iops=0"], "DiskOptionUnknown"),
                      (["--disk", f"{good},format=raw,readonly,hotplug"], "BusUnknown"),
                      (["--kernel", "/etc/passwd"], "Kernel"), (["--nonsense"], "OptionUnknown"),
                      (["--serial", f"unix:{d}/file"], "SocketFailed"), (["--display", f"unix:{d}/file"], "SocketFailed")):
        p = subprocess.run([VM, "--accel", "soft", "--memory", "64M", *args], capture_output=True, text=True, timeout=30,
                           stdin=subprocess.DEVNULL)
        last = p.stderr.strip().splitlines()[-1] if p.stderr.strip() else ""
        check(p.returncode != 0 and id_ in last, f"gasthaus-vm {' '.join(args)}: {last}")

    check(open(f"{d}/file").read() == "mine", "a file in a socket's place is left alone")

    # A full disk while creating.
    full = f"{d}/full"
    os.mkdir(full)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", full], capture_output=True).returncode == 0:
        try:
            with open(f"{full}/fill", "wb") as f:
                try:
                    f.write(b"x" * 65536)
                    f.flush()
                except OSError:
                    pass
            e.kill_daemon()
            e.env["GASTHAUS_MACHINES"] = full
            code, _, err = e.try_ctl("create", "big", "--memory", "64M", "--disk", "1G")
            check(code != 0 and "[" in err, f"disk full while creating: {err.strip()}")
            check(os.listdir(full) == ["fill"], "and nothing is left on the full disk")
        finally:
            e.kill_daemon()
            subprocess.run(["umount", full])
    else:
        print("note: no right to mount a small file system; the full disk was not tried")
