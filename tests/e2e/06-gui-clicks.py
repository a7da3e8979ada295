#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
# gasthaus-test: short 1800
"""A person's first quarter of an hour, by pointer and keys alone on a private screen: a machine made from an ISO, started, its screen
watched in the window (pixel for pixel what the engine draws), typed into, forced off from the menu, deleted. The guest is busybox; with
GH_ALL also the Debian installer, chosen in and typed to. Pictures of every page are kept."""
import os
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, f"{HERE}/../gui"]
from guestlib import BUILD, OUT, check, guest, make_boot_iso, pixels  # noqa: E402
from guiscreen import Screen, on_a_private_screen, shoot  # noqa: E402

if not os.environ.get("GH_DESKTOP_INSIDE"):
    with tempfile.TemporaryDirectory(prefix="gh-clicks-") as work:
        on_a_private_screen(GH_SCREEN="1600x1000x24",  # so that the installer's 1280x800 fit as they are
                            GH_CLICKS_ISO=make_boot_iso(work, "console=tty0 console=ttyS0 quiet gh.demo=1"),
                            GH_CLICKS_INSTALLER=guest("installer-iso") if os.environ.get("GH_ALL") else "")

from desk import App, find, picture, shown, wait  # noqa: E402
from hands import click, fill, key, menu, type_text, window_of, windows, xdotool  # noqa: E402

MACHINES = os.environ["XDG_DATA_HOME"] + "/gasthaus/machines"


def create(app, iso, name, shots):
    """The three pages of a new machine."""
    click(app.wait("push button", "New Machine"))
    fill(app.wait("text", "Medium", window="New Machine"), iso)
    picture(f"{shots}-2a-medium")
    click(app.wait("push button", "Next", window="New Machine"))
    fill(app.wait("text", "Name", window="New Machine"), name)
    picture(f"{shots}-2b-machine")
    click(app.wait("push button", "Next", window="New Machine"))
    app.wait("list item", "Processors")
    wait("the name in the review", lambda: app.find("label", name))
    picture(f"{shots}-2c-review")
    click(app.wait("push button", "Create", window="New Machine"))


def confirm(app, button, name):
    answer = wait(f"the question with “{button}”", lambda: next((b for b in buttons(app.node, button) if is_dialog(b)), None))
    picture(name)
    click(answer, dialog_title(answer))


def buttons(node, name):
    try:
        if node.getRoleName() == "push button" and (node.name or "").replace("_", "").endswith(name):
            yield node
        for i in range(node.childCount):
            child = node.getChildAtIndex(i)
            if child is not None:
                yield from buttons(child, name)
    except Exception:  # objects vanish while we look
        return


def top_of(node):
    while node.parent is not None and node.parent.getRoleName() != "application":
        node = node.parent
    return node


def is_dialog(node):
    return top_of(node).getRoleName() in ("dialog", "alert") and shown(node)


def dialog_title(node):
    """A question's X window has no title of its own: the topmost window is the question."""
    return list(windows().values())[-1][4]


def menu_button(app):
    return app.wait("push button", "Machine Menu")


def demo(app):
    iso, name = os.environ["GH_CLICKS_ISO"], "First Guest"
    app.wait("label", "No Machines Yet", 60)
    picture("clicks-1-empty")
    create(app, iso, name, "clicks")
    shown = wait("the screen's window", lambda: window_of(name), 60)
    check(shown, "Create makes the machine, starts it and shows its screen")
    screen = Screen(name)
    wait("the guest's picture in the window, pixel for pixel", screen.locate, 120)
    wait("the demo guest's greeting", lambda: screen.locate() and screen.shows("Welcome to Gasthaus"), 400)
    check(True, f"the display widget shows the guest's screen at {screen.at}, sharp: every pixel is the engine's")
    picture("clicks-3-running")
    x, y, width, height = screen.at
    xdotool("mousemove", "--sync", x + width // 2, y + height // 2, "click", 1)
    type_text("echo Gast-$((6*7))")
    key("Return")
    wait("the answer of the guest's shell", lambda: any(line.startswith("Gast-42") for line in screen.lines()), 60)
    check(True, "what is typed with shifted keys arrives, and the answer is seen")
    type_text("cat > /dev/null")
    key("Return", "ctrl+q", "ctrl+n", "Return", "ctrl+d")  # the application's shortcuts, and the end of input
    type_text("echo Still-$((40+4))")
    key("Return")
    wait("the guest to have had the application's shortcuts", lambda: any(line.startswith("Still-44") for line in screen.lines()), 60)
    check(not window_of("New Machine"), "the application's shortcuts are the guest's while it has the keyboard")
    picture("clicks-4-typed")
    key("ctrl+alt")  # the click gave the guest the pointer
    full_screen(app, screen, name)
    menu(app, app.wait("push button", "Send Keys"), "Ctrl+Alt+Delete")
    wait("the guest to start again", lambda: screen.locate() and not screen.shows("Still-44"), 120, 0.5)
    wait("its greeting", lambda: screen.locate() and screen.shows("Welcome to Gasthaus"), 400, 0.5)
    check(True, "Send Keys reaches the guest: Ctrl+Alt+Delete starts it again")
    display = window_of(name)
    menu(app, menu_button(app), "Force Off…", lambda: picture("clicks-5-menu"))
    confirm(app, "Force Off", "clicks-6-force-off")
    wait("the machine to be off", lambda: find(app.node, "label", "Off") and app.find("push button", "Start"), 60)
    check(display, "the menu's Force Off asks and stops the machine")
    delete(app, name, "clicks-7-delete")


def bar_shows():
    """Something else than the black around the guest's screen near the upper edge."""
    path = shoot("gui-edge")
    cut = subprocess.run(["convert", path, "-crop", "1400x30+100+8", "-format", "%k", "info:"], capture_output=True, text=True, check=True)
    return int(cut.stdout) > 1


def full_screen(app, screen, name):
    before = screen.at
    key("F11")
    wait("the window to cover the screen", lambda: window_of(name)[1:5] == (0, 0, 1600, 1000), 30)
    at = wait("the guest's picture in the middle", lambda: screen.locate() == ((1600 - before[2]) // 2, (1000 - before[3]) // 2, *before[2:]), 30)
    wait("the bar to hide", lambda: not bar_shows(), 30)
    xdotool("mousemove", "--sync", 800, 0)
    wait("the bar at the upper edge", bar_shows, 30)
    picture("clicks-4-full-screen")
    check(at and screen.locate(), "full screen: one pixel stays one pixel, and the bar comes over it where the pointer touches the edge")
    key("F11")
    wait("the window to come back", lambda: window_of(name)[1:5] != (0, 0, 1600, 1000), 30)
    wait("the picture in it", screen.locate, 30)


def delete(app, name, shot):
    folders = os.listdir(MACHINES)
    xdotool("windowactivate", "--sync", window_of("Gasthaus")[0])  # the screen's window may lie over it
    click(app.wait("list item", name))
    menu(app, app.wait("push button", "Power and More"), "Delete…")
    confirm(app, "Delete", shot)
    wait("the row to go", lambda: name not in app.rows(), 30)
    wait("the machine's folder to go", lambda: len(os.listdir(MACHINES)) == len(folders) - 1, 30)
    wait("the window of its screen to close", lambda: not window_of(name), 30)
    check(True, f"Delete asks and takes “{name}”, its folder and its window away")


def installer(app):
    """The same with Debian's installer: its first page is seen, and a key moves its selection."""
    name = "Debian"
    create(app, os.environ["GH_CLICKS_INSTALLER"] + "/installer.iso", name, "clicks-installer")
    wait("the screen's window", lambda: window_of(name), 60)
    screen = Screen(name)

    def first_page():
        if not screen.locate():
            return False
        screen.lines()
        p = pixels(f"{OUT}/gui-cut.png")
        return p.share((170, 170, 170), 8) > 0.6 and p.share((0, 0, 170), 8) > 0.04 and p.share((170, 0, 0), 8) > 0.003
    wait("the installer's first page in the window", first_page, 900, 3)
    check(True, "the display widget shows the installer's choice of a language")
    picture("clicks-installer-3-language")
    before = pixels(f"{OUT}/gui-cut.png")
    x, y, width, height = screen.at
    xdotool("mousemove", "--sync", x + width // 2, y + height // 2, "click", 1)
    key("Down")

    def moved():
        screen.lines()
        return pixels(f"{OUT}/gui-cut.png").differs(before)
    wait("the selection to move", moved, 60, 1)
    check(True, "a typed key moves the installer's selection")
    key("ctrl+alt")
    menu(app, menu_button(app), "Force Off…")
    confirm(app, "Force Off", "clicks-installer-4-force-off")
    wait("the machine to be off", lambda: find(app.node, "label", "Off") and app.find("push button", "Start"), 60)
    delete(app, name, "clicks-installer-5-delete")


if __name__ == "__main__":
    app = App(f"{BUILD}/src/gui/gasthaus")
    try:
        demo(app)
        if os.environ["GH_CLICKS_INSTALLER"]:
            installer(app)
    finally:
        app.close()
