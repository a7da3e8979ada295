/* SPDX-License-Identifier: GPL-3.0-or-later */
/* org.gasthaus.Engine1.Machine: one object per machine. */
#include <errno.h>
#include <fcntl.h>
#include <gio/gunixfdlist.h>
#include <glib/gstdio.h>
#include <jansson.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/daemon/daemon.h"

char *gh_daemon_machine_medium_path(const struct gh_daemon_machine *m, const struct gh_medium *medium)
{
    if (!medium->file)
        return NULL;
    return medium->file[0] == '/' ? g_strdup(medium->file) : g_build_filename(m->folder, medium->file, NULL);
}

static GVariant *describe_disks(struct gh_daemon_machine *m)
{
    static const char *const kinds[] = { "disk", "cdrom", "floppy" };
    GVariantBuilder list;
    unsigned count[3] = { 0 };

    g_variant_builder_init(&list, G_VARIANT_TYPE("aa{sv}"));
    for (unsigned i = 0; i < m->definition->medium_count; i++) {
        const struct gh_medium *medium = &m->definition->medium[i];
        g_autofree char *path = gh_daemon_machine_medium_path(m, medium);
        g_autofree char *id = g_strdup_printf("%s%u", kinds[medium->kind], count[medium->kind]++);
        struct stat st = { 0 };
        gboolean present = path && stat(path, &st) == 0;
        GVariantDict d;
        g_variant_dict_init(&d, NULL);
        g_variant_dict_insert(&d, "id", "s", id);
        g_variant_dict_insert(&d, "kind", "s", kinds[medium->kind]);
        g_variant_dict_insert(&d, "bus", "s", medium->bus);
        g_variant_dict_insert(&d, "format", "s", medium->format);
        g_variant_dict_insert(&d, "file", "s", path ? path : "");
        g_variant_dict_insert(&d, "present", "b", present);
        g_variant_dict_insert(&d, "host-bytes", "t", (guint64)st.st_blocks * 512);
        if (medium->kind == GH_MEDIUM_DISK)
            gh_disk_describe(medium, &d);
        g_variant_builder_add_value(&list, g_variant_dict_end(&d));
    }
    return g_variant_builder_end(&list);
}

void gh_daemon_machine_refresh(struct gh_daemon_machine *m)
{
    const struct gh_definition *d = m->definition;
    g_autofree char *os_name = gh_osinfo_name(d->os_id);

    g_object_freeze_notify(G_OBJECT(m->iface));
    gh_engine1_machine_set_uuid(m->iface, d->uuid);
    gh_engine1_machine_set_name(m->iface, d->name);
    gh_engine1_machine_set_description(m->iface, d->description ? d->description : "");
    gh_engine1_machine_set_os_id(m->iface, d->os_id);
    gh_engine1_machine_set_os_name(m->iface, os_name ? os_name : "");
    gh_engine1_machine_set_folder(m->iface, m->folder);
    gh_engine1_machine_set_revision(m->iface, d->revision);
    gh_engine1_machine_set_memory_bytes(m->iface, d->memory_bytes);
    gh_engine1_machine_set_cpus(m->iface, d->cpus);
    gh_engine1_machine_set_accelerator(m->iface, d->accelerator);
    gh_engine1_machine_set_cpu_model(m->iface, d->cpu_model);
    gh_engine1_machine_set_firmware(m->iface, d->firmware);
    gh_engine1_machine_set_boot_order(m->iface, d->boot_order);
    gh_engine1_machine_set_clock_base(m->iface, d->clock_base);
    gh_engine1_machine_set_created(m->iface, d->created);
    gh_engine1_machine_set_last_started(m->iface, d->last_started);
    gh_engine1_machine_set_disks(m->iface, describe_disks(m));
    gh_engine1_machine_set_networks(m->iface, gh_network_describe(m));
    gh_engine1_machine_set_state(m->iface, gh_instance_state(m));
    if (m->instance) {
        gh_instance_describe(m);
    } else {
        gh_engine1_machine_set_running_on(m->iface, "");
        gh_engine1_machine_set_running_why(m->iface, "");
        gh_engine1_machine_set_pid(m->iface, 0);
        gh_engine1_machine_set_screen_width(m->iface, 0);
        gh_engine1_machine_set_screen_height(m->iface, 0);
    }
    g_object_thaw_notify(G_OBJECT(m->iface));
    g_dbus_interface_skeleton_flush(G_DBUS_INTERFACE_SKELETON(m->iface));
}

void gh_daemon_machine_error(struct gh_daemon_machine *m, const struct gh_error *err)
{
    gh_engine1_machine_set_error_id(m->iface, err ? err->id : "");
    gh_engine1_machine_set_error_text(m->iface, err ? err->text : "");
    gh_engine1_machine_set_error_message(m->iface, gh_error_parts(err));
    g_dbus_interface_skeleton_flush(G_DBUS_INTERFACE_SKELETON(m->iface));
}

/* ---- Methods -------------------------------------------------------------------------------- */
static gboolean refuse(GDBusMethodInvocation *inv, const char *id, const char *text)
{
    struct gh_error err = { 0 };

    gh_error_set(&err, -EINVAL, id, "%s", text);
    gh_return_error(inv, &err);
    return TRUE;
}

static gboolean must_run(struct gh_daemon_machine *m, GDBusMethodInvocation *inv)
{
    struct gh_error err = { 0 };

    if (m->instance)
        return TRUE;
    gh_error_set(&err, -EINVAL, "MachineOff", "“%s” is not running; start it first.", m->definition->name);
    gh_return_error(inv, &err);
    return FALSE;
}

static int check_media_free(struct gh_daemon_machine *m, struct gh_error *err)
{
    for (unsigned i = 0; i < m->definition->medium_count; i++) {
        const struct gh_medium *medium = &m->definition->medium[i];
        g_autofree char *path = gh_daemon_machine_medium_path(m, medium);
        if (!path)
            continue;
        if (access(path, R_OK) < 0)
            return gh_error_option(err, -errno, "MediumMissing", "disk", "“%s” of “%s” cannot be opened: %s. Find or remove it in the machine's settings.",
                                   path, m->definition->name, strerror(errno));
        int r = gh_disk_check_sharing(m, medium, TRUE, err);
        if (r)
            return r;
    }
    return 0;
}

static gboolean on_start(GhEngine1Machine *iface, GDBusMethodInvocation *inv, GVariant *options, gpointer data)
{
    struct gh_daemon_machine *m = data;
    struct gh_error err = { 0 };
    gboolean paused = FALSE;

    if (m->instance)
        return refuse(inv, "MachineRunning", "The machine is running already.");
    g_variant_lookup(options, "paused", "b", &paused);
    gh_daemon_machine_error(m, NULL);
    if (check_media_free(m, &err) < 0 || gh_instance_start(m, paused, &err) < 0) {
        gh_daemon_machine_error(m, &err);
        gh_return_error(inv, &err);
    } else {
        m->definition->last_started = g_get_real_time() / G_USEC_PER_SEC;
        gh_store_save(m->folder, m->definition, NULL);
        gh_daemon_machine_refresh(m);
        gh_engine1_machine_complete_start(iface, inv);
    }
    return TRUE;
}

/* The verbs that answer with nothing. */
static void verb_done(struct gh_daemon_machine *m, const struct gh_error *err, void *reply, int fd, void *opaque)
{
    GDBusMethodInvocation *inv = opaque;

    if (fd >= 0)
        close(fd);
    if (err)
        gh_return_error(inv, err);
    else
        g_dbus_method_invocation_return_value(inv, NULL);
}

/* Answers only after the new state is known here, so that the next look at it is true. */
static void state_known(struct gh_daemon_machine *m, const struct gh_error *err, void *reply, int fd, void *opaque)
{
    if (!err)
        gh_instance_take_status(m, reply);
    g_dbus_method_invocation_return_value(opaque, NULL);
}

static void verb_accepted(struct gh_daemon_machine *m, const struct gh_error *err, void *reply, int fd, void *opaque)
{
    if (err || !m->instance)
        verb_done(m, err, reply, fd, opaque);
    else
        gh_instance_call(m, "status", NULL, -1, state_known, opaque);
}

/* A machine that ends before its answer got through has done what it was asked for. */
static void plug_pulled(struct gh_daemon_machine *m, const struct gh_error *err, void *reply, int fd, void *opaque)
{ verb_done(m, err && !strcmp(err->id, "MachineGone") ? NULL : err, reply, fd, opaque); }

static gboolean simple_verb(struct gh_daemon_machine *m, GDBusMethodInvocation *inv, const char *verb, gh_instance_reply done)
{
    if (must_run(m, inv))
        gh_instance_call(m, verb, NULL, -1, done, inv);
    return TRUE;
}

static gboolean on_pause(GhEngine1Machine *i, GDBusMethodInvocation *inv, gpointer m) { return simple_verb(m, inv, "pause", verb_accepted); }
static gboolean on_resume(GhEngine1Machine *i, GDBusMethodInvocation *inv, gpointer m) { return simple_verb(m, inv, "resume", verb_accepted); }
static gboolean on_reset(GhEngine1Machine *i, GDBusMethodInvocation *inv, gpointer m) { return simple_verb(m, inv, "reset", verb_done); }
static gboolean on_button(GhEngine1Machine *i, GDBusMethodInvocation *inv, gpointer m) { return simple_verb(m, inv, "power-button", verb_done); }
static gboolean on_stop(GhEngine1Machine *i, GDBusMethodInvocation *inv, gpointer m) { return simple_verb(m, inv, "power-off", plug_pulled); }

static gboolean on_send_keys(GhEngine1Machine *iface, GDBusMethodInvocation *inv, const char *const *keys, gpointer data)
{
    json_t *list = json_array();

    if (!must_run(data, inv)) {
        json_decref(list);
        return TRUE;
    }
    for (; *keys; keys++)
        json_array_append_new(list, json_string(*keys));
    gh_instance_call(data, "send-keys", json_pack("{s:o}", "keys", list), -1, verb_done, inv);
    return TRUE;
}

static gboolean on_type_text(GhEngine1Machine *iface, GDBusMethodInvocation *inv, const char *text, gpointer data)
{
    if (must_run(data, inv))
        gh_instance_call(data, "send-keys", json_pack("{s:s}", "text", text), -1, verb_done, inv);
    return TRUE;
}

/* ---- Pictures: the machine writes a PNG into a memfd of ours ------------------------------------ */
struct picture { GDBusMethodInvocation *inv; int fd; gboolean as_bytes; };

static void picture_done(struct gh_daemon_machine *m, const struct gh_error *err, void *reply, int fd, void *opaque)
{
    struct picture *p = opaque;

    if (fd >= 0)
        close(fd);
    if (err) {
        gh_return_error(p->inv, err);
    } else if (p->as_bytes) {
        struct stat st;
        g_autofree char *data = fstat(p->fd, &st) == 0 ? g_malloc((gsize)st.st_size + 1) : NULL;
        gssize n = data ? pread(p->fd, data, (gsize)st.st_size, 0) : -1;
        GVariant *bytes = g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, data, n > 0 ? (gsize)n : 0, 1);
        g_dbus_method_invocation_return_value(p->inv, g_variant_new("(@ay)", bytes));
    } else {
        g_autoptr(GUnixFDList) list = g_unix_fd_list_new();
        lseek(p->fd, 0, SEEK_SET);
        g_unix_fd_list_append(list, p->fd, NULL);
        g_dbus_method_invocation_return_value_with_unix_fd_list(p->inv, g_variant_new("(h)", 0), list);
    }
    close(p->fd);
    g_free(p);
}

static gboolean take_picture(struct gh_daemon_machine *m, GDBusMethodInvocation *inv, unsigned max_width, gboolean as_bytes)
{
    int fd;

    if (!must_run(m, inv))
        return TRUE;
    fd = memfd_create("screenshot", MFD_CLOEXEC);
    if (fd < 0)
        return refuse(inv, "NoMemory", "The host has no memory left for a picture.");
    struct picture *p = g_new0(struct picture, 1);
    *p = (struct picture){ inv, fd, as_bytes };
    gh_instance_call(m, "screenshot", max_width ? json_pack("{s:i}", "max-width", (int)max_width) : NULL, dup(fd), picture_done, p);
    return TRUE;
}

static gboolean on_screenshot(GhEngine1Machine *iface, GDBusMethodInvocation *inv, GUnixFDList *fds, gpointer data)
{ return take_picture(data, inv, 0, FALSE); }

static gboolean on_thumbnail(GhEngine1Machine *iface, GDBusMethodInvocation *inv, gpointer data)
{
    struct gh_daemon_machine *m = data;

    if (m->instance)
        return take_picture(m, inv, 320, TRUE);
    g_dbus_method_invocation_return_value(inv, g_variant_new("(@ay)", g_variant_new_array(G_VARIANT_TYPE_BYTE, NULL, 0)));
    return TRUE;
}

static gboolean open_socket(struct gh_daemon_machine *m, GDBusMethodInvocation *inv, const char *name)
{
    if (!must_run(m, inv))
        return TRUE;
    g_autofree char *path = gh_instance_socket(m, name);
    g_dbus_method_invocation_return_value(inv, g_variant_new("(s)", path));
    return TRUE;
}
static gboolean on_display(GhEngine1Machine *i, GDBusMethodInvocation *inv, gpointer m) { return open_socket(m, inv, "display"); }
static gboolean on_console(GhEngine1Machine *i, GDBusMethodInvocation *inv, gpointer m) { return open_socket(m, inv, "serial"); }

static void counters_done(struct gh_daemon_machine *m, const struct gh_error *err, void *reply, int fd, void *opaque)
{
    GDBusMethodInvocation *inv = opaque;
    GVariantBuilder b;
    const char *name;
    json_t *value;

    if (fd >= 0)
        close(fd);
    if (err) {
        gh_return_error(inv, err);
        return;
    }
    g_variant_builder_init(&b, G_VARIANT_TYPE("a{st}"));
    json_object_foreach(json_object_get(reply, "counters"), name, value)
        if (json_is_integer(value))
            g_variant_builder_add(&b, "{st}", name, (guint64)json_integer_value(value));
    g_dbus_method_invocation_return_value(inv, g_variant_new("(a{st})", &b));
}

static gboolean on_counters(GhEngine1Machine *iface, GDBusMethodInvocation *inv, gpointer data)
{
    if (must_run(data, inv))
        gh_instance_call(data, "query-counters", NULL, -1, counters_done, inv);
    return TRUE;
}

static gboolean on_log(GhEngine1Machine *iface, GDBusMethodInvocation *inv, gpointer data)
{
    struct gh_daemon_machine *m = data;
    g_autofree char *path = g_build_filename(m->folder, "logs", "machine.log", NULL);
    g_autofree char *text = NULL;
    gsize length = 0;

    g_file_get_contents(path, &text, &length, NULL);
    g_autofree char *valid = g_utf8_make_valid(text ? text : "", text ? (gssize)length : 0);
    gsize n = strlen(valid), keep = 256 * 1024;
    char *from = n > keep ? g_utf8_find_next_char(valid + n - keep, NULL) : valid;
    g_dbus_method_invocation_return_value(inv, g_variant_new("(s)", from));
    return TRUE;
}

/* ---- Changing and deleting ------------------------------------------------------------------------ */
int gh_daemon_machine_save(struct gh_daemon_machine *m, struct gh_definition *changed, struct gh_error *err)
{
    int r = gh_definition_check(changed, err);

    if (r == 0)
        r = gh_store_save(m->folder, changed, err);
    if (r) {
        gh_definition_free(changed);
        return r;
    }
    gh_definition_free(m->definition);
    m->definition = changed;
    gh_daemon_machine_refresh(m);
    return 0;
}

static gboolean on_change(GhEngine1Machine *iface, GDBusMethodInvocation *inv, guint64 expected, GVariant *settings, gpointer data)
{
    struct gh_daemon_machine *m = data;
    struct gh_error err = { 0 };

    if (expected && expected != m->definition->revision) {
        gh_error_set(&err, -EAGAIN, "RevisionConflict", "The settings of “%s” were changed meanwhile (revision %llu, not %llu); look at them again.",
                     m->definition->name, (unsigned long long)m->definition->revision, (unsigned long long)expected);
        gh_return_error(inv, &err);
        return TRUE;
    }
    struct gh_definition *changed = gh_definition_copy(m->definition);
    int r = gh_settings_apply(changed, settings, &err);
    if (r)
        gh_definition_free(changed);
    if (r < 0 || gh_daemon_machine_save(m, changed, &err) < 0)
        gh_return_error(inv, &err);
    else
        gh_engine1_machine_complete_change(iface, inv, m->definition->revision);
    return TRUE;
}

static gboolean on_set_medium(GhEngine1Machine *iface, GDBusMethodInvocation *inv, const char *drive, const char *path, gpointer data)
{
    struct gh_daemon_machine *m = data;
    struct gh_error err = { 0 };
    struct gh_definition *changed = gh_definition_copy(m->definition);
    struct gh_medium *medium = gh_definition_drive(changed, drive);
    int fd = -1;

    if (!medium || medium->kind == GH_MEDIUM_DISK) {
        gh_error_set(&err, -ENOENT, "DriveUnknown", "“%s” has no drive “%s” for media.", m->definition->name, drive);
    } else if (path[0] && (fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)) < 0) {
        gh_error_option(&err, -errno, errno == ENOENT ? "MediumMissing" : "MediumUnreadable", "media", "“%s” cannot be opened: %s.", path, strerror(errno));
    } else {
        free(medium->file);
        medium->file = path[0] ? strdup(path) : NULL;
        if (gh_daemon_machine_save(m, changed, &err) == 0) {
            if (m->instance) {
                gh_instance_call(m, path[0] ? "insert" : "eject", json_pack("{s:s}", "drive", drive), fd, verb_done, inv);
                return TRUE;
            }
            if (fd >= 0)
                close(fd);
            gh_engine1_machine_complete_set_medium(iface, inv);
            return TRUE;
        }
        changed = NULL;
    }
    if (fd >= 0)
        close(fd);
    gh_definition_free(changed);
    gh_return_error(inv, &err);
    return TRUE;
}

/* Only what belongs to a machine goes; foreign files in the folder stay, and then the folder too. */
static void delete_files(struct gh_daemon_machine *m)
{
    static const char *const own[] = { GH_DEFINITION_FILE, GH_DEFINITION_FILE ".prev", GH_DEFINITION_FILE ".damaged", "logs/machine.log", "logs/serial.log" };

    for (unsigned i = 0; i < m->definition->medium_count; i++) {
        const struct gh_medium *medium = &m->definition->medium[i];
        g_autofree char *path = gh_daemon_machine_medium_path(m, medium);
        if (path && medium->kind == GH_MEDIUM_DISK && medium->file[0] != '/')
            g_unlink(path);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(own); i++) {
        g_autofree char *path = g_build_filename(m->folder, own[i], NULL);
        g_unlink(path);
    }
    g_autofree char *logs = g_build_filename(m->folder, "logs", NULL);
    g_rmdir(logs);
    g_rmdir(m->folder);
}

static gboolean on_delete(GhEngine1Machine *iface, GDBusMethodInvocation *inv, gboolean with_files, gpointer data)
{
    struct gh_daemon_machine *m = data;

    if (m->instance)
        return refuse(inv, "MachineRunning", "A running machine cannot be deleted; stop it first.");
    if (with_files) {
        delete_files(m);
    } else { /* the folder stays, but is no longer found by scanning */
        g_autofree char *file = g_build_filename(m->folder, GH_DEFINITION_FILE, NULL);
        g_autofree char *aside = g_strconcat(file, ".removed", NULL);
        g_autofree char *previous = g_strconcat(file, ".prev", NULL);
        g_rename(file, aside);
        g_unlink(previous);
    }
    gh_engine1_machine_complete_delete(iface, inv);
    gh_registry_remove(m);
    return TRUE;
}

static gboolean on_export(GhEngine1Machine *iface, GDBusMethodInvocation *inv, const char *path, GVariant *options, gpointer data)
{
    struct gh_error err = { 0 };
    const char *job = NULL;

    if (gh_appliance_export(data, path, options, &job, &err) < 0)
        gh_return_error(inv, &err);
    else
        gh_engine1_machine_complete_export(iface, inv, job);
    return TRUE;
}

static gboolean on_clear_error(GhEngine1Machine *iface, GDBusMethodInvocation *inv, gpointer data)
{
    gh_daemon_machine_error(data, NULL);
    gh_engine1_machine_complete_clear_error(iface, inv);
    return TRUE;
}

struct gh_daemon_machine *gh_daemon_machine_new(struct gh_daemon *d, const char *folder, struct gh_definition *def)
{
    static const struct { const char *signal; GCallback handler; } methods[] = {
        { "handle-start", G_CALLBACK(on_start) }, { "handle-pause", G_CALLBACK(on_pause) },
        { "handle-resume", G_CALLBACK(on_resume) }, { "handle-reset", G_CALLBACK(on_reset) },
        { "handle-power-button", G_CALLBACK(on_button) }, { "handle-stop", G_CALLBACK(on_stop) },
        { "handle-delete", G_CALLBACK(on_delete) }, { "handle-change", G_CALLBACK(on_change) },
        { "handle-set-medium", G_CALLBACK(on_set_medium) }, { "handle-send-keys", G_CALLBACK(on_send_keys) },
        { "handle-type-text", G_CALLBACK(on_type_text) }, { "handle-screenshot", G_CALLBACK(on_screenshot) },
        { "handle-thumbnail", G_CALLBACK(on_thumbnail) }, { "handle-open-display", G_CALLBACK(on_display) },
        { "handle-open-console", G_CALLBACK(on_console) }, { "handle-counters", G_CALLBACK(on_counters) },
        { "handle-log", G_CALLBACK(on_log) }, { "handle-clear-error", G_CALLBACK(on_clear_error) },
        { "handle-export", G_CALLBACK(on_export) },
    };
    struct gh_daemon_machine *m = g_new0(struct gh_daemon_machine, 1);
    g_autofree char *id = g_strdelimit(g_strdup(def->uuid), "-", '_');
    g_autofree char *path = g_strconcat(GH_ENGINE_PATH "/machine/", id, NULL);

    m->daemon = d;
    m->folder = g_strdup(folder);
    m->definition = def;
    m->iface = gh_engine1_machine_skeleton_new();
    m->object = gh_object_skeleton_new(path);
    gh_object_skeleton_set_engine1_machine(m->object, m->iface);
    for (unsigned i = 0; i < G_N_ELEMENTS(methods); i++)
        g_signal_connect(m->iface, methods[i].signal, methods[i].handler, m);
    gh_network_connect(m);
    gh_disk_connect(m);
    gh_daemon_machine_error(m, NULL);
    return m;
}

void gh_daemon_machine_free(struct gh_daemon_machine *m)
{
    if (!m)
        return;
    gh_instance_free(m);
    g_object_unref(m->object);
    g_object_unref(m->iface);
    gh_definition_free(m->definition);
    g_clear_pointer(&m->thumbnail, g_bytes_unref);
    g_free(m->folder);
    g_free(m);
}
