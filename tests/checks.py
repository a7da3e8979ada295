# SPDX-License-Identifier: GPL-3.0-or-later
"""For tests that go on after a check that failed: counts, and the last line with the exit code."""
import sys

done = failed = 0


def check(ok, what):
    global done, failed
    done += 1
    if not ok:
        failed += 1
        print("FAILED:", what, flush=True)


def end(*more):
    print("; ".join([f"{done} checks, {failed} failed", *more]))
    sys.exit(1 if failed else 0)
