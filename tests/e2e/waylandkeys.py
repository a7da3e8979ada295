# SPDX-License-Identifier: GPL-3.0-or-later
"""A keyboard and a mouse on a Wayland compositor. As a real one the keyboard has a layout (US) and sends key codes, unlike tools that make up
a layout for each text; the mouse moves by steps, which a locked pointer gets too. Speaks just enough of the protocol for
zwp_virtual_keyboard_v1 and zwlr_virtual_pointer_v1."""
import array
import ctypes
import os
import socket
import struct
import time

CODES = {c: 2 + i for i, c in enumerate("1234567890-=")} | {c: 16 + i for i, c in enumerate("qwertyuiop[]")} | \
    {c: 30 + i for i, c in enumerate("asdfghjkl;'`")} | {c: 44 + i for i, c in enumerate("zxcvbnm,./")} | {"\\": 43, " ": 57}
SHIFTED = dict(zip('!@#$%^&*()_+{}|:"~<>?', "1234567890-=[]\\;'`,./"))
NAMES = {"Escape": 1, "Tab": 15, "Return": 28, "ctrl": 29, "shift": 42, "alt": 56, "F11": 87, "F10": 68, "Delete": 111, "Down": 108}
MODIFIERS = {"shift": 1, "ctrl": 4, "alt": 8}


def keymap():
    """The text of the US layout, of libxkbcommon."""
    xkb = ctypes.CDLL("libxkbcommon.so.0")
    for name in ("xkb_context_new", "xkb_keymap_new_from_names"):
        getattr(xkb, name).restype = ctypes.c_void_p
    xkb.xkb_keymap_new_from_names.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int]
    xkb.xkb_keymap_get_as_string.argtypes = [ctypes.c_void_p, ctypes.c_int]
    xkb.xkb_keymap_get_as_string.restype = ctypes.c_char_p
    names = (ctypes.c_char_p * 5)(b"evdev", b"pc105", b"us", None, None)
    return xkb.xkb_keymap_get_as_string(xkb.xkb_keymap_new_from_names(xkb.xkb_context_new(0), names, 0), 1)


def text(s):
    raw = s.encode() + b"\0"
    return struct.pack("=I", len(raw)) + raw + b"\0" * (-len(raw) % 4)


class Hands:
    def __init__(self, path):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(30)
        self.s.connect(path)
        self.next = 3
        self.send(1, 1, struct.pack("=I", 2))  # wl_display.get_registry
        names, data = {}, b""
        self.send(1, 0, struct.pack("=I", 3))  # wl_display.sync
        while True:
            data += self.s.recv(65536)
            while len(data) >= 8 and len(data) >= struct.unpack_from("=IHH", data)[2]:
                obj, op, size = struct.unpack_from("=IHH", data)
                body, data = data[8:size], data[size:]
                if (obj, op) == (2, 0):
                    name, length = struct.unpack_from("=II", body)
                    interface = body[8:8 + length - 1].decode()
                    names.setdefault(interface, name)
                if obj == 3:
                    break
            else:
                continue
            break
        seat, manager, mice, self.keyboard, self.mouse = 4, 5, 6, 7, 8
        self.send(2, 0, struct.pack("=I", names["wl_seat"]) + text("wl_seat") + struct.pack("=II", 1, seat))
        self.send(2, 0, struct.pack("=I", names["zwp_virtual_keyboard_manager_v1"]) + text("zwp_virtual_keyboard_manager_v1") +
                  struct.pack("=II", 1, manager))
        self.send(2, 0, struct.pack("=I", names["zwlr_virtual_pointer_manager_v1"]) + text("zwlr_virtual_pointer_manager_v1") +
                  struct.pack("=II", 1, mice))
        self.send(manager, 0, struct.pack("=II", seat, self.keyboard))
        self.send(mice, 0, struct.pack("=II", seat, self.mouse))
        layout = keymap() + b"\0"
        fd = os.memfd_create("keymap")
        os.write(fd, layout)
        self.send(self.keyboard, 0, struct.pack("=II", 1, len(layout)), fd)
        os.close(fd)
        self.held = []

    def send(self, obj, op, body, fd=None):
        packet = struct.pack("=IHH", obj, op, 8 + len(body)) + body
        ancillary = [] if fd is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
        self.s.sendmsg([packet], ancillary)

    def one(self, code, down):
        self.send(self.keyboard, 1, struct.pack("=III", int(time.monotonic() * 1000) & 0x7fffffff, code, down))

    def move(self, dx, dy):
        """One step of the mouse."""
        self.send(self.mouse, 0, struct.pack("=Iii", int(time.monotonic() * 1000) & 0x7fffffff, dx * 256, dy * 256))
        self.send(self.mouse, 4, b"")

    def modifiers(self):
        self.send(self.keyboard, 2, struct.pack("=IIII", sum(MODIFIERS.get(h, 0) for h in self.held), 0, 0, 0))

    def press(self, name):
        """A chord such as ctrl+alt or F11: pressed in this order, let go in the other."""
        parts = name.split("+")
        for part in parts:
            self.one(NAMES.get(part) or CODES[part], 1)
            self.held.append(part)
            self.modifiers()
            time.sleep(0.03)
        for part in reversed(parts):
            self.one(NAMES.get(part) or CODES[part], 0)
            self.held.remove(part)
            self.modifiers()
            time.sleep(0.03)

    def type(self, words):
        for c in words:
            if c in SHIFTED or c.isupper():
                self.press("shift+" + SHIFTED.get(c, c.lower()))
            else:
                self.press(c)
