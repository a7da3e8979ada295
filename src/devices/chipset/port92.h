/* SPDX-License-Identifier: GPL-3.0-or-later */
/* System control port A (92h), service "port92" (struct gh_port92 *): the keeper of the A20 gate. Machine lock. */
#pragma once
#include <stdbool.h>

struct gh_port92;

/* The keyboard controller's way to the same gate: whoever wrote last wins, both read the result. */
void gh_port92_set_a20(struct gh_port92 *port, bool on);
bool gh_port92_a20(const struct gh_port92 *port);
