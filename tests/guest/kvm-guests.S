/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Tiny guests for test-kvm.c, position-independent between their _start and _end labels.
 * Port 0x500 reports a value, port 0x501 ends the run.
 */
    .section .rodata, "a"
    .set REPORT, 0x500
    .set END, 0x501

/* The last 64 KiB below 4 GiB: the power-on state starts at its offset 0xfff0. */
    .globl guest_rom_start, guest_rom_end
    .balign 16
guest_rom_start:
    .code16
rom_text:
    mov $REPORT, %dx
    mov $0x41, %al
    out %al, %dx
    in %dx, %ax                    /* the test answers 0x1234 */
    inc %ax
    out %ax, %dx
    cld
    mov $(string - guest_rom_start), %si
    mov $5, %cx
    rep outsb %cs:(%si), %dx       /* string I/O, elements at a pointer */
    movw $0x5aa5, %cs:(0x10)       /* a write to ROM is an access, not a fault */
    mov %cs:(0x0), %ax
    out %ax, %dx                   /* and changes nothing: the first opcode bytes */
    mov $END, %dx
    out %al, %dx
    hlt
string: .ascii "hallo"
    .org guest_rom_start + 0xfff0
    .byte 0xe9                     /* jmp rom_text, 16-bit displacement */
    .word (rom_text - guest_rom_start) + 0xd     /* from 0xfff3, modulo 64 KiB */
    .org guest_rom_start + 0x10000
guest_rom_end:

/* Long mode, ring 0; RDI: an MMIO address. */
    .globl guest_mmio_start, guest_mmio_end
guest_mmio_start:
    .code64
    mov $0x1122334455667788, %rax
    mov %rax, 8(%rdi)
    movl $0xcafe, 4(%rdi)
    movb $0x7f, 1(%rdi)
    mov 16(%rdi), %rbx             /* the test answers */
    mov $REPORT, %edx
    mov %ebx, %eax
    out %eax, %dx
    shr $32, %rbx
    mov %ebx, %eax
    out %eax, %dx
    mov $END, %edx
    out %al, %dx
    hlt
guest_mmio_end:

/* Long mode; enables the APIC, then halts and reports each interrupt's number, for ever. */
    .globl guest_irq_start, guest_irq_end, guest_irq_spin, guest_irq_vector40, guest_irq_vector41, guest_irq_vector30
    .balign 16
guest_irq_start:
    mov $0xfee00000, %ebx
    movl $0x1ff, 0xf0(%rbx)        /* SVR: on */
    movl $0x700, 0x350(%rbx)       /* LINT0: ExtINT */
    movl $0, 0x80(%rbx)            /* TPR */
    mov $REPORT, %edx
    mov $0x100, %eax
    out %eax, %dx                  /* ready */
guest_irq_spin:
    sti
    hlt
    cli
    jmp guest_irq_spin
guest_irq_vector40:
    push %rax
    mov $0x40, %eax
    jmp eoi
guest_irq_vector41:
    push %rax
    mov $0x41, %eax
eoi:
    mov $REPORT, %edx
    out %eax, %dx
    movl $0, 0xb0(%rbx)            /* EOI */
    pop %rax
    iretq
guest_irq_vector30:                /* the 8259's: no EOI at the APIC */
    push %rax
    mov $0x30, %eax
    mov $REPORT, %edx
    out %eax, %dx
    pop %rax
    iretq
guest_irq_end:

/* Long mode, RDI: an MMIO address; a write that crosses a page with interrupts on, then END. The 8259's vectors 0x30 and
 * 0x31 report themselves. */
    .globl guest_split_start, guest_split_end, guest_split_vector30, guest_split_vector31
    .balign 16
guest_split_start:
    mov $0xfee00000, %ebx
    movl $0x1ff, 0xf0(%rbx)
    movl $0x700, 0x350(%rbx)       /* LINT0: ExtINT */
    movl $0, 0x80(%rbx)
    sti
    nop
    mov $0x1122334455667788, %rax
    mov %rax, 0xffc(%rdi)
    mov $20000, %ecx               /* room for the second one */
1:  nop
    loop 1b
    mov $END, %edx
    out %al, %dx
    hlt
guest_split_vector30:
    mov $0x30, %eax
    jmp 2f
guest_split_vector31:
    mov $0x31, %eax
2:  mov $REPORT, %edx
    out %eax, %dx
    iretq
guest_split_end:

/* Long mode, RSI: memory; Hyper-V's registers and an unknown hypercall. */
    .globl guest_hyperv_start, guest_hyperv_end
    .balign 16
guest_hyperv_start:
    mov $REPORT, %edi
    xor %edx, %edx
    mov $1, %eax
    mov $0x40000000, %ecx          /* who asks */
    wrmsr
    lea 1(%rsi), %eax              /* the hypercall page is there, on */
    mov $0x40000001, %ecx
    wrmsr
    mov $0x7777, %ecx              /* no such call: the answer's low word is 2 or 3 */
    xor %edx, %edx
    xor %r8d, %r8d
    call *%rsi
    or $1, %eax
    movzwl %ax, %eax
    mov %edi, %edx
    out %eax, %dx
    mov $0x40000020, %ecx          /* the reference counter, twice */
    rdmsr
    mov %eax, %ebx
    mov $100000, %ecx
1:  loop 1b
    mov $0x40000020, %ecx
    rdmsr
    cmp %ebx, %eax
    seta %al
    movzbl %al, %eax
    mov %edi, %edx
    out %eax, %dx
    lea 0x1001(%rsi), %eax         /* the reference TSC page, on */
    xor %edx, %edx
    mov $0x40000021, %ecx
    wrmsr
    mov $0x40000022, %ecx          /* rates */
    rdmsr
    mov %edi, %edx
    out %eax, %dx
    mov $0x40000023, %ecx
    rdmsr
    mov %edi, %edx
    out %eax, %dx
    mov $0x40000002, %ecx          /* index */
    rdmsr
    mov %edi, %edx
    out %eax, %dx
    mov $END, %edx
    out %al, %dx
    hlt
guest_hyperv_end:

/* Long mode; a one-shot APIC timer on vector 0x40, then END. RBX: APIC. */
    .globl guest_timer_start, guest_timer_end, guest_timer_vector40
    .balign 16
guest_timer_start:
    mov $0xfee00000, %ebx
    movl $0x1ff, 0xf0(%rbx)
    movl $0, 0x80(%rbx)
    movl $0xb, 0x3e0(%rbx)         /* divide by 1 */
    movl $0x40, 0x320(%rbx)        /* LVT timer, one-shot */
    movl $1000000, 0x380(%rbx)     /* 1 ms at KVM's 1 GHz bus */
    sti
1:  hlt
    jmp 1b
guest_timer_vector40:
    mov $END, %edx
    out %al, %dx
    cli
    hlt
guest_timer_end:

/* Long mode; writes one byte into pages RSI, RSI + 2 pages, RSI + 5 pages, then END. */
    .globl guest_dirty_start, guest_dirty_end
    .balign 16
guest_dirty_start:
    movb $1, (%rsi)
    movb $1, 0x2000(%rsi)
    movb $1, 0x5000(%rsi)
    mov $END, %edx
    out %al, %dx
    jmp guest_dirty_start
guest_dirty_end:

/* Long mode; counts in RCX; every round reports. */
    .globl guest_count_start, guest_count_end
    .balign 16
guest_count_start:
    inc %rcx
    mov $REPORT, %edx
    mov %ecx, %eax
    out %eax, %dx
    jmp guest_count_start
guest_count_end:

/* Any mode; never leaves by itself. */
    .globl guest_spin_start, guest_spin_end
guest_spin_start:
    jmp guest_spin_start
guest_spin_end:

/* Long mode; a second fault while the first has no handler: triple fault. */
    .globl guest_triple_start, guest_triple_end
guest_triple_start:
    ud2
guest_triple_end:
    .section .note.GNU-stack, "", @progbits
