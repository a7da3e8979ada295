#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
# gasthaus-test: short 700
"""Killing the daemon with a guest running: the guest's heartbeat on the serial line goes on, and a new
daemon finds the machine again and still controls it."""
import re
import time

from guestlib import Engine, check, make_boot_iso

with Engine("survival") as e:
    iso = make_boot_iso(e.folder, "console=ttyS0 quiet gh.test=heartbeat")
    e.ctl("create", "beat", "--media", iso, "--memory", "256M", "--disk", "0", "--accel", "soft")
    e.ctl("start", "beat")
    pid = int(e.json("show", "beat")["pid"])
    console = e.console("beat")
    console.expect(r"HEARTBEAT 5\b", 500)
    for round_number in range(3):
        e.kill_daemon()
        count = len(re.findall("HEARTBEAT", console.text))
        console.expect(r"HEARTBEAT (\d+)", 20, after=len(console.text))
        time.sleep(1)
        console.pump(0.1)
        check(len(re.findall("HEARTBEAT", console.text)) > count, f"round {round_number + 1}: the guest's heart beats on without a daemon")
        shown = e.json("show", "beat")
        check(shown["state"] == "running", "a new daemon finds the machine running")
    e.ctl("pause", "beat")
    time.sleep(0.5)
    console.pump(0.2)
    held = len(console.text)
    time.sleep(1.5)
    console.pump(0.2)
    check(len(console.text) == held, "the found machine can be paused: its heart stands still")
    e.ctl("resume", "beat")
    console.expect(r"HEARTBEAT", 20, after=held)
    e.ctl("stop", "beat")
    deadline = time.time() + 20
    while e.json("show", "beat")["state"] != "off" and time.time() < deadline:
        time.sleep(0.2)
    check(e.json("show", "beat")["state"] == "off", "and stopped")
    state, deadline = "?", time.time() + 20
    while state not in ("gone", "Z") and time.time() < deadline: # it outlives the machine by what it has to tidy up
        try:
            state = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0]
        except OSError:
            state = "gone"
        time.sleep(0.1)
    check(state in ("gone", "Z"), "its process is gone")
