#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
# gasthaus-test: short 900
"""Killing the application with a guest running that it started: the guest's heartbeat on the serial line goes on, and a new
window shows the machine as running and its screen."""
import os
import re
import signal
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, f"{HERE}/../gui"]
from guestlib import BUILD, Engine, check, make_boot_iso  # noqa: E402
from guiscreen import Screen, on_a_private_screen  # noqa: E402

if not os.environ.get("GH_DESKTOP_INSIDE"):
    with tempfile.TemporaryDirectory(prefix="gh-survival-") as work:
        on_a_private_screen(GH_HEART_ISO=make_boot_iso(work, "console=tty0 console=ttyS0 quiet gh.test=heartbeat"))

from desk import App, picture, wait  # noqa: E402
from hands import click, window_of  # noqa: E402

with Engine("gui-survival") as e:
    os.rmdir(f"{e.folder}/run")
    os.rmdir(e.folder)
    e.env = dict(os.environ)
    e.folder = os.path.dirname(os.environ["XDG_RUNTIME_DIR"])
    e.machines = os.environ["XDG_DATA_HOME"] + "/gasthaus/machines"
    e.ctl("create", "beat", "--media", os.environ["GH_HEART_ISO"], "--memory", "256M", "--disk", "0", "--accel", "soft")
    e.kill_daemon()  # so that the application starts its own
    app = App(f"{BUILD}/src/gui/gasthaus")
    try:
        click(app.wait("push button", "Start", 60))
        wait("the screen's window", lambda: window_of("beat"), 60)
        wait("the machine to run", lambda: e.json("show", "beat")["state"] == "running", 60, 0.5)
        pid = int(e.json("show", "beat")["pid"])
        console = e.console("beat")
        console.expect(r"HEARTBEAT 5\b", 500)
        os.kill(app.process.pid, signal.SIGKILL)
        app.process.wait()
        count = len(re.findall("HEARTBEAT", console.text))
        console.expect(r"HEARTBEAT %d\b" % (count + 10), 60)
        check(e.processes("gasthausd") and int(e.json("show", "beat")["pid"]) == pid, "the application killed: heart, machine and daemon go on")
        app = App(f"{BUILD}/src/gui/gasthaus")
        wait("the row to say that it runs", lambda: app.find("label", "Running"), 60)
        click(app.wait("push button", "Show Screen", 60))
        screen = Screen("beat")
        wait("the guest's picture in the new window", screen.locate, 120, 0.5)
        picture("gui-survival-new-window")
        check(True, "a new window finds the machine running and shows its screen, pixel for pixel")
        e.kill_daemon()
        count = len(re.findall("HEARTBEAT", console.text))
        console.expect(r"HEARTBEAT %d\b" % (count + 10), 60)
        wait("a new daemon", lambda: e.processes("gasthausd"), 60, 0.2)
        wait("the window to offer what a running machine can do", lambda: app.find("push button", "Pause") or app.find("push button", "Show Screen"), 60)
        check(e.json("show", "beat")["state"] == "running" and screen.locate(), "the daemon killed under the window: it comes back, the screen stays")
    finally:
        app.close()
