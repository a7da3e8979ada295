# SPDX-License-Identifier: GPL-3.0-or-later
"""What the network tests share: a name server, data servers with checksums, and a guest's shell."""
import hashlib
import os
import socket
import struct
import threading
import time

from guestlib import check, fail, linux

MODULES = "virtio_pci,virtio_net,e1000,af_packet"
DHCP = ("printf '#!/bin/sh\\n[ \"$1\" = bound ] || exit 0\\nip addr flush dev $interface; ip addr add $ip/24 dev $interface\\n"
        "[ -n \"$router\" ] && ip route replace default via $router dev $interface metric $((10 + ${interface#eth}))\\n"
        "for s in $dns; do echo nameserver $s; done > /etc/resolv.conf\\n' > /tmp/dhcp; chmod 755 /tmp/dhcp")


def free_port(kind=socket.SOCK_STREAM, family=socket.AF_INET, address="127.0.0.1"):
    with socket.socket(family, kind) as s:
        s.bind((address, 0))
        return s.getsockname()[1]


def refused(e, what, wanted, *args):
    """gasthausctl of engine e ends with this message id."""
    code, _, err = e.try_ctl(*args)
    check(code == 1 and f"[{wanted}]" in err, f"{what}: {err.strip()}")


def answer(port, address="127.0.0.1", timeout=20):
    """What a TCP server says first; b"" where none answered in time."""
    deadline = time.time() + timeout
    while True:
        try:
            with socket.create_connection((address, port), 5) as s:
                s.settimeout(10)
                text = s.recv(100)
                if text:
                    return text
        except OSError:
            pass
        if time.time() > deadline:
            return b""
        time.sleep(0.3)


class NameServer(threading.Thread):
    """Answers A questions from a table, on loopback; counts what it was asked. The rest does not exist."""

    def __init__(self, names, tcp_only=(), address=("127.0.0.1", 0)):
        super().__init__(daemon=True)
        self.names, self.asked, self.tcp_only = names, [], tcp_only
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.port = self.socket.getsockname()[1]
        self.start()

    def answer(self, data):
        at, labels = 12, []
        while data[at]:
            labels.append(data[at + 1:at + 1 + data[at]].decode("ascii", "replace"))
            at += 1 + data[at]
        name, end = ".".join(labels).lower(), at + 5
        kind = struct.unpack(">H", data[at + 1:at + 3])[0]
        self.asked.append(name)
        address = self.names.get(name) if kind == 1 else None
        code = 0 if name in self.names else 3
        head = data[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, 1 if address else 0, 0, 0) + data[12:end]
        return head + (b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + socket.inet_aton(address) if address else b"")

    def run(self):
        while True:
            try:
                data, peer = self.socket.recvfrom(4096)
                self.socket.sendto(self.answer(data), peer)
            except (OSError, IndexError):
                continue

    def write_resolv_conf(self, path):
        with open(path + ".new", "w") as f:
            f.write(f"search example.test\nnameserver [127.0.0.1]:{self.port}\n")
        os.replace(path + ".new", path)


class Sink(threading.Thread):
    """Takes one connection at a time and keeps the SHA-256 of what came; or gives `data` to each."""

    def __init__(self, data=None):
        super().__init__(daemon=True)
        self.data, self.sums, self.bytes = data, [], 0
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.event = threading.Event()
        self.start()

    def run(self):
        while True:
            peer, _ = self.socket.accept()
            with peer:
                try:
                    if self.data is not None:
                        peer.sendall(self.data)
                        peer.shutdown(socket.SHUT_WR)
                        peer.recv(1)
                        continue
                    digest = hashlib.sha256()
                    while True:
                        piece = peer.recv(1 << 18)
                        if not piece:
                            break
                        digest.update(piece)
                        self.bytes += len(piece)
                    self.sums.append(digest.hexdigest())
                    self.event.set()
                except OSError:
                    continue


class Shell:
    """A busybox guest, one command at a time."""

    def __init__(self, name, *args, append="", env=None, vm=None, **kw):
        if env:
            os.environ.update(env)
        self.vm = vm or linux(name, f"quiet gh.modules={MODULES} {append}", *args, **kw)
        if not vm:
            self.vm.expect(r"GUEST-READY", 300)
        self.count = 0
        self.run(DHCP)

    def start(self, command):
        self.count += 1
        self.after = len(self.vm.text)
        self.vm.send(f"{command}; echo done-{self.count}-$?\n")

    def result(self, timeout=60):
        m = self.vm.expect(rf"^done-{self.count}-(\d+)$", timeout, after=self.after)
        text = self.vm.text[self.after:m.start()]
        return int(m.group(1)), text.split("\n", 1)[1] if "\n" in text else ""

    def run(self, command, timeout=60, want=0):
        self.start(command)
        code, text = self.result(timeout)
        if want is not None and code != want:
            print(text)
            fail(f"“{command}” ended with {code}")
        return text

    def dhcp(self, interface, timeout=60):
        self.run(f"ip link set {interface} up; udhcpc -q -n -t 10 -T 1 -i {interface} -s /tmp/dhcp", timeout)
        return self.run(f"ip -4 addr show dev {interface}")

    def off(self, status=0):
        self.vm.send("poweroff -f\n")
        check(self.vm.wait(60) == status, "the guest powers off in order")
