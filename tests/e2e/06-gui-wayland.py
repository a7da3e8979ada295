#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
# gasthaus-test: long 1200
"""The application on Wayland, without any X: a compositor (sway) with a screen that nobody sees, pictures of it by grim, a keyboard of our
own, the pointer by the compositor. A machine is made and started by keys and clicks; its screen is seen pixel for pixel; what is typed arrives;
the guest's tablet follows the pointer; full screen covers the screen; closing the window leaves the guest running."""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, f"{HERE}/../gui"]
from guestlib import BUILD, OUT, TOP, check, make_boot_iso, skip  # noqa: E402
from screentext import read_screen  # noqa: E402

SIZE = (1280, 800)

for tool in ("sway", "swaymsg", "grim", "dbus-run-session"):
    if not shutil.which(tool):
        skip(f"{tool} is missing")


def compositor(folder):
    """sway refuses to run as root: it then runs as nobody, and root's programs talk to it. Returns the process and its two sockets."""
    own = f"{folder}/compositor"
    os.mkdir(own, 0o700)
    os.chmod(folder, 0o711)
    with open(f"{folder}/sway.conf", "w") as f:
        f.write(f"output HEADLESS-1 resolution {SIZE[0]}x{SIZE[1]}\nxwayland disable\ndefault_border none\nfor_window [title=\".*\"] floating enable\n"
                f"focus_follows_mouse no\nseat * pointer_constraint enable\nexec touch {own}/ready\n")
    os.chmod(f"{folder}/sway.conf", 0o644)
    args = ["sway", "-c", f"{folder}/sway.conf"]
    if os.getuid() == 0:
        shutil.chown(own, "nobody")
        args = ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups", *args]
    env = {"PATH": os.environ["PATH"], "HOME": own, "XDG_RUNTIME_DIR": own, "WLR_BACKENDS": "headless", "WLR_LIBINPUT_NO_DEVICES": "1",
           "WLR_RENDERER": "pixman"}
    p = subprocess.Popen(args, env=env, stdin=subprocess.DEVNULL, stdout=open(f"{OUT}/sway.log", "w"), stderr=subprocess.STDOUT)
    deadline = time.time() + 60
    while not os.path.exists(f"{own}/ready"):
        if p.poll() is not None or time.time() > deadline:
            print(open(f"{OUT}/sway.log").read())
            p.kill()
            skip("sway does not start here")
        time.sleep(0.1)
    sockets = os.listdir(own)
    return p, *(f"{own}/{next(s for s in sockets if re.match(pattern, s))}" for pattern in (r"wayland-\d+$", r"sway-ipc\."))


if not os.environ.get("GH_WAYLAND_INSIDE"):
    with tempfile.TemporaryDirectory(prefix="gh-wayland-") as work:
        iso = make_boot_iso(work, "console=tty0 console=ttyS0 quiet gh.demo=1 gh.modules=psmouse,evdev")
        sway, display, ipc = compositor(work)
        for name in ("run", "home", "config/gtk-4.0", "data", "state"):
            os.makedirs(f"{work}/{name}", 0o700)
        open(f"{work}/config/gtk-4.0/settings.ini", "w").write("[Settings]\ngtk-enable-animations=0\ngtk-font-name=Cantarell 11\n")
        env = dict(os.environ, GH_WAYLAND_INSIDE="1", GH_WAYLAND_ISO=iso, WAYLAND_DISPLAY=display, SWAYSOCK=ipc, HOME=f"{work}/home",
                   XDG_RUNTIME_DIR=f"{work}/run", XDG_CONFIG_HOME=f"{work}/config", XDG_DATA_HOME=f"{work}/data", XDG_STATE_HOME=f"{work}/state",
                   XDG_DATA_DIRS=f"{BUILD}/data:{TOP}/data:/usr/local/share:/usr/share", GDK_BACKEND="wayland", GSETTINGS_BACKEND="memory",
                   GSK_RENDERER="cairo", GIO_USE_VFS="local", GTK_USE_PORTAL="0", ADW_DISABLE_PORTAL="1", LC_ALL="C.UTF-8")
        for name in ("DISPLAY", "DBUS_SESSION_BUS_ADDRESS", "AT_SPI_BUS_ADDRESS", "GASTHAUS_MACHINES"):
            env.pop(name, None)
        try:
            code = subprocess.run(["dbus-run-session", "--", "/usr/bin/python3", *sys.argv], env=env).returncode
        finally:
            sway.terminate()
            sway.wait(20)
    sys.exit(code)

from waylandkeys import Hands  # noqa: E402
from desk import App, press, read, wait, write  # noqa: E402


def swaymsg(*words):
    return subprocess.run(["swaymsg", *map(str, words)], capture_output=True, text=True, timeout=30).stdout


def windows(node=None):
    """Title -> (x, y, width, height), of what has a surface."""
    node = node or json.loads(swaymsg("-t", "get_tree"))
    found = {node["name"]: tuple(node["rect"][k] for k in ("x", "y", "width", "height"))} if node.get("app_id") else {}
    for child in node["nodes"] + node["floating_nodes"]:
        found.update(windows(child))
    return found


def shoot(name):
    subprocess.run(["grim", f"{OUT}/{name}.png"], check=True, timeout=30)
    return f"{OUT}/{name}.png"


def rows(path):
    size = subprocess.run(["identify", "-format", "%w %h", path], capture_output=True, text=True, check=True).stdout.split()
    width, height = int(size[0]), int(size[1])
    raw = subprocess.run(["convert", path, "-depth", "8", "rgb:-"], capture_output=True, check=True).stdout
    return width, height, [raw[y * width * 3:(y + 1) * width * 3] for y in range(height)]


def ctl(*args):
    return subprocess.run([f"{BUILD}/src/cli/gasthausctl", *args], capture_output=True, text=True, timeout=90)


def locate(machine):
    """Where the engine's picture of the guest stands on the screen, pixel for pixel."""
    own = f"{OUT}/wayland-engine.png"
    if ctl("screenshot", machine, own).returncode:
        return None
    width, height, guest = rows(own)
    _, _, desk = rows(shoot("wayland-desk"))
    y = max(range(height), key=lambda i: sum(a != b for a, b in zip(guest[i], guest[i][3:])))
    for desk_y, row in enumerate(desk):
        at = row.find(guest[y])
        top = desk_y - y
        if at >= 0 and at % 3 == 0 and 0 <= top and top + height <= len(desk) and \
                sum(desk[top + i][at:at + 3 * width] != guest[i] for i in range(height)) <= 4:  # the text cursor blinks
            return at // 3, top, width, height
    return None


def lines(machine):
    own = f"{OUT}/wayland-engine.png"
    return [] if ctl("screenshot", machine, own).returncode else read_screen(own)


def pointer(x, y, click=False):
    swaymsg("seat", "-", "cursor", "set", x, y)
    if click:
        swaymsg("seat", "-", "cursor", "press", "button1")
        time.sleep(0.1)
        swaymsg("seat", "-", "cursor", "release", "button1")


def type_line(text):
    keys.type(text)
    keys.press("Return")


def focused(node=None):
    node = node or json.loads(swaymsg("-t", "get_tree"))
    if node.get("focused"):
        return node["name"]
    return next(filter(None, map(focused, node["nodes"] + node["floating_nodes"])), None)


NAME = "Wayland Guest"
keys = Hands(os.environ["WAYLAND_DISPLAY"])
app = App(f"{BUILD}/src/gui/gasthaus")
try:
    app.wait("label", "No Machines Yet", 60)
    wait("the window", lambda: "Gasthaus" in windows())
    shoot("wayland-empty")
    keys.press("ctrl+n")
    wait("New Machine by its shortcut", lambda: "New Machine" in windows())
    write(app.wait("text", "Medium", window="New Machine"), os.environ["GH_WAYLAND_ISO"])
    for page in ("Medium", "Name"):
        def ready():
            b = app.find("push button", "Next", "New Machine")
            return b and b.getState().contains(24) and (page == "Medium" or app.find("text", "Name", "New Machine")) and b  # 24: sensitive
        button = wait("Next to be allowed", ready)
        if page == "Name":
            entry = app.wait("text", "Name", window="New Machine")
            wait("a proposed name", lambda: read(entry))
            write(entry, NAME)
        press(button)
    shoot("wayland-review")
    press(app.wait("push button", "Create", window="New Machine"))
    wait("the screen's window", lambda: NAME in windows(), 60)
    check(True, "a machine is made and started on Wayland")
    wait("the guest's greeting", lambda: any("Welcome to Gasthaus" in line for line in lines(NAME)), 400, 0.5)
    at = wait("the guest's picture, pixel for pixel", lambda: locate(NAME), 60, 0.5)
    shoot("wayland-running")
    check(at, f"the guest's screen is shown at {at}, every pixel the engine's")
    x, y, width, height = at
    pointer(x + width // 2, y + height // 2, click=True)
    wait("the screen to have the keyboard", lambda: focused() == NAME)
    type_line("echo Way-$((6*7))")
    wait("the guest's answer", lambda: any(line.startswith("Way-42") for line in lines(NAME)), 60, 0.5)
    check(True, "keys with Shift reach the guest")

    # A guest that takes movements gets them all: the pointer is locked by the click until Ctrl+Alt.
    type_line("clear; hexdump -v -e '3/1 \"%d \" \"\\n\"' /dev/input/mice | awk '{x+=$2;y+=$3;print \"sum:\",x,y}' &")

    def total():
        return next(((int(m[1]), int(m[2])) for m in (re.search(r"sum: (-?\d+) (-?\d+)", line) for line in reversed(lines(NAME))) if m), None)
    time.sleep(2)
    before = total() or (0, 0)
    for _ in range(30):
        keys.move(50, -10)
        time.sleep(0.05)
    wait("1500 to the right and 300 up", lambda: total() and 1200 <= total()[0] - before[0] <= 1800 and 200 <= total()[1] - before[1] <= 400,
         60, 0.5)
    check(True, f"a guest that takes movements got {total()} of (1500, 300), although the window is {width} wide")
    keys.press("ctrl+alt")
    wait("the guest to have let the pointer go", lambda: not app.find("label", "Press Ctrl+Alt to release keyboard and pointer"), 30)
    before = total()
    keys.move(-20, 20)
    time.sleep(1)
    check(total() == before, "after Ctrl+Alt the pointer is the desktop's again")
    pointer(5, 5)
    ctl("stop", NAME)
    wait("the machine to be off", lambda: '"off"' in ctl("--json", "show", NAME).stdout, 60)
    keys.press("ctrl+w")
    wait("its window to close", lambda: NAME not in windows(), 30)

    # The tablet of a system that has a driver for it follows the pointer.
    NAME = "Tablet"
    made = ctl("create", NAME, "--media", os.environ["GH_WAYLAND_ISO"], "--memory", "256M", "--disk", "0", "--accel", "soft", "--os",
               "http://debian.org/debian/12")
    check(made.returncode == 0, f"a machine with a tablet {made.stderr}")
    wait("its row", lambda: NAME in app.rows(), 30)
    row = app.wait("list item", NAME)
    row.parent.querySelection().selectChild(app.rows().index(NAME))
    wait("Start to be allowed", lambda: (b := app.find("push button", "Start")) and b.getState().contains(24) and app.find("label", NAME))
    press(app.wait("push button", "Start"))
    wait("the screen's window", lambda: NAME in windows(), 60)
    wait("the guest's greeting", lambda: any("Welcome to Gasthaus" in line for line in lines(NAME)), 400, 0.5)
    x, y, width, height = wait("the guest's picture", lambda: locate(NAME), 60, 0.5)
    pointer(x + width // 2, y + height // 2, click=True)
    wait("the screen to have the keyboard", lambda: focused() == NAME)
    type_line("clear; modprobe virtio_pci; modprobe virtio_input; sleep 2; ls -d /sys/class/input/event*; grep -l ablet /sys/class/input/event*/device/name")
    found = wait("the tablet", lambda: next((m for m in (re.match(r"/sys/class/input/(event\d+)/device/name", line) for line in lines(NAME)) if m), None),
                 120, 0.5)
    type_line(f"clear; hexdump -v -e '12/2 \"%u \" \"\\n\"' /dev/input/{found[1]} &")
    wait("it to be watched", lambda: lines(NAME) and not any("ablet" in line for line in lines(NAME)), 60, 0.5)
    aims = [(x + width // 4, y + height // 4), (x + 3 * width // 4, y + height // 2)]

    def position():
        seen = {}
        for line in lines(NAME):
            m = re.search(r" 3 ([01]) (\d+) 0 ?$", line)
            if m:
                seen[m[1]] = int(m[2]) / 32767
        return seen

    def followed():
        for aim in aims:
            pointer(*aim)
        time.sleep(0.3)
        p = position()
        return len(p) == 2 and abs(p["0"] - 0.75) < 0.01 and abs(p["1"] - 0.5) < 0.01 and p
    p = wait("the tablet to follow the pointer", followed, 60, 0.5)
    check(p, f"the guest's tablet follows the pointer: {p['0']:.3f}, {p['1']:.3f} of its screen")

    type_line("kill %1; clear")
    keys.press("F11")
    pointer(5, SIZE[1] - 5)  # away from the picture
    wait("full screen", lambda: windows().get(NAME) == (0, 0, *SIZE), 30)
    middle = ((SIZE[0] - width) // 2, (SIZE[1] - height) // 2)
    wait("the picture in the middle", lambda: (locate(NAME) or (0,))[:2] == middle, 60, 0.5)
    shoot("wayland-full-screen")
    check(True, "full screen: one pixel stays one pixel, in the middle")
    keys.press("F11")
    wait("the window to come back", lambda: windows().get(NAME) != (0, 0, *SIZE), 30)
    keys.press("ctrl+alt")
    wait("the guest to have let the keyboard go", lambda: not app.find("label", "Press Ctrl+Alt to release keyboard and pointer"), 30)
    check(True, "Ctrl+Alt gives the keyboard back")
    keys.press("ctrl+w")
    wait("the screen's window to close", lambda: NAME not in windows(), 30)
    check('"running"' in ctl("--json", "show", NAME).stdout, "closing its window leaves the guest running")
    shoot("wayland-closed")
finally:
    app.close()
