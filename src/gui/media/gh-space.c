/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "gui/media/gh-space.h"

#include <glib/gi18n.h>
#include <string.h>
#include <sys/statvfs.h>

#include "gui/gh-util.h"

gboolean gh_space_free (const char *path, guint64 *ret)
{
    g_autofree char *at = g_strdup (path);
    struct statvfs st;

    while (statvfs (at, &st) < 0) { /* the folder may not be made yet */
        char *above = g_path_get_dirname (at);
        gboolean end = g_str_equal (above, at);
        g_free (at);
        at = above;
        if (end)
            return FALSE;
    }
    *ret = (guint64) st.f_bavail * st.f_frsize;
    return TRUE;
}

char *gh_space_may_outgrow (const char *path, guint64 bytes, guint64 taken)
{
    guint64 there;

    if (!gh_space_free (path, &there) || bytes <= taken || bytes - taken <= there)
        return NULL;
    g_autofree char *free_text = gh_format_size (there), *text = gh_format_size (bytes - taken);
    return g_strdup_printf (_ ("The disk may grow by %s, and %s are free on this computer. When they are used up, its machine pauses."), text, free_text);
}

char *gh_space_short (const char *path, guint64 bytes)
{
    guint64 there;

    if (!gh_space_free (path, &there) || bytes <= there)
        return NULL;
    g_autofree char *free_text = gh_format_size (there), *text = gh_format_size (bytes);
    return g_strdup_printf (_ ("The copy needs up to %s, and %s are free on this computer."), text, free_text);
}
