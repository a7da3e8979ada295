; SPDX-License-Identifier: GPL-3.0-or-later
; Boot sector of the system-instruction comparison: loads the guest behind it to 0x30000 and enters
; flat 32-bit protected mode there. SECTORS is the guest's size.
    bits 16
    org 0x7c00
    jmp 0:start
seed:  dd 1                     ; patched by the driver
cases: dd 1000
detail: dd 0                   ; number of a case whose tables are written out
start:
    cli
    xor ax, ax
    mov ds, ax
    mov ss, ax
    mov sp, 0x7c00
    mov [drive], dl
    mov cx, SECTORS
    mov word [packet + 6], 0x3000
    mov dword [packet + 8], 1
more:
    push cx
    mov si, packet
    mov dl, [drive]
    mov ah, 0x42
    int 0x13
    jc failed
    add word [packet + 6], 0x20
    inc dword [packet + 8]
    pop cx
    loop more
    in al, 0x92
    or al, 2
    and al, 0xfe
    out 0x92, al
    mov al, 0xff
    out 0x21, al
    out 0xa1, al
    lgdt [gdtr]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    jmp dword 8:protected
failed:
    mov al, '!'
    out 0xe9, al
    hlt
    jmp failed
    bits 32
protected:
    mov ax, 16
    mov ds, ax
    mov es, ax
    mov fs, ax
    mov gs, ax
    mov ss, ax
    mov esp, 0x70000
    mov eax, [seed]
    mov edx, [cases]
    mov ebx, [detail]
    mov ecx, 0x30000
    jmp ecx
drive: db 0
    align 4
packet: db 16, 0
    dw 1, 0, 0
    dq 0
gdt: dq 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdtr: dw gdtr - gdt - 1
    dd gdt
    times 510 - ($ - $$) db 0
    dw 0xaa55
