/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Model-specific registers, RDMSR and WRMSR. Names as in the Intel SDM volume 4. Registers that only
 * configure caches, power or microcode are kept as plain storage or read as zero; unknown ones are
 * #GP and counted.
 */
#include "base/log.h"
#include "engine/accel/soft/far.h"
#include "engine/accel/soft/handlers.h"

enum {
    MSR_TSC = 0x10, MSR_PLATFORM_ID = 0x17, MSR_APIC_BASE = 0x1b, MSR_FEATURE_CONTROL = 0x3a, MSR_TSC_ADJUST = 0x3b,
    MSR_SPEC_CTRL = 0x48, MSR_PRED_CMD = 0x49, MSR_UCODE_TRIGGER = 0x79, MSR_UCODE_REV = 0x8b,
    MSR_PLATFORM_INFO = 0xce, MSR_MTRRCAP = 0xfe, MSR_ARCH_CAPABILITIES = 0x10a, MSR_SYSENTER_CS = 0x174,
    MSR_SYSENTER_ESP, MSR_SYSENTER_EIP, MSR_MCG_CAP = 0x179, MSR_MCG_STATUS, MSR_MISC_ENABLE = 0x1a0,
    MSR_DEBUGCTL = 0x1d9, MSR_MTRR_PHYS = 0x200, MSR_MTRR_FIX64K = 0x250, MSR_MTRR_FIX16K = 0x258,
    MSR_MTRR_FIX4K = 0x268, MSR_PAT = 0x277, MSR_MTRR_DEF_TYPE = 0x2ff, MSR_TSC_DEADLINE = 0x6e0,
    MSR_PKRS = 0x6e1, MSR_X2APIC = 0x800, MSR_XSS = 0xda0,
    MSR_EFER = 0xc0000080u, MSR_STAR, MSR_LSTAR, MSR_CSTAR, MSR_SFMASK, MSR_FS_BASE = 0xc0000100u, MSR_GS_BASE,
    MSR_KERNEL_GS_BASE, MSR_TSC_AUX,
    MSR_WALL_CLOCK_OLD = 0x11, MSR_CLOCK_PAGE_OLD = 0x12, MSR_WALL_CLOCK = 0x4b564d00, MSR_CLOCK_PAGE,
    MSR_ASYNC_FAULTS,
};
#define MTRR_COUNT 8
#define MISC_ENABLE_DEFAULT 1ull  /* fast strings */

static bool has_arch_caps(const struct soft_cpu *cpu) { return soft_cpu_has(cpu, 7, GH_RDX, 29); }

/* What this processor is not vulnerable to: it does not speculate at all. RDCL_NO, SKIP_L1DFL, SSB_NO, MDS_NO,
 * PSCHANGE_MC_NO, TAA_NO, SBDR_SSDP_NO, FBSDP_NO, PSDP_NO, BHI_NO, PBRSB_NO, GDS_NO, RFDS_NO. */
#define ARCH_CAPS (1ull << 0 | 1ull << 3 | 1ull << 4 | 1ull << 5 | 1ull << 6 | 1ull << 8 | 1ull << 13 | 1ull << 14 | \
                   1ull << 15 | 1ull << 20 | 1ull << 24 | 1ull << 26 | 1ull << 27)

static uint64_t *fixed_mtrr(struct soft_cpu *cpu, uint32_t msr)
{
    if (msr == MSR_MTRR_FIX64K)
        return &cpu->mtrr_fixed[0];
    if (msr == MSR_MTRR_FIX16K || msr == MSR_MTRR_FIX16K + 1)
        return &cpu->mtrr_fixed[1 + msr - MSR_MTRR_FIX16K];
    if (msr >= MSR_MTRR_FIX4K && msr < MSR_MTRR_FIX4K + 8)
        return &cpu->mtrr_fixed[3 + msr - MSR_MTRR_FIX4K];
    return NULL;
}

bool soft_msr_read(struct soft_cpu *cpu, uint32_t msr, uint64_t *ret)
{
    if (msr >= MSR_X2APIC && msr < MSR_X2APIC + 0x100)
        return gh_lapic_msr_read(&cpu->lapic, msr, ret);
    if (msr >= MSR_MTRR_PHYS && msr < MSR_MTRR_PHYS + 2 * MTRR_COUNT) {
        *ret = cpu->mtrr_phys[msr - MSR_MTRR_PHYS];
        return true;
    }
    if (fixed_mtrr(cpu, msr)) {
        *ret = *fixed_mtrr(cpu, msr);
        return true;
    }
    switch (msr) {
    case MSR_TSC: *ret = soft_rdtsc(cpu); return true;
    case MSR_TSC_ADJUST: *ret = cpu->tsc_adjust; return true;
    case MSR_APIC_BASE: *ret = cpu->lapic.base_msr; return true;
    case MSR_FEATURE_CONTROL: *ret = cpu->feature_control; return true;
    case MSR_MTRRCAP: *ret = 0x500 | MTRR_COUNT; return true;      /* fixed ranges, write combining */
    case MSR_SYSENTER_CS: *ret = cpu->sysenter_cs; return true;
    case MSR_SYSENTER_ESP: *ret = cpu->sysenter_esp; return true;
    case MSR_SYSENTER_EIP: *ret = cpu->sysenter_eip; return true;
    case MSR_MISC_ENABLE: *ret = cpu->misc_enable; return true;
    case MSR_PAT: *ret = cpu->pat; return true;
    case MSR_MTRR_DEF_TYPE: *ret = cpu->mtrr_def_type; return true;
    case MSR_TSC_DEADLINE: *ret = gh_lapic_get_deadline(&cpu->lapic); return true;
    case MSR_EFER: *ret = cpu->efer; return true;
    case MSR_STAR: *ret = cpu->star; return true;
    case MSR_LSTAR: *ret = cpu->lstar; return true;
    case MSR_CSTAR: *ret = cpu->cstar; return true;
    case MSR_SFMASK: *ret = cpu->sfmask; return true;
    case MSR_FS_BASE: *ret = cpu->seg[GH_FS].base; return true;
    case MSR_GS_BASE: *ret = cpu->seg[GH_GS].base; return true;
    case MSR_KERNEL_GS_BASE: *ret = cpu->kernel_gs_base; return true;
    case MSR_TSC_AUX: *ret = cpu->tsc_aux; return true;
    case MSR_MCG_STATUS: *ret = cpu->mcg_status; return true;
    case MSR_PKRS: *ret = cpu->pkrs; return soft_cpu_has(cpu, 7, GH_RCX, 31);
    case MSR_CLOCK_PAGE: case MSR_CLOCK_PAGE_OLD: *ret = cpu->clock_page; return true;
    case MSR_ASYNC_FAULTS: *ret = cpu->async_faults; return true;
    case MSR_WALL_CLOCK: case MSR_WALL_CLOCK_OLD: *ret = 0; return true;
    case MSR_UCODE_REV: *ret = 0x100000000ull; return true;
    case MSR_ARCH_CAPABILITIES: *ret = ARCH_CAPS; return has_arch_caps(cpu);
    case MSR_PLATFORM_ID: case MSR_PLATFORM_INFO: case MSR_MCG_CAP: case MSR_DEBUGCTL: *ret = 0; return true;
    default: return false;
    }
}

static bool write_efer(struct soft_cpu *cpu, uint64_t value)
{
    uint64_t writable = EFER_SCE | EFER_LME | EFER_NXE;

    if (value & ~(writable | EFER_LMA))
        return false;
    if (((value ^ cpu->efer) & EFER_LME) && (cpu->cr0 & CR0_PG))
        return false;
    bool nx_changed = (value ^ cpu->efer) & EFER_NXE;
    cpu->efer = (value & writable) | (cpu->efer & EFER_LMA);
    if (nx_changed)
        soft_tlb_flush(cpu, true);
    return true;
}

static bool valid_pat(uint64_t v)
{
    for (unsigned i = 0; i < 8; i++, v >>= 8)
        if ((v & 0xff) > 7 || (v & 0xff) == 2 || (v & 0xff) == 3)
            return false;
    return true;
}

/* Registers that hold linear addresses. */
static bool write_address(struct soft_cpu *cpu, uint64_t *reg, uint64_t value)
{
    if (!soft_canonical(value))
        return false;
    *reg = value;
    return true;
}

bool soft_msr_write(struct soft_cpu *cpu, uint32_t msr, uint64_t value)
{
    bool ok;

    if (msr >= MSR_X2APIC && msr < MSR_X2APIC + 0x100) {
        ok = gh_lapic_msr_write(&cpu->lapic, msr, value);
        soft_apic_written(cpu);
        return ok;
    }
    if (msr >= MSR_MTRR_PHYS && msr < MSR_MTRR_PHYS + 2 * MTRR_COUNT) {
        cpu->mtrr_phys[msr - MSR_MTRR_PHYS] = value;
        return true;
    }
    if (fixed_mtrr(cpu, msr)) {
        *fixed_mtrr(cpu, msr) = value;
        return true;
    }
    switch (msr) {
    case MSR_TSC: {
        uint64_t delta = value - soft_rdtsc(cpu);
        cpu->tsc_offset += delta;
        cpu->tsc_adjust += delta;
        soft_clock_page(cpu);
        soft_apic_written(cpu);
        return true;
    }
    case MSR_TSC_ADJUST:
        cpu->tsc_offset += value - cpu->tsc_adjust;
        cpu->tsc_adjust = value;
        soft_clock_page(cpu);
        soft_apic_written(cpu);
        return true;
    case MSR_APIC_BASE:
        ok = gh_lapic_set_base(&cpu->lapic, value);
        soft_tlb_flush(cpu, true);
        soft_apic_written(cpu);
        return ok;
    case MSR_FEATURE_CONTROL:
        if (cpu->feature_control & 1)
            return false;            /* locked */
        cpu->feature_control = value & 0x1;
        return true;
    case MSR_SYSENTER_CS: cpu->sysenter_cs = (uint32_t)value; return true;
    case MSR_SYSENTER_ESP: return write_address(cpu, &cpu->sysenter_esp, value);
    case MSR_SYSENTER_EIP: return write_address(cpu, &cpu->sysenter_eip, value);
    case MSR_MISC_ENABLE: cpu->misc_enable = value; return true;
    case MSR_PAT:
        if (!valid_pat(value))
            return false;
        cpu->pat = value;
        return true;
    case MSR_MTRR_DEF_TYPE: cpu->mtrr_def_type = value & 0xcff; return true;
    case MSR_TSC_DEADLINE:
        gh_lapic_set_deadline(&cpu->lapic, value);
        soft_apic_written(cpu);
        return true;
    case MSR_EFER: return write_efer(cpu, value);
    case MSR_STAR: cpu->star = value; return true;
    case MSR_LSTAR: return write_address(cpu, &cpu->lstar, value);
    case MSR_CSTAR: return write_address(cpu, &cpu->cstar, value);
    case MSR_SFMASK: cpu->sfmask = (uint32_t)value; return true;
    case MSR_FS_BASE: return write_address(cpu, &cpu->seg[GH_FS].base, value);
    case MSR_GS_BASE: return write_address(cpu, &cpu->seg[GH_GS].base, value);
    case MSR_KERNEL_GS_BASE: return write_address(cpu, &cpu->kernel_gs_base, value);
    case MSR_TSC_AUX: cpu->tsc_aux = (uint32_t)value; return true;
    case MSR_MCG_STATUS: cpu->mcg_status = value; return true;
    case MSR_PKRS:
        if (value >> 32 || !soft_cpu_has(cpu, 7, GH_RCX, 31))
            return false;
        cpu->pkrs = (uint32_t)value;
        soft_tlb_flush(cpu, true);
        return true;
    case MSR_CLOCK_PAGE: case MSR_CLOCK_PAGE_OLD:
        cpu->clock_page = value;
        soft_clock_page(cpu);
        return true;
    case MSR_ASYNC_FAULTS:               /* what memory does here never has to wait: none is ever sent */
        if (value & 0x30)
            return false;
        cpu->async_faults = value;
        return true;
    case MSR_WALL_CLOCK: case MSR_WALL_CLOCK_OLD: soft_clock_wall(cpu, value); return true;
    case MSR_UCODE_REV: case MSR_UCODE_TRIGGER: case MSR_DEBUGCTL: return true;
    default: return false;
    }
}

static void refused(struct soft_cpu *cpu, const char *what, uint32_t msr)
{
    SOFT_COUNT(cpu->vm, unknown_msr);
    gh_trace(soft_msr, "cpu%u %s of MSR %#x refused at rip %#llx", cpu->index, what, msr, (unsigned long long)cpu->rip);
    soft_gp(cpu, 0);
}

SOFT_OP(rdmsr)
{
    uint64_t v = 0;
    uint32_t msr = (uint32_t)cpu->gpr[GH_RCX];

    if (cpu->cpl)
        soft_gp(cpu, 0);
    if (!soft_msr_read(cpu, msr, &v))
        refused(cpu, "read", msr);
    cpu->gpr[GH_RAX] = (uint32_t)v;
    cpu->gpr[GH_RDX] = v >> 32;
}

SOFT_OP(wrmsr)
{
    uint32_t msr = (uint32_t)cpu->gpr[GH_RCX];

    if (cpu->cpl)
        soft_gp(cpu, 0);
    if (!soft_msr_write(cpu, msr, cpu->gpr[GH_RDX] << 32 | (uint32_t)cpu->gpr[GH_RAX]))
        refused(cpu, "write", msr);
    soft_next(cpu, in);
    soft_update_mode(cpu);
}

/* ---- Time stamps, FS and GS bases, random numbers ---------------------------------------------------- */
static void need_tsc(struct soft_cpu *cpu)
{
    if ((cpu->cr4 & CR4_TSD) && cpu->cpl)
        soft_gp(cpu, 0);
}

SOFT_OP(rdtsc)
{
    need_tsc(cpu);
    uint64_t v = soft_rdtsc(cpu);
    cpu->gpr[GH_RAX] = (uint32_t)v;
    cpu->gpr[GH_RDX] = v >> 32;
}

SOFT_OP(rdtscp)
{
    if (!soft_cpu_has(cpu, 0x80000001u, GH_RDX, 27))
        soft_ud(cpu);
    soft_body_rdtsc(cpu, in);
    cpu->gpr[GH_RCX] = (uint32_t)cpu->tsc_aux;
}

SOFT_OP(rdpid)
{
    if (!soft_cpu_has(cpu, 7, GH_RCX, 22))
        soft_ud(cpu);
    cpu->gpr[in->rm] = (uint32_t)cpu->tsc_aux;
}

SOFT_OP(rdpmc) { soft_gp(cpu, 0); }   /* no performance counters */

static void fsgs(struct soft_cpu *cpu, const struct soft_insn *in, unsigned seg, bool write)
{
    if (!(cpu->cr4 & CR4_FSGSBASE))
        soft_ud(cpu);
    if (!write) {
        cpu->gpr[in->rm] = in->opsize == 8 ? cpu->seg[seg].base : (uint32_t)cpu->seg[seg].base;
        return;
    }
    uint64_t v = in->opsize == 8 ? cpu->gpr[in->rm] : (uint32_t)cpu->gpr[in->rm];
    if (!soft_canonical(v))
        soft_gp(cpu, 0);
    cpu->seg[seg].base = v;
}
SOFT_OP(rdfsbase) { fsgs(cpu, in, GH_FS, false); }
SOFT_OP(rdgsbase) { fsgs(cpu, in, GH_GS, false); }
SOFT_OP(wrfsbase) { fsgs(cpu, in, GH_FS, true); }
SOFT_OP(wrgsbase) { fsgs(cpu, in, GH_GS, true); }

SOFT_OP(swapgs)
{
    if (cpu->cpl)
        soft_gp(cpu, 0);
    uint64_t v = cpu->seg[GH_GS].base;
    cpu->seg[GH_GS].base = cpu->kernel_gs_base;
    cpu->kernel_gs_base = v;
}

/* A model may offer these only where the host has them. */
static void put_random(struct soft_cpu *cpu, const struct soft_insn *in, uint64_t v, bool ok)
{
    if (!ok)
        v = 0;
    if (in->opsize == 2)
        soft_set_reg16(cpu, in->rm, (uint16_t)v);
    else
        cpu->gpr[in->rm] = in->opsize == 4 ? (uint32_t)v : v;
    cpu->aflags = ok ? 0x200 | SOFT_CF : 0x200;
}

SOFT_OP(rdrand)
{
    uint64_t v = 0;
    uint8_t ok = 0;

    if (!soft_cpu_has(cpu, 1, GH_RCX, 30))
        soft_ud(cpu);
    for (unsigned tries = 0; tries < 16 && !ok; tries++)
        __asm__ volatile("rdrand %0; setc %1" : "=r"(v), "=qm"(ok) : : "cc");
    put_random(cpu, in, v, ok);
}

SOFT_OP(rdseed)
{
    uint64_t v = 0;
    uint8_t ok = 0;

    if (!soft_cpu_has(cpu, 7, GH_RBX, 18))
        soft_ud(cpu);
    for (unsigned tries = 0; tries < 64 && !ok; tries++)
        __asm__ volatile("rdseed %0; setc %1" : "=r"(v), "=qm"(ok) : : "cc");
    put_random(cpu, in, v, ok);
}
