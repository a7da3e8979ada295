; SPDX-License-Identifier: GPL-3.0-or-later
; What translators and caches get wrong, in long mode: code that changes (itself, through another address, by REP, across
; pages, by remapping), faults in the middle of instructions and blocks, page bits, interrupt windows, NMIs, single
; steps, debug registers, floating point exceptions. Everything runs often enough to be hot.
%define BITSNOW 16
%include "bare.inc"
org 0x7c00
bits 16
start:
    cli
    xor ax, ax
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov sp, 0x7000
    lgdt [gdt_ptr]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    jmp dword 8:prot
bits 32
%define BITSNOW 32
prot:
    mov ax, 0x10
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov edi, 0x100000
    xor eax, eax
    mov ecx, 0x8000
    rep stosd
    mov dword [0x100000], 0x101007
    mov dword [0x101000], 0x102007
    mov dword [0x101018], 0x104007          ; 3 GiB: devices
    mov dword [0x102000], 0x103007
    mov dword [0x104000 + 0x1f6 * 8], 0xfec00083
    mov dword [0x104000 + 0x1f7 * 8], 0xfee00083
    mov edi, 0x103000
    mov eax, 7
    mov ecx, 512
.pte: mov [edi], eax
    add eax, 0x1000
    add edi, 8
    loop .pte
    mov eax, 0x620                          ; PAE, OSFXSR, OSXMMEXCPT
    mov cr4, eax
    mov eax, 0x100000
    mov cr3, eax
    mov ecx, 0xc0000080
    rdmsr
    or eax, 0x901
    wrmsr
    mov eax, cr0
    and eax, ~4                             ; EM
    or eax, 0x80010022                      ; PG, WP, NE, MP
    mov cr0, eax
    jmp 0x18:main

%define BITSNOW 64
default abs
bits 64
PT      equ 0x103000
PT2     equ 0x113000                        ; of the second address space
ROUNDS  equ 100
%define PTE(page) (PT + (page) / 4096 * 8)
%define APIC r14                            ; holds FEE00000h throughout

; Runs an instruction that must raise VECTOR with ERROR; what the handler saw is in f_*.
%assign line 0
%macro attempt 3+
    mov qword [resume], %%after
    mov dword [vector], 0xff
    mov dword [error], 0xeee
    mov [safe_rsp], rsp
%%at: %3
%%after:
%assign line line + 1
%defstr line_text line
%strcat name_text "attempt ", line_text
    check name_text, [vector], %1
    check name_text, [error], %2
    check name_text, [f_rip], %%at
%endmacro
; The same with another stack pointer, which must be as it was.
%macro attempt_at 4+
    mov qword [resume], %%after
    mov dword [vector], 0xff
    mov [safe_rsp], rsp
    mov rsp, %1
    %4
%%after:
%assign line line + 1
%defstr line_text line
%strcat name_text "attempt ", line_text
    check name_text, [vector], %2
    check name_text, [error], %3
    check name_text, [f_rsp], %1
%endmacro
; A handler of its own for a vector, on the current stack.
%macro handler 2
    mov eax, %2
    mov [idt + %1 * 16], ax
    mov dword [idt + %1 * 16 + 2], 0x8e000018
    mov byte [idt + %1 * 16 + 4], 0
    shr eax, 16
    mov [idt + %1 * 16 + 6], ax
%endmacro
%macro begin 1
    mov r15d, ROUNDS
%1:
%endmacro
%macro again 1
    dec r15d
    jnz %1
%endmacro

main:
    mov rsp, 0x80000
    mov r14d, 0xfee00000
    xor eax, eax
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov rdi, idt
    mov eax, stubs
    mov ecx, 256
.gate:
    mov [rdi], ax
    mov word [rdi+2], 0x18
    mov word [rdi+4], 0x8e01                ; IST 1
    mov rbx, rax
    shr rbx, 16
    mov [rdi+6], bx
    mov dword [rdi+8], 0
    mov dword [rdi+12], 0
    add rax, 16
    add rdi, 16
    dec ecx
    jnz .gate
    lidt [idt_ptr]
    mov ax, 0x20
    ltr ax

; ---- Code that changes
    xor ebx, ebx
    begin .same_page
    mov [.patched + 1], r15d
    call .patched
    add ebx, eax
    again .same_page
    check "same page", ebx, ROUNDS * (ROUNDS + 1) / 2
    jmp .own_block
.patched: mov eax, 0
    ret
.own_block:
    xor ebx, ebx
    begin .own
    mov [.own_imm + 1], r15d
.own_imm: mov eax, 0
    add ebx, eax
    again .own
    check "own block", ebx, ROUNDS * (ROUNDS + 1) / 2

    ; Data in the same cache line as hot code.
    xor ebx, ebx
    begin .near
    inc dword [.near_data]
    call .near_code
    again .near
    check "data beside code", ebx, ROUNDS * 2
    check "and the data", [.near_data], ROUNDS
    jmp .near_end
    align 64
.near_data: dd 0
.near_code: add ebx, 2
    ret
.near_end:

    ; A jump whose target changes.
    xor ebx, ebx
    begin .jump
    mov eax, .target_a - .jump_end
    test r15d, 1
    mov ecx, .target_b - .jump_end
    cmovz eax, ecx
    mov [.jump_end - 4], eax
    jmp .jump_insn
    align 16
.jump_insn: db 0xe9
    dd 0
.jump_end:
.target_a: add ebx, 1
    jmp .joined
.target_b: add ebx, 0x1000
.joined:
    again .jump
    check "jump", ebx, ROUNDS / 2 * 0x1001

    ; Two addresses of one frame: 181000 shows the frame of 180000.
    mov dword [PTE(0x181000)], 0x180007
    invlpg [0x181000]
    mov rdi, 0x180000
    mov dword [rdi], 0x000000b8             ; mov eax, imm32; ret
    mov dword [rdi + 4], 0x0000c300
    xor ebx, ebx
    begin .alias
    mov eax, r15d
    mov ecx, 0x181001
    mov [rcx], eax
    mov ecx, 0x180000
    call rcx
    add ebx, eax
    mov ecx, 0x180001
    mov [rcx], dword 7
    mov ecx, 0x181000
    call rcx
    add ebx, eax
    again .alias
    check "two addresses", ebx, ROUNDS * (ROUNDS + 1) / 2 + ROUNDS * 7

    ; REP over code.
    xor ebx, ebx
    begin .rep
    mov esi, .rep_a
    mov ecx, .rep_b
    test r15d, 1
    cmovz esi, ecx
    mov edi, 0x180100
    mov ecx, 6
    rep movsb
    mov ecx, 0x180100
    call rcx
    add ebx, eax
    again .rep
    check "REP over code", ebx, ROUNDS / 2 * 0x30
    jmp .rep_end
.rep_a: mov eax, 0x10
    ret
.rep_b: mov eax, 0x20
    ret
.rep_end:

    ; A device writes the code.
    xor ebx, ebx
    begin .device
    mov edx, 0xd0
    mov eax, .device_code + 1
    out dx, eax
    mov dl, 0xd4
    mov eax, r15d
    out dx, eax
    call .device_code
    add ebx, eax
    again .device
    check "written by a device", ebx, ROUNDS * (ROUNDS + 1) / 2
    jmp .device_end
.device_code: mov eax, 0
    ret
.device_end:

    ; An instruction across two pages: 182ffe..183002, and its second half changes.
    mov dword [0x182ffc], 0x00b89090
    mov dword [0x183000], 0xc3000000
    mov byte [0x183003], 0xc3
    xor ebx, ebx
    begin .across
    mov [0x183000], r15w
    mov ecx, 0x182ffc
    call rcx
    add ebx, eax
    again .across
    check "across pages", ebx, ROUNDS * (ROUNDS + 1) / 2 * 256

    ; The second page is replaced by another frame.
    mov dword [0x184000], 0xc3000100
    mov dword [0x183000], 0xc3000200
    xor ebx, ebx
    begin .second
    mov eax, 0x183007
    mov ecx, 0x184007
    test r15d, 1
    cmovz eax, ecx
    mov [PTE(0x183000)], eax
    invlpg [0x183000]
    mov ecx, 0x182ffc
    call rcx
    add ebx, eax
    again .second
    mov dword [PTE(0x183000)], 0x183007
    invlpg [0x183000]
    check "second page remapped", ebx, ROUNDS / 2 * 0x30000

    ; A function behind a direct call is remapped: INVLPG, then CR3, then two address spaces with PCIDs.
    mov edi, 0x185000                       ; returns 1 there, 0x100 in the frame 186000
    mov dword [rdi], 0x000001b8
    mov dword [rdi + 4], 0x0000c300
    mov dword [rdi + 0x1000], 0x000100b8
    mov dword [rdi + 0x1004], 0x0000c300
    xor ebx, ebx
    begin .remap
    mov eax, 0x185007
    mov ecx, 0x186007
    test r15d, 1
    cmovz eax, ecx
    mov [PTE(0x185000)], eax
    invlpg [0x185000]
    call 0x185000
    add ebx, eax
    again .remap
    check "remapped, INVLPG", ebx, ROUNDS / 2 * 0x101
    xor ebx, ebx
    begin .remap3
    mov eax, 0x185007
    mov ecx, 0x186007
    test r15d, 1
    cmovz eax, ecx
    mov [PTE(0x185000)], eax
    mov rax, cr3
    mov cr3, rax
    call 0x185000
    add ebx, eax
    again .remap3
    check "remapped, CR3", ebx, ROUNDS / 2 * 0x101
    mov dword [PTE(0x185000)], 0x185107     ; a global page outlives CR3, not INVLPG
    mov rax, cr4
    or eax, 0x80
    mov cr4, rax
    call 0x185000
    mov dword [PTE(0x185000)], 0x186107
    invlpg [0x185000]
    call 0x185000
    check "global page and INVLPG", eax, 0x100
    mov dword [PTE(0x185000)], 0x185107
    mov rax, cr4
    xor eax, 0x80
    mov cr4, rax
    call 0x185000
    check "global page and CR4.PGE", eax, 1
    mov dword [PTE(0x185000)], 0x185007
    invlpg [0x185000]

    mov esi, 0x100000                       ; tables again at 110000, where 185000 is the frame 186000
    mov edi, 0x110000
    mov ecx, 0x5000 / 8
    rep movsq
    mov dword [0x110000], 0x111007
    mov dword [0x111000], 0x112007
    mov dword [0x111018], 0x114007
    mov dword [0x112000], 0x113007
    mov dword [PT2 + 0x185 * 8], 0x186007
    mov rax, cr4
    or eax, 0x20000                         ; PCIDE
    mov cr4, rax
    xor ebx, ebx
    begin .spaces
    mov rax, 0x8000000000110001             ; keep what PCID 1 has cached
    mov cr3, rax
    call 0x185000
    add ebx, eax
    mov rax, 0x8000000000100000
    mov cr3, rax
    call 0x185000
    add ebx, eax
    again .spaces
    check "two address spaces", ebx, ROUNDS * 0x101
    mov dword [PT2 + 0x185 * 8], 0x185007   ; INVPCID of one page there
    mov qword [descriptor], 1
    mov qword [descriptor + 8], 0x185000
    xor eax, eax
    invpcid rax, [descriptor]
    mov rax, 0x8000000000110001
    mov cr3, rax
    call 0x185000
    check "INVPCID", eax, 1
    mov rax, 0x100000
    mov cr3, rax
    mov rax, cr4
    and eax, ~0x20000
    mov cr4, rax

; ---- Faults in the middle: nothing of the instruction has happened
    mov dword [PTE(0x191000)], 0            ; absent; 190000 is there
    mov dword [PTE(0x193000)], 0x193005     ; read-only
    invlpg [0x191000]
    invlpg [0x193000]
    begin .faults
    mov rax, 0x1122334455667788
    mov [0x190ff8], rax
    mov [0x192ff8], rax
    mov ecx, 0x191000
    mov r8d, 0x193000
    mov r9d, 0x190ffc
    mov r10, rsp
    attempt 14, 2, xchg [rcx], rax
    mov rdx, 0x1122334455667788
    cmp rax, rdx
    sete bl
    attempt 14, 3, lock xadd [r8], rax      ; a read would be allowed
    cmp rax, rdx
    setne bh
    sub bl, bh
    attempt 14, 2, mov [r9], rdx            ; half of it would fit
    cmp [0x190ff8], rdx
    setne bh
    sub bl, bh
    attempt 14, 0, push qword [rcx]
    attempt 14, 2, pop qword [rcx]
    attempt 14, 0, call [rcx]
    attempt 14, 0, cmp [rcx], rax
    attempt 14, 3, mov [r8], al
    attempt 14, 3, not dword [r8]
    attempt 14, 3, cmpxchg [r8], rdx        ; also where it would not match
    mov r11d, 0x193000
    attempt 14, 3, lock cmpxchg16b [r11]
    attempt 13, 0, lock cmpxchg16b [r8 + 8]
    attempt_at 0x191008, 14, 2, push rax
    attempt_at 0x191008, 14, 2, call .never
    mov rbp, 0x192000
    attempt_at 0x191008, 14, 2, enter 32, 0
    cmp rbp, 0x192000
    setne bh
    sub bl, bh
    attempt_at 0x191000, 14, 0, pop rax
    attempt_at 0x191000, 14, 0, ret
    cmp rsp, r10
    setne bh
    sub bl, bh
    mov r12, 0x0000900000000000
    push r12
    attempt 13, 0, ret                      ; RSP stays where it was
    pop r13
    cmp r13, r12
    setne bh
    sub bl, bh
    mov eax, 1
    xor edx, edx
    xor r13d, r13d
    attempt 0, 0xeee, div r13d
    movzx ebx, bl
    check "registers and memory after faults", ebx, 1
    ; flags of the instruction before a fault
    mov al, 0x7f
    mov ecx, 0x191000
    add al, 1
    attempt 14, 0, mov edx, [rcx]
    mov eax, [f_flags]
    and eax, 0x8d5
    check "flags of ADD at a fault", eax, 0x890
    mov eax, 5
    sub eax, 6
    attempt 14, 2, mov [rcx], eax
    mov eax, [f_flags]
    and eax, 0x8d5
    check "flags of SUB at a fault", eax, 0x95
    stc
    mov eax, 0xffffffff
    inc eax
    attempt 14, 0, movzx edx, byte [rcx]
    mov eax, [f_flags]
    and eax, 0x8d5
    check "flags of INC at a fault", eax, 0x55
    ; a string operation that faults on its way
    mov esi, 0x190fe0
    mov edi, 0x194000
    mov ecx, 64
    attempt 14, 0, rep movsb
    sub edi, 0x194000
    check "REP stopped", edi, 32
    check "its count", ecx, 32
    check "its source", esi, 0x191000
    dec r15d
    jnz .faults
    jmp .page_bits
.never: ud2

; ---- Accessed and dirty
.page_bits:
    mov edi, 0x195000
    begin .bits
    mov dword [PTE(0x195000)], 0x195007
    invlpg [rdi]
    mov eax, [rdi]
    mov ebx, [PTE(0x195000)]
    mov [rdi], eax
    mov ecx, [PTE(0x195000)]
    and ebx, 0x60
    and ecx, 0x60
    shl ebx, 8
    or ebx, ecx
    cmp ebx, 0x2060
    jne .bits_wrong
    mov dword [PTE(0x195000)], 0x195005     ; read-only now, also for us: WP
    invlpg [rdi]
    attempt 14, 3, mov [rdi], eax
    mov rax, cr0
    and eax, ~0x10000
    mov cr0, rax
    mov [rdi], eax
    or eax, 0x10000
    mov cr0, rax
    attempt 14, 3, mov [rdi], eax
    dec r15d
    jnz .bits
.bits_wrong:
    check "A and D", ebx, 0x2060
    check "all rounds", r15d, 0

; ---- Flags that must not change
    begin .flags
    mov ecx, 0x20                           ; a count of 0 after masking
    mov ebx, 5
    xor eax, eax
    stc
    shl ebx, cl
    setc al
    mov edx, eax
    cmp ebx, ebx
    ror ebx, cl
    setz al
    add edx, eax
    xor ecx, ecx
    mov esi, 0x190000
    mov edi, 0x194001
    cmp ebx, ebx
    repe cmpsb
    setz al
    add edx, eax
    stc
    inc ebx
    dec ebx
    setc al
    add edx, eax
    again .flags
    check "flags that stay", edx, 4

; ---- Interrupt windows
    mov dword [APIC + 0xf0], 0x1ff
    handler 0x40, ipi
    begin .windows
    cli
    mov dword [APIC + 0x300], 0x44040       ; to ourselves
    xor ebx, ebx
    mov dword [ipi_ebx], 0xff
    sti
    inc ebx
    inc ebx
    check "after STI one instruction runs", [ipi_ebx], 1
    cli
    mov dword [APIC + 0x300], 0x44040
    mov dword [ipi_ebx], 0xff
    sti
    cli
    check "STI and CLI let nothing in", [ipi_ebx], 0xff
    mov ebx, 3
    sti
    nop
    cli
    check "a NOP between them does", [ipi_ebx], 3
    mov dword [APIC + 0x300], 0x44040
    mov dword [ipi_ebx], 0xff
    mov ebx, 7
    pushfq
    or dword [rsp], 0x200
    popfq
    nop
    check "POPF lets in at once", [ipi_ebx], 7
    cli
    mov dword [APIC + 0x300], 0x44040
    mov dword [ipi_ebx], 0xff
    mov ebx, 9
    mov rax, rsp
    push 0
    push rax
    push 0x202
    push 0x18
    push .after_iret
    iretq
.after_iret: inc ebx
    check "IRET lets in at once", [ipi_ebx], 9
    cli
    mov dword [APIC + 0x300], 0x44040
    mov dword [ipi_ebx], 0xff
    sti
    hlt                                     ; pending: does not sleep
    check "STI and HLT", [ipi_ebx], 10
    dec r15d
    jnz .windows
    cli

; ---- NMI: another one waits for IRET, more than one merge
    handler 2, nmi
    begin .nmis
    xor ebp, ebp                            ; handler depth
    mov dword [nmi_count], 0
    mov dword [nmi_nested], 0
    mov dword [APIC + 0x310], 0
    mov dword [APIC + 0x300], 0x4400
    mov ecx, 1000
.nmi_wait: loop .nmi_wait
    check "NMIs", [nmi_count], 2
    check "not nested", [nmi_nested], 0
    again .nmis

; ---- Single step and debug registers
    handler 1, debug
    begin .steps
    mov dword [debug_count], 0
    xor eax, eax
    mov dr6, rax
    mov dr7, rax
    call .stepped                           ; hot, and without traps
    pushfq
    or dword [rsp], 0x100
    popfq
    call .stepped                           ; CALL, 3 of it, RET
    pushfq
    and dword [rsp], ~0x100
    popfq
    check "steps", [debug_count], 8
    mov rax, dr6
    and eax, 0xe00f
    check "DR6.BS", eax, 0x4000
    mov dword [debug_count], 0
    mov eax, .stepped_point
    mov dr0, rax
    mov eax, 0x402
    mov dr7, rax
    call .stepped
    check "execution breakpoint", [debug_count], 1
    check "its address", [f_rip], .stepped_point
    mov eax, 0x190800
    mov dr0, rax
    mov eax, 0xd0402                        ; four bytes, writes
    mov dr7, rax
    mov dword [debug_count], 0
    mov eax, [0x190800]
    mov [0x190802], al
    mov [0x190804], al
    check "data breakpoint", [debug_count], 1
    xor eax, eax
    mov dr7, rax
    db 0xf1                                 ; ICEBP
    check "ICEBP", [debug_count], 2
    mov [0x190800], al
    check "nothing armed", [debug_count], 2
    again .steps
    ; What suppresses a step, and what does not. traced records every #DB: its address and DR6.
    handler 1, traced
%macro trace 1                              ; RAX: flags with TF; the sequence follows and ends in trace_end
    mov dword [debug_count], 0
    xor eax, eax
    mov dr6, rax
    pushfq
    pop rax
    or eax, 0x100
%endmacro
%macro step 3                               ; check the Nth #DB: its address, DR6's low half
    check "step address", [trace_log + %1 * 16], %2
    check "step DR6", [trace_log + %1 * 16 + 8], %3
%endmacro
%define BS 0xffff4ff0
%define NONE 0xffff0ff0
    begin .traces
    trace 0
    cli
    push rax
    popfq
    sti                                     ; its shadow holds interrupts, not steps
.t1: and eax, ~0x100
    push rax
.t1_popf: popfq
.t1_end: cli
    check "steps with STI", [debug_count], 4
    step 0, .t1, BS
    step 1, .t1 + 5, BS
    step 2, .t1_popf, BS
    step 3, .t1_end, BS
    trace 0
    push rax
    mov cx, ss
    popfq
    mov ss, cx                              ; holds the step after itself
    and eax, ~0x100
.t2: push rax
.t2_popf: popfq
.t2_end:
    check "steps with MOV SS", [debug_count], 3
    step 0, .t2, BS
    step 1, .t2_popf, BS
    step 2, .t2_end, BS
    trace 0
    push rax
    mov cx, ss
    popfq
    mov ss, cx
    db 0xf1
.t3: db 0xf1
.t3_and: and eax, ~0x100
.t3_push: push rax
.t3_popf: popfq
.t3_end:
    check "steps with MOV SS and ICEBP", [debug_count], 5
    step 0, .t3, NONE
    step 1, .t3_and, NONE
    step 2, .t3_push, BS
    step 3, .t3_popf, BS
    step 4, .t3_end, BS
    mov eax, 0x2000                         ; general detect
    mov dr7, rax
    mov dword [debug_count], 0
    pushfq
    pop rax
    or eax, 0x100
    push rax
    mov cx, ss
    xor edx, edx
    popfq
    mov ss, cx
.t4: mov dr6, rdx                           ; a fault, which MOV SS does not hold
.t4_and: and eax, ~0x100
.t4_push: push rax
.t4_popf: popfq
.t4_end:
    check "steps with general detect", [debug_count], 5
    step 0, .t4, 0xffff2ff0
    step 1, .t4_and, BS
    step 2, .t4_push, BS
    step 3, .t4_popf, BS
    step 4, .t4_end, BS
    mov rax, dr7
    check "general detect switched off", eax, 0x400
    ; A watched SS: MOV SS holds the report back; ICEBP takes it along, INT 1 has it follow.
    mov dword [0x190a00], 0
    mov eax, 0x190a00
    mov dr1, rax
    mov eax, 0x00f00408                     ; four bytes, reads and writes
    mov dr7, rax
    mov dword [debug_count], 0
    mov ss, [0x190a00]
    db 0xf1
.t5: mov ebx, [debug_count]
    mov dword [debug_count], 0
    mov ss, [0x190a00]
    int 1
.t6: mov ecx, [debug_count]
    mov eax, 0x400
    mov dr7, rax
    check "MOV SS, watched, and ICEBP", ebx, 1
    check "MOV SS, watched, and INT 1", ecx, 2
    step 0, traced, 0xffff0ff2              ; at the handler's first instruction, nested
    step 1, .t6, NONE
    ; A breakpoint on what follows MOV SS is passed over; a held report comes after it, once.
    mov eax, .t6_nop
    mov dr2, rax
    mov eax, 0x00f00428                     ; the watch, and execution
    mov dr7, rax
    mov dword [debug_count], 0
    mov ss, [0x190a00]
.t6_nop: nop
.t6_after: mov ecx, [debug_count]
    mov eax, 0x400
    mov dr7, rax
    check "MOV SS, watched, and a breakpoint", ecx, 1
    step 0, .t6_after, 0xffff0ff2
    ; STI and HLT, stepped: the timer wakes it.
    mov dword [APIC + 0x320], 0x40          ; one shot
    mov dword [APIC + 0x3e0], 0xb
    mov dword [APIC + 0x380], 300000
    trace 0
    push rax
    popfq
    sti
.t7: hlt
.t7_and: and eax, ~0x100
.t7_push: push rax
.t7_popf: popfq
.t7_end: cli
    check "steps with STI and HLT", [debug_count], 5
    step 0, .t7, BS
    step 1, .t7_and, BS
    step 2, .t7_push, BS
    step 4, .t7_end, BS
    again .traces
    handler 1, debug
    jmp .float
.stepped: inc ebx
.stepped_point: inc ebx
    inc ebx
    ret

; ---- x87, MMX, SSE
.float:
    begin .floats
    fninit
    fldcw [control_ze]                      ; division by zero unmasked
    fld1
    fldz
.divides: fdivp
    fnstenv [environment]                   ; does not wait
    mov eax, [environment + 12]
    check "FIP", eax, .divides
    fninit
    fldcw [control_ze]
    fld1
    fldz
    fdivp
    attempt 16, 0xeee, fwait
    fnclex
    fninit
    movq mm0, rax
    fnstenv [environment]
    movzx eax, word [environment + 8]
    mov ebx, eax
    and ebx, 3
    check "MM0 is a special value", ebx, 2
    mov ebx, eax
    shr ebx, 1
    and ebx, eax
    and ebx, 0x5555
    check "MMX leaves no register empty", ebx, 0
    emms
    fnstenv [environment]
    movzx eax, word [environment + 8]
    check "tags after EMMS", eax, 0xffff
    fninit
    mov rax, cr0
    or eax, 8
    mov cr0, rax
    attempt 7, 0xeee, fld1
    attempt 7, 0xeee, addps xmm0, xmm0
    clts
    ldmxcsr [csr_ze]                        ; division by zero unmasked
    mov eax, 0x3f800000
    movd xmm0, eax
    xorps xmm1, xmm1
    movaps xmm2, xmm0
    attempt 19, 0xeee, divss xmm0, xmm1
    movd eax, xmm0
    check "SSE register after its exception", eax, 0x3f800000
    stmxcsr [csr]
    mov eax, [csr]
    check "MXCSR after it", eax, 0x1d84
    ldmxcsr [csr_masked]
    divss xmm0, xmm1
    movd eax, xmm0
    check "masked", eax, 0x7f800000
    ldmxcsr [csr_daz]                       ; denormals are zeros, flush to zero
    mov eax, 0x00400000
    movd xmm0, eax
    addss xmm0, xmm0
    movd eax, xmm0
    check "DAZ", eax, 0
    ldmxcsr [csr_masked]
    movd xmm0, [denormal]
    addss xmm0, xmm0
    movd eax, xmm0
    check "without DAZ", eax, 0x00800000
    dec r15d
    jnz .floats

; ---- Several accesses of a block through RSP, one of them to a page that has just been forgotten
    mov qword [0x199100], 0x55
    xor r8d, r8d
    mov rbp, rsp
    begin .stack
    mov rsp, 0x198800
    mov ecx, 3
    mov edx, 5
    mov edi, 0x181200                       ; an alias: another distance to its frame
    call .other_code
    invlpg [0x199000]
    call .stack_code
    add r8, rax
    add r8, rbx
    add r8, rcx
    again .stack
    mov rsp, rbp
    check "accesses through RSP", r8d, ROUNDS * (0x55 + 3 + 5 + 3)
    jmp .stack_end
.other_code:
    mov [rdi], eax
    mov [rdi + 8], eax
    mov [rdi + 16], eax
    ret
.stack_code:
    push qword [rsp + 0x908]
    push rcx
    mov [rsp - 16], rdx
    mov eax, [rsp + 8]
    add rax, [rsp - 16]
    pop rbx
    add rsp, 8
    ret
.stack_end:

; ---- Locks across lines and pages, 67h, time
    mov qword [0x196fe0], 0
    mov qword [0x196ffc], 0
    mov dword [0x197000], 0
    mov ebx, 10
    begin .locks
    lock add dword [0x196ffe], 0x10001
    lock inc qword [0x19703c]
    lock xadd [0x196ffe], ebx
    xor ebx, ebx
    again .locks
    check "lock across pages", [0x196ffe], 0x10001 * ROUNDS + 10
    check "lock across lines", [0x19703c], ROUNDS
    mov rcx, 0xffffffff00190000
    mov dword [0x190010], 0x5a
    begin .small
    mov eax, [ecx + 0x10]                   ; 67h: upper halves do not count
    again .small
    check "67h", eax, 0x5a
    xor r8d, r8d
    begin .time
    rdtsc
    shl rdx, 32
    or rax, rdx
    cmp rax, r8
    jb .time_wrong
    mov r8, rax
    again .time
.time_wrong:
    check "time runs forward", r15d, 0
    mov ecx, 0x3b                           ; TSC_ADJUST follows TSC
    xor eax, eax
    xor edx, edx
    wrmsr
    mov ecx, 0x10
    mov edx, 0x1000
    wrmsr
    rdtsc
    check "TSC", edx, 0x1000
    mov ecx, 0x3b
    rdmsr
    test edx, edx
    setnz al
    movzx eax, al
    check "TSC_ADJUST", eax, 1

; ---- What is not there is not shown
    mov eax, 7
    xor ecx, ecx
    cpuid
    and ebx, 1 << 4 | 1 << 11 | 1 << 14 | 1 << 16
    check "no TSX, MPX, AVX-512", ebx, 0
    and ecx, 1 << 7 | 1 << 3
    check "no CET, PKU", ecx, 0
    and edx, 1 << 20
    check "no IBT", edx, 0
    mov ecx, 0x123
    attempt 13, 0, rdmsr
    attempt 13, 0, wrmsr
    mov rax, cr4
    or eax, 1 << 23
    attempt 13, 0, mov cr4, rax
    done

ipi:
    mov [ipi_ebx], ebx
    mov dword [APIC + 0xb0], 0
    iretq
nmi:
    inc dword [nmi_count]
    inc ebp
    cmp dword [nmi_count], 1
    jne .second
    mov dword [APIC + 0x300], 0x4400        ; three more make one
    mov dword [APIC + 0x300], 0x4400
    mov dword [APIC + 0x300], 0x4400
    jmp .second
.second:
    cmp ebp, 1
    je .alone
    inc dword [nmi_nested]
.alone:
    dec ebp
    iretq
traced:
    push rax
    push rcx
    mov ecx, [debug_count]
    shl ecx, 4
    mov rax, [rsp + 16]
    mov [trace_log + rcx], rax
    mov rax, dr6
    mov [trace_log + rcx + 8], rax
    and eax, 0xffff0ff0
    mov dr6, rax
    inc dword [debug_count]
    and dword [debug_count], 15
    pop rcx
    pop rax
    iretq
debug:
    push rax
    mov rax, [rsp + 8]
    mov [f_rip], rax
    inc dword [debug_count]
    or dword [rsp + 24], 0x10000            ; RF
    pop rax
    iretq

align 16
stubs:
%assign n 0
%rep 256
    align 16
%if n == 8 || n == 10 || n == 11 || n == 12 || n == 13 || n == 14 || n == 17
    push qword n
%else
    push qword 0xeee
    push qword n
%endif
    jmp near taken
%assign n n + 1
%endrep
; Stack: vector, error, rip, cs, rflags, rsp, ss. A bad stack of the test never gets here: every gate uses IST 1.
taken:
    push rax
    mov rax, [rsp + 8]
    mov [vector], eax
    mov rax, [rsp + 16]
    mov [error], eax
    mov rax, [rsp + 24]
    mov [f_rip], rax
    mov rax, [rsp + 40]
    mov [f_flags], rax
    mov rax, [rsp + 48]
    mov [f_rsp], rax
    pop rax
    mov rsp, [safe_rsp]
    jmp [resume]

bits 16
%define BITSNOW 16
routines 16
bits 32
%define BITSNOW 32
routines 32
bits 64
%define BITSNOW 64
routines 64
newline_text: db 10, 0
align 8
gdt: dq 0
    dq 0x00cf9b000000ffff          ; 08
    dq 0x00cf93000000ffff          ; 10
    dq 0x00af9b000000ffff          ; 18
    dw 0x67, tss, 0x8900, 0        ; 20
    dq 0
gdt_end:
gdt_ptr: dw gdt_end - gdt - 1
    dd gdt
idt_ptr: dw 4095
    dq idt
failures: dd 0
align 8
vector: dq 0
error: dq 0
resume: dq 0
safe_rsp: dq 0
f_rip: dq 0
f_flags: dq 0
f_rsp: dq 0
descriptor: dq 0, 0
ipi_ebx: dq 0
nmi_count: dq 0
nmi_nested: dq 0
debug_count: dq 0
trace_log: times 32 dq 0
control_ze: dw 0x37b
    align 4
csr: dd 0
csr_ze: dd 0x1d80
csr_masked: dd 0x1f80
csr_daz: dd 0x9fc0
denormal: dd 0x00400000
environment: times 28 db 0
align 16
tss: dd 0
    dq 0, 0, 0, 0, 0x6f00, 0, 0, 0
    times 0x68 - 0x44 db 0
align 16
idt: times 4096 db 0
