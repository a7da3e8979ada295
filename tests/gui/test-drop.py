#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""An appliance dropped on the window with the pointer: its report comes, and the import gives the machine."""
import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "appliance"))
import samples
from desk import App, picture, press, read, wait
from hands import window_of, xdotool

if subprocess.run(["/usr/bin/python3", "-c", "import gi; gi.require_version('Gtk', '4.0')"], capture_output=True).returncode:
    print("skipped: gir1.2-gtk-4.0 is missing")
    sys.exit(77)
folder = tempfile.mkdtemp(prefix="gh-gui-drop-")
ova, raw = samples.ova(folder, "vmware")
app = App(sys.argv[1])
dragger = subprocess.Popen(["/usr/bin/python3", os.path.join(os.path.dirname(os.path.abspath(__file__)), "dragger.py"), ova])
try:
    app.wait("label", "No Machines Yet", 30)
    source = wait("the window to drag from", lambda: window_of("Dragger"), 30)
    target = wait("the window", lambda: window_of("Gasthaus"))
    xdotool("windowmove", "--sync", target[0], 320, 60)
    xdotool("windowmove", "--sync", source[0], 10, 10)
    source, target = window_of("Dragger"), window_of("Gasthaus")
    for attempt in range(3):
        xdotool("mousemove", "--sync", source[1] + 100, source[2] + 60)
        xdotool("mousedown", 1)
        goal = target[1] + target[3] // 2, target[2] + target[4] // 2
        for step in range(1, 21):
            xdotool("mousemove", "--sync", source[1] + 100 + (goal[0] - source[1] - 100) * step // 20, source[2] + 60 + (goal[1] - source[2] - 60) * step // 20)
            time.sleep(0.03)
        time.sleep(0.3)
        xdotool("mousemove", "--sync", goal[0] + 5, goal[1] + 5)
        time.sleep(0.3)
        xdotool("mouseup", 1)
        deadline = time.time() + 12
        button = None
        while button is None and time.time() < deadline:
            button = app.find("push button", "Import")
            time.sleep(0.1)
        if button:
            break
    button = app.wait("push button", "Import", 5)
    name = app.wait("text", "Name")
    assert read(name) == "App server", read(name)
    picture("gui-drop-report")
    press(button)
    wait("the machine's row", lambda: "App server" in app.rows(), 60)
    print("ok")
finally:
    dragger.terminate()
    dragger.wait(10)
    app.close()
    subprocess.run(["rm", "-rf", folder])
