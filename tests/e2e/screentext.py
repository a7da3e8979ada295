# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the text of a screenshot: the cells of a text screen compared with the glyphs of the VGA BIOS's
8x16 font, which most letters of the kernel's own console font equal (not “w”, “x”, “0”, “~” and some others)."""
import functools
import glob
import subprocess

LETTER_A = bytes.fromhex("000010386cc6c6fec6c6c6c600000000")


@functools.lru_cache(None)
def glyphs():
    """Bit rows of a glyph -> its character."""
    for path in sorted(glob.glob("/usr/share/seabios/vgabios*.bin")):
        data = open(path, "rb").read()
        at = data.find(LETTER_A) - 65 * 16
        if at >= 0:
            return {data[at + c * 16:at + c * 16 + 16]: chr(c) for c in range(33, 127)}
    raise RuntimeError("no VGA BIOS with an 8x16 font under /usr/share/seabios: install the package seabios")


def read_screen(path):
    """The screen's lines, trailing blanks removed; cells that are no ASCII character are shown as “?”."""
    size = subprocess.run(["identify", "-format", "%w %h", path], capture_output=True, text=True, check=True)
    width, height = map(int, size.stdout.split())
    raw = subprocess.run(["convert", path, "-depth", "8", "-colorspace", "Gray", "gray:-"], capture_output=True, check=True).stdout
    step = 9 if width == 720 and height in (350, 400) else 8
    lines = []
    for top in range(0, height - 15, 16):
        rows = [raw[(top + y) * width:(top + y + 1) * width] for y in range(16)]
        line = []
        for left in range(0, width - step + 1, step):
            cell = [r[left:left + 8] for r in rows]
            line.append(character(b"".join(cell)))
        lines.append("".join(line).rstrip())
    return lines


@functools.lru_cache(65536)
def character(cell):
    values = set(cell)
    if len(values) == 1:
        return " "
    if len(values) != 2:
        return "?"
    for background in values:
        rows = bytes(sum((cell[y * 8 + x] != background) << (7 - x) for x in range(8)) for y in range(16))
        if rows in glyphs():
            return glyphs()[rows]
    return "?"


if __name__ == "__main__":
    import sys
    print("\n".join(read_screen(sys.argv[1])))
