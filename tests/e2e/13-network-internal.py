#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
# gasthaus-test: short 500
"""An internal network: two guests with different cards talk both ways, a third on another network does not hear them;
the switch's process is killed and comes back, and ends when nobody needs it."""
import hashlib
import os
import re
import signal
import subprocess
import tempfile
import time

from guestlib import check, fail
from netlib import Shell

runtime = tempfile.mkdtemp(prefix="gh-int-")
os.environ["XDG_RUNTIME_DIR"] = runtime


machines = []


def switches():
    """Those that our machines started; their environment cannot be read."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            parent = int(open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[1])
            if open(f"/proc/{pid}/cmdline").read().startswith("gasthaus-backend\0switch") and parent in machines:
                found.append(int(pid))
        except OSError:
            continue
    return found


def machine(name, *args):
    s = Shell(name, *args, memory="160M")
    machines.append(s.vm.p.pid)
    return s


def reached(s, address, timeout):
    deadline = time.time() + timeout
    while time.time() < deadline:
        if "1 packets received" in s.run(f"ping -c 1 -W 2 {address}", 60, want=None):
            return True
    return False


a = machine("internal-a", "--net", "internal,name=tavern,model=virtio-net,mac=52:54:00:00:00:0a")
b = machine("internal-b", "--net", "internal,name=tavern,model=e1000,mac=52:54:00:00:00:0b", "--net", "internal,name=tavern,model=virtio-net")
check(len(switches()) == 1, "one switch for both machines")
status = open(f"/proc/{switches()[0]}/status").read()
check("\nSeccomp:\t2\n" in status and "\nCapEff:\t0000000000000000\n" in status, "it is confined")
a.run("ip addr add 10.9.0.1/24 dev eth0; ip link set eth0 up")
b.run("ip addr add 10.9.0.2/24 dev eth0; ip link set eth0 up")
check(reached(a, "10.9.0.2", 30), "the guests see each other")
other = machine("internal-c", "--net", "internal,name=cellar,model=virtio-net")
other.run("ip addr add 10.9.0.3/24 dev eth0; ip link set eth0 up")
check(len(switches()) == 2 and not reached(other, "10.9.0.2", 4), "another network is another one")
other.off()


def transfer(source, target, address, port, mib):
    target.run(f"(sleep 600 | nc -l -p {port} > /tmp/in &)")
    time.sleep(0.5)
    text = source.run(f"dd if=/dev/urandom of=/tmp/out bs=1M count={mib} 2>/dev/null; sha256sum < /tmp/out; nc {address} {port} < /tmp/out", 240)
    wanted = re.search(r"[0-9a-f]{64}", text).group(0)
    deadline = time.time() + 30
    while time.time() < deadline:
        if wanted in target.run("sha256sum < /tmp/in", 60):
            return True
    return False


check(transfer(a, b, "10.9.0.2", 5001, 8), "8 MiB from virtio-net to e1000, where the switch cuts the segments")
check(transfer(b, a, "10.9.0.1", 5002, 8), "and back")
b.run("ip addr del 10.9.0.2/24 dev eth0; ip link set eth0 down; ip addr add 10.9.0.4/24 dev eth1; ip link set eth1 up")
check(reached(a, "10.9.0.4", 30) and transfer(a, b, "10.9.0.4", 5003, 8), "8 MiB between two virtio-net, in large segments")

killed = switches()
for pid in killed:
    os.kill(pid, signal.SIGKILL)
check(reached(a, "10.9.0.4", 60), "a killed switch is replaced")
new = switches()
check(new and not set(new) & set(killed), "by a new process")
a.off()
b.off()
deadline = time.time() + 20
while any(os.path.exists(f"/proc/{p}") for p in new) and time.time() < deadline:
    time.sleep(0.3)
check(not any(os.path.exists(f"/proc/{p}") for p in new), "and ends when nobody is there")
