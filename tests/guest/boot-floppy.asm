; SPDX-License-Identifier: GPL-3.0-or-later
; A real-mode system on a floppy: the boot sector asks the BIOS for the drive's geometry, reads a marked
; sector on the last track of the last side, and enters 16-bit protected mode and comes back before it
; echoes keys. LAST is the number of the image's last sector, SECTORS and HEADS its geometry.
    bits 16
    org 0x7c00
    jmp 0:start
start:
    xor ax, ax
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov sp, 0x7c00
    mov [drive], dl
    mov ax, 3
    int 0x10
    mov si, hello
    call print
    mov ah, 8
    mov dl, [drive]
    xor di, di
    int 0x13
    jc bad
    and cl, 63
    cmp cl, SECTORS
    jne bad
    cmp dh, HEADS - 1
    jne bad
    mov si, geometry
    call print
    xor ax, ax
    mov es, ax
    mov ax, 0x0201
    mov bx, 0x8000
    mov ch, LAST / (SECTORS * HEADS)
    mov cl, SECTORS
    mov dh, HEADS - 1
    mov dl, [drive]
    int 0x13
    jc bad
    cmp dword [0x8000], 'LAST'
    jne bad
    mov si, last
    call print
    ; A write, read back through the controller.
    mov dword [0x8000], 'WROT'
    mov bx, 0x8000
    mov ax, 0x0301
    int 0x13
    jc bad
    mov dword [0x8000], 0
    mov ax, 0x0201
    int 0x13
    jc bad
    cmp dword [0x8000], 'WROT'
    jne bad
    mov si, wrote
    call print
    cli
    lgdt [gdtr]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    jmp 8:protected
protected:
    mov ax, 16
    mov es, ax
    mov byte [es:0], 'P'     ; through a descriptor whose base is near the end of the text screen
    mov byte [es:1], 0x1f
    mov eax, cr0
    and al, 0xfe
    mov cr0, eax
    jmp 0:real
real:
    xor ax, ax
    mov es, ax
    sti
    mov si, back
    call print
echo:
    xor ah, ah
    int 0x16
    mov ah, 0x0e
    int 0x10
    jmp echo
bad:
    mov si, wrong
    call print
    jmp $
print:
    lodsb
    or al, al
    jz .end
    mov ah, 0x0e
    mov bx, 7
    int 0x10
    jmp print
.end:
    ret
drive db 0
hello db "Floppy system", 13, 10, 0
geometry db "geometry ok", 13, 10, 0
last db "last sector ok", 13, 10, 0
wrote db "write ok", 13, 10, 0
back db "16-bit protected mode ok", 13, 10, "keys> ", 0
wrong db "WRONG", 0
    align 8
gdt dq 0
    dw 0xffff, 0x0000, 0x9a00, 0x0000   ; 16-bit code from 0
    dw 0xffff, 0x8f00, 0x920b, 0x0000   ; 16-bit data from 0xb8f00, near the end of the text screen; real mode keeps its limit
gdtr dw 23
    dd gdt
    times 510 - ($ - $$) db 0
    dw 0xaa55
