; SPDX-License-Identifier: GPL-3.0-or-later
; A system for the PC/AT on a floppy, doing what 16-bit systems of its time do: BIOS services in real mode,
; 16-bit protected mode with an LDT, ring 3, a call gate, a task switch and interrupts, and the way back by
; resetting the CPU: once through the keyboard controller, once by a triple fault. Instructions are those of the
; 80286. Every part prints a line; the first that fails prints WRONG and its number.
    cpu 286
    bits 16
    org 0x7c00
    jmp 0:start
sectors_there equ 8

start:
    cli
    xor ax, ax
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov sp, 0x7c00
    sti
    cld
    mov [drive], dl
    mov ax, 3
    int 0x10
    mov ax, 0x0200 | (sectors_there - 1)
    mov bx, 0x7e00
    mov cx, 2
    mov dh, 0
    mov dl, [drive]
    int 0x13
    jc .bad
    jmp main
.bad:
    mov byte [step], '0'
    jmp wrong
drive db 0
step db '0'
wrong:
    mov si, wrong_text
    call print
    mov al, [step]
    mov ah, 0x0e
    int 0x10
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
wrong_text db "WRONG ", 0
    times 510 - ($ - $$) db 0
    dw 0xaa55

; ---- Real mode ---------------------------------------------------------------------------------------
%macro part 1                        ; names the part that runs
    mov byte [step], %1
%endmacro
%macro done 1
    mov si, %%text
    call print
    jmp %%on
%%text: db %1, 13, 10, 0
%%on:
%endmacro

main:
    part '1'                         ; the clock ticks 18 times a second, through a handler of ours in front of the BIOS's
    cli
    mov ax, [8 * 4]
    mov [old_tick], ax
    mov ax, [8 * 4 + 2]
    mov [old_tick + 2], ax
    mov word [8 * 4], tick
    mov word [8 * 4 + 2], 0
    sti
    mov bx, [0x46c]
.wait:
    hlt
    cmp word [ticks], 4
    jb .wait
    cmp bx, [0x46c]
    je wrong
    cli
    mov ax, [old_tick]
    mov [8 * 4], ax
    mov ax, [old_tick + 2]
    mov [8 * 4 + 2], ax
    sti
    done "timer ticks ok"

    part '2'                         ; INT 15h AH=87h moves a block above 1 MiB and back
    mov si, pattern
    mov di, 0x5000
    mov cx, 8
    rep movsw
    mov ah, 0x87
    mov cx, 8
    mov si, move_up
    int 0x15
    jc wrong
    mov di, 0x5000
    xor ax, ax
    mov cx, 8
    rep stosw
    mov ah, 0x87
    mov cx, 8
    mov si, move_down
    int 0x15
    jc wrong
    mov si, pattern
    mov di, 0x5000
    mov cx, 8
    repe cmpsw
    jne wrong
    mov ah, 0x88
    int 0x15
    cmp ax, 1024
    jb wrong
    done "extended memory ok"

    part '3'                         ; A20: FFFF:0510 is 0000:0500 while the gate is closed
    mov bx, 0xdfff                   ; keyboard controller: open, close
    call a20_by_controller
    mov ax, 0xffff
    mov es, ax
    mov word [0x500], 0x1234
    mov word [es:0x510], 0x5678
    cmp word [0x500], 0x1234
    jne wrong
    mov bx, 0xddff
    call a20_by_controller
    mov word [es:0x510], 0x9abc
    cmp word [0x500], 0x9abc
    jne wrong
    in al, 0x92                      ; and port 92h opens it again
    or al, 2
    and al, 0xfe
    out 0x92, al
    mov word [0x500], 0x4321
    cmp word [es:0x510], 0x5678
    jne wrong
    xor ax, ax
    mov es, ax
    done "A20 ok"

    part '4'                         ; a read across a 64 KiB boundary of the DMA: refused or right, never wrong
    mov ax, 0x0f80                   ; 0f80:0800 = 0x10000
    mov es, ax
    mov ax, 0x0202
    mov bx, 0x0700                   ; one sector ends at 0x10100
    mov cx, 1
    mov dh, 0
    mov dl, [drive]
    int 0x13
    jnc .check
    cmp ah, 9
    jne wrong
    jmp .fine
.check:
    cmp word [es:0x0700 + 510], 0xaa55
    jne wrong
.fine:
    xor ax, ax
    mov es, ax
    done "floppy DMA ok"

; ---- Protected mode, and back by the keyboard controller --------------------------------------------------
    part '5'
    mov word [back], after_controller
    call protected_and_reset
after_controller:
    call come_back
    done "ring 3, gates, tasks ok; CPU reset by the keyboard controller ok"
    part 'F'
    mov byte [by_fault], 1
    mov word [back], after_fault
    call protected_and_reset
after_fault:
    call come_back
    done "CPU reset by a triple fault ok"
    mov si, prompt
    call print
echo:
    xor ah, ah
    int 0x16
    mov ah, 0x0e
    int 0x10
    jmp echo

tick:
    inc word [cs:ticks]
    jmp far [cs:old_tick]

a20_by_controller:                   ; bh: output port
    cli
    call .ready
    mov al, 0xd1
    out 0x64, al
    call .ready
    mov al, bh
    out 0x60, al
    call .ready
    mov al, bl
    out 0x64, al
    call .ready
    sti
    ret
.ready:
    in al, 0x64
    test al, 2
    jnz .ready
    ret

; After the firmware jumped through 40:67: segments, stack and interrupts as before; memory and the
; interrupt controller have not been touched.
come_back:
    cli
    xor ax, ax
    mov ds, ax
    mov es, ax
    pop bx                           ; our return address lies on whatever stack this is
    mov ss, ax
    mov sp, 0x7c00
    push bx
    smsw ax
    test al, 1
    jnz wrong
    in al, 0x21
    cmp al, [master_mask]
    jne wrong
    call restore_pic
    mov word [0x467], 0
    sti
    ret

remap_pic:                           ; bh, bl: first vectors
    mov al, 0x11
    out 0x20, al
    out 0xa0, al
    mov al, bh
    out 0x21, al
    mov al, bl
    out 0xa1, al
    mov al, 4
    out 0x21, al
    mov al, 2
    out 0xa1, al
    mov al, 1
    out 0x21, al
    out 0xa1, al
    ret
restore_pic:
    mov bx, 0x0870
    call remap_pic
    mov al, [saved_master]
    out 0x21, al
    mov al, [saved_slave]
    out 0xa1, al
    ret

protected_and_reset:
    mov al, 0x0f | 0x80              ; shutdown status: jump through 40:67
    out 0x70, al
    mov al, 0x0a
    out 0x71, al
    mov ax, [back]
    mov [0x467], ax
    mov word [0x469], 0
    cli
    in al, 0x21
    mov [saved_master], al
    in al, 0xa1
    mov [saved_slave], al
    mov bx, 0x5058                   ; interrupts behind the exceptions
    call remap_pic
    mov al, 0xfe                     ; the timer only
    mov [master_mask], al
    out 0x21, al
    mov al, 0xff
    out 0xa1, al
    lgdt [gdt_pointer]
    lidt [idt_pointer]
    smsw ax
    or al, 1
    lmsw ax
    jmp CODE:in_protected

; ---- 16-bit protected mode --------------------------------------------------------------------------------
in_protected:
    mov ax, DATA
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov sp, 0x7a00
    mov ax, LDT
    lldt ax
    sldt bx
    cmp ax, bx
    jne pm_wrong
    and byte [gdt + TSS1 + 5], 0xfd  ; available again, in the second round
    and byte [gdt + TSS2 + 5], 0xfd
    mov word [gate_calls], 0
    mov word [task_runs], 0
    mov word [pm_ticks], 0
    mov word [faults], 0
    mov word [tss2 + 14], task2      ; ip
    mov ax, TSS1
    ltr ax

    part '6'                         ; limits: a word beyond the end of a segment is a #GP, an expand-down one works above it
    mov ax, LDT_SMALL
    mov es, ax
    mov word [expected_fault], 13
    mov word [resume], .after_limit
    mov ax, [es:0x0f]                ; the limit is 0x0f
    jmp pm_wrong
.after_limit:
    mov ax, LDT_DOWN
    mov es, ax
    mov word [es:0x8000], 0x55aa
    mov word [resume], .after_down
    mov ax, [es:0x0ffe]              ; at or below the limit
    jmp pm_wrong
.after_down:
    mov word [resume], .after_null
    xor ax, ax
    mov es, ax
    mov al, [es:0]
    jmp pm_wrong
.after_null:
    mov word [expected_fault], 11
    mov word [resume], .after_absent
    mov ax, ABSENT
    mov es, ax
    jmp pm_wrong
.after_absent:
    cmp word [faults], 4
    jne pm_wrong

    part '7'                         ; a task switch by CALL, and back by IRET
    call TSS2:0
    cmp word [task_runs], 1
    jne pm_wrong
    str ax
    cmp ax, TSS1
    jne pm_wrong
    call TASKGATE:0                  ; the same task through a gate
    cmp word [task_runs], 2
    jne pm_wrong

    part '8'                         ; interrupts
    sti
.tick:
    hlt
    cmp word [pm_ticks], 3
    jb .tick

    part '9'                         ; ring 3, which calls back in through a gate with one parameter
    push word DATA3
    push word 0x7900
    push word CODE3
    push word ring3
    retf
back_in_ring0:                       ; the gate's procedure jumps here
    cli
    mov ax, DATA
    mov ds, ax
    cmp word [gate_calls], 1
    jne pm_wrong
    cmp word [gate_parameter], 0x1986
    jne pm_wrong
    part 'A'
    cmp byte [by_fault], 0
    jne .fault
    mov al, 0xfe
    out 0x64, al
    hlt
    jmp $ - 1
.fault:
    lidt [no_idt]
    int3
    hlt

ring3:
    mov ax, DATA3
    mov ds, ax
    mov ax, cs
    and al, 3
    cmp al, 3
    jne .bad
    mov bx, [pm_ticks]
.interrupted:                        ; an interrupt from ring 3 and back
    cmp bx, [pm_ticks]
    je .interrupted
    push word 0x1986
    call GATE:0
.bad:
    jmp $

gate_entry:                          ; cs:ip, parameter, ss:sp of ring 3 on the stack
    mov bp, sp
    mov ax, [ss:bp + 4]
    mov bx, DATA
    mov ds, bx
    mov [gate_parameter], ax
    inc word [gate_calls]
    mov ax, cs
    test al, 3
    jnz pm_wrong
    jmp back_in_ring0

task2:
    mov ax, DATA
    mov ds, ax
    inc word [task_runs]
    str ax
    cmp ax, TSS2
    jne pm_wrong
    iret
    jmp task2                        ; it goes on here when it is called again

pm_tick:
    push ax
    push ds
    mov ax, DATA
    mov ds, ax
    inc word [pm_ticks]
    mov al, 0x20
    out 0x20, al
    pop ds
    pop ax
    iret

%macro handler 1
fault%1:
    push ax
    push ds
    mov ax, DATA
    mov ds, ax
    cmp word [expected_fault], %1
    jne pm_wrong
    inc word [faults]
    mov ax, [resume]
    push bp
    mov bp, sp
    mov [ss:bp + 8], ax              ; bp, ds, ax, error code, ip
    pop bp
    mov word [resume], pm_wrong
    pop ds
    pop ax
    add sp, 2
    iret
%endmacro
handler 13
handler 11

pm_wrong:                            ; text straight to the screen
    mov ax, DATA
    mov ds, ax
    mov bl, [step]
    mov ax, SCREEN
    mov ds, ax
    mov byte [160 * 20], 'W'
    mov byte [160 * 20 + 2], 'R'
    mov byte [160 * 20 + 4], 'O'
    mov byte [160 * 20 + 6], 'N'
    mov byte [160 * 20 + 8], 'G'
    mov byte [160 * 20 + 12], bl
    cli
    jmp $

; ---- Tables -------------------------------------------------------------------------------------------------
%define at(label) (label - $$ + 0x7c00)
%macro segment_ 4                    ; limit, base, access, rest
    dw %1, (%2) & 0xffff
    db (%2) >> 16, %3
    dw %4
%endmacro
    align 8
gdt:
    dq 0
CODE equ $ - gdt
    segment_ 0xffff, 0, 0x9a, 0
DATA equ $ - gdt
    segment_ 0xffff, 0, 0x92, 0
CODE3 equ ($ - gdt) | 3
    segment_ 0xffff, 0, 0xfa, 0
DATA3 equ ($ - gdt) | 3
    segment_ 0xffff, 0, 0xf2, 0
LDT equ $ - gdt
    segment_ 31, at(ldt), 0x82, 0
TSS1 equ $ - gdt
    segment_ 43, at(tss1), 0x81, 0
TSS2 equ $ - gdt
    segment_ 43, at(tss2), 0x81, 0
GATE equ $ - gdt
    dw gate_entry, CODE, 0xe401, 0   ; one word is copied
TASKGATE equ $ - gdt
    dw 0, TSS2, 0x8500, 0
ABSENT equ $ - gdt
    segment_ 0xffff, 0, 0x12, 0
SCREEN equ $ - gdt
    segment_ 0xffff, 0xb8000, 0x92, 0
gdt_pointer:
    dw $ - gdt - 1
    dw gdt, 0
    align 8
ldt:
    dq 0
LDT_SMALL equ 8 | 4
    segment_ 0x0f, 0x5000, 0x92, 0
LDT_DOWN equ 16 | 4
    segment_ 0x0fff, 0x10000, 0x96, 0 ; expand-down: 0x1000 to 0xffff
    dq 0
idt:
    times 11 dw pm_wrong, CODE, 0x8600, 0
    dw fault11, CODE, 0x8600, 0
    dw pm_wrong, CODE, 0x8600, 0
    dw fault13, CODE, 0x8600, 0
    times 0x50 - 14 dw pm_wrong, CODE, 0x8600, 0
    dw pm_tick, CODE, 0x8600, 0
idt_pointer:
    dw $ - idt - 1
    dw idt, 0
no_idt dw 0, 0, 0
tss1:
    dw 0, 0x7800, DATA               ; back link, stack of ring 0
    times 19 dw 0
tss2:
    dw 0, 0x7800, DATA, 0, 0, 0, 0
    dw task2, 2                      ; ip, flags
    dw 0, 0, 0, 0, 0x7700, 0, 0, 0
    dw DATA, CODE, DATA, DATA, 0     ; es, cs, ss, ds, ldt
move_up:
    dq 0, 0
    segment_ 0xffff, 0x5000, 0x93, 0
    segment_ 0xffff, 0x180000, 0x93, 0
    dq 0, 0
move_down:
    dq 0, 0
    segment_ 0xffff, 0x180000, 0x93, 0
    segment_ 0xffff, 0x5000, 0x93, 0
    dq 0, 0
pattern db "sixteen bytes ok"
prompt db "keys> ", 0
old_tick dd 0
ticks dw 0
pm_ticks dw 0
faults dw 0
expected_fault dw 0
resume dw pm_wrong
task_runs dw 0
gate_calls dw 0
gate_parameter dw 0
back dw 0
by_fault db 0
master_mask db 0
saved_master db 0
saved_slave db 0
    times 512 * sectors_there - ($ - $$) db 0
    times 1474560 - ($ - $$) db 0xf6
