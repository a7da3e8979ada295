#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds, runs every suite, and ends with "N passed, N failed, N skipped".

A meson test is a program: exit 0 passes, 77 is skipped, everything else fails. An e2e test is a
script under tests/e2e with a line "# gasthaus-test: short|long TIMEOUT" in its head; long ones run
with --all only. Output of each is kept under build/test-output/.
"""
import json
import os
import re
import subprocess
import sys
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SANITIZED_SUITES = ["unit", "device", "disk", "cpu"]
# For all tests of one build together, in seconds; each has its own limit besides. The full doses take hours.
MESON_LIMIT, MESON_LIMIT_ALL = 2400, 48 * 3600


class Totals:
    def __init__(self):
        self.passed, self.failed, self.skipped, self.bad = 0, 0, 0, []

    def add(self, name, result, seconds, note=""):
        word = {"pass": "ok  ", "fail": "FAIL", "skip": "skip"}[result]
        print(f"{word} {name} ({seconds:.1f} s){' ' + note if note else ''}", flush=True)
        if result == "pass":
            self.passed += 1
        elif result == "skip":
            self.skipped += 1
        else:
            self.failed += 1
            self.bad.append(name)


def run(args, log, timeout, env=None):
    """Runs in its own process group, so that nothing of a test outlives it."""
    start = time.time()
    with open(log, "wb") as out:
        p = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, cwd=TOP,
                             env=env, start_new_session=True)
        try:
            code = p.wait(timeout)
        except subprocess.TimeoutExpired:
            code = 124
        try:
            os.killpg(p.pid, 9)
        except ProcessLookupError:
            pass
        p.wait()
    return code, time.time() - start


def tail(path, lines=40):
    with open(path, "rb") as f:
        text = f.read().decode("utf-8", "replace").splitlines()
    print("\n".join("    | " + line for line in text[-lines:]), flush=True)


def configure(build, options, env):
    reconfigure = ["--reconfigure"] if os.path.exists(f"{TOP}/{build}/build.ninja") else []
    return ["meson", "setup", build, *reconfigure, *options], env


def build_tree(totals, name, build, options, cc=None):
    env = dict(os.environ, **({"CC": cc} if cc else {}))
    out = f"{TOP}/build/test-output"
    os.makedirs(out, exist_ok=True)
    start = time.time()
    args, env = configure(build, options, env)
    for step in (args, ["ninja", "-C", build]):
        log = f"{out}/build-{name}.log"
        code, _ = run(step, log, 1500, env)
        if code:
            totals.add(f"build/{name}", "fail", time.time() - start)
            tail(log)
            return False
    totals.add(f"build/{name}", "pass", time.time() - start)
    return True


def meson_tests(totals, build, suites, words, label="", setup_env=None, everything=False):
    log = f"{TOP}/{build}/meson-logs/testlog.json"
    if os.path.exists(log):
        os.remove(log)
    env = dict(os.environ, **(setup_env or {}))
    args = ["meson", "test", "-C", build, "--no-rebuild", "--num-processes", "2", "--print-errorlogs"]
    for s in suites:
        args += ["--suite", s]
    listed = subprocess.run(["meson", "introspect", "--tests", build], cwd=TOP, capture_output=True, text=True)
    names = [t["name"] for t in json.loads(listed.stdout)
             if (not words or any(w in t["name"] for w in words)) and (not suites or any(s.split(":")[-1] in suites for s in t["suite"]))]
    if words:
        if not names:
            return
        args += names
    code, _ = run(args, f"{TOP}/build/test-output/meson-{os.path.basename(build)}.log", MESON_LIMIT_ALL if everything else MESON_LIMIT, env)
    if not os.path.exists(log):
        if code:
            totals.add(f"meson{label}", "fail", 0)
            tail(f"{TOP}/build/test-output/meson-{os.path.basename(build)}.log")
        return
    for line in open(log):
        t = json.loads(line)
        result = {"OK": "pass", "EXPECTEDFAIL": "pass", "SKIP": "skip"}.get(t["result"], "fail")
        name = t["name"].replace("gasthaus:", "").replace(" ", "")
        if name.split("/")[-1] in names:
            names.remove(name.split("/")[-1])
        totals.add(f"{name}{label}", result, t["duration"])
        if result == "fail":
            text = (t.get("stdout") or "") + (t.get("stderr") or "")
            print("\n".join("    | " + x for x in text.splitlines()[-40:]), flush=True)


    # A test that has no result is none that passed: the whole run was cut off, or meson broke down.
    for name in names:
        totals.add(f"{name}{label}", "fail", 0, "no result: the run was cut off" if code == 124 else f"no result (meson test: {code})")


def e2e_tests(totals, everything, words):
    folder = f"{TOP}/tests/e2e"
    for name in sorted(os.listdir(folder)):
        path = f"{folder}/{name}"
        if not os.access(path, os.X_OK) or os.path.isdir(path):
            continue
        head = open(path, errors="replace").read(2000)
        m = re.search(r"# gasthaus-test: (short|long) (\d+)", head)
        if not m:
            continue
        if words and not any(w in name for w in words):
            continue
        if m.group(1) == "long" and not everything and not words:
            continue
        log = f"{TOP}/build/test-output/{name}.log"
        env = dict(os.environ, GH_BUILD=f"{TOP}/build", GH_TOP=TOP, GH_OUT=f"{TOP}/build/test-output",
                   GH_ALL="1" if everything else "")
        code, seconds = run([path], log, int(m.group(2)), env)
        result = {0: "pass", 77: "skip"}.get(code, "fail")
        note = ""
        if result == "skip":
            last = open(log, errors="replace").read().strip().splitlines()
            note = last[-1] if last else ""
        totals.add(f"e2e/{name}", result, seconds, "timed out" if code == 124 else note)
        if result == "fail":
            tail(log)


def main():
    words = [a for a in sys.argv[1:] if not a.startswith("--")]
    flags = [a for a in sys.argv[1:] if a.startswith("--")]
    unknown = [f for f in flags if f not in ("--all", "--quick")]
    if unknown:
        print(f"unknown option “{unknown[0]}”: ./test [--all] [--quick] [NAME...]", file=sys.stderr)
        return 2
    everything, quick = "--all" in flags, "--quick" in flags
    totals = Totals()
    print("Output of every test is kept in build/test-output/.", flush=True)
    if build_tree(totals, "gcc", "build", ["-Dwerror=true"]):
        if not words:
            code, s = run([f"{TOP}/tools/check"], f"{TOP}/build/test-output/check.log", 600)
            totals.add("tools/check", "fail" if code else "pass", s)
            if code:
                tail(f"{TOP}/build/test-output/check.log")
        env = {"GH_ALL": "1"} if everything else {}
        meson_tests(totals, "build", [], words, setup_env=env, everything=everything)
        e2e_tests(totals, everything, words)
    if not words and not quick:
        build_tree(totals, "clang", "build-clang", ["-Dwerror=true"], cc="clang")
        if build_tree(totals, "sanitize", "build-sanitize", ["-Dsanitize=true", "-Dgui=disabled"]):
            meson_tests(totals, "build-sanitize", SANITIZED_SUITES, words, " (asan+ubsan)",
                        {"ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0", "GH_SANITIZED": "1"})
    if totals.bad:
        print("Failed: " + ", ".join(totals.bad))
    print(f"{totals.passed} passed, {totals.failed} failed, {totals.skipped} skipped", flush=True)
    return 1 if totals.failed or not totals.passed else 0


if __name__ == "__main__":
    sys.exit(main())
