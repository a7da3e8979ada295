/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The I/O APIC, service "ioapic" (struct gh_ioapic *). Specification: Intel 82093AA data sheet, with
 * the EOI register of version 20h. 24 pins; the board wires ISA IRQ 0 to pin 2.
 *
 * Thread: set_irq and eoi from any thread; a small leaf lock of their own. The callbacks run with
 * that lock held: they must neither block nor call back.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum { GH_IOAPIC_PINS = 24 };

struct gh_ioapic;

/* Pins above 23 are ignored. */
void gh_ioapic_set_irq(struct gh_ioapic *io, unsigned pin, bool level);
/* A local APIC finished a level-triggered vector: drops remote IRR, delivers again where the line is high. */
void gh_ioapic_eoi(struct gh_ioapic *io, uint8_t vector);
/*
 * message: deliver this (MSI format). route: the guest changed the entry of a pin; data's bit 15 says
 * level-triggered. route may be NULL. Called once for each pin from here, so that it may be set late.
 */
void gh_ioapic_set_output(struct gh_ioapic *io, void (*message)(void *opaque, uint64_t address, uint32_t data),
                          void (*route)(void *opaque, unsigned pin, uint64_t address, uint32_t data, bool masked),
                          void *opaque);
