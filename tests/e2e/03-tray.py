#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
# gasthaus-test: short 400
"""A CD drive's tray, moved by Linux and from outside: whoever watches the machine is told each time; a door that
the guest locked is not opened behind its back."""
from guestlib import Alone, check, guest

g = guest("linux")
with Alone("tray", "--kernel", f"{g}/vmlinuz", "--initrd", f"{g}/initrd.gz", "--append",
           "console=tty0 console=ttyS0 quiet gh.modules=ata_piix,cdrom,sr_mod,isofs", "--cdrom", "/usr/lib/grub-rescue/grub-rescue-cdrom.iso",
           memory="256M") as vm:
    vm.wait_text(r"^/ #", 300)
    vm.type("mount /dev/sr0 /mnt; ls /mnt; echo mounted-$((6*7))\n")
    vm.wait_text(r"mounted-42", 60)
    code = vm.try_ask("eject", drive="cdrom0")
    check(code.get("error", {}).get("id") == "MediumLocked", f"a mounted CD is not taken away: {code.get('error', {}).get('text')}")
    vm.type("echo 1 > /proc/sys/dev/cdrom/autoeject; umount /mnt\n") # with the last close
    vm.wait_event({"event": "medium", "drive": "cdrom0", "present": False}, 60)
    check(True, "the guest opens the tray: told")
    vm.type("cd /proc/sys/dev/cdrom; echo 0 > autoeject; echo 1 > autoclose; dd if=/dev/sr0 of=/dev/null count=1; cd /\n")
    vm.wait_event({"event": "medium", "drive": "cdrom0", "present": True}, 60)
    check(True, "and closes it: told")
    vm.ask("eject", drive="cdrom0")
    vm.wait_event({"event": "medium", "drive": "cdrom0", "present": False}, 30)
    with open("/usr/lib/ipxe/ipxe.iso", "rb") as f:
        vm.ask("insert", send_fd=f.fileno(), drive="cdrom0")
    vm.wait_event({"event": "medium", "drive": "cdrom0", "present": True}, 30)
    vm.type("clear; mount /dev/sr0 /mnt && ls /mnt\n")
    text, shot = vm.wait_text(r"IPXE|ipxe", 60)
    check(True, f"a new medium is seen by the guest: {shot}")
