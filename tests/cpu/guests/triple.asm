; SPDX-License-Identifier: GPL-3.0-or-later
; A fault without any vector table: double, then triple fault.
org 0x7c00
bits 16
    lidt [none]
    ud2
    out 0xf4, al
none: dw 0
    dd 0
