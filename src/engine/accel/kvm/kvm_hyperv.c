/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What Windows knows of a host: the interfaces of Hyper-V that the kernel serves by itself. A reference clock without
 * exits, the APIC's and the TSC's rates, fewer exits for EOIs, waits and invalidations that know of other processors,
 * no watchdog over late timers. Not offered: SynIC and its timers, nested Hyper-V. Linux guests use KVM's own
 * leaves, which they find behind these.
 * Hypervisor Top Level Functional Specification 6.0b, section 2.4 (CPUID) and 3.13 (hypercalls); Linux api.rst.
 */
#include <string.h>
#include <sys/ioctl.h>

#include "base/bytes.h"
#include "engine/accel/kvm/kvm_int.h"

#define BIT(n) (1u << (n))

enum { LEAF_VENDOR = 0x40000000, LEAF_INTERFACE, LEAF_VERSION, LEAF_FEATURES, LEAF_ADVICE, LEAF_LIMITS };

enum {
    ACCESS_REFERENCE_COUNTER = BIT(1), ACCESS_APIC = BIT(4), ACCESS_HYPERCALL = BIT(5), ACCESS_VP_INDEX = BIT(6),
    ACCESS_REFERENCE_TSC = BIT(9), ACCESS_FREQUENCIES = BIT(11),
    HAS_FREQUENCIES = BIT(8),                        /* EDX of the same leaf */
    ADVICE_REMOTE_FLUSH = BIT(2), ADVICE_APIC_MSRS = BIT(3), ADVICE_RELAXED_TIMING = BIT(5), ADVICE_CLUSTER_IPI = BIT(10),
};

static bool has(int kvm_fd, int capability)
{
    return ioctl(kvm_fd, KVM_CHECK_EXTENSION, capability) > 0;
}

/* Without these guests would find registers that are not there. */
bool kvm_hyperv_offered(int kvm_fd)
{
    return has(kvm_fd, KVM_CAP_HYPERV) && has(kvm_fd, KVM_CAP_HYPERV_VAPIC) && has(kvm_fd, KVM_CAP_HYPERV_TIME) &&
           has(kvm_fd, KVM_CAP_HYPERV_VP_INDEX);
}

bool kvm_hyperv_msr(uint32_t index)
{
    return index >= 0x40000000 && index < 0x40000200;
}

static void leaf(struct kvm_cpuid2 *c, uint32_t number, uint32_t eax, uint32_t ebx, uint32_t ecx, uint32_t edx)
{
    struct kvm_cpuid_entry2 *e = kvm_cpuid_add(c, number, 0, false);

    if (e) {
        e->eax = eax;
        e->ebx = ebx;
        e->ecx = ecx;
        e->edx = edx;
    }
}

void kvm_hyperv_leaves(int kvm_fd, unsigned count, bool frequencies, struct kvm_cpuid2 *c)
{
    static const uint8_t vendor[12] = "Microsoft Hv", interface[4] = "Hv#1";
    uint32_t access = ACCESS_HYPERCALL | ACCESS_VP_INDEX | ACCESS_APIC | ACCESS_REFERENCE_COUNTER | ACCESS_REFERENCE_TSC;
    uint32_t advice = ADVICE_RELAXED_TIMING | ADVICE_APIC_MSRS;

    if (frequencies)
        access |= ACCESS_FREQUENCIES;
    if (count > 1 && has(kvm_fd, KVM_CAP_HYPERV_TLBFLUSH))
        advice |= ADVICE_REMOTE_FLUSH;
    if (count > 1 && has(kvm_fd, KVM_CAP_HYPERV_SEND_IPI))
        advice |= ADVICE_CLUSTER_IPI;
    leaf(c, LEAF_VENDOR, LEAF_LIMITS, gh_le32_get(vendor), gh_le32_get(vendor + 4), gh_le32_get(vendor + 8));
    leaf(c, LEAF_INTERFACE, gh_le32_get(interface), 0, 0, 0);
    leaf(c, LEAF_VERSION, 14393, 10u << 16, 0, 0);   /* as Windows Server 2016 says: build, 10.0 */
    leaf(c, LEAF_FEATURES, access, 0, 0, frequencies ? HAS_FREQUENCIES : 0);
    /* EBX: how often a guest tries a lock before it tells the host. */
    leaf(c, LEAF_ADVICE, advice, has(kvm_fd, KVM_CAP_HYPERV_SPIN) ? 0x1fff : 0xffffffff, 0, 0);
    leaf(c, LEAF_LIMITS, KVM_VCPU_MAX, KVM_VCPU_MAX, 0, 0);
}
