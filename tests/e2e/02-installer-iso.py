#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
# gasthaus-test: long 1500
"""An ISO of Debian's installer boots from the CD through SeaBIOS to the text installer's first screen, and
the graphical installer draws its first page. Screenshots are kept."""
import time

from guestlib import Engine, check, guest, pixels

iso = guest("installer-iso") + "/installer.iso"
with Engine("installer") as e:
    e.ctl("create", "text", "--media", iso, "--memory", "1G", "--disk", "2G", "--accel", "soft")
    e.ctl("start", "text")
    # Newt's grey dialogue on blue, and the chosen language on red.
    def language_screen(p):
        return p.share((170, 170, 170), 8) > 0.6 and p.share((0, 0, 170), 8) > 0.04 and p.share((170, 0, 0), 8) > 0.003
    shot = e.wait_screen("text", language_screen, 600)
    check(True, f"the text installer shows its first screen: {shot}")
    before = pixels(shot)
    e.ctl("send-keys", "text", "down")
    time.sleep(4)
    after = pixels(e.screenshot("text"))
    check(before.differs(after), "a key press moves the selection")
    e.ctl("stop", "text")

    e.ctl("create", "graphical", "--media", iso, "--memory", "1G", "--disk", "2G", "--accel", "soft")
    e.ctl("start", "graphical")
    time.sleep(1.5)
    deadline = time.time() + 60
    while time.time() < deadline: # isolinux waits two seconds for a word
        e.ctl("type", "graphical", "gtk\\n")
        time.sleep(2)
        if pixels(e.screenshot("graphical")).height not in (400, 480):
            break
    # The banner's many colours, and the white list of languages below it.
    shot = e.wait_screen("graphical", lambda p: p.colours() > 200 and p.height >= 600 and p.share((255, 255, 255), 2) > 0.2, 700)
    check(True, f"the graphical installer shows its first page: {shot}")
    e.ctl("stop", "graphical")
