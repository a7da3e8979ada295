/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a person prefers: kept in $XDG_CONFIG_HOME/gasthaus/window.ini, which may be edited or deleted. GTK main thread.
 */
#pragma once
#include <glib.h>

enum gh_pref {
    GH_PREFS_SHOW_SCREEN, /* starting a machine opens its screen */
    GH_PREFS_FILL,        /* screens are enlarged to fill their window */
    GH_PREFS_INHIBIT,     /* the desktop's shortcuts go to the machine while it has the keyboard */
    GH_PREFS_HINT,        /* how to get the keyboard back is said in each new window */
    GH_PREFS_THUMBNAILS,  /* live pictures in the list */
    GH_PREFS_N
};
enum gh_scheme { GH_SCHEME_SYSTEM, GH_SCHEME_LIGHT, GH_SCHEME_DARK };

gboolean gh_prefs_get (enum gh_pref pref);
void gh_prefs_set (enum gh_pref pref, gboolean value); /* saved at once; a disk that refuses loses it at the end */
enum gh_scheme gh_prefs_get_scheme (void);
void gh_prefs_set_scheme (enum gh_scheme scheme);      /* and shows it */
void gh_prefs_get_size (int *ret_width, int *ret_height, gboolean *ret_maximized); /* of the main window; 0: never kept */
void gh_prefs_set_size (int width, int height, gboolean maximized);
/* The same of a machine's screen; FALSE: never kept. */
gboolean gh_prefs_get_screen (const char *uuid, int *ret_width, int *ret_height, gboolean *ret_maximized);
void gh_prefs_set_screen (const char *uuid, int width, int height, gboolean maximized);
void gh_prefs_apply (void);                            /* at the start: shows what was chosen */
