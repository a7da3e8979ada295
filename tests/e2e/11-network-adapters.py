#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
# gasthaus-test: long 3000
"""Every adapter: DHCP, a name, 256 MiB both ways over TCP with checksums right."""
import hashlib
import os
import sys
import tempfile
import time

from guestlib import check, fail
from netlib import NameServer, Shell, Sink

MIB = int(os.environ.get("GH_MIB", "256"))
folder = tempfile.mkdtemp(prefix="gh-net-")
server = NameServer({"inn.example.test": "10.0.2.2"})
server.write_resolv_conf(f"{folder}/resolv.conf")
data = os.urandom(1 << 20) * MIB
digest = hashlib.sha256(data).hexdigest()
for model in sys.argv[1:] or ("virtio-net", "e1000"):
    s = Shell(f"network-{model}", "--net", f"nat,model={model},host-loopback", env={"GH_RESOLV_CONF": f"{folder}/resolv.conf"}, memory="512M")
    check("inet 10.0.2.15/24" in s.dhcp("eth0"), f"{model}: an address by DHCP")
    check("Address: 10.0.2.2" in s.run("nslookup inn.example.test"), f"{model}: a name is resolved")
    give, start = Sink(data), time.time()
    check(digest in s.run(f"nc inn.example.test {give.port} < /dev/null | sha256sum", 900), f"{model}: {MIB} MiB arrive in the guest")
    print(f"{model}: {MIB / (time.time() - start):.1f} MiB/s with sha256sum in the guest")
    take, start = Sink(), time.time()
    text = s.run(f"dd if=/dev/urandom of=/tmp/piece bs=1M count=16 2>/dev/null; p() {{ i=0; while [ $i -lt {MIB // 16} ]; do cat /tmp/piece; i=$((i + 1)); done; }}; "
              f"p | nc 10.0.2.2 {take.port}; p | sha256sum", 1800)
    if not take.event.wait(120):
        fail(f"{model}: the guest's data did not arrive")
    check(take.sums[0] in text and take.bytes == MIB << 20, f"{model}: {MIB} MiB arrive from the guest")
    print(f"{model}: {MIB / (time.time() - start):.1f} MiB/s out, with sha256sum")
    s.off()
