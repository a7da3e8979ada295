#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Assembles an option ROM and writes it as a C array: build.py AS LD SOURCE OUTPUT SYMBOL [plain].

Pads to whole sectors, fills in the length byte, the PnP header's checksum and the ROM's checksum; plain: nothing of this.
"""
import os
import subprocess
import sys
import tempfile


def finish(rom):
    rom += bytes(-(len(rom) + 1) % 512 + 1)         # room for the checksum byte
    rom[2] = len(rom) // 512
    pnp = int.from_bytes(rom[0x1a:0x1c], 'little')
    size = rom[pnp + 5] * 16
    rom[pnp + 9] = -sum(rom[pnp:pnp + size]) & 0xff
    rom[-1] = -sum(rom) & 0xff


def main():
    assembler, linker, source, output, symbol = sys.argv[1:6]
    with tempfile.TemporaryDirectory() as folder:
        obj, binary = os.path.join(folder, 'rom.o'), os.path.join(folder, 'rom.bin')
        subprocess.run([assembler, '--32', '-o', obj, source], check=True)
        subprocess.run([linker, '-m', 'elf_i386', '-Ttext', '0', '--oformat', 'binary', '-o', binary, obj],
                       check=True)
        with open(binary, 'rb') as f:
            rom = bytearray(f.read())
    if sys.argv[6:] != ['plain']:
        finish(rom)
    with open(output, 'w') as f:
        f.write('/* Made by the build from ' + os.path.basename(source) + '. */\n')
        f.write('#include "devices/firmware/optrom/optrom.h"\n\n')
        f.write(f'const unsigned {symbol}_bytes = {len(rom)};\nconst uint8_t {symbol}[{len(rom)}] = {{\n')
        for at in range(0, len(rom), 16):
            f.write('    ' + ' '.join(f'0x{byte:02x},' for byte in rom[at:at + 16]) + '\n')
        f.write('};\n')


main()
