# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts machines the way a person does and watches what comes out: for the e2e tests and benchmarks."""
import os
import re
import select
import signal
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
    """User and system time of all processes of a group so far."""
    total = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[2]) == pgid:
            total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def linux(name, append, *args, memory="256M", cpus=1, accel="soft", kind="linux"):
    g = guest(kind)
    return Process([VM, "--memory", memory, "--cpus", str(cpus), "--accel", accel, "--kernel", f"{g}/vmlinuz",
                    "--initrd", f"{g}/initrd.gz", "--append", f"console=ttyS0 {append}", "--serial", "stdio",
                    "--no-reboot", *args], name)
