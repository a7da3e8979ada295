/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the window can tell by itself about the room for a disk, before anything is done: sentences for notes, or NULL when there is
 * nothing to say. Free them with g_free. The daemon's jobs say the same again when they know better (DiskSpaceShort,
 * DiskMayOutgrowHost). Looks at the file system, without waiting for more. GTK main thread.
 */
#pragma once
#include <glib.h>

/* Free bytes where path is or would be; FALSE: not known. */
gboolean gh_space_free (const char *path, guint64 *ret);
/* A disk of this size for its machine, of which taken is on the computer already. */
char *gh_space_may_outgrow (const char *path, guint64 bytes, guint64 taken);
/* A copy of a file that takes so much. */
char *gh_space_short (const char *path, guint64 bytes);
