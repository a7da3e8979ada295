/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a guest may ask of the machine below it, in the form that guests know from KVM: VMCALL and VMMCALL with
 * a number in RAX and arguments in RBX, RCX, RDX and RSI, a clock page, page faults told of later (never needed
 * here). CPUID does not offer them, so no
 * kernel chooses them by itself; programs that test processors use them without asking.
 * Linux: Documentation/virt/kvm/x86/hypercalls.rst, msr.rst.
 */
#include <string.h>
#include <time.h>

#include "engine/accel/soft/handlers.h"
#include "engine/accel/soft/vm.h"

enum { CALL_SEND_IPI = 10, ERROR_UNKNOWN = -1000, ERROR_RING = -1 };
#define CLOCK_STABLE 1u     /* the same on all processors, never behind */

/* RBX and RCX are a bitmap of APIC ids from RDX on, RSI the low half of an interrupt command. */
static int64_t send_ipi(struct soft_cpu *cpu, const uint64_t arg[4])
{
    unsigned bits = cpu->code_mode == 64 ? 64 : 32;
    int64_t sent = 0;

    for (unsigned i = 0; i < 2 * bits; i++) {
        if (!(arg[i / bits] >> i % bits & 1))
            continue;
        uint64_t id = arg[2] + i;
        for (unsigned n = 0; n < cpu->vm->bus.count; n++) {
            struct gh_lapic *l = cpu->vm->bus.apic[n];
            if (!l || l->id != id)
                continue;
            gh_lapic_deliver(l, (enum gh_lapic_mode)(arg[3] >> 8 & 7), (uint8_t)arg[3], false);
            sent++;
        }
    }
    return sent;
}

SOFT_OP(vmcall)
{
    uint64_t mask = cpu->code_mode == 64 ? ~0ull : 0xffffffffu;
    uint64_t number = cpu->gpr[GH_RAX] & mask, mode;
    uint64_t arg[4] = { cpu->gpr[GH_RBX] & mask, cpu->gpr[GH_RCX] & mask, cpu->gpr[GH_RDX] & mask, cpu->gpr[GH_RSI] & mask };
    int64_t r = ERROR_UNKNOWN;

    if (!soft_protected(cpu))
        soft_ud(cpu);
    mode = arg[3] >> 8 & 7;
    if (cpu->cpl)
        r = ERROR_RING;
    else if (number == CALL_SEND_IPI && (mode == GH_DELIVER_FIXED || mode == GH_DELIVER_NMI))
        r = send_ipi(cpu, arg);
    cpu->gpr[GH_RAX] = (uint64_t)r & mask;
    soft_next(cpu, in);
}

/* ---- Clocks ------------------------------------------------------------------------------------------------ */
/* Nanoseconds are system_time + ((tsc - tsc_timestamp) << shift) * mul / 2^32. */
struct clock_page { uint32_t version, pad; uint64_t tsc_timestamp, system_time; uint32_t mul; int8_t shift; uint8_t flags, pad2[2]; };
struct wall_page { uint32_t version, seconds, nanoseconds; };

static void put(struct soft_cpu *cpu, uint64_t gpa, const void *data, unsigned bytes)
{
    uint8_t *host = soft_phys_host(cpu->vm, gpa, true);

    if ((gpa & 0xfff) + bytes > 0x1000 || !host)
        return;                        /* not in one page of memory: nobody reads it there */
    memcpy(host, data, bytes);
    soft_map_dma_written(cpu->vm, gpa, bytes);
}

void soft_clock_page(struct soft_cpu *cpu)
{
    uint64_t hz = cpu->vm->tsc_hz, scaled = hz;
    struct clock_page p = { .version = 2, .flags = CLOCK_STABLE };

    if (!(cpu->clock_page & 1))
        return;
    /* Both clocks are the machine's: one relation holds for its whole life. */
    while (scaled > 2000000000u) {
        scaled >>= 1;
        p.shift--;
    }
    while (scaled <= 1000000000u) {
        scaled <<= 1;
        p.shift++;
    }
    p.mul = (uint32_t)((1000000000ull << 32) / scaled);
    p.tsc_timestamp = soft_rdtsc(cpu);
    p.system_time = (uint64_t)((__uint128_t)(p.tsc_timestamp - cpu->tsc_offset) * 1000000000u / hz);
    put(cpu, cpu->clock_page & ~1ull, &p, sizeof p);
}

void soft_clock_wall(struct soft_cpu *cpu, uint64_t gpa)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t boot = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec - cpu->vm->env.now_ns(cpu->vm->env.opaque);
    struct wall_page p = { 2, (uint32_t)(boot / 1000000000u), (uint32_t)(boot % 1000000000u) };
    put(cpu, gpa, &p, sizeof p);
}
