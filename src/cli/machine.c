/* SPDX-License-Identifier: GPL-3.0-or-later */
/* list, show, start, stop, shutdown, pause, resume, reset, delete, set, log */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/ctl.h"

static json_t *machine_json(GhEngine1Machine *m)
{
    static const char *const properties[] = { "Uuid", "Name", "Description", "OsId", "OsName", "Folder", "Revision", "MemoryBytes", "Cpus",
        "Accelerator", "CpuModel", "Firmware", "BootOrder", "ClockBase", "Disks", "Networks", "State", "RunningOn", "RunningWhy", "Pid",
        "ScreenWidth", "ScreenHeight", "ErrorId", "ErrorText", "Created", "LastStarted" };
    json_t *out = json_object();

    for (unsigned i = 0; i < G_N_ELEMENTS(properties); i++) {
        g_autoptr(GVariant) v = g_dbus_proxy_get_cached_property(G_DBUS_PROXY(m), properties[i]);
        GString *key = g_string_new(NULL);
        for (const char *p = properties[i]; *p; p++) { /* MemoryBytes -> memory-bytes */
            if (g_ascii_isupper(*p) && p != properties[i])
                g_string_append_c(key, '-');
            g_string_append_c(key, g_ascii_tolower(*p));
        }
        if (v)
            json_object_set_new(out, key->str, ctl_variant_to_json(v));
        g_string_free(key, TRUE);
    }
    return out;
}

static int by_name(gconstpointer a, gconstpointer b)
{ return g_utf8_collate(gh_engine1_machine_get_name((gpointer)a), gh_engine1_machine_get_name((gpointer)b)); }

/* The first address that the guest was seen with. */
static const char *address_of(GhEngine1Machine *m)
{
    GVariant *networks = gh_engine1_machine_get_networks(m);
    const char *address = "";

    for (gsize i = 0; networks && i < g_variant_n_children(networks) && !address[0]; i++) {
        g_autoptr(GVariant) n = g_variant_get_child_value(networks, i);
        g_variant_lookup(n, "address", "&s", &address); /* the text is the property's */
    }
    return address;
}

static int run_list(struct ctl *ctl, int argc, char **argv)
{
    GList *objects = g_dbus_object_manager_get_objects(ctl->manager), *machines = NULL;
    json_t *all = json_array();

    if (argc > 1)
        return ctl_usage("list");
    for (GList *l = objects; l; l = l->next) {
        GhEngine1Machine *m = gh_object_get_engine1_machine(GH_OBJECT(l->data));
        if (m)
            machines = g_list_insert_sorted(machines, m, by_name);
    }
    for (GList *l = machines; l; l = l->next) {
        GhEngine1Machine *m = l->data;
        if (ctl->json)
            json_array_append_new(all, machine_json(m));
        else
            printf("%-10s %s  %s%s%s\n", gh_engine1_machine_get_state(m), gh_engine1_machine_get_uuid(m), gh_engine1_machine_get_name(m),
                   address_of(m)[0] ? "  " : "", address_of(m));
    }
    if (ctl->json)
        ctl_print_json(json_incref(all));
    else if (!machines)
        fprintf(stderr, _("No machines yet; “gasthausctl create NAME --media FILE.iso” makes one.\n"));
    json_decref(all);
    g_list_free_full(machines, g_object_unref);
    g_list_free_full(objects, g_object_unref);
    return 0;
}

static int run_show(struct ctl *ctl, int argc, char **argv)
{
    gboolean counters = argc > 2 && !strcmp(argv[2], "--counters");

    if (argc < 2 || (argc > 2 && !counters))
        return ctl_usage("show NAME [--counters]");
    g_autoptr(GhEngine1Machine) m = ctl_machine(ctl, argv[1]);
    if (!m)
        return 1;
    json_t *out = machine_json(m);
    if (counters) {
        g_autoptr(GVariant) v = NULL;
        GError *error = NULL;
        if (!gh_engine1_machine_call_counters_sync(m, &v, NULL, &error)) {
            json_decref(out);
            return ctl_fail(ctl, error);
        }
        json_object_set_new(out, "counters", ctl_variant_to_json(v));
    }
    if (ctl->json) {
        ctl_print_json(out);
        return 0;
    }
    const char *key;
    json_t *value;
    json_object_foreach(out, key, value) {
        g_autofree char *text = json_is_string(value) ? g_strdup(json_string_value(value)) : NULL;
        char *dump = text ? NULL : json_dumps(value, JSON_ENCODE_ANY);
        if (!text || text[0])
            printf("%-14s %s\n", key, text ? text : dump);
        free(dump);
    }
    json_decref(out);
    return 0;
}

/* ---- Verbs without arguments ------------------------------------------------------------------ */
typedef gboolean (*verb_fn)(GhEngine1Machine *, GCancellable *, GError **);

static int simple(struct ctl *ctl, int argc, char **argv, const char *usage, verb_fn verb)
{
    GError *error = NULL;

    if (argc != 2)
        return ctl_usage(usage);
    g_autoptr(GhEngine1Machine) m = ctl_machine(ctl, argv[1]);
    if (!m)
        return 1;
    return verb(m, NULL, &error) ? 0 : ctl_fail(ctl, error);
}

static int run_pause(struct ctl *c, int n, char **v) { return simple(c, n, v, "pause NAME", gh_engine1_machine_call_pause_sync); }
static int run_resume(struct ctl *c, int n, char **v) { return simple(c, n, v, "resume NAME", gh_engine1_machine_call_resume_sync); }
static int run_reset(struct ctl *c, int n, char **v) { return simple(c, n, v, "reset NAME", gh_engine1_machine_call_reset_sync); }
static int run_shutdown(struct ctl *c, int n, char **v) { return simple(c, n, v, "shutdown NAME", gh_engine1_machine_call_power_button_sync); }
static int run_stop(struct ctl *c, int n, char **v) { return simple(c, n, v, "stop NAME", gh_engine1_machine_call_stop_sync); }

/* Waits until the machine really runs, or says why it does not. */
static int wait_running(struct ctl *ctl, GhEngine1Machine *m)
{
    gint64 end = g_get_monotonic_time() + 30 * G_USEC_PER_SEC;

    while (g_get_monotonic_time() < end) {
        while (g_main_context_iteration(NULL, FALSE))
            ;
        const char *state = gh_engine1_machine_get_state(m), *id = gh_engine1_machine_get_error_id(m);
        if (!strcmp(state, "running") || !strcmp(state, "paused"))
            return 0;
        if (!strcmp(state, "off") && id && id[0])
            return ctl_error(ctl, id, "%s", gh_engine1_machine_get_error_text(m));
        g_usleep(20000);
    }
    return ctl_error(ctl, "StartTimeout", _("The machine did not report within 30 seconds; its log says more."));
}

static int run_start(struct ctl *ctl, int argc, char **argv)
{
    GError *error = NULL;
    GVariantDict options;
    gboolean paused = argc == 3 && !strcmp(argv[2], "--paused");

    if (argc != 2 && !paused)
        return ctl_usage("start NAME [--paused]");
    g_autoptr(GhEngine1Machine) m = ctl_machine(ctl, argv[1]);
    if (!m)
        return 1;
    g_variant_dict_init(&options, NULL);
    if (paused)
        g_variant_dict_insert(&options, "paused", "b", TRUE);
    if (!gh_engine1_machine_call_start_sync(m, g_variant_dict_end(&options), NULL, &error))
        return ctl_fail(ctl, error);
    return wait_running(ctl, m);
}

static int run_delete(struct ctl *ctl, int argc, char **argv)
{
    gboolean keep = argc == 3 && !strcmp(argv[2], "--keep-files");
    GError *error = NULL;

    if (argc != 2 && !keep)
        return ctl_usage("delete NAME [--keep-files]");
    g_autoptr(GhEngine1Machine) m = ctl_machine(ctl, argv[1]);
    if (!m)
        return 1;
    return gh_engine1_machine_call_delete_sync(m, !keep, NULL, &error) ? 0 : ctl_fail(ctl, error);
}

static int run_log(struct ctl *ctl, int argc, char **argv)
{
    g_autofree char *text = NULL;
    GError *error = NULL;

    if (argc != 2)
        return ctl_usage("log NAME");
    g_autoptr(GhEngine1Machine) m = ctl_machine(ctl, argv[1]);
    if (!m)
        return 1;
    if (!gh_engine1_machine_call_log_sync(m, &text, NULL, &error))
        return ctl_fail(ctl, error);
    fputs(text, stdout);
    return 0;
}

const struct ctl_command ctl_machine_commands[] = {
    { "list", "", N_("show all machines"), run_list, FALSE },
    { "show", "NAME [--counters]", N_("show a machine's settings and state"), run_show, FALSE },
    { "start", "NAME [--paused]", N_("switch a machine on"), run_start, FALSE },
    { "shutdown", "NAME", N_("press the power button; the guest shuts down"), run_shutdown, FALSE },
    { "stop", "NAME", N_("pull the plug: the guest loses what it has not written"), run_stop, FALSE },
    { "pause", "NAME", N_("hold a running machine"), run_pause, FALSE },
    { "resume", "NAME", N_("let a paused machine go on"), run_resume, FALSE },
    { "reset", "NAME", N_("press the reset button"), run_reset, FALSE },
    { "delete", "NAME [--keep-files]", N_("remove a machine and its disks"), run_delete, FALSE },
    { "log", "NAME", N_("show a machine's log"), run_log, FALSE },
    { NULL, NULL, NULL, NULL, FALSE },
};
