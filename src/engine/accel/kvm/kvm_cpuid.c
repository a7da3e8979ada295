/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What CPUID shows: the kernel's supported set, cut down to the CPU model, completed per vCPU with
 * topology and the hypervisor leaves. Vendor, family and cache sizes stay the host's: the guest's
 * instructions run on it. Nested virtualization, PMU, SGX, AMX, control-flow
 * enforcement and processor trace are not offered.
 * Intel SDM volume 2 (CPUID), AMD APM volume 3 appendix E, Linux Documentation/virt/kvm/x86/cpuid.rst.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "engine/accel/kvm/kvm_int.h"

#define KVM_LEAF        0x40000000u
#define KVM_LEAF_FEAT   0x40000001u
#define KVM_LEAF_TIMING 0x40000010u /* EAX: TSC kHz, EBX: local APIC bus kHz */
#define APIC_BUS_KHZ    1000000u

enum reg { EAX, EBX, ECX, EDX };
#define BIT(n) (1u << (n))

/* Feature words: cut to the model where it has the leaf, and these bits never. */
static const struct { uint32_t leaf, subleaf; enum reg reg; uint32_t never; bool from_model; } words[] = {
    { 1, 0, ECX, BIT(2) /* DTES64 */ | BIT(3) /* MONITOR */ | BIT(5) /* VMX */ | BIT(6) /* SMX */ | BIT(15) /* PDCM */ |
                 BIT(27) /* OSXSAVE */, true },
    { 1, 0, EDX, BIT(21) /* DS */, true },
    { 7, 0, EBX, BIT(2) /* SGX */ | BIT(14) /* MPX */ | BIT(25) /* PT */, true },
    { 7, 0, ECX, BIT(4) /* OSPKE */ | BIT(7) /* shadow stacks */ | BIT(30) /* SGX_LC */, true },
    { 7, 0, EDX, BIT(22) | BIT(24) | BIT(25) /* AMX */ | BIT(18) /* PCONFIG */ | BIT(19) /* LBR */ | BIT(20) /* IBT */, true },
    { 7, 1, EAX, BIT(17) /* FRED */ | BIT(21) | BIT(22) /* AMX */, true },
    { 7, 1, EBX, 0, true },
    { 7, 1, ECX, 0, true },
    { 7, 1, EDX, BIT(8) /* AMX */ | BIT(18) /* supervisor shadow stacks */ | BIT(21) /* APX */, true },
    { 0xd, 1, EAX, BIT(3) /* XSAVES */ | BIT(4) /* XFD */, true },
    { 0x80000001, 0, ECX, BIT(2) /* SVM */ | BIT(10) /* IBS */ | BIT(23) /* PMU */, true },
    { 0x80000001, 0, EDX, 0, true },
    { 0x80000007, 0, EDX, 0, false },
    { 0x80000008, 0, EBX, 0, true },
};
/* Bits the hypervisor provides whatever the model says. */
#define ALWAYS_1_ECX (BIT(21) /* x2APIC */ | BIT(24) /* TSC deadline */ | BIT(31) /* hypervisor */)

/* x87, SSE, AVX, AVX-512, PKRU: what the fixed-size state carries. */
#define XCR0_CARRIED 0x2e7ull

static uint32_t *reg_of(struct kvm_cpuid_entry2 *e, enum reg reg)
{
    return reg == EAX ? &e->eax : reg == EBX ? &e->ebx : reg == ECX ? &e->ecx : &e->edx;
}

static struct kvm_cpuid_entry2 *find(struct kvm_cpuid2 *c, uint32_t leaf, uint32_t subleaf)
{
    for (unsigned i = 0; i < c->nent; i++)
        if (c->entries[i].function == leaf &&
            (!(c->entries[i].flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || c->entries[i].index == subleaf))
            return &c->entries[i];
    return NULL;
}

struct kvm_cpuid_entry2 *kvm_cpuid_add(struct kvm_cpuid2 *c, uint32_t leaf, uint32_t subleaf, bool indexed)
{
    struct kvm_cpuid_entry2 *e = find(c, leaf, subleaf);

    if (!e) {
        if (c->nent >= KVM_CPUID_MAX)
            return NULL;
        e = &c->entries[c->nent++];
    }
    *e = (struct kvm_cpuid_entry2){ .function = leaf, .index = subleaf,
                                    .flags = indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0 };
    return e;
}

static void drop(struct kvm_cpuid2 *c, uint32_t leaf)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < c->nent; i++)
        if (c->entries[i].function != leaf)
            c->entries[kept++] = c->entries[i];
    c->nent = kept;
}

static int supported(int kvm_fd, struct kvm_cpuid2 *ret, struct gh_error *err)
{
    enum { ROOM = 256 };
    gh_autofree struct kvm_cpuid2 *all = calloc(1, sizeof *all + ROOM * sizeof all->entries[0]);

    if (!all)
        return kvm_fail(err, ENOMEM, "list the processor's features");
    all->nent = ROOM;
    if (ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, all))
        return kvm_fail(err, errno, "list the processor's features");
    ret->nent = 0;
    /* A leaf that is not there reads as zeros anyway. Room is left for the leaves added here. */
    for (unsigned i = 0; i < all->nent && ret->nent < KVM_CPUID_MAX - 12; i++) {
        const struct kvm_cpuid_entry2 *e = &all->entries[i];
        if (e->eax | e->ebx | e->ecx | e->edx)
            ret->entries[ret->nent++] = *e;
    }
    return 0;
}

static const struct gh_cpuid_leaf *model_leaf(const struct gh_cpu_model *m, uint32_t leaf, uint32_t subleaf)
{
    for (unsigned i = 0; i < m->leaf_count; i++)
        if (m->leaf[i].leaf == leaf && (!m->leaf[i].use_subleaf || m->leaf[i].subleaf == subleaf))
            return &m->leaf[i];
    return NULL;
}

static uint32_t model_reg(const struct gh_cpuid_leaf *l, enum reg reg)
{
    return reg == EAX ? l->eax : reg == EBX ? l->ebx : reg == ECX ? l->ecx : l->edx;
}

static void cut_features(struct kvm_cpuid2 *c, const struct gh_cpu_model *model)
{
    bool named = model->leaf_count && (!model->name || strcmp(model->name, "host"));

    for (unsigned i = 0; i < GH_ARRAY_LEN(words); i++) {
        struct kvm_cpuid_entry2 *e = find(c, words[i].leaf, words[i].subleaf);
        if (!e)
            continue;
        uint32_t *r = reg_of(e, words[i].reg);
        *r &= ~words[i].never;
        if (named && words[i].from_model) {
            const struct gh_cpuid_leaf *l = model_leaf(model, words[i].leaf, words[i].subleaf);
            *r &= l ? model_reg(l, words[i].reg) : 0;
        }
    }
    /* The model's name, if it has one. */
    for (uint32_t leaf = 0x80000002; named && leaf <= 0x80000004; leaf++) {
        const struct gh_cpuid_leaf *l = model_leaf(model, leaf, 0);
        struct kvm_cpuid_entry2 *e = l ? find(c, leaf, 0) : NULL;
        if (e) {
            e->eax = l->eax;
            e->ebx = l->ebx;
            e->ecx = l->ecx;
            e->edx = l->edx;
        }
    }
}

/* State components that were cut must vanish from leaf 0xd too. */
static void cut_xsave(struct kvm_cpuid2 *c)
{
    struct kvm_cpuid_entry2 *one = find(c, 1, 0), *seven = find(c, 7, 0), *xs = find(c, 0xd, 0);
    uint64_t carried = XCR0_CARRIED;

    if (!xs)
        return;
    if (!one || !(one->ecx & BIT(26))) { /* XSAVE */
        drop(c, 0xd);
        return;
    }
    if (!(one->ecx & BIT(28))) /* AVX */
        carried &= ~0xe4ull;
    if (!seven || !(seven->ebx & BIT(16))) /* AVX512F */
        carried &= ~0xe0ull;
    if (!seven || !(seven->ecx & BIT(3))) /* PKU */
        carried &= ~0x200ull;
    uint64_t mask = (xs->eax | (uint64_t)xs->edx << 32) & carried;
    uint32_t bytes = 576;
    unsigned kept = 0;
    for (unsigned i = 0; i < c->nent; i++) {
        struct kvm_cpuid_entry2 e = c->entries[i];
        if (e.function == 0xd && e.index >= 2) {
            if (e.index > 62 || !(mask >> e.index & 1))
                continue;
            if (e.ebx + e.eax > bytes)
                bytes = e.ebx + e.eax;
        }
        c->entries[kept++] = e;
    }
    c->nent = kept;
    xs = find(c, 0xd, 0);
    xs->eax = (uint32_t)mask;
    xs->edx = (uint32_t)(mask >> 32);
    xs->ebx = xs->ecx = bytes;
    struct kvm_cpuid_entry2 *more = find(c, 0xd, 1);
    if (more)
        more->ecx = more->edx = 0; /* no supervisor components */
}

/* One socket, one thread a core. */
static void topology(struct kvm_cpuid2 *c, unsigned index, unsigned count)
{
    unsigned bits = 0;

    while ((1u << bits) < count)
        bits++;
    uint32_t span = (1u << bits) - 1;
    struct kvm_cpuid_entry2 *e = find(c, 1, 0);
    if (e) {
        e->ebx = (e->ebx & 0xffff) | index << 24 | count << 16;
        e->edx = count > 1 ? e->edx | BIT(28) : e->edx & ~BIT(28);
    }
    for (unsigned i = 0; i < c->nent; i++) {
        struct kvm_cpuid_entry2 *k = &c->entries[i];
        unsigned level = k->eax >> 5 & 7;
        if (k->function == 4 && (k->eax & 0x1f))
            k->eax = (k->eax & 0x3fff) | (level >= 3 ? span << 14 : 0) | (span & 0x3f) << 26;
        if (k->function == 0x8000001d && (k->eax & 0x1f))
            k->eax = (k->eax & 0x3fff) | (level >= 3 ? (count - 1) << 14 : 0);
    }
    drop(c, 0x1f);
    drop(c, 0xb);
    e = kvm_cpuid_add(c, 0xb, 0, true);
    if (e)
        *e = (struct kvm_cpuid_entry2){ .function = 0xb, .index = 0, .flags = e->flags, .eax = 0, .ebx = 1,
                                        .ecx = 0x100, .edx = index };
    e = kvm_cpuid_add(c, 0xb, 1, true);
    if (e)
        *e = (struct kvm_cpuid_entry2){ .function = 0xb, .index = 1, .flags = e->flags, .eax = bits,
                                        .ebx = count, .ecx = 0x201, .edx = index };
    e = find(c, 0x80000008, 0);
    if (e)
        e->ecx = count > 1 ? (bits << 12 | (count - 1)) : 0;
    e = find(c, 0x8000001e, 0);
    if (e) {
        e->eax = index;
        e->ebx = index & 0xff;
        e->ecx = 0;
    }
}

/* Hyper-V's leaves stand where guests look first; KVM's then follow at the next place where guests look. */
static void hypervisor(int kvm_fd, struct kvm_cpuid2 *c, uint64_t tsc_hz, bool hyperv)
{
    uint32_t moved = hyperv ? 0x100 : 0;
    struct kvm_cpuid_entry2 *e = find(c, KVM_LEAF_FEAT, 0);
    uint32_t features = e ? e->eax : 0;

    drop(c, KVM_LEAF);
    drop(c, KVM_LEAF_FEAT);
    e = kvm_cpuid_add(c, KVM_LEAF + moved, 0, false);
    if (e) {
        e->eax = hyperv ? KVM_LEAF_FEAT + moved : KVM_LEAF_TIMING;
        memcpy(&e->ebx, "KVMK", 4);
        memcpy(&e->ecx, "VMKV", 4);
        memcpy(&e->edx, "M\0\0\0", 4);
    }
    e = kvm_cpuid_add(c, KVM_LEAF_FEAT + moved, 0, false);
    if (e)
        e->eax = features;
    e = hyperv ? NULL : kvm_cpuid_add(c, KVM_LEAF_TIMING, 0, false);
    if (e) {
        e->eax = (uint32_t)(tsc_hz / 1000);
        e->ebx = APIC_BUS_KHZ;
    }
    e = find(c, 1, 0);
    if (e) {
        uint32_t always = ALWAYS_1_ECX;
        if (ioctl(kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) <= 0)
            always &= ~BIT(24);
        e->ecx |= always;
    }
    e = find(c, 6, 0);
    if (e) {
        *e = (struct kvm_cpuid_entry2){ .function = 6, .flags = e->flags, .eax = BIT(2) }; /* ARAT */
    }
    static const uint32_t absent[] = { 5, 0xa, 0x12, 0x14, 0x17, 0x18, 0x19, 0x1d, 0x1e, 0x23,
                                       0x8000000a, 0x8000001b, 0x8000001f, 0x80000022 };
    for (unsigned i = 0; i < GH_ARRAY_LEN(absent); i++)
        drop(c, absent[i]);
}

int kvm_cpuid_build(int kvm_fd, const struct gh_cpu_model *model, unsigned index, unsigned count,
                    uint64_t tsc_hz, bool hyperv, struct kvm_cpuid2 *ret, struct gh_error *err)
{
    int r = supported(kvm_fd, ret, err);

    if (r)
        return r;
    cut_features(ret, model);
    cut_xsave(ret);
    hypervisor(kvm_fd, ret, tsc_hz, hyperv);
    if (hyperv)
        kvm_hyperv_leaves(kvm_fd, count, tsc_hz != 0, ret);
    topology(ret, index, count);
    return 0;
}
