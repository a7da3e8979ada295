#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
# gasthaus-test: short 300
"""The process side of a machine: folder, lock, status, control socket, sandbox, backends, and every way to end."""
import array
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import zlib

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from guestlib import VM, check, fail

UUID = "11111111-2222-3333-4444-555555555555"
RUNTIME = tempfile.mkdtemp(prefix="gh-sup-")
FOLDER = f"{RUNTIME}/gasthaus/{UUID}"
ENV = dict(os.environ, XDG_RUNTIME_DIR=RUNTIME)
started = []


def start(*args, uuid=UUID):
    args = [VM, "--memory", "32M", "--accel", "soft", "--serial", "none", *(["--uuid", uuid] if uuid else []), *args]
    print("+", " ".join(args), flush=True)
    started.append(subprocess.Popen(args, env=ENV, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE, text=True, start_new_session=True))
    return started[-1]


def until(what, condition, timeout=15):
    end = time.time() + timeout
    while time.time() < end:
        try:
            value = condition()
        except (OSError, ValueError, KeyError):
            value = None
        if value:
            return value
        time.sleep(0.05)
    fail(f"within {timeout} s: {what}")


def status():
    with open(f"{FOLDER}/status") as f:
        return json.load(f)


def running():
    return until("the machine runs", lambda: status()["state"] == "running" and status())


def ended(p, timeout=15):
    try:
        out, err = p.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(p.pid, signal.SIGKILL)
        fail("the supervisor does not end")
    return p.returncode, err


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class Control:
    def __init__(self, path=None, hello=True):
        self.s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.s.settimeout(10)
        self.s.connect(path or f"{FOLDER}/control")
        self.id = 0
        self.events = []
        if hello:
            self.ok("hello", version=1, client="test")

    def ask(self, verb, send_fd=None, **args):
        self.id += 1
        text = json.dumps(dict(args, id=self.id, verb=verb)).encode()
        ancillary = [] if send_fd is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [send_fd]))]
        self.s.sendmsg([text], ancillary)
        while True:
            reply = json.loads(self.s.recv(65536))
            if "event" in reply:
                self.events.append(reply)
            elif reply["id"] == self.id:
                return reply

    def ok(self, verb, send_fd=None, **args):
        reply = self.ask(verb, send_fd, **args)
        if "ok" not in reply:
            fail(f"{verb}: {reply}")
        return reply["ok"]

    def error(self, verb, **args):
        return self.ask(verb, **args).get("error", {}).get("id")


def png_size(data):
    """Width and height of a PNG whose chunks all have the right checksum."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, size = 8, None
    while at < len(data):
        n, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + n]
        assert zlib.crc32(kind + body) == struct.unpack(">I", data[at + 8 + n:at + 12 + n])[0]
        if kind == b"IHDR":
            size = struct.unpack(">II", body[:8])
        at += 12 + n
    return size


def the_folder():
    line = f"{RUNTIME}/line"
    sockets = ["--display", f"unix:{FOLDER}/display", "--serial2", f"unix:{line}"]
    p = start("--name", "one", *sockets)
    st = running()
    check(os.stat(FOLDER).st_mode & 0o777 == 0o700, "the machine's folder is private")
    check(st["schema"] == 1 and st["pid"] == p.pid and st["name"] == "one", "the status names the supervisor")
    boot = open("/proc/sys/kernel/random/boot_id").read().strip()
    began = int(open(f"/proc/{p.pid}/stat").read().rsplit(")", 1)[1].split()[19])
    check(st["boot-id"] == boot and st["start-time"] == began, "boot id and start time are the process's")
    code, err = ended(start(*sockets))
    check(code == 2 and "[MachineRunning]" in err, "a second start is refused")
    check(alive(p.pid) and Control().ok("status")["state"] == "running", "and the first did not notice")
    for path in (line, f"{FOLDER}/display"):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(path)
    check(True, "its sockets are still its own")
    return p, st["machine-pid"]


def the_sandbox(machine):
    text = open(f"/proc/{machine}/status").read()
    field = dict(line.split(":", 1) for line in text.splitlines())
    check(field["Seccomp"].strip() == "2" and field["NoNewPrivs"].strip() == "1", "the machine has a system call filter")
    check(int(field["CapEff"], 16) == 0 and int(field["CapBnd"], 16) == 0, "and no capabilities")
    filters = {t: open(f"/proc/{machine}/task/{t}/status").read() for t in os.listdir(f"/proc/{machine}/task")}
    check(all("Seccomp:\t2" in f for f in filters.values()), f"on each of its {len(filters)} threads")
    vcpu = [f for f in filters.values() if f.startswith("Name:\tvcpu")]
    check(len(vcpu) == 1 and "Seccomp_filters:\t2" in vcpu[0], "the vCPU thread has a narrower one")
    check(any(f.startswith("Name:\tgh-display") and "Seccomp_filters:\t2" in f for f in filters.values()), "and so has the screen's")
    links = [os.readlink(f"/proc/{machine}/fd/{n}") for n in os.listdir(f"/proc/{machine}/fd")]
    files = [x for x in links if x.startswith("/") and not x.startswith(("/dev/null", "/usr/share/", "/memfd:"))]
    check(not files, f"it holds no files but its own ({files})")


def the_verbs():
    c = Control(hello=False)
    check(c.error("status") == "HelloExpected", "hello comes first")
    c.ok("hello", version=7)
    check(c.ok("pause") == {} and c.ok("status")["state"] == "paused", "pause")
    until("paused in the status file", lambda: status()["state"] == "paused")
    one = c.ok("status")["run-ns"]
    time.sleep(0.2)
    check(c.ok("status")["run-ns"] == one, "the machine's clock stands while it is paused")
    c.ok("resume")
    until("the clock runs again", lambda: c.ok("status")["run-ns"] > one)
    check(any(e["event"] == "state" for e in c.events), "a client hears of state changes")
    check(c.error("send-keys", keys=["hyper-x"]) == "KeyUnknown", "unknown keys are refused")
    check(c.ok("send-keys", keys=["ctrl-a"], text="Hi")["strokes"] == 5, "keys are pressed")
    until("the screen is on", lambda: c.ok("status")["width"] > 0)
    fd = os.memfd_create("shot")
    shot = c.ok("screenshot", fd, fd=0)
    data = os.pread(fd, 10 << 20, 0)
    check(png_size(data) == (shot["width"], shot["height"]) and shot["bytes"] == len(data), "a screenshot is a PNG")
    counters = c.ok("query-counters")["counters"]
    check(len(counters) > 5 and all(isinstance(v, int) for v in counters.values()), f"{len(counters)} counters")
    check(c.error("eject", drive="nothing") == "DriveUnknown", "an unknown drive is refused")
    check(c.error("add-client", fd=0) == "VerbRefused", "the supervisor's verbs are refused")
    c.s.send(b"\xff\xfe")
    check(json.loads(c.s.recv(65536))["error"]["id"] == "MessageMalformed", "nonsense is answered, not obeyed")
    check(c.ok("status")["state"] == "running", "and the connection lives")


def rfb():
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(5)
        s.connect(f"{FOLDER}/display")
        return s.recv(12)


def children(pid):
    return [int(x) for x in open(f"/proc/{pid}/task/{pid}/children").read().split()]


def the_display(p, machine):
    check(rfb().startswith(b"RFB 003."), "the display answers")
    backend = [c for c in children(p.pid) if c != machine]
    check(len(backend) == 1, "one display process")
    os.kill(backend[0], signal.SIGSEGV)
    again = until("a new display process", lambda: [c for c in children(p.pid) if c not in (machine, backend[0])])
    check(until("it answers", rfb).startswith(b"RFB 003."), f"a killed display comes back ({again[0]})")
    check(Control().ok("status")["state"] == "running" and alive(machine), "the machine ran on")


def the_end(p, machine):
    c = Control()
    c.ok("power-off")
    code, err = ended(p)
    st = status()
    check(code == 0 and st["state"] == "ended" and st["exit-status"] == 0, "power-off: status 0")
    check(not os.path.exists(f"{FOLDER}/control") and not os.path.exists(f"{FOLDER}/display"), "no sockets are left")
    check(not alive(machine), "no process is left")

    p = start()
    running()
    os.kill(p.pid, signal.SIGINT)
    check(ended(p)[0] == 0, "SIGINT pulls the plug in order")

    p = start()
    machine = running()["machine-pid"]
    os.kill(p.pid, signal.SIGTERM)
    time.sleep(0.3)
    os.kill(p.pid, signal.SIGTERM)
    check(ended(p)[0] == 0, "two SIGTERM do not wait for the guest")

    p = start("--name", "two")
    os.kill(running()["machine-pid"], signal.SIGKILL)
    code, err = ended(p)
    check(code == 137 and "[MachineCrashed]" in err and "signal 9" in err, "a killed machine is explained")
    check(status()["signal"] == 9 and status()["error"] == "MachineCrashed", "and its status file says so")

    p = start()
    machine = running()["machine-pid"]
    os.kill(p.pid, signal.SIGKILL)
    p.wait()
    until("the machine ends without its supervisor", lambda: not alive(machine))
    p = start()
    until("the lock of a killed supervisor is free", lambda: status()["pid"] == p.pid and running())
    os.kill(p.pid, signal.SIGINT)
    ended(p)

    p = start(uuid=None)
    folder = until("a folder", lambda: [d for d in os.listdir(f"{RUNTIME}/gasthaus") if d != UUID])
    until("control", lambda: os.path.exists(f"{RUNTIME}/gasthaus/{folder[0]}/control"))
    os.kill(p.pid, signal.SIGINT)
    ended(p)
    check(os.listdir(f"{RUNTIME}/gasthaus") == [UUID], "a machine without identity leaves nothing behind")


def the_launch_message():
    """As the daemon starts a machine: one message with descriptors."""
    bios = os.open("/usr/share/seabios/bios-256k.bin", os.O_RDONLY)
    vga = os.open("/usr/share/seabios/vgabios-stdvga.bin", os.O_RDONLY)
    base = {"verb": "launch", "version": 1, "uuid": UUID, "name": "message", "accel": "soft", "vcpus": 1,
            "memory": 32 << 20, "board": "pc", "sandbox": "on",
            "roms": [{"name": "bios", "fd": 0}, {"name": "vgabios", "fd": 1}]}

    def launch(**change):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        p = subprocess.Popen([VM, "--launch-fd", str(theirs.fileno())], env=ENV, pass_fds=[theirs.fileno()],
                             stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        theirs.close()
        ours.settimeout(15)
        ours.sendmsg([json.dumps(dict(base, **change)).encode()],
                     [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [bios, vga]))])
        return p, ours

    p, s = launch()
    event = json.loads(s.recv(65536))
    check(event["event"] == "started" and event["accel"] == "soft", "a launch message starts a machine and hears of it")
    check(os.getsid(p.pid) == p.pid, "which leaves the caller's session")
    s.close()
    c = Control()
    check(c.ok("hello", version=1)["machine"] == "message", "the closed launch socket means nothing to it")
    c.ok("quit")
    check(ended(p)[0] == 0, "quit")
    p, s = launch(devices=[{"class": "flux-capacitor", "id": "x"}])
    event = json.loads(s.recv(65536))
    check(event["event"] == "failed" and "flux-capacitor" in event["text"], f"what cannot be made is explained: {event['id']}")
    check(ended(p)[0] == 2, "status 2")
    p, s = launch(vcpus=0)
    event = json.loads(s.recv(65536))
    check(event["event"] == "failed" and event["option"] == "vcpus" and ended(p)[0] == 2, "a malformed message is refused")


try:
    p, machine = the_folder()
    the_sandbox(machine)
    the_verbs()
    the_display(p, machine)
    the_end(p, machine)
    the_launch_message()
finally:
    for p in started:
        if p.poll() is None:
            os.killpg(p.pid, signal.SIGKILL)
    subprocess.run(["rm", "-rf", RUNTIME])
print("PASS")
