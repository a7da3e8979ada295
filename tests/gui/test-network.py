#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Network cards and port forwards as rows: made, refused at the row, edited, removed; the cable of a running machine; a port that another
program has. What the rows say is compared with what the command line says."""
import json
import os
import socket
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import pyatspi
from desk import App, children, find, picture, press, read, wait, write
from hands import click, key, type_text

GUI, CTL = sys.argv[1:3]


def ctl(*args):
    p = subprocess.run([CTL, *args], capture_output=True, text=True)
    if p.returncode:
        raise SystemExit(f"FAILED: gasthausctl {' '.join(args)}: {p.stderr}")
    return p.stdout


def cards():
    return json.loads(ctl("--json", "show", "Net"))["networks"]


def sensitive(node):
    return node.getState().contains(pyatspi.STATE_SENSITIVE)


def toggle(name):
    for role in ("toggle button", "switch", "check box"):
        node = app.find(role, name)
        if node:
            return node
    return None


def says(text):
    return wait(f"“{text}” to be said", lambda: any(text in said for said in texts(app.node)))


def texts(node):
    """What all labels say. Rows go while they are looked at: a name that cannot be read any more is none."""
    try:
        found = [node.name or ""] if node.getRoleName() == "label" else []
        below = children(node)
    except Exception:
        return []
    return [text for child in below for text in texts(child)] + found


def apply(field, text):
    """By hand: a row with an entry takes what is typed when Enter is pressed."""
    click(field)
    key("ctrl+a")
    type_text(text)
    key("Return")


def discard():
    """A press acts a quarter of a second later (GTK shows the button pressed first): what is read before that is the old form."""
    press(app.wait("push button", "Discard"))
    wait("the form to close", lambda: not app.find("text", "Host port"))


def save():
    press(wait("“Save” to be allowed", lambda: (b := app.find("push button", "Save")) and sensitive(b) and b))


def forward(host, guest, address=None):
    press(app.wait("push button", "Add Port Forward"))
    if address:
        write(app.wait("text", "Host address"), address)
    write(app.wait("text", "Host port"), host)
    write(app.wait("text", "Guest port"), guest)


def forwards():
    return [(f["protocol"], f["host-address"] if "host-address" in f else f.get("address"), f["host-port"], f["guest-port"])
            if isinstance(f, dict) else tuple(f) for f in cards()[0]["forwards"]]


app = App(GUI)
try:
    app.wait("label", "No Machines Yet", 30)
    ctl("create", "Net", "--adapter", "e1000", "--memory", "32M", "--accel", "soft")
    wait("the machine's row", lambda: "Net" in app.rows())
    app.find("list", "Machines").querySelection().selectChild(0)
    app.wait("push button", "Add Port Forward")
    subprocess.run("xdotool search --onlyvisible --class gasthaus windowsize 960 1150 windowmove 100 10", shell=True)
    says("Network Card 1")
    picture("gui-network")

    # ---- a port forward; what cannot be is said before anything is tried ----
    forward("70000", "22")
    says("Ports are numbers from 1 to 65535.")
    apply_button = app.wait("push button", "Save")
    assert not sensitive(apply_button), "an impossible port may be tried"
    picture("gui-network-port-invalid")
    busy = socket.create_server(("127.0.0.1", 0))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        free = probe.getsockname()[1]
    write(app.wait("text", "Host port"), str(free))
    write(app.wait("text", "Host address"), "inn")
    says("The address is one of this computer")
    write(app.wait("text", "Host address"), "127.0.0.1")
    save()
    says(f"TCP 127.0.0.1:{free} to port 22 of the guest")
    assert forwards() == [("tcp", "127.0.0.1", free, 22)], cards()

    forward(str(free), "80")
    says("forwarded already")
    assert not sensitive(app.wait("push button", "Save")), "a colliding forward may be tried"
    picture("gui-network-collision")
    discard()

    # ---- edited; what another says meanwhile does not touch what is being typed ----
    press(app.wait("push button", "Edit Port Forward"))
    assert read(app.wait("text", "Host port")) == str(free)
    assert read(app.wait("text", "Guest port")) == "22"
    write(app.wait("text", "Guest port"), "2222")
    ctl("forward", "Net", "add", "udp:127.0.0.1:5300:53")
    says("UDP 127.0.0.1:5300 to port 53 of the guest")
    ctl("network", "Net", "add", "--mode", "none")
    says("Network Card 2")
    assert read(app.wait("text", "Guest port")) == "2222", "a refresh took what was typed"
    ctl("network", "Net", "remove", "net1")
    ctl("forward", "Net", "remove", "udp:127.0.0.1:5300")
    wait("the others to go", lambda: not app.find("label", "Network Card 2") and not app.find("label", "UDP 127.0.0.1:5300 to port 53 of the guest"))
    assert read(app.wait("text", "Guest port")) == "2222", "a refresh took what was typed"
    save()
    says(f"TCP 127.0.0.1:{free} to port 2222 of the guest")
    assert forwards() == [("tcp", "127.0.0.1", free, 2222)], cards()

    # ---- the hardware address ----
    mac = cards()[0]["mac"]
    field = app.wait("text", "Hardware Address")
    apply(field, "53:00:00:00:00:01")
    says("[Mac")
    assert cards()[0]["mac"] == mac, "an impossible address was taken"
    picture("gui-network-mac-invalid")
    apply(field, "52:54:00:aa:bb:cc")
    wait("the address to be saved", lambda: cards()[0]["mac"] == "52:54:00:aa:bb:cc")
    wait("the complaint to end", lambda: not any("[Mac" in said for said in texts(app.node)))

    # ---- what of NAT few people change ----
    click(app.wait("label", "Addresses and Network Boot"))
    subnet = app.wait("text", "The Guest's Network (10.0.2.0 if Empty)")
    apply(subnet, "10.0.2.9")
    says("[SubnetInvalid]")
    assert cards()[0]["subnet"] == "", "an impossible network was taken"
    apply(subnet, "10.0.2.0")
    wait("the network to be saved", lambda: cards()[0]["subnet"] == "10.0.2.0")
    loopback = wait("the loopback's switch", lambda: toggle("Access to This Computer"))
    loopback.queryAction().doAction(0)
    wait("the permission to be saved", lambda: cards()[0]["host-loopback"])
    picture("gui-network-nat")

    # ---- a forward from an IPv6 address ----
    forward(str(free), "80", "::1")
    save()
    says(f"TCP [::1]:{free} to port 80 of the guest")
    ctl("forward", "Net", "remove", f"tcp:[::1]:{free}")
    wait("it to go", lambda: not any("[::1]" in said for said in texts(app.node)))

    # ---- a second card, changed from outside, and taken away ----
    press(app.wait("push button", "Add Network Card"))
    says("Network Card 2")
    ctl("network", "Net", "set", "net1", "--mode", "internal", "--network", "inn")
    says("inn")
    picture("gui-network-two")
    ctl("network", "Net", "remove", "net1")
    wait("the second card to go", lambda: "Network Card 2" not in texts(app.node))

    # ---- a running machine: the cable, and a port that somebody has ----
    ctl("start", "Net")
    wait("the cards to be fixed", lambda: not sensitive(app.find("push button", "Remove Network Card") or app.node))
    cable = wait("the cable's switch", lambda: toggle("Cable Connected"))
    press(cable) if cable.queryAction().getName(0) == "click" else cable.queryAction().doAction(0)
    wait("the cable to be out", lambda: not cards()[0]["connected"])
    says("Cable unplugged")
    picture("gui-network-unplugged")
    cable.queryAction().doAction(0)
    wait("the cable to be in", lambda: cards()[0]["connected"])
    forward(str(busy.getsockname()[1]), "80")
    save()
    says("[PortInUse]")
    picture("gui-network-port-in-use")
    assert len(forwards()) == 1, "a forward that the machine refused was kept"
    discard()
    press(app.wait("push button", "Edit Port Forward"))
    write(app.wait("text", "Host port"), str(busy.getsockname()[1]))
    save()
    says("[PortInUse]")
    wait("the old forward to be back", lambda: forwards() == [("tcp", "127.0.0.1", free, 2222)])
    discard()
    press(app.wait("push button", "Remove Port Forward"))
    wait("the forward to go", lambda: not forwards())

    # ---- the guest's address (its boot ROM asks for one), a limit, and one press to SSH ----
    says("NAT · 10.0.2.15")
    says("Running · 10.0.2.15")
    app.wait("spin button", "Speed Limit in kbit/s").queryValue().currentValue = 20000
    wait("the limit to be saved", lambda: cards()[0]["limit-kbits"] == 20000)
    press(app.wait("push button", "Copy SSH Command"))
    says(" is on the clipboard")
    wait("a forward to SSH", lambda: [f for f in forwards() if f[0] == "tcp" and f[1] == "127.0.0.1" and f[3] == 22])
    picture("gui-network-running")

    # ---- a capture: begun, its file shown, ended ----
    press(app.wait("push button", "Start Capture"))
    wait("the capture to run", lambda: cards()[0]["capturing"] and cards()[0]["capture"].endswith(".pcapng"))
    path = cards()[0]["capture"]
    says("Writing " + path.replace(os.environ["HOME"], "~"))
    assert os.path.exists(path)
    picture("gui-network-capture")
    press(app.wait("push button", "Stop Capture"))
    wait("the capture to end", lambda: not cards()[0]["capturing"])
    says("Written to " + path.replace(os.environ["HOME"], "~"))
    assert open(path, "rb").read(4) == b"\x0a\x0d\x0d\x0a", "not pcapng"

    # ---- moved to an internal network while it runs ----
    ctl("network", "Net", "set", "net0", "--mode", "internal", "--network", "tavern")
    says("tavern")
    assert not app.find("push button", "Add Port Forward"), "an internal network has no forwards"
    ctl("network", "Net", "set", "net0", "--mode", "nat")
    app.wait("push button", "Add Port Forward")
    socket.create_server(("127.0.0.1", free)).close()
    ctl("stop", "Net")
    print("ok")
finally:
    app.close()
