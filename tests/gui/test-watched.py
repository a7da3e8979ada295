#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Windows come and go while accessibility tools read all of them as fast as they can: the application stays. The list of keyboard shortcuts
opens and closes."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import pyatspi
from desk import App, children, find, picture, wait
from hands import key, window_of

READER = """
import pyatspi

def walk(node):
    try:
        node.name, node.getRole(), node.parent, node.getIndexInParent()
        for i in range(node.childCount):
            child = node.getChildAtIndex(i)
            if child:
                walk(child)
    except Exception:
        pass

while True:
    walk(next((a for a in pyatspi.Registry.getDesktop(0) if a and a.name == "gasthaus"), None))
"""
ROUNDS = 25


def window(title):
    return next((w for w in children(app.node) if w.name == title), None)


def opened(keys, title, timeout=60):
    key(keys)
    return wait(f"the window “{title}”", lambda: app.process.poll() is not None or window_of(title))


app = App(sys.argv[1])
readers = []
try:
    wait("the main window", lambda: window_of("Gasthaus"))
    opened("ctrl+question", "Keyboard Shortcuts")
    wait("a shortcut in it", lambda: find(window("Keyboard Shortcuts"), "label", "New machine"))
    picture("gui-shortcuts")
    key("Escape")
    wait("its end", lambda: not window_of("Keyboard Shortcuts"))
    readers += [subprocess.Popen([sys.executable, "-c", READER], stderr=subprocess.DEVNULL) for _ in range(3)]
    for i in range(ROUNDS):
        opened("ctrl+comma", "Preferences")
        key("Escape")
        wait("its end", lambda: app.process.poll() is not None or not window_of("Preferences"))
        assert app.process.poll() is None, f"the application ended with {app.process.poll()} in round {i}"
    assert all(r.poll() is None for r in readers), "a reader ended"
    print(f"ok: {ROUNDS} windows were opened and closed under three readers")
finally:
    for r in readers:
        r.kill()
    app.process.kill()
