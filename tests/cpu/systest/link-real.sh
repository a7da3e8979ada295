#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# link-real.sh NASM BOOT.asm REAL.c ENTRY.o OUTPUT FOLDER: the disk image of the real-mode guest.
set -eu
nasm=$1 boot=$2 source=$3 entry=$4 output=$5 folder=$6
mkdir -p "$folder"
gcc -m16 -march=i386 -O1 -ffreestanding -fno-pic -fno-pie -mno-sse -mno-mmx -fno-stack-protector -fno-asynchronous-unwind-tables \
    -Wall -Wextra -Werror -c "$source" -o "$folder/real.o"
ld -m elf_i386 -Ttext 0 -e entry --oformat binary -o "$folder/guest.bin" "$entry" "$folder/real.o"
bytes=$(stat -c %s "$folder/guest.bin")
"$nasm" -f bin -DSECTORS=$(((bytes + 511) / 512)) -o "$folder/boot.bin" "$boot"
cat "$folder/boot.bin" "$folder/guest.bin" > "$output"
