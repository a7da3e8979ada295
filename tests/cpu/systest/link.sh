#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# link.sh NASM BOOT.asm FUZZ.c ENTRY.o OUTPUT FOLDER: the disk image of the system-instruction guest.
set -eu
nasm=$1 boot=$2 source=$3 entry=$4 output=$5 folder=$6
mkdir -p "$folder"
gcc -m32 -O1 -ffreestanding -fno-pic -fno-pie -mno-sse -mno-mmx -fno-stack-protector -fno-asynchronous-unwind-tables \
    -Wall -Wextra -Werror -c "$source" -o "$folder/fuzz.o"
ld -m elf_i386 -Ttext 0x30000 -e entry --oformat binary -o "$folder/guest.bin" "$entry" "$folder/fuzz.o"
bytes=$(stat -c %s "$folder/guest.bin")
"$nasm" -f bin -DSECTORS=$(((bytes + 511) / 512)) -o "$folder/boot.bin" "$boot"
cat "$folder/boot.bin" "$folder/guest.bin" > "$output"
