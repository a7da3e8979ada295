/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The real-time clock and CMOS memory, service "rtc" (struct gh_rtc *). Machine lock. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct gh_rtc;

/* CMOS bytes for the firmware (memory size, boot order); reg 0-255, from 128 on the extended bank.
 * The clock's own registers (0-0Dh) are not reachable this way: set ignores them, get reads 0. */
void gh_rtc_cmos_set(struct gh_rtc *rtc, unsigned reg, uint8_t value);
uint8_t gh_rtc_cmos_get(const struct gh_rtc *rtc, unsigned reg);
/* The HPET took over IRQ 8 (legacy replacement). */
void gh_rtc_mute_irq(struct gh_rtc *rtc, bool mute);
