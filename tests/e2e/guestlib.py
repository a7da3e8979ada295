# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts machines the way a person does and watches what comes out: for the e2e tests and benchmarks."""
import array
import atexit
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time

TOP = os.environ.get("GH_TOP") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("GH_BUILD") or f"{TOP}/build"
OUT = os.environ.get("GH_OUT") or f"{BUILD}/test-output"
VM = f"{BUILD}/src/engine/machine/gasthaus-vm"
os.makedirs(OUT, exist_ok=True)


def skip(why):
    print(f"skipped: {why}")
    sys.exit(77)


def fail(why):
    print(f"FAILED: {why}")
    sys.exit(1)


def check(condition, what):
    if not condition:
        fail(what)
    print(f"ok: {what}")


def guest(kind):
    """The folder of a guest image; made from packages at first use."""
    p = subprocess.run([f"{TOP}/tools/guest-image", kind], stdout=subprocess.PIPE, text=True)
    if p.returncode:
        fail(f"tools/guest-image {kind} failed")
    return p.stdout.strip().splitlines()[-1]


started = []


def end_all():
    """Nothing that a test started outlives it, however it ends."""
    for p in started:
        if p.poll() is None:
            try:
                os.killpg(p.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


atexit.register(end_all)
signal.signal(signal.SIGTERM, lambda *unused: sys.exit(143))


class Process:
    """A program with its output on a pipe, its input at hand, and CPU time at the end."""

    def __init__(self, args, name, env=None, cwd=None):
        print("+", " ".join(args), flush=True)
        self.log = open(f"{OUT}/{name}.serial", "wb")
        runtime = tempfile.mkdtemp(prefix="gh-run-")
        env = dict(os.environ, **(env or {}))
        env.setdefault("XDG_RUNTIME_DIR", runtime)
        self.p = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  env=env, cwd=cwd, start_new_session=True)
        started.append(self.p)
        os.set_blocking(self.p.stdout.fileno(), False)
        self.text = ""
        self.start = time.time()

    def pump(self, timeout):
        fd = self.p.stdout.fileno()
        ready, _, _ = select.select([fd], [], [], timeout)
        if not ready:
            return True
        data = os.read(fd, 65536)
        if not data:
            return False
        self.log.write(data)
        self.log.flush()
        self.text += data.decode("utf-8", "replace").replace("\r", "")
        return True

    def expect(self, pattern, timeout, after=0):
        """Waits until the output from offset `after` on matches; returns the match."""
        deadline = time.time() + timeout
        while True:
            m = re.compile(pattern, re.M).search(self.text, after)
            if m:
                return m
            left = deadline - time.time()
            if left <= 0:
                print(self.text[-3000:])
                self.kill()
                fail(f"“{pattern}” did not appear within {timeout} s")
            if not self.pump(min(left, 1.0)):
                m = re.compile(pattern, re.M).search(self.text, after)
                if m:
                    return m
                print(self.text[-3000:])
                fail(f"the program ended (status {self.p.wait()}) before “{pattern}” appeared")

    def send(self, text):
        self.p.stdin.write(text.encode())
        self.p.stdin.flush()

    def wait(self, timeout):
        """Reads to the end; returns the exit status."""
        deadline = time.time() + timeout
        while time.time() < deadline:
            if not self.pump(0.5):
                break
        try:
            return self.p.wait(max(0.1, deadline - time.time()))
        except subprocess.TimeoutExpired:
            self.kill()
            fail(f"still running after {timeout} s")

    def kill(self):
        try:
            os.killpg(self.p.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.p.wait()


def cpu_seconds(pgid):
    """User and system time of all processes of a group so far, and of the ended ones they waited for."""
    total = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[2]) == pgid:
            total += sum(map(int, fields[11:15]))
    return total / os.sysconf("SC_CLK_TCK")


def linux(name, append, *args, memory="256M", cpus=1, accel="soft", kind="linux"):
    g = guest(kind)
    return Process([VM, "--memory", memory, "--cpus", str(cpus), "--accel", accel, "--kernel", f"{g}/vmlinuz",
                    "--initrd", f"{g}/initrd.gz", "--append", f"console=ttyS0 {append}", "--serial", "stdio",
                    "--no-reboot", *args], name)


class Pixels:
    """A screenshot's pixels, sampled."""

    def __init__(self, path):
        size = subprocess.run(["identify", "-format", "%w %h", path], capture_output=True, text=True, check=True).stdout.split()
        self.width, self.height = int(size[0]), int(size[1])
        raw = subprocess.run(["convert", path, "-depth", "8", "rgb:-"], capture_output=True, check=True).stdout
        self.data = [tuple(raw[i:i + 3]) for i in range(0, len(raw), 3 * 7)]

    def share(self, colour, tolerance):
        """How much of the picture has about this colour."""
        near = sum(all(abs(a - b) <= tolerance for a, b in zip(p, colour)) for p in self.data)
        return near / max(1, len(self.data))

    def colours(self):
        return len(set(self.data))

    def differs(self, other):
        return self.data != other.data


def pixels(path):
    return Pixels(path)


def make_boot_iso(folder, append, kind="linux"):
    """A bootable CD (isolinux) of a guest's kernel and initramfs."""
    g, tree = guest(kind), f"{folder}/iso-tree"
    os.makedirs(f"{tree}/isolinux", exist_ok=True)
    for f in ("/usr/lib/ISOLINUX/isolinux.bin", "/usr/lib/syslinux/modules/bios/ldlinux.c32"):
        subprocess.run(["cp", f, f"{tree}/isolinux/"], check=True)
    subprocess.run(["cp", f"{g}/vmlinuz", f"{tree}/linux"], check=True)
    subprocess.run(["cp", f"{g}/initrd.gz", f"{tree}/initrd.gz"], check=True)
    open(f"{tree}/isolinux/isolinux.cfg", "w").write(
        f"DEFAULT linux\nTIMEOUT 1\nLABEL linux\n KERNEL /linux\n APPEND initrd=/initrd.gz {append}\n")
    subprocess.run(["xorriso", "-as", "mkisofs", "-quiet", "-J", "-R", "-V", "GASTHAUS", "-b", "isolinux/isolinux.bin", "-c",
                    "isolinux/boot.cat", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table", "-o",
                    f"{folder}/boot.iso", tree], check=True, stderr=subprocess.DEVNULL)
    return f"{folder}/boot.iso"


texts_kept = {}


def wait_text(screenshot, name, pattern, timeout, every):
    from screentext import read_screen
    deadline, lines = time.time() + timeout, []
    while time.time() < deadline:
        path = screenshot()
        lines = read_screen(path)
        if any(re.search(pattern, line) for line in lines):
            texts_kept[name] = texts_kept.get(name, 0) + 1
            kept = f"{OUT}/{name}-text{texts_kept[name]}.png"
            os.replace(path, kept)
            return "\n".join(lines), kept
        time.sleep(every)
    print("\n".join(lines))
    fail(f"“{pattern}” did not appear on the screen of {name} within {timeout} s; last picture {path}")


class Alone:
    """gasthaus-vm without a daemon, watched and typed to through its control socket."""

    def __init__(self, name, *args, memory="128M", cpus=1, accel="soft"):
        self.name, self.shots, self.ids, self.events = name, 0, 0, []
        self.folder = tempfile.mkdtemp(prefix="gh-alone-")
        path = f"{self.folder}/control"
        args = [VM, "--name", name, "--memory", memory, "--cpus", str(cpus), "--accel", accel, "--control", f"unix:{path}", *args]
        print("+", " ".join(args), flush=True)
        self.p = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=open(f"{OUT}/{name}.serial", "wb"),
                                  stderr=subprocess.STDOUT, env=dict(os.environ, XDG_RUNTIME_DIR=self.folder), start_new_session=True)
        started.append(self.p)
        self.control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control.settimeout(30)
        deadline = time.time() + 15
        while True:
            try:
                self.control.connect(path)
                break
            except OSError:
                if self.p.poll() is not None or time.time() > deadline:
                    print(open(f"{OUT}/{name}.serial").read())
                    fail(f"{name} did not start")
                time.sleep(0.1)
        self.ask("hello", version=1, client="test")

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        if self.p.poll() is None:
            os.killpg(self.p.pid, signal.SIGKILL)
        self.p.wait()
        subprocess.run(["rm", "-rf", self.folder])

    def ask(self, verb, send_fd=None, **args):
        reply = self.try_ask(verb, send_fd, **args)
        if "ok" not in reply:
            fail(f"{self.name}, {verb}: {reply}")
        return reply

    def try_ask(self, verb, send_fd=None, **args):
        self.ids += 1
        ancillary = [] if send_fd is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [send_fd]))]
        self.control.sendmsg([json.dumps(dict(args, id=self.ids, verb=verb, **({} if send_fd is None else {"fd": 0}))).encode()], ancillary)
        while True:
            data = self.control.recv(65536)
            if not data:
                fail(f"{self.name} closed its control socket")
            reply = json.loads(data)
            if "event" in reply:
                self.events.append(reply)
            if reply.get("id") == self.ids:
                return reply

    def wait_event(self, wanted, timeout):
        """The first event that has all of wanted; it and the ones before it are forgotten."""
        deadline = time.time() + timeout
        while time.time() < deadline:
            while self.events:
                event = self.events.pop(0)
                if wanted.items() <= event.items():
                    return event
            self.ask("status")
            time.sleep(0.3)
        fail(f"{self.name} did not tell {wanted} within {timeout} s")

    def screenshot(self):
        self.shots += 1
        path = f"{OUT}/{self.name}-{self.shots % 10}.png"
        with open(path, "wb") as f:
            self.ask("screenshot", send_fd=f.fileno())
        return path

    def type(self, text):
        self.ask("send-keys", text=text)

    def wait_text(self, pattern, timeout, every=1):
        """Reads the text screen until a line matches; returns its text and the path of the picture."""
        return wait_text(self.screenshot, self.name, pattern, timeout, every)


class Engine:
    """A daemon of its own: private folders, gasthausctl, and everything is stopped at the end."""

    def __init__(self, name):
        self.name = name
        self.folder = tempfile.mkdtemp(prefix=f"gh-{name}-")
        os.mkdir(f"{self.folder}/run", 0o700)
        self.env = dict(os.environ, XDG_RUNTIME_DIR=f"{self.folder}/run", XDG_DATA_HOME=f"{self.folder}/data",
                        HOME=self.folder, LC_ALL="C.UTF-8", XDG_CACHE_HOME=os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")))
        self.env.pop("DBUS_SESSION_BUS_ADDRESS", None)
        self.env.pop("GASTHAUS_MACHINES", None)
        self.machines = f"{self.folder}/data/gasthaus/machines"
        self.shots = 0

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        for m in self.json("list") if os.path.isdir(self.machines) else []:
            if m["state"] != "off":
                self.try_ctl("stop", m["name"])
        self.kill_daemon()
        for pid in self.processes("gasthaus-vm") + self.processes("gasthaus-image"):
            os.kill(pid, signal.SIGKILL)
        subprocess.run(["rm", "-rf", self.folder])

    def try_ctl(self, *args):
        p = subprocess.run([f"{BUILD}/src/cli/gasthausctl", *args], capture_output=True, text=True, env=self.env, timeout=300,
                           stdin=subprocess.DEVNULL)
        return p.returncode, p.stdout, p.stderr

    def ctl(self, *args):
        code, out, err = self.try_ctl(*args)
        if code:
            fail(f"gasthausctl {' '.join(args)}: {err.strip()}")
        return out

    def json(self, *args):
        return json.loads(self.ctl("--json", *args))

    def processes(self, program):
        """Our own ones: they carry our runtime folder in their environment."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.path.basename(os.readlink(f"/proc/{pid}/exe")).removesuffix(" (deleted)") != program:
                    continue
                if f"{self.folder}/run".encode() in open(f"/proc/{pid}/environ", "rb").read() or program == "gasthaus-vm" and \
                        self.folder.encode() in open(f"/proc/{pid}/cmdline", "rb").read():
                    found.append(int(pid))
            except OSError:
                continue
        return found

    def kill_daemon(self):
        for pid in self.processes("gasthausd"):
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)

    def wait_state(self, machine, state, timeout=30):
        deadline = time.time() + timeout
        while time.time() < deadline:
            if self.json("show", machine)["state"] == state:
                return
            time.sleep(0.2)
        fail(f"“{machine}” is not {state} after {timeout} s")

    def screenshot(self, machine):
        self.shots += 1
        path = f"{OUT}/{self.name}-{machine}-{self.shots % 10}.png"
        self.ctl("screenshot", machine, path)
        return path

    def wait_screen(self, machine, wanted, timeout):
        """Looks every few seconds; returns the path of the picture that fits."""
        deadline = time.time() + timeout
        while time.time() < deadline:
            path = self.screenshot(machine)
            if wanted(Pixels(path)):
                kept = f"{OUT}/{self.name}-{machine}.png"
                os.replace(path, kept)
                return kept
            time.sleep(3)
        fail(f"the screen of “{machine}” did not show what was expected within {timeout} s; last picture {path}")

    def wait_text(self, machine, pattern, timeout, every=2):
        """Reads the text screen until a line matches; returns its text and the path of the picture."""
        return wait_text(lambda: self.screenshot(machine), f"{self.name}-{machine}", pattern, timeout, every)

    def console(self, machine):
        p = Process([f"{BUILD}/src/cli/gasthausctl", "console", machine], f"{self.name}-{machine}", env=self.env)
        return p
