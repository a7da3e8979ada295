#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
# gasthaus-test: short 700
"""Networks from the command line while a machine runs: forwards (TCP, UDP, refused ones), cable, rate limit, capture
read by tshark, the guest's address, ssh, counters; what is kept after the end."""
import os
import re
import socket
import subprocess
import time

from guestlib import Engine, check, fail, make_boot_iso
from netlib import MODULES, Shell, answer, free_port, refused


with Engine("netctl") as e:
    iso = make_boot_iso(e.folder, f"console=tty0 console=ttyS0 quiet gh.modules={MODULES}")
    e.ctl("create", "net", "--media", iso, "--memory", "256M", "--accel", "soft", "--cpus", "1")
    card = e.json("network", "net")[0]
    check(card["adapter"] == "e1000" and card["mode"] == "nat" and card["mac"].startswith("52:54:00:"), f"a new machine has one NAT adapter: {card}")
    tcp, udp, early = free_port(), free_port(socket.SOCK_DGRAM), free_port()
    e.ctl("forward", "net", "add", f"tcp:{early}:7")
    refused(e, "the same host port twice", "ForwardCollides", "forward", "net", "add", f"tcp:0.0.0.0:{early}:8")
    refused(e, "an address that is none", "ForwardInvalid", "forward", "net", "add", f"tcp:here:{tcp}:8")
    refused(e, "port 0", "ForwardInvalid", "forward", "net", "add", "tcp:0:8")
    refused(e, "an unknown adapter", "AdapterUnknown", "forward", "net", "add", f"tcp:{tcp}:8", "--adapter", "net5")
    check(e.ctl("network", "net", "add", "--adapter", "virtio-net", "--mode", "none").strip() == "net1", "another adapter is added")
    refused(e, "a hardware address twice", "MacTwice", "network", "net", "set", "net1", "--mac", card["mac"])
    refused(e, "an adapter that there is none of", "AdapterUnknown", "network", "net", "set", "net1", "--adapter", "ne2000")
    e.ctl("create", "other", "--adapter", "none")
    check(e.json("network", "other") == [], "a machine without a network card")
    refused(e, "another machine's hardware address", "MacTwice", "network", "other", "add", "--mac", card["mac"])
    e.ctl("delete", "other")
    e.ctl("network", "net", "remove", "net1")
    check(len(e.json("network", "net")) == 1 and e.json("network", "net")[0]["mac"] == card["mac"], "and removed; the first keeps its address")

    e.ctl("start", "net")
    console = e.console("net")
    console.expect("GUEST-READY", 500)
    s = Shell("net", vm=console)
    check("10.0.2.15" in s.dhcp("eth0", 120), "DHCP with an e1000")

    # ---- the guest's address ----
    deadline = time.time() + 20
    while e.json("network", "net")[0].get("address") != "10.0.2.15" and time.time() < deadline:
        time.sleep(0.3)
    check(e.json("show", "net")["networks"][0]["address"] == "10.0.2.15", "the guest's address is known")
    check("10.0.2.15" in e.ctl("list"), "and stands in the list")

    # ---- forwards ----
    s.run("for p in 7 8; do (while :; do echo port-$p | nc -l -p $p > /dev/null; done &) ; done")
    check(answer(early) == b"port-7\n", "a forward of the definition works")
    e.ctl("forward", "net", "add", f"tcp:{tcp}:8")
    check(answer(tcp) == b"port-8\n", "a forward added while running works")
    listening = subprocess.run(["ss", "-Hltn", f"sport = :{tcp}"], capture_output=True, text=True).stdout if os.path.exists("/usr/bin/ss") else ""
    check("0.0.0.0" not in listening.split("127.0.0.1")[0], "it listens on 127.0.0.1")
    e.ctl("forward", "net", "add", f"udp:127.0.0.1:{udp}:9")
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    nobody = "awk '/^Udp: [0-9]/ {print \"noports-\" $3}' /proc/net/snmp" # nothing listens in this guest, but it counts
    before = int(re.search(r"noports-(\d+)", s.run(nobody)).group(1))
    for _ in range(5):
        sock.sendto(b"datagram\n", ("127.0.0.1", udp))
        time.sleep(0.3)
    check(int(re.search(r"noports-(\d+)", s.run(nobody)).group(1)) == before + 5, "5 datagrams reach the guest by a UDP forward")
    with socket.create_server(("127.0.0.1", 0)) as other:
        refused(e, "a port that another program uses", "PortInUse", "forward", "net", "add", f"tcp:{other.getsockname()[1]}:8")
    e.ctl("forward", "net", "remove", f"tcp:{tcp}")
    try:
        socket.create_connection(("127.0.0.1", tcp), 2).close()
        fail("a removed forward still listens")
    except OSError:
        check(True, "a removed forward is gone")
    refused(e, "removing it again", "ForwardUnknown", "forward", "net", "remove", f"tcp:{tcp}")
    command = e.ctl("ssh", "net", "--user", "root").strip()
    port = int(re.fullmatch(r"ssh -p (\d+) root@127\.0\.0\.1", command).group(1))
    s.run("(while :; do echo SSH-2.0-test | nc -l -p 22 > /dev/null; done &)")
    check(answer(port) == b"SSH-2.0-test\n" and e.ctl("ssh", "net", "--user", "root").strip() == command, f"ssh: {command}")

    # ---- cable ----
    e.ctl("network", "net", "set", "net0", "--cable", "out")
    deadline = time.time() + 20
    while not (out := "0" in s.run("cat /sys/class/net/eth0/carrier").split()) and time.time() < deadline:  # the kernel may talk in between
        time.sleep(0.5)
    check(out, "the cable is out")
    check(answer(early, timeout=3) == b"", "nothing passes")
    e.ctl("network", "net", "set", "net0", "--cable", "in")
    while s.run("cat /sys/class/net/eth0/carrier")[:1] != "1" and time.time() < deadline + 20:
        time.sleep(0.5)
    check(answer(early) == b"port-7\n", "and in again")
    refused(e, "another card while running", "MachineRunning", "network", "net", "set", "net0", "--adapter", "virtio-net")

    # ---- capture ----
    e.ctl("capture", "net", f"{e.folder}/frames.pcapng")
    check(e.json("network", "net")[0]["capturing"], "capturing is shown") if time.sleep(0.6) is None else None
    check(answer(early) == b"port-7\n", "traffic while capturing")
    time.sleep(1)
    packets = subprocess.run(["tshark", "-r", f"{e.folder}/frames.pcapng", "-Y", "tcp.port == 7"], capture_output=True, text=True).stdout
    check("10.0.2.15" in packets and "SYN, ACK" in packets, "tshark reads the growing file")
    e.ctl("capture", "net", "--stop")
    refused(e, "a capture over an existing file", "FileUnwritable", "capture", "net", f"{e.folder}/frames.pcapng")
    full = subprocess.run(["tshark", "-r", f"{e.folder}/frames.pcapng", "-T", "fields", "-e", "tcp.payload", "-Y", "tcp.srcport == 7"],
                          capture_output=True, text=True).stdout
    check(b"port-7\n".hex() in full, "the capture holds what was sent")

    # ---- rate limit ----
    rate_port = free_port()
    e.ctl("forward", "net", "add", f"tcp:{rate_port}:5001")
    e.ctl("network", "net", "set", "net0", "--limit", "4M")
    s.run("(while :; do nc -l -p 5001 < /dev/zero > /dev/null; done &)")

    def measure(seconds):
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", rate_port), 10) as c:
                c.settimeout(20)
                stop, total = time.time() + 1, 0
                while time.time() < stop and c.recv(65536):    # past the first burst and slow start
                    pass
                start = time.time()
                while time.time() < start + seconds:
                    piece = c.recv(65536)
                    if not piece:
                        break
                    total += len(piece)
                if total:
                    return total * 8 / (time.time() - start)
            time.sleep(0.5)
        fail("no data came")
    speed = measure(8)
    check(3.6e6 <= speed <= 4.4e6, f"4 Mbit/s are kept: {speed / 1e6:.2f} Mbit/s of payload")
    refused(e, "a limit that lets nothing through", "LimitInvalid", "network", "net", "set", "net0", "--limit", "1k")
    e.ctl("network", "net", "set", "net0", "--limit", "off")
    counters = e.json("show", "net", "--counters")["counters"]
    check(counters["net0.sent-bytes"] > 4 << 20 and counters["net0.received-frames"] > 100, "counters count")

    # ---- what stays ----
    e.kill_daemon()
    check(answer(early) == b"port-7\n", "without the daemon the network goes on")
    deadline = time.time() + 20
    while e.json("network", "net")[0].get("address") != "10.0.2.15" and time.time() < deadline:
        time.sleep(0.3)
    card = e.json("network", "net")[0]
    check(card.get("address") == "10.0.2.15" and ["tcp", "127.0.0.1", early, 7] in card["forwards"], f"a new daemon knows address and forwards: {card}")
    console.kill()
    e.ctl("stop", "net")
    e.wait_state("net", "off", 30)
    check("address" not in e.json("network", "net")[0] and len(e.json("network", "net")[0]["forwards"]) == 4, "forwards are kept, the address is not")
