; SPDX-License-Identifier: GPL-3.0-or-later
; Real mode: strings, BCD, stack, segments, interrupts, 32-bit operands, self-modifying code.
bits 16
org 0
%macro expect 3         ; register/memory, value, test number
    cmp %1, %2
    je %%ok
    mov al, %3
    jmp fail
%%ok:
%endmacro
start:
    mov ax, cs
    mov ds, ax
    mov es, ax
    cld
    ; 1: rep movsb forward and overlapping fill
    mov si, data
    mov di, buf
    mov cx, 16
    rep movsb
    expect word [buf+14], 0x0f0e, 1
    mov byte [buf], 0x5a
    mov si, buf
    mov di, buf+1
    mov cx, 15
    rep movsb
    expect word [buf+14], 0x5a5a, 2
    expect cx, 0, 3
    ; backward
    std
    mov si, data+15
    mov di, buf+15
    mov cx, 8
    rep movsw
    cld
    expect word [buf+2], 0x0302, 4
    ; scas / cmps
    mov di, data
    mov al, 7
    mov cx, 100
    repne scasb
    expect di, data+8, 5
    expect cx, 92, 6
    mov si, data+1
    mov di, buf+1
    mov byte [buf+5], 0x99
    mov cx, 14
    repe cmpsb
    expect si, data+6, 7
    ; BCD
    mov al, 0x19
    add al, 0x28
    daa
    expect al, 0x47, 8
    mov ax, 0x0107
    aad
    expect ax, 17, 9
    aam
    expect ax, 0x0107, 10
    ; push sp, pusha
    mov bp, sp
    push sp
    pop ax
    expect ax, bp, 11
    mov bx, 0x1234
    pusha
    mov bx, 0
    popa
    expect bx, 0x1234, 12
    ; an interrupt through the vector table
    xor ax, ax
    mov fs, ax
    mov word [fs:0x60*4], handler
    mov word [fs:0x60*4+2], cs
    mov dx, 0
    stc
    int 0x60
    jnc bad13
    expect dx, 0x55aa, 13
    ; divide error returns to the instruction
    mov word [fs:0], divide
    mov word [fs:2], cs
    mov cl, 0
    mov ax, 100
    div cl
    expect al, 20, 14
    ; 32-bit operands and addresses in 16-bit code
    mov eax, 0x12345678
    mov ebx, 4
    mov [dword ebx*4 + buf], eax
    expect dword [buf+16], 0x12345678, 15
    shld eax, ebx, 8
    expect eax, 0x34567800, 16
    ; self-modifying code: the next instruction of the same block
    mov byte [patch+1], 0x77
    nop
patch:
    mov al, 0x11
    expect al, 0x77, 17
    ; in a loop, so that the block is cached before it is written
    mov cx, 5
    xor dx, dx
again:
    inc byte [patch2+2]
patch2:
    add dx, byte 0
    loop again
    expect dx, 15, 18
    ; enter/leave, call/ret n
    push word 7
    call twice
    expect ax, 14, 19
    ; segment wrap: a word at offset ffff faults (#GP, vector 13)
    mov word [fs:13*4], gpfault
    mov word [fs:13*4+2], cs
    mov bx, 0xffff
    mov dx, 0
    mov ax, [bx]
    nop
    expect dx, 0x1313, 20
    mov si, ok_text
    jmp done
bad13:
    mov al, 13
fail:
    mov ah, al
    mov dx, 0xe9
    shr al, 4
    call hex
    mov al, ah
    and al, 15
    call hex
    mov al, ah
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
twice:
    enter 4, 0
    mov ax, [bp+4]
    add ax, ax
    leave
    ret 2
handler:
    mov dx, 0x55aa
    iret
divide:
    mov cl, 5
    iret
gpfault:
    mov dx, 0x1313
    push bp
    mov bp, sp
    add word [bp+2], 2          ; skip the two-byte load
    pop bp
    iret
done:
    mov dx, 0xe9
    mov cx, ok_len
    rep outsb
    mov al, 0
    out 0xf4, al
    hlt
align 16
data: db 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
buf: times 64 db 0
ok_text: db "real mode fine", 10
ok_len equ $ - ok_text
