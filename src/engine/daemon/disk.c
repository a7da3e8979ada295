/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The disks of one machine: put in, taken out, and how the machine uses each: what happens with its
 * changes, bus, cache, TRIM, limits. Files are neither made nor removed here (media.c does that).
 */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "engine/daemon/daemon.h"
#include "engine/daemon/media.h"

/* ---- Who may write --------------------------------------------------------------------------------------- */
/* An immutable disk is read; its changes go elsewhere. */
static gboolean may_write(const struct gh_medium *medium)
{ return strcmp(medium->mode, "read-only") && strcmp(medium->mode, "shared") && strcmp(medium->mode, "immutable"); }

static gboolean same_file(const struct gh_daemon_machine *m, const struct gh_medium *medium, const char *real)
{
    g_autofree char *path = medium->kind == GH_MEDIUM_DISK ? gh_daemon_machine_medium_path(m, medium) : NULL;
    g_autofree char *own = path ? realpath(path, NULL) : NULL;

    return own && !strcmp(own, real);
}

int gh_disk_check_sharing(const struct gh_daemon_machine *m, const struct gh_medium *medium, gboolean running, struct gh_error *err)
{
    g_autofree char *path = medium->kind == GH_MEDIUM_DISK ? gh_daemon_machine_medium_path(m, medium) : NULL;
    g_autofree char *real = path ? realpath(path, NULL) : NULL;
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, m->daemon->machines);
    while (real && g_hash_table_iter_next(&iter, NULL, &value)) {
        struct gh_daemon_machine *other = value;
        for (unsigned i = 0; other != m && other->definition && (!running || other->instance) && i < other->definition->medium_count; i++) {
            const struct gh_medium *theirs = &other->definition->medium[i];
            if (!same_file(other, theirs, real) || (!may_write(medium) && !may_write(theirs)))
                continue;
            if (running)
                return gh_error_option(err, -EBUSY, "DiskInUse", "disk", "The disk “%s” is in use by the running machine “%s”; stop that first.", path,
                                       other->definition->name);
            return gh_error_option(err, -EBUSY, "DiskNotShared", "mode", "“%s” is a disk of “%s” too. Several machines can have it when each of them only reads it: make it "
                                   "shared in all of them.", path, other->definition->name);
        }
    }
    return 0;
}

/* ---- What the API says of one ------------------------------------------------------------------------------ */
void gh_disk_describe(const struct gh_medium *medium, GVariantDict *d)
{
    g_variant_dict_insert(d, "mode", "s", medium->mode);
    g_variant_dict_insert(d, "read-only", "b", !may_write(medium));
    g_variant_dict_insert(d, "cache", "s", medium->cache[0] ? medium->cache : "writeback");
    g_variant_dict_insert(d, "discard", "b", !medium->keep_space);
    g_variant_dict_insert(d, "limit-bytes", "t", medium->limit_bytes);
    g_variant_dict_insert(d, "limit-ops", "u", medium->limit_ops);
}

/* ---- Changes ------------------------------------------------------------------------------------------------- */
static int needs_off(struct gh_daemon_machine *m, struct gh_error *err)
{
    return !m->instance ? 0 : gh_error_set(err, -EBUSY, "MachineRunning", "“%s” is running; its disks can be changed when it is off.", m->definition->name);
}

static struct gh_medium *find(struct gh_daemon_machine *m, struct gh_definition *d, const char *id, struct gh_error *err)
{
    struct gh_medium *medium = gh_definition_drive(d, id);

    if (!medium || medium->kind != GH_MEDIUM_DISK) {
        gh_error_option(err, -ENOENT, "DriveUnknown", "disk", "“%s” has no disk “%s”; the first is disk0.", m->definition->name, id);
        return NULL;
    }
    return medium;
}

static int apply(struct gh_medium *medium, GVariant *settings, struct gh_error *err)
{
    const struct { const char *key; char *out; size_t size; } texts[] = {
        { "mode", medium->mode, sizeof medium->mode }, { "bus", medium->bus, sizeof medium->bus }, { "cache", medium->cache, sizeof medium->cache },
    };
    GVariantIter iter;
    const char *key;
    GVariant *v;
    int r = 0;

    g_variant_iter_init(&iter, settings);
    while (r == 0 && g_variant_iter_next(&iter, "{&sv}", &key, &v)) {
        unsigned i = 0;
        while (i < G_N_ELEMENTS(texts) && strcmp(key, texts[i].key))
            i++;
        if (i < G_N_ELEMENTS(texts) && g_variant_is_of_type(v, G_VARIANT_TYPE_STRING)) {
            const char *text = g_variant_get_string(v, NULL);
            if (!text[0] || strlen(text) >= texts[i].size)
                r = gh_error_option(err, -EINVAL, "SettingInvalid", key, "The value of “%s” is not possible.", key);
            else
                g_strlcpy(texts[i].out, text, texts[i].size);
        } else if (!strcmp(key, "discard") && g_variant_is_of_type(v, G_VARIANT_TYPE_BOOLEAN)) {
            medium->keep_space = !g_variant_get_boolean(v);
        } else if (!strcmp(key, "limit-bytes") && g_variant_is_of_type(v, G_VARIANT_TYPE_UINT64)) {
            medium->limit_bytes = g_variant_get_uint64(v);
        } else if (!strcmp(key, "limit-ops") && g_variant_is_of_type(v, G_VARIANT_TYPE_UINT32)) {
            medium->limit_ops = g_variant_get_uint32(v);
        } else {
            r = gh_error_option(err, -EINVAL, "SettingUnknown", key, "There is no setting “%s” of that type for a disk.", key);
        }
        g_variant_unref(v);
    }
    if (r == 0 && medium->limit_bytes && (medium->limit_bytes < 65536 || medium->limit_bytes > INT64_MAX))
        r = gh_error_option(err, -ERANGE, "LimitInvalid", "limit-bytes", "A disk with %llu bytes a second is not possible; give 64 KiB or more, or 0 for no limit.",
                            (unsigned long long)medium->limit_bytes);
    return r;
}

static gboolean on_change(GhEngine1Machine *iface, GDBusMethodInvocation *inv, const char *id, GVariant *settings, gpointer data)
{
    struct gh_daemon_machine *m = data;
    struct gh_error err = { 0 };
    struct gh_definition *changed = gh_definition_copy(m->definition);
    struct gh_medium *medium = find(m, changed, id, &err);

    if (!medium || needs_off(m, &err) || apply(medium, settings, &err) || gh_disk_check_sharing(m, medium, FALSE, &err))
        return gh_refuse_change(inv, changed, &err);
    if (gh_daemon_machine_save(m, changed, &err))
        return gh_refuse_change(inv, NULL, &err);
    gh_engine1_machine_complete_change_disk(iface, inv);
    return TRUE;
}

/* The file stays where it is. */
static gboolean on_remove(GhEngine1Machine *iface, GDBusMethodInvocation *inv, const char *id, gpointer data)
{
    struct gh_daemon_machine *m = data;
    struct gh_error err = { 0 };
    struct gh_definition *changed = gh_definition_copy(m->definition);
    struct gh_medium *medium = find(m, changed, id, &err);

    if (!medium || needs_off(m, &err))
        return gh_refuse_change(inv, changed, &err);
    unsigned index = (unsigned)(medium - changed->medium);
    free(medium->file);
    memmove(medium, medium + 1, (--changed->medium_count - index) * sizeof *medium);
    if (gh_daemon_machine_save(m, changed, &err))
        return gh_refuse_change(inv, NULL, &err);
    gh_engine1_machine_complete_remove_disk(iface, inv);
    return TRUE;
}

/* ---- A disk that exists: its format is found out once, by gasthaus-image ------------------------------------- */
struct adding { struct gh_daemon *d; char *uuid, *path; GVariant *settings; GDBusMethodInvocation *inv; };

static int add(struct adding *a, struct gh_daemon_machine *m, json_t *e, char **ret_id, struct gh_error *err)
{
    const char *trouble = json_string_value(json_object_get(json_object_get(e, "error"), "text")), *format = json_string_value(json_object_get(e, "format"));
    g_autofree char *folder = g_path_get_dirname(a->path), *leaf = g_path_get_basename(a->path);
    unsigned disks = 0;

    if (!e || !json_is_true(json_object_get(e, "present")))
        return gh_error_set(err, -ENOENT, "FileNotFound", "There is no file “%s”. Restore it or choose its new place.", a->path);
    if (strcmp(json_string_value(json_object_get(e, "kind")), "disk"))
        return gh_error_set(err, -EINVAL, "MediumIsNoDisk", "“%s” is not a disk.", a->path);
    if (trouble)
        return gh_error_set(err, -EIO, "DiskNotUsable", "“%s” cannot be used: %s", a->path, trouble);
    struct gh_definition *changed = gh_definition_copy(m->definition);
    int r = gh_definition_add_medium(changed, GH_MEDIUM_DISK, "ahci", format && format[0] ? format : "raw", !strcmp(folder, m->folder) ? leaf : a->path, err);
    struct gh_medium *medium = &changed->medium[changed->medium_count - 1];
    if (r || (r = apply(medium, a->settings, err)) || (r = gh_disk_check_sharing(m, medium, FALSE, err))) {
        gh_definition_free(changed);
        return r;
    }
    for (unsigned i = 0; i < changed->medium_count; i++)
        disks += changed->medium[i].kind == GH_MEDIUM_DISK;
    *ret_id = g_strdup_printf("disk%u", disks - 1);
    return gh_daemon_machine_save(m, changed, err);
}

static void looked_into(json_t *list, const struct gh_error *failed, void *opaque)
{
    struct adding *a = opaque;
    struct gh_daemon_machine *m = gh_registry_find(a->d, a->uuid);
    g_autofree char *id = NULL;
    struct gh_error err = { 0 };
    json_t *e, *found = NULL;
    size_t i;

    json_array_foreach(list, i, e)
        if (!g_strcmp0(json_string_value(json_object_get(e, "path")), a->path))
            found = e;
    if (!failed && !m)
        gh_error_set(&err, -ENOENT, "MachineUnknown", "The machine was deleted meanwhile.");
    else if (!failed && !needs_off(m, &err))
        add(a, m, found, &id, &err);
    if (failed || gh_error_is_set(&err))
        gh_return_error(a->inv, failed ? failed : &err);
    else
        g_dbus_method_invocation_return_value(a->inv, g_variant_new("(s)", id));
    g_variant_unref(a->settings);
    g_free(a->uuid);
    g_free(a->path);
    g_free(a);
}

static gboolean on_add(GhEngine1Machine *iface, GDBusMethodInvocation *inv, const char *path, GVariant *settings, gpointer data)
{
    struct gh_daemon_machine *m = data;
    struct gh_error err = { 0 };

    if (gh_paths_check(path, &err) || needs_off(m, &err))
        return gh_refuse_change(inv, NULL, &err);
    g_autofree char *absolute = g_canonicalize_filename(path, NULL), *real = realpath(absolute, NULL);
    struct adding *a = g_new0(struct adding, 1);
    *a = (struct adding){ m->daemon, g_strdup(m->definition->uuid), g_strdup(real ? real : absolute), g_variant_ref(settings), inv };
    gh_media_gather(m->daemon, a->path, looked_into, a);
    return TRUE;
}

void gh_disk_connect(struct gh_daemon_machine *m)
{
    g_signal_connect(m->iface, "handle-add-disk", G_CALLBACK(on_add), m);
    g_signal_connect(m->iface, "handle-change-disk", G_CALLBACK(on_change), m);
    g_signal_connect(m->iface, "handle-remove-disk", G_CALLBACK(on_remove), m);
}
