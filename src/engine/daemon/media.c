/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What can be done with one disk. Each action looks at everything first: a disk in use, or one that
 * others build on, is refused by name. Content is changed by gasthaus-image alone, into new files that
 * take the old one's place when they are complete.
 */
#include <errno.h>
#include <glib/gstdio.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "disk/disk.h"
#include "engine/daemon/job.h"
#include "engine/daemon/media.h"

struct action {
    struct gh_daemon *d;
    struct gh_job *job;
    const struct verb *verb;
    char *path, *target, *format, *to, *variant, *bus, *machine;
    char **parts;                      /* files that belong to path; may be NULL */
    unsigned moved;                    /* of them */
    guint64 bytes, before;
    gboolean repair, shrink, replace;
};
struct verb {
    const char *name;
    gboolean running_ok, parent_ok, child_ok, changes;   /* may be in use by a running machine; may have children; a parent */
    void (*run)(struct action *a, json_t *medium);
};

static void free_action(struct action *a)
{
    g_free(a->path);
    g_free(a->target);
    g_free(a->format);
    g_free(a->to);
    g_free(a->variant);
    g_free(a->bus);
    g_free(a->machine);
    g_strfreev(a->parts);
    g_free(a);
}

static void end(struct action *a, const struct gh_error *err, const char *result)
{
    gh_job_end(a->job, err, result);
    free_action(a);
}

static guint64 host_bytes(const char *path)
{
    struct stat st;

    return stat(path, &st) < 0 ? 0 : (guint64)st.st_blocks * 512;
}

/* ---- Definitions that name a medium ------------------------------------------------------------------------ */
/* target NULL: let go of it. Only machines that are off come here. */
static int change_users(struct gh_daemon *d, const char *path, const char *target, const char *format, struct gh_error *err)
{
    GHashTableIter iter;
    gpointer value;
    int r = 0;

    g_hash_table_iter_init(&iter, d->machines);
    while (!r && g_hash_table_iter_next(&iter, NULL, &value)) {
        struct gh_daemon_machine *m = value;
        struct gh_definition *changed = m->definition ? gh_definition_copy(m->definition) : NULL;
        gboolean any = FALSE;
        for (unsigned i = 0; changed && i < changed->medium_count; i++) {
            struct gh_medium *medium = &changed->medium[i];
            g_autofree char *own = gh_daemon_machine_medium_path(m, medium), *real = own ? realpath(own, NULL) : NULL;
            if (!own || strcmp(real ? real : own, path))
                continue;
            any = TRUE;
            free(medium->file);
            g_autofree char *folder = target ? g_path_get_dirname(target) : NULL, *leaf = target ? g_path_get_basename(target) : NULL;
            medium->file = target ? strdup(!strcmp(folder, m->folder) ? leaf : target) : NULL;
            if (target && format)
                g_strlcpy(medium->format, format, sizeof medium->format);
            if (!target && medium->kind == GH_MEDIUM_DISK) { /* a disk drive without a disk is none */
                memmove(medium, medium + 1, (--changed->medium_count - i) * sizeof *medium);
                i--;
            }
        }
        if (any)
            r = gh_daemon_machine_save(m, changed, err);
        else
            gh_definition_free(changed);
    }
    return r;
}

/* ---- The actions ---------------------------------------------------------------------------------------------- */
static void check_done(const struct gh_error *err, const char *output, void *opaque) { end(opaque, err, err ? NULL : output); }

static void run_check(struct action *a, json_t *medium)
{
    const char *const args[] = { "check", a->path, "--from", a->format, a->repair ? "--repair" : NULL, NULL };

    gh_job_run(a->job, args, NULL, check_done, a);
}

static json_t *find(json_t *list, const char *path);

static void end_sizes(struct action *a, const struct gh_error *err, guint64 after)
{
    g_autofree char *result = g_strdup_printf("{\"before\": %" G_GUINT64_FORMAT ", \"after\": %" G_GUINT64_FORMAT "}", a->before, after);

    end(a, err, result);
}

/* Extents may have other names than before. */
static void sizes_known(json_t *list, const struct gh_error *err, void *opaque)
{
    struct action *a = opaque;
    json_t *m = err ? NULL : find(list, a->path);

    end_sizes(a, NULL, m ? (guint64)json_integer_value(json_object_get(m, "host_bytes")) : host_bytes(a->path));
}

static void size_done(const struct gh_error *err, const char *output, void *opaque)
{
    struct action *a = opaque;

    if (a->parts && !err)
        gh_media_gather(a->d, a->path, sizes_known, a);
    else
        end_sizes(a, err, host_bytes(a->path));
}

static void run_compact(struct action *a, json_t *medium)
{
    const char *const args[] = { "compact", a->path, "--from", a->format, NULL };

    a->before = (guint64)json_integer_value(json_object_get(medium, "host_bytes"));
    gh_job_run(a->job, args, NULL, size_done, a);
}

static void run_resize(struct action *a, json_t *medium)
{
    g_autofree char *size = g_strdup_printf("%" G_GUINT64_FORMAT, a->bytes);
    const char *const args[] = { "resize", a->path, size, "--from", a->format, a->shrink ? "--shrink" : NULL, NULL };

    a->before = (guint64)json_integer_value(json_object_get(medium, "host_bytes"));
    gh_job_run(a->job, args, NULL, size_done, a);
}

static void convert_done(const struct gh_error *failed, const char *output, void *opaque)
{
    struct action *a = opaque;
    struct gh_error err = { 0 };

    if (!failed && a->replace) {
        /* The machines first, then the old file: at no moment is a disk named that is not there. */
        if (change_users(a->d, a->path, a->target, a->to, &err) < 0 || gh_trash_put(a->path, a->parts, &err) < 0)
            failed = &err;
    }
    json_t *j = json_pack("{s:s}", "path", a->target);
    char *result = json_dumps(j, 0);
    end(a, failed, result);
    free(result);
    json_decref(j);
}

static void run_convert(struct action *a, json_t *medium)
{
    if (!a->target) {
        g_autofree char *stem = g_strdup(a->path);
        char *dot = strrchr(stem, '.'), *slash = strrchr(stem, '/');
        if (dot && dot > slash + 1)
            *dot = 0;
        a->target = g_strdup_printf("%s.%s", stem, a->to);
    }
    const char *const args[] = { "convert", a->path, a->target, "--from", a->format, "--to", a->to, NULL };
    gh_job_run(a->job, args, NULL, convert_done, a);
}

static char *place_of_part(struct action *a, const char *part)
{
    g_autofree char *folder = g_path_get_dirname(a->target), *leaf = g_path_get_basename(part);

    return g_build_filename(folder, leaf, NULL);
}

/* The extents keep their names, by which their descriptor, which comes last, refers to them. What was moved goes back when one fails. */
static void move_next(struct action *a);
static void moved(GObject *source, GAsyncResult *result, gpointer data)
{
    struct action *a = data;
    struct gh_error err = { 0 };
    g_autoptr(GError) error = NULL;

    if (!g_file_move_finish(G_FILE(source), result, &error)) {
        g_autofree char *which = g_file_get_path(G_FILE(source));
        gh_error_set(&err, -EIO, "MoveFailed", "“%s” cannot be moved: %s.", which, error->message);
        while (a->moved) {
            g_autofree char *there = place_of_part(a, a->parts[--a->moved]);
            g_autoptr(GFile) from = g_file_new_for_path(there), to = g_file_new_for_path(a->parts[a->moved]);
            g_file_move(from, to, G_FILE_COPY_NOFOLLOW_SYMLINKS, NULL, NULL, NULL, NULL);
        }
    } else if (a->parts && a->parts[a->moved]) {
        a->moved++;
        move_next(a);
        return;
    } else {
        change_users(a->d, a->path, a->target, NULL, &err);
    }
    end(a, gh_error_is_set(&err) ? &err : NULL, NULL);
}

static void run_move(struct action *a, json_t *medium)
{
    if (g_file_test(a->target, G_FILE_TEST_IS_DIR)) {
        g_autofree char *leaf = g_path_get_basename(a->path), *folder = g_steal_pointer(&a->target);
        a->target = g_build_filename(folder, leaf, NULL);
    }
    g_autofree char *old = g_path_get_dirname(a->path), *new = g_path_get_dirname(a->target);
    if (!strcmp(old, new))
        a->moved = a->parts ? g_strv_length(a->parts) : 0; /* only the descriptor gets another name */
    move_next(a);
}

static void move_next(struct action *a)
{
    gboolean part = a->parts && a->parts[a->moved];
    g_autofree char *place = part ? place_of_part(a, a->parts[a->moved]) : g_strdup(a->target);
    g_autoptr(GFile) from = g_file_new_for_path(part ? a->parts[a->moved] : a->path), to = g_file_new_for_path(place);

    g_file_move_async(from, to, G_FILE_COPY_NOFOLLOW_SYMLINKS, G_PRIORITY_DEFAULT, NULL, NULL, NULL, moved, a);
}

static void run_accept_parent(struct action *a, json_t *medium)
{
    const char *const args[] = { "rebase", a->path, "--from", a->format, "--accept-parent", NULL };

    gh_job_run(a->job, args, NULL, check_done, a);
}

static void run_release(struct action *a, json_t *medium)
{
    struct gh_error err = { 0 };

    int r = change_users(a->d, a->path, NULL, NULL, &err);
    end(a, r ? &err : NULL, NULL);
}

static void run_delete(struct action *a, json_t *medium)
{
    struct gh_error err = { 0 };
    json_t *users = json_object_get(medium, "users");

    if (json_array_size(users))
        gh_error_set(&err, -EBUSY, "MediumInUse", "“%s” is used by the machine “%s”; release it first.", a->path,
                     json_string_value(json_object_get(json_array_get(users, 0), "name")));
    else
        gh_trash_put(a->path, a->parts, &err);
    end(a, gh_error_is_set(&err) ? &err : NULL, NULL);
}

/* The new place was looked into by the same survey. */
static void run_relink(struct action *a, json_t *medium)
{
    struct gh_error err = { 0 };

    int r = change_users(a->d, a->path, a->target, a->to, &err);
    end(a, r ? &err : NULL, NULL);
}

/* ---- A new disk -------------------------------------------------------------------------------------------------- */
static struct gh_daemon_machine *machine_of(struct action *a, struct gh_error *err)
{
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, a->d->machines);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        struct gh_daemon_machine *m = value;
        if (!m->definition || (strcmp(m->definition->uuid, a->machine) && strcmp(m->definition->name, a->machine)))
            continue;
        if (!m->instance)
            return m;
        gh_error_set(err, -EBUSY, "MachineRunning", "“%s” is running; stop it before it gets another disk.", m->definition->name);
        return NULL;
    }
    gh_error_option(err, -ENOENT, "MachineUnknown", "machine", "There is no machine “%s”.", a->machine);
    return NULL;
}

/* Into its definition, as the last disk. */
static int attach(struct action *a, gboolean save, struct gh_error *err)
{
    struct gh_daemon_machine *m = machine_of(a, err);
    struct gh_definition *changed = m ? gh_definition_copy(m->definition) : NULL;

    if (!changed)
        return err->code;
    g_autofree char *folder = g_path_get_dirname(a->path), *leaf = g_path_get_basename(a->path);
    int r = gh_definition_add_medium(changed, GH_MEDIUM_DISK, a->bus, a->to, !strcmp(folder, m->folder) ? leaf : a->path, err);
    if (!r)
        r = gh_definition_check(changed, err);
    if (!r && save)
        return gh_daemon_machine_save(m, changed, err);
    gh_definition_free(changed);
    return r;
}

static void created(const struct gh_error *failed, const char *output, void *opaque)
{
    struct action *a = opaque;
    struct gh_error err = { 0 };

    if (!failed && a->machine && attach(a, TRUE, &err) < 0) {
        g_unlink(a->path); /* it was made for that machine */
        failed = &err;
    }
    json_t *j = json_pack("{s:s}", "path", a->path);
    char *result = json_dumps(j, 0);
    end(a, failed, failed ? NULL : result);
    free(result);
    json_decref(j);
}

/* Everything that can be known is known before the file is made. */
static int create(struct action *a, struct gh_error *err)
{
    g_autofree char *folder = g_path_get_dirname(a->path), *own = gh_media_folder(a->d);

    if (a->bytes < 1 << 20 || a->bytes > GH_IMAGE_MAX_BYTES)
        return gh_error_option(err, -ERANGE, "DiskSizeOutOfRange", "bytes", "A disk of %llu MiB is not possible; choose between 1 MiB and 64 TiB.",
                               (unsigned long long)(a->bytes >> 20));
    if (a->machine && attach(a, FALSE, err) < 0)
        return err->code;
    if (!strcmp(folder, own))
        g_mkdir_with_parents(own, 0755);
    return 0;
}

static void run_create(struct action *a)
{
    g_autofree char *size = g_strdup_printf("%" G_GUINT64_FORMAT, a->bytes);
    const char *const args[] = { "create", a->path, size, "--to", a->to, a->variant && a->variant[0] ? "--variant" : NULL, a->variant, NULL };

    gh_job_run(a->job, args, NULL, created, a);
}

static const struct verb create_verb = { "create", FALSE, FALSE, FALSE, FALSE, NULL };
static const struct verb verbs[] = {
    { "check", FALSE, TRUE, TRUE, FALSE, run_check }, { "compact", FALSE, FALSE, FALSE, TRUE, run_compact }, { "resize", FALSE, FALSE, TRUE, TRUE, run_resize },
    { "convert", FALSE, TRUE, TRUE, FALSE, run_convert }, { "move", FALSE, FALSE, FALSE, TRUE, run_move }, { "release", FALSE, TRUE, TRUE, FALSE, run_release },
    { "delete", FALSE, FALSE, TRUE, TRUE, run_delete }, { "relink", FALSE, TRUE, TRUE, FALSE, run_relink },
    { "accept-parent", FALSE, TRUE, TRUE, TRUE, run_accept_parent },
};

static json_t *find(json_t *list, const char *path)
{
    json_t *m;
    size_t i;

    json_array_foreach(list, i, m)
        if (!g_strcmp0(json_string_value(json_object_get(m, "path")), path))
            return m;
    return NULL;
}

static int permitted(struct action *a, json_t *list, json_t *m, struct gh_error *err)
{
    json_t *user;
    size_t i;
    gboolean relink = !strcmp(a->verb->name, "relink"), release = !strcmp(a->verb->name, "release");

    if (!m)
        return gh_error_set(err, -ENOENT, "MediumUnknown", "“%s” is neither a medium of a machine nor a disk in a machine's folder.", a->path);
    if (!relink && !release && !json_is_true(json_object_get(m, "present")))
        return gh_error_set(err, -ENOENT, "FileNotFound", "There is no file “%s”. Restore it or choose its new place.", a->path);
    if ((relink || release) && !json_array_size(json_object_get(m, "users")))
        return gh_error_set(err, -ENOENT, "MediumNotUsed", "“%s” is used by no machine.", a->path);
    json_array_foreach(json_object_get(m, "users"), i, user)
        if (json_is_true(json_object_get(user, "running")))
            return gh_error_set(err, -EBUSY, "MachineRunning", "“%s” is in use by the running machine “%s”; stop that first.", a->path,
                                json_string_value(json_object_get(user, "name")));
    json_t *children = json_object_get(m, "parent_of");
    if (json_array_size(children) && (!a->verb->parent_ok || a->replace))
        return gh_error_set(err, -EBUSY, "DiskHasChildren", "The disk “%s” builds on “%s”, which must stay as it is.",
                            json_string_value(json_array_get(children, 0)), a->path);
    if (!a->verb->child_ok && json_is_true(json_object_get(m, "needs_parent")))
        return gh_error_set(err, -EBUSY, "DiskHasSnapshots", "“%s” belongs to a tree of snapshots and cannot be changed alone.", a->path);
    if (strcmp(json_string_value(json_object_get(m, "kind")), "disk") && strcmp(a->verb->name, "move") && !relink && !release && strcmp(a->verb->name, "delete"))
        return gh_error_set(err, -EINVAL, "MediumIsNoDisk", "“%s” is not a disk.", a->path);
    if (relink) {
        json_t *now = find(list, a->target);
        if (!now || !json_is_true(json_object_get(now, "present")))
            return gh_error_set(err, -ENOENT, "FileNotFound", "There is no file “%s”. Restore it or choose its new place.", a->target);
        const char *format = json_string_value(json_object_get(now, "format"));
        json_int_t size = json_integer_value(json_object_get(now, "file_bytes"));
        if (!strcmp(json_string_value(json_object_get(m, "kind")), "disk") && (!format || !strcmp(format, "raw")) && (size < 512 || size % 512))
            return gh_error_set(err, -EINVAL, "MediumIsNoDisk", "“%s” is not a disk.", a->target);
        a->to = !strcmp(json_string_value(json_object_get(m, "kind")), "disk") && format && format[0] ? g_strdup(format) : NULL;
    }
    return 0;
}

static void ready(json_t *list, const struct gh_error *failed, void *opaque)
{
    struct action *a = opaque;
    struct gh_error err = { 0 };
    json_t *m = failed ? NULL : find(list, a->path);

    if (failed || permitted(a, list, m, &err) < 0) {
        end(a, failed ? failed : &err, NULL);
        return;
    }
    const char *user = json_string_value(json_object_get(json_array_get(json_object_get(m, "users"), 0), "uuid"));
    struct gh_daemon_machine *owner = user ? g_hash_table_lookup(a->d->machines, user) : NULL;
    if (owner) /* its row shows how far we are */
        gh_job_set_machine(a->job, owner);
    const char *format = json_string_value(json_object_get(m, "format"));
    a->format = g_strdup(format && format[0] ? format : "raw");
    json_t *parts = json_object_get(m, "parts"), *part;
    size_t n;
    a->parts = json_array_size(parts) ? g_new0(char *, json_array_size(parts) + 1) : NULL;
    json_array_foreach(parts, n, part)
        a->parts[n] = g_strdup(json_string_value(part));
    a->verb->run(a, m);
}

static char *real_or_as_given(const char *path)
{
    g_autofree char *absolute = g_canonicalize_filename(path, NULL);
    char *real = realpath(absolute, NULL);

    return real ? real : g_steal_pointer(&absolute);
}

/* What a file is called says what it shall be. */
static const char *format_of_name(const char *path)
{
    static const struct { const char *ending, *format; } names[] = {
        { ".vdi", "vdi" }, { ".vmdk", "vmdk" }, { ".vhd", "vhd" }, { ".vhdx", "vhdx" }, { ".raw", "raw" }, { ".img", "raw" },
    };
    g_autofree char *lower = g_ascii_strdown(path, -1);

    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++)
        if (g_str_has_suffix(lower, names[i].ending))
            return names[i].format;
    return "qcow2";
}

int gh_media_action(struct gh_daemon *d, const char *name, const char *path, GVariant *options, const char **ret_job, struct gh_error *err)
{
    const struct verb *verb = !strcmp(name, "create") ? &create_verb : NULL;
    const char *target = NULL, *to = NULL, *variant = NULL, *bus = "ahci", *machine = NULL;
    struct action *a;

    for (unsigned i = 0; i < G_N_ELEMENTS(verbs); i++)
        if (!strcmp(verbs[i].name, name))
            verb = &verbs[i];
    int checked = gh_paths_check(path, err);
    if (checked < 0)
        return checked;
    if (!strcmp(name, "restore")) {
        int r = gh_trash_restore(path, err);
        if (r < 0)
            return r;
        struct gh_job *job = gh_job_new(d, path, NULL);
        *ret_job = gh_job_path(job);
        gh_job_end(job, NULL, NULL);
        return 0;
    }
    if (!verb)
        return gh_error_set(err, -EINVAL, "MediaActionUnknown", "“%s” is nothing that can be done with a medium.", name);
    g_variant_lookup(options, "target", "&s", &target);
    g_variant_lookup(options, "to", "&s", &to);
    g_variant_lookup(options, "variant", "&s", &variant);
    g_variant_lookup(options, "bus", "&s", &bus);
    g_variant_lookup(options, "machine", "&s", &machine);
    if (!target && (!strcmp(name, "move") || !strcmp(name, "relink")))
        return gh_error_option(err, -EINVAL, "SettingInvalid", "target", "“%s” needs the new place.", name);
    if (!to && !strcmp(name, "convert"))
        return gh_error_option(err, -EINVAL, "SettingInvalid", "to", "“convert” needs the new format.");
    a = g_new0(struct action, 1);
    a->d = d;
    a->verb = verb;
    a->path = real_or_as_given(path);
    a->target = target ? real_or_as_given(target) : NULL;
    a->to = g_strdup(verb == &create_verb && !to ? format_of_name(path) : to);
    a->variant = g_strdup(variant);
    a->bus = g_strdup(bus);
    a->machine = machine && machine[0] ? g_strdup(machine) : NULL;
    g_variant_lookup(options, "bytes", "t", &a->bytes);
    g_variant_lookup(options, "repair", "b", &a->repair);
    g_variant_lookup(options, "shrink", "b", &a->shrink);
    g_variant_lookup(options, "replace", "b", &a->replace);
    if (verb == &create_verb && create(a, err) < 0) {
        free_action(a);
        return err->code;
    }
    g_autofree char *leaf = g_path_get_basename(path);
    a->job = gh_job_new(d, leaf, NULL);
    *ret_job = gh_job_path(a->job);
    if (verb == &create_verb) {
        run_create(a);
        return 0;
    }
    gh_media_gather(d, !strcmp(name, "relink") ? a->target : NULL, ready, a);
    return 0;
}

/* ---- The list ------------------------------------------------------------------------------------------------- */
static void listed(json_t *list, const struct gh_error *err, void *opaque)
{
    GDBusMethodInvocation *inv = opaque;

    if (err) {
        gh_return_error(inv, err);
        return;
    }
    char *text = json_dumps(list, 0);
    g_dbus_method_invocation_return_value(inv, g_variant_new("(s)", text));
    free(text);
}

void gh_media_list(struct gh_daemon *d, GDBusMethodInvocation *inv) { gh_media_gather(d, NULL, listed, inv); }
