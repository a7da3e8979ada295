; SPDX-License-Identifier: GPL-3.0-or-later
; Four processors: INIT and SIPI, locked counting, IPIs in both directions, a TLB shootdown, code that another
; processor changes.
%define BITSNOW 16
%include "bare.inc"
org 0x7c00
bits 16
start:
    cli
    xor ax, ax
    mov ds, ax
    mov ss, ax
    mov sp, 0x7000
    lgdt [gdt_ptr]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    jmp dword 8:main
APIC equ 0xfee00000
PD equ 0x100000
PT equ 0x101000
ROUNDS equ 20000

times 0x8000 - 0x7c00 - ($ - $$) db 0
ap_start:                                   ; CS is 0800:0000
    cli
    xor ax, ax
    mov ds, ax
    lgdt [gdt_ptr]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    jmp dword 8:ap_main

%define BITSNOW 32
bits 32
%macro flat 0
    mov ax, 0x10
    mov ds, ax
    mov es, ax
    mov ss, ax
    lidt [idt_ptr]
    mov dword [APIC + 0xf0], 0x1ff
    mov eax, PD
    mov cr3, eax
    mov eax, cr4
    or al, 0x10
    mov cr4, eax
    mov eax, cr0
    or eax, 0x80010000
    mov cr0, eax
%endmacro
%macro wait_for 2                           ; until [%1] == %2, at most a few seconds
    mov ecx, 20000000
%%more:
    pause
    cmp dword [%1], %2
    je %%there
    dec ecx
    jnz %%more
%%there:
%endmacro

main:
    mov ax, 0x10
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov esp, 0x7000
    mov edi, PT
    mov eax, 3
    mov ecx, 1024
.pte: mov [edi], eax
    add eax, 0x1000
    add edi, 4
    loop .pte
    mov dword [PD], PT + 3
    mov dword [PD + 0x3fb * 4], 0xfec00083
    mov eax, ipi_handler
    mov [idt + 0x50*8], ax
    mov word [idt + 0x50*8 + 2], 8
    mov dword [idt + 0x50*8 + 4], 0x8e00
    mov eax, answer_handler                 ; a vector for each sender: equal ones would merge in the IRR
    mov edi, idt + 0x61*8
    mov ecx, 3
.answer:
    mov [edi], ax
    mov word [edi + 2], 8
    mov dword [edi + 4], 0x8e00
    add edi, 8
    loop .answer
    mov eax, shoot_handler
    mov [idt + 0x51*8], ax
    mov word [idt + 0x51*8 + 2], 8
    mov dword [idt + 0x51*8 + 4], 0x8e00
    flat
    sti
    mov dword [APIC + 0x300], 0xc4500       ; INIT, all but self
    mov ecx, 10000
.pause: dec ecx
    jnz .pause
    mov dword [APIC + 0x300], 0xc4608       ; SIPI at 8000, twice
    mov ecx, 10000
.pause2: dec ecx
    jnz .pause2
    mov dword [APIC + 0x300], 0xc4608
    wait_for awake, 3
    check "processors awake", [awake], 3
    mov dword [go], 1
    mov ecx, ROUNDS
.count: lock inc dword [counter]
    dec ecx
    jnz .count
    wait_for counted, 3
    check "locked counter", [counter], ROUNDS * 4
; every AP answers an IPI with one to processor 0
    mov dword [APIC + 0x300], 0xc4050
    wait_for answers, 3
    check "IPIs answered", [answers], 3
    check "each got one", [ipi_seen], 3
; TLB shootdown: the APs have read page 300000; it is mapped elsewhere, and they are told
    mov dword [0x300000], 0x1111
    mov dword [0x301000], 0x2222
    mov dword [phase], 1
    wait_for read_once, 3
    mov dword [PT + 0x300*4], 0x301003
    invlpg [0x300000]
    mov dword [APIC + 0x300], 0xc4051
    wait_for shot, 3
    check "shootdowns", [shot], 3
    mov dword [phase], 2
    wait_for read_new, 3
    check "all see the new page", [read_new], 3
; code changed by this processor: the APs call it after they were told
    mov byte [patched + 1], 0x22
    mov dword [phase], 3
    wait_for called_new, 3
    check "all run the new code", [called_new], 3
    done

ap_main:
    flat
    mov eax, [APIC + 0x20]
    shr eax, 24
    mov esp, eax
    shl esp, 10
    add esp, 0x4000
    call patched
    lock inc dword [awake]
.wait: pause
    cmp dword [go], 0
    je .wait
    mov ecx, ROUNDS
.count: lock inc dword [counter]
    dec ecx
    jnz .count
    lock inc dword [counted]
    sti
.phase1: hlt                                ; the IPI wakes
    cmp dword [phase], 1
    jb .poll
    jmp .go1
.poll: pause
    cmp dword [phase], 1
    jb .poll
.go1:
    mov eax, [0x300000]
    cmp eax, 0x1111
    jne .fail
    lock inc dword [read_once]
.poll2: pause
    cmp dword [phase], 2
    jb .poll2
    mov eax, [0x300000]
    cmp eax, 0x2222
    jne .fail
    lock inc dword [read_new]
.poll3: pause
    cmp dword [phase], 3
    jb .poll3
    xor eax, eax
    cpuid                                   ; the architecture asks for a serializing instruction
    call patched
    cmp al, 0x22
    jne .fail
    lock inc dword [called_new]
.fail: hlt
    jmp .fail

ipi_handler:
    push eax
    lock inc dword [ipi_seen]
    mov dword [APIC + 0x310], 0
    mov eax, [APIC + 0x20]
    shr eax, 24
    add eax, 0x4060
    mov [APIC + 0x300], eax
    mov dword [APIC + 0xb0], 0
    pop eax
    iret
answer_handler:
    lock inc dword [answers]
    mov dword [APIC + 0xb0], 0
    iret
shoot_handler:
    invlpg [0x300000]
    lock inc dword [shot]
    mov dword [APIC + 0xb0], 0
    iret
align 64
patched: mov al, 0x11
    ret
align 64
routines 16
routines 32
newline_text: db 10, 0
align 8
gdt: dq 0
    dq 0x00cf9b000000ffff
    dq 0x00cf93000000ffff
gdt_ptr: dw 23
    dd gdt
idt_ptr: dw 2047
    dd idt
align 64
failures: dd 0
awake: dd 0
go: dd 0
counter: dd 0
counted: dd 0
ipi_seen: dd 0
answers: dd 0
phase: dd 0
read_once: dd 0
shot: dd 0
read_new: dd 0
called_new: dd 0
align 16
idt: times 2048 db 0
