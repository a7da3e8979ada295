/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A Multiboot program from 16 KiB to 44 KiB, over where boot loaders usually lie: looks whether it is whole, goes to real
 * mode, and says so on COM1. Ends with the byte 12h, or 1 where something was overwritten.
 */
#define MAGIC 0x1badb002
    .text
    .globl _start
    .long MAGIC, 0, -MAGIC
    .code32
_start:
    mov $pattern, %edi
    mov $(pattern_end - pattern), %ecx
    mov $0x5a, %al
    cld
    repe scasb
    jne bad
    lgdt pointer
    ljmp $8, $1f
    .code16
1:  mov $0x10, %ax
    mov %ax, %ds
    mov %ax, %ss
    mov %cr0, %eax
    and $~1, %al
    mov %eax, %cr0
    ljmp $0, $2f
2:  xor %ax, %ax
    mov %ax, %ds
    mov %ax, %ss
    mov $0x9000, %sp
    sti                             /* the BIOS's tables are still there: its clock ticks */
    mov 0x46c, %ebx
3:  hlt
    cmp 0x46c, %ebx
    je 3b
    mov $text, %si
4:  lodsb
    test %al, %al
    jz 6f
    mov %al, %ah
    mov $0x3fd, %dx
5:  in %dx, %al
    test $0x20, %al
    jz 5b
    mov %ah, %al
    mov $0x3f8, %dx
    out %al, %dx
    jmp 4b
6:  mov $0x12, %al
    out %al, $0xf4
7:  hlt
    jmp 7b
    .code32
bad:
    mov $1, %al
    out %al, $0xf4
8:  hlt
    jmp 8b
text: .asciz "in real mode\r\n"
    .balign 8
gdt:
    .quad 0
    .quad 0x00009b000000ffff
    .quad 0x000093000000ffff
pointer:
    .word . - gdt - 1
    .long gdt
    .balign 4
pattern:
    .fill 28 * 1024, 1, 0x5a
pattern_end:
    .section .note.GNU-stack, "", @progbits
