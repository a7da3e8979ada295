; SPDX-License-Identifier: GPL-3.0-or-later
; Boot sector of a floppy: reads a cylinder through INT 13h and compares it, writes it elsewhere,
; waits half a second of timer ticks, reads the clock, and echoes typed keys until Enter.
; Ends through port F4h: 43h is success (status 67), 45h failure with the BIOS's code on the line.
bits 16
org 0x7c00
start:
    xor ax, ax
    mov ds, ax
    mov ss, ax
    mov sp, 0x7c00
    mov si, m_hi
    call puts
    ; read cylinder 3: head 0 sector 1, 18 sectors and head 1
    mov ax, 0x1000
    mov es, ax
    xor bx, bx
    mov ax, 0x0212      ; 18 sectors
    mov cx, 0x0301
    mov dx, 0x0000
    int 0x13
    jc fail
    mov ax, 0x0212
    mov bx, 0x2400
    mov cx, 0x0301
    mov dx, 0x0100
    int 0x13
    jc fail
    ; checksum words: image holds words = index
    xor di, di
    mov cx, 36*256
    xor ax, ax
.l: cmp [es:di], ax
    jne fail
    inc ax
    add di, 2
    loop .l
    mov si, m_read
    call puts
    ; write it to cylinder 5
    mov ax, 0x0312
    xor bx, bx
    mov cx, 0x0501
    mov dx, 0
    int 0x13
    jc fail
    mov si, m_write
    call puts
    ; timer: wait 9 ticks
    mov ah, 0
    int 0x1a
    mov bx, dx
    sti
.t: hlt
    mov ah, 0
    int 0x1a
    sub dx, bx
    cmp dx, 9
    jb .t
    mov si, m_tick
    call puts
    mov ah, 2
    int 0x1a
    jc fail
    mov si, m_rtc
    call puts
    mov al, ch
    call hex
    mov al, cl
    call hex
    mov si, m_key
    call puts
.k: mov ah, 0
    int 0x16
    cmp al, 13
    je .done
    call putc
    jmp .k
.done:
    mov al, 0x21
    out 0xf4, al
    hlt
fail:
    push ax
    mov si, m_fail
    call puts
    pop ax
    mov al, ah
    call hex
    mov al, 0x22
    out 0xf4, al
    hlt
hex:
    push ax
    shr al, 4
    call .d
    pop ax
.d: and al, 15
    add al, '0'
    cmp al, '9'
    jbe putc
    add al, 7
putc:
    push dx
    push ax
    mov dx, 0x3fd
.w: in al, dx
    test al, 0x20
    jz .w
    pop ax
    mov dx, 0x3f8
    out dx, al
    pop dx
    ret
puts:
    lodsb
    test al, al
    jz .e
    call putc
    jmp puts
.e: ret
m_hi db "hi",10,0
m_read db "read ok",10,0
m_write db "write ok",10,0
m_tick db "ticks ok",10,0
m_rtc db "rtc ",0
m_key db 10,"type",10,0
m_fail db "FAIL ",0
times 510-($-$$) db 0
dw 0xaa55
