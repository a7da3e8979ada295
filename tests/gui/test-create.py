#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The empty state; a refused medium; a machine made by presses; its row."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import pyatspi
from desk import App, press, picture, read, wait, write



def allowed(button):
    wait(f"“{button.name}” to be allowed", lambda: button.getState().contains(pyatspi.STATE_SENSITIVE))


app = App(sys.argv[1])
try:
    app.wait("label", "No Machines Yet", 30)
    picture("gui-empty")
    press(app.wait("push button", "New Machine"))
    medium = app.wait("text", "Medium")
    write(medium, "/nonexistent.iso")
    wait("the refusal with its id", lambda: any(app.find("label", s) for s in ("[MediumMissing]",)))
    next_button = app.wait("push button", "Next")
    assert not next_button.getState().contains(pyatspi.STATE_SENSITIVE), "a medium that is refused leads on"
    write(medium, os.path.abspath(__file__))
    wait("a word about a file that nothing starts from", lambda: app.find("label", "Nothing to start from was found on this medium"))
    iso = "/usr/lib/grub-rescue/grub-rescue-cdrom.iso"
    write(medium, iso if os.path.exists(iso) else "")
    wait("no such word about a CD that starts", lambda: not app.find("label", "Nothing to start from was found on this medium"))
    allowed(next_button)
    press(next_button)
    name = app.wait("text", "Name")
    wait("a proposed name", lambda: read(name) != "")
    write(name, "")
    wait("a machine without a name to be refused", lambda: not next_button.getState().contains(pyatspi.STATE_SENSITIVE))
    write(name, "First guest")
    allowed(next_button)
    press(next_button)
    start = wait("the switch", lambda: app.find("toggle button", "Start Now") or app.find("switch", "Start Now") or app.find("check box", "Start Now"))
    start.queryAction().doAction(0)
    picture("gui-new-machine")
    create = app.wait("push button", "Create")
    allowed(create)
    press(create)
    wait("the machine's row", lambda: "First guest" in app.rows())
    folder = os.environ["XDG_DATA_HOME"] + "/gasthaus/machines"
    assert os.listdir(folder), "no folder was made"
    picture("gui-details")
    if os.path.exists(iso):  # as ./run FILE.iso and a file manager do it: made and started at once
        app.process.terminate()
        app.process.wait(10)
        app = App(sys.argv[1], iso)
        wait("a second machine", lambda: len(app.rows()) == 2, 60)
        wait("it to run", lambda: app.find("label", "Running"), 60)
    print("ok")
finally:
    app.close()
