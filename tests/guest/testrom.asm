; SPDX-License-Identifier: GPL-3.0-or-later
; A 64 KiB ROM instead of a BIOS, as processor test ROMs are: starts at FFFFFFF0h, sees itself at F0000h and below 4 GiB,
; says codes at port 80h or PORT, ends by port F4h.
%ifndef PORT
%define PORT 0x80
%endif
%macro post 1
    mov al, %1
    mov dx, PORT
    out dx, al
%endmacro
    bits 16
    org 0
start:
    cli
    post 0x01
    mov ax, cs              ; F000 after the far jump
    cmp ax, 0xf000
    jne bad
    post 0x02
    lgdt [cs:gdt_pointer]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    jmp dword 8:0xf0000 + protected
bad:
    post 0xee
    mov al, 1
    out 0xf4, al
    hlt
    bits 32
protected:
    mov ax, 16
    mov ds, ax
    mov es, ax
    post 0x03
    mov esi, 0xffff0000     ; both places show the same bytes
    mov edi, 0x000f0000
    mov ecx, 0x4000
    cld
    repe cmpsd
    jne bad32
    post 0x04
    mov eax, [0xffff0000]   ; and neither can be written
    not eax
    mov [0xffff0000], eax
    cmp [0xffff0000], eax
    je bad32
    not eax
    cmp [0xf0000], eax
    jne bad32
    post 0xff
    mov al, 0x10
    out 0xf4, al
    hlt
bad32:
    post 0xee
    mov al, 1
    out 0xf4, al
    hlt
gdt: dq 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdt_pointer:
    dw 23
    dd 0xf0000 + gdt
    times 0xfff0 - ($ - $$) db 0x90
    bits 16
    jmp 0xf000:start
    times 0x10000 - ($ - $$) db 0
