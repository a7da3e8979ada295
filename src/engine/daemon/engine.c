/* SPDX-License-Identifier: GPL-3.0-or-later */
/* org.gasthaus.Engine1: creation, media, the host. */
#include <errno.h>
#include <string.h>

#include "engine/daemon/daemon.h"
#include "engine/daemon/media.h"

static gboolean on_create(GhEngine1 *iface, GDBusMethodInvocation *inv, const char *name, GVariant *settings, gpointer data)
{
    struct gh_daemon_machine *m = NULL;
    struct gh_error err = { 0 };

    if (gh_create_machine(data, name, settings, &m, &err) < 0)
        gh_return_error(inv, &err);
    else
        gh_engine1_complete_create_machine(iface, inv, g_dbus_object_get_object_path(G_DBUS_OBJECT(m->object)));
    return TRUE;
}

static gboolean on_register(GhEngine1 *iface, GDBusMethodInvocation *inv, const char *folder, gpointer data)
{
    struct gh_error err = { 0 };
    struct gh_daemon_machine *m = gh_registry_add(data, folder, &err);

    if (!m)
        gh_return_error(inv, &err);
    else
        gh_engine1_complete_register_machine(iface, inv, g_dbus_object_get_object_path(G_DBUS_OBJECT(m->object)));
    return TRUE;
}

/* ---- OS detection reads files and a large database: in a thread ------------------------------ */
struct lookup { GDBusMethodInvocation *inv; char *text; struct gh_error err; GVariant *(*run)(struct lookup *); const char *wrap; };

static GVariant *run_identify(struct lookup *l) { return gh_osinfo_identify(l->text, &l->err); }
static GVariant *run_recommend(struct lookup *l) { return gh_osinfo_recommend(l->text); }
static GVariant *run_list(struct lookup *l) { return gh_osinfo_list(); }

static void lookup_thread(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
    struct lookup *l = data;
    GVariant *v = l->run(l);

    if (v)
        g_dbus_method_invocation_return_value(l->inv, g_variant_new(l->wrap, v));
    else
        gh_return_error(l->inv, &l->err);
    g_free(l->text);
    g_free(l);
    g_task_return_boolean(task, TRUE);
}

static gboolean in_thread(GDBusMethodInvocation *inv, const char *text, GVariant *(*run)(struct lookup *), const char *wrap)
{
    struct lookup *l = g_new0(struct lookup, 1);
    g_autoptr(GTask) task = g_task_new(NULL, NULL, NULL, NULL);

    *l = (struct lookup){ .inv = inv, .text = g_strdup(text), .run = run, .wrap = wrap };
    g_task_set_task_data(task, l, NULL);
    g_task_run_in_thread(task, lookup_thread);
    return TRUE;
}

static gboolean on_identify(GhEngine1 *iface, GDBusMethodInvocation *inv, const char *path, gpointer data)
{ return in_thread(inv, path, run_identify, "(@a{sv})"); }
static gboolean on_recommend(GhEngine1 *iface, GDBusMethodInvocation *inv, const char *os_id, gpointer data)
{ return in_thread(inv, os_id, run_recommend, "(@a{sv})"); }
static gboolean on_list(GhEngine1 *iface, GDBusMethodInvocation *inv, gpointer data)
{ return in_thread(inv, "", run_list, "(@a(ss))"); }

static void host_checked(GObject *source, GAsyncResult *result, gpointer data)
{
    GDBusMethodInvocation *inv = data;
    g_autofree char *text = NULL;
    g_autoptr(GError) error = NULL;

    if (!g_subprocess_communicate_utf8_finish(G_SUBPROCESS(source), result, &text, NULL, &error))
        g_dbus_method_invocation_return_dbus_error(inv, "org.gasthaus.Error.HostCheckFailed", error->message);
    else
        g_dbus_method_invocation_return_value(inv, g_variant_new("(s)", text));
}

static gboolean on_check_host(GhEngine1 *iface, GDBusMethodInvocation *inv, gpointer data)
{
    struct gh_daemon *d = data;
    g_autoptr(GError) error = NULL;
    g_autoptr(GSubprocess) p = g_subprocess_new(G_SUBPROCESS_FLAGS_STDOUT_PIPE, &error, d->vm_program, "--check-host", "--json", NULL);

    if (!p)
        g_dbus_method_invocation_return_dbus_error(inv, "org.gasthaus.Error.HostCheckFailed", error->message);
    else
        g_subprocess_communicate_utf8_async(p, NULL, NULL, host_checked, inv);
    return TRUE;
}

static gboolean on_inspect(GhEngine1 *iface, GDBusMethodInvocation *inv, const char *path, GVariant *options, gpointer data)
{
    gh_appliance_inspect(data, path, options, inv);
    return TRUE;
}

static gboolean on_import(GhEngine1 *iface, GDBusMethodInvocation *inv, const char *path, GVariant *options, gpointer data)
{
    struct gh_error err = { 0 };
    const char *job = NULL;

    if (gh_appliance_import(data, path, options, &job, &err) < 0)
        gh_return_error(inv, &err);
    else
        gh_engine1_complete_import_appliance(iface, inv, job);
    return TRUE;
}

static gboolean on_list_media(GhEngine1 *iface, GDBusMethodInvocation *inv, gpointer data)
{
    gh_media_list(data, inv);
    return TRUE;
}

static gboolean on_media_action(GhEngine1 *iface, GDBusMethodInvocation *inv, const char *action, const char *path, GVariant *options, gpointer data)
{
    struct gh_error err = { 0 };
    const char *job = NULL;

    if (gh_media_action(data, action, path, options, &job, &err) < 0)
        gh_return_error(inv, &err);
    else
        gh_engine1_complete_media_action(iface, inv, job);
    return TRUE;
}

static gboolean on_quit(GhEngine1 *iface, GDBusMethodInvocation *inv, gpointer data)
{
    struct gh_daemon *d = data;

    gh_engine1_complete_quit(iface, inv);
    g_main_loop_quit(d->loop);
    return TRUE;
}

static gboolean on_describe_errors(GhEngine1 *iface, GDBusMethodInvocation *inv, gpointer data)
{
    gh_describe_errors(inv);
    gh_engine1_complete_describe_errors(iface, inv);
    return TRUE;
}

void gh_engine_setup(struct gh_daemon *d)
{
    d->iface = gh_engine1_skeleton_new();
    gh_engine1_set_version(d->iface, GH_VERSION);
    gh_engine1_set_machines_folder(d->iface, d->machines_folder);
    g_signal_connect(d->iface, "handle-create-machine", G_CALLBACK(on_create), d);
    g_signal_connect(d->iface, "handle-register-machine", G_CALLBACK(on_register), d);
    g_signal_connect(d->iface, "handle-identify-medium", G_CALLBACK(on_identify), d);
    g_signal_connect(d->iface, "handle-recommend", G_CALLBACK(on_recommend), d);
    g_signal_connect(d->iface, "handle-list-systems", G_CALLBACK(on_list), d);
    g_signal_connect(d->iface, "handle-check-host", G_CALLBACK(on_check_host), d);
    g_signal_connect(d->iface, "handle-inspect-appliance", G_CALLBACK(on_inspect), d);
    g_signal_connect(d->iface, "handle-import-appliance", G_CALLBACK(on_import), d);
    g_signal_connect(d->iface, "handle-list-media", G_CALLBACK(on_list_media), d);
    g_signal_connect(d->iface, "handle-media-action", G_CALLBACK(on_media_action), d);
    g_signal_connect(d->iface, "handle-describe-errors", G_CALLBACK(on_describe_errors), d);
    g_signal_connect(d->iface, "handle-quit", G_CALLBACK(on_quit), d);
}
