#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
# gasthaus-test: long 5400
"""Translator and interpreter block by block through a boot of Debian's kernel and a compilation by Debian's gcc."""
import os
import re
import sys
import tempfile

from guestlib import TOP, Process, check, skip

sys.path.insert(0, f"{TOP}/bench")
from benchlib import vm_args  # noqa: E402
from compileguest import MEMORY, boot_files, tree  # noqa: E402

if os.getuid():
    skip("Debian's compiler is unpacked with the right owners by root only")
with tempfile.TemporaryDirectory(prefix="gh-lockstep-") as temp:
    vm = Process(vm_args(*boot_files(temp), MEMORY, "--disk", f"{tree(1)}/disk.img,format=raw,bus=virtio,readonly"), "lockstep",
                 env={"GH_DEBUG": "soft:lockstep"})
    check(vm.expect(r"^(READY|WRONG.*)$", 2400).group(1) == "READY", "Debian boots in lockstep")
    vm.send("build 1\n")
    check(vm.expect(r"^(DONE 1|WRONG.*)$", 2400).group(1) == "DONE 1", "a compilation in lockstep")
    vm.p.terminate()
    vm.wait(120)
    blocks = int(re.search(r"soft:lockstep: (\d+) blocks agreed", vm.text).group(1))
    check(blocks > 10_000_000, f"{blocks} blocks agreed, and none differed")
