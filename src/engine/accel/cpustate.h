/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The accelerator-neutral vCPU: what every accelerator can hand out and take back, in groups.
 * Layouts that the architecture fixes are used as they are (XSAVE standard format, the LAPIC
 * register page). Intel SDM volumes 1 and 3; AMD APM volume 2.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum { GH_RAX, GH_RCX, GH_RDX, GH_RBX, GH_RSP, GH_RBP, GH_RSI, GH_RDI,
       GH_R8, GH_R9, GH_R10, GH_R11, GH_R12, GH_R13, GH_R14, GH_R15 };
enum gh_seg_index { GH_ES, GH_CS, GH_SS, GH_DS, GH_FS, GH_GS, GH_TR, GH_LDTR, GH_SEG_COUNT };

/* attr: bits 0-3 type, 4 S, 5-6 DPL, 7 P, 12 AVL, 13 L, 14 D/B, 15 G (bits 8-11 zero), as in
 * the second word of a descriptor >> 8; limit in bytes, already scaled by G. */
struct gh_segment { uint64_t base; uint32_t limit; uint16_t selector; uint16_t attr; };
#define GH_SEG_TYPE(a) ((a) & 0xf)
#define GH_SEG_S    (1u << 4)
#define GH_SEG_DPL(a) (((a) >> 5) & 3)
#define GH_SEG_P    (1u << 7)
#define GH_SEG_AVL  (1u << 12)
#define GH_SEG_L    (1u << 13)
#define GH_SEG_DB   (1u << 14)
#define GH_SEG_G    (1u << 15)
#define GH_SEG_UNUSABLE (1u << 8) /* null selector loaded; not an architectural bit */

struct gh_table { uint64_t base; uint16_t limit; };

enum gh_cpu_group {
    GH_CPU_REGS  = 1u << 0,  /* gpr, rip, rflags */
    GH_CPU_SREGS = 1u << 1,  /* segments, tables, control registers, efer, apic_base */
    GH_CPU_DEBUG = 1u << 2,
    GH_CPU_FPU   = 1u << 3,  /* xsave area, xcr0 */
    GH_CPU_MSRS  = 1u << 4,
    GH_CPU_LAPIC = 1u << 5,
    GH_CPU_EVENTS = 1u << 6, /* run state, pending exception, shadows, NMI blocking */
    GH_CPU_ALL   = 0x7f,
};

enum gh_run_state { GH_RUN_RUNNABLE, GH_RUN_HALTED, GH_RUN_WAIT_SIPI, GH_RUN_SHUTDOWN };

struct gh_msr { uint32_t index; uint64_t value; };
#define GH_MSR_MAX 64
#define GH_XSAVE_SIZE 2696 /* legacy 512 + header 64 + AVX ... up to PKRU in standard format */

struct gh_cpu_state {
    uint64_t gpr[16], rip, rflags;
    struct gh_segment seg[GH_SEG_COUNT];
    struct gh_table gdt, idt;
    uint64_t cr0, cr2, cr3, cr4, cr8, efer, apic_base;
    uint64_t dr[4], dr6, dr7;
    uint64_t xcr0;
    uint8_t  xsave[GH_XSAVE_SIZE] __attribute__((aligned(64)));
    struct gh_msr msr[GH_MSR_MAX];
    unsigned msr_count;
    uint8_t  lapic[1024];             /* 64 registers of 16 bytes, as the MMIO page shows them */
    enum gh_run_state run_state;
    bool     nmi_blocked, nmi_pending, int_shadow;
    bool     exception_pending, exception_has_error;
    uint8_t  exception_vector;
    uint32_t exception_error;
    /* An external interrupt that was acknowledged but whose delivery has not completed. */
    bool     interrupt_injected;
    uint8_t  interrupt_vector;
    uint8_t  sipi_vector;
};

/* A named CPU model; the table is engine/accel/cpumodel.c and serves all accelerators. */
struct gh_cpuid_leaf { uint32_t leaf, subleaf; bool use_subleaf; uint32_t eax, ebx, ecx, edx; };
#define GH_CPUID_MAX 96
struct gh_cpu_model {
    const char *name;                 /* "x86-64-v2", "x86-64-v3", "host", "max" */
    unsigned leaf_count;
    struct gh_cpuid_leaf leaf[GH_CPUID_MAX];
};
