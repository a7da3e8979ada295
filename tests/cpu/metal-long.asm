; SPDX-License-Identifier: GPL-3.0-or-later
; Real -> protected -> long mode, exceptions and their frames, paging, code seen through two
; addresses, self-modifying code, 128-bit arithmetic, LOCK; then a loop that measures.
bits 16
org 0x10000
start:
    cli
    mov ax, cs
    mov ds, ax
    lgdt [gdtr - 0x10000]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    jmp dword 0x08:protected
bits 32
protected:
    mov ax, 0x10
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov esp, 0x90000
    ; identity map 64 MiB with 2 MiB pages at 0x20000.., page tables built by code
    mov edi, 0x20000
    xor eax, eax
    mov ecx, 0x4000
    rep stosd
    mov dword [0x20000], 0x21003
    mov dword [0x21000], 0x22003
    mov eax, 0x83
    mov edi, 0x22000
    mov ecx, 32
.fill:
    mov [edi], eax
    add eax, 0x200000
    add edi, 8
    loop .fill
    ; 4 KiB tables for 0x4000000: two addresses for the frame at 0x300000
    mov dword [0x22000 + 32*8], 0x23003
    mov dword [0x23000], 0x300003
    mov dword [0x23008], 0x300003
    mov dword [0x23010], 0x301001       ; read-only
    mov eax, cr4
    or eax, 0x20 | 0x600
    mov cr4, eax
    mov eax, 0x20000
    mov cr3, eax
    mov ecx, 0xc0000080
    rdmsr
    or eax, 0x901
    wrmsr
    mov eax, cr0
    or eax, 0x80010002
    and eax, ~4
    mov cr0, eax
    jmp 0x18:long_mode
bits 64
%macro expect 3
    mov r15d, %3
    cmp %1, %2
    jne fail
%endmacro
long_mode:
    mov rsp, 0x90000
    ; IDT: gates 0..31 to a common stub each
    lea rsi, [rel stubs]
    mov rdi, 0x30000
    mov ecx, 32
.gate:
    mov rax, rsi
    mov [rdi], ax
    mov word [rdi+2], 0x18
    mov word [rdi+4], 0x8e00
    shr rax, 16
    mov [rdi+6], ax
    shr rax, 16
    mov [rdi+8], eax
    mov dword [rdi+12], 0
    add rdi, 16
    add rsi, 16
    dec ecx
    jnz .gate
    lidt [rel idtr]
    ; 1: page fault on a read-only page: error code, CR2
    lea r14, [rel .after1]
    mov rbx, 0x4002000
    mov dword [rbx+8], 1
.after1:
    expect r12, 14, 1
    expect r13, 3, 2
    mov rax, cr2
    mov rbx, 0x4002008
    expect rax, rbx, 3
    ; not present, write crossing from a present page: nothing may change
    lea r14, [rel .after2]
    mov rbx, 0x4001ffe
    mov qword [0x301000], 0
    mov byte [0x300ffe], 0x5a
    mov dword [rbx], 0x11223344          ; 4001000 is writable, 4002000 is not
.after2:
    expect r12, 14, 4
    expect byte [0x300ffe], 0x5a, 5
    ; #UD, #GP by non-canonical address, #DE
    lea r14, [rel .after3]
    ud2
.after3:
    expect r12, 6, 6
    lea r14, [rel .after4]
    mov rbx, 0x8000000000000000
    mov al, [rbx]
.after4:
    expect r12, 13, 7
    lea r14, [rel .after5]
    xor edx, edx
    xor ecx, ecx
    div rcx
.after5:
    expect r12, 0, 8
    ; 128 by 64 division, multiplication
    mov rdx, 1
    mov rax, 0
    mov rcx, 3
    div rcx
    mov rbx, 0x5555555555555555
    expect rax, rbx, 9
    expect rdx, 1, 10
    mov rax, -7
    cqo
    mov rcx, 2
    idiv rcx
    expect rax, -3, 11
    expect rdx, -1, 12
    mov rax, 0xffffffffffffffff
    mul rax
    expect rax, 1, 13
    expect rdx, -2, 14
    ; code in the frame at 0x300000, run by one address, written by the other
    mov dword [0x4000000], 0x000001b8    ; mov eax, 1 ; ret
    mov word [0x4000004], 0xc300
    mov rcx, 0x4000000
    call rcx
    expect eax, 1, 15
    mov byte [0x4001001], 9
    call rcx
    expect eax, 9, 16
    mov rcx, 0x4001000
    call rcx
    expect eax, 9, 17
    ; the same after remapping the page: other bytes at the same address
    mov dword [0x302000], 0x000022b8
    mov word [0x302004], 0xc300
    mov dword [0x23008], 0x302003
    invlpg [rcx]
    call rcx
    expect eax, 0x22, 18
    ; an instruction across two pages, then its second half changes
    mov dword [0x23010], 0x303003
    mov rax, 0x4002000
    invlpg [rax]
    mov word [0x302ffe], 0x00b8          ; mov eax, imm32 with 3 bytes in the next page
    mov dword [0x303000], 0x01000001
    mov byte [0x303003], 0xc3
    mov rcx, 0x4001ffe
    call rcx
    expect eax, 0x00000100, 19
    mov byte [0x303000], 2
    call rcx
    expect eax, 0x00000200, 20
    ; LOCK on split lines and in registers of the same word
    mov rbx, 0x30003e
    mov dword [rbx], 5
    lock add dword [rbx], 3
    expect dword [rbx], 8, 21
    mov eax, 8
    mov ecx, 77
    lock cmpxchg [rbx], ecx
    expect dword [rbx], 77, 22
    ; rep stosq over pages, rep movsq
    mov rdi, 0x400010
    mov rax, 0x1122334455667788
    mov ecx, 5000
    rep stosq
    expect rdi, 0x400010 + 40000, 23
    expect qword [0x400010 + 39992], rax, 24
    mov rsi, 0x400010
    mov rdi, 0x500003
    mov ecx, 5000
    rep movsq
    expect qword [0x500003 + 39992], rax, 25
    ; flags: adc chain, shifts by zero keep them
    stc
    mov ecx, 0
    mov eax, 1
    shl eax, cl
    mov r15d, 26
    jnc fail
    mov rax, -1
    mov rdx, 5
    add rax, 1
    adc rdx, 0
    expect rdx, 6, 27
    ; a syscall-like far return to compatibility mode and back
    push qword 0x08
    lea rax, [rel compat]
    push rax
    retfq
bits 32
compat:
    mov eax, 0x12345678
    inc eax
    dec eax
    mov bx, 0x10
    mov ss, bx
    push eax
    pop ecx
    jmp 0x18:.back
.back:
bits 64
    expect ecx, 0x12345678, 28
    ; the measured loop: loads, stores, arithmetic, branches, a call
    mov rbx, 0x600000
    mov ecx, 3000000
    xor eax, eax
.loop:
    mov rdx, rcx
    and edx, 0xff8
    add rax, [rbx+rdx]
    mov [rbx+rdx], rcx
    lea rsi, [rax+rcx*2]
    xor rsi, rdx
    cmp rsi, 100
    jb .skip
    add eax, 3
.skip:
    call .leaf
    dec ecx
    jnz .loop
    lea rsi, [rel ok_text]
    mov ecx, ok_len
    mov dx, 0xe9
    rep outsb
    xor eax, eax
    out 0xf4, al
    hlt
.leaf:
    push rbx
    test al, 1
    pop rbx
    ret
fail:
    mov eax, r15d
    mov dx, 0xe9
    shr al, 4
    call hex
    mov eax, r15d
    and al, 15
    call hex
    mov eax, r15d
    out 0xf4, al
    hlt
hex:
    add al, '0'
    cmp al, '9'
    jbe .put
    add al, 7
.put:
    out dx, al
    ret
; Exception stubs: r12 = vector, r13 = error code or 0; resumes at r14.
align 16
stubs:
%assign v 0
%rep 32
    align 16
    %if v == 8 || (v >= 10 && v <= 14) || v == 17
    pop r13
    %else
    xor r13d, r13d
    %endif
    mov r12d, v
    jmp resume
%assign v v+1
%endrep
resume:
    mov [rsp], r14
    iretq
align 8
gdt:
    dq 0
    dq 0x00cf9b000000ffff
    dq 0x00cf93000000ffff
    dq 0x00af9b000000ffff
gdtr: dw 31
    dd gdt
idtr: dw 511
    dq 0x30000
ok_text: db "long mode fine", 10
ok_len equ $ - ok_text
