/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A Multiboot program for tests of the whole processor: enters long mode with the first 4 GiB mapped as they are, for
 * user and kernel, calls suite_main(command line), and brings other processors to suite_ap(index).
 */
#define MAGIC 0x1badb002
    .section .boot, "ax"
    .long MAGIC, 0, -MAGIC
    .code32
    .globl _start
_start:
    mov $stack_top, %esp
    cld
    mov 16(%ebx), %esi              /* command line, behind the program's name */
1:  lodsb
    test %al, %al
    jz 2f
    cmp $' ', %al
    jne 1b
    jmp 3f
2:  dec %esi
3:  mov %esi, command_line
    mov $pml4, %edi
    mov $(pt_end - pml4) / 4, %ecx
    xor %eax, %eax
    rep stosl
    movl $pdpt + 7, pml4
    mov $pdpt, %edi
    mov $pd + 7, %eax
    mov $4, %ecx
4:  mov %eax, (%edi)
    add $0x1000, %eax
    add $8, %edi
    loop 4b
    mov $pd, %edi
    mov $0x87, %eax
    mov $2048, %ecx
5:  mov %eax, (%edi)
    add $0x200000, %eax
    add $8, %edi
    loop 5b
    mov $idle_stack_top, %eax       /* of the interrupt stacks: see suite.c */
    call enter_long
    .code64
    mov command_line, %edi
    mov $stack_top, %rsp
    call suite_main
6:  hlt
    jmp 6b

    .code32
enter_long:
    mov $0x620, %eax                /* PAE, OSFXSR, OSXMMEXCPT */
    mov %eax, %cr4
    mov $pml4, %eax
    mov %eax, %cr3
    mov $0xc0000080, %ecx
    rdmsr
    or $0x900, %eax                 /* LME, NXE */
    wrmsr
    mov %cr0, %eax
    or $0x80010002, %eax            /* PG, WP, MP */
    and $~0x6000000c, %eax          /* CD, NW, EM, TS */
    or $0x20, %eax
    mov %eax, %cr0
    lgdt gdt_pointer
    pop %eax
    push $8
    push %eax
    lret

    .globl trampoline, trampoline_end
    .code16
trampoline:                         /* copied to 8000h */
    cli
    xor %ax, %ax
    mov %ax, %ds
    lgdtl 0x8000 + (gdt_pointer_low - trampoline)
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    ljmpl $0x18, $ap32
gdt_pointer_low:
    .word gdt_end - gdt - 1
    .long gdt
trampoline_end:
    .code32
ap32:
    mov $0x10, %eax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    mov $1, %eax
    lock xadd %eax, ap_count
    inc %eax
    mov %eax, %ebx
    shl $14, %eax
    lea ap_stacks(%eax), %esp
    call enter_long
    .code64
    mov %ebx, %edi
    call suite_ap
7:  hlt
    jmp 7b

    .globl woken, woken_end
    .code16
woken:                              /* copied to 7000h: firmware jumps here when the machine wakes */
    xor %ax, %ax
    mov %ax, %ds
    mov 0x6ff0, %eax
    mov $0xf4, %dx
    out %eax, %dx
1:  hlt
    jmp 1b
woken_end:

    .section .text
    .code64
    .altmacro
    .macro stub n
stub_\n:
    .if \n != 8 && \n != 10 && \n != 11 && \n != 12 && \n != 13 && \n != 14 && \n != 17
    push $0
    .endif
    push $\n
    jmp arrived
    .endm
    .set v, 0
    .rept 256
    stub %v
    .set v, v + 1
    .endr
arrived:
    push %rax
    push %rcx
    push %rdx
    push %rbx
    push %rbp
    push %rsi
    push %rdi
    push %r8
    push %r9
    push %r10
    push %r11
    push %r12
    push %r13
    push %r14
    push %r15
    cld
    mov %rsp, %rdi
    mov %rsp, %rbp
    and $~15, %rsp
    call suite_event
    mov %rbp, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %r11
    pop %r10
    pop %r9
    pop %r8
    pop %rdi
    pop %rsi
    pop %rbp
    pop %rbx
    pop %rdx
    pop %rcx
    pop %rax
    add $16, %rsp
    iretq

    /* u64 in_user(fn, flags): runs fn at level 3; its result, or where it was thrown out (leave_user). */
    .globl in_user, leave_user
in_user:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, user_return
    pushq $0x2b
    pushq $user_stack_top
    push %rsi
    pushq $0x33
    pushq $user_entry
    mov %rdi, %rbx
    iretq
user_entry:
    call *%rbx
    int $0x80
leave_user:                         /* at level 0, on any stack; result in rax */
    mov user_return, %rsp
    mov $0x10, %ecx
    mov %ecx, %ss
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret

    .section .rodata
    .globl stubs
    .balign 8
stubs:
    .macro address n
    .quad stub_\n
    .endm
    .set v, 0
    .rept 256
    address %v
    .set v, v + 1
    .endr
    .data
    .balign 8
    .globl gdt, gdt_end
gdt:
    .quad 0
    .quad 0x00af9b000000ffff        /* 08 64-bit code */
    .quad 0x00cf93000000ffff        /* 10 data */
    .quad 0x00cf9b000000ffff        /* 18 32-bit code */
    .quad 0x00cffb000000ffff        /* 20 32-bit code, level 3 */
    .quad 0x00cff3000000ffff        /* 28 data, level 3 */
    .quad 0x00affb000000ffff        /* 30 64-bit code, level 3 */
    .quad 0
    .fill 32, 8, 0                  /* 40 on: TSS descriptors of 16 processors, 16 bytes each */
gdt_end:
gdt_pointer:
    .word gdt_end - gdt - 1
    .quad gdt
command_line: .long 0, 0
ap_count: .long 0
    .globl ap_count
user_return: .quad 0
    .bss
    .balign 4096
    .globl pml4, ap_stacks, user_stack_top
pml4: .skip 4096
pdpt: .skip 4096
pd: .skip 4 * 4096
pt_end:
    .skip 32768
stack_top:
    .skip 16384
idle_stack_top:
    .skip 16384
user_stack_top:
ap_stacks: .skip 16 * 16384
    .section .note.GNU-stack, "", @progbits
