# SPDX-License-Identifier: GPL-3.0-or-later
"""Uses the application with a real pointer and keyboard (xdotool): AT-SPI only says where things are and what they say."""
import re
import subprocess
import time

import pyatspi

from desk import find, read, wait


HEADER = 60  # pixels of a window that its header bar covers


def xdotool(*args):
    return subprocess.run(["xdotool", *map(str, args)], capture_output=True, text=True).stdout


def windows():
    """Visible X windows, the topmost last: id -> (x, y, width, height, title)."""
    ids = subprocess.run(["xprop", "-root", "_NET_CLIENT_LIST_STACKING"], capture_output=True, text=True).stdout
    order = [int(i, 16) for i in re.findall(r"0x[0-9a-f]+", ids)]
    found = {}
    for wid in order:
        g = dict(re.findall(r"(\w+)=(-?\d+)", xdotool("getwindowgeometry", "--shell", wid)))
        if "X" in g:
            found[wid] = (int(g["X"]), int(g["Y"]), int(g["WIDTH"]), int(g["HEIGHT"]), xdotool("getwindowname", wid).strip())
    return found


def window_of(title):
    return next(((wid, *w) for wid, w in reversed(list(windows().items())) if w[4] == title), None)


def popovers(known):
    """Menus are X windows that no window manager lists: those that were not there before."""
    ids = xdotool("search", "--onlyvisible", "--class", "gasthaus").split()
    return [int(i) for i in ids if int(i) not in known]


def extents(node):
    e = node.queryComponent().getExtents(pyatspi.WINDOW_COORDS)
    return e.x, e.y, e.width, e.height


def place(node, title=None):
    """The node's rectangle on the screen (a few pixels off: the window's frame)."""
    title = title or node.gh_window
    w = wait(f"the window “{title}” of “{node.name}”", lambda: window_of(title))
    x, y, width, height = extents(node)
    return w[1] + x, w[2] + y, width, height


def click_at(x, y):
    xdotool("mousemove", int(x) + 3, int(y) + 1)  # with --sync xdotool waits for a movement, for ever if it is there already
    xdotool("mousemove", "--sync", int(x), int(y))
    xdotool("click", 1)


def sensitive(node):
    return node.getState().contains(pyatspi.STATE_SENSITIVE)


def bring_into_sight(node, title=None):
    """Turns the wheel at the window's edge, where nothing else takes it. What is in the header bar does not move, and is in sight."""
    for _ in range(30):
        _, y, _, height = place(node, title)
        _, left, top, wide, high, _ = window_of(title or node.gh_window)
        if y >= top + HEADER and y + height <= top + high:
            return
        xdotool("mousemove", "--sync", left + wide - 14, top + high // 2, "click", 4 if y < top + HEADER else 5)
        time.sleep(0.2)
        if place(node, title)[1] == y:
            return


def click(node, title=None):
    """Waits until it may be pressed and has its place, as a person does."""
    wait(f"“{node.name}” to be sensitive", lambda: sensitive(node))
    last = None
    bring_into_sight(node, title)
    for _ in range(40):
        now = place(node, title)
        if now == last and now[2] > 0:
            break
        last = now
        time.sleep(0.15)
    click_at(now[0] + now[2] / 2, now[1] + now[3] / 2)


def type_text(text):
    xdotool("type", "--delay", 40, text)


def key(*names):
    xdotool("key", "--delay", 60, *names)


def fill(node, text, title=None):
    """Clicks into an entry and types over what is there."""
    click(node, title)
    key("ctrl+a")
    type_text(text)
    wait(f"“{text}” in “{node.name}”", lambda: read(node) == text)


def menu(app, button, item, shot=None):
    """Opens a menu by its button and chooses an item with the pointer."""
    before = set(popovers(set()))
    click(button)
    popup = wait("the menu", lambda: popovers(before))[0]
    entry = wait(f"the menu's “{item}”", lambda: find(button.parent, "menu item", item))
    own = entry
    while own.getRoleName() != "menu":
        own = own.parent
    wait("the menu's place", lambda: extents(entry)[2] > 0)
    if shot:
        shot()
    g = dict(re.findall(r"(\w+)=(-?\d+)", xdotool("getwindowgeometry", "--shell", popup)))
    (x, y, width, height), (left, top, _, _) = extents(entry), extents(own)
    wait(f"“{item}” to be allowed", lambda: sensitive(entry))
    for _ in range(4):  # a menu that has only just come up may miss a click
        click_at(int(g["X"]) + x - left + width / 2, int(g["Y"]) + y - top + height / 2)
        for _ in range(30):
            if popup not in popovers(before):
                return
            time.sleep(0.1)
    wait("the menu to close", lambda: popup not in popovers(before))
