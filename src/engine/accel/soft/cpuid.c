/* SPDX-License-Identifier: GPL-3.0-or-later */
/* CPUID from the model's table, completed by what depends on the vCPU and its registers. */
#include "engine/accel/soft/handlers.h"
#include "engine/accel/soft/vm.h"

static const struct gh_cpuid_leaf *find(const struct gh_cpu_model *m, uint32_t leaf, uint32_t subleaf)
{
    for (unsigned i = 0; i < m->leaf_count; i++)
        if (m->leaf[i].leaf == leaf && (!m->leaf[i].use_subleaf || m->leaf[i].subleaf == subleaf))
            return &m->leaf[i];
    return NULL;
}

uint64_t soft_xcr0_allowed(const struct soft_cpu *cpu)
{
    const struct gh_cpuid_leaf *l = find(cpu->vm->model, 0xd, 0);

    return l ? l->eax | (uint64_t)l->edx << 32 : 1;
}

bool soft_cpu_has(const struct soft_cpu *cpu, uint32_t leaf, unsigned reg, unsigned bit)
{
    const struct gh_cpuid_leaf *l = find(cpu->vm->model, leaf, 0);

    if (!l)
        return false;
    uint32_t v = reg == GH_RAX ? l->eax : reg == GH_RBX ? l->ebx : reg == GH_RCX ? l->ecx : l->edx;
    return v >> bit & 1;
}

/* Standard format: bytes up to the last component that is enabled; compacted: one after the other. */
static uint32_t xsave_size(uint64_t xcr0, bool compact)
{
    if (compact)
        return 576 + (xcr0 & 4 ? 256 : 0) + (xcr0 & 0x200 ? 8 : 0);
    return xcr0 & 0x200 ? 2696 : xcr0 & 4 ? 832 : 576;
}

static void complete(const struct soft_cpu *cpu, struct gh_cpuid_leaf *l)
{
    uint32_t id = cpu->lapic.id;

    switch (l->leaf) {
    case 1:
        l->ebx = (l->ebx & 0x00ffffff) | id << 24;
        if (cpu->cr4 & CR4_OSXSAVE)
            l->ecx |= 1u << 27;
        if (!(cpu->lapic.base_msr & GH_LAPIC_BASE_ENABLE))
            l->edx &= ~(1u << 9);
        break;
    case 7:
        if (l->subleaf == 0 && (cpu->cr4 & CR4_PKE))
            l->ecx |= 1u << 4;
        break;
    case 0xb: case 0x1f:
        l->edx = id;
        break;
    case 0xd:
        if (l->subleaf == 0 || (l->subleaf == 1 && l->eax))
            l->ebx = xsave_size(cpu->xcr0, l->subleaf);
        break;
    default:
        break;
    }
}

SOFT_OP(cpuid)
{
    const struct gh_cpu_model *m = cpu->vm->model;
    uint32_t leaf = (uint32_t)cpu->gpr[GH_RAX], subleaf = (uint32_t)cpu->gpr[GH_RCX];
    const struct gh_cpuid_leaf *basic = find(m, 0, 0), *found = find(m, leaf, subleaf);
    struct gh_cpuid_leaf l = { .leaf = leaf, .subleaf = subleaf };

    if (found)
        l = *found;
    else if (leaf < 0x40000000 && basic && leaf > basic->eax && (found = find(m, basic->eax, subleaf)))
        l = *found;              /* beyond the last basic leaf: its values, as the vendor does */
    l.subleaf = subleaf;
    complete(cpu, &l);
    cpu->gpr[GH_RAX] = l.eax;
    cpu->gpr[GH_RBX] = l.ebx;
    cpu->gpr[GH_RCX] = l.ecx;
    cpu->gpr[GH_RDX] = l.edx;
}
