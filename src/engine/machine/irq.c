/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Interrupt routing: a GSI reaches the 8259 pair (0-15) and the I/O APIC (all; ISA IRQ 0 on pin 2,
 * as the MADT says). Any thread; the controllers have their own leaf locks, never the machine lock.
 */
#include "devices/irq/i8259.h"
#include "devices/irq/ioapic.h"
#include "engine/machine/machine_internal.h"

void gh_machine_irq(struct gh_machine *m, unsigned gsi, bool level)
{
    if (gsi < 16 && gsi != 2 && m->pic)
        gh_pic_set_irq(m->pic, gsi, level);
    if (m->ioapic)
        gh_ioapic_set_irq(m->ioapic, gsi == 0 ? 2 : gsi, level);
}

static void pic_output(void *opaque, bool level)
{
    struct gh_machine *m = opaque;

    if (m->vcpu[0].accel)
        m->cfg.accel->set_intr(m->vcpu[0].accel, level);
}

static int env_intack(void *opaque, unsigned vcpu)
{
    struct gh_machine *m = opaque;
    return m->pic ? gh_pic_intack(m->pic) : -1;
}

static void env_eoi(void *opaque, unsigned vcpu, uint8_t vector)
{
    struct gh_machine *m = opaque;
    if (m->ioapic)
        gh_ioapic_eoi(m->ioapic, vector);
}

/* IRQ 13: an x87 exception of a guest that asked for the PC's way (CR0.NE = 0). */
static void env_ferr(void *opaque, unsigned vcpu, bool level)
{
    gh_machine_irq(opaque, 13, level);
}

static void ioapic_message(void *opaque, uint64_t address, uint32_t data)
{
    struct gh_machine *m = opaque;
    m->cfg.accel->msi(m->vm, address, data);
}

static void ioapic_route(void *opaque, unsigned pin, uint64_t address, uint32_t data, bool masked)
{
    struct gh_machine *m = opaque;
    if (m->cfg.accel->ioapic_route)
        m->cfg.accel->ioapic_route(m->vm, pin, address, data, masked);
}

void gh_irq_wire(struct gh_machine *m)
{
    m->env.intack = env_intack;
    m->env.eoi = env_eoi;
    m->env.ferr = env_ferr;
    for (unsigned i = 0; i < m->service_count; i++) {
        if (!strcmp(m->service[i].name, "pic"))
            m->pic = m->service[i].object;
        else if (!strcmp(m->service[i].name, "ioapic"))
            m->ioapic = m->service[i].object;
    }
    if (m->pic)
        gh_pic_set_output(m->pic, pic_output, m);
    if (m->ioapic)
        gh_ioapic_set_output(m->ioapic, ioapic_message, ioapic_route, m);
}
