/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A machine's disks and drives. Media are put in and taken out here, also while it runs. */
#pragma once
#include <adwaita.h>

#include "gui/engine/gh-machine.h"

#define GH_TYPE_MEDIA_GROUP (gh_media_group_get_type ())
G_DECLARE_FINAL_TYPE (GhMediaGroup, gh_media_group, GH, MEDIA_GROUP, AdwPreferencesGroup)

void gh_media_group_set_machine (GhMediaGroup *self, GhMachine *machine); /* NULL: none */
