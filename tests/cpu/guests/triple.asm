; SPDX-License-Identifier: GPL-3.0-or-later
; A fault without any vector table: the double fault cannot be delivered either, and the processor shuts down.
org 0x7c00
bits 16
    cli
    lidt [none]
    ud2
    mov al, 1
    out 0xf4, al
none: dw 0
    dd 0
