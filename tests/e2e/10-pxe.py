#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
# gasthaus-test: short 500
"""Network boot with each card's ROM: SeaBIOS starts iPXE, it asks DHCP, takes a script by TFTP from the NAT and a
kernel by HTTP from the host, and Linux comes up. Without a network the machine says so and goes on."""
import http.server
import os
import shutil
import tempfile
import threading
import time

from guestlib import VM, Alone, Process, check, guest

folder = tempfile.mkdtemp(prefix="gh-pxe-")
image = guest("linux")


class Files(http.server.SimpleHTTPRequestHandler):
    asked = []

    def __init__(self, *args):
        super().__init__(*args, directory=image)

    def log_message(self, text, *args):
        Files.asked.append(self.path)


web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files)
threading.Thread(target=web.serve_forever, daemon=True).start()
with open(f"{folder}/boot.ipxe", "w") as f:
    f.write(f"#!ipxe\necho script-came-by-tftp ${{net0/mac}}\nkernel http://10.0.2.2:{web.server_port}/vmlinuz console=ttyS0 quiet gh.test=boot\n"
            f"initrd http://10.0.2.2:{web.server_port}/initrd.gz\nboot\n")

for model in ("e1000", "virtio-net"):
    Files.asked.clear()
    vm = Process([VM, "--memory", "256M", "--accel", "soft", "--boot", "n", "--serial", "stdio", "--no-reboot", "--net",
                  f"nat,model={model},mac=52:54:00:aa:bb:01,tftp={folder},bootfile=boot.ipxe,host-loopback"], f"pxe-{model}")
    vm.expect(r"GUEST-READY", 200)
    check(Files.asked == ["/vmlinuz", "/initrd.gz"], f"{model}: iPXE took kernel and initial RAM disk by HTTP")
    check(vm.wait(60) == 0, f"{model}: the Linux that was loaded runs and powers off")

# The prompt, and the end of a vain attempt: a cable that is not plugged in.
with Alone("pxe-unplugged", "--net", "none,model=e1000,link=off", "--boot", "nc", memory="64M") as vm:
    text, _ = vm.wait_text(r"iPXE \(http://ipxe.org\) 00:..\.. ", 60)
    check("SeaBIOS" in text, "SeaBIOS starts the card's ROM")
    text, path = vm.wait_text(r"82540em", 60)
    check("Link:down" in text, "iPXE drives the card and sees that the cable is not plugged in")
    vm.wait_text(r"No bootable device|Boot failed", 120)
    check(True, "the machine goes on to the disk")

# UEFI finds the card's driver in its ROM, and the network with it.
code, store = "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"
if os.path.exists(code) and os.path.exists(store):
    shutil.copyfile(store, f"{folder}/vars.fd")
    with Alone("pxe-uefi", "--bios", code, "--nvram", f"{folder}/vars.fd", "--net", "nat,model=e1000", memory="512M") as vm:
        deadline = time.time() + 180
        while time.time() < deadline and not vm.ask("net-status", adapter="net0")["ok"].get("address"):
            time.sleep(1)
        check(vm.ask("net-status", adapter="net0")["ok"]["address"] == "10.0.2.15", "under UEFI the e1000's ROM takes an address by DHCP")
        vm.screenshot()
shutil.rmtree(folder)
