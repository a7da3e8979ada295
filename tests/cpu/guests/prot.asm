; SPDX-License-Identifier: GPL-3.0-or-later
; 32-bit protected mode: selector checks, ring transitions, call gates, page faults, tasks, V86, double fault.
%define BITSNOW 16
%include "bare.inc"
org 0x7c00
bits 16
start:
    cli
    xor ax, ax
    mov ds, ax
    mov ss, ax
    mov sp, 0x7000
    lgdt [gdt_ptr]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    jmp dword 8:main

%define BITSNOW 32
bits 32
CODE0 equ 0x08
DATA0 equ 0x10
CODE3 equ 0x18 + 3
DATA3 equ 0x20 + 3
TSS0  equ 0x28
TSS1  equ 0x30
GATE  equ 0x38 + 3
CONF  equ 0x40
ABSENT equ 0x48
TSS16 equ 0x50
RODATA equ 0x58
DATA16 equ 0x60
PD    equ 0x100000
PT    equ 0x101000

; attempt VECTOR, ERROR, instruction...: the instruction must raise just that
%assign line 0
%macro attempt 3+
    mov dword [resume], %%after
    mov dword [vector], 0xff
    mov dword [error], 0xeee
    mov [safe_esp], esp
%%at: %3
%%after:
%assign line line+1
%defstr line_text line
%strcat name_text "attempt ", line_text
    check name_text, [vector], %1
    check name_text, [error], %2
%endmacro
; ring3 LABEL: run there with CPL 3 until it raises something or uses INT 0x81
%macro ring3 1
    mov dword [resume], %%after
    mov dword [vector], 0xff
    mov dword [error], 0xeee
    mov [safe_esp], esp
    push DATA3
    push dword 0x6000
    push dword [user_flags]
    push CODE3
    push dword %1
    iret
%%after:
%endmacro

main:
    mov ax, DATA0
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov esp, 0x7000
    ; IDT: 256 gates, DPL 0, to stubs of 8 bytes
    mov edi, idt
    mov eax, stubs
    mov ecx, 256
.gate:
    mov [edi], ax
    mov word [edi+2], CODE0
    mov word [edi+4], 0x8e00
    mov ebx, eax
    shr ebx, 16
    mov [edi+6], bx
    add eax, 16
    add edi, 8
    dec ecx
    jnz .gate
    mov word [idt+0x81*8+4], 0xee00
    mov word [idt+3*8+4], 0xee00
    lidt [idt_ptr]
    mov ax, TSS0
    ltr ax
    movzx eax, byte [gdt+TSS0+5]
    check "ltr sets busy", eax, 0x8b

; ---- selectors
    mov bx, 0x1000
    attempt 13, 0x1000, mov ds, bx
    mov bx, ABSENT
    attempt 11, ABSENT, mov es, bx
    mov bx, ABSENT
    attempt 12, ABSENT, mov ss, bx
    mov bx, CODE0
    attempt 13, CODE0, mov ss, bx
    xor ebx, ebx
    attempt 13, 0, mov ss, bx
    mov es, bx
    attempt 13, 0, mov eax, [es:0x1234]
    mov bx, RODATA
    mov fs, bx
    attempt 13, 0, mov [fs:0x6100], eax
    mov eax, [fs:0xffc]
    attempt 13, 0, mov eax, [fs:0xffd]
    movzx eax, byte [gdt+RODATA+5]
    check "accessed bit", eax, 0x91
    attempt 13, ABSENT, jmp 0x48+2:0
    attempt 13, 0, jmp 0:0
    attempt 13, DATA0, jmp DATA0:0
    attempt 6, 0xeee, ud2
    attempt 3, 0xeee, int3
    lar eax, [lar_sel]
    check "lar", eax, 0x00cf9b00
    lsl eax, [lar_sel]
    check "lsl", eax, 0xffffffff
    mov eax, 0x77
    mov ebx, 0xf000
    lar eax, ebx
    check "lar keeps register", eax, 0x77
    ; A 16-bit stack moves SP and BP only, but a 32-bit ENTER's frame pointer is all of ESP.
    mov cx, DATA0
    mov dx, DATA16
    mov [safe_esp], esp
    mov ss, dx
    mov esp, 0x56800
    mov ebp, 0x66600
    mov dword [0x65fc], 0x1234
    enter 8, 2
    mov eax, esp
    mov ebx, ebp
    mov ss, cx
    mov esp, [safe_esp]
    check "enter by SP", eax, 0x567ec
    check "its frame", ebx, 0x567fc
    check "frame before", [0x67fc], 0x66600
    check "copied level", [0x67f8], 0x1234
    check "own level", [0x67f4], 0x567fc
    mov ss, dx
    mov esp, 0x56800
    mov ebp, 0x66600
    o16 enter 8, 2
    mov eax, esp
    mov ebx, ebp
    mov ss, cx
    mov esp, [safe_esp]
    check "16-bit enter by SP", eax, 0x567f2
    check "16-bit frame", ebx, 0x667fe
    check "16-bit levels", [0x67fc], 0x66000000
    mov ss, dx
    mov esp, 0x56100
    mov ebp, 0x867fc
    mov dword [0x67fc], 0x12345678
    leave
    mov eax, esp
    mov ss, cx
    mov esp, [safe_esp]
    check "leave by SP", eax, 0x56800
    check "frame popped", ebp, 0x12345678

; ---- ring 3
    ring3 r3_cli
    check "cli vector", [vector], 13
    check "cli error", [error], 0
    check "cli cs", [from_cs], CODE3
    ring3 r3_hlt
    check "hlt vector", [vector], 13
    ring3 r3_int
    check "int to DPL 0", [vector], 13
    check "int to DPL 0 error", [error], 0x20*8+2
    ring3 r3_exit
    check "int 81 from ring 3", [vector], 0x81
    check "its cs", [from_cs], CODE3
    check "its ss", [from_ss], DATA3
    check "its esp", [from_esp], 0x6000
    ring3 r3_io_denied
    check "in without right", [vector], 13
    ring3 r3_io_allowed
    check "in with bitmap", [vector], 0x81
    ring3 r3_gate
    check "gate came back", [vector], 0x81
    check "gate parameter", [gate_param], 0x1234567
    check "gate cpl", [gate_cs], CODE0
    check "esp after gate", [from_esp], 0x6000
    ring3 r3_conforming
    check "conforming stays in ring 3", [gate_cs], CONF + 3
    ring3 r3_ds
    check "ring 3 loads ring 0 data", [vector], 13
    check "error", [error], DATA0
    ring3 r3_popf
    check "popf keeps IF and IOPL", [gate_param], 2

; ---- single step of ring 0
    mov dword [resume], .stepped
    mov [safe_esp], esp
    pushf
    or dword [esp], 0x100
    popf
    nop
.stepped:
    check "TF vector", [vector], 1
    mov eax, dr6
    and eax, 0x4000
    check "DR6.BS", eax, 0x4000
; data breakpoint
    mov eax, watched
    mov dr0, eax
    mov eax, 0xd0001
    mov dr7, eax
    xor eax, eax
    mov dr6, eax
    attempt 1, 0xeee, mov dword [watched], 5
    mov eax, dr6
    and eax, 0xf
    check "DR6.B0", eax, 1
    check "write was done", [watched], 5
; instruction breakpoint
    mov eax, .break_here
    mov dr1, eax
    mov eax, 4
    mov dr7, eax
    xor eax, eax
    mov dr6, eax
    mov ebx, 1
    mov dword [resume], .broke
    mov [safe_esp], esp
.break_here: mov ebx, 2
.broke:
    check "fault before the instruction", ebx, 1
    mov eax, dr6
    and eax, 0xf
    check "DR6.B1", eax, 2
    xor eax, eax
    mov dr7, eax

; ---- paging: 4 MiB identity by 4 KiB pages, all user and writable
    mov edi, PT
    mov eax, 7
    mov ecx, 1024
.pte: mov [edi], eax
    add eax, 0x1000
    add edi, 4
    dec ecx
    jnz .pte
    mov edi, PD
    xor eax, eax
    mov ecx, 1024
    rep stosd
    mov dword [PD], PT + 7
    mov dword [PD+4], 0x00000000 + 0x87      ; 4 MiB page at 4 MiB -> 0
    mov eax, cr4
    or eax, 0x10
    mov cr4, eax
    mov eax, PD
    mov cr3, eax
    mov eax, cr0
    or eax, 0x80000000
    mov cr0, eax
    mov dword [0x200000], 0x5a5a
    mov eax, [PT + 0x200*4]
    check "A and D", eax, 0x200067
    mov eax, [0x201000]
    mov eax, [PT + 0x201*4]
    check "A only", eax, 0x201027
    mov eax, [0x600000]
    check "4 MiB page", eax, 0x5a5a
    mov eax, [PD + 4]
    check "A of a 4 MiB page", eax, 0xa7
    and dword [PT + 0x202*4], ~1
    attempt 14, 0, mov eax, [0x202123]
    mov eax, cr2
    check "CR2", eax, 0x202123
    attempt 14, 2, mov [0x202123], eax
    attempt 14, 2, mov [0x201ffe], eax
    mov eax, cr2
    check "CR2 of a crossing", eax, 0x202000
    attempt 14, 0, jmp 0x202000
    ; read-only page, supervisor
    and dword [PT + 0x203*4], ~2
    mov dword [0x203000], 1
    mov eax, [PT + 0x203*4]
    check "D without WP", eax, 0x203065
    mov eax, cr0
    or eax, 0x10000
    mov cr0, eax
    attempt 14, 3, mov [0x203000], eax
    ; user
    and dword [PT + 0x204*4], ~4
    ring3 r3_read204
    check "user reads supervisor", [vector], 14
    check "its error", [error], 5
    ring3 r3_write203
    check "user writes read-only", [vector], 14
    check "its error", [error], 7
    ; a stale entry goes with INVLPG
    mov eax, [0x205000]
    mov dword [PT + 0x205*4], 0x200007
    invlpg [0x205000]
    mov eax, [0x205000]
    check "after invlpg", eax, 0x5a5a
    ; code in a page that is written by another address
    mov dword [PT + 0x206*4], 0x207007
    invlpg [0x206000]
    mov dword [0x207000], 0xc3909040           ; inc eax; nop; nop; ret
    xor eax, eax
    call 0x207000
    mov byte [0x206000], 0x48                  ; dec eax
    call 0x207000
    call 0x207000
    check "code changed by an alias", eax, -1
    mov byte [0x207fff], 0x40                  ; inc eax; ret across two pages
    mov byte [0x208000], 0xc3
    call 0x207fff
    mov word [0x208000], 0xc340
    call 0x207fff
    check "code across pages", eax, 2
    ; RMW on a read-only page must not write, and stack pushes restart
    attempt 14, 3, inc dword [0x203000]
    mov eax, cr0
    and eax, 0x7ffeffff
    mov cr0, eax
    check "read-only kept", [0x203000], 1

; ---- tasks
    mov dword [tss1+0x20], task_entry
    mov dword [tss1+0x24], 2
    mov dword [tss1+0x38], 0x5000
    mov dword [tss1+0x48], DATA0
    mov dword [tss1+0x4c], CODE0
    mov dword [tss1+0x50], DATA0
    mov dword [tss1+0x54], DATA0
    mov dword [tss1+0x58], 0
    mov dword [tss1+0x5c], 0
    mov ebx, 0x600d
    call TSS1:0
    check "task came back", [task_seen], 0x7a5c
    check "registers restored", ebx, 0x600d
    movzx eax, byte [gdt+TSS1+5]
    check "busy cleared by iret", eax, 0x89
    movzx eax, word [tss1]
    check "back link", eax, TSS0
    mov eax, cr0
    and eax, 8
    check "CR0.TS", eax, 8
    clts
    attempt 10, TSS16, call TSS16:0

; ---- V86
    mov byte [idt+0x20*8+5], 0xee
    mov dword [resume], .v86_back
    mov [safe_esp], esp
    push dword 0x3333      ; gs
    push dword 0x2222      ; fs
    push dword 0x1111      ; ds
    push dword 0x0fff      ; es
    push dword 0x0500      ; ss
    push dword 0x0100      ; esp
    push dword 0x23002     ; VM, IOPL 3
    push dword 0x07c0      ; cs
    push dword v86_code - 0x7c00
    iret
.v86_back:
    check "V86 INT", [vector], 0x20
    check "V86 cs", [from_cs], 0x07c0
    check "V86 ss", [from_ss], 0x0500
    check "V86 esp", [from_esp], 0x00fe
    check "V86 segment value", [0x6200], 0x1111
    mov eax, [from_flags]
    and eax, 0x20000
    check "VM in pushed flags", eax, 0x20000
    mov eax, [v86_gs]
    and eax, 0xffff
    check "gs on the stack", eax, 0x3333
    mov ax, gs
    movzx eax, ax
    check "gs null in ring 0", eax, 0
    mov dword [resume], .v86_gp
    mov [safe_esp], esp
    push dword 0
    push dword 0
    push dword 0
    push dword 0
    push dword 0x0500
    push dword 0x0100
    push dword 0x20002     ; VM, IOPL 0
    push dword 0x07c0
    push dword v86_cli - 0x7c00
    iret
.v86_gp:
    check "V86 CLI with IOPL 0", [vector], 13

; ---- double fault: #GP whose handler is not present
    mov byte [idt+13*8+5], 0x0e
    attempt 8, 0, mov ds, [bad_selector]
    mov byte [idt+13*8+5], 0x8e
    done

r3_cli: cli
r3_hlt: hlt
r3_int: int 0x20
r3_exit: int 0x81
r3_io_denied: in al, 0x81
    int 0x81
r3_io_allowed: in al, 0x80
    int 0x81
r3_gate:
    push dword 0x1234567
    call GATE:0
    int 0x81
r3_conforming:
    call CONF:conforming_target
    int 0x81
r3_ds:
    mov ax, DATA0
    mov ds, ax
    int 0x81
r3_popf:
    push dword 0x3202
    popf
    pushf
    pop eax
    mov bx, DATA3
    mov ds, bx
    and eax, 0x3202
    mov [gate_param], eax
    int 0x81
r3_read204:
    mov ax, DATA3
    mov ds, ax
    mov eax, [0x204000]
    int 0x81
r3_write203:
    mov ax, DATA3
    mov ds, ax
    mov [0x203000], eax
    int 0x81
gate_entry:
    mov eax, [esp+8]
    push ds
    push dword DATA0
    pop ds
    mov [gate_param], eax
    mov [gate_cs], cs
    pop ds
    retf 4
conforming_target:
    mov ax, DATA3
    mov ds, ax
    mov [gate_cs], cs
    retf
task_entry:
    mov dword [task_seen], 0x7a5c
    mov ebx, 0
    iret
    jmp task_entry

bits 16
v86_code:
    xor ax, ax
    mov es, ax
    mov ax, ds
    mov [es:0x6200], ax
    mov word [es:0x6202], 0
    push ax
    int 0x20
v86_cli:
    cli
bits 32

; every stub: vector in ecx is not possible without losing it; registers of the test do not survive a fault
align 16
stubs:
%assign n 0
%rep 256
    align 16
%if n == 8 || n == 10 || n == 11 || n == 12 || n == 13 || n == 14 || n == 17
    push dword n
%else
    push dword 0xeee
    push dword n
%endif
    jmp near taken
%assign n n+1
%endrep
taken:
    push ds
    push dword DATA0
    pop ds
    mov [keep_eax], eax
    mov eax, [esp+4]
    mov [vector], eax
    mov eax, [esp+8]
    mov [error], eax
    mov eax, [esp+12]
    mov [from_eip], eax
    mov eax, [esp+16]
    mov [from_cs], eax
    mov eax, [esp+20]
    mov [from_flags], eax
    mov eax, [esp+24]
    mov [from_esp], eax
    mov eax, [esp+28]
    mov [from_ss], eax
    mov eax, [esp+44]
    mov [v86_gs], eax
    mov ax, DATA0
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov esp, [safe_esp]
    mov eax, [keep_eax]
    jmp [resume]

routines 16
routines 32
newline_text: db 10, 0
align 8
gdt: dq 0
    dq 0x00cf9b000000ffff          ; 08
    dq 0x00cf93000000ffff          ; 10
    dq 0x00cffb000000ffff          ; 18
    dq 0x00cff3000000ffff          ; 20
    dw 0x2067, tss0, 0x8900, 0     ; 28
    dw 0x67, tss1, 0x8900, 0       ; 30
    dw gate_entry, CODE0, 0xec01, 0 ; 38
    dq 0x00cf9f000000ffff          ; 40
    dq 0x00cf13000000ffff          ; 48
    dw 0x20, tss1, 0x8900, 0       ; 50: too short
    dq 0x0000900000000fff          ; 58: read-only data, 4 KiB
    dq 0x000093000000ffff          ; 60: a stack used by SP
gdt_end:
gdt_ptr: dw gdt_end - gdt - 1
    dd gdt
idt_ptr: dw 2047
    dd idt
failures: dd 0
vector: dd 0
error: dd 0
resume: dd 0
safe_esp: dd 0
keep_eax: dd 0
from_eip: dd 0
from_cs: dd 0
from_flags: dd 0
from_esp: dd 0
from_ss: dd 0
v86_gs: dd 0
gate_param: dd 0
gate_cs: dd 0
task_seen: dd 0
watched: dd 0
lar_sel: dd CODE0
bad_selector: dd 0x1000
user_flags: dd 2
align 16
tss0: dd 0, 0x5800, DATA0
    times 0x64 - 12 db 0
    dw 0, 0x68
    times 16 db 0                  ; ports 0-7f
    db 0xfe                        ; port 80 allowed
    times 0x2000 - 17 db 0xff
    db 0xff
tss1: times 0x68 db 0
align 16
idt: times 2048 db 0
