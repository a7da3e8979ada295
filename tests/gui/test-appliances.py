#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""An appliance of three machines: its reports, all imported at once. Work that goes on is shown in its machine's row, or as a row
of its own while there is none, and cancelled there. A new disk by the media window, for a machine and for none."""
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "appliance"))
import pyatspi
from gi.repository import GLib
import samples
from hands import click, key, type_text, window_of, xdotool
from desk import App, children, find, picture, press, wait, write

folder = tempfile.mkdtemp(prefix="gh-gui-appliances-")
ova, raws = samples.multi(folder)
data = os.environ["XDG_DATA_HOME"] + "/gasthaus"
machines = data + "/machines"
ctl = os.path.join(os.path.dirname(sys.argv[1]), "..", "cli", "gasthausctl")
held = []


def engine(*args):
    p = subprocess.run([ctl, "--json", *args], capture_output=True, text=True, timeout=90)
    assert p.returncode == 0, (args, p.stderr)
    return json.loads(p.stdout) if p.stdout else None


def workers():
    """The image tools that our daemon started."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.path.basename(os.readlink(f"/proc/{pid}/exe")) == "gasthaus-image" and os.environ["XDG_RUNTIME_DIR"].encode() in open(f"/proc/{pid}/environ", "rb").read():
                found.append(int(pid))
        except OSError:
            continue
    return found


def hold(what):
    """Stops the tool that does it, so that a fast computer is not done before somebody looks."""
    pid = wait(what, workers, 30, 0.005)[0]
    os.kill(pid, signal.SIGSTOP)
    held.append(pid)
    return pid


def go_on(pid):
    os.kill(pid, signal.SIGCONT)
    held.remove(pid)


def labels(node):
    """Every text below it."""
    found = [node.name] if node.getRoleName() == "label" else []
    for child in children(node):
        found += labels(child)
    return found


def leak(path):
    """A qcow2 with one more cluster that nothing refers to."""
    with open(path, "r+b") as f:
        f.seek(48)
        table = int.from_bytes(f.read(8), "big")
        f.seek(table)
        block = int.from_bytes(f.read(8), "big")
        cluster = (os.path.getsize(path) + 65535) // 65536
        f.truncate((cluster + 1) * 65536)
        f.seek(block + cluster * 2)
        f.write(b"\0\1")


def machine_row(name):
    names = app.find("list", "Machines")
    return next((c for c in children(names) if c.name == name), None) if names else None


app = App(sys.argv[1], ova)
try:
    app.wait("push button", "Import", 60)
    app.wait("text", "Name")
    wait("the choice of machines", lambda: app.find("combo box", "Machine") or app.find("list item", "Machine") or app.find("label", "Machine"))
    app.wait("label", "Import All 3 Machines")
    picture("gui-appliances-report")
    press(app.find("push button", "Import"))
    wait("the three machines", lambda: set(app.rows()) >= {"front", "store", "front-2"}, 90)
    shown = {m["name"]: engine("show", m["uuid"]) for m in engine("list")}
    assert {n: m["memory-bytes"] >> 20 for n, m in shown.items()} == {"front": 512, "store": 1024, "front-2": 256}, shown
    for raw, name in zip(raws, ("front", "store", "front-2")):
        p = subprocess.run(["qemu-img", "compare", "-f", "raw", "-F", "qcow2", raw, shown[name]["disks"][0]["file"]], capture_output=True, text=True)
        assert p.returncode == 0, p.stdout + p.stderr

    # An export shows in the row of its machine; Cancel there leaves no file.
    disk = shown["store"]["disks"][0]["file"]
    subprocess.run(["qemu-img", "resize", "-q", "-f", "qcow2", disk, "3G"], check=True)
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -P 7 16M 400M", disk], check=True, stdout=subprocess.DEVNULL)
    out = subprocess.Popen([ctl, "export", "store", f"{folder}/store.ova"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    pid = hold("the export")
    row = wait("the machine's row", lambda: machine_row("store"))
    bar = wait("the progress in its row", lambda: find(machine_row("store"), "progress bar", None), 30)
    assert "store" in bar.name, bar.name
    assert find(machine_row("front"), "progress bar", None) is None, "another machine shows it too"
    picture("gui-appliances-export")
    press(wait("Cancel in its row", lambda: find(machine_row("store"), "push button", "Cancel")))
    time.sleep(0.5)
    go_on(pid)
    assert out.wait(60) == 1 and "[Cancelled]" in out.stderr.read()
    assert not [n for n in os.listdir(folder) if "store.ova" in n], os.listdir(folder)
    wait("the progress to go", lambda: find(machine_row("store"), "progress bar", None) is None, 30)

    # An import has no machine yet: a row of its own below the others.
    big = f"{folder}/big.raw"
    with open(big, "wb") as f:
        f.write(b"\xfa" + bytes(509) + b"\x55\xaa")
        f.write(os.urandom(200 << 20))
    before = sorted(os.listdir(machines))
    p = subprocess.Popen([ctl, "import", big], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    wait("the import to begin", lambda: [n for n in os.listdir(machines) if n.startswith(".importing-")], 60, 0.005)
    pid = hold("the import")
    wait("its progress", lambda: app.find("progress bar", "big.raw"), 30)
    picture("gui-appliances-import")
    press(wait("Cancel", lambda: app.find("push button", "Cancel")))
    time.sleep(0.5)
    go_on(pid)
    assert p.wait(60) == 1 and "[Cancelled]" in p.stderr.read()
    assert sorted(os.listdir(machines)) == before, "a cancelled import leaves something"

    # A disk of a machine that is somewhere else now.
    extra = os.path.join(engine("show", "front")["folder"], "extra.qcow2")
    engine("media", "create", extra, "16M", "--machine", "front")
    os.rename(extra, f"{folder}/found.qcow2")

    # New disks.
    def new_disk(name, machine):
        press(wait("New Disk", lambda: app.find("push button", "New Disk", "Disks and Media")))
        entry = wait("its name", lambda: next((e for w in children(app.node) if w.getRoleName() in ("dialog", "alert", "frame") and find(w, "push button", "Create")
                                               for e in [find(w, "text", "Name")] if e), None))
        write(entry, name)
        size = wait("its size", lambda: app.find("spin button", "Size in GiB"))
        size.queryValue().currentValue = 2
        if machine:
            label = wait("the machines", lambda: app.find("list", "Machine") or True)
        picture("gui-appliances-new-disk")
        press(wait("Create", lambda: app.find("push button", "Create")))
        return wait("the disk", lambda: next((m for m in engine("media", "list") if os.path.basename(m["path"]) == name + ".qcow2"), None), 60, 0.5)

    subprocess.run(["gapplication", "action", "org.gasthaus.Gasthaus", "media"], check=True, timeout=30)
    app.wait("label", "disk.qcow2", 40, "Disks and Media")
    made = new_disk("spare", False)
    assert made["bytes"] == 2 << 30 and made["orphan"] and made["path"] == f"{data}/disks/spare.qcow2", made
    app.wait("label", "spare.qcow2", 40, "Disks and Media")
    picture("gui-appliances-media")

    # What else a disk's row offers: check, convert, move, find again, release.
    MEDIA = "Disks and Media"

    def open_row(text, button):
        """The list is made anew after each action: what was found in it may be gone when the pointer comes."""
        for _ in range(20):
            if app.find("push button", button, MEDIA) is None:
                try:
                    node = app.find("label", text, MEDIA)
                    if node is None:
                        time.sleep(0.3)
                        continue
                    click(node, MEDIA)
                except (NotImplementedError, AttributeError, GLib.GError):
                    continue
            deadline = time.time() + 10
            while time.time() < deadline:
                found = app.find("push button", button, MEDIA)
                if found is not None:
                    return found
                time.sleep(0.1)
        raise SystemExit(f"FAILED: the row of {text} does not open")

    def answer(button):
        """Of the question that is asked."""
        press(wait(button, lambda: next((b for w in children(app.node) if w.name != MEDIA and w.name != "Gasthaus" for b in [find(w, "push button", button)] if b), None)))

    def choose(title, path):
        wait(title, lambda: window_of(title), 30)
        wait("its place field", lambda: app.find("push button", "Cancel", title) or True)
        time.sleep(1)
        type_text(path)
        time.sleep(1)
        picture("gui-appliances-choose")
        key("Return")
        deadline = time.time() + 8
        while window_of(title) and time.time() < deadline:
            time.sleep(0.2)
        if window_of(title): # the first one only completed the name
            key("Return")

    def known():
        return {os.path.basename(m["path"]): m for m in engine("media", "list") if m["path"].startswith(data)}

    press(open_row("spare.qcow2", "Check"))
    app.wait("label", "No damage found", 60, MEDIA)
    press(open_row("spare.qcow2", "Convert…"))
    choice = wait("the format", lambda: app.find("combo box", "New Format") or app.find("push button", "New Format") or app.find("toggle button", "New Format"))
    picture("gui-appliances-convert")
    answer("Convert")
    wait("the VDI", lambda: known().get("spare.vdi", {}).get("present"), 60, 0.5)
    assert known()["spare.vdi"]["format"] == "vdi" and "spare.qcow2" not in known(), known().keys()
    # What may outgrow this computer is said before; nothing grows by the same size.
    press(open_row("spare.vdi", "Grow…"))
    spin = wait("the new size", lambda: app.find("spin button", "New Size in GiB"))
    grow = wait("Grow", lambda: next((b for w in children(app.node) if w.name != MEDIA for b in [find(w, "push button", "Grow")] if b), None))
    assert not grow.getState().contains(pyatspi.STATE_SENSITIVE), "grows to what it has"
    spin.queryValue().currentValue = 60000
    wait("the note", lambda: any("are free on this computer" in l for w in children(app.node) if w.name != MEDIA for l in labels(w)))
    picture("gui-appliances-outgrow")
    answer("Cancel")
    press(open_row("spare.vdi", "Use…"))
    answer("Use")
    wait("it to be a disk of the first machine", lambda: any(d["file"].endswith("spare.vdi") for m in engine("list") for d in engine("show", m["uuid"])["disks"]), 60, 0.3)
    app.wait("label", "front: spare.vdi", 40, MEDIA)
    os.mkdir(f"{data}/disks/below")
    press(open_row("spare.vdi", "Move…"))
    choose("Move to a Folder", f"{data}/disks/below")
    wait("the moved file", lambda: os.path.exists(f"{data}/disks/below/spare.vdi"), 60, 0.3)
    press(open_row("extra.qcow2", "Find…"))
    choose("Where Is It Now?", f"{folder}/found.qcow2")
    wait("the found disk", lambda: f"{folder}/found.qcow2" in [d["file"] for d in engine("show", "front")["disks"]], 60, 0.3)
    app.wait("label", "found.qcow2", 40, MEDIA)
    press(open_row("found.qcow2", "Release…"))
    answer("Release")
    wait("it to be released", lambda: [os.path.basename(d["file"]) for d in engine("show", "front")["disks"]] == ["disk.qcow2", "spare.vdi"], 60, 0.3)
    assert os.path.exists(f"{folder}/found.qcow2"), "release removed the file"
    # A disk with a leak: the check says so and offers to repair it.
    worn = f"{data}/disks/worn.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", worn, "16M"], check=True)
    leak(worn)
    xdotool("windowactivate", window_of("Gasthaus")[0])
    xdotool("windowactivate", window_of(MEDIA)[0])  # what other programs did is seen when one looks again
    press(open_row("worn.qcow2", "Check"))
    answer("Repair")
    wait("it to be repaired", lambda: any("no damage left" in l for w in children(app.node) if w.name == MEDIA for l in labels(w)))
    subprocess.run(["qemu-img", "check", "-q", worn], check=True)
    print("ok")
finally:
    for pid in held:
        os.kill(pid, signal.SIGCONT)
    app.close()
    subprocess.run(["rm", "-rf", folder])
