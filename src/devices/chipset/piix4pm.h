/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the machine and the ACPI tables need of the power management function. */
#pragma once
#include "devices/device.h"

#define GH_PM_SCI_IRQ      9u
#define GH_PM_TIMER_HZ     3579545u
#define GH_PM_DEFAULT_BASE 0x600u             /* where firmware usually puts the registers */
#define GH_PM_GPE_OFFSET   0x0cu              /* GPE0: two status bytes, then two enable bytes */
#define GH_PM_ENABLE_ACPI  0xf1u              /* values for port 0xb2 */
#define GH_PM_DISABLE_ACPI 0xf0u
#define GH_PM_SLEEP_S5     0u                 /* SLP_TYP of "soft off" */
#define GH_PM_SLEEP_S3     1u                 /* suspend to memory: honoured, but no table offers it */

/* The user pressed the power button: an event for the guest, nothing else. Machine lock. */
void gh_piix4pm_power_button(struct gh_device *dev);
void gh_piix4pm_sleep_button(struct gh_device *dev);
/* The clock's alarm interrupts: an event, and the end of sleep where the guest enabled it. Machine lock. */
void gh_piix4pm_rtc_alarm(struct gh_device *dev);
/* Raises a general purpose event (0..15), e.g. for hot plug. Machine lock. */
void gh_piix4pm_event(struct gh_device *dev, unsigned gpe);
/* Where the PM registers are now; 0 while they are switched off. */
uint16_t gh_piix4pm_base(struct gh_device *dev);
