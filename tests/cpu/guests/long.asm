; SPDX-License-Identifier: GPL-3.0-or-later
; Long mode: calls and returns (calls.inc), IST, SYSCALL, page rights (NX, SMEP, SMAP), canonical addresses, compatibility mode, FS/GS bases, APIC.
%define BITSNOW 16
%include "bare.inc"
org 0x7c00
bits 16
start:
    cli
    xor ax, ax
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov sp, 0x7000
    ; PML4 at 0x100000: identity of the first 2 MiB by 4 KiB pages (user), 0x200000.. by one 2 MiB page
    lgdt [gdt_ptr]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    jmp dword 8:prot
bits 32
%define BITSNOW 32
prot:
    mov ax, 0x10
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov edi, 0x100000
    xor eax, eax
    mov ecx, 0x2000
    rep stosd
    mov dword [0x100000], 0x101007
    mov dword [0x101000], 0x102007
    mov dword [0x102000], 0x103007
    mov dword [0x102008], 0x200087
    mov dword [0x102010], 0xfec00083
    mov edi, 0x103000
    mov eax, 7
    mov ecx, 512
.pte: mov [edi], eax
    add eax, 0x1000
    add edi, 8
    loop .pte
    mov eax, 0x20
    mov cr4, eax
    mov eax, 0x100000
    mov cr3, eax
    mov ecx, 0xc0000080
    rdmsr
    or eax, 0x901              ; SCE, LME, NXE
    wrmsr
    mov edx, cr0
    or edx, 0x80010000
    mov cr0, edx
    rdmsr
    check "EFER", eax, 0xd01
    jmp 0x18:main

%define BITSNOW 64
default abs
bits 64
DATA0 equ 0x10
CODE64 equ 0x18
DATA3 equ 0x28 + 3
CODE3 equ 0x30 + 3
TSS equ 0x38
PT equ 0x103000

%assign line 0
%macro attempt 3+
    lea rax, [%%after]
    mov [resume], rax
    mov dword [vector], 0xff
    mov dword [error], 0xeee
    mov [safe_rsp], rsp
%%at: %3
%%after:
%assign line line+1
%defstr line_text line
%strcat name_text "attempt ", line_text
    check name_text, [vector], %1
    check name_text, [error], %2
%endmacro
%macro ring3 1
    lea rax, [%%after]
    mov [resume], rax
    mov dword [vector], 0xff
    mov [safe_rsp], rsp
    push qword DATA3
    push qword 0x6000
    push qword 2
    push qword CODE3
    lea rax, [%1]
    push rax
    iretq
%%after:
%endmacro

main:
    mov rsp, 0x7000
    mov rdi, idt
    lea rax, [stubs]
    mov ecx, 256
.gate:
    mov [rdi], ax
    mov word [rdi+2], CODE64
    mov word [rdi+4], 0x8e00
    mov rbx, rax
    shr rbx, 16
    mov [rdi+6], bx
    shr rbx, 16
    mov [rdi+8], ebx
    mov dword [rdi+12], 0
    add rax, 16
    add rdi, 16
    dec ecx
    jnz .gate
    mov word [idt+0x81*16+4], 0xee00
    mov byte [idt+14*16+4], 1               ; #PF on IST 1
    lidt [idt_ptr]
    mov ax, TSS
    ltr ax
    xor eax, eax
    mov ds, ax
    mov es, ax
    mov ss, ax

    attempt 6, 0xeee, ud2
    attempt 13, 0x1000, mov ds, [bad_selector_low]
    mov rbx, 0x8000000000000000
    attempt 13, 0, mov rax, [rbx]
    mov rbp, 0x0000800000000000
    attempt 12, 0, mov rax, [rbp]
    mov rbx, 0x00007ffffffffffc
    attempt 13, 0, mov rax, [rbx]
    mov rbx, 0xffff800000000000
    attempt 14, 0, mov rax, [rbx]
    mov rax, cr2
    shr rax, 32
    check "CR2 high", eax, 0xffff8000
    mov eax, [from_handler_rsp]
    and eax, 0xfffff000
    check "IST used", eax, 0x5000
    attempt 14, 2, mov [0x600000], rbx

; ---- NX, SMEP, SMAP
    mov byte [0x180000], 0xc3
    or dword [PT + 0x180*8 + 4], 0x80000000
    invlpg [0x180000]
    mov rbx, 0x180000
    attempt 14, 0x11, call rbx
    and dword [PT + 0x180*8 + 4], 0x7fffffff
    invlpg [0x180000]
    call rbx
    ; reserved bit
    or dword [PT + 0x181*8 + 4], 0x00000100
    invlpg [0x181000]
    attempt 14, 9, mov al, [0x181000]
    ; run from supervisor pages: 0x7000..0x17fff lose U, then SMEP and SMAP are safe to set
    mov ecx, 0x20
    mov rdi, PT
.super: and dword [rdi], ~4
    add rdi, 8
    loop .super
    mov rax, cr3
    mov cr3, rax
    mov rax, cr4
    or eax, 0x300000
    mov cr4, rax
    attempt 14, 0x11, call rbx              ; SMEP
    attempt 14, 1, mov al, [0x180000]       ; SMAP
    attempt 14, 3, mov [0x180000], al
    stac
    mov al, [0x180000]
    clac
    movzx eax, al
    check "stac lets in", eax, 0xc3
    attempt 14, 1, mov al, [0x180000]
    mov rax, cr4
    and eax, ~0x300000
    mov cr4, rax
    mov ecx, 0x20
    mov rdi, PT
.user: or dword [rdi], 4
    add rdi, 8
    loop .user
    mov rax, cr3
    mov cr3, rax

; ---- An instruction across two pages: each half written, the second page another one at another address, absent
    mov rdi, 0x184ff0
    mov ecx, 14
    mov al, 0x90
    rep stosb
    mov word [0x184ffe], 0x11b8             ; mov eax, 44332211h; ret
    mov dword [0x185000], 0xc3443322
    mov dword [0x188000], 0xc3776655
    mov dword [PT + 0x186*8], 0x184007      ; the first page again, followed by another second one
    mov dword [PT + 0x187*8], 0x188007
    invlpg [0x186000]
    invlpg [0x187000]
%macro across 3
    mov r12d, 24
%%again:
    mov ebx, %1
    call rbx
    cmp eax, %2
    jne %%wrong
    mov ebx, %1 + 0x2000
    call rbx
    cmp eax, %3
    jne %%wrong
    dec r12d
    jnz %%again
%%wrong:
    check "across pages", r12d, 0
%endmacro
    across 0x184ff0, 0x44332211, 0x77665511
    mov byte [0x185001], 0x99
    across 0x184ff0, 0x44992211, 0x77665511
    mov byte [0x188000], 0x88
    across 0x184ff0, 0x44992211, 0x77668811
    mov byte [0x184fff], 0x12
    across 0x184ff0, 0x44992212, 0x77668812
    mov dword [PT + 0x185*8], 0x188007
    invlpg [0x185000]
    across 0x184ff0, 0x77668812, 0x77668812
    mov dword [PT + 0x185*8], 0
    invlpg [0x185000]
    mov ebx, 0x184ff0
    attempt 14, 0x10, call rbx
    mov rax, cr2
    check "CR2 of the second half", eax, 0x185000
    mov dword [PT + 0x185*8], 0x185007
    across 0x184ff0, 0x44992212, 0x77668812

%include "calls.inc"

; ---- 2 MiB page and A/D
    mov qword [0x234560], 7
    mov eax, [0x102008]
    check "A and D of a 2 MiB page", eax, 0x2000e7

; ---- SYSCALL, SYSRET
    mov ecx, 0xc0000081
    xor eax, eax
    mov edx, 0x00230018                     ; SYSCALL 18/20, SYSRET 33 (64-bit), 2b
    wrmsr
    mov ecx, 0xc0000082
    lea rax, [syscall_entry]
    xor edx, edx
    wrmsr
    mov ecx, 0xc0000084
    mov eax, 0x400
    wrmsr
    ring3 r3_syscall
    check "came from ring 3", [vector], 0x81
    check "syscall cs", [sys_cs], CODE64
    check "syscall r11", [sys_r11], 0x446
    check "DF masked", [sys_flags], 0x46
    check "sysret cs", [from_cs], CODE3
    check "sysret ss", [from_ss], DATA3
    check "rsp kept", [from_rsp], 0x6000
    ring3 r3_wrmsr
    check "wrmsr in ring 3", [vector], 13
    mov rcx, 0x123
    attempt 13, 0, rdmsr

; ---- FS and GS
    mov ecx, 0xc0000100
    mov eax, 0x4000
    xor edx, edx
    wrmsr
    mov qword [0x4010], 0x77
    mov eax, [fs:0x10]
    check "fs base", eax, 0x77
    mov rax, cr4
    or eax, 0x10000
    mov cr4, rax
    rdfsbase rax
    check "rdfsbase", eax, 0x4000
    mov eax, 0x4008
    wrgsbase rax
    mov ecx, 0xc0000102
    mov eax, 0x5558
    wrmsr
    swapgs
    rdgsbase rax
    check "swapgs", eax, 0x5558
    swapgs
    mov eax, [gs:8]
    check "gs base", eax, 0x77
    a32 mov eax, [fs:0x10]
    check "67h with fs", eax, 0x77

; ---- compatibility mode
    lea rax, [compat]
    push qword 8
    push rax
    retfq
bits 32
compat:
    mov ax, 0x10
    mov ds, ax
    mov ss, ax
    mov eax, 0xffffffff
    inc eax
    jmp 0x18:from_compat
bits 64
from_compat:
    check "compatibility mode", eax, 0

; ---- local APIC: identification, self IPI, timer, HLT
    mov rbx, 0x400000 + 0x200000            ; 0xfee00000 through the 2 MiB page at 4 MiB: entry 2 is fec00000
    mov rbx, 0x400000 + 0x200000 - 0x200000
    mov dword [0x102010], 0xfee00083
    invlpg [rbx]
    mov eax, [rbx + 0x30]
    and eax, 0xff
    check "APIC version", eax, 0x14
    mov dword [rbx + 0xf0], 0x1ff
    lea rax, [apic_handler]
    mov [idt+0x40*16], ax
    shr rax, 16
    mov [idt+0x40*16+6], ax
    mov dword [rbx + 0x300], 0x44040        ; self, fixed, vector 40
    mov eax, [rbx + 0x200 + 0x20]
    check "IRR", eax, 1
    sti
    nop
    nop
    cli
    check "self IPI taken", [apic_count], 1
    mov dword [rbx + 0x80], 0x40            ; TPR holds class 4 back
    mov dword [rbx + 0x300], 0x44040
    sti
    nop
    nop
    check "TPR holds", [apic_count], 1
    xor eax, eax
    mov cr8, rax
    nop
    nop
    check "CR8 lets in", [apic_count], 2
    mov dword [rbx + 0x3e0], 0xb            ; divide by 1
    mov dword [rbx + 0x320], 0x40
    mov dword [rbx + 0x380], 2000000        ; 2 ms
    hlt
    check "timer wakes HLT", [apic_count], 3
    mov dword [rbx + 0x380], 3000000
    mov ecx, 2000000000
.spin: cmp dword [apic_count], 4
    je .came
    dec ecx
    jnz .spin
.came:
    check "timer interrupts a loop", [apic_count], 4
    cli
    mov ecx, 0x6e0
    mov dword [rbx + 0x320], 0x40040        ; TSC deadline
    rdtsc
    add eax, 1000000
    adc edx, 0
    wrmsr
    sti
    hlt
    cli
    check "TSC deadline", [apic_count], 5

; ---- NMI to self: blocked until IRET
    mov qword [resume], .nmi
    mov [safe_rsp], rsp
    mov dword [rbx + 0x300], 0x44400
    nop
    nop
.nmi:
    check "NMI shorthand self is not sent", [vector], 13

; ---- #DF on a bad stack: push to a non-canonical RSP from an exception
    mov qword [resume], .df
    mov [keep_rsp], rsp
    mov byte [idt+8*16+4], 1
    mov rsp, 0x9000000000000000
    mov [safe_rsp], rsp
    ud2
.df:
    mov rsp, [keep_rsp]
    check "double fault", [vector], 8
    check "its error code", [error], 0
    done

r3_syscall:
    mov eax, 0x446
    push rax
    popfq
    syscall
    int 0x81
r3_wrmsr: wrmsr
syscall_entry:
    mov [sys_cs], cs
    mov [sys_r11], r11
    pushfq
    pop qword [sys_flags]
    o64 sysret
apic_handler:
    inc dword [apic_count]
    mov dword [rbx + 0xb0], 0
    iretq

align 16
stubs:
%assign n 0
%rep 256
    align 16
%if n == 8 || n == 10 || n == 11 || n == 12 || n == 13 || n == 14 || n == 17
    push qword n
%else
    push qword 0xeee
    push qword n
%endif
    jmp near taken
%assign n n+1
%endrep
taken:
    push rax
    mov [from_handler_rsp], rsp
    mov rax, [rsp+8]
    mov [vector], eax
    mov rax, [rsp+16]
    mov [error], eax
    mov rax, [rsp+32]
    mov [from_cs], rax
    mov rax, [rsp+48]
    mov [from_rsp], rax
    mov rax, [rsp+56]
    mov [from_ss], rax
    pop rax
    mov rsp, [safe_rsp]
    jmp [resume]

bits 16
%define BITSNOW 16
routines 16
bits 32
%define BITSNOW 32
routines 32
bits 64
%define BITSNOW 64
routines 64
newline_text: db 10, 0
align 8
gdt: dq 0
    dq 0x00cf9b000000ffff          ; 08
    dq 0x00cf93000000ffff          ; 10
    dq 0x00af9b000000ffff          ; 18
    dq 0x00cf93000000ffff          ; 20
    dq 0x00cff3000000ffff          ; 28
    dq 0x00affb000000ffff          ; 30
    dw 0x67, tss, 0x8900, 0        ; 38
    dq 0
gdt_end:
gdt_ptr: dw gdt_end - gdt - 1
    dd gdt
idt_ptr: dw 4095
    dq idt
failures: dd 0
vector: dq 0
error: dq 0
resume: dq 0
safe_rsp: dq 0
keep_rsp: dq 0
from_handler_rsp: dq 0
from_cs: dq 0
from_rsp: dq 0
from_ss: dq 0
sys_cs: dq 0
sys_r11: dq 0
sys_flags: dq 0
apic_count: dq 0
bad_selector_low: dq 0x1003
align 16
tss: dd 0
    dq 0x6800, 0, 0, 0, 0x6000 - 0x10
    times 0x68 - 0x2c db 0
align 16
idt: times 4096 db 0
