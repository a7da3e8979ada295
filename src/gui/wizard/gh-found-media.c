/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "gui/wizard/gh-found-media.h"

#include <string.h>

#define LOOKED_AT 500 /* files of the folder; a huge one is not read to its end */
#define SHOWN 6

struct search {
    gh_found_media_done done;
    gpointer opaque;
};

static int newest_first (gconstpointer a, gconstpointer b)
{
    GFileInfo *x = *(GFileInfo *const *) a, *y = *(GFileInfo *const *) b;
    guint64 tx = g_file_info_get_attribute_uint64 (x, G_FILE_ATTRIBUTE_TIME_MODIFIED);
    guint64 ty = g_file_info_get_attribute_uint64 (y, G_FILE_ATTRIBUTE_TIME_MODIFIED);

    return tx < ty ? 1 : tx > ty ? -1 : 0;
}

static void on_files (GObject *source, GAsyncResult *result, gpointer data)
{
    g_autofree struct search *s = data;
    g_autoptr (GError) error = NULL;
    GList *list = g_file_enumerator_next_files_finish (G_FILE_ENUMERATOR (source), result, &error);
    g_autoptr (GPtrArray) infos = g_ptr_array_new_with_free_func (g_object_unref), paths = g_ptr_array_new_with_free_func (g_free);

    for (GList *l = list; l; l = l->next) {
        g_autofree char *lower = g_ascii_strdown (g_file_info_get_name (l->data), -1);
        if (g_str_has_suffix (lower, ".iso"))
            g_ptr_array_add (infos, l->data);
        else
            g_object_unref (l->data);
    }
    g_list_free (list);
    g_ptr_array_sort (infos, newest_first);
    for (guint i = 0; i < infos->len && i < SHOWN; i++) {
        GFileInfo *info = g_ptr_array_index (infos, i);
        g_autoptr (GFile) file = g_file_get_child (g_file_enumerator_get_container (G_FILE_ENUMERATOR (source)), g_file_info_get_name (info));
        g_ptr_array_add (paths, g_file_get_path (file));
    }
    if (!g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
        s->done (paths, s->opaque);
}

static void on_folder (GObject *source, GAsyncResult *result, gpointer data)
{
    struct search *s = data;
    g_autoptr (GFileEnumerator) files = g_file_enumerate_children_finish (G_FILE (source), result, NULL);
    GCancellable *cancel = g_object_get_data (source, "cancel");

    if (files)
        g_file_enumerator_next_files_async (files, LOOKED_AT, G_PRIORITY_LOW, cancel, on_files, s);
    else
        g_free (s);
}

void gh_found_media (GCancellable *cancel, gh_found_media_done done, gpointer opaque)
{
    const char *folder = g_get_user_special_dir (G_USER_DIRECTORY_DOWNLOAD);
    g_autofree char *path = folder ? g_strdup (folder) : g_build_filename (g_get_home_dir (), "Downloads", NULL);
    g_autoptr (GFile) file = g_file_new_for_path (path);
    struct search *s = g_new (struct search, 1);

    *s = (struct search){ done, opaque };
    g_object_set_data_full (G_OBJECT (file), "cancel", g_object_ref (cancel), g_object_unref);
    g_file_enumerate_children_async (file, G_FILE_ATTRIBUTE_STANDARD_NAME "," G_FILE_ATTRIBUTE_TIME_MODIFIED, G_FILE_QUERY_INFO_NONE,
                                     G_PRIORITY_LOW, cancel, on_folder, s);
}
