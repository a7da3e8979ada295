/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a machine looks like: its screen while it runs, live while it can be seen, otherwise its system's icon. */
#pragma once
#include <adwaita.h>

#include "gui/engine/gh-machine.h"

#define GH_TYPE_THUMBNAIL (gh_thumbnail_get_type ())
G_DECLARE_FINAL_TYPE (GhThumbnail, gh_thumbnail, GH, THUMBNAIL, AdwBin)

void gh_thumbnail_set_size (GhThumbnail *self, int width, int height, int icon_size, int icon_width); /* of the picture, of the icon */
void gh_thumbnail_set_machine (GhThumbnail *self, GhMachine *machine); /* NULL: none */
