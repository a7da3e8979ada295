#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# gasthaus-test: short 400
# ./run without a display: the demo guest comes up, and the printed picture shows its screen.
set -euo pipefail
unset DISPLAY WAYLAND_DISPLAY
out=$("$GH_TOP/run" </dev/null | tail -1)
echo "printed: $out"
case $out in *.png) ;; *) echo "FAILED: no path of a picture"; exit 1 ;; esac
colours=$(identify -format '%k' "$out")
echo "colours: $colours"
[ "$colours" -ge 2 ]
cp "$out" "$GH_OUT/run-headless.png"
