/* SPDX-License-Identifier: GPL-3.0-or-later */
/* CD images that a person has downloaded lately: the first thing that a new machine is made from. GTK main thread. */
#pragma once
#include <gio/gio.h>

/* Called once, later, with paths, the newest first, at most 6; not at all when cancelled. The array is the callee's to borrow. */
typedef void (*gh_found_media_done) (GPtrArray *paths, gpointer opaque);
void gh_found_media (GCancellable *cancel, gh_found_media_done done, gpointer opaque);
