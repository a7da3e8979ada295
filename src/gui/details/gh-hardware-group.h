/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Memory, processors, and what a machine runs on; changed here, used from the next start on. */
#pragma once
#include <adwaita.h>

#include "gui/engine/gh-machine.h"

#define GH_TYPE_HARDWARE_GROUP (gh_hardware_group_get_type ())
G_DECLARE_FINAL_TYPE (GhHardwareGroup, gh_hardware_group, GH, HARDWARE_GROUP, AdwPreferencesGroup)

void gh_hardware_group_set_machine (GhHardwareGroup *self, GhMachine *machine); /* NULL: none */
