/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * CPU models: one table of CPUID leaves each. A bit stands here only if the software CPU implements
 * what it promises; kvm cuts its own supported set down to these feature words.
 *
 * Vendor and family are those of an in-order Atom (family 6, model 0x36). Such processors do not speculate, and
 * guest kernels know it: Linux then needs neither page-table isolation nor retpolines nor any other
 * mitigation, which would cost the software CPU a lot and protect nothing. ARCH_CAPABILITIES
 * says the same to kernels that ask by MSR. The time stamp counter's frequency is in leaf 0x15 and in
 * the hypervisor timing leaf, so that nobody has to calibrate it.
 *
 * Specifications: Intel SDM volume 2 (CPUID); x86-64 psABI, micro-architecture levels.
 */
#include <cpuid.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "engine/accel/accel.h"

#define BIT(n) (1u << (n))
#define SIGNATURE 0x00030661u      /* family 6, model 0x36, stepping 1 */

/* Leaf 1 ECX. */
#define V2_1_ECX (BIT(0) /* SSE3 */ | BIT(9) /* SSSE3 */ | BIT(13) /* CX16 */ | BIT(17) /* PCID */ | BIT(19) | BIT(20) /* SSE4 */ |     \
                  BIT(21) /* x2APIC */ | BIT(23) /* POPCNT */ | BIT(24) /* TSC deadline */ | BIT(31) /* hypervisor */)
#define V3_1_ECX (V2_1_ECX | BIT(1) /* PCLMULQDQ */ | BIT(12) /* FMA */ | BIT(22) /* MOVBE */ | BIT(25) /* AES */ | \
                  BIT(26) /* XSAVE */ | BIT(28) /* AVX */ | BIT(29) /* F16C */)
/* Leaf 1 EDX: everything of the first 64-bit processors but VME, MMX extensions of others, and thermal control. */
#define ANY_1_EDX (BIT(0) | BIT(2) /* DE */ | BIT(3) /* PSE */ | BIT(4) /* TSC */ | BIT(5) /* MSR */ | BIT(6) /* PAE */ | \
                   BIT(7) /* MCE */ | BIT(8) /* CX8 */ | BIT(9) /* APIC */ | BIT(11) /* SEP */ | BIT(12) /* MTRR */ | \
                   BIT(13) /* PGE */ | BIT(14) /* MCA */ | BIT(15) /* CMOV */ | BIT(16) /* PAT */ | BIT(17) /* PSE36 */ | \
                   BIT(19) /* CLFLUSH */ | BIT(23) /* MMX */ | BIT(24) /* FXSR */ | BIT(25) | BIT(26) /* SSE2 */)
/* Leaf 7. */
#define V2_7_EBX (BIT(0) /* FSGSBASE */ | BIT(6) /* FDP with exceptions only */ | BIT(13) /* no FCS, FDS */ | \
                   BIT(1) /* TSC_ADJUST */ | BIT(7) /* SMEP */ | BIT(9) /* ERMS */ | BIT(10) /* INVPCID */ | BIT(20) /* SMAP */ | \
                  BIT(23) /* CLFLUSHOPT */)
#define V3_7_EBX (V2_7_EBX | BIT(3) /* BMI1 */ | BIT(5) /* AVX2 */ | BIT(8) /* BMI2 */)
#define ANY_7_ECX (BIT(2) /* UMIP */ | BIT(22) /* RDPID */)
#define ANY_7_EDX (BIT(4) /* FSRM */ | BIT(29) /* ARCH_CAPABILITIES */)
/* Leaf 0x80000001. */
#define V2_X_ECX (BIT(0) /* LAHF */ | BIT(8) /* PREFETCHW */)
#define V3_X_ECX (V2_X_ECX | BIT(5) /* LZCNT */)
#define ANY_X_EDX (BIT(11) /* SYSCALL */ | BIT(20) /* NX */ | BIT(26) /* 1 GiB pages */ | BIT(27) /* RDTSCP */ | BIT(29) /* LM */)

#define TSC_HZ     1000000000u     /* accel/soft corrects these leaves where the user set another rate */
#define APIC_HZ    1000000000u

static void add(struct gh_cpu_model *m, uint32_t leaf, int subleaf, uint32_t eax, uint32_t ebx, uint32_t ecx, uint32_t edx)
{
    if (m->leaf_count < GH_CPUID_MAX)
        m->leaf[m->leaf_count++] = (struct gh_cpuid_leaf){ leaf, subleaf < 0 ? 0 : (uint32_t)subleaf, subleaf >= 0,
                                                           eax, ebx, ecx, edx };
}

static void add_text(struct gh_cpu_model *m, uint32_t leaf, const char *text, unsigned words)
{
    uint32_t w[12] = { 0 };

    memcpy(w, text, strlen(text) < sizeof w ? strlen(text) : sizeof w - 1);
    for (unsigned i = 0; i < words; i += 4)
        add(m, leaf + i / 4, -1, w[i], w[i + 1], w[i + 2], w[i + 3]);
}

/* Leaf 4: type 1 data, 2 code, 3 both. */
static void add_cache(struct gh_cpu_model *m, unsigned index, unsigned type, unsigned level, unsigned ways, unsigned sets,
                      unsigned sharing, unsigned cores)
{
    add(m, 4, (int)index, type | level << 5 | BIT(8) | (sharing - 1) << 14 | (cores - 1) << 26,
        63 | (ways - 1) << 22, sets - 1, 0);
}

static unsigned bits_for(unsigned n)
{
    unsigned b = 0;

    while ((1u << b) < n)
        b++;
    return b;
}

/* Vectors and some bit instructions run on the host's own units. */
struct host { uint32_t leaf1_ecx, leaf7_ebx, ext_ecx; };

static struct host read_host(void)
{
    struct host h = { 0 };
    uint32_t a, b, c, d, low = 0, high;

    if (__get_cpuid(1, &a, &b, &c, &d))
        h.leaf1_ecx = c;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d))
        h.leaf7_ebx = b;
    if (__get_cpuid(0x80000001u, &a, &b, &c, &d))
        h.ext_ecx = c;
    if (h.leaf1_ecx & BIT(27))
        __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    if ((low & 6) != 6)                /* the host's kernel does not keep AVX registers */
        h.leaf1_ecx &= ~BIT(28);
    return h;
}

static bool can_v3(const struct host *h)
{
    const uint32_t leaf1 = BIT(1) | BIT(12) | BIT(22) | BIT(25) | BIT(26) | BIT(28) | BIT(29), leaf7 = BIT(3) | BIT(5) | BIT(8);

    return (h->leaf1_ecx & leaf1) == leaf1 && (h->leaf7_ebx & leaf7) == leaf7 && h->ext_ecx & BIT(5);
}

/* "host" on the software CPU: the highest level, and what else both the host and the software CPU have. */
static void add_host_features(struct gh_cpu_model *m, const struct host *h)
{
    m->name = "host";
    for (unsigned i = 0; i < m->leaf_count; i++)
        if (m->leaf[i].leaf == 1)
            m->leaf[i].ecx |= h->leaf1_ecx & BIT(30) /* RDRAND */;
        else if (m->leaf[i].leaf == 7)
            m->leaf[i].ebx |= h->leaf7_ebx & (BIT(18) /* RDSEED */ | BIT(19) /* ADX */ | BIT(24) /* CLWB */ | BIT(29) /* SHA */);
}

/* "max" on the software CPU: "host", and what the software CPU implements without the host's help. */
static void add_everything(struct gh_cpu_model *m)
{
    bool xsave = false;

    m->name = "max";
    for (unsigned i = 0; i < m->leaf_count; i++)
        xsave |= m->leaf[i].leaf == 0xd;
    if (!xsave)                        /* the keys of user pages are kept by XSAVE */
        return;
    for (unsigned i = 0; i < m->leaf_count; i++) {
        struct gh_cpuid_leaf *l = &m->leaf[i];
        if (l->leaf == 7)
            l->ecx |= BIT(3) /* PKU */ | BIT(31) /* PKS */;
        if (l->leaf == 0xd && l->subleaf == 0) {
            l->eax |= BIT(9);
            l->ecx = 2696;
        }
    }
    add(m, 0xd, 9, 8, 2688, 0, 0);
}

static void build(struct gh_cpu_model *m, bool v3, unsigned vcpus)
{
    unsigned cores = 1u << bits_for(vcpus);
    char brand[48];

    m->name = v3 ? "x86-64-v3" : "x86-64-v2";
    add(m, 0, -1, 0x16, 0x756e6547, 0x6c65746e, 0x49656e69);           /* GenuineIntel */
    add(m, 1, -1, SIGNATURE, 8u << 8 | cores << 16, v3 ? V3_1_ECX : V2_1_ECX, ANY_1_EDX | (vcpus > 1 ? BIT(28) : 0));
    add(m, 2, -1, 0x00feff01, 0, 0, 0);
    add_cache(m, 0, 1, 1, 8, 64, 1, cores);
    add_cache(m, 1, 2, 1, 8, 64, 1, cores);
    add_cache(m, 2, 3, 2, 8, 1024, 1, cores);
    add_cache(m, 3, 3, 3, 16, 8192, cores, cores);
    add(m, 6, -1, BIT(2) /* ARAT */, 0, 0, 0);
    add(m, 7, 0, 0, v3 ? V3_7_EBX : V2_7_EBX, ANY_7_ECX, ANY_7_EDX);
    add(m, 0xb, 0, 0, 1, 0x100, 0);
    add(m, 0xb, 1, bits_for(vcpus), vcpus, 0x201, 0);
    add(m, 0xb, 2, 0, 0, 2, 0);
    if (v3) {
        add(m, 0xd, 0, 7, 832, 832, 0);
        add(m, 0xd, 1, BIT(0) /* XSAVEOPT */ | BIT(1) /* XSAVEC */, 0, 0, 0);
        add(m, 0xd, 2, 256, 576, 0, 0);
    }
    add(m, 0x15, -1, APIC_HZ / 1000000000, TSC_HZ / 1000000000, APIC_HZ, 0); /* kernels multiply ECX/1000 by EBX in 32 bits */
    add(m, 0x16, -1, TSC_HZ / 1000000, TSC_HZ / 1000000, 100, 0);
    add(m, 0x40000000, -1, 0x40000010, 0, 0, 0);
    memcpy(&m->leaf[m->leaf_count - 1].ebx, "GasthausSoft", 12);
    add(m, 0x40000010, -1, TSC_HZ / 1000, APIC_HZ / 1000, 0, 0);
    add(m, 0x80000000, -1, 0x80000008, 0, 0, 0);
    add(m, 0x80000001, -1, 0, 0, v3 ? V3_X_ECX : V2_X_ECX, ANY_X_EDX);
    snprintf(brand, sizeof brand, "Gasthaus software CPU (%s)", m->name);
    add_text(m, 0x80000002, brand, 12);
    add(m, 0x80000006, -1, 0, 0, 512u << 16 | 6u << 12 | 64, 0);
    add(m, 0x80000007, -1, 0, 0, 0, BIT(8) /* invariant TSC */);
    add(m, 0x80000008, -1, 40 | 48u << 8, 0, 0, 0);
}

int gh_cpu_model_build(const char *name, const char *accel, unsigned vcpus, struct gh_cpu_model *ret, struct gh_error *err)
{
    bool soft = !strcmp(accel, "soft");

    memset(ret, 0, sizeof *ret);
    if (!name || !*name)
        name = soft ? "x86-64-v2" : "host";
    bool max = !strcmp(name, "max");
    if ((max || !strcmp(name, "host")) && !soft) {
        ret->name = "host";          /* no leaves: the accelerator shows what it supports */
        return 0;
    }
    const struct host h = read_host();
    bool host = max || !strcmp(name, "host"), v3 = host ? can_v3(&h) : !strcmp(name, "x86-64-v3");
    if (soft && v3 && !can_v3(&h))
        return gh_error_option(err, -ENOTSUP, "CpuModelHost", "cpu",
                               "The CPU model “%s” needs a host processor with AVX2, FMA, BMI, F16C, MOVBE and AES, and this one lacks "
                               "some of them; use x86-64-v2.", name);
    if (host || v3 || !strcmp(name, "x86-64-v2")) {
        build(ret, v3, vcpus ? vcpus : 1);
        if (host)
            add_host_features(ret, &h);
        if (max)
            add_everything(ret);
        return 0;
    }
    return gh_error_option(err, -EINVAL, "CpuModelUnknown", "cpu",
                           "There is no CPU model “%s”; use x86-64-v2, x86-64-v3, host or max.", name);
}
