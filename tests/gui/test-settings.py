#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings changed in the window are the daemon's: name, memory, medium; a refused one says why and shows the old value again.
Everything that can be pressed or typed into has a name for those who do not see it, in every window."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import pyatspi
from desk import App, children, press, read, shown, wait
from hands import click, fill, key, menu, type_text

program, ctl = sys.argv[1:3]
ISO = "/usr/lib/grub-rescue/grub-rescue-cdrom.iso"
NAMED = ("push button", "toggle button", "check box", "switch", "text", "spin button", "combo box", "list", "list item", "menu item", "image")
CLASSES = ("Gtk", "Adw", "Gh")


def show(name):
    out = subprocess.run([ctl, "--json", "show", name], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return json.loads(out.stdout) if out.returncode == 0 else {}


def has_text(node):
    return node.getRoleName() == "label" and node.name or any(has_text(c) for c in children(node))


def nameless(node, path=""):
    """What a screen reader would call “button” and nothing else. Pictures beside a text are the text's, and so is a row; the lists inside
    of rows are libadwaita's."""
    try:
        role, name = node.getRoleName(), node.name or ""
        inside = "list item" in path
        path = f"{path}/{role} “{name}”"
        if role in NAMED and shown(node) and (not name or name.startswith(CLASSES)) and not (role == "image" and not name[:3] == "Gh") and \
                not (role == "list item" and has_text(node)) and not (role == "list" and inside):
            yield path
        for c in children(node) if role != "combo box" else ():  # libadwaita's own list is inside
            yield from nameless(c, path)
    except Exception:  # objects vanish while we look
        return


def audit(app, what):
    bad = [b for b in nameless(app.node)]
    assert not bad, f"{what}: no name for\n  " + "\n  ".join("…" + b[-120:] for b in bad)
    print(f"ok: everything in {what} has a name")


subprocess.run([ctl, "create", "First", "--media", ISO if os.path.exists(ISO) else "", "--memory", "64M", "--disk", "1G"], check=True,
               stdin=subprocess.DEVNULL)
app = App(program)
try:
    app.wait("label", "First", 60)
    audit(app, "the main window")
    fill(app.wait("text", "Name"), "Renamed")
    key("Return")
    wait("the new name in the list", lambda: "Renamed" in app.rows())
    assert show("Renamed").get("name") == "Renamed"
    print("ok: a name typed into the page is the machine's")

    memory = app.wait("spin button", "Memory in MiB")
    click(memory)
    key("ctrl+a")
    type_text("128")
    key("Tab")
    wait("the daemon to know of the memory", lambda: show("Renamed").get("memory-bytes") == 128 << 20, 30)
    print("ok: so is the memory")

    if os.path.exists(ISO):
        click(app.wait("push button", "Eject"))
        wait("an empty drive", lambda: app.find("label", "No medium"))
        assert all(d["file"] == "" for d in show("Renamed")["disks"] if d["kind"] == "cdrom")
        print("ok: the CD is out")

    # How the disk is used: each setting is the daemon's at once; everything in the row has a name.
    click(app.wait("label", "Disk", window="Gasthaus"))
    wait("the disk's settings", lambda: app.find("spin button", "Requests per Second", "Gasthaus"))
    audit(app, "the disk's settings")

    def disk():
        return next(d for d in show("Renamed")["disks"] if d["kind"] == "disk")

    app.find("spin button", "Speed Limit in MiB/s", "Gasthaus").queryValue().currentValue = 20
    wait("the limit", lambda: disk()["limit-bytes"] == 20 << 20)
    trim = wait("TRIM", lambda: next((n for n in (app.find(r, "Give Unused Space Back", "Gasthaus") for r in ("toggle button", "switch", "check box")) if n), None))
    trim.queryAction().doAction(0)
    wait("TRIM to be off", lambda: disk()["discard"] is False)
    subprocess.run([ctl, "disk", "Renamed", "set", "disk0", "--mode", "immutable"], check=True, stdin=subprocess.DEVNULL)
    app.wait("label", "What the guest writes is dropped when it is switched off")
    press(app.find("push button", "Take the Disk Out", "Gasthaus"))
    press(app.wait("push button", "Take Out"))
    wait("the machine to have no disk", lambda: not [d for d in show("Renamed")["disks"] if d["kind"] == "disk"])
    print("ok: a disk's settings, and taking it out")

    menu(app, app.wait("push button", "Main Menu"), "Preferences")
    app.wait("label", "Appearance")
    audit(app, "the preferences")
    toggle = wait("the switch", lambda: next((n for n in (app.find(r, "Live Pictures in the List") for r in ("toggle button", "switch", "check box"))
                                              if n), None))
    toggle.queryAction().doAction(0)
    ini = os.environ["XDG_CONFIG_HOME"] + "/gasthaus/window.ini"
    wait("the preference to be kept", lambda: os.path.exists(ini) and "LivePictures=false" in open(ini).read())
    key("Escape")
    wait("the preferences to close", lambda: not app.find("label", "Appearance"))
    key("ctrl+n")
    app.wait("text", "Medium", window="New Machine")
    audit(app, "the wizard")
    key("Return")  # no medium: the default button leads on
    name = app.wait("text", "Name", window="New Machine")
    wait("a proposed name", lambda: read(name) == "New machine")
    key("Return")
    app.wait("push button", "Create", window="New Machine")
    print("ok: Return leads from page to page, and the wizard begins where one types")
    key("Escape")
    wait("the wizard to close", lambda: not app.find("push button", "Create", "New Machine"))
    print("ok: preferences are kept")
finally:
    app.close()
