/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One network card of a machine: what it is, what it is connected to, its cable, and its port forwards. */
#pragma once
#include <adwaita.h>

#include "gui/engine/gh-machine.h"

#define GH_TYPE_ADAPTER_ROW (gh_adapter_row_get_type ())
G_DECLARE_FINAL_TYPE (GhAdapterRow, gh_adapter_row, GH, ADAPTER_ROW, AdwExpanderRow)

GtkWidget *gh_adapter_row_new (GhMachine *machine, guint number);
/* An element of the machine's Networks; all: the whole property. */
void gh_adapter_row_show (GhAdapterRow *self, GVariant *card, GVariant *all);
