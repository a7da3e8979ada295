/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Machines of other programs: the report, the import, the export. Foreign files are read by
 * gasthaus-image alone; here its answer is checked and becomes a definition. A machine is made in a
 * hidden folder that gets its name last.
 */
#include <errno.h>
#include <glib/gstdio.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "appliance/appliance.h"
#include "appliance/i18n.h"
#include "engine/daemon/job.h"

static guint64 space_there(const char *folder)
{
    struct statvfs v;

    return statvfs(folder, &v) < 0 ? 0 : (guint64)v.f_bavail * v.f_frsize;
}

/* What this computer lacks for it, which the sandboxed reader cannot know. */
static void look_around(struct gh_appliance *a)
{
    static const char text[] = "It needs UEFI firmware, which is missing here: it starts once the package ovmf is installed, or with the firmware bios "
                               "if its system can.";

    if (a->blocker || strcmp(a->firmware, "uefi") || gh_firmware_has_uefi())
        return;
    a->blocker = strdup(text);
    gh_appliance_note(a, GH_WARNING, "%s", text);
}

/* A second import of one machine, or a copy of one that is here: two with one address would disturb each other. */
static void look_at_addresses(struct gh_daemon *d, struct gh_appliance *a)
{
    for (unsigned i = 0; i < a->network_count; i++) {
        char *mac = a->networks[i].mac;
        const char *other = NULL;
        GHashTableIter iter;
        gpointer value;
        g_hash_table_iter_init(&iter, d->machines);
        while (mac[0] && !other && g_hash_table_iter_next(&iter, NULL, &value)) {
            const struct gh_definition *def = ((struct gh_daemon_machine *)value)->definition;
            for (unsigned k = 0; def && k < def->network_count; k++)
                if (!g_ascii_strcasecmp(def->network[k].mac, mac))
                    other = def->name;
        }
        for (unsigned k = 0; k < i && mac[0] && !other; k++)
            if (!g_ascii_strcasecmp(a->networks[k].mac, mac))
                other = a->name;
        if (!other)
            continue;
        gh_appliance_note(a, GH_CHANGED, _("The hardware address %s belongs to the machine “%.100s” here; a new one is made."), mac, other);
        mac[0] = 0;
    }
}

/* A disk that stays where it is may already be another machine's. */
static void look_at_disks(struct gh_daemon *d, struct gh_appliance *a)
{
    for (unsigned i = 0; a->in_place && i < a->media_count; i++) {
        const struct gh_appliance_medium *m = &a->media[i];
        GHashTableIter iter;
        gpointer value;
        g_hash_table_iter_init(&iter, d->machines);
        while (m->can_stay && m->path && g_hash_table_iter_next(&iter, NULL, &value)) {
            struct gh_daemon_machine *other = value;
            for (unsigned k = 0; other->definition && k < other->definition->medium_count; k++) {
                g_autofree char *path = gh_daemon_machine_medium_path(other, &other->definition->medium[k]);
                if (path && !strcmp(path, m->path))
                    gh_appliance_note(a, GH_WARNING, _("“%.200s” is used by the machine “%.100s” already; only one of the two can run at a time, and both write to it."),
                                      m->path, other->definition->name);
            }
        }
    }
}

/* ---- Report ------------------------------------------------------------------------------------------ */
/* At most five, after those that are always there. */
static void add_options(const char **args, const char *allow, const char *snapshot, gboolean in_place)
{
    if (in_place)
        *args++ = "--in-place";
    if (allow) {
        *args++ = "--allow";
        *args++ = allow;
    }
    if (snapshot) {
        *args++ = "--snapshot";
        *args++ = snapshot;
    }
}

struct inspection { struct gh_daemon *d; GDBusMethodInvocation *inv; };

static void inspected(const struct gh_error *failed, const char *output, void *opaque)
{
    struct inspection *i = opaque;
    struct gh_error err = { 0 };
    struct gh_appliance *a = NULL;
    json_t *j = failed ? NULL : json_loads(output, 0, NULL);

    if (!failed && gh_appliance_from_json(j, &a, &err) < 0)
        failed = &err;
    if (failed) {
        gh_return_error(i->inv, failed);
    } else {
        look_around(a);
        look_at_addresses(i->d, a);
        look_at_disks(i->d, a);
        json_decref(j);
        j = gh_appliance_to_json(a);
        json_object_set_new(j, "space_there", json_integer((json_int_t)space_there(i->d->machines_folder)));
        char *text = json_dumps(j, 0);
        g_dbus_method_invocation_return_value(i->inv, g_variant_new("(s)", text));
        free(text);
    }
    gh_appliance_free(a);
    json_decref(j);
    g_free(i);
}

void gh_appliance_inspect(struct gh_daemon *d, const char *path, GVariant *options, GDBusMethodInvocation *inv)
{
    struct gh_error err = { 0 };
    const char *allow = NULL, *snapshot = NULL;
    guint32 system = 0;
    gboolean in_place = FALSE;
    struct inspection *i = g_new0(struct inspection, 1);

    *i = (struct inspection){ d, inv };
    g_variant_lookup(options, "allow", "&s", &allow);
    g_variant_lookup(options, "system", "u", &system);
    g_variant_lookup(options, "in-place", "b", &in_place);
    g_mkdir_with_parents(d->machines_folder, 0755);
    g_autofree char *number = g_strdup_printf("%u", system);
    g_variant_lookup(options, "snapshot", "&s", &snapshot);
    const char *args[10] = { "inspect", path, "--system", number };
    add_options(args + 4, allow, snapshot, in_place);
    if (gh_paths_check(path, &err) < 0 || !gh_child_run(args, NULL, NULL, NULL, inspected, i, &err)) {
        gh_return_error(inv, &err);
        g_free(i);
    }
}

/* ---- Import ------------------------------------------------------------------------------------------- */
struct import { struct gh_daemon *d; struct gh_job *job; struct gh_hidden hidden; char *name; };

static void import_free(struct import *i)
{
    g_free(i->name);
    g_free(i);
}

static int add_media(struct gh_definition *def, const struct gh_appliance *a, struct gh_error *err)
{
    int r = 0;

    for (unsigned n = 0; n < a->media_count && !r; n++) {
        const struct gh_appliance_medium *m = &a->media[n];
        enum gh_medium_kind kind = !strcmp(m->kind, "disk") ? GH_MEDIUM_DISK : !strcmp(m->kind, "floppy") ? GH_MEDIUM_FLOPPY : GH_MEDIUM_CDROM;
        const char *file = m->missing ? NULL : m->target[0] ? m->target : m->path;
        if (kind == GH_MEDIUM_DISK && !file)
            continue;
        r = gh_definition_add_medium(def, kind, m->bus, m->format[0] ? m->format : "raw", file, err);
        if (!r && m->mode[0] && kind == GH_MEDIUM_DISK)
            g_strlcpy(def->medium[def->medium_count - 1].mode, m->mode, sizeof def->medium[0].mode);
    }
    return r;
}

static int to_definition(const struct gh_appliance *a, const char *name, struct gh_definition *def, struct gh_error *err)
{
    g_strlcpy(def->name, name ? name : a->name, sizeof def->name);
    def->description = a->description ? strdup(a->description) : NULL;
    g_strlcpy(def->os_id, a->os_id, sizeof def->os_id);
    def->memory_bytes = a->memory_bytes & ~0xfffffull;
    def->cpus = a->cpus;
    g_strlcpy(def->firmware, a->firmware, sizeof def->firmware);
    g_strlcpy(def->clock_base, a->clock_base, sizeof def->clock_base);
    g_strlcpy(def->boot_order, a->boot_order, sizeof def->boot_order);
    int r = add_media(def, a, err);
    for (unsigned n = 0; n < a->network_count && !r; n++) {
        struct gh_network *net = gh_definition_add_network(def, a->networks[n].adapter, a->networks[n].mode, err);
        if (!net)
            return -ENOSPC;
        g_strlcpy(net->name, a->networks[n].name, sizeof net->name);
        if (a->networks[n].mac[0])
            g_strlcpy(net->mac, a->networks[n].mac, sizeof net->mac);
        net->connected = a->networks[n].connected;
    }
    return r ? r : gh_definition_check(def, err);
}

/* The answer becomes a definition beside the disks; the folder gets its name. */
static int complete(struct import *i, const char *output, struct gh_daemon_machine **ret, struct gh_error *err)
{
    json_t *j = json_loads(output, 0, NULL);
    struct gh_appliance *a = NULL;
    int r = j ? gh_appliance_from_json(j, &a, err) : gh_error_set(err, -EIO, "ImporterDied", "gasthaus-image gave no answer.");
    struct gh_definition *def = r ? NULL : gh_definition_new();

    json_decref(j);
    if (!r) {
        look_around(a);
        look_at_addresses(i->d, a);
    }
    if (!r)
        r = to_definition(a, i->name, def, err);
    if (!r)
        r = gh_store_save(i->hidden.path, def, err);
    g_autofree char *folder = r ? NULL : gh_create_free_folder(i->d->machines_folder, def->name);
    if (!r && (!folder || g_rename(i->hidden.path, folder) < 0))
        r = gh_error_set(err, -EEXIST, "FolderNotCreated", "No free folder name for “%s” could be found in “%s”.", def->name, i->d->machines_folder);
    if (!r) {
        *ret = gh_registry_add(i->d, folder, err);
        r = *ret ? 0 : -EIO;
    }
    if (!r && a->blocker) { /* it is here all the same, and says what it lacks */
        struct gh_error note = { 0 };
        gh_error_set(&note, -ENOTSUP, "ImportedIncomplete", "%s", a->blocker);
        gh_daemon_machine_error(*ret, &note);
    }
    gh_definition_free(def);
    gh_appliance_free(a);
    return r;
}

static void imported(const struct gh_error *failed, const char *output, void *opaque)
{
    struct import *i = opaque;
    struct gh_error err = { 0 };
    struct gh_daemon_machine *m = NULL;

    if (!failed && complete(i, output, &m, &err) < 0)
        failed = &err;
    gh_hidden_end(&i->hidden, failed != NULL);
    if (m)
        gh_job_set_machine(i->job, m);
    gh_job_end(i->job, failed, NULL);
    import_free(i);
}

int gh_appliance_import(struct gh_daemon *d, const char *path, GVariant *options, const char **ret_job, struct gh_error *err)
{
    g_autofree char *uuid = g_uuid_string_random(), *base = g_path_get_basename(path);
    const char *allow = NULL, *name = NULL, *snapshot = NULL;
    gboolean in_place = FALSE;
    guint32 system = 0;

    g_variant_lookup(options, "allow", "&s", &allow);
    g_variant_lookup(options, "name", "&s", &name);
    g_variant_lookup(options, "system", "u", &system);
    g_autofree char *number = g_strdup_printf("%u", system);
    g_variant_lookup(options, "in-place", "b", &in_place);
    int checked = gh_paths_check(path, err);
    if (checked < 0)
        return checked;
    if (name) { /* better now than after copying */
        g_autoptr(GVariant) settings = g_variant_ref_sink(g_variant_new_parsed("{'name': <%s>}", name));
        struct gh_definition *def = gh_definition_new();
        int r = gh_settings_apply(def, settings, err);
        r = r ? r : gh_definition_check(def, err);
        gh_definition_free(def);
        if (r)
            return r;
    }
    struct import *i = g_new0(struct import, 1);
    i->d = d;
    i->name = g_strdup(name);
    int r = gh_hidden_make(d, ".importing-", uuid, &i->hidden, err);
    if (r) {
        import_free(i);
        return r;
    }
    i->job = gh_job_new(d, name ? name : base, NULL);
    *ret_job = gh_job_path(i->job);
    g_variant_lookup(options, "snapshot", "&s", &snapshot);
    const char *args[11] = { "import", path, i->hidden.path, "--system", number };
    add_options(args + 5, allow, snapshot, in_place);
    gh_job_run(i->job, args, NULL, imported, i);
    return 0;
}

/* ---- Export ------------------------------------------------------------------------------------------- */
static void exported(const struct gh_error *err, const char *output, void *opaque) { gh_job_end(opaque, err, NULL); }

static struct gh_appliance *describe(struct gh_daemon_machine *m, struct gh_error *err)
{
    const struct gh_definition *d = m->definition;
    struct gh_appliance *a = gh_appliance_new();
    g_autofree char *os = gh_osinfo_name(d->os_id);

    g_strlcpy(a->kind, "ova", sizeof a->kind);
    gh_appliance_text(a->name, sizeof a->name, d->name);
    gh_appliance_text_new(&a->description, d->description, 16000);
    gh_appliance_text(a->os, sizeof a->os, os ? os : "");
    a->memory_bytes = d->memory_bytes;
    a->cpus = d->cpus;
    g_strlcpy(a->firmware, d->firmware, sizeof a->firmware);
    g_strlcpy(a->clock_base, d->clock_base, sizeof a->clock_base);
    g_strlcpy(a->boot_order, d->boot_order, sizeof a->boot_order);
    for (unsigned i = 0; i < d->medium_count; i++) {
        static const char *const kinds[] = { "disk", "cdrom", "floppy" };
        const struct gh_medium *medium = &d->medium[i];
        g_autofree char *path = medium->kind == GH_MEDIUM_DISK ? gh_daemon_machine_medium_path(m, medium) : NULL;
        struct gh_appliance_medium *n = gh_appliance_add_medium(a, kinds[medium->kind], medium->bus, path, err);
        if (!n) {
            gh_appliance_free(a);
            return NULL;
        }
        n->path = path ? strdup(path) : NULL;
        g_strlcpy(n->format, medium->format, sizeof n->format);
        if (medium->kind == GH_MEDIUM_DISK && strcmp(medium->mode, "normal") && strcmp(medium->mode, "shared"))
            g_strlcpy(n->mode, medium->mode, sizeof n->mode);
    }
    for (unsigned i = 0; i < d->network_count; i++) {
        struct gh_appliance_network *n = gh_appliance_add_network(a, d->network[i].adapter, d->network[i].mode, d->network[i].mac, err);
        if (n)
            g_strlcpy(n->name, d->network[i].name, sizeof n->name);
        if (n)
            n->connected = d->network[i].connected;
    }
    return a;
}

int gh_appliance_export(struct gh_daemon_machine *m, const char *path, GVariant *options, const char **ret_job, struct gh_error *err)
{
    gboolean force = FALSE;
    guint32 version = 1;

    if (m->instance)
        return gh_error_set(err, -EBUSY, "MachineRunning", "“%s” is running; stop it before it is exported.", m->definition->name);
    int checked = gh_paths_check(path, err);
    if (checked < 0)
        return checked;
    g_variant_lookup(options, "force", "b", &force);
    g_variant_lookup(options, "ovf", "u", &version);
    struct gh_appliance *a = describe(m, err);
    if (!a)
        return err->code;
    json_t *j = gh_appliance_to_json(a);
    char *input = json_dumps(j, 0);
    g_autofree char *title = g_strdup_printf("%s → %s", m->definition->name, path);
    struct gh_job *job = gh_job_new(m->daemon, title, m);
    const char *const args[] = { "export", path, "--ovf", version == 2 ? "2" : "1", "--allow", m->folder, force ? "--force" : NULL, NULL };
    *ret_job = gh_job_path(job);
    gh_job_run(job, args, input, exported, job);
    free(input);
    json_decref(j);
    gh_appliance_free(a);
    return 0;
}
