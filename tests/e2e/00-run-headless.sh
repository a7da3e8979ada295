#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# gasthaus-test: short 900
# ./run without a display: the demo guest comes up, and the printed picture shows its screen; the same for a medium.
# A display that is not there any more counts as none.
set -euo pipefail
unset DISPLAY WAYLAND_DISPLAY
out=$("$GH_TOP/run" </dev/null | tail -1)
echo "printed: $out"
case $out in *.png) ;; *) echo "FAILED: no path of a picture"; exit 1 ;; esac
colours=$(identify -format '%k' "$out")
echo "colours: $colours"
[ "$colours" -ge 2 ]
cp "$out" "$GH_OUT/run-headless.png"

folder=$(mktemp -d)
export XDG_RUNTIME_DIR=$folder/run XDG_DATA_HOME=$folder/data DISPLAY=:7654
mkdir -m 700 "$XDG_RUNTIME_DIR"
ctl=$GH_TOP/build/src/cli/gasthausctl
cleanup() {
    "$ctl" stop grub-rescue-cdrom >/dev/null 2>&1 || true
    for p in $(pgrep -x gasthausd); do
        grep -qzF "XDG_RUNTIME_DIR=$XDG_RUNTIME_DIR" "/proc/$p/environ" 2>/dev/null && kill "$p"
    done
    rm -rf "$folder"
}
trap cleanup EXIT
out=$("$GH_TOP/run" /usr/lib/grub-rescue/grub-rescue-cdrom.iso </dev/null | tail -1)
echo "printed: $out"
cp "$out" "$GH_OUT/run-headless-medium.png"
PYTHONPATH=$GH_TOP/tests/e2e python3 -c 'import sys; from screentext import read_screen; text = "\n".join(read_screen(sys.argv[1])); print(text); assert "GNU GRUB" in text' "$out"
"$ctl" list
if "$GH_TOP/run" "$folder/missing.iso" </dev/null 2>"$folder/error"; then echo "FAILED: a missing medium was started"; exit 1; fi
tail -1 "$folder/error"
grep -q MediumMissing "$folder/error"
