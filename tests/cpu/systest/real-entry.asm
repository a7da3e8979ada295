; SPDX-License-Identifier: GPL-3.0-or-later
; Entry points of the real-mode comparison. Every interrupt vector leads to `arrived`, and so does the far jump behind the
; instruction of a case, which needs no stack.
    bits 16
    section .text
    extern real_start, real_event, __bss_start, _end
    global entry, launch, stubs, note, start, direct
entry:
    mov cx, cs
    mov ds, cx
    mov es, cx
    mov ss, cx
    mov esp, 0xfff0
    push eax
    mov edi, __bss_start
    mov ecx, _end
    sub ecx, edi
    xor eax, eax
    cld
    rep stosb
    pop eax
    push ebx
    push edx
    push eax
    call dword real_start
    jmp $

%macro stub 1
    mov byte [cs:note.vector], %1
    jmp near arrived
%endmacro
stubs:
%assign v 0
%rep 256
    stub v
%assign v v+1
%endrep

arrived:
    mov [cs:note.eax], eax
    mov [cs:note.esp], esp
    mov [cs:note.ss], ss
    pop word [cs:note.ip]
    pop word [cs:note.cs]
    pop word [cs:note.flags]
    mov byte [cs:note.vector + 1], 0
    mov word [cs:note.pushed], 1
gather:
    mov [cs:note.ebx], ebx
    mov [cs:note.ecx], ecx
    mov [cs:note.edx], edx
    mov [cs:note.esi], esi
    mov [cs:note.edi], edi
    mov [cs:note.ebp], ebp
    mov [cs:note.ds], ds
    mov [cs:note.es], es
    mov [cs:note.fs], fs
    mov [cs:note.gs], gs
    mov ax, cs
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov esp, 0xfff0
    push dword 2
    popfd
    call dword real_event
    jmp $

direct:
    mov [cs:note.eax], eax
    mov [cs:note.esp], esp
    mov [cs:note.ss], ss
    mov ax, cs
    mov ss, ax
    mov esp, 0xfff0
    pushf
    pop word [cs:note.flags]
    mov word [cs:note.vector], 0x100
    mov word [cs:note.pushed], 0
    mov word [cs:note.ip], 0
    mov word [cs:note.cs], 0
    jmp gather

launch:
    push dword [start.flags]
    popfd
    mov ebx, [start.ebx]
    mov ecx, [start.ecx]
    mov edx, [start.edx]
    mov esi, [start.esi]
    mov edi, [start.edi]
    mov ebp, [start.ebp]
    mov es, [start.es]
    mov fs, [start.fs]
    mov gs, [start.gs]
    mov eax, [start.eax]
    lss esp, [start.esp]
    mov ds, [start.ds]
    jmp far [cs:start.ip]

    section .data
    align 4
note:
.vector: dw 0
.pushed: dw 0
.ip: dw 0
.cs: dw 0
.flags: dw 0
.ss: dw 0
.ds: dw 0
.es: dw 0
.fs: dw 0
.gs: dw 0
.eax: dd 0
.ebx: dd 0
.ecx: dd 0
.edx: dd 0
.esi: dd 0
.edi: dd 0
.ebp: dd 0
.esp: dd 0
start:
.eax: dd 0
.ebx: dd 0
.ecx: dd 0
.edx: dd 0
.esi: dd 0
.edi: dd 0
.ebp: dd 0
.esp: dd 0
.ss: dw 0
.ds: dw 0
.es: dw 0
.fs: dw 0
.gs: dw 0
.ip: dw 0
.cs: dw 0
.pad: dw 0
.flags: dd 0
