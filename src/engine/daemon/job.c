/* SPDX-License-Identifier: GPL-3.0-or-later */
/* org.gasthaus.Engine1.Job */
#include "engine/daemon/job.h"

#include <errno.h>

enum { KEEP_SECONDS = 30, NOTES_MAX = 8 };

struct gh_job {
    struct gh_daemon *daemon;
    char *path;
    GhEngine1Job *iface;
    struct gh_child *child;
    gh_child_done done;
    void *opaque;
    gboolean ended, cancelled;
};

static gboolean on_cancel(GhEngine1Job *iface, GDBusMethodInvocation *inv, gpointer data)
{
    struct gh_job *job = data;

    job->cancelled = TRUE;
    if (job->child)
        gh_child_cancel(job->child);
    gh_engine1_job_complete_cancel(iface, inv);
    return TRUE;
}

struct gh_job *gh_job_new(struct gh_daemon *d, const char *title, struct gh_daemon_machine *machine)
{
    struct gh_job *job = g_new0(struct gh_job, 1);

    job->daemon = d;
    job->path = g_strdup_printf(GH_ENGINE_PATH "/job/%u", ++d->next_job);
    job->iface = gh_engine1_job_skeleton_new();
    gh_engine1_job_set_title(job->iface, title);
    gh_engine1_job_set_state(job->iface, "running");
    gh_engine1_job_set_error_id(job->iface, "");
    gh_engine1_job_set_error_text(job->iface, "");
    gh_engine1_job_set_error_message(job->iface, gh_error_parts(NULL));
    gh_engine1_job_set_result(job->iface, "");
    gh_engine1_job_set_notes(job->iface, g_variant_new_array(G_VARIANT_TYPE("(ssaas)"), NULL, 0));
    gh_job_set_machine(job, machine);
    g_signal_connect(job->iface, "handle-cancel", G_CALLBACK(on_cancel), job);
    d->jobs = g_list_append(d->jobs, job);
    gh_server_export_job(d, job);
    return job;
}

const char *gh_job_path(const struct gh_job *job) { return job->path; }
GDBusInterfaceSkeleton *gh_job_iface(const struct gh_job *job) { return G_DBUS_INTERFACE_SKELETON(job->iface); }

void gh_job_set_machine(struct gh_job *job, struct gh_daemon_machine *machine)
{ gh_engine1_job_set_machine(job->iface, machine ? g_dbus_object_get_object_path(G_DBUS_OBJECT(machine->object)) : "/"); }

static void on_progress(double fraction, void *opaque)
{
    struct gh_job *job = opaque;

    gh_engine1_job_set_progress(job->iface, fraction);
}

static void on_note(const struct gh_error *note, void *opaque)
{
    struct gh_job *job = opaque;
    g_autoptr(GVariant) old = g_variant_ref(gh_engine1_job_get_notes(job->iface));
    g_autofree char *text = g_utf8_make_valid(note->text, -1);
    GVariantBuilder notes;

    if (g_variant_n_children(old) >= NOTES_MAX)
        return;
    g_variant_builder_init(&notes, G_VARIANT_TYPE("a(ssaas)"));
    for (gsize i = 0; i < g_variant_n_children(old); i++) {
        g_autoptr(GVariant) one = g_variant_get_child_value(old, i);
        g_variant_builder_add_value(&notes, one);
    }
    g_variant_builder_add(&notes, "(ss@aas)", note->id, text, gh_error_parts(note));
    gh_engine1_job_set_notes(job->iface, g_variant_builder_end(&notes));
}

static void on_done(const struct gh_error *err, const char *output, void *opaque)
{
    struct gh_job *job = opaque;

    job->child = NULL;
    job->done(err, output, job->opaque);
}

void gh_job_run(struct gh_job *job, const char *const *args, const char *input, gh_child_done done, void *opaque)
{
    struct gh_error err = { 0 };

    job->done = done;
    job->opaque = opaque;
    if (job->cancelled)
        gh_error_set(&err, -ECANCELED, "Cancelled", "Cancelled. Nothing was changed.");
    else
        job->child = gh_child_run(args, input, on_progress, on_note, on_done, job, &err);
    if (!job->child)
        done(&err, "", opaque);
}

static gboolean forget(gpointer data)
{
    struct gh_job *job = data;

    gh_server_unexport_job(job->daemon, job);
    job->daemon->jobs = g_list_remove(job->daemon->jobs, job);
    g_object_unref(job->iface);
    g_free(job->path);
    g_free(job);
    return G_SOURCE_REMOVE;
}

void gh_job_end(struct gh_job *job, const struct gh_error *err, const char *result)
{
    if (job->ended)
        return;
    job->ended = TRUE;
    g_object_freeze_notify(G_OBJECT(job->iface));
    gh_engine1_job_set_error_id(job->iface, err ? err->id : "");
    gh_engine1_job_set_error_text(job->iface, err ? err->text : "");
    gh_engine1_job_set_error_message(job->iface, gh_error_parts(err));
    gh_engine1_job_set_result(job->iface, result ? result : "");
    if (!err)
        gh_engine1_job_set_progress(job->iface, 1);
    gh_engine1_job_set_state(job->iface, !err ? "done" : !g_strcmp0(err->id, "Cancelled") ? "cancelled" : "failed");
    g_object_thaw_notify(G_OBJECT(job->iface));
    g_dbus_interface_skeleton_flush(G_DBUS_INTERFACE_SKELETON(job->iface));
    g_timeout_add_seconds(KEEP_SECONDS, forget, job);
}
