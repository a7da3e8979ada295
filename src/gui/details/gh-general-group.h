/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a person calls a machine and notes about it. */
#pragma once
#include <adwaita.h>

#include "gui/engine/gh-machine.h"

#define GH_TYPE_GENERAL_GROUP (gh_general_group_get_type ())
G_DECLARE_FINAL_TYPE (GhGeneralGroup, gh_general_group, GH, GENERAL_GROUP, AdwPreferencesGroup)

void gh_general_group_set_machine (GhGeneralGroup *self, GhMachine *machine); /* NULL: none */
void gh_general_group_edit_name (GhGeneralGroup *self); /* the keyboard goes to the name */
