# SPDX-License-Identifier: GPL-3.0-or-later
"""Drives the application as a screen reader does: finds things by role and name, presses them, reads them."""
import os
import subprocess
import sys
import time

try:
    import pyatspi
    from gi.repository import GLib
except ImportError:
    print("skipped: python3-pyatspi is missing")
    sys.exit(77)


def children(node):
    return [c for c in (node.getChildAtIndex(i) for i in range(node.childCount)) if c is not None]


def shown(node):
    """Pages that are not looked at have no extents, or empty ones."""
    try:
        return node.queryComponent().getExtents(pyatspi.WINDOW_COORDS).width > 0
    except NotImplementedError:
        return node.getRoleName() in ("application", "frame", "dialog", "alert", "window")


def find(node, role, name, window=None):
    """What can be seen, depth first; a mnemonic's underscore in a name does not count. The found node's gh_window is its window's title:
    pages of stacks do not know their parent."""
    try:
        if node.getRoleName() == role and (name is None or (node.name or "").replace("_", "").endswith(name)) and shown(node):
            node.gh_window = window
            return node
        for child in children(node):
            found = find(child, role, name, child.name if node.getRoleName() == "application" else window)
            if found is not None:
                return found
    except Exception:  # objects vanish while we look
        pass
    return None


def wait(what, look, timeout=60, every=0.05):
    deadline = time.time() + timeout
    while time.time() < deadline:
        try:
            found = look()
        except GLib.Error:  # what was looked at has just gone
            found = None
        if found:
            return found
        time.sleep(every)
    print(f"FAILED: {what} did not come within {timeout} s")
    out = os.environ.get("GH_OUT")
    if out:
        subprocess.run(["import", "-window", "root", f"{out}/gui-failure.png"])
    sys.exit(1)


def press(node):
    """As the button's key does: it must be sensitive, and what it does begins a quarter of a second later. Wait for that before reading."""
    wait(f"“{node.name}” to be sensitive", lambda: node.getState().contains(pyatspi.STATE_SENSITIVE))
    actions = node.queryAction()
    for i in range(actions.nActions):
        if actions.getName(i) == "click":
            return actions.doAction(i)
    raise SystemExit(f"FAILED: “{node.name}” cannot be pressed")


def write(node, text):
    e = node.queryEditableText()
    e.deleteText(0, node.queryText().characterCount)
    e.insertText(0, text, len(text.encode()))


def read(node):
    t = node.queryText()
    return t.getText(0, t.characterCount)


def picture(name):
    out = os.environ.get("GH_OUT")
    if out:
        subprocess.run(["import", "-window", "root", f"{out}/{name}.png"], check=True)


class App:
    def __init__(self, program, *args):
        self.process = subprocess.Popen([program, *args])
        self.node = wait("the application", lambda: find(pyatspi.Registry.getDesktop(0), "application", "gasthaus"))

    def find(self, role, name, window=None):
        """Anywhere, or only in the window of this title."""
        if window is None:
            return find(self.node, role, name)
        inside = next((w for w in children(self.node) if w.name == window), None)
        return inside and find(inside, role, name, window)

    def wait(self, role, name, timeout=60, window=None):
        return wait(f"{role} “{name}”", lambda: self.find(role, name, window), timeout)

    def rows(self):
        names = self.find("list", "Machines")
        return [c.name for c in children(names)] if names else []

    def close(self):
        """Ends the application and the daemon that it started (its runtime folder is ours)."""
        ended = self.process.poll()
        if ended is not None:
            print(f"FAILED: the application ended by itself ({ended})")
        self.process.terminate()
        self.process.wait(10)
        runtime = os.environ["XDG_RUNTIME_DIR"].encode()
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                ours = runtime in open(f"/proc/{pid}/environ", "rb").read()
                if ours and os.path.basename(os.readlink(f"/proc/{pid}/exe")).removesuffix(" (deleted)") in ("gasthausd", "gasthaus-vm"):
                    os.kill(int(pid), 15)
            except OSError:
                continue
