/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What one machine is, its troubles, and what can be done with it. */
#pragma once
#include <adwaita.h>

#include "gui/engine/gh-machine.h"

#define GH_TYPE_DETAILS_PAGE (gh_details_page_get_type ())
G_DECLARE_FINAL_TYPE (GhDetailsPage, gh_details_page, GH, DETAILS_PAGE, GtkBox)

void gh_details_page_set_machine (GhDetailsPage *self, GhMachine *machine); /* NULL: none */
void gh_details_page_edit_name (GhDetailsPage *self);
