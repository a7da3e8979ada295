/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The local APIC (xAPIC and x2APIC) for soft and kmod; on kvm the kernel has its own.
 * Specification: Intel SDM volume 3, chapter "Advanced Programmable Interrupt Controller".
 *
 * Threads: everything runs on the owning vCPU's thread, except gh_lapic_deliver and
 * gh_lapic_accepts, which any thread may call without a lock: requests are atomic words.
 * The model never blocks and calls only the env. Delivery between APICs (IPIs, MSI, I/O APIC)
 * goes through struct gh_lapic_bus, which knows all local APICs of a machine.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct gh_lapic;
enum gh_lapic_mode { GH_DELIVER_FIXED = 0, GH_DELIVER_LOWEST = 1, GH_DELIVER_SMI = 2, GH_DELIVER_NMI = 4,
                     GH_DELIVER_INIT = 5, GH_DELIVER_STARTUP = 6, GH_DELIVER_EXTINT = 7 };

struct gh_lapic_env {
    void *opaque;
    void (*attention)(void *opaque);              /* any thread: look at pending soon, wake from HLT */
    void (*nmi)(void *opaque);                    /* any thread */
    void (*init)(void *opaque);                   /* any thread; INIT arrived */
    void (*startup)(void *opaque, uint8_t page);  /* any thread; SIPI */
    void (*eoi)(void *opaque, uint8_t vector);    /* own thread; level-triggered vector done */
    uint64_t (*now_ns)(void *opaque);             /* machine clock */
    uint64_t (*read_tsc)(void *opaque);           /* guest TSC */
    uint64_t tsc_hz;                              /* for the deadline timer */
};

#define GH_LAPIC_MAX 64
struct gh_lapic_bus { struct gh_lapic *apic[GH_LAPIC_MAX]; unsigned count; };

struct gh_lapic {
    struct gh_lapic_bus *bus;
    struct gh_lapic_env env;
    uint32_t id;
    uint64_t base_msr;                            /* IA32_APIC_BASE */
    uint32_t regs[64];                            /* register n is MMIO offset n*16; ISR/TMR/IRR too */
    uint32_t irr[8], tmr[8];                      /* atomic: set by any thread */
    uint64_t timer_start_ns, timer_period_ns;     /* count-down modes */
    uint64_t deadline_tsc;                        /* TSC-deadline mode; 0: disarmed */
    uint32_t esr_pending;                         /* errors since the last write of ESR; atomic */
    bool     bsp;
};

/* Register numbers (MMIO offset >> 4). */
enum gh_lapic_reg { GH_LAPIC_ID = 0x02, GH_LAPIC_VERSION = 0x03, GH_LAPIC_TPR = 0x08, GH_LAPIC_PPR = 0x0a,
                    GH_LAPIC_EOI = 0x0b, GH_LAPIC_LDR = 0x0d, GH_LAPIC_DFR = 0x0e, GH_LAPIC_SVR = 0x0f,
                    GH_LAPIC_ISR = 0x10, GH_LAPIC_TMR = 0x18, GH_LAPIC_IRR = 0x20, GH_LAPIC_ESR = 0x28,
                    GH_LAPIC_ICR = 0x30, GH_LAPIC_ICR2 = 0x31, GH_LAPIC_LVT_TIMER = 0x32,
                    GH_LAPIC_LVT_THERMAL = 0x33, GH_LAPIC_LVT_PERF = 0x34, GH_LAPIC_LVT_LINT0 = 0x35,
                    GH_LAPIC_LVT_LINT1 = 0x36, GH_LAPIC_LVT_ERROR = 0x37, GH_LAPIC_TIMER_INIT = 0x38,
                    GH_LAPIC_TIMER_NOW = 0x39, GH_LAPIC_TIMER_DIVIDE = 0x3e, GH_LAPIC_SELF_IPI = 0x3f };
#define GH_LAPIC_BASE_BSP    (1ull << 8)
#define GH_LAPIC_BASE_X2     (1ull << 10)
#define GH_LAPIC_BASE_ENABLE (1ull << 11)
#define GH_LAPIC_LVT_MASKED  (1u << 16)
#define GH_LAPIC_TIMER_HZ    1000000000ull        /* the timer's input clock */

void gh_lapic_init(struct gh_lapic *l, struct gh_lapic_bus *bus, uint32_t id, bool bsp,
                   const struct gh_lapic_env *env);
void gh_lapic_reset(struct gh_lapic *l, bool keep_id);
/* MMIO page at the APIC base: offset 0..0xfff, 32-bit registers. */
uint32_t gh_lapic_read(struct gh_lapic *l, uint32_t offset);
void gh_lapic_write(struct gh_lapic *l, uint32_t offset, uint32_t value);
/* x2APIC MSRs 0x800..0x8ff; false: raise #GP. */
bool gh_lapic_msr_read(struct gh_lapic *l, uint32_t msr, uint64_t *ret);
bool gh_lapic_msr_write(struct gh_lapic *l, uint32_t msr, uint64_t value);
bool gh_lapic_set_base(struct gh_lapic *l, uint64_t value);      /* IA32_APIC_BASE; false: #GP */
void gh_lapic_set_deadline(struct gh_lapic *l, uint64_t tsc);    /* IA32_TSC_DEADLINE */
uint64_t gh_lapic_get_deadline(const struct gh_lapic *l);
/* Highest deliverable vector above the processor priority, or -1. Cheap; own thread. */
int  gh_lapic_pending(struct gh_lapic *l);
/* Moves the vector returned by pending from IRR to ISR and returns it, -1 if there is none. */
int  gh_lapic_ack(struct gh_lapic *l);
/* Does LINT0 let the 8259's INTR through (virtual wire, or APIC disabled)? */
bool gh_lapic_accepts_extint(const struct gh_lapic *l);
uint8_t gh_lapic_get_cr8(const struct gh_lapic *l);
void gh_lapic_set_cr8(struct gh_lapic *l, uint8_t cr8);
/* When the timer fires next on the machine clock, UINT64_MAX if never. expire() fires it if due. */
uint64_t gh_lapic_deadline_ns(const struct gh_lapic *l);
void gh_lapic_expire(struct gh_lapic *l, uint64_t now_ns);

/* Any thread. Sets the request bit and calls attention. */
void gh_lapic_deliver(struct gh_lapic *l, enum gh_lapic_mode mode, uint8_t vector, bool level);
/* Any thread. Routes an interrupt message (MSI format address and data) to the APICs it names;
 * lowest priority picks one. Returns how many accepted it. */
unsigned gh_lapic_bus_msi(struct gh_lapic_bus *bus, uint64_t address, uint32_t data);

/* An interrupt command (both halves); own thread. */
void gh_lapic_command(struct gh_lapic *l, uint32_t low, uint32_t destination);
/* Records an error bit of ESR and raises the error interrupt. */
void gh_lapic_error(struct gh_lapic *l, uint32_t bit);

/* The register page in the layout of struct gh_cpu_state.lapic. */
void gh_lapic_save(const struct gh_lapic *l, uint8_t page[1024]);
bool gh_lapic_load(struct gh_lapic *l, const uint8_t page[1024]);
