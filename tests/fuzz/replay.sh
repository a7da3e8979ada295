#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# replay.sh TARGET SEEDS NAME SECONDS: runs the target over changed copies of its seeds.
exec "$1" "$4" "$2/$3"/*
