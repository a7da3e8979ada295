/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What of NAT few people change: the guest's network, this computer's loopback, IPv6, boot over the network. GTK main thread. */
#pragma once
#include <adwaita.h>

#include "gui/engine/gh-machine.h"

#define GH_TYPE_NAT_ROW (gh_nat_row_get_type ())
G_DECLARE_FINAL_TYPE (GhNatRow, gh_nat_row, GH, NAT_ROW, AdwExpanderRow)

/* Signal "change" (const char *key, GVariant *value): a setting of the adapter that a person wants. */
GtkWidget *gh_nat_row_new (void);
/* An element of the machine's Networks. */
void gh_nat_row_show (GhNatRow *self, GVariant *card);
