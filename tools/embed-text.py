#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""embed-text.py NAME INPUT OUTPUT: a text file as a C string constant."""
import sys

name, source, target = sys.argv[1:4]
with open(source, encoding="utf-8") as f, open(target, "w", encoding="utf-8") as out:
    out.write(f"/* Made from {source.rsplit('/', 1)[-1]}. */\nstatic const char {name}[] =\n")
    for line in f:
        text = line.rstrip("\n").replace("\\", "\\\\").replace('"', '\\"')
        out.write(f'    "{text}\\n"\n')
    out.write(";\n")
