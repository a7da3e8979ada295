; SPDX-License-Identifier: GPL-3.0-or-later
; Entry points of the system-instruction comparison: every exception ends in `arrived`, which notes the
; state it arrived with and goes on in C on a stack that is known to be good.
    bits 32
    section .text
    extern fuzz_start, fuzz_event, __bss_start, _end
    global entry, vectors, launch, df_entry
FLAT equ 0x10
entry:
    push ebx
    push edx
    push eax
    mov edi, __bss_start
    mov ecx, _end
    sub ecx, edi
    xor eax, eax
    cld
    rep stosb
    call fuzz_start
    jmp $

%macro stub 1
stub%1:
%if %1 != 8 && %1 != 10 && %1 != 11 && %1 != 12 && %1 != 13 && %1 != 14 && %1 != 17
    push dword 0xeeee
%endif
    push dword %1
    jmp arrived
%endmacro
%assign v 0
%rep 32
    stub v
%assign v v+1
%endrep

arrived:
    push ds
    push eax
    mov ax, FLAT
    mov ds, ax
    pop dword [note.eax]
    pop dword [note.ds]
    pop dword [note.vector]
    pop dword [note.error]
    pop dword [note.eip]
    pop dword [note.cs]
    pop dword [note.flags]
    mov dword [note.outer_esp], 0
    mov dword [note.outer_ss], 0
    test dword [note.flags], 0x20000
    jnz outer
    mov eax, cs
    xor eax, [note.cs]
    test al, 3
    jz same
outer:
    pop dword [note.outer_esp]
    pop dword [note.outer_ss]
    test dword [note.flags], 0x20000
    jz same
    pop dword [note.v86_es]
    pop dword [note.v86_ds]
    pop dword [note.v86_fs]
    pop dword [note.v86_gs]
same:
    mov [note.esp], esp
    mov [note.ss], ss
gather:
    mov [note.ebx], ebx
    mov [note.ecx], ecx
    mov [note.edx], edx
    mov [note.esi], esi
    mov [note.edi], edi
    mov [note.ebp], ebp
    mov [note.es], es
    mov [note.fs], fs
    mov [note.gs], gs
    mov eax, cr0
    mov [note.cr0], eax
    mov eax, cr2
    mov [note.cr2], eax
    str [note.tr]
    sldt [note.ldtr]
    mov ax, FLAT
    mov ss, ax
    mov esp, 0x70000
    mov es, ax
    mov fs, ax
    mov gs, ax
    clts
    cld
    push dword 2
    popfd
    push note
    call fuzz_event
    jmp $

; The double fault's own task.
df_entry:
    pop dword [note.error]
    mov dword [note.vector], 8
    mov dword [note.eax], 0
    mov dword [note.eip], 0
    mov dword [note.cs], 0
    mov dword [note.flags], 0
    mov dword [note.ds], 0
    mov dword [note.outer_esp], 0
    mov dword [note.outer_ss], 0
    mov dword [note.esp], 0
    mov dword [note.ss], 0
    jmp gather

; launch(struct start *): registers, then IRET into the case.
launch:
    mov esi, [esp + 4]
    mov esp, esi
    pop ebx
    pop ecx
    pop edx
    pop ebp
    pop edi
    pop eax
    mov ds, ax
    pop eax
    mov es, ax
    pop eax
    mov fs, ax
    pop eax
    mov gs, ax
    pop esi
    pop eax
    iretd

    section .data
    align 4
vectors:
%assign v 0
%rep 32
    dd stub %+ v
%assign v v+1
%endrep
    section .bss
    alignb 4
note:
.vector: resd 1
.error: resd 1
.cs: resd 1
.eip: resd 1
.flags: resd 1
.outer_ss: resd 1
.outer_esp: resd 1
.ss: resd 1
.esp: resd 1
.ds: resd 1
.es: resd 1
.fs: resd 1
.gs: resd 1
.eax: resd 1
.ebx: resd 1
.ecx: resd 1
.edx: resd 1
.esi: resd 1
.edi: resd 1
.ebp: resd 1
.cr0: resd 1
.tr: resd 1
.ldtr: resd 1
.v86_es: resd 1
.v86_ds: resd 1
.v86_fs: resd 1
.v86_gs: resd 1
.cr2: resd 1
