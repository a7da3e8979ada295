#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the engine refuses is said in the window's language, with its id, although the engine itself speaks English."""
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from desk import App, children, picture, wait
from hands import click, fill, key, window_of, xdotool

program, ctl = sys.argv[1:3]
folder = tempfile.mkdtemp(prefix="gh-gui-german-")
iso = f"{folder}/gone.iso"
open(iso, "wb").write(b"\0" * 4096)


def english(*args):
    return subprocess.run([ctl, *args], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=90)


def labels(node):
    try:
        if node.getRoleName() == "label" and node.name:
            yield node.name
        for c in children(node):
            yield from labels(c)
    except Exception:  # objects vanish while we look
        return


def says(app, *words):
    return wait(f"a label with {words}", lambda: next((t for t in labels(app.node) if all(w in t for w in words)), None))


made = english("create", "Erste", "--media", iso, "--memory", "64M", "--disk", "0")  # its daemon speaks English
assert made.returncode == 0, made.stderr
os.unlink(iso)
refused = english("start", "Erste")
assert "cannot be opened: No such file or directory. Find or remove it" in refused.stderr and "[MediumMissing]" in refused.stderr, refused.stderr
os.environ["LANGUAGE"] = "de"
app = App(program)
try:
    click(app.wait("push button", "Starten", 60))
    said = says(app, "[MediumMissing]")
    assert f"„{iso}“ von „Erste“ kann nicht geöffnet werden: " in said and "Suchen oder entfernen Sie die Datei" in said, said
    # What the C library calls the failure is translated where its catalogue is installed.
    assert "No such file" not in said or not os.path.exists("/usr/share/locale/de/LC_MESSAGES/libc.mo"), said
    picture("gui-german-start")
    print(f"ok: a refused start is explained in German: {said}")
    key("ctrl+n")
    fill(app.wait("text", "Medium", window="Neue Maschine"), "/nonexistent.iso")
    said = says(app, "[MediumMissing]", "/nonexistent.iso")
    assert said.startswith("„/nonexistent.iso“ kann nicht geöffnet werden: "), said
    picture("gui-german-medium")
    print(f"ok: so is a refused medium: {said}")
    key("Escape")
    wait("the wizard to close", lambda: not window_of("Neue Maschine"))
    # Long words do not keep the windows from being narrow.
    xdotool("windowsize", window_of("Gasthaus")[0], 400, 600)
    wait("a narrow window", lambda: window_of("Gasthaus")[3] <= 402)
    subprocess.run(["gapplication", "action", "org.gasthaus.Gasthaus", "media"], check=True, timeout=30)
    wait("the disks", lambda: window_of("Festplatten und Medien"))
    wait("the list", lambda: app.find("label", "CD- und Diskettenabbilder", "Festplatten und Medien"))
    xdotool("windowsize", window_of("Festplatten und Medien")[0], 400, 600)
    wait("narrow disks and media", lambda: window_of("Festplatten und Medien")[3] <= 402)
    picture("gui-german-narrow")
    print("ok: windows of 400 pixels")
finally:
    app.close()
    subprocess.run(["rm", "-rf", folder])
