/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Where a machine lies on this computer, and its log. */
#pragma once
#include <adwaita.h>

#include "gui/engine/gh-machine.h"

#define GH_TYPE_FILES_GROUP (gh_files_group_get_type ())
G_DECLARE_FINAL_TYPE (GhFilesGroup, gh_files_group, GH, FILES_GROUP, AdwPreferencesGroup)

void gh_files_group_set_machine (GhFilesGroup *self, GhMachine *machine); /* NULL: none */
