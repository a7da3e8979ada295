/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The programmable interval timer, service "pit" (struct gh_pit *). Machine lock. */
#pragma once
#include <stdbool.h>

struct gh_pit;

/* The HPET took over IRQ 0 (legacy replacement): channel 0 goes on counting without its line. */
void gh_pit_mute_irq(struct gh_pit *pit, bool mute);
