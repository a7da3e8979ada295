/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The guest's time across a pause. Our clocks stand still then; the kernel's clock and the TSC would run on, and a guest
 * that compares them with a timer of ours would call one of them broken. Both go on from where they stood, and all
 * processors' TSCs move by the same amount, so that they stay in step.
 * Linux Documentation/virt/kvm/devices/vcpu.rst (KVM_VCPU_TSC_OFFSET), api.rst (KVM_SET_CLOCK, KVM_KVMCLOCK_CTRL).
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/log.h"
#include "engine/accel/kvm/kvm_int.h"

enum { MSR_TSC = 0x10, MSR_TSC_DEADLINE = 0x6e0 };

struct one_msr { struct kvm_msrs head; struct kvm_msr_entry entry; };

static bool msr_get(struct gh_vcpu *v, uint32_t index, uint64_t *ret)
{
    struct one_msr m = { .head = { .nmsrs = 1 }, .entry = { .index = index } };

    if (ioctl(v->fd, KVM_GET_MSRS, &m) != 1)
        return false;
    *ret = m.entry.data;
    return true;
}

static struct gh_vcpu *first(struct gh_accel_vm *vm)
{
    for (unsigned i = 0; i < vm->vcpu_count; i++)
        if (vm->vcpu[i])
            return vm->vcpu[i];
    return NULL;
}

static int offset_attribute(struct gh_vcpu *v, unsigned long request, uint64_t *offset)
{
    struct kvm_device_attr a = { .group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET, .addr = (uintptr_t)offset };
    return ioctl(v->fd, request, &a) ? -errno : 0;
}

void kvm_paused(struct gh_accel_vm *vm)
{
    struct kvm_clock_data clock = { 0 };
    struct gh_vcpu *v = first(vm);

    vm->stood.tsc_known = v && msr_get(v, MSR_TSC, &vm->stood.tsc);
    vm->stood.clock_known = ioctl(vm->vm_fd, KVM_GET_CLOCK, &clock) == 0;
    vm->stood.clock = clock.clock;
}

/* Kernels before 5.16 cannot: a TSC that is written counts from that moment, differently for each processor. */
static int turn_back_tsc(struct gh_vcpu *v, uint64_t ticks)
{
    uint64_t offset, deadline;
    int r = offset_attribute(v, KVM_GET_DEVICE_ATTR, &offset);

    if (!r) {
        offset -= ticks;
        r = offset_attribute(v, KVM_SET_DEVICE_ATTR, &offset);
    }
    /* The timer was set by the host's clock; written again it waits for the rest. */
    if (!r && msr_get(v, MSR_TSC_DEADLINE, &deadline) && deadline) {
        struct one_msr m = { .head = { .nmsrs = 1 }, .entry = { .index = MSR_TSC_DEADLINE, .data = deadline } };
        ioctl(v->fd, KVM_SET_MSRS, &m);
    }
    return r;
}

void kvm_resumed(struct gh_accel_vm *vm)
{
    struct gh_vcpu *v = first(vm);
    uint64_t now;

    if (vm->stood.tsc_known && v && msr_get(v, MSR_TSC, &now)) {
        int r = 0;
        for (unsigned i = 0; i < vm->vcpu_count && !r; i++)
            if (vm->vcpu[i])
                r = turn_back_tsc(vm->vcpu[i], now - vm->stood.tsc);
        if (r)
            gh_log(GH_LOG_DEBUG, "kvm: the TSC ran on during the pause: %s", strerror(-r));
    }
    if (vm->stood.clock_known) {
        struct kvm_clock_data clock = { .clock = vm->stood.clock };
        if (ioctl(vm->vm_fd, KVM_SET_CLOCK, &clock))
            gh_log(GH_LOG_DEBUG, "kvm: the clock ran on during the pause: %s", strerror(errno));
    }
    /* A guest that uses the clock is told, lest its watchdog barks. -EINVAL: this one does not use it. */
    for (unsigned i = 0; i < vm->vcpu_count; i++)
        if (vm->vcpu[i])
            ioctl(vm->vcpu[i]->fd, KVM_KVMCLOCK_CTRL, 0);
    vm->stood.tsc_known = vm->stood.clock_known = false;
}
