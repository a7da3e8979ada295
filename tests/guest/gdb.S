/* SPDX-License-Identifier: GPL-3.0-or-later */
/* For the debugger's test: a Multiboot program that goes to 64-bit mode on every processor and counts for ever. */
#define MAGIC 0x1badb002
    .section .text
    .code32
    .long MAGIC, 0, -MAGIC
    .globl _start
_start:
    cli
    mov $0x80000, %esp
    mov $trampoline, %esi
    mov $0x8000, %edi
    mov $trampoline_end - trampoline, %ecx
    rep movsb
    movl $0x1ff, 0xfee000f0
    movl $0xc4500, 0xfee00300           /* INIT, then start-up at 0x8000, to all others */
    movl $0xc4608, 0xfee00300
    xor %ebp, %ebp
to_long:
    lgdt gdt_pointer
    mov %cr4, %eax
    or $0x620, %eax
    mov %eax, %cr4
    mov $pml4, %eax
    mov %eax, %cr3
    mov $0xc0000080, %ecx
    rdmsr
    or $0x100, %eax
    wrmsr
    mov %cr0, %eax
    or $0x80000001, %eax
    mov %eax, %cr0
    ljmp $8, $long_mode
    .code64
long_mode:
    mov $16, %eax
    mov %eax, %ds
    mov %eax, %ss
    mov %eax, %es
    test %ebp, %ebp
    jnz others
    mov $0x123456789abc, %rdx
    mov $0xc0000101, %ecx               /* GS base */
    mov %edx, %eax
    shr $32, %rdx
    wrmsr
    movups vector, %xmm3
again:
    call tick
    pause
    jmp again
    .globl tick
tick:
    incq counter
    mov counter, %rax
    and $0xff, %eax
    cmp $0x7f, %eax
    jne 1f
touch:
    mov %rax, watched
after_touch:
    nop
1:  ret
    .globl others
others:
    incq others_counter
    pause
    jmp others

    .code16
trampoline:
    cli
    lgdtl %cs:gdt_pointer_copy - trampoline
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    ljmpl $24, $start_others
gdt_pointer_copy: .word 31
    .long gdt
trampoline_end:
    .code32
start_others:
    mov $16, %eax
    mov %eax, %ds
    mov $1, %ebp
    jmp to_long

    .section .data
    .balign 8
gdt: .quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00cf9b000000ffff
gdt_pointer: .word 31; .long gdt
    .globl counter, others_counter, watched
    .balign 8
counter: .quad 0
vector: .quad 0x1122334455667788, 0
others_counter: .quad 0
watched: .quad 0
    .balign 4096
pml4: .quad pdpt + 3
    .balign 4096
pdpt: .quad pd + 3
    .balign 4096
pd:                                     /* 2 MiB pages, one to one */
    .set page, 0x83
    .rept 512
    .quad page
    .set page, page + 0x200000
    .endr
