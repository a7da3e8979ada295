/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The run loop. A request from another thread is an atomic word plus the kick signal. The signal is
 * blocked everywhere but inside KVM_RUN (KVM_SET_SIGNAL_MASK), so a kick that comes early stays
 * pending and ends the next KVM_RUN at once; none is lost, and the kernel has always had the chance
 * to take the vector it was given before it returns.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "engine/accel/kvm/kvm_int.h"

static void kick_handler(int signal_number) {}

int kvm_kick_setup(struct gh_error *err)
{
    /* Without a handler a kick that finds the thread before it blocked the signal would end us. */
    struct sigaction act = { .sa_handler = kick_handler, .sa_flags = SA_RESTART };

    return sigaction(KVM_KICK_SIGNAL, &act, NULL) ? kvm_fail(err, errno, "set up its signal") : 0;
}

static int signal_mask(struct gh_vcpu *v)
{
    uint64_t bits = 0; /* the kernel's signal set, not libc's larger one */
    uint8_t  request[sizeof(struct kvm_signal_mask) + sizeof bits];
    sigset_t now;

    pthread_sigmask(SIG_SETMASK, NULL, &now);
    for (int s = 1; s <= 64; s++)
        if (s != KVM_KICK_SIGNAL && sigismember(&now, s) == 1)
            bits |= 1ull << (s - 1);
    memcpy(request, &(struct kvm_signal_mask){ .len = sizeof bits }, sizeof(struct kvm_signal_mask));
    memcpy(request + sizeof(struct kvm_signal_mask), &bits, sizeof bits);
    return ioctl(v->fd, KVM_SET_SIGNAL_MASK, request);
}

static int adopt_thread(struct gh_vcpu *v)
{
    sigset_t kick;

    sigemptyset(&kick);
    sigaddset(&kick, KVM_KICK_SIGNAL);
    pthread_sigmask(SIG_BLOCK, &kick, NULL);
    if (signal_mask(v))
        return -errno;
    atomic_store(&v->tid, (pid_t)syscall(SYS_gettid));
    return 0;
}

static void drain_signal(void)
{
    static const struct timespec now = { 0 };
    sigset_t kick;

    sigemptyset(&kick);
    sigaddset(&kick, KVM_KICK_SIGNAL);
    while (sigtimedwait(&kick, NULL, &now) > 0)
        ;
}

static void poke(struct gh_vcpu *v)
{
    pid_t tid = atomic_load(&v->tid);

    if (tid && tid != (pid_t)syscall(SYS_gettid))
        syscall(SYS_tgkill, getpid(), tid, KVM_KICK_SIGNAL);
}

void kvm_kick(struct gh_vcpu *v)
{
    if (!atomic_exchange(&v->kicked, true))
        poke(v);
}

void kvm_set_intr(struct gh_vcpu *v, bool level)
{
    if (atomic_exchange(&v->intr, level) != level && level)
        poke(v);
}

void kvm_nmi(struct gh_vcpu *v)
{
    atomic_store(&v->nmi, true);
    poke(v);
}

/* ---- Exits ----------------------------------------------------------------------------------- */
/* Each fills ret and says whether run returns. */
static bool exit_io(struct gh_vcpu *v, struct gh_exit *ret)
{
    struct kvm_run *run = v->run;

    ret->reason = GH_EXIT_PIO;
    ret->pio.port = run->io.port;
    ret->pio.write = run->io.direction == KVM_EXIT_IO_OUT;
    ret->pio.width = run->io.size;
    ret->pio.count = run->io.count;
    ret->pio.data = (uint8_t *)run + run->io.data_offset;
    v->io_pending = true;
    return true;
}

static bool exit_mmio(struct gh_vcpu *v, struct gh_exit *ret)
{
    struct kvm_run *run = v->run;

    ret->reason = GH_EXIT_MMIO;
    ret->mmio.gpa = run->mmio.phys_addr;
    ret->mmio.write = run->mmio.is_write;
    ret->mmio.width = (uint8_t)run->mmio.len;
    memcpy(ret->mmio.data, run->mmio.data, sizeof ret->mmio.data);
    ret->mmio.reply = run->mmio.data;
    v->io_pending = true;
    return true;
}

static bool exit_again(struct gh_vcpu *v, struct gh_exit *ret) { return false; }

static bool exit_eoi(struct gh_vcpu *v, struct gh_exit *ret)
{
    ret->reason = GH_EXIT_IOAPIC_EOI;
    ret->eoi.vector = v->run->eoi.vector;
    return true;
}

static bool exit_halted(struct gh_vcpu *v, struct gh_exit *ret)
{
    ret->reason = GH_EXIT_HALTED;
    return true;
}

static bool exit_shutdown(struct gh_vcpu *v, struct gh_exit *ret)
{
    ret->reason = GH_EXIT_SHUTDOWN;
    return true;
}

static bool exit_debug(struct gh_vcpu *v, struct gh_exit *ret)
{
    kvm_debug_exit(v, ret);
    return true;
}

static bool exit_fail_entry(struct gh_vcpu *v, struct gh_exit *ret)
{
    kvm_stop_entry(v, ret);
    return true;
}

static bool exit_internal(struct gh_vcpu *v, struct gh_exit *ret)
{
    kvm_stop_internal(v, ret);
    return true;
}

static bool exit_system_event(struct gh_vcpu *v, struct gh_exit *ret)
{
    ret->reason = GH_EXIT_SHUTDOWN; /* x86 sends none today; a crash or reset event ends the same way */
    return true;
}

static bool (*const exits[KVM_EXIT_REASONS])(struct gh_vcpu *, struct gh_exit *) = {
    [KVM_EXIT_IO] = exit_io,
    [KVM_EXIT_MMIO] = exit_mmio,
    [KVM_EXIT_HLT] = exit_halted,
    [KVM_EXIT_INTR] = exit_again,
    [KVM_EXIT_IRQ_WINDOW_OPEN] = exit_again,
    [KVM_EXIT_SET_TPR] = exit_again,
    [KVM_EXIT_IOAPIC_EOI] = exit_eoi,
    [KVM_EXIT_SHUTDOWN] = exit_shutdown,
    [KVM_EXIT_SYSTEM_EVENT] = exit_system_event,
    [KVM_EXIT_DEBUG] = exit_debug,
    [KVM_EXIT_FAIL_ENTRY] = exit_fail_entry,
    [KVM_EXIT_INTERNAL_ERROR] = exit_internal,
};

static bool dispatch(struct gh_vcpu *v, struct gh_exit *ret)
{
    unsigned reason = v->run->exit_reason;

    v->io_pending = false;
    if (reason < KVM_EXIT_REASONS && exits[reason]) {
        v->exits[reason]++;
        return exits[reason](v, ret);
    }
    v->other_exits++;
    kvm_stop_unknown(v, ret);
    return true;
}

/* ---- Requests before each entry ------------------------------------------------------------------- */
/* Never between two accesses of one instruction: the kernel would keep the vector until that is complete, say that it
 * can take another one, and refuse it after the 8259 has given it away. */
static void inject(struct gh_vcpu *v)
{
    bool wanted = atomic_load(&v->intr);

    if (atomic_exchange(&v->nmi, false))
        ioctl(v->fd, KVM_NMI);
    if (wanted && v->run->ready_for_interrupt_injection) {
        int vector = v->vm->env->intack(v->vm->env->opaque, v->index);
        struct kvm_interrupt irq = { .irq = (uint32_t)vector };
        if (vector >= 0 && !ioctl(v->fd, KVM_INTERRUPT, &irq)) {
            v->extint_given = true;
            v->interrupts++;
        }
        v->run->ready_for_interrupt_injection = 0;
        wanted = atomic_load(&v->intr);
    }
    v->run->request_interrupt_window = wanted;
}

/* An instruction whose access was just answered must complete before anyone looks at the state.
 * true: it made another access, which is in ret. */
static bool complete_io(struct gh_vcpu *v, struct gh_exit *ret)
{
    if (!v->io_pending)
        return false;
    v->run->immediate_exit = 1;
    int r = ioctl(v->fd, KVM_RUN, 0);
    v->run->immediate_exit = 0;
    if (r == 0)
        return dispatch(v, ret);
    v->io_pending = false;
    return false;
}

void kvm_run_vcpu(struct gh_vcpu *v, struct gh_exit *ret)
{
    if (!atomic_load(&v->tid)) {
        int r = adopt_thread(v);
        if (r) {
            ret->reason = GH_EXIT_ERROR;
            kvm_fail(&ret->error, -r, "take a thread for a processor");
            return;
        }
    }
    for (;;) {
        if (atomic_exchange(&v->kicked, false)) {
            drain_signal();
            if (complete_io(v, ret)) {
                atomic_store(&v->kicked, true);
                return;
            }
            ret->reason = GH_EXIT_KICKED;
            return;
        }
        if (v->io_pending && atomic_load(&v->intr) && complete_io(v, ret))
            return;
        inject(v);
        int r = ioctl(v->fd, KVM_RUN, 0) ? errno : 0;
        if (!r) {
            v->extint_given = false;
            if (dispatch(v, ret))
                return;
        } else if (r == EINTR) {
            v->io_pending = false;
            v->exits[KVM_EXIT_INTR]++;
            v->pokes++;
            drain_signal();
            /* A halted vCPU may have been woken by the vector without having taken it yet: one more
             * entry that ends at once lets the kernel move it to where state can be read. */
            if (v->extint_given) {
                v->extint_given = false;
                syscall(SYS_tgkill, getpid(), atomic_load(&v->tid), KVM_KICK_SIGNAL);
                v->run->request_interrupt_window = 0;
                if (!ioctl(v->fd, KVM_RUN, 0) && dispatch(v, ret)) {
                    drain_signal();
                    return;
                }
                drain_signal();
            }
        } else if (r != EAGAIN) {
            kvm_stop_failed(v, r, ret);
            return;
        }
    }
}

/* ---- Lifetime ---------------------------------------------------------------------------------------- */
static int set_cpuid(struct gh_vcpu *v, struct gh_error *err)
{
    struct kvm_cpuid2 *c = calloc(1, sizeof *c + KVM_CPUID_MAX * sizeof c->entries[0]);

    if (!c)
        return kvm_fail(err, ENOMEM, "set up a processor");
    int r = kvm_cpuid_build(v->vm->kvm_fd, &v->vm->model, v->index, v->vm->vcpu_count, v->vm->tsc_hz, v->vm->hyperv,
                            c, err);
    if (!r && ioctl(v->fd, KVM_SET_CPUID2, c))
        r = kvm_fail(err, errno, "set a processor's features");
    free(c);
    return r;
}

static int set_tsc(struct gh_vcpu *v)
{
    int khz = ioctl(v->fd, KVM_GET_TSC_KHZ, 0);

    if (!v->vm->tsc_hz)
        v->vm->tsc_hz = khz > 0 ? (uint64_t)khz * 1000 : 0;
    else if (khz > 0 && v->vm->tsc_hz / 1000 != (uint64_t)khz)
        return ioctl(v->fd, KVM_SET_TSC_KHZ, (unsigned long)(v->vm->tsc_hz / 1000)) ? -errno : 0;
    return 0;
}

int kvm_vcpu_new(struct gh_accel_vm *vm, unsigned index, struct gh_vcpu **ret, struct gh_error *err)
{
    struct gh_vcpu *v = calloc(1, sizeof *v);
    int r;

    *ret = NULL;
    if (!v)
        return kvm_fail(err, ENOMEM, "create a processor");
    v->vm = vm;
    v->index = index;
    v->fd = ioctl(vm->vm_fd, KVM_CREATE_VCPU, (unsigned long)index);
    if (v->fd < 0) {
        r = kvm_fail(err, errno, "create a processor");
        goto fail;
    }
    v->run = mmap(NULL, vm->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
    if (v->run == MAP_FAILED) {
        v->run = NULL;
        r = kvm_fail(err, errno, "map a processor's page");
        goto fail;
    }
    r = set_tsc(v);
    if (r) {
        kvm_fail(err, -r, "run the guest's time stamp counter at that rate");
        goto fail;
    }
    r = set_cpuid(v, err);
    if (r)
        goto fail;
    /* What the kernel made is the power-on state: reset returns to it. */
    v->power_on = aligned_alloc(64, (sizeof *v->power_on + 63) & ~(size_t)63);
    if (!v->power_on) {
        r = kvm_fail(err, ENOMEM, "create a processor");
        goto fail;
    }
    r = kvm_get_state(v, GH_CPU_ALL, v->power_on, err);
    if (r)
        goto fail;
    vm->vcpu[index] = v;
    *ret = v;
    return 0;
fail:
    kvm_vcpu_free(v);
    return r;
}

void kvm_vcpu_free(struct gh_vcpu *v)
{
    if (!v)
        return;
    if (v->vm->vcpu[v->index] == v)
        v->vm->vcpu[v->index] = NULL;
    if (v->run)
        munmap(v->run, v->vm->run_bytes);
    if (v->fd >= 0)
        close(v->fd);
    free(v->power_on);
    free(v);
}
