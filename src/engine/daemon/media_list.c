/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/daemon/job.h"
#include "engine/daemon/media.h"

struct gathering { json_t *list; gh_media_ready ready; void *opaque; };

static const char *const kinds[] = { "disk", "cdrom", "floppy" };

static json_t *find(json_t *list, const char *path)
{
    json_t *m;
    size_t i;

    json_array_foreach(list, i, m)
        if (!strcmp(json_string_value(json_object_get(m, "path")), path))
            return m;
    return NULL;
}

static json_t *entry(json_t *list, const char *path, const char *kind, const char *format)
{
    g_autofree char *real = realpath(path, NULL);
    const char *name = real ? real : path;
    json_t *m = g_utf8_validate(name, -1, NULL) ? find(list, name) : NULL;
    struct stat st;

    if (m || !g_utf8_validate(name, -1, NULL))
        return m;
    m = json_pack("{s:s, s:s, s:s, s:[], s:[], s:b}", "path", name, "kind", kind, "format", format, "users", "parent_of", "orphan", 0);
    gboolean present = stat(name, &st) == 0;
    json_object_set_new(m, "present", json_boolean(present));
    json_object_set_new(m, "file_bytes", json_integer(present ? (json_int_t)st.st_size : 0));
    json_object_set_new(m, "host_bytes", json_integer(present ? (json_int_t)st.st_blocks * 512 : 0));
    json_array_append_new(list, m);
    return m;
}

static void add_machine(json_t *list, struct gh_daemon_machine *m)
{
    unsigned count[3] = { 0 };

    for (unsigned i = 0; m->definition && i < m->definition->medium_count; i++) {
        const struct gh_medium *medium = &m->definition->medium[i];
        g_autofree char *path = gh_daemon_machine_medium_path(m, medium);
        g_autofree char *drive = g_strdup_printf("%s%u", kinds[medium->kind], count[medium->kind]++);
        json_t *e = path ? entry(list, path, kinds[medium->kind], medium->format) : NULL;
        if (e)
            json_array_append_new(json_object_get(e, "users"), json_pack("{s:s, s:s, s:s, s:b}", "uuid", m->definition->uuid, "name", m->definition->name,
                "drive", drive, "running", m->instance != NULL));
    }
}

/* Images in a machine's folder that no definition names: parents of others, or left over. */
static void add_folder(json_t *list, const char *folder, gboolean deeper)
{
    static const char *const endings[] = { ".qcow2", ".img", ".vdi", ".vmdk", ".vhd", ".vhdx", ".raw", ".qed", ".hdd", ".iso" };
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(folder, name, NULL), *lower = g_ascii_strdown(name, -1), *real = NULL;
        gboolean image = FALSE;
        if (name[0] == '.' || g_file_test(path, G_FILE_TEST_IS_SYMLINK))
            continue;
        if (g_file_test(path, G_FILE_TEST_IS_DIR)) {
            if (deeper)
                add_folder(list, path, FALSE);
            continue;
        }
        for (unsigned i = 0; i < G_N_ELEMENTS(endings); i++)
            image |= g_str_has_suffix(lower, endings[i]);
        real = realpath(path, NULL);
        if (!image || !real || find(list, real))
            continue;
        json_t *e = entry(list, real, g_str_has_suffix(lower, ".iso") ? "cdrom" : "disk", "");
        if (e)
            json_object_set_new(e, "orphan", json_true());
    }
}

static void merge(json_t *list, json_t *found)
{
    static const char *const keys[] = { "format", "variant", "bytes", "chain", "error", "snapshots", "needs_parent", "parts" };
    json_t *f, *parent;
    size_t i, k;

    json_array_foreach(found, i, f) {
        const char *path = json_string_value(json_object_get(f, "path"));
        json_t *m = path ? find(list, path) : NULL;
        if (!m)
            continue;
        for (unsigned n = 0; n < G_N_ELEMENTS(keys); n++) {
            json_t *v = json_object_get(f, keys[n]);
            gboolean recorded = !n && json_string_length(json_object_get(m, "format"));
            if (v && !recorded)
                json_object_set(m, keys[n], v);
        }
        json_array_foreach(json_object_get(f, "chain"), k, parent) {
            json_t *p = json_string_value(parent) ? entry(list, json_string_value(parent), "disk", "") : NULL;
            if (p) {
                json_array_append_new(json_object_get(p, "parent_of"), json_string(path));
                json_object_set_new(p, "orphan", json_false());
            }
        }
    }
}

/* Extents of an image are no media of their own: nobody shall delete one as left over. What they take is the image's. */
static void fold_parts(json_t *list)
{
    json_t *m, *part, *p;
    size_t i, k;

    json_array_foreach(list, i, m)
        json_array_foreach(json_object_get(m, "parts"), k, part)
            if ((p = find(list, json_string_value(part))) && p != m) {
                json_int_t both = json_integer_value(json_object_get(m, "host_bytes")) + json_integer_value(json_object_get(p, "host_bytes"));
                json_object_set_new(m, "host_bytes", json_integer(both));
                json_object_set_new(p, "part_of", json_string(json_string_value(json_object_get(m, "path"))));
            }
    for (i = json_array_size(list); i-- > 0;) {
        m = json_array_get(list, i);
        if (json_object_get(m, "part_of") && !json_array_size(json_object_get(m, "users")))
            json_array_remove(list, i);
    }
}

static void surveyed(const struct gh_error *err, const char *output, void *opaque)
{
    struct gathering *g = opaque;
    json_t *found = err ? NULL : json_loads(output, 0, NULL);

    if (!err && json_is_array(found))
        merge(g->list, found);
    fold_parts(g->list);
    g->ready(g->list, err, g->opaque);
    json_decref(found);
    json_decref(g->list);
    g_free(g);
}

char *gh_media_folder(const struct gh_daemon *d)
{
    g_autofree char *above = g_path_get_dirname(d->machines_folder);
    return g_build_filename(above, "disks", NULL);
}

void gh_media_gather(struct gh_daemon *d, const char *also, gh_media_ready ready, void *opaque)
{
    struct gathering *g = g_new0(struct gathering, 1);
    struct gh_error err = { 0 };
    GHashTableIter iter;
    gpointer value;
    json_t *m, *ask = json_array();
    size_t i;

    *g = (struct gathering){ json_array(), ready, opaque };
    g_hash_table_iter_init(&iter, d->machines);
    while (g_hash_table_iter_next(&iter, NULL, &value))
        add_machine(g->list, value);
    g_hash_table_iter_init(&iter, d->machines);
    while (g_hash_table_iter_next(&iter, NULL, &value))
        add_folder(g->list, ((struct gh_daemon_machine *)value)->folder, TRUE);
    g_autofree char *own = gh_media_folder(d);
    add_folder(g->list, own, FALSE);
    if (also)
        entry(g->list, also, "disk", "");
    json_array_foreach(g->list, i, m) {
        const char *format = json_string_value(json_object_get(m, "format"));
        if (json_is_true(json_object_get(m, "present")) && !strcmp(json_string_value(json_object_get(m, "kind")), "disk"))
            json_array_append_new(ask, format[0] ? json_pack("{s:O, s:s}", "path", json_object_get(m, "path"), "format", format)
                                                 : json_pack("{s:O}", "path", json_object_get(m, "path")));
    }
    char *input = json_dumps(ask, 0);
    const char *const args[] = { "survey", NULL };
    if (!gh_child_run(args, input, NULL, NULL, surveyed, g, &err))
        surveyed(&err, "", g);
    free(input);
    json_decref(ask);
}
