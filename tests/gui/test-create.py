#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The empty state; a refused medium; a machine made by presses; its row."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from desk import App, press, picture, read, wait, write

app = App(sys.argv[1])
try:
    app.wait("label", "No Machines Yet", 30)
    picture("gui-empty")
    press(app.wait("push button", "New Machine"))
    app.wait("frame", "New Machine")
    medium = app.wait("text", "Medium")
    name = app.wait("text", "Name")
    wait("a proposed name", lambda: read(name) != "")
    write(medium, "/nonexistent.iso")
    wait("the refusal with its id", lambda: any(app.find("label", s) for s in ("[MediumMissing]",)))
    iso = "/usr/lib/grub-rescue/grub-rescue-cdrom.iso"
    write(medium, iso if os.path.exists(iso) else "")
    write(name, "First guest")
    start = app.find("toggle button", "Start Now") or app.find("switch", "Start Now") or app.find("check box", "Start Now")
    actions = start.queryAction()
    actions.doAction(0)
    picture("gui-new-machine")
    create = app.wait("push button", "Create")
    wait("Create to be allowed", lambda: create.getState().contains(__import__("pyatspi").STATE_SENSITIVE))
    press(create)
    wait("the machine's row", lambda: "First guest" in app.rows())
    folder = os.environ["XDG_DATA_HOME"] + "/gasthaus/machines"
    assert os.listdir(folder), "no folder was made"
    picture("gui-details")
    print("ok")
finally:
    app.close()
