; SPDX-License-Identifier: GPL-3.0-or-later
; Boot sector of a disk: reads 64 sectors from 128 through INT 13h extensions, compares them (each word is
; its index), writes them back inverted at 4096, resets the drive, reads those again and compares.
; Ends through port F4h: 43h is success (status 67), 45h failure. Built with STAY it halts after its last word.
bits 16
org 0x7c00
    jmp 0:start
start:
    xor ax, ax
    mov ds, ax
    mov ss, ax
    mov sp, 0x7c00
    mov [drive], dl
    mov si, m_hi
    call puts
    mov ah, 0x41
    mov bx, 0x55aa
    mov dl, [drive]
    int 0x13
    jc fail
    mov dword [packet + 8], 128
    mov ah, 0x42
    call transfer
    mov si, m_read
    call puts
    xor bx, bx
    call compare
    not bx              ; bx = ffff: expected inverted
    xor di, di
    mov cx, 64 * 256
.n: not word [es:di]
    add di, 2
    loop .n
    mov dword [packet + 8], 4096
    mov ax, 0x4300
    call transfer
    mov si, m_write
    call puts
    xor di, di          ; forget it
    xor ax, ax
    mov cx, 64 * 256
    rep stosw
    mov dl, [drive]
    mov ah, 0
    int 0x13
    jc fail
    mov dword [packet + 8], 4096
    mov ah, 0x42
    call transfer
    mov bx, 0xffff
    call compare
    mov si, m_back
    call puts
%ifdef STAY
    hlt
    jmp $ - 1
%endif
    mov al, 0x21
    out 0xf4, al

transfer:
    mov si, packet
    mov dl, [drive]
    int 0x13
    jc fail
    push word 0x1000
    pop es
    ret

compare:
    xor di, di
    xor dx, dx
    mov cx, 64 * 256
.l: mov ax, dx
    xor ax, bx
    cmp [es:di], ax
    jne fail
    inc dx
    add di, 2
    loop .l
    ret

fail:
    mov si, m_fail
    call puts
    mov al, 0x22
    out 0xf4, al

puts:                   ; to the first serial line
    mov dx, 0x3f8
.c: lodsb
    test al, al
    jz .e
    mov ah, al
    add dx, 5
.w: in al, dx
    test al, 0x20
    jz .w
    sub dx, 5
    mov al, ah
    out dx, al
    jmp .c
.e: ret

packet: db 16, 0
    dw 64
    dw 0, 0x1000
    dq 0
drive: db 0
m_hi: db "hi", 10, 0
m_read: db "read ok", 10, 0
m_write: db "write ok", 10, 0
m_back: db "back ok", 10, 0
m_fail: db "failed", 10, 0
    times 510 - ($ - $$) db 0
    dw 0xaa55
