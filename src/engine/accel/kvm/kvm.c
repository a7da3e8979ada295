/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "engine/accel/kvm/kvm_int.h"

/* Below the top of 32-bit space's firmware: the kernel keeps a task segment (3 pages) and an identity
 * page table (1 page) there on Intel processors that cannot run real mode otherwise. */
#define IDENTITY_MAP 0xfeffc000ull
#define TSS_PAGES    0xfeffd000ull

static void kvm_vm_free(struct gh_accel_vm *vm)
{
    if (!vm)
        return;
    kvm_slots_fini(vm);
    if (vm->vm_fd >= 0)
        close(vm->vm_fd);
    if (vm->kvm_fd >= 0)
        close(vm->kvm_fd);
    pthread_mutex_destroy(&vm->route_lock);
    free(vm);
}

static int create(struct gh_accel_vm *vm, struct gh_error *err)
{
    uint64_t identity = IDENTITY_MAP;
    struct kvm_enable_cap split = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args = { KVM_IOAPIC_PINS } };
    int r = kvm_check_api(vm->kvm_fd, err);

    if (!r)
        r = kvm_kick_setup(err);
    if (!r)
        r = kvm_msr_list_read(vm->kvm_fd, vm->hyperv, &vm->msrs, err);
    if (r)
        return r;
    do
        vm->vm_fd = ioctl(vm->kvm_fd, KVM_CREATE_VM, 0);
    while (vm->vm_fd < 0 && errno == EINTR);
    if (vm->vm_fd < 0)
        return kvm_fail(err, errno, "create a virtual machine");
    if (ioctl(vm->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity) ||
        ioctl(vm->vm_fd, KVM_SET_TSS_ADDR, TSS_PAGES))
        return kvm_fail(err, errno, "reserve its pages in the guest's memory");
    if (ioctl(vm->vm_fd, KVM_ENABLE_CAP, &split))
        return kvm_fail(err, errno, "set up the interrupt chips");
    int slots = ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_NR_MEMSLOTS);
    int routes = ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_IRQ_ROUTING);
    int bytes = ioctl(vm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (bytes < (int)sizeof(struct kvm_run))
        return kvm_fail(err, bytes < 0 ? errno : EINVAL, "tell the size of a processor's page");
    vm->run_bytes = (size_t)bytes;
    vm->mem_max = slots > 0 ? (unsigned)slots : 32;
    vm->route_max = routes <= 0 ? KVM_IOAPIC_PINS : routes < KVM_ROUTE_MAX ? (unsigned)routes : KVM_ROUTE_MAX;
    return 0;
}

static int kvm_vm_new(int fd, const struct gh_accel_config *cfg, struct gh_accel_vm **ret,
                      struct gh_error *err)
{
    *ret = NULL;
    if (cfg->vcpu_count < 1 || cfg->vcpu_count > KVM_VCPU_MAX)
        return gh_error_option(err, -EINVAL, "TooManyVcpus", "vcpus",
                               "%u processors are not possible with KVM here; choose 1 to %u.",
                               cfg->vcpu_count, KVM_VCPU_MAX);
    struct gh_accel_vm *vm = calloc(1, sizeof *vm);
    if (!vm)
        return kvm_fail(err, ENOMEM, "create a virtual machine");
    pthread_mutex_init(&vm->route_lock, NULL);
    vm->vm_fd = -1;
    vm->env = cfg->env;
    vm->vcpu_count = cfg->vcpu_count;
    vm->tsc_hz = cfg->tsc_hz;
    if (cfg->model)
        vm->model = *cfg->model;
    /* The caller may close its descriptor. */
    vm->kvm_fd = fd < 0 ? kvm_open_device(err) : fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (vm->kvm_fd < 0) {
        int r = fd < 0 ? vm->kvm_fd : kvm_fail(err, errno, "keep its device open");
        kvm_vm_free(vm);
        return r;
    }
    vm->hyperv = cfg->hyperv && kvm_hyperv_offered(vm->kvm_fd);
    int r = create(vm, err);
    if (r) {
        kvm_vm_free(vm);
        return r;
    }
    *ret = vm;
    return 0;
}

/* Reads other threads' plain counters; a torn value would only be seen, never used. */
static void kvm_counters(struct gh_accel_vm *vm, void (*visit)(void *opaque, const char *name, uint64_t value),
                         void *opaque)
{
    static const struct { unsigned reason; const char *name; } names[] = {
        { KVM_EXIT_IO, "kvm.exits.io" },           { KVM_EXIT_MMIO, "kvm.exits.mmio" },
        { KVM_EXIT_HLT, "kvm.exits.hlt" },         { KVM_EXIT_INTR, "kvm.exits.signal" },
        { KVM_EXIT_IRQ_WINDOW_OPEN, "kvm.exits.interrupt-window" },
        { KVM_EXIT_IOAPIC_EOI, "kvm.exits.ioapic-eoi" },
        { KVM_EXIT_SHUTDOWN, "kvm.exits.shutdown" }, { KVM_EXIT_INTERNAL_ERROR, "kvm.exits.internal-error" },
        { KVM_EXIT_FAIL_ENTRY, "kvm.exits.fail-entry" },
    };
    uint64_t other = 0, interrupts = 0, pokes = 0;

    for (unsigned n = 0; n < sizeof names / sizeof names[0]; n++) {
        uint64_t sum = 0;
        for (unsigned i = 0; i < vm->vcpu_count; i++)
            sum += vm->vcpu[i] ? vm->vcpu[i]->exits[names[n].reason] : 0;
        visit(opaque, names[n].name, sum);
    }
    for (unsigned i = 0; i < vm->vcpu_count; i++)
        if (vm->vcpu[i]) {
            other += vm->vcpu[i]->other_exits;
            interrupts += vm->vcpu[i]->interrupts;
            pokes += vm->vcpu[i]->pokes;
        }
    visit(opaque, "kvm.exits.other", other);
    visit(opaque, "kvm.external-interrupts", interrupts);
    visit(opaque, "kvm.kick-signals", pokes);
    visit(opaque, "kvm.messages", atomic_load(&vm->msis));
    visit(opaque, "kvm.route-updates", atomic_load(&vm->route_updates));
}

const struct gh_accel_class gh_accel_kvm = {
    .name = "kvm",
    .summary = "The Linux kernel's hypervisor",
    .probe = kvm_probe,
    .open_device = kvm_open_device,
    .vm_new = kvm_vm_new,
    .vm_free = kvm_vm_free,
    .publish = kvm_publish,
    .vcpu_new = kvm_vcpu_new,
    .vcpu_free = kvm_vcpu_free,
    .run = kvm_run_vcpu,
    .kick = kvm_kick,
    .get_state = kvm_get_state,
    .set_state = kvm_set_state,
    .reset = kvm_reset,
    .set_intr = kvm_set_intr,
    .nmi = kvm_nmi,
    .paused = kvm_paused,
    .resumed = kvm_resumed,
    .msi = kvm_msi,
    .ioapic_route = kvm_ioapic_route,
    .irqfd = kvm_irqfd,
    .ioeventfd = kvm_ioeventfd,
    .dirty_harvest = kvm_dirty_harvest,
    .debug_points = 4,
    .debug = kvm_debug,
    .debug_step = kvm_debug_step,
    .counters = kvm_counters,
};
