/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>

#include "engine/daemon/media.h"

#define BESIDE ".gasthaus-trash"

static char *beside(const char *path)
{
    g_autofree char *folder = g_path_get_dirname(path), *name = g_path_get_basename(path);

    return g_build_filename(folder, BESIDE, name, NULL);
}

static int put_one(const char *path, struct gh_error *err)
{
    g_autoptr(GFile) file = g_file_new_for_path(path);
    g_autofree char *other = beside(path), *folder = g_path_get_dirname(other);

    if (g_file_trash(file, NULL, NULL))
        return 0;
    if (g_mkdir_with_parents(folder, 0700) < 0 || g_file_test(other, G_FILE_TEST_EXISTS) || g_rename(path, other) < 0)
        return gh_error_set(err, errno ? -errno : -EEXIST, "TrashFailed", "“%s” cannot be moved to the trash: %s. It stays where it is.", path,
                            strerror(errno ? errno : EEXIST));
    return 0;
}

/* The newest trashed file that came from path (Trash specification: info/NAME.trashinfo beside files/NAME). */
static char *find_in_trash(const char *path, char **ret_info)
{
    g_autofree char *top = g_build_filename(g_get_user_data_dir(), "Trash", NULL), *infos = g_build_filename(top, "info", NULL);
    g_autoptr(GDir) dir = g_dir_open(infos, 0, NULL);
    g_autofree char *newest = NULL;
    char *found = NULL;
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autoptr(GKeyFile) key = g_key_file_new();
        g_autofree char *info = g_build_filename(infos, name, NULL);
        if (!g_str_has_suffix(name, ".trashinfo") || !g_key_file_load_from_file(key, info, G_KEY_FILE_NONE, NULL))
            continue;
        g_autofree char *escaped = g_key_file_get_string(key, "Trash Info", "Path", NULL), *date = g_key_file_get_string(key, "Trash Info", "DeletionDate", NULL);
        g_autofree char *from = escaped ? g_uri_unescape_string(escaped, NULL) : NULL;
        if (!from || strcmp(from, path) || !date || (newest && strcmp(date, newest) <= 0))
            continue;
        g_autofree char *leaf = g_strndup(name, strlen(name) - strlen(".trashinfo"));
        g_free(newest);
        newest = g_strdup(date);
        g_free(found);
        found = g_build_filename(top, "files", leaf, NULL);
        g_free(*ret_info);
        *ret_info = g_strdup(info);
    }
    return found;
}

static int restore_one(const char *path, struct gh_error *err)
{
    g_autofree char *info = NULL, *from = beside(path);

    if (g_file_test(path, G_FILE_TEST_EXISTS))
        return gh_error_set(err, -EEXIST, "FileExists", "There is a file “%s” again; move it away first.", path);
    if (!g_file_test(from, G_FILE_TEST_EXISTS)) {
        g_free(from);
        from = find_in_trash(path, &info);
    }
    if (!from)
        return gh_error_set(err, -ENOENT, "FileNotFound", "“%s” is not in the trash any more.", path);
    if (g_rename(from, path) < 0)
        return gh_error_set(err, -errno, "TrashFailed", "“%s” cannot be brought back: %s.", path, strerror(errno));
    if (info)
        g_unlink(info);
    g_autofree char *folder = g_path_get_dirname(from);
    if (g_str_has_suffix(folder, BESIDE))
        g_rmdir(folder);
    return 0;
}

/* ---- Images of several files: which of them went together ------------------------------------------------- */
#define GROUP "parts"

static GKeyFile *load_record(char **ret_path, char **ret_key, const char *path)
{
    GKeyFile *record = g_key_file_new();

    *ret_path = g_build_filename(g_get_user_data_dir(), "gasthaus", "trashed-parts", NULL);
    *ret_key = g_compute_checksum_for_string(G_CHECKSUM_SHA256, path, -1);
    g_key_file_load_from_file(record, *ret_path, G_KEY_FILE_NONE, NULL);
    return record;
}

int gh_trash_put(const char *path, char *const *parts, struct gh_error *err)
{
    struct gh_error ignored = { 0 };
    unsigned done = 0, count = parts ? g_strv_length((char **)parts) : 0;
    int r = put_one(path, err);

    if (r || !count)
        return r;
    while (!r && done < count) {
        r = put_one(parts[done], err);
        done += !r;
    }
    if (r) {
        while (done)
            restore_one(parts[--done], &ignored);
        restore_one(path, &ignored);
        return r;
    }
    g_autofree char *file = NULL, *key = NULL;
    g_autoptr(GKeyFile) record = load_record(&file, &key, path);
    g_autofree char *folder = g_path_get_dirname(file);
    g_mkdir_with_parents(folder, 0755);
    g_key_file_set_string_list(record, GROUP, key, (const char *const *)parts, count);
    g_key_file_save_to_file(record, file, NULL);
    return 0;
}

int gh_trash_restore(const char *path, struct gh_error *err)
{
    g_autofree char *file = NULL, *key = NULL;
    g_autoptr(GKeyFile) record = load_record(&file, &key, path);
    g_auto(GStrv) parts = g_key_file_get_string_list(record, GROUP, key, NULL, NULL);

    for (unsigned i = 0; parts && parts[i]; i++)
        if (g_file_test(parts[i], G_FILE_TEST_EXISTS))
            return gh_error_set(err, -EEXIST, "FileExists", "There is a file “%s” again; move it away first.", parts[i]);
    int r = restore_one(path, err);
    for (unsigned i = 0; !r && parts && parts[i]; i++)
        r = restore_one(parts[i], err);
    if (!r && parts) {
        g_key_file_remove_key(record, GROUP, key, NULL);
        g_key_file_save_to_file(record, file, NULL);
    }
    return r;
}
