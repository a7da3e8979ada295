#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
# gasthaus-test: short 700
"""Linux's own drivers of both network cards, side by side: identity, traffic, cable pulled and plugged, hardware address, filters, large
packets, statistics, and drivers that go and come back."""
import json
import os
import re
import shutil
import socket
import tempfile
import time

from guestlib import check, fail
from netlib import Shell

folder = tempfile.mkdtemp(prefix="gh-adapters-")
s = Shell("adapters", "--net", "nat,model=e1000,mac=52:54:00:00:00:e1", "--net", "nat,model=virtio-net,network=10.0.3.0,mac=52:54:00:00:00:f2",
          "--control", f"unix:{folder}/control")
control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
control.settimeout(60)
control.connect(f"{folder}/control")
asked = 0


def ask(verb, **args):
    global asked
    asked += 1
    control.send(json.dumps(dict(args, id=asked, verb=verb)).encode())
    while True:
        reply = json.loads(control.recv(65536))
        if reply.get("id") == asked:
            if "error" in reply:
                fail(f"{verb}: {reply}")
            return reply


def wait_guest(what, command, pattern, timeout=40):
    deadline = time.time() + timeout
    while time.time() < deadline:
        if re.search(pattern, s.run(command, want=None)):
            check(True, what)
            return
        time.sleep(0.3)
    fail(what)


def ping(what, size=56, timeout=60):
    text = s.run(f"ping -c 3 -W 5 -s {size} {gateway}", timeout, want=None)
    check(" 3 packets received" in text, what)


ask("hello", version=1, client="test")
names = dict(line.split() for line in s.run("for i in /sys/class/net/eth*; do echo $(cat $i/address) ${i##*/}; done").split("\n") if line.count(":") == 5)
for model, module, mac, gateway, number in (("e1000", "e1000", "52:54:00:00:00:e1", "10.0.2.2", 0), ("virtio-net", "virtio_net", "52:54:00:00:00:f2", "10.0.3.2", 1)):
    eth = names[mac]
    check(f"/{module}\n" in s.run(f"readlink /sys/class/net/{eth}/device/driver"), f"{model}: its driver has it")
    check("inet 10.0." in s.dhcp(eth), f"{model}: an address by DHCP")
    s.run(f"ip route replace {gateway} dev {eth}")
    ping(f"{model}: packets go and come")
    if model == "e1000":
        check(s.run(f"cat /sys/class/net/{eth}/speed").strip() == "1000", "e1000: 1000 Mb/s")

    # ---- cable ----
    ask("net-cable", adapter=f"net{number}", plugged=False)
    wait_guest(f"{model}: the guest sees the cable pulled", f"cat /sys/class/net/{eth}/carrier", r"^0")
    check(" 1 packets received" not in s.run(f"ping -c 1 -W 1 {gateway}", want=None), f"{model}: nothing goes through")
    ask("net-cable", adapter=f"net{number}", plugged=True)
    wait_guest(f"{model}: and plugged in again", f"cat /sys/class/net/{eth}/carrier", r"^1")
    ping(f"{model}: packets go again")

    # ---- addresses and filters ----
    other = mac[:-2] + "0f"
    s.run(f"ip link set {eth} down; ip link set {eth} address {other}; ip link set {eth} up")
    wait_guest(f"{model}: up with another hardware address", f"cat /sys/class/net/{eth}/carrier", r"^1")
    s.run(f"ip route replace {gateway} dev {eth}")
    ping(f"{model}: the card answers to its new address")
    s.run(f"ip link set {eth} promisc on; ifconfig {eth} allmulti")
    ping(f"{model}: promiscuous")
    s.run(f"ip link set {eth} promisc off; ifconfig {eth} -allmulti")
    ping(f"{model}: packets of 4000 bytes, in fragments", 4000)
    s.run(f"ip link set {eth} mtu 1400")
    s.run(f"ip route replace {gateway} dev {eth}")
    ping(f"{model}: a smaller MTU", 1300)

    # ---- statistics, and nothing that the card had to complain about ----
    numbers = {k: int(v) for k, v in re.findall(r"^(\w+) (\d+)$", s.run(f"for f in /sys/class/net/{eth}/statistics/*; do echo ${{f##*/}} $(cat $f); done"), re.M)}
    bad = {k: v for k, v in numbers.items() if v and ("error" in k or k in ("tx_dropped", "collisions", "rx_missed"))}
    check(not bad and numbers["rx_packets"] > 20 and numbers["tx_packets"] > 20, f"{model}: {numbers['rx_packets']} packets in, {numbers['tx_packets']} out, no errors {bad or ''}")

    # ---- the driver goes and comes back ----
    for _ in range(2):
        s.run(f"modprobe -r {module}; modprobe {module}", 60)
        wait_guest(f"{model}: its driver comes back", "ls /sys/class/net", rf"{eth}")
    s.run(f"ip link set {eth} up")
    check("inet 10.0." in s.dhcp(eth), f"{model}: and takes an address again")
reply = ask("query-counters")
counters = reply["ok"].get("counters", {})
check(counters, f"counters: {reply if not counters else len(counters)}")
check(not [k for k in counters if k.startswith("nic") and "guest-errors" in k], "no access of the drivers was wrong")
check("Call Trace" not in s.run("dmesg"), "the kernel has no complaint")
s.off()
shutil.rmtree(folder)
