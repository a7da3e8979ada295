/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Handlers: control and debug registers, XCR0, SMAP, TLB. Intel SDM volume 3, "Control Registers". */
#include "engine/accel/soft/far.h"
#include "engine/accel/soft/handlers.h"

#define CR0_WRITABLE (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | CR0_PG)
#define CR4_WRITABLE (CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_MCE | CR4_PGE | CR4_PCE | CR4_OSFXSR |      \
                      CR4_OSXMMEXCPT | CR4_UMIP | CR4_FSGSBASE | CR4_SMEP | CR4_SMAP | CR4_PCIDE)

static void need_ring0(struct soft_cpu *cpu)
{
    if (cpu->cpl)
        soft_gp(cpu, 0);
}

bool soft_load_pdptes(struct soft_cpu *cpu, uint64_t cr0, uint64_t cr3, uint64_t cr4)
{
    uint64_t rsvd = ~SOFT_PHYS_MASK | 0x1e6, p[4];

    if (!(cr0 & CR0_PG) || !(cr4 & CR4_PAE) || (cpu->efer & EFER_LME))
        return true;
    const uint8_t *host = soft_phys_host(cpu->vm, cr3 & 0xffffffe0u, false);
    if (!host)
        return false;
    memcpy(p, host, sizeof p);
    for (unsigned i = 0; i < 4; i++)
        if ((p[i] & 1) && (p[i] & rsvd))
            return false;
    memcpy(cpu->pdpte, p, sizeof p);
    return true;
}

void soft_load_pdptes_quiet(struct soft_cpu *cpu)
{
    if (!soft_load_pdptes(cpu, cpu->cr0, cpu->cr3, cpu->cr4))
        memset(cpu->pdpte, 0, sizeof cpu->pdpte);
}

static void write_cr0(struct soft_cpu *cpu, uint64_t value)
{
    uint64_t old = cpu->cr0, lme = cpu->efer & EFER_LME;

    if (value >> 32)
        soft_gp(cpu, 0);
    value = (value & CR0_WRITABLE) | CR0_ET;
    if (((value & CR0_PG) && !(value & CR0_PE)) || ((value & CR0_NW) && !(value & CR0_CD)))
        soft_gp(cpu, 0);
    if (lme && (value & CR0_PG) && !(old & CR0_PG) &&
        (!(cpu->cr4 & CR4_PAE) || (cpu->seg[GH_CS].attr & GH_SEG_L)))
        soft_gp(cpu, 0);
    if (!(value & CR0_PG) && (cpu->code_mode == 64 || (cpu->cr4 & CR4_PCIDE)))
        soft_gp(cpu, 0);
    if ((value ^ old) & (CR0_PG | CR0_CD | CR0_NW) && !soft_load_pdptes(cpu, value, cpu->cr3, cpu->cr4))
        soft_gp(cpu, 0);
    cpu->cr0 = value;
    cpu->long_mode = lme && (value & CR0_PG);
    cpu->efer = (cpu->efer & ~EFER_LMA) | (cpu->long_mode ? EFER_LMA : 0);
    if ((value ^ old) & CR0_PE)
        cpu->cpl = 0;
    if ((value ^ old) & (CR0_PG | CR0_PE | CR0_WP))
        soft_tlb_flush(cpu, true);
}

static void write_cr3(struct soft_cpu *cpu, uint64_t value)
{
    bool pcid = cpu->cr4 & CR4_PCIDE, keep = pcid && value >> 63;

    if (keep)
        value &= ~(1ull << 63);
    if (cpu->long_mode && (value & ~SOFT_PHYS_MASK))
        soft_gp(cpu, 0);
    if (!soft_load_pdptes(cpu, cpu->cr0, value, cpu->cr4))
        soft_gp(cpu, 0);
    cpu->cr3 = value;
    if (pcid)
        soft_tlb_switch(cpu, value & 0xfff, keep);
    else
        soft_tlb_flush(cpu, false);
}

/* Bits of CR4 that the model has. */
static uint64_t cr4_writable(const struct soft_cpu *cpu)
{
    return CR4_WRITABLE | (soft_cpu_has(cpu, 1, GH_RCX, 26) ? CR4_OSXSAVE : 0) |
           (soft_cpu_has(cpu, 7, GH_RCX, 3) ? CR4_PKE : 0) | (soft_cpu_has(cpu, 7, GH_RCX, 31) ? CR4_PKS : 0);
}

static void write_cr4(struct soft_cpu *cpu, uint64_t value)
{
    uint64_t old = cpu->cr4;

    if ((value & ~cr4_writable(cpu)) || (cpu->long_mode && !(value & CR4_PAE)))
        soft_gp(cpu, 0);
    if (((value ^ old) & (CR4_PAE | CR4_PSE | CR4_PGE | CR4_SMEP)) &&
        !soft_load_pdptes(cpu, cpu->cr0, cpu->cr3, value))
        soft_gp(cpu, 0);
    if ((value & ~old & CR4_PCIDE) && (!cpu->long_mode || (cpu->cr3 & 0xfff)))
        soft_gp(cpu, 0);
    cpu->cr4 = value;
    if ((old & ~value) & CR4_PCIDE)
        soft_tlb_switch(cpu, 0, false);
    if ((value ^ old) & (CR4_PCIDE | CR4_PAE | CR4_PSE | CR4_PGE | CR4_SMEP | CR4_SMAP | CR4_PKE | CR4_PKS))
        soft_tlb_flush(cpu, true);
}

SOFT_OP(mov_from_cr)
{
    uint64_t v;

    need_ring0(cpu);
    switch (in->reg) {
    case 0: v = cpu->cr0; break;
    case 2: v = cpu->cr2; break;
    case 3: v = cpu->cr3; break;
    case 4: v = cpu->cr4; break;
    case 8: v = gh_lapic_get_cr8(&cpu->lapic); break;
    default: soft_ud(cpu);
    }
    cpu->gpr[in->rm] = in->opsize == 8 ? v : (uint32_t)v;
}

SOFT_OP(mov_to_cr)
{
    uint64_t v = in->opsize == 8 ? cpu->gpr[in->rm] : (uint32_t)cpu->gpr[in->rm];

    if (in->reg != 0 && in->reg != 2 && in->reg != 3 && in->reg != 4 && in->reg != 8)
        soft_ud(cpu);
    need_ring0(cpu);
    switch (in->reg) {
    case 0: write_cr0(cpu, v); break;
    case 2: cpu->cr2 = v; break;
    case 3: write_cr3(cpu, v); break;
    case 4: write_cr4(cpu, v); break;
    default:
        if (v & ~15ull)
            soft_gp(cpu, 0);
        gh_lapic_set_cr8(&cpu->lapic, (uint8_t)v);
        soft_apic_written(cpu);
    }
    soft_next(cpu, in);
    soft_update_mode(cpu);
}

SOFT_OP(clts)
{
    need_ring0(cpu);
    cpu->cr0 &= ~CR0_TS;
    soft_next(cpu, in);
    soft_update_mode(cpu);
}

SOFT_OP(smsw)
{
    if ((cpu->cr4 & CR4_UMIP) && cpu->cpl)
        soft_gp(cpu, 0);
    if (in->is_mem)
        soft_stm16(cpu, in, (uint16_t)cpu->cr0);
    else if (in->opsize == 2)
        soft_set_reg16(cpu, in->rm, (uint16_t)cpu->cr0);
    else
        cpu->gpr[in->rm] = cpu->cr0;
}

SOFT_OP(lmsw)
{
    need_ring0(cpu);
    uint64_t v = soft_get_rm16(cpu, in) & 0xf;
    write_cr0(cpu, (cpu->cr0 & ~0xeull) | v);   /* PE can be set, not cleared */
    soft_next(cpu, in);
    soft_update_mode(cpu);
}

SOFT_OP(wbinvd) { need_ring0(cpu); }

SOFT_OP(invlpg)
{
    need_ring0(cpu);
    uint64_t linear = soft_offset(cpu, in) + (cpu->code_mode == 64 && in->seg < GH_FS ? 0 : cpu->seg[in->seg].base);
    soft_tlb_flush_page(cpu, cpu->code_mode == 64 ? linear : (uint32_t)linear);
    soft_next(cpu, in);
}

SOFT_OP(invpcid)
{
    uint64_t type = in->opsize == 8 ? cpu->gpr[in->reg] : (uint32_t)cpu->gpr[in->reg], d[2];

    if (!soft_cpu_has(cpu, 7, GH_RBX, 10))
        soft_ud(cpu);
    need_ring0(cpu);
    soft_read(cpu, soft_addr(cpu, in, 16, false), d, 16);
    if (type > 3 || d[0] >> 12)
        soft_gp(cpu, 0);
    if (type < 2 && !(cpu->cr4 & CR4_PCIDE) && d[0])
        soft_gp(cpu, 0);
    if (type == 0) {
        if (!soft_canonical(d[1]))
            soft_gp(cpu, 0);
        soft_tlb_flush_pcid_page(cpu, (uint16_t)d[0], d[1]);
    } else if (type == 1) {
        soft_tlb_flush_pcid(cpu, (uint16_t)d[0]);
    } else if (type == 2) {
        soft_tlb_flush(cpu, true);
    } else {
        soft_tlb_flush_all_but_global(cpu);
    }
    soft_next(cpu, in);
}

static void set_ac(struct soft_cpu *cpu, const struct soft_insn *in, bool on)
{
    if (cpu->cpl)
        soft_ud(cpu);
    cpu->rflags_rest = on ? cpu->rflags_rest | FL_AC : cpu->rflags_rest & ~FL_AC;
    soft_next(cpu, in);
    soft_update_mode(cpu);
}
SOFT_OP(clac) { set_ac(cpu, in, false); }
SOFT_OP(stac) { set_ac(cpu, in, true); }

/* ---- Debug registers ------------------------------------------------------------------------------ */
static unsigned debug_number(struct soft_cpu *cpu, const struct soft_insn *in)
{
    unsigned n = in->reg;

    if (n > 7)
        soft_ud(cpu);
    if ((n == 4 || n == 5) && (cpu->cr4 & CR4_DE))
        soft_ud(cpu);
    need_ring0(cpu);
    if (cpu->dr7 & 1u << 13) {
        cpu->dr6 |= 1u << 13;
        soft_raise(cpu, SOFT_DB);
    }
    return n == 4 ? 6 : n == 5 ? 7 : n;
}

SOFT_OP(mov_from_dr)
{
    unsigned n = debug_number(cpu, in);
    uint64_t v = n < 4 ? cpu->dr[n] : n == 6 ? cpu->dr6 : cpu->dr7;

    cpu->gpr[in->rm] = in->opsize == 8 ? v : (uint32_t)v;
}

SOFT_OP(mov_to_dr)
{
    unsigned n = debug_number(cpu, in);
    uint64_t v = in->opsize == 8 ? cpu->gpr[in->rm] : (uint32_t)cpu->gpr[in->rm];

    if (n >= 6 && v >> 32)
        soft_gp(cpu, 0);
    if (n < 4)
        cpu->dr[n] = v;
    else if (n == 6)
        cpu->dr6 = (v & 0xe00f) | 0xffff0ff0u;
    else {
        cpu->rflags_rest &= ~FL_RF; /* left over from an IRET while nothing was armed */
        cpu->dr7 = (v & 0xffff2bff) | 0x400;
    }
    soft_tlb_flush(cpu, true);     /* pages with breakpoints have no fast tags */
    soft_next(cpu, in);
    soft_update_mode(cpu);
}

/* ---- XCR0 --------------------------------------------------------------------------------------------- */
SOFT_OP(xgetbv)
{
    if (!(cpu->cr4 & CR4_OSXSAVE))
        soft_ud(cpu);
    if ((uint32_t)cpu->gpr[GH_RCX])
        soft_gp(cpu, 0);
    cpu->gpr[GH_RAX] = (uint32_t)cpu->xcr0;
    cpu->gpr[GH_RDX] = cpu->xcr0 >> 32;
}

SOFT_OP(xsetbv)
{
    uint64_t v = (cpu->gpr[GH_RDX] << 32) | (uint32_t)cpu->gpr[GH_RAX];

    if (!(cpu->cr4 & CR4_OSXSAVE))
        soft_ud(cpu);
    need_ring0(cpu);
    if ((uint32_t)cpu->gpr[GH_RCX] || !(v & 1) || (v & ~soft_xcr0_allowed(cpu)) || ((v & 4) && !(v & 2)))
        soft_gp(cpu, 0);
    cpu->xcr0 = v;
    soft_next(cpu, in);
    soft_update_mode(cpu);
}

/* ---- Protection keys ---------------------------------------------------------------------------------- */
void soft_set_pkru(struct soft_cpu *cpu, uint32_t value)
{
    if (cpu->pkru == value)
        return;
    cpu->pkru = value;
    if (cpu->cr4 & CR4_PKE)
        soft_tlb_flush(cpu, true);     /* the TLB's rights are those with the keys */
}

static void need_keys(struct soft_cpu *cpu)
{
    if (!(cpu->cr4 & CR4_PKE))
        soft_ud(cpu);
    if ((uint32_t)cpu->gpr[GH_RCX])
        soft_gp(cpu, 0);
}

SOFT_OP(rdpkru)
{
    need_keys(cpu);
    cpu->gpr[GH_RAX] = cpu->pkru;
    cpu->gpr[GH_RDX] = 0;
}

SOFT_OP(wrpkru)
{
    need_keys(cpu);
    if ((uint32_t)cpu->gpr[GH_RDX])
        soft_gp(cpu, 0);
    soft_set_pkru(cpu, (uint32_t)cpu->gpr[GH_RAX]);
    soft_next(cpu, in);
}
