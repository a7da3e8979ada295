/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A Multiboot 1 program as test suites for processors are: ELF32, header flags 0. Prints what the loader told it on COM1,
 * counts processors by fw_cfg, raises a line of pc-testdev through the I/O APIC, and ends with status (0x20 << 1) | 1, or,
 * where its command line begins with "off", by the word at the shutdown port.
 */
#define MAGIC 0x1badb002
    .section .text
    .long MAGIC, 0, -MAGIC
    .globl _start
_start:
    mov $stack_top, %esp
    cld
    cmp $0x2badb002, %eax
    mov $1, %ecx
    jne fail
    mov %ebx, %ebp
    mov (%ebp), %eax
    and $0x4d, %eax                 /* memory, command line, modules, map */
    cmp $0x4d, %eax
    mov $2, %ecx
    jne fail
    mov $text_cmdline, %esi
    call puts
    mov 16(%ebp), %esi
    call puts
    mov $text_module, %esi
    call puts
    cmpl $1, 20(%ebp)
    mov $3, %ecx
    jne fail
    mov 24(%ebp), %edi
    mov (%edi), %esi
    mov 4(%edi), %ecx
    sub %esi, %ecx
1:  lodsb
    call putc
    loop 1b
    mov $text_map, %esi
    call puts
    mov 48(%ebp), %esi              /* every usable entry's end below 4 GiB */
    mov 44(%ebp), %ecx
    add %esi, %ecx
2:  cmpl $1, 20(%esi)
    jne 3f
    mov 4(%esi), %eax
    add 12(%esi), %eax
    call hex
3:  mov (%esi), %eax
    lea 4(%esi,%eax), %esi
    cmp %ecx, %esi
    jb 2b
    mov $text_cpus, %esi
    call puts
    mov $0x510, %dx
    mov $5, %ax
    out %ax, %dx
    inc %dx
    in %dx, %al
    mov %al, %cl
    in %dx, %al
    mov %al, %ch
    movzwl %cx, %eax
    call hex

    /* Line 14 of the test device, by I/O APIC pin 14, vector 0x77: taken before the instruction after OUT and NOP. */
    lgdt gdt_pointer
    ljmp $8, $4f
4:  mov $16, %eax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    mov $isr, %eax
    mov %ax, idt + 0x77 * 8
    movw $8, idt + 0x77 * 8 + 2
    movw $0x8e00, idt + 0x77 * 8 + 4
    shr $16, %eax
    mov %ax, idt + 0x77 * 8 + 6
    lidt idt_pointer
    movb $0xff, %al
    out %al, $0x21
    out %al, $0xa1
    movl $0x1ff, 0xfee000f0
    movl $0x10 + 14 * 2, 0xfec00000
    movl $0x77, 0xfec00010
    movl $0x11 + 14 * 2, 0xfec00000
    movl $0, 0xfec00010
    sti
    mov $0x200e, %dx
    mov $1, %al
    out %al, %dx
    nop
    mov count, %ebx
    mov $0, %al
    out %al, %dx
    cli
    mov $text_line, %esi
    call puts
    mov %ebx, %eax
    call hex
    mov $0xe0, %dx
    mov $0x12345678, %eax
    out %eax, %dx
    mov $0xe2, %dx
    in %dx, %ax
    movzwl %ax, %eax
    call hex
    movl $0x1a2b3c4d, 0xff000100
    mov 0xff000101, %al
    movzbl %al, %eax
    call hex
    mov $text_end, %esi
    call puts
    mov 16(%ebp), %esi              /* the word after the program's name */
9:  lodsb
    cmp $' ', %al
    jne 9b
    cmpl $0x0066666f, (%esi)        /* "off" */
    jne 6f
    mov $shutdown_word, %esi
    mov $0x8900, %dx
7:  lodsb
    out %al, %dx
    test %al, %al
    jnz 7b
    jmp 8f
6:  mov $0x20, %eax
    out %eax, $0xf4
8:  hlt
    jmp 8b
fail:
    mov $text_fail, %esi
    call puts
    mov %ecx, %eax
    out %eax, $0xf4
    jmp 8b

isr:
    push %eax
    incl count
    movl $0, 0xfee000b0
    pop %eax
    iret

/* %esi: text to its zero. Clobbers %eax, %edx. */
puts:
    lodsb
    test %al, %al
    jz 1f
    call putc
    jmp puts
1:  ret
putc:
    push %eax
    mov $0x3fd, %dx
1:  in %dx, %al
    test $0x20, %al
    jz 1b
    pop %eax
    mov $0x3f8, %dx
    out %al, %dx
    ret
/* %eax in hexadecimal and a space. */
hex:
    push %ecx
    push %eax
    mov $8, %ecx
1:  roll $4, (%esp)
    mov (%esp), %al
    and $15, %al
    cmp $10, %al
    sbb $0x69, %al
    das
    call putc
    loop 1b
    mov $' ', %al
    call putc
    pop %eax
    pop %ecx
    ret

    .section .data
text_cmdline: .asciz "CMDLINE "
text_module: .asciz "\nMODULE "
text_map: .asciz "\nMAP "
text_cpus: .asciz "\nCPUS "
text_line: .asciz "\nLINE "
text_end: .asciz "\nEND\n"
text_fail: .asciz "\nFAIL\n"
shutdown_word: .asciz "Shutdown"
    .balign 8
gdt: .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdt_pointer: .word 23; .long gdt
idt_pointer: .word 256 * 8 - 1; .long idt
count: .long 0
    .section .bss
    .balign 8
idt: .skip 256 * 8
    .skip 4096
stack_top:
