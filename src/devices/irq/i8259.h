/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The pair of 8259A interrupt controllers of a PC, service "pic" (struct gh_pic *).
 * Specification: Intel 8259A data sheet; ELCR as in the 82371SB (PIIX3).
 *
 * Thread: set_irq and intack from any thread; a small leaf lock of their own, never the machine lock.
 * Nothing here blocks. The output callback runs with that leaf lock held: it must not call back.
 */
#pragma once
#include <stdbool.h>

struct gh_pic;

/* Line n (0-15; 2 is the cascade and has no input) becomes high or low. */
void gh_pic_set_irq(struct gh_pic *pic, unsigned n, bool level);
/* The CPU's interrupt acknowledge cycle: the vector; a spurious one (7 or 15) if nothing is pending. */
int  gh_pic_intack(struct gh_pic *pic);
/* Level of INTR now. */
bool gh_pic_output(struct gh_pic *pic);
/* Called at every change of INTR, and once from here with the level of now. NULL: nobody. */
void gh_pic_set_output(struct gh_pic *pic, void (*output)(void *opaque, bool level), void *opaque);
