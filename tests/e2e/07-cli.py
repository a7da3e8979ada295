#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
# gasthaus-test: short 700
"""The command line against a running guest: life cycle, settings, media, keys, pictures, counters, log, JSON."""
import os
import time

from guestlib import Engine, check, make_boot_iso, pixels

with Engine("cli") as e:
    iso = make_boot_iso(e.folder, "console=tty0 console=ttyS0 quiet")
    made = e.json("create", "Tür 1", "--media", iso, "--memory", "256M", "--disk", "64M", "--accel", "soft", "--cpus", "1")
    check(len(made["uuid"]) == 36, "create prints the UUID")
    # Hardware by what the system brings drivers for; unknown systems get what all know.
    for name, system, bus, card in (("debian", "http://debian.org/debian/12", "virtio", "virtio-net"),
                                    ("windows", "http://microsoft.com/win/10", "ide", "e1000")):
        e.ctl("create", name, "--os", system, "--disk", "64M", "--memory", "256M", "--cpus", "1")
        machine = e.json("show", name)
        check((machine["disks"][0]["bus"], machine["networks"][0]["adapter"]) == (bus, card), f"{name}: its disk is on {bus}, its network card an {card}")
        e.ctl("delete", name)
    shown = e.json("show", made["uuid"][:8])
    check(shown["name"] == "Tür 1" and shown["memory-bytes"] == 256 << 20 and shown["state"] == "off", "show by the UUID's beginning")
    check([d["kind"] for d in shown["disks"]] == ["disk", "cdrom"] and shown["disks"][0]["format"] == "qcow2", "a qcow2 disk and the CD")
    check(os.path.getsize(shown["disks"][0]["file"]) < 1 << 20, "the disk takes only what it needs on the host")
    revision = shown["revision"]
    e.ctl("set", "Tür 1", "--memory", "300M", "--description", "line & <tag>")
    shown = e.json("show", "Tür 1")
    check(shown["memory-bytes"] == 300 << 20 and shown["revision"] == revision + 1 and shown["description"] == "line & <tag>",
          "set changes settings and counts the revision")
    code, _, err = e.try_ctl("resume", "Tür 1")
    check(code == 1 and "[MachineOff]" in err, f"a machine that is off cannot be resumed: {err.strip()}")
    code, _, err = e.try_ctl("start", "Tür 1", "--fast")
    check(code == 2, "wrong usage has status 2")

    e.ctl("start", "Tür 1")
    console = e.console("Tür 1")
    code, _, err = e.try_ctl("delete", "Tür 1")
    check(code == 1 and "[MachineRunning]" in err, "a running machine cannot be deleted")
    shot = e.wait_screen("Tür 1", lambda p: p.height >= 400 and p.share((0, 0, 0), 8) < 0.999, 400)
    console.expect("GUEST-READY", 400)
    time.sleep(3)
    before = pixels(e.screenshot("Tür 1"))
    e.ctl("type", "Tür 1", "echo typed-$((6*7)) > /dev/ttyS0\\n")
    console.expect("typed-42", 40)
    check(True, "typed text reaches the guest's shell on the screen")
    time.sleep(1)
    check(before.differs(pixels(e.screenshot("Tür 1"))), f"and the screen shows it ({shot})")
    e.ctl("medium", "Tür 1", "cdrom0")
    check(e.json("show", "Tür 1")["disks"][1]["file"] == "", "the CD is out")
    e.ctl("medium", "Tür 1", "cdrom0", iso)
    check(e.json("show", "Tür 1")["disks"][1]["file"] == iso, "and in again")
    counters = e.json("show", "Tür 1", "--counters")["counters"]
    check(counters["interpreted-instructions"] > 10 ** 6 and counters["interrupt"] > 100,
          f"counters: {counters['interpreted-instructions']} instructions interpreted, {counters['interrupt']} interrupts")
    check("Software CPU" in e.ctl("log", "Tür 1") or "soft" in e.ctl("log", "Tür 1"), "the log says what it runs on")
    check(e.json("show", "Tür 1")["running-on"] == "soft", "and so does show")
    e.try_ctl("type", "Tür 1", "poweroff -f\\n") # may end before the last key is up
    e.wait_state("Tür 1", "off", 60)
    check(e.json("show", "Tür 1")["error-id"] == "", "a guest that powers off leaves no error")
    folder = e.json("show", "Tür 1")["folder"]
    e.ctl("delete", "Tür 1")
    check(not os.path.exists(folder) and e.json("list") == [], "delete removes the machine and its folder")
