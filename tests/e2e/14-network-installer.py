#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
# gasthaus-test: long 1800
"""The Debian installer's network step, with each card: DHCP, a name, and a file by HTTP."""
import http.server
import os
import subprocess
import sys
import tempfile
import threading
import time

from guestlib import VM, Process, check, guest
from netlib import NameServer

folder = tempfile.mkdtemp(prefix="gh-di-")
subprocess.run(["xorriso", "-osirrox", "on", "-indev", f"{guest('installer-iso')}/installer.iso", "-extract", "/text", f"{folder}/text"],
               check=True, stderr=subprocess.DEVNULL)
asked = []
arrived = threading.Event()


class Mirror(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        asked.append((self.headers.get("Host", ""), self.path))
        arrived.set()
        self.send_error(404)

    def log_message(self, *unused):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
threading.Thread(target=server.serve_forever, daemon=True).start()
names = NameServer({"mirror.example.test": "10.0.2.2"})
names.write_resolv_conf(f"{folder}/resolv.conf")
os.environ["GH_RESOLV_CONF"] = f"{folder}/resolv.conf"
for model in sys.argv[1:] or ("virtio-net", "e1000"):
    asked.clear()
    arrived.clear()
    vm = Process([VM, "--memory", "1G", "--accel", "soft", "--kernel", f"{folder}/text/linux", "--initrd", f"{folder}/text/initrd.gz", "--append",
                  "console=ttyS0 DEBIAN_FRONTEND=text auto=true priority=critical locale=en_US keymap=us hostname=guest domain=example.test "
                  f"url=http://mirror.example.test:{server.server_address[1]}/d-i/preseed.cfg",
                  "--serial", "stdio", "--net", f"nat,model={model},host-loopback"], f"installer-{model}")
    deadline = time.time() + 700
    while time.time() < deadline and not arrived.is_set() and vm.p.poll() is None and "Prompt:" not in vm.text[-200:]:
        vm.pump(1)
    if not arrived.is_set():
        print(vm.text[-3000:])
    check(arrived.is_set(), f"{model}: the installer has the network and fetches its answers: {asked[:1]}")
    check(asked[0][0].startswith("mirror.example.test") and asked[0][1] == "/d-i/preseed.cfg", f"{model}: from the server it was told by name")
    check("mirror.example.test" in names.asked, f"{model}: which was resolved by the host's server")
    vm.kill()
