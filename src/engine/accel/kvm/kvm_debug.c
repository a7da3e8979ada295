/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a debugger asks of KVM: the four debug registers as points, single steps, and exits on INT3 while it is attached
 * (it patches them into the guest itself where it needs more points). The guest's own debug registers rest meanwhile.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "engine/accel/kvm/kvm_int.h"

enum { VECTOR_DB = 1, VECTOR_BP = 3 };

/* Length and type bits of DR7; false: the registers cannot watch that. */
static bool dr7_bits(const struct gh_debug_point *p, unsigned n, uint64_t *dr7)
{
    static const uint8_t type[] = { [GH_DEBUG_EXEC] = 0, [GH_DEBUG_WRITE] = 1, [GH_DEBUG_READ] = 3, [GH_DEBUG_ACCESS] = 3 };
    unsigned length = p->kind == GH_DEBUG_EXEC ? 1 : p->length;
    unsigned code = length == 1 ? 0 : length == 2 ? 1 : length == 4 ? 3 : length == 8 ? 2 : 4;

    if (code > 3 || p->address & (length - 1) || p->kind >= sizeof type)
        return false;
    *dr7 |= 2ull << n * 2 | (uint64_t)(type[p->kind] | code << 2) << (16 + n * 4);
    return true;
}

static int apply(struct gh_vcpu *v, struct gh_error *err)
{
    const struct gh_debug *d = &v->vm->debug;
    struct kvm_guest_debug k = { .control = d->attached ? KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP : 0 };
    uint64_t dr7 = 0x400;

    if (v->step)
        k.control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP | KVM_GUESTDBG_BLOCKIRQ;
    for (unsigned i = 0; i < d->count; i++) {
        dr7_bits(&d->point[i], i, &dr7);
        k.arch.debugreg[i] = d->point[i].address;
        k.control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
    }
    k.arch.debugreg[7] = dr7;
    if (!ioctl(v->fd, KVM_SET_GUEST_DEBUG, &k))
        return 0;
    if (errno == EINVAL && v->step) {   /* kernels before 5.16 cannot hold interrupts back */
        k.control &= ~KVM_GUESTDBG_BLOCKIRQ;
        if (!ioctl(v->fd, KVM_SET_GUEST_DEBUG, &k))
            return 0;
    }
    return kvm_fail(err, errno, "set debug points");
}

int kvm_debug(struct gh_accel_vm *vm, const struct gh_debug *debug, struct gh_error *err)
{
    uint64_t dr7;

    if (debug->count > 4)
        return gh_error_set(err, -ENOSPC, "DebugPointsUsed", "The processor has four debug registers and %u points were asked for; delete one.", debug->count);
    for (unsigned i = 0; i < debug->count; i++)
        if (!dr7_bits(&debug->point[i], i, &dr7))
            return gh_error_set(err, -EINVAL, "DebugPointInvalid", "The processor watches 1, 2, 4 or 8 aligned bytes, not %u at %#llx.",
                                (unsigned)debug->point[i].length, (unsigned long long)debug->point[i].address);
    vm->debug = *debug;
    int r = 0;
    for (unsigned i = 0; r == 0 && i < vm->vcpu_count; i++)
        if (vm->vcpu[i])
            r = apply(vm->vcpu[i], err);
    return r;
}

int kvm_debug_step(struct gh_vcpu *v, bool on, struct gh_error *err)
{
    if (v->step == on)
        return 0;
    v->step = on;
    return apply(v, err);
}

void kvm_debug_exit(struct gh_vcpu *v, struct gh_exit *ret)
{
    const struct kvm_debug_exit_arch *a = &v->run->debug.arch;
    const struct gh_debug *d = &v->vm->debug;

    ret->reason = GH_EXIT_DEBUG;
    ret->debug.kind = a->exception == VECTOR_BP ? GH_DEBUG_EXEC : GH_DEBUG_STEP;
    ret->debug.address = a->pc;
    for (unsigned i = 0; a->exception == VECTOR_DB && i < d->count; i++)
        if (a->dr6 >> i & 1) {
            ret->debug.kind = d->point[i].kind;
            ret->debug.address = d->point[i].address;
            return;
        }
}
