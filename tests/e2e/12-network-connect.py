#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
# gasthaus-test: short 700
"""What an adapter is connected to, kept in the definition and changed while the machine runs: NAT's settings (subnet, the host's
loopback, TFTP and boot file), NAT to an internal network and back with the cable seen to go and come, forwards from IPv6 addresses,
a host that changes to 127.0.0.53; passt in NAT's place; what is refused."""
import os
import socket
import subprocess
import time

from guestlib import Engine, check, fail, make_boot_iso
from netlib import MODULES, NameServer, Shell, Sink, answer, free_port, refused


def echo(port):
    try:
        with socket.create_connection(("127.0.0.1", port), 10) as c:
            c.settimeout(10)
            c.sendall(b"through passt")
            return c.recv(100)
    except OSError:
        return b""                             # nobody listens in the guest yet


def wait_for(what, look, timeout=40):
    deadline = time.time() + timeout
    while not look():
        if time.time() > deadline:
            fail(what)
        time.sleep(0.3)
    check(True, what)


def backends(e, kind):
    """Of the machine's supervisor; their own environment cannot be read."""
    parent, found = str(e.json("show", "net")["pid"]), []
    for pid in subprocess.run(["pgrep", "-P", parent], capture_output=True, text=True).stdout.split():
        try:
            if open(f"/proc/{pid}/cmdline").read().startswith(f"gasthaus-backend\0{kind}\0"):
                found.append(int(pid))
        except OSError:
            continue
    return found


def log(e):
    folder = f"{e.machines}/net/logs"
    return "".join(open(f"{folder}/{f}", errors="replace").read() for f in sorted(os.listdir(folder)))


def xml(e):
    return open(f"{e.machines}/net/machine.xml").read()


with Engine("netconnect") as e:
    conf = f"{e.folder}/resolv.conf"
    names = NameServer({"inn.example.test": "10.7.0.2"})
    names.write_resolv_conf(conf)
    e.env["GH_RESOLV_CONF"] = conf
    os.mkdir(f"{e.folder}/tftp")
    with open(f"{e.folder}/tftp/menu", "w") as f:
        f.write("the menu of the inn\n")
    iso = make_boot_iso(e.folder, f"console=tty0 console=ttyS0 quiet gh.modules={MODULES}")
    e.ctl("create", "net", "--media", iso, "--memory", "256M", "--accel", "soft", "--cpus", "1", "--adapter", "virtio-net")

    # ---- what is refused, before anything is tried ----
    for what, wanted, words in (("a network's address that is a host's", "SubnetInvalid", ["--subnet", "10.7.0.1"]),
                                ("loopback as a guest's network", "SubnetInvalid", ["--subnet", "127.0.0.0"]),
                                ("a mode there is none of", "NetworkModeUnknown", ["--mode", "bridge"]),
                                ("a socket without its path", "SocketInvalid", ["--mode", "stream"]),
                                ("a boot file with a comma", "BootFileInvalid", ["--bootfile", "a,host-loopback"])):
        refused(e, what, wanted, "network", "net", "set", "net0", *words)
    code, _, err = e.try_ctl("network", "net", "set", "net0", "--host-loopback", "perhaps")
    check(code == 2, "a switch that is neither on nor off is a wrong usage")

    # ---- kept ----
    e.ctl("network", "net", "set", "net0", "--subnet", "10.7.0.0", "--host-loopback", "on", "--tftp", f"{e.folder}/tftp", "--bootfile", "menu")
    card = e.json("network", "net")[0]
    check(card["subnet"] == "10.7.0.0" and card["host-loopback"] and card["ipv6"] and card["bootfile"] == "menu", f"settings are kept: {card}")
    check('subnet="10.7.0.0"' in xml(e) and 'host-loopback="yes"' in xml(e) and f'tftp="{e.folder}/tftp"' in xml(e), "in the definition")
    text = e.ctl("network", "net")
    check("subnet=10.7.0.0" in text and "reaches this computer's loopback" in text, "and shown")
    six = free_port(family=socket.AF_INET6, address="::1")
    e.ctl("forward", "net", "add", f"tcp:[::1]:{six}:7")
    refused(e, "the same IPv6 port twice", "ForwardCollides", "forward", "net", "add", f"tcp:[::]:{six}:8")
    e.ctl("forward", "net", "add", f"tcp:127.0.0.1:{six}:7")

    e.ctl("start", "net")
    console = e.console("net")
    console.expect("GUEST-READY", 500)
    s = Shell("net", vm=console)
    check("inet 10.7.0.15/24" in s.dhcp("eth0", 120), "the guest is in the chosen network")
    check(len(backends(e, "net")) == 1, "one process carries it")
    check("the menu of the inn" in s.run("cd /tmp && tftp -g -r menu 10.7.0.2 && cat menu"), "a file by TFTP from the gateway")
    target = Sink()
    s.run(f"echo hello | nc -w 5 10.7.0.2 {target.port}")
    check(target.event.wait(20), "a guest that may reaches the host's loopback")

    # ---- forwards from IPv6 addresses ----
    s.run("for p in 7 8; do (while :; do echo port-$p | nc -l -p $p > /dev/null; done &) ; done")
    check(answer(six, "::1") == b"port-7\n", "a forward of the definition from ::1")
    check(answer(six) == b"port-7\n", "beside the one of 127.0.0.1 with the same port")
    other = free_port(family=socket.AF_INET6, address="::1")
    e.ctl("forward", "net", "add", f"tcp:[::1]:{other}:8")
    check(answer(other, "::1") == b"port-8\n", "one that is added while running")
    with socket.socket(socket.AF_INET6) as taken:
        taken.bind(("::1", 0))
        taken.listen()
        refused(e, "an IPv6 port that another program uses", "PortInUse", "forward", "net", "add", f"tcp:[::1]:{taken.getsockname()[1]}:8")
    e.ctl("forward", "net", "remove", f"tcp:[::1]:{other}")
    try:
        socket.create_connection(("::1", other), 2).close()
        fail("a removed forward still listens")
    except OSError:
        check(True, "and is gone when it is removed")
    s.run("(nc -l -p 9 -e cat &)")
    e.ctl("forward", "net", "add", f"tcp:[::1]:{other}:9")
    data = os.urandom(4 << 20)
    with socket.create_connection(("::1", other), 10) as c:
        c.settimeout(60)
        got, sent = bytearray(), 0
        c.setblocking(False)
        deadline = time.time() + 120
        while len(got) < len(data) and time.time() < deadline:
            try:
                sent += c.send(data[sent:sent + 65536]) if sent < len(data) else 0
            except BlockingIOError:
                pass
            try:
                piece = c.recv(65536)
                if not piece:
                    break
                got += piece
            except BlockingIOError:
                time.sleep(0.001)
    check(got == data, "4 MiB go in and come back through it, unchanged")
    udp = free_port(socket.SOCK_DGRAM, socket.AF_INET6, "::1")
    e.ctl("forward", "net", "add", f"udp:[::1]:{udp}:5353")
    u = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    counted = "awk '/^Udp: [0-9]/ {print \"noports-\" $3}' /proc/net/snmp"
    before = int(s.run(counted).split("noports-")[1].split()[0])
    for _ in range(5):
        u.sendto(b"datagram\n", ("::1", udp))
        time.sleep(0.2)
    wait_for("5 datagrams from ::1 reach the guest", lambda: int(s.run(counted).split("noports-")[1].split()[0]) == before + 5)

    # ---- names: the host's list changes, and 127.0.0.53 is asked by the host, never by the guest ----
    check("Address: 10.7.0.2" in s.run("nslookup inn.example.test"), "a name from the host's server")
    second = NameServer({"other.example.test": "10.7.0.2"})
    second.write_resolv_conf(conf)
    wait_for("a changed resolv.conf is followed", lambda: "Address: 10.7.0.2" in s.run("nslookup other.example.test", 60, want=None))
    try:
        stub = NameServer({"stub.example.test": "10.7.0.2"}, address=("127.0.0.53", 53))
    except OSError as problem:
        print(f"note: 127.0.0.53:53 cannot be used here ({problem})")
    else:
        with open(conf + ".new", "w") as f:
            f.write("nameserver 127.0.0.53\noptions edns0 trust-ad\n")
        os.replace(conf + ".new", conf)
        wait_for("systemd-resolved's 127.0.0.53 answers for the guest", lambda: "Address: 10.7.0.2" in s.run("nslookup stub.example.test", 60, want=None))
        check("nameserver 10.7.0.3" in s.run("cat /etc/resolv.conf"), "which knows the NAT's own server only")
        stub.socket.close()
    second.write_resolv_conf(conf)

    # ---- connected otherwise while it runs ----
    s.run("dmesg -c > /dev/null; echo 7 > /proc/sys/kernel/printk_devkmsg 2>/dev/null; cat /sys/class/net/eth0/carrier_changes > /tmp/changes")
    e.ctl("network", "net", "set", "net0", "--mode", "internal", "--network", "tavern")
    card = e.json("network", "net")[0]
    check(card["mode"] == "internal" and card["network"] == "tavern", "moved to an internal network while running")
    wait_for("the guest saw its cable pulled and plugged in", lambda: int(s.run("cat /sys/class/net/eth0/carrier_changes").split()[-1]) >= int(s.run("cat /tmp/changes").split()[-1]) + 2)
    check(not backends(e, "net") and len(backends(e, "switch")) == 1, "nothing of the NAT is left, and a switch is there")
    check("1 packets received" not in s.run("ping -c 1 -W 2 10.7.0.2", want=None), "the gateway is out of reach")
    check(answer(six, timeout=1) == b"", "and forwards are closed")
    refused(e, "a forward for an internal network", "ForwardUnsupported", "forward", "net", "add", "tcp:8888:8")
    e.ctl("network", "net", "set", "net0", "--mode", "nat", "--subnet", "", "--host-loopback", "off")
    check("inet 10.0.2.15/24" in s.dhcp("eth0", 120), "back at NAT, with other settings")
    wait_for("the guest's new address is known", lambda: e.json("network", "net")[0].get("address") == "10.0.2.15")
    check(answer(six) == b"port-7\n" and answer(six, "::1") == b"port-7\n", "the definition's forwards are back")
    closed = Sink()
    s.run(f"nc -w 3 10.0.2.2 {closed.port} < /dev/null", want=1)
    check(not closed.sums, "the host's loopback is closed now")
    e.ctl("network", "net", "set", "net0", "--mode", "none")
    wait_for("connected to nothing: no carrier", lambda: s.run("cat /sys/class/net/eth0/carrier")[:1] == "0")
    e.ctl("network", "net", "set", "net0", "--mode", "nat")
    wait_for("and there again", lambda: s.run("cat /sys/class/net/eth0/carrier")[:1] == "1")
    refused(e, "passt while running", "MachineRunning", "network", "net", "set", "net0", "--mode", "passt")
    refused(e, "a TFTP folder that there is none of", "FolderUnreadable", "network", "net", "set", "net0", "--tftp", "/no/such/folder")
    check("inet 10.0.2.15/24" in s.dhcp("eth0", 120) and e.json("network", "net")[0]["tftp"] == f"{e.folder}/tftp", "after which all is as it was")
    before = len(log(e))
    console.send("poweroff -f\n")
    e.wait_state("net", "off", 60)
    check("stopped with status 0" in log(e)[before:] and "is started again" not in log(e)[before:] and "went away" not in log(e)[before:],
          "an orderly end is nobody's trouble")

    # ---- passt ----
    if not os.path.exists("/usr/bin/passt"):
        print("note: passt is not here")
    else:
        refused(e, "passt with a port of both families", "ForwardCollides", "network", "net", "set", "net0", "--mode", "passt")
        e.ctl("forward", "net", "remove", f"tcp:[::1]:{six}")
        e.ctl("network", "net", "set", "net0", "--mode", "passt", "--host-loopback", "on")
        e.ctl("start", "net")
        console = e.console("net")
        console.expect("GUEST-READY", 500)
        s = Shell("net", vm=console)
        check("inet 10.0.2.15/24" in s.dhcp("eth0", 120), "passt gives the same address")
        check(not backends(e, "net") and e.json("network", "net")[0]["mode"] == "passt", "in the NAT's place")
        # Debian 12's passt loses what a guest says in the same breath as its end, so the guest here waits to be asked.
        s.run("(while :; do nc -l -p 7 -e cat; done &)")
        wait_for("its forwards work", lambda: echo(six) == b"through passt")
        target = Sink()
        text = s.run(f"dd if=/dev/urandom of=/tmp/data bs=1M count=4 2>/dev/null; sha256sum < /tmp/data; nc 10.0.2.2 {target.port} < /tmp/data", 120)
        check(target.event.wait(60) and target.sums[0] in text, "4 MiB arrive through passt")
        refused(e, "a forward while it runs", "ForwardUnsupported", "forward", "net", "add", "tcp:8888:8")
        refused(e, "passt to NAT's settings while running", "MachineRunning", "network", "net", "set", "net0", "--subnet", "10.9.0.0")
        e.ctl("network", "net", "set", "net0", "--mode", "nat")
        check("inet 10.0.2.15/24" in s.dhcp("eth0", 120), "and NAT takes over while the machine runs")
        console.kill()
        e.ctl("stop", "net")
        e.wait_state("net", "off", 30)
        left = subprocess.run(["pgrep", "-f", f"127.0.0.1/{six}:7"], capture_output=True, text=True).stdout
        check(not left, "passt ended with its machine")
