/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Enters a 64-bit Linux kernel that lies unpacked in memory (kernelunpack.c): from the setup code's 32-bit flat
 * protected mode with ESI = boot parameters, to long mode with RSI = boot parameters.
 * The host fills in the three words; the page tables behind this code are its work too.
 */
        .text
        .globl _start
_start:
        jmp     start
        .org    8
tables: .long   0               /* of the PML4 */
entry:  .long   0               /* of the kernel's startup_64 */
flags:  .long   0               /* or'ed into loadflags of the boot parameters */

        .set LOADFLAGS, 0x211
        .set STACK,     0x10000
        .set EFER,      0xc0000080
        .set CODE64,    0x10
        .set DATA,      0x18

        .balign 8
gdt:    .quad   0, 0
        .quad   0x00af9a000000ffff
        .quad   0x00cf92000000ffff
gdt_pointer:
        .word   . - gdt - 1
        .long   0
far_entry:
        .long   0
        .word   CODE64

start:
        cli
        cld
        leal    0x1e8(%esi), %esp       /* scratch of the boot parameters: room for one return address */
        call    1f
1:      popl    %ebx
        subl    $(1b - _start), %ebx
        leal    STACK(%ebx), %esp
        movb    (flags - _start)(%ebx), %al
        orb     %al, LOADFLAGS(%esi)

        leal    (gdt - _start)(%ebx), %eax
        movl    %eax, (gdt_pointer - _start + 2)(%ebx)
        lgdtl   (gdt_pointer - _start)(%ebx)
        leal    (long_mode - _start)(%ebx), %eax
        movl    %eax, (far_entry - _start)(%ebx)
        movl    (entry - _start)(%ebx), %edi

        movl    %cr4, %eax
        orl     $0x20, %eax     /* PAE */
        movl    %eax, %cr4
        movl    (tables - _start)(%ebx), %eax
        movl    %eax, %cr3
        movl    $EFER, %ecx
        rdmsr
        orl     $0x100, %eax    /* LME */
        wrmsr
        movl    %cr0, %eax
        orl     $0x80000001, %eax
        movl    %eax, %cr0
        ljmpl   *(far_entry - _start)(%ebx)

        .code64
long_mode:
        movl    $DATA, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss
        xorl    %eax, %eax
        movl    %eax, %fs
        movl    %eax, %gs
        jmp     *%rdi
