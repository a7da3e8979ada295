#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person does every day: the menu of a row by the right button and by keys, renaming by F2, the delete key, two machines at once,
closing a running machine's screen (it says that the machine goes on, and the way back), whose size is kept, a second start of the
application, windows on a small screen."""
import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from desk import App, find, picture, wait
from hands import click, key, place, popovers, type_text, window_of, windows, xdotool

program, ctl = sys.argv[1:3]
SCREEN = (800, 600)


def engine(*args):
    out = subprocess.run([ctl, "--json", *args], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=90)
    assert out.returncode == 0, (args, out.stderr)
    return json.loads(out.stdout) if out.stdout else None


def state(name):
    return next(m["state"] for m in engine("list") if m["name"] == name)


def close(title):
    xdotool("windowactivate", "--sync", window_of(title)[0])
    key("ctrl+alt")  # the keyboard is the guest's until then
    wait("the keyboard to be the window's", lambda: not app.find("label", "Press Ctrl+Alt to release keyboard and pointer"))
    key("ctrl+w")
    wait(f"“{title}” to close", lambda: not window_of(title))


for name in ("Alpha", "Beta"):
    engine("create", name, "--memory", "64M", "--disk", "1G", "--accel", "soft")
app = App(program)
try:
    app.wait("label", "Alpha", 60)
    main = wait("the window", lambda: window_of("Gasthaus"))
    key("ctrl+n")
    new = wait("the wizard", lambda: window_of("New Machine"))
    wait("both windows to fit the screen", lambda: all(w[2] <= SCREEN[0] and w[3] <= SCREEN[1] for w in windows().values()), 20)
    picture("gui-daily-small")
    key("Escape")
    wait("the wizard to close", lambda: not window_of("New Machine"))
    print("ok: windows fit a small screen")

    # The menu of a row that is not the chosen one, by the right button.
    row = app.wait("list item", "Beta")
    x, y, width, height = place(row)
    before = set(popovers(set()))
    xdotool("mousemove", "--sync", x + width // 2, y + height // 2, "click", 3)
    wait("the menu", lambda: popovers(before))
    wait("its Rename", lambda: find(app.node, "menu item", "Rename"))
    picture("gui-daily-menu")
    wait("the row to be chosen", lambda: app.find("text", "Name") and app.find("label", "Beta"))
    key("Escape")
    wait("the menu to close", lambda: not popovers(before))
    print("ok: the right button shows a row's menu")
    key("F2")
    entry = app.wait("text", "Name")
    wait("the name to be chosen to be typed over", lambda: entry.queryText().getNSelections() == 1)
    type_text("Gamma")
    key("Return")
    wait("the new name", lambda: app.rows() == ["Alpha", "Gamma"])
    print("ok: F2 renames")
    for _ in range(10):  # until the list has the keyboard, which nothing on the bus tells
        click(app.wait("list item", "Gamma"))
        key("Delete")
        deadline = time.time() + 6
        while time.time() < deadline and not app.find("label", "Delete “Gamma”?"):
            time.sleep(0.1)
        if app.find("label", "Delete “Gamma”?"):
            break
    wait("the question", lambda: app.find("label", "Delete “Gamma”?"))
    key("Escape")
    wait("it to go", lambda: not app.find("label", "Delete “Gamma”?"))
    assert app.rows() == ["Alpha", "Gamma"], "Escape deletes nothing"
    print("ok: the delete key asks, and Escape is No")

    # Two at once.
    for name in ("Alpha", "Gamma"):
        xdotool("windowactivate", "--sync", window_of("Gasthaus")[0])
        click(app.wait("list item", name))
        wait("it to be chosen", lambda: app.find("push button", "Start"))
        key("ctrl+Return")
        wait("its screen", lambda: window_of(name), 60)
        wait("it to run", lambda: state(name) == "running", 60, 0.5)
        wait("its picture", lambda: app.find("label", "Press Ctrl+Alt to release keyboard and pointer"), 60)
    assert state("Alpha") == state("Gamma") == "running"
    print("ok: two machines run at once")
    size = (640, 420)

    def resized():  # a guest that changes its screen meanwhile makes the window larger: again, then
        xdotool("windowsize", window_of("Gamma")[0], *size)
        time.sleep(0.7)
        return abs(window_of("Gamma")[3] - size[0]) < 4 and abs(window_of("Gamma")[4] - size[1]) < 4
    wait("the size", lambda: resized() and resized())
    close("Gamma")
    app.wait("label", "“Gamma” goes on running.")
    picture("gui-daily-closed")
    assert state("Gamma") == "running"
    xdotool("windowactivate", "--sync", window_of("Gasthaus")[0])
    click(next(b for b in [app.wait("push button", "Show Screen", window="Gasthaus")]))
    wait("the screen again, as large as it was left", lambda: window_of("Gamma") and abs(window_of("Gamma")[3] - size[0]) < 4 and
         abs(window_of("Gamma")[4] - size[1]) < 4)
    print("ok: a closed screen's machine goes on, as the window says; the screen comes back as large as it was")

    # A second start shows the first one's window and ends.
    count = len([w for w in windows().values() if w[4] == "Gasthaus"])
    assert subprocess.run([program], timeout=60).returncode == 0
    wait("one window still", lambda: len([w for w in windows().values() if w[4] == "Gasthaus"]) == count == 1)
    print("ok: a second start leads to the same window")
    for name in ("Alpha", "Gamma"):
        engine("stop", name)
        wait("it to be off", lambda: state(name) == "off", 60, 0.3)
finally:
    app.close()
