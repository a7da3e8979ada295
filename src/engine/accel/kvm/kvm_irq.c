/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Interrupts that pass the kernel's local APICs: messages, and the routes from which it knows which
 * vectors are level-triggered, so that their EOIs exit to our I/O APIC.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "base/cleanup.h"
#include "engine/accel/kvm/kvm_int.h"

int kvm_msi(struct gh_accel_vm *vm, uint64_t address, uint32_t data)
{
    struct kvm_msi m = { .address_lo = (uint32_t)address, .address_hi = (uint32_t)(address >> 32),
                         .data = data };

    atomic_fetch_add_explicit(&vm->msis, 1, memory_order_relaxed);
    /* 0 means that the guest's APIC refuses it, as on a real bus. */
    return ioctl(vm->vm_fd, KVM_SIGNAL_MSI, &m) < 0 ? -errno : 0;
}

static int push_routes(struct gh_accel_vm *vm)
{
    gh_autofree struct kvm_irq_routing *table =
        calloc(1, sizeof *table + vm->route_max * sizeof table->entries[0]);

    if (!table)
        return -ENOMEM;
    for (unsigned gsi = 0; gsi < vm->route_max; gsi++) {
        const struct kvm_route *route = &vm->route[gsi];
        if (!route->used)
            continue;
        table->entries[table->nr++] = (struct kvm_irq_routing_entry){
            .gsi = gsi, .type = KVM_IRQ_ROUTING_MSI,
            .u.msi = { .address_lo = (uint32_t)route->address,
                       .address_hi = (uint32_t)(route->address >> 32), .data = route->data },
        };
    }
    atomic_fetch_add_explicit(&vm->route_updates, 1, memory_order_relaxed);
    return ioctl(vm->vm_fd, KVM_SET_GSI_ROUTING, table) ? -errno : 0;
}

int kvm_ioapic_route(struct gh_accel_vm *vm, unsigned gsi, uint64_t address, uint32_t data, bool masked)
{
    int r = 0;

    if (gsi >= vm->route_max)
        return -EINVAL;
    pthread_mutex_lock(&vm->route_lock);
    struct kvm_route *route = &vm->route[gsi];
    /* A masked pin keeps its route: an interrupt in service must still report its EOI, and guests
     * mask and unmask around each level interrupt. Routes of irqfds are dropped. */
    bool gone = masked && gsi >= KVM_IOAPIC_PINS && route->used;
    bool new = !masked && (!route->used || route->address != address || route->data != data);
    if (gone || new) {
        *route = (struct kvm_route){ .used = !masked, .address = address, .data = data };
        r = push_routes(vm);
    }
    pthread_mutex_unlock(&vm->route_lock);
    return r;
}

int kvm_irqfd(struct gh_accel_vm *vm, int eventfd, unsigned gsi, bool add)
{
    struct kvm_irqfd request = { .fd = (uint32_t)eventfd, .gsi = gsi,
                                 .flags = add ? 0 : KVM_IRQFD_FLAG_DEASSIGN };

    if (gsi >= vm->route_max)
        return -EINVAL;
    return ioctl(vm->vm_fd, KVM_IRQFD, &request) ? -errno : 0;
}

int kvm_ioeventfd(struct gh_accel_vm *vm, int eventfd, uint64_t addr, unsigned width, bool pio,
                  bool match, uint64_t value, bool add)
{
    struct kvm_ioeventfd request = {
        .addr = addr, .len = width, .fd = eventfd, .datamatch = match ? value : 0,
        .flags = (pio ? KVM_IOEVENTFD_FLAG_PIO : 0) | (match ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0) |
                 (add ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN),
    };
    return ioctl(vm->vm_fd, KVM_IOEVENTFD, &request) ? -errno : 0;
}
