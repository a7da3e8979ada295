/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "gui/gh-prefs.h"

#include <adwaita.h>

#define GROUP "Window"
#define SCREENS "Screens" /* uuid = width;height;maximized */

static const struct {
    const char *key;
    gboolean normally;
} prefs[GH_PREFS_N] = {
    [GH_PREFS_SHOW_SCREEN] = { "ShowScreenAtStart", TRUE }, [GH_PREFS_FILL] = { "EnlargeScreens", FALSE },
    [GH_PREFS_INHIBIT] = { "TakeDesktopShortcuts", TRUE },  [GH_PREFS_HINT] = { "SayHowToRelease", TRUE },
    [GH_PREFS_THUMBNAILS] = { "LivePictures", TRUE },
};
static const char *const schemes[] = { "system", "light", "dark" };

static char *path (void) { return g_build_filename (g_get_user_config_dir (), "gasthaus", "window.ini", NULL); }

static GKeyFile *file (void)
{
    static GKeyFile *loaded;

    if (!loaded) {
        g_autofree char *name = path ();
        loaded = g_key_file_new ();
        g_key_file_load_from_file (loaded, name, G_KEY_FILE_KEEP_COMMENTS, NULL);
    }
    return loaded;
}

static void save (void)
{
    g_autofree char *name = path ();
    g_autofree char *folder = g_path_get_dirname (name);
    g_autoptr (GError) error = NULL;

    g_mkdir_with_parents (folder, 0700);
    if (!g_key_file_save_to_file (file (), name, &error))
        g_warning ("preferences are not kept: %s", error->message);
}

gboolean gh_prefs_get (enum gh_pref pref)
{
    g_autoptr (GError) error = NULL;
    gboolean value = g_key_file_get_boolean (file (), GROUP, prefs[pref].key, &error);

    return error ? prefs[pref].normally : value;
}

void gh_prefs_set (enum gh_pref pref, gboolean value)
{
    g_key_file_set_boolean (file (), GROUP, prefs[pref].key, value);
    save ();
}

enum gh_scheme gh_prefs_get_scheme (void)
{
    g_autofree char *name = g_key_file_get_string (file (), GROUP, "Style", NULL);

    for (guint i = 0; name && i < G_N_ELEMENTS (schemes); i++)
        if (g_str_equal (name, schemes[i]))
            return i;
    return GH_SCHEME_SYSTEM;
}

void gh_prefs_apply (void)
{
    static const AdwColorScheme shown[] = { ADW_COLOR_SCHEME_DEFAULT, ADW_COLOR_SCHEME_FORCE_LIGHT, ADW_COLOR_SCHEME_FORCE_DARK };

    adw_style_manager_set_color_scheme (adw_style_manager_get_default (), shown[gh_prefs_get_scheme ()]);
}

void gh_prefs_set_scheme (enum gh_scheme scheme)
{
    g_key_file_set_string (file (), GROUP, "Style", schemes[scheme]);
    save ();
    gh_prefs_apply ();
}

void gh_prefs_get_size (int *ret_width, int *ret_height, gboolean *ret_maximized)
{
    *ret_width = CLAMP (g_key_file_get_integer (file (), GROUP, "Width", NULL), 0, 16384);
    *ret_height = CLAMP (g_key_file_get_integer (file (), GROUP, "Height", NULL), 0, 16384);
    *ret_maximized = g_key_file_get_boolean (file (), GROUP, "Maximized", NULL);
}

void gh_prefs_set_size (int width, int height, gboolean maximized)
{
    g_key_file_set_integer (file (), GROUP, "Width", width);
    g_key_file_set_integer (file (), GROUP, "Height", height);
    g_key_file_set_boolean (file (), GROUP, "Maximized", maximized);
    save ();
}

gboolean gh_prefs_get_screen (const char *uuid, int *ret_width, int *ret_height, gboolean *ret_maximized)
{
    gsize n = 0;
    g_autofree int *kept = g_key_file_get_integer_list (file (), SCREENS, uuid, &n, NULL);

    if (!kept || n != 3 || kept[0] < 100 || kept[1] < 100 || kept[0] > 16384 || kept[1] > 16384)
        return FALSE;
    *ret_width = kept[0];
    *ret_height = kept[1];
    *ret_maximized = kept[2] != 0;
    return TRUE;
}

void gh_prefs_set_screen (const char *uuid, int width, int height, gboolean maximized)
{
    int kept[3] = { width, height, maximized };

    g_key_file_set_integer_list (file (), SCREENS, uuid, kept, 3);
    save ();
}
