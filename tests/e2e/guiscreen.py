# SPDX-License-Identifier: GPL-3.0-or-later
"""For tests of the whole application on a private screen: gets onto one, and reads the guest's picture off it."""
import os
import subprocess
import sys

from guestlib import BUILD, OUT, TOP
from screentext import read_screen


def on_a_private_screen(**variables):
    """Runs this script again with a screen, a bus and a home of its own; returns only there."""
    if os.environ.get("GH_DESKTOP_INSIDE"):
        return
    env = dict(os.environ, GH_OUT=OUT, XDG_DATA_DIRS=f"{BUILD}/data:{TOP}/data:/usr/local/share:/usr/share", **variables)
    sys.exit(subprocess.run([f"{TOP}/tests/gui/private-desktop", "/usr/bin/python3", *sys.argv], env=env).returncode)


def control(*args):
    """Only to compare with: what the engine says that the guest shows."""
    return subprocess.run([f"{BUILD}/src/cli/gasthausctl", *args], capture_output=True, timeout=90).returncode == 0


def grey(path):
    """Rows of a picture."""
    size = subprocess.run(["identify", "-format", "%w %h", path], capture_output=True, text=True, check=True).stdout.split()
    width, height = int(size[0]), int(size[1])
    raw = subprocess.run(["convert", path, "-depth", "8", "rgb:-"], capture_output=True, check=True).stdout
    return width, height, [raw[y * width * 3:(y + 1) * width * 3] for y in range(height)]


def shoot(name):
    path = f"{OUT}/{name}.png"
    subprocess.run(["import", "-window", "root", path], check=True)
    return path


class Screen:
    """The guest's picture as it stands on the desktop, cut out where the engine's own picture is found pixel for pixel."""

    def __init__(self, machine):
        self.machine, self.at = machine, None

    def locate(self):
        own = f"{OUT}/gui-engine.png"
        if not control("screenshot", self.machine, own):  # has not started yet
            return None
        width, height, rows = grey(own)
        _, _, desk = grey(shoot("gui-desk"))
        y = max(range(height), key=lambda i: sum(a != b for a, b in zip(rows[i], rows[i][3:])))
        for desk_y, row in enumerate(desk):
            at = row.find(rows[y])
            if at >= 0 and at % 3 == 0 and 0 <= desk_y - y and desk_y - y + height <= len(desk):
                x, top = at // 3, desk_y - y
                wrong = sum(desk[top + i][3 * x:3 * (x + width)] != rows[i] for i in range(height))
                if wrong <= 4:  # the text cursor blinks
                    self.at = (x, top, width, height)
                    return self.at
        return None

    def lines(self):
        x, y, width, height = self.at
        path = f"{OUT}/gui-cut.png"
        subprocess.run(["convert", shoot("gui-desk"), "-crop", f"{width}x{height}+{x}+{y}", "+repage", path], check=True)
        return read_screen(path)

    def shows(self, text):
        return any(text in line for line in self.lines())
