; SPDX-License-Identifier: GPL-3.0-or-later
; Real mode: interrupt vectors, exceptions, interrupt shadow, far calls, limits, unreal mode, A20, self-modification.
%define BITSNOW 16
%include "bare.inc"
org 0x7c00
bits 16
start:
    xor ax, ax
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov sp, 0x7000
    cld

; vectors
    mov word [0x80*4], int80
    mov word [0x80*4+2], 0
    mov word [0*4], trap0
    mov word [0*4+2], 0
    mov word [6*4], trap6
    mov word [6*4+2], 0
    mov word [13*4], trap13
    mov word [13*4+2], 0
    mov word [1*4], trap1
    mov word [1*4+2], 0
    mov word [4*4], trap4
    mov word [4*4+2], 0

; INT n: IF and TF cleared inside, flags restored by IRET
    sti
    stc
    int 0x80
    jc .carry
    check "int80 flags", 0, 1
.carry:
    check "int80 seen", [seen], 0x80
    check "IF off inside", [inside_flags], 0
    pushf
    pop ax
    and eax, 0x200
    check "IF restored", eax, 0x200
    cli

; #DE restarts at the DIV
    xor ecx, ecx
    mov word [fault_ip], 0
.div: div cl
    check "DE address", [fault_ip], .div
; #UD
.ud: ud2
    check "UD address", [fault_ip], .ud
; word at 0xffff: #GP
    mov di, 0xffff
.gp: mov ax, [di]
    check "GP address", [fault_ip], .gp
; INTO
    mov al, 0x7f
    add al, 1
    mov dword [seen], 0
    into
    check "into", [seen], 4

; far call and return
    push word 0
    call 0x0000:far_target
    pop bx
    check "far", [seen], 0xfa

; single step: one trap per instruction
    mov dword [steps], 0
    pushf
    pop ax
    or ax, 0x100
    push ax
    popf
    nop
    nop
    nop
    pushf
    pop ax
    and ax, 0xfeff
    push ax
    popf
    nop
    check "single steps", [steps], 8

; MOV SS holds the step back
    mov dword [steps], 0
    pushf
    pop ax
    or ax, 0x100
    push ax
    mov bx, ss
    popf
    mov ss, bx
    nop
    and word [stack_flags], 0
    pushf
    pop ax
    and ax, 0xfeff
    push ax
    popf
    check "steps around mov ss", [steps], 7

; A20: off, 1 MiB + x wraps to x
    mov al, 0
    out 0x92, al
    mov ax, 0xffff
    mov fs, ax
    mov dword [0x6000], 0x11111111
    mov dword [fs:0x6010], 0x22222222
    check "a20 off wraps", [0x6000], 0x22222222
    mov al, 2
    out 0x92, al
    mov dword [fs:0x6010], 0x33333333
    check "a20 on", [0x6000], 0x22222222

; unreal mode: 4 GiB limit survives
    lgdt [gdt_ptr]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    mov bx, 8
    mov gs, bx
    and al, 0xfe
    mov cr0, eax
    xor bx, bx
    mov gs, bx
    mov edi, 0x00300000
    mov dword [gs:edi], 0xcafe1234
    mov eax, [gs:edi]
    check "unreal", eax, 0xcafe1234

; self-modifying code: the instruction after the store is the new one
    mov ecx, 3
.again:
    mov byte [.patch + 1], cl
    jmp short .patch
.patch: mov al, 0x55
    cmp al, cl
    je .smc_ok
    check "smc", eax, ecx
.smc_ok:
    loop .again
    mov byte [.near + 1], 0x77
.near: mov al, 0x11
    movzx eax, al
    check "smc next instruction", eax, 0x77

; string across the 64 KiB segment wrap: rep movsb wraps SI and DI
    mov byte [0xffff], 0xab
    mov byte [0x0000 + 0x5000], 0
    mov si, 0xffff
    mov di, 0x5000
    mov cx, 2
    mov al, [0]
    rep movsb
    check "movsb wrap si", esi, 1
    mov al, [0x5000]
    movzx eax, al
    check "movsb wrap value", eax, 0xab
    done

int80:
    mov dword [seen], 0x80
    pushf
    pop word [inside_flags]
    and word [inside_flags], 0x300
    iret
trap0:
    push bp
    mov bp, sp
    mov ax, [bp+2]
    mov [fault_ip], ax
    add word [bp+2], 2
    pop bp
    iret
trap6:
trap13:
    push bp
    mov bp, sp
    mov ax, [bp+2]
    mov [fault_ip], ax
    add word [bp+2], 2
    pop bp
    iret
trap1:
    inc dword [steps]
    iret
trap4:
    mov dword [seen], 4
    iret
far_target:
    mov dword [seen], 0xfa
    retf

routines 16
newline_text: db 10, 0
align 4
failures: dd 0
seen: dd 0
inside_flags: dd 0
fault_ip: dd 0
steps: dd 0
stack_flags: dd 0
align 8
gdt: dq 0
     dq 0x00cf92000000ffff
gdt_ptr: dw 15
         dd gdt
