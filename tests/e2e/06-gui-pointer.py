#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
# gasthaus-test: short 900
"""The pointer over a guest's screen, as the guest gets it. A guest that takes movements (PS/2) gets them all, further than the window
is wide, until Ctrl+Alt; one with a driver for the tablet gets the position under the pointer."""
import os
import re
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, f"{HERE}/../gui"]
from guestlib import BUILD, check, fail, make_boot_iso  # noqa: E402
from guiscreen import Screen, control, on_a_private_screen  # noqa: E402

if not os.environ.get("GH_DESKTOP_INSIDE"):
    with tempfile.TemporaryDirectory(prefix="gh-pointer-") as work:
        on_a_private_screen(GH_POINTER_ISO=make_boot_iso(work, "console=tty0 console=ttyS0 quiet gh.demo=1 gh.modules=psmouse,evdev"))

from desk import App, picture, wait  # noqa: E402
from hands import click, key, type_text, window_of, xdotool  # noqa: E402


def command(screen, text, shows, timeout=60):
    """Types it into the guest; the line that answers it."""
    type_text(text)
    key("Return")
    return wait(f"the answer to “{text}”", lambda: next((m for m in (re.match(shows, line) for line in reversed(screen.lines())) if m), None),
                timeout, 0.3)


def inside(x, y):
    """Is the pointer over the guest's screen?"""
    m = re.search(r"x:(-?\d+) y:(-?\d+)", xdotool("getmouselocation"))
    return x[0] <= int(m[1]) < x[1] and y[0] <= int(m[2]) < y[1]


def movements(screen):
    x, y, width, height = screen.at
    middle = (x + width // 2, y + height // 2)
    command(screen, "hexdump -v -e '3/1 \"%d \" \"\\n\"' /dev/input/mice | awk '{x+=$2;y+=$3;print \"sum:\",x,y}' &", r"^/ #")
    time.sleep(1)
    xdotool("mousemove", "--sync", *middle, "click", 1)  # catches the pointer
    time.sleep(0.5)
    for _ in range(30):
        xdotool("mousemove_relative", "--", 50, -10)
        time.sleep(0.08)
        check_inside = inside((x - 60, x + width + 60), (y - 60, y + height + 60))
        if not check_inside:
            fail("the caught pointer left the window")
    def total():
        for line in reversed(screen.lines()):
            m = re.search(r"sum: (-?\d+) (-?\d+)", line)
            if m:
                return int(m[1]), int(m[2])
        return None
    wait("1500 to the right and 300 up", lambda: total() is not None and 1200 <= total()[0] <= 1800 and 200 <= total()[1] <= 400, 60, 0.5)
    check(True, f"a guest that takes movements got {total()} of (1500, 300), although the window is {width} wide")
    key("ctrl+alt")
    before = total()
    xdotool("mousemove", "--sync", *middle)
    xdotool("mousemove_relative", "--", 100, 0)
    time.sleep(1)
    check(total() == before, "after Ctrl+Alt the pointer is the desktop's again")
    xdotool("mousemove", "--sync", *middle, "click", 1)
    key("Return")
    type_text("kill %1")
    key("Return")


def positions(screen):
    x, y, width, height = screen.at
    command(screen, "clear; modprobe virtio_pci; modprobe virtio_input; sleep 2; grep -l ablet /sys/class/input/event*/device/name", r"^/sys/class/input/(event\d+)/", 120)
    found = next(m for m in (re.match(r"^/sys/class/input/(event\d+)/", line) for line in screen.lines()) if m)
    key("ctrl+alt")
    command_at = (x + width // 4, y + height // 2)
    xdotool("mousemove", "--sync", *command_at, "click", 1)
    command(screen, f"clear; hexdump -v -e '12/2 \"%u \" \"\\n\"' /dev/input/{found[1]} &", r"^/ #")
    time.sleep(1)
    xdotool("mousemove", "--sync", x + 3 * width // 4, y + height // 4)

    def position():
        """The last ABS_X and ABS_Y: type 3, after the time's eight halves."""
        at = {}
        for line in screen.lines():
            m = re.search(r" 3 ([01]) (\d+) 0 ?$", line)
            if m:
                at[m[1]] = int(m[2])
        return at
    wait("the position", lambda: len(position()) == 2, 60, 0.5)
    at = position()
    check(abs(at["0"] / 32767 - 0.75) < 0.01 and abs(at["1"] / 32767 - 0.25) < 0.01,
          f"a guest with a tablet's driver gets the position under the pointer: {at['0'] / 32767:.3f}, {at['1'] / 32767:.3f} of its screen")


app = App(f"{BUILD}/src/gui/gasthaus")
try:
    app.wait("label", "No Machines Yet", 60)
    if not control("create", "Pointer", "--media", os.environ["GH_POINTER_ISO"], "--memory", "256M", "--disk", "0", "--accel", "soft",
                   "--os", "http://debian.org/debian/12"):  # a system with the driver gets a tablet
        fail("the machine was not made")
    click(app.wait("push button", "Start", 60))
    wait("the screen's window", lambda: window_of("Pointer"), 60)
    screen = Screen("Pointer")
    wait("the demo guest's greeting", lambda: screen.locate() and screen.shows("Welcome to Gasthaus"), 400, 0.5)
    time.sleep(1)
    movements(screen)
    picture("gui-pointer-movements")
    positions(screen)
    picture("gui-pointer-positions")
finally:
    app.close()
