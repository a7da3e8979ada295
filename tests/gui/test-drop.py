#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files dropped on the window with the pointer: an appliance shows its report, and the import gives the machine; a CD image opens New
Machine with it."""
import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "appliance"))
import samples
from desk import App, picture, press, read, wait
from hands import key, window_of, xdotool

if subprocess.run(["/usr/bin/python3", "-c", "import gi; gi.require_version('Gtk', '4.0')"], capture_output=True).returncode:
    print("skipped: gir1.2-gtk-4.0 is missing")
    sys.exit(77)
DRAGGER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "dragger.py")
ISO = "/usr/lib/grub-rescue/grub-rescue-cdrom.iso"


def at(title, x, y):
    """Moves the window there, and waits until it is."""
    xdotool("windowmove", window_of(title)[0], x, y)
    last = None
    for _ in range(100):
        now = window_of(title)
        if now and now == last and abs(now[1] - x) < 60 and abs(now[2] - y) < 60:
            return now
        last = now
        time.sleep(0.1)
    sys.exit(f"FAILED: “{title}” does not stay at {x}, {y}: {now}")


def drag(path, arrived):
    """From a window of another program onto ours; again if the desktop missed it."""
    dragger = subprocess.Popen(["/usr/bin/python3", DRAGGER, path])
    try:
        wait("the window to drag from", lambda: window_of("Dragger"), 60)
        target = at("Gasthaus", 320, 60)
        source = at("Dragger", 10, 10)
        start = source[1] + 100, source[2] + 60
        goal = target[1] + target[3] // 2, target[2] + target[4] // 2
        for _ in range(5):
            xdotool("mousemove", "--sync", *start)
            xdotool("mousedown", 1)
            for step in range(1, 21):
                xdotool("mousemove", "--sync", *(a + (b - a) * step // 20 for a, b in zip(start, goal)))
                time.sleep(0.03)
            time.sleep(0.3)
            xdotool("mousemove", "--sync", goal[0] + 5, goal[1] + 5)
            time.sleep(0.5)
            xdotool("mouseup", 1)
            deadline = time.time() + 20
            while time.time() < deadline:
                if arrived():
                    return
                time.sleep(0.1)
        sys.exit(f"FAILED: five drags of {path}, and nothing came of them")
    finally:
        dragger.terminate()
        dragger.wait(10)


folder = tempfile.mkdtemp(prefix="gh-gui-drop-")
ova, raw = samples.ova(folder, "vmware")
app = App(sys.argv[1])
try:
    app.wait("label", "No Machines Yet", 60)
    drag(ova, lambda: app.find("push button", "Import"))
    button = app.wait("push button", "Import", 5)
    name = app.wait("text", "Name")
    wait("the appliance's name", lambda: read(name) == "App server")
    picture("gui-drop-report")
    press(button)
    wait("the machine's row", lambda: "App server" in app.rows(), 60)
    press(app.wait("push button", "Start", 60, "Gasthaus"))
    wait("it to run", lambda: app.find("label", "Running", "Gasthaus"), 120)
    print("ok: an appliance, which runs")
    if os.path.exists(ISO):
        drag(ISO, lambda: app.find("text", "Medium", "New Machine"))
        medium = app.wait("text", "Medium", 5, "New Machine")
        wait("the image's path", lambda: read(medium) == ISO)
        wait("it to be taken", lambda: app.find("push button", "Next", "New Machine"))
        picture("gui-drop-iso")
        key("Escape")
        wait("the wizard to close", lambda: not app.find("text", "Medium", "New Machine"))
        assert app.rows() == ["App server"], app.rows()
        print("ok: a CD image")
finally:
    app.close()
    subprocess.run(["rm", "-rf", folder])
