#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""An appliance opened with the application: its report, the import with its machine, the start; a refused file; then the
media window: a disk grown, compacted with the space returned, an unused one deleted and brought back."""
import json
import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "appliance"))
import pyatspi
from gi.repository import GLib
import samples
from desk import App, children, find, picture, press, read, wait, write
from hands import click

folder = tempfile.mkdtemp(prefix="gh-gui-import-")
ova, raw = samples.ova(folder)
machines = os.environ["XDG_DATA_HOME"] + "/gasthaus/machines"
ctl = os.path.join(os.path.dirname(sys.argv[1]), "..", "cli", "gasthausctl")


def engine(*args):
    p = subprocess.run([ctl, "--json", *args], capture_output=True, text=True, timeout=90)
    assert p.returncode == 0, (args, p.stderr)
    return json.loads(p.stdout) if p.stdout else None


def label(text, window=None):
    """A label that contains the text, in the window of that name or anywhere."""
    def look(node):
        try:
            if node.getRoleName() == "label" and text in (node.name or ""):
                return node
            for c in children(node):
                found = look(c)
                if found is not None:
                    return found
        except Exception:
            pass
        return None
    def tops():
        return [w for w in children(app.node) if window is None or (w.name or "") == window]
    return wait(f"the words “{text}”", lambda: next((f for f in map(look, tops()) if f is not None), None), 40)


app = App(sys.argv[1], ova)
try:
    # Opened with the file: the report.
    button = app.wait("push button", "Import", 60)
    label("Please Note"), label("Left Out"), label("Kept")
    label("The sound card"), label("1024 MiB of memory"), label("The checksums of the manifest are right.")
    name = app.wait("text", "Name")
    assert read(name) == "web", read(name)
    picture("gui-import-report")
    assert not os.path.isdir(machines) or os.listdir(machines) == [], "the report made something"
    write(name, "Imported web")
    press(button)
    wait("the machine's row", lambda: "Imported web" in app.rows(), 60)
    shown = engine("show", "Imported web")
    disk = [d for d in shown["disks"] if d["kind"] == "disk"][0]["file"]
    p = subprocess.run(["qemu-img", "compare", "-f", "raw", "-F", "qcow2", raw, disk], capture_output=True, text=True)
    assert p.returncode == 0, p.stdout + p.stderr
    picture("gui-imported")
    # Started from the window, and ended again.
    start = wait("Start", lambda: app.find("push button", "Start"), 30)
    press(start)
    wait("the machine to run", lambda: engine("show", "Imported web")["state"] == "running", 60, 0.5)
    picture("gui-imported-running")
    engine("stop", "Imported web")
    wait("the machine to be off", lambda: engine("show", "Imported web")["state"] == "off", 60, 0.5)

    # A damaged one, as a second open: refused with its id, nothing made.
    data = bytearray(samples.read(ova))
    data[len(data) // 2] ^= 1
    open(f"{folder}/damaged.ova", "wb").write(data)
    subprocess.run([sys.argv[1], f"{folder}/damaged.ova"], timeout=30, check=True)
    label("[ManifestMismatch]")
    label("This Cannot Be Imported")
    picture("gui-import-refused")
    assert len(os.listdir(machines)) == 1, os.listdir(machines)
    # Escape closes it; by the bus there are no keys, so its own button.
    close = [w for w in children(app.node) if "damaged" in (w.name or "")]
    assert close, [w.name for w in children(app.node)]
    press(find(close[0], "push button", "Close"))
    wait("the window to close", lambda: not [w for w in children(app.node) if "damaged" in (w.name or "")])

    # Media: 200 MiB of data that become zeros, and an unused disk.
    subprocess.run(["qemu-img", "resize", "-q", "-f", "qcow2", disk, "300M"], check=True)
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -P 1 64M 200M", "-c", "write -P 0 64M 200M", disk], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["qemu-img", "create", "-q", "-f", "vdi", os.path.dirname(disk) + "/left-over.vdi", "16M"], check=True)
    subprocess.run(["gapplication", "action", "org.gasthaus.Gasthaus", "media"], check=True, timeout=30)
    label("disk.qcow2")
    label("Imported web: disk.qcow2")
    label("used by no machine")
    picture("gui-media")

    def buttons(name):
        return app.find("push button", name)

    def open_row(text, button):
        """The list is made anew after each action: what was found in it may be gone when the pointer comes."""
        for _ in range(20):
            if buttons(button) is None:
                try:
                    click(label(text, "Disks and Media"), "Disks and Media")
                except (NotImplementedError, AttributeError, GLib.GError):
                    continue
            deadline = time.time() + 10
            while time.time() < deadline:
                found = buttons(button)
                if found is not None:
                    return found
                time.sleep(0.1)
        raise SystemExit(f"FAILED: the row of {text} does not open")

    # An expander row has no action on the bus: the pointer opens it.
    compact = open_row("disk.qcow2", "Compact")
    picture("gui-media-row")
    before = os.stat(disk).st_blocks * 512
    press(compact)
    label(" returned; the disk takes ")
    after = os.stat(disk).st_blocks * 512
    assert before - after > 150 << 20, (before, after)
    picture("gui-media-compacted")
    # Grow by the dialog.
    press(wait("Grow", lambda: buttons("Grow…")))
    spin = wait("the new size", lambda: app.find("spin button", "New Size in GiB"))
    spin.queryValue().currentValue = 2
    picture("gui-media-grow")
    press(wait("Grow in the dialog", lambda: buttons("Grow")))
    wait("the disk to be larger", lambda: engine("media", "info", disk)["bytes"] == 2 << 30, 40, 0.5)
    # What nobody uses goes to the trash, and comes back by Undo.
    left = os.path.dirname(disk) + "/left-over.vdi"
    press(open_row("left-over.vdi", "Delete"))
    wait("the file to be gone", lambda: not os.path.exists(left), 40, 0.2)
    press(wait("Undo", lambda: buttons("Undo")))
    wait("the file to be back", lambda: os.path.exists(left), 40, 0.2)
    picture("gui-media-undone")
    print("ok")
finally:
    app.close()
    subprocess.run(["rm", "-rf", folder])
