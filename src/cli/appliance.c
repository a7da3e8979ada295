/* SPDX-License-Identifier: GPL-3.0-or-later */
/* import, export */
#include <glib-unix.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/ctl.h"

static void show_progress(GhEngine1Job *job)
{
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r%3d %% ", (int)(gh_engine1_job_get_progress(job) * 100));
}

static GhEngine1Job *waiting;
static gboolean on_interrupt(gpointer data)
{
    gh_engine1_job_call_cancel(waiting, NULL, NULL, NULL);
    return G_SOURCE_CONTINUE;
}

void ctl_catch_interrupts(void)
{
    g_unix_signal_add(SIGINT, on_interrupt, NULL);
    g_unix_signal_add(SIGTERM, on_interrupt, NULL);
}

/* Those that came since the last call; *told counts all. */
static void show_notes(struct ctl *ctl, GhEngine1Job *job, gsize *told)
{
    GVariant *notes = gh_engine1_job_get_notes(job);

    for (; notes && *told < g_variant_n_children(notes); ++*told) {
        const char *id, *text;
        g_autoptr(GVariant) one = g_variant_get_child_value(notes, *told);
        g_variant_get(one, "(&s&s@aas)", &id, &text, NULL);
        if (ctl->json) {
            ctl->notes = ctl->notes ? ctl->notes : json_array();
            json_array_append_new(ctl->notes, json_pack("{s:s, s:s}", "id", id, "text", text));
        } else {
            if (isatty(STDERR_FILENO))
                fputs("\r      \r", stderr);
            fprintf(stderr, _("Note: %s [%s]\n"), text, id);
        }
    }
}

int ctl_wait_job(struct ctl *ctl, const char *path, char **ret_machine, char **ret_result)
{
    GError *error = NULL;
    g_autoptr(GhEngine1Job) job = gh_engine1_job_proxy_new_sync(ctl->bus, G_DBUS_PROXY_FLAGS_NONE, NULL, path, NULL, &error);
    gboolean shown = isatty(STDERR_FILENO);

    if (!job)
        return ctl_fail(ctl, error);
    waiting = job;
    gboolean closed = FALSE;
    gsize told = 0;
    while (!g_strcmp0(gh_engine1_job_get_state(job), "running") && !closed) {
        show_notes(ctl, job, &told);
        show_progress(job);
        g_main_context_iteration(NULL, TRUE);
        closed = g_dbus_connection_is_closed(ctl->bus);
    }
    if (shown)
        fprintf(stderr, "\r      \r");
    show_notes(ctl, job, &told);
    if (closed)
        return ctl_error(ctl, "DaemonGone", _("The daemon ended; start the command again."));
    if (strcmp(gh_engine1_job_get_state(job), "done"))
        return ctl_error(ctl, gh_engine1_job_get_error_id(job), "%s", gh_engine1_job_get_error_text(job));
    if (ret_machine)
        *ret_machine = g_strdelimit(g_path_get_basename(gh_engine1_job_get_machine(job)), "_", '-');
    if (ret_result)
        *ret_result = g_strdup(gh_engine1_job_get_result(job));
    return 0;
}

static void print_lines(json_t *report, const char *kind, const char *title)
{
    gboolean any = FALSE;
    json_t *line;
    size_t i;

    json_array_foreach(json_object_get(report, "lines"), i, line) {
        if (g_strcmp0(json_string_value(json_object_get(line, "kind")), kind))
            continue;
        if (!any)
            printf("%s\n", title);
        any = TRUE;
        printf("  %s\n", json_string_value(json_object_get(line, "text")));
    }
}

/* The report of one machine of the file; NULL after a message. */
static json_t *inspect(struct ctl *ctl, const char *path, GVariant *options)
{
    g_autofree char *text = NULL;
    GError *error = NULL;

    if (!gh_engine1_call_inspect_appliance_sync(ctl->engine, path, options, &text, NULL, &error)) {
        ctl_fail(ctl, error);
        return NULL;
    }
    return json_loads(text, 0, NULL);
}

static void print_report(json_t *j)
{
    printf("%s (%s)\n", json_string_value(json_object_get(j, "name")), json_string_value(json_object_get(j, "kind")));
    print_lines(j, "kept", _("Kept:"));
    print_lines(j, "changed", _("Changed:"));
    print_lines(j, "dropped", _("Left out:"));
    print_lines(j, "warning", _("Look at:"));
    g_autofree char *needed = g_format_size_full((guint64)json_integer_value(json_object_get(j, "space_needed")), G_FORMAT_SIZE_IEC_UNITS);
    g_autofree char *there = g_format_size_full((guint64)json_integer_value(json_object_get(j, "space_there")), G_FORMAT_SIZE_IEC_UNITS);
    printf(_("Space needed: %s of %s\n"), needed, there);
    if (json_integer_value(json_object_get(j, "space_needed")) > json_integer_value(json_object_get(j, "space_there")))
        printf(_("There is not enough space: make some first.\n"));
}

static int import_one(struct ctl *ctl, const char *path, GVariant *options, char **ret_uuid)
{
    g_autofree char *job = NULL;
    GError *error = NULL;

    if (!gh_engine1_call_import_appliance_sync(ctl->engine, path, options, &job, NULL, &error))
        return ctl_fail(ctl, error);
    return ctl_wait_job(ctl, job, ret_uuid, NULL);
}

/* Which machines of the file: all, or the one of that name or number (from 1). FALSE: there is none. */
static gboolean choose(json_t *systems, const char *which, size_t *ret_from, size_t *ret_to)
{
    size_t n = json_array_size(systems), i;
    json_t *system;

    *ret_from = 0;
    *ret_to = n ? n : 1;
    if (!which)
        return TRUE;
    guint64 number = g_ascii_strtoull(which, NULL, 10);
    gboolean found = number >= 1 && number <= *ret_to;
    size_t at = found ? (size_t)number - 1 : 0;
    json_array_foreach(systems, i, system)
        if (!g_strcmp0(json_string_value(json_object_get(system, "name")), which)) {
            at = i;
            found = TRUE;
            break;
        }
    *ret_from = at;
    *ret_to = at + 1;
    return found;
}

struct import { const char *name, *allow, *machine, *snapshot; gboolean report, in_place; };

static GVariant *import_options(const struct import *how, size_t system)
{
    GVariantDict dict;

    g_variant_dict_init(&dict, NULL);
    if (how->name)
        g_variant_dict_insert(&dict, "name", "s", how->name);
    if (how->allow)
        g_variant_dict_insert(&dict, "allow", "s", how->allow);
    if (how->snapshot)
        g_variant_dict_insert(&dict, "snapshot", "s", how->snapshot);
    if (how->in_place)
        g_variant_dict_insert(&dict, "in-place", "b", TRUE);
    if (system)
        g_variant_dict_insert(&dict, "system", "u", (guint32)system);
    return g_variant_ref_sink(g_variant_dict_end(&dict));
}

/* Each machine of the file in turn; what was imported before one fails stays. */
static int import_all(struct ctl *ctl, const char *path, const struct import *how, json_t *first)
{
    json_t *uuids = json_array(), *reports = json_array();
    size_t from, to;
    int r = 0;

    if (!choose(json_object_get(first, "systems"), how->machine, &from, &to))
        r = ctl_error(ctl, "ApplianceMachineUnknown", _("“%s” has no machine “%s”."), path, how->machine);
    else if (how->name && to - from > 1)
        r = ctl_error(ctl, "NameForSeveral", _("“%s” has %zu machines: choose one by --machine to give it a name."), path, to - from);
    for (size_t i = from; i < to && !r; i++) {
        g_autoptr(GVariant) options = import_options(how, i);
        g_autofree char *uuid = NULL;
        if (how->report) {
            json_t *report = i ? inspect(ctl, path, options) : json_incref(first);
            r = report ? 0 : 1;
            if (report && !ctl->json)
                print_report(report);
            json_array_append_new(reports, report);
        } else {
            r = import_one(ctl, path, options, &uuid);
            if (!r && !ctl->json)
                printf("%s\n", uuid);
            if (!r)
                json_array_append_new(uuids, json_string(uuid));
        }
    }
    if (!r && ctl->json && how->report)
        ctl_print_json(to - from > 1 ? json_incref(reports) : json_incref(json_array_get(reports, 0)));
    else if (!r && ctl->json)
        ctl_print_json(json_pack("{s:O, s:O}", "uuid", json_array_get(uuids, 0), "uuids", uuids));
    json_decref(uuids);
    json_decref(reports);
    return r;
}

static int run_import(struct ctl *ctl, int argc, char **argv)
{
    static const char usage[] = "import FILE [--machine NAME|NUMBER] [--snapshot NAME] [--name NAME] [--report] [--in-place] [--allow FOLDER]";
    struct import how = { NULL };
    gboolean wrong = argc < 2 || argv[1][0] == '-';
    g_autofree char *allow = NULL;

    for (int i = 2; i < argc && !wrong; i++) {
        if (!strcmp(argv[i], "--report"))
            how.report = TRUE;
        else if (!strcmp(argv[i], "--in-place"))
            how.in_place = TRUE;
        else if (!strcmp(argv[i], "--name") && i + 1 < argc)
            how.name = argv[++i];
        else if (!strcmp(argv[i], "--snapshot") && i + 1 < argc)
            how.snapshot = argv[++i];
        else if (!strcmp(argv[i], "--machine") && i + 1 < argc)
            how.machine = argv[++i];
        else if (!strcmp(argv[i], "--allow") && i + 1 < argc && !allow)
            how.allow = allow = g_canonicalize_filename(argv[++i], NULL);
        else
            wrong = TRUE;
    }
    if (wrong)
        return ctl_usage(usage);
    g_autofree char *path = g_canonicalize_filename(argv[1], NULL);
    g_autoptr(GVariant) options = import_options(&how, 0);
    json_t *first = inspect(ctl, path, options);
    if (!first)
        return 1;
    ctl_catch_interrupts();
    int r = import_all(ctl, path, &how, first);
    json_decref(first);
    return r;
}

static int run_export(struct ctl *ctl, int argc, char **argv)
{
    static const char usage[] = "export NAME OUT.ova [--ovf 1|2] [--force]";
    GVariantDict dict;
    GError *error = NULL;
    gboolean wrong = argc < 3 || argv[1][0] == '-' || argv[2][0] == '-';
    g_autofree char *job = NULL;

    g_variant_dict_init(&dict, NULL);
    for (int i = 3; i < argc && !wrong; i++) {
        if (!strcmp(argv[i], "--force"))
            g_variant_dict_insert(&dict, "force", "b", TRUE);
        else if (!strcmp(argv[i], "--ovf") && i + 1 < argc && (!strcmp(argv[i + 1], "1") || !strcmp(argv[i + 1], "2")))
            g_variant_dict_insert(&dict, "ovf", "u", argv[++i][0] == '2' ? 2u : 1u);
        else
            wrong = TRUE;
    }
    g_autoptr(GVariant) options = g_variant_ref_sink(g_variant_dict_end(&dict));
    if (wrong)
        return ctl_usage(usage);
    g_autoptr(GhEngine1Machine) m = ctl_machine(ctl, argv[1]);
    if (!m)
        return 1;
    g_autofree char *path = g_canonicalize_filename(argv[2], NULL);
    ctl_catch_interrupts();
    if (!gh_engine1_machine_call_export_sync(m, path, options, &job, NULL, &error))
        return ctl_fail(ctl, error);
    return ctl_wait_job(ctl, job, NULL, NULL);
}

const struct ctl_command ctl_appliance_commands[] = {
    { "import", "FILE [OPTION...]", N_("bring in a machine of another program, or a disk; --report only says what would become of it"), run_import, FALSE },
    { "export", "NAME OUT.ova", N_("write a machine as an appliance for other programs"), run_export, FALSE },
    { NULL, NULL, NULL, NULL, FALSE },
};
