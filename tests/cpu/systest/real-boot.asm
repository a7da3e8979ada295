; SPDX-License-Identifier: GPL-3.0-or-later
; Boot sector of the real-mode comparison: loads the guest behind it to 0x10000 and enters it at 1000:0000 in real
; mode. SECTORS is the guest's size.
    bits 16
    org 0x7c00
    jmp 0:start
seed:  dd 1                     ; patched by the driver
cases: dd 1000
detail: dd 0
start:
    cli
    xor ax, ax
    mov ds, ax
    mov ss, ax
    mov sp, 0x7c00
    mov cx, SECTORS
more:
    push cx
    mov si, packet
    mov ah, 0x42
    int 0x13
    jc failed
    add word [packet + 6], 0x20
    inc dword [packet + 8]
    pop cx
    loop more
    mov al, 0xff
    out 0x21, al
    out 0xa1, al
    mov eax, [seed]
    mov edx, [cases]
    mov ebx, [detail]
    jmp 0x1000:0
failed:
    mov al, '!'
    out 0xe9, al
    hlt
    jmp failed
    align 4
packet: db 16, 0
    dw 1, 0, 0x1000
    dq 1
    times 510 - ($ - $$) db 0
    dw 0xaa55
