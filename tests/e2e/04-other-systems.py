#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
# gasthaus-test: short 1800
"""Systems of every kind to their screens, read as text: a floppy system of ours on three formats and as an
El Torito floppy, GRUB's rescue CD and floppy, memtest86+, iPXE, a 32-bit Debian kernel, Xen with a Debian
guest, GNU Mach.
Words on the command line choose some of them; without GH_ALL a quick few run."""
import os
import re
import subprocess
import sys
import tempfile

from guestlib import TOP, VM, Alone, Process, check, guest, linux

work = tempfile.mkdtemp(prefix="gh-systems-")
DATA_BYTES = {"720K": (80, 2, 9), "1440K": (80, 2, 18), "2880K": (80, 2, 36)}


def floppy_image(name):
    cylinders, heads, sectors = DATA_BYTES[name]
    last = cylinders * heads * sectors - 1
    path = f"{work}/{name}.img"
    subprocess.run(["nasm", "-f", "bin", f"-DLAST={last}", f"-DSECTORS={sectors}", f"-DHEADS={heads}", "-o", path,
                    f"{TOP}/tests/guest/boot-floppy.asm"], check=True)
    with open(path, "r+b") as f:
        f.truncate((last + 1) * 512)
        f.seek(last * 512)
        f.write(b"LAST")
    return path


def floppy(name):
    image = floppy_image(name)
    with Alone(f"floppy-{name}", "--floppy", image, "--boot", "a", memory="16M") as vm:
        text, shot = vm.wait_text(r"^keys>|WRONG", 60)
        for line in ("geometry ok", "last sector ok", "write ok", "16-bit protected mode ok"):
            check(line in text.splitlines(), f"{name} floppy: {line}")
        vm.type("echo 42")
        vm.wait_text(r"^keys> echo 42$", 20)
        check(True, f"{name} floppy: typed keys are echoed: {shot}")
    with open(image, "rb") as f:
        f.seek(-512, os.SEEK_END)
        check(f.read(4) == b"WROT", f"{name} floppy: the guest's write is in the image")


def eltorito():
    tree = f"{work}/eltorito"
    os.makedirs(tree)
    os.replace(floppy_image("1440K"), f"{tree}/boot.img")
    iso = f"{work}/eltorito.iso"
    subprocess.run(["xorriso", "-as", "mkisofs", "-quiet", "-V", "FLOPPY", "-b", "boot.img", "-c", "boot.cat", "-o", iso, tree],
                   check=True, stderr=subprocess.DEVNULL)
    with Alone("eltorito", "--cdrom", iso, "--boot", "d", memory="16M") as vm:
        # The emulated floppy is read-only: the system says so after its last sector.
        text, shot = vm.wait_text(r"WRONG|^keys>", 60)
        check("last sector ok" in text and "geometry ok" in text and "write ok" not in text,
              f"an El Torito floppy image boots from CD, all of it readable, none writable: {shot}")


def grub_cd():
    with Alone("grub-cd", "--cdrom", "/usr/lib/grub-rescue/grub-rescue-cdrom.iso", "--boot", "d") as vm:
        vm.wait_text(r"GNU GRUB +version", 90)
        vm.type("c")
        vm.wait_text(r"^grub>", 30)
        vm.type("ls\n")
        text, shot = vm.wait_text(r"\(cd", 30)
        check(True, f"GRUB's rescue CD reaches its prompt and lists the drives: {shot}")


def grub_floppy():
    image = f"{work}/grub.img"
    subprocess.run(["cp", "/usr/lib/grub-rescue/grub-rescue-floppy.img", image], check=True)
    os.truncate(image, 1474560)
    with Alone("grub-floppy", "--floppy", image, "--boot", "a") as vm:
        vm.wait_text(r"GNU GRUB +version|^grub>", 150)
        vm.type("c")
        text, shot = vm.wait_text(r"^grub>", 60)
        check(True, f"GRUB's rescue floppy reaches its prompt: {shot}")


def memtest(bits, image, *args):
    with Alone(f"memtest-{bits}", *args, memory="64M") as vm:
        vm.wait_text(r"^ *Memtest86\+", 90)
        text, shot = vm.wait_text(r"Pass +[1-9][0-9]*%|Pass.*[1-9][0-9]?%|Test #[1-9]", 120)
        check(re.search(r"Errors: 0\b", text), f"memtest86+ for {bits} bits runs ({image}): {shot}")


def memtest_kernels():
    memtest("x64", "direct kernel", "--kernel", "/boot/memtest86+x64.bin")
    memtest("ia32", "direct kernel", "--kernel", "/boot/memtest86+ia32.bin")


def memtest_cd():
    tree = f"{work}/memtest"
    os.makedirs(f"{tree}/isolinux")
    for f in ("/usr/lib/ISOLINUX/isolinux.bin", "/usr/lib/syslinux/modules/bios/ldlinux.c32"):
        subprocess.run(["cp", f, f"{tree}/isolinux/"], check=True)
    subprocess.run(["cp", "/boot/memtest86+x64.bin", f"{tree}/memtest"], check=True)
    with open(f"{tree}/isolinux/isolinux.cfg", "w") as f:
        f.write("DEFAULT m\nTIMEOUT 1\nLABEL m\n LINUX /memtest\n")
    iso = f"{work}/memtest.iso"
    subprocess.run(["xorriso", "-as", "mkisofs", "-quiet", "-b", "isolinux/isolinux.bin", "-c", "isolinux/boot.cat",
                    "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table", "-o", iso, tree],
                   check=True, stderr=subprocess.DEVNULL)
    memtest("cd", "isolinux", "--cdrom", iso, "--boot", "d")


def ipxe():
    with Alone("ipxe", "--cdrom", "/usr/lib/ipxe/ipxe.iso", "--boot", "d") as vm:
        text, shot = vm.wait_text(r"^iPXE [0-9]", 90)
        check(True, f"iPXE's CD shows its name: {shot}")
        vm.wait_text(r"No more network devices|No bootable|Press Ctrl-B|^iPXE>", 60)


def at_system():
    """Our own system for the 80286: see tests/guest/at-floppy.asm."""
    image = f"{work}/at.img"
    subprocess.run(["nasm", "-f", "bin", "-o", image, f"{TOP}/tests/guest/at-floppy.asm"], check=True)
    with Alone("at", "--floppy", image, "--boot", "a", memory="16M") as vm:
        text, shot = vm.wait_text(r"^keys>|WRONG", 90)
        for line in ("timer ticks ok", "extended memory ok", "A20 ok", "floppy DMA ok",
                     "ring 3, gates, tasks ok; CPU reset by the keyboard controller ok", "CPU reset by a triple fault ok"):
            check(line in text.splitlines(), f"a system for the PC/AT: {line}")


def old_floppies():
    """Other people's systems of the floppy age, most of them in real mode and 16-bit protected mode."""
    made = guest("old-floppies")

    def copy(name):
        subprocess.run(["cp", f"{made}/{name}", f"{work}/{name}"], check=True)
        return f"{work}/{name}"

    with Alone("dos-floppy", "--floppy", copy("dos.img"), "--boot", "a", memory="16M") as vm:
        _, shot = vm.wait_text(r"This is not a bootable disk", 60)
        check(True, f"a DOS floppy's boot sector says that it cannot be booted: {shot}")
    with Alone("grub-legacy", "--floppy", copy("grub-legacy.img"), "--boot", "a", memory="16M") as vm:
        vm.wait_text(r"^grub>", 60)
        vm.type("cat (fd0)+1\n")
        _, shot = vm.wait_text(r"GRUB .*Geom.*Hard Disk.*Read", 30)
        check(True, f"GRUB 0.97's floppy reaches its prompt and reads its own sectors: {shot}")
    with Alone("syslinux", "--floppy", copy("syslinux.img"), "--boot", "a", memory="32M") as vm:
        vm.wait_text(r"^boot:", 60)
        vm.type("legacy\n")
        _, shot = vm.wait_text(r"^grub>", 90)
        check(True, f"syslinux's floppy starts memdisk, which starts another floppy in memory: {shot}")
    with Alone("syslinux-ipxe", "--floppy", copy("syslinux.img"), "--boot", "a", memory="32M") as vm:
        vm.wait_text(r"^boot:", 60)
        vm.type("ipxe\n")
        _, shot = vm.wait_text(r"^iPXE [0-9]", 90)
        check(True, f"and iPXE from the same floppy: {shot}")
    with Alone("mbr", "--disk", f"{copy('mbr.img')},format=raw", "--boot", "c", memory="16M") as vm:
        vm.wait_text(r"^AF1|^MBR", 60)
        vm.type("1")
        _, shot = vm.wait_text(r"^grub>", 60)
        check(True, f"the package mbr's boot record asks, and boots the partition chosen: {shot}")
    with Alone("invaders", "--kernel", f"{made}/invaders.exec", memory="16M") as vm:
        _, shot = vm.wait_text(r"-\*- .*-\*- .*-\*-", 60)
        check(True, f"GRUB Invaders, a Multiboot kernel, starts: {shot}")


def linux32():
    vm = linux("linux32", "quiet", kind="linux32")
    vm.expect(r"GUEST-READY", 240)
    vm.expect(r"[#$] ", 60, after=vm.text.index("GUEST-READY"))
    vm.send("echo shell-$((6 * 7)) $(uname -m) CPUS=$(grep -c ^processor /proc/cpuinfo); poweroff -f\n")
    m = vm.expect(r"^shell-42 (i686) CPUS=1$", 60)
    check(vm.wait(60) == 0, f"a 32-bit Debian kernel runs a shell ({m.group(0)})")


def grub_iso(name, files, menu):
    """A CD whose GRUB starts these files by this menu entry."""
    tree = f"{work}/{name}-tree"
    os.makedirs(f"{tree}/boot/grub")
    for source, to in files:
        subprocess.run(["cp", source, f"{tree}/boot/{to}"], check=True)
    with open(f"{tree}/boot/grub/grub.cfg", "w") as f:
        f.write(f"set timeout=0\nmenuentry {name} {{\n{menu}\n}}\n")
    subprocess.run(["grub-mkrescue", "-o", f"{work}/{name}.iso", tree], check=True, capture_output=True)
    return f"{work}/{name}.iso"


def xen():
    """A hypervisor that keeps the rings, segments and page tables of its guest for itself, and Debian as that guest."""
    made, debian = guest("kernels"), guest("linux")
    iso = grub_iso("xen", [(f"{made}/xen.gz", "xen.gz"), (f"{debian}/vmlinuz", "vmlinuz"), (f"{debian}/initrd.gz", "initrd")],
                   "multiboot2 /boot/xen.gz console=com1 com1=115200,8n1 dom0_mem=512M dom0_max_vcpus=1\n"
                   "module2 /boot/vmlinuz console=hvc0\nmodule2 /boot/initrd")
    vm = Process([VM, "--accel", "soft", "--memory", "1G", "--cdrom", iso, "--boot", "d", "--serial", "stdio"], "xen")
    vm.expect(r"Xen version 4", 120)
    vm.expect(r"GUEST-READY", 300)
    vm.expect(r"[#$] ", 60, after=vm.text.index("GUEST-READY"))
    vm.send("echo dom0-$((6 * 7)) $(cat /sys/hypervisor/type); poweroff -f\n")
    vm.expect(r"^dom0-42 xen", 60)
    check(vm.wait(60) == 0, "Xen starts Debian as its first guest, which powers the machine off")


def mach():
    made = guest("kernels")
    vm = Process([VM, "--accel", "soft", "--memory", "512M", "--cdrom", grub_iso("mach", [(f"{made}/mach.gz", "mach.gz")],
                  "multiboot /boot/mach.gz console=com0"), "--boot", "d", "--serial", "stdio"], "mach")
    vm.expect(r"^GNU Mach 1", 90)
    vm.expect(r"No bootstrap code loaded", 60)
    vm.kill()
    check(True, "GNU Mach starts, and misses the servers it was not given")


systems = {"floppy-720K": lambda: floppy("720K"), "floppy-1440K": lambda: floppy("1440K"), "floppy-2880K": lambda: floppy("2880K"),
           "eltorito": eltorito, "grub-cd": grub_cd, "grub-floppy": grub_floppy, "memtest": memtest_kernels,
           "memtest-cd": memtest_cd, "ipxe": ipxe, "at": at_system, "old-floppies": old_floppies, "linux32": linux32, "xen": xen, "mach": mach}
QUICK = ["floppy-1440K", "eltorito", "grub-cd", "at", "ipxe"]
chosen = sys.argv[1:] or (list(systems) if os.environ.get("GH_ALL") else QUICK)
try:
    failed = []
    for name, run in systems.items():
        if name not in chosen:
            continue
        try:
            run()
        except SystemExit: # the others still run
            failed.append(name)
    check(not failed, f"all systems reach their screens{': not ' + ', '.join(failed) if failed else ''}")
finally:
    subprocess.run(["rm", "-rf", work])
