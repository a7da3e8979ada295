/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Option ROM that starts a kernel given with the machine. The host computes everything; this code
 * fetches up to four pieces through fw_cfg DMA, each with its address and size, and jumps.
 *
 *   linux:      real mode, CS = setup segment + 0x20, IP = 0, other segments = setup segment
 *   multiboot:  KERNEL_ENTRY is not 0: 32-bit protected mode, EAX = magic, EBX = address of INITRD
 *
 * Low memory used: 0x9d000 to 0x9dfff, stack below descriptor and tables. Multiboot programs may lie below it.
 */
        .code16
        .text

        .set CONTROL,      0x510
        .set DATA,         0x511
        .set DMA_HIGH,     0x514
        .set DMA_LOW,      0x518
        .set KERNEL_ENTRY, 0x10
        .set INITRD_ADDR,  0x0a
        .set CMDLINE_ADDR, 0x13
        .set SETUP_ADDR,   0x16
        .set SEGMENT,      0x9d00
        .set BASE,         0x9d000
        .set SCRATCH,      0xf00        /* from here on in SEGMENT */
        .set GDT,          0xf20
        .set GDT_POINTER,  0xf48
        .set FAR_ENTRY,    0xf50
        .set FLAT_CODE,    0x08
        .set FLAT_DATA,    0x10
        .set ROM_CODE,     0x18

        .globl _start
_start:
        .word   0xaa55
        .byte   0                       /* length in 512 bytes, filled in by the build */
        jmp     init
        .org    0x18
        .word   0                       /* no PCI data structure */
        .word   pnp
        .org    0x20
pnp:
        .ascii  "$PnP"
        .byte   1, 2                    /* revision, length in 16 bytes */
        .word   0
        .byte   0, 0                    /* checksum, filled in by the build */
        .long   0
        .word   vendor, product
        .byte   2, 0, 0                 /* device type: any boot device */
        .byte   0
        .word   0, 0
        .word   boot                    /* bootstrap entry vector */
        .word   0, 0

init:                                   /* AX: "an IPL device is attached" */
        movw    $0x20, %ax
        lretw

/* The pieces: fw_cfg keys of size, address and data. */
pieces:
        .byte   0x17, 0x16, 0x18        /* setup */
        .byte   0x08, 0x07, 0x11        /* kernel */
        .byte   0x0b, 0x0a, 0x12        /* initrd, or the multiboot information */
        .byte   0x14, 0x13, 0x15        /* command line */
        .byte   0

boot:
        cli
        cld
        movw    $SEGMENT, %ax
        movw    %ax, %ss
        movl    $SCRATCH, %esp
        movw    %ax, %es
        movw    %cs, %ax
        movw    %ax, %ds
        sti
        movw    $pieces, %si
next:
        lodsb
        testb   %al, %al
        jz      loaded
        call    read32
        movl    %eax, %ebp              /* size */
        lodsb
        call    read32
        movl    %eax, %ebx              /* address */
        lodsb
        testl   %ebp, %ebp
        jz      next
        call    fetch
        jmp     next

/* AL: key. Returns EAX: the item's first four bytes. Keeps everything but EDX, ECX. */
read32:
        movzbw  %al, %ax
        movw    $CONTROL, %dx
        outw    %ax, %dx
        movw    $DATA, %dx
        xorl    %eax, %eax
        movw    $4, %cx
1:      inb     %dx, %al
        rorl    $8, %eax
        loop    1b
        ret

/* AL: key, EBP: bytes, EBX: where to. The descriptor is big endian. */
fetch:
        xorl    %edx, %edx
        movb    %al, %dl
        shll    $16, %edx
        movb    $0x0a, %dl              /* select and read */
        bswap   %edx
        movl    %edx, %es:SCRATCH
        bswap   %ebp
        movl    %ebp, %es:SCRATCH + 4
        movl    $0, %es:SCRATCH + 8
        bswap   %ebx
        movl    %ebx, %es:SCRATCH + 12
        movw    $DMA_HIGH, %dx
        xorl    %eax, %eax
        outl    %eax, %dx
        movw    $DMA_LOW, %dx
        movl    $0x00df0900, %eax       /* BASE + SCRATCH, big endian */
        outl    %eax, %dx
1:      movl    %es:SCRATCH, %eax
        bswap   %eax
        testl   $1, %eax
        jnz     failed
        testl   $~1, %eax
        jnz     1b
        ret

failed:
        movw    $message, %si
1:      lodsb
        testb   %al, %al
        jz      2f
        movb    $0x0e, %ah
        movw    $7, %bx
        int     $0x10
        jmp     1b
2:      int     $0x18                   /* on to the next boot device */
3:      hlt
        jmp     3b

loaded:
        movb    $KERNEL_ENTRY, %al
        call    read32
        testl   %eax, %eax
        jnz     multiboot

        movb    $CMDLINE_ADDR, %al
        call    read32
        movl    %eax, %edi
        movb    $SETUP_ADDR, %al
        call    read32
        subl    %eax, %edi
        subl    $16, %edi               /* top of the setup's stack */
        shrl    $4, %eax
        cli
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %fs
        movw    %ax, %gs
        movw    %ax, %ss
        movl    %edi, %esp
        addw    $0x20, %ax
        pushw   %ax
        pushw   $0
        xorl    %ebx, %ebx
        lretw

multiboot:
        cli
        movl    %eax, %es:FAR_ENTRY
        movw    $FLAT_CODE, %es:FAR_ENTRY + 4
        movb    $INITRD_ADDR, %al
        call    read32
        movl    %eax, %ebx
        inb     $0x92, %al              /* A20 */
        orb     $2, %al
        outb    %al, $0x92
        movw    $gdt, %si               /* a copy in RAM, because one base is this ROM's */
        movw    $GDT, %di
        movw    $(gdt_end - gdt) / 2, %cx
        rep     movsw
        xorl    %eax, %eax
        movw    %cs, %ax
        shll    $4, %eax
        movw    %ax, %es:GDT + ROM_CODE + 2
        shrl    $16, %eax
        movb    %al, %es:GDT + ROM_CODE + 4
        movw    $gdt_end - gdt - 1, %es:GDT_POINTER
        movl    $BASE + GDT, %es:GDT_POINTER + 2
        lgdtl   %es:GDT_POINTER
        movl    %cr0, %eax
        orb     $1, %al
        movl    %eax, %cr0
        ljmpl   $ROM_CODE, $protected

        .code32
protected:
        movw    $FLAT_DATA, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %fs
        movw    %ax, %gs
        movw    %ax, %ss
        movl    $0x2badb002, %eax
        xorl    %esi, %esi
        xorl    %edi, %edi
        xorl    %ebp, %ebp
        ljmpl   *(BASE + FAR_ENTRY)

        .code16
        .balign 8
gdt:
        .quad   0
        .quad   0x00cf9a000000ffff      /* code, flat */
        .quad   0x00cf92000000ffff      /* data, flat */
        .quad   0x00409a000000ffff      /* code, base filled in */
gdt_end:

vendor:
        .asciz  "Gasthaus"
product:
        .asciz  "Kernel given with the machine"
message:
        .asciz  "Gasthaus: the kernel could not be loaded.\r\n"
