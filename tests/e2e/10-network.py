#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
# gasthaus-test: short 400
"""NAT as a guest sees it: DHCP, names from the host's servers of the moment, TCP both ways with checksums, the
host's loopback closed, and a backend that is killed during a transfer."""
import hashlib
import os
import signal
import socket
import struct
import subprocess
import tempfile
import time

from guestlib import check, fail
from netlib import NameServer, Shell, Sink

folder = tempfile.mkdtemp(prefix="gh-net-")
conf = f"{folder}/resolv.conf"
first, second = NameServer({"inn.example.test": "10.0.3.2"}), NameServer({"other.example.test": "10.0.3.2"})
first.write_resolv_conf(conf)
stream = socket.socket(socket.AF_UNIX)
stream.bind(f"{folder}/stream")
stream.listen()
s = Shell("network", "--net", "nat,model=virtio-net,mac=52:54:00:11:22:33", "--net", "nat,model=virtio-net,network=10.0.3.0,host-loopback",
          "--net", f"stream,path={folder}/stream,model=virtio-net,mac=52:54:00:aa:bb:cc",
          env={"GH_RESOLV_CONF": conf})
backends = [int(p) for p in subprocess.run(["pgrep", "-P", str(s.vm.p.pid), "-f", "gasthaus-backend net"], capture_output=True, text=True).stdout.split()]
check(len(backends) == 2, "each network has its own process")
for pid in backends:
    status = open(f"/proc/{pid}/status").read()
    check("\nSeccomp:\t2\n" in status and "\nNoNewPrivs:\t1\n" in status and "\nCapEff:\t0000000000000000\n" in status,
          f"network process {pid} is confined")
    check(all("socket:" in os.readlink(f"/proc/{pid}/fd/{n}") or "/dev/null" in os.readlink(f"/proc/{pid}/fd/{n}") for n in os.listdir(f"/proc/{pid}/fd") if n != "2"),
          "it has sockets and nothing else open")

check("inet 10.0.2.15/24" in s.dhcp("eth0"), "an address by DHCP")
check("inet 10.0.3.15/24" in s.dhcp("eth1"), "and one in another network")
check("52:54:00:11:22:33" in s.run("cat /sys/class/net/eth0/address"), "the card has the given hardware address")

# ---- names ----
check("Address: 10.0.3.2" in s.run("nslookup inn.example.test"), "a name is resolved by the server on the host's loopback")
check("NXDOMAIN" in s.run("nslookup nowhere.example.test", want=None), "a name that does not exist does not")
check("inn.example.test" in first.asked, "that server was asked")
second.write_resolv_conf(conf)
time.sleep(1)
check("Address: 10.0.3.2" in s.run("nslookup other.example.test"), "a changed resolv.conf is followed")
check("other.example.test" in second.asked and "other.example.test" not in first.asked, "by asking the new server")

# ---- loopback ----
target = Sink()
for address in ("10.0.2.2", "127.0.0.1"):
    s.run(f"ip route replace {address} via 10.0.2.2 dev eth0; nc -w 3 {address} {target.port} < /dev/null", want=1)
check(not target.sums, "the host's loopback cannot be reached")

check("1 packets received" in s.run("ping -c 1 -s 3000 -W 10 10.0.2.2"), "fragments go both ways")

# ---- data ----
data = os.urandom(16 << 20)
give = Sink(data)
text = s.run(f"nc 10.0.3.2 {give.port} < /dev/null | sha256sum", 120)
check(hashlib.sha256(data).hexdigest() in text, "16 MiB arrive in the guest")
take = Sink()
text = s.run(f"dd if=/dev/urandom of=/tmp/data bs=1M count=16 2>/dev/null; sha256sum < /tmp/data; nc 10.0.3.2 {take.port} < /tmp/data", 120)
if not take.event.wait(60):
    fail("the guest's data did not arrive")
check(take.sums[0] in text, "16 MiB arrive from the guest")

# ---- what passt and QEMU's stream netdev speak: a length, a frame ----
peer, _ = stream.accept()
peer.settimeout(30)
s.run("ip addr add 10.7.0.2/24 dev eth2; ip link set eth2 up; (ping -c 3 -W 5 10.7.0.1 > /dev/null &)")
while True:
    size = struct.unpack(">I", peer.recv(4, socket.MSG_WAITALL))[0]
    frame = peer.recv(size, socket.MSG_WAITALL)
    if frame[12:14] == b"\x08\x06":
        break
check(frame[6:12] == bytes.fromhex("525400aabbcc") and frame[38:42] == bytes([10, 7, 0, 1]), "a stream peer gets the guest's ARP question")
reply = frame[6:12] + bytes.fromhex("020000000001") + frame[12:20] + b"\0\2" + bytes.fromhex("020000000001") + frame[38:42] + frame[22:32]
peer.sendall(struct.pack(">I", len(reply)) + reply)
deadline = time.time() + 20
while "02:00:00:00:00:01" not in s.run("cat /proc/net/arp") and time.time() < deadline:
    time.sleep(0.3)
check("02:00:00:00:00:01" in s.run("cat /proc/net/arp"), "and its answer reaches the guest")
peer.close()

# ---- a killed backend ----
s.run(f"(nc 10.0.3.2 {Sink().port} < /dev/zero > /dev/null 2>&1 &)")
time.sleep(1)
for pid in backends:
    os.kill(pid, signal.SIGKILL)
time.sleep(0.1)
deadline = time.time() + 60
while time.time() < deadline:
    new = [int(p) for p in subprocess.run(["pgrep", "-P", str(s.vm.p.pid), "-f", "gasthaus-backend net"], capture_output=True, text=True).stdout.split()]
    if len(new) == 2 and not set(new) & set(backends):
        break
    time.sleep(0.2)
else:
    fail("the killed networks were not started again")
check(True, "killed networks are started again")
s.run("killall nc", want=None)
check("Address: 10.0.3.2" in s.run("ip route replace default via 10.0.2.2 dev eth0; nslookup other.example.test", 90),
      "the machine lives and is online again")
s.off()
