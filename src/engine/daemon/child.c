/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>

#include "engine/daemon/job.h"

enum { OUTPUT_BYTES_MAX = 8 << 20, CHUNK = 65536 };

struct gh_child {
    GSubprocess *process;
    GDataInputStream *lines;
    GString *output;
    gh_child_progress progress;
    gh_child_note note;
    gh_child_done done;
    void *opaque;
    unsigned open;                     /* streams and the process itself */
    gboolean cancelled;
};

static void finish(struct gh_child *c)
{
    struct gh_error err = { 0 };

    if (--c->open)
        return;
    json_t *j = json_loads(c->output->str, 0, NULL), *e = json_object_get(j, "error");
    const char *id = json_string_value(json_object_get(e, "id")), *text = json_string_value(json_object_get(e, "text"));
    gboolean normal = g_subprocess_get_if_exited(c->process);
    if (c->cancelled)
        gh_error_set(&err, -ECANCELED, "Cancelled", "Cancelled. Nothing was changed.");
    else if (id && text)
        gh_error_carry(&err, -EIO, id, NULL, text, json_string_value(json_object_get(e, "message")));
    else if (!normal)
        gh_error_set(&err, -EIO, "ImporterDied", "gasthaus-image was ended by signal %d; the file may be made to exhaust this computer.",
                     g_subprocess_get_term_sig(c->process));
    else if (g_subprocess_get_exit_status(c->process) > 1)
        gh_error_set(&err, -EIO, "ImporterDied", "gasthaus-image ended with status %d.", g_subprocess_get_exit_status(c->process));
    json_decref(j);
    c->done(gh_error_is_set(&err) ? &err : NULL, c->output->str, c->opaque);
    g_object_unref(c->process);
    g_object_unref(c->lines);
    g_string_free(c->output, TRUE);
    g_free(c);
}

static void on_output(GObject *source, GAsyncResult *result, gpointer data)
{
    struct gh_child *c = data;
    g_autoptr(GBytes) bytes = g_input_stream_read_bytes_finish(G_INPUT_STREAM(source), result, NULL);
    gsize n = bytes ? g_bytes_get_size(bytes) : 0;

    if (!n) {
        finish(c);
        return;
    }
    if (c->output->len + n <= OUTPUT_BYTES_MAX)
        g_string_append_len(c->output, g_bytes_get_data(bytes, NULL), (gssize)n);
    else
        g_subprocess_force_exit(c->process);
    g_input_stream_read_bytes_async(G_INPUT_STREAM(source), CHUNK, G_PRIORITY_DEFAULT, NULL, on_output, c);
}

static void take_note(struct gh_child *c, json_t *j)
{
    const char *id = json_string_value(json_object_get(j, "id")), *text = json_string_value(json_object_get(j, "text"));
    struct gh_error note = { 0 };

    if (!id || !text || !c->note)
        return;
    gh_error_carry(&note, -ENOSPC, id, NULL, text, json_string_value(json_object_get(j, "message")));
    c->note(&note, c->opaque);
}

static void on_line(GObject *source, GAsyncResult *result, gpointer data)
{
    struct gh_child *c = data;
    g_autofree char *line = g_data_input_stream_read_line_finish(G_DATA_INPUT_STREAM(source), result, NULL, NULL);

    if (!line) {
        finish(c);
        return;
    }
    json_t *j = json_loads(line, 0, NULL);
    double done = json_number_value(json_object_get(j, "done")), total = json_number_value(json_object_get(j, "total"));
    if (c->progress && total > 0)
        c->progress(CLAMP(done / total, 0, 1), c->opaque);
    take_note(c, json_object_get(j, "note"));
    json_decref(j);
    g_data_input_stream_read_line_async(c->lines, G_PRIORITY_DEFAULT, NULL, on_line, c);
}

static void on_child_exit(GObject *source, GAsyncResult *result, gpointer data)
{
    g_subprocess_wait_finish(G_SUBPROCESS(source), result, NULL);
    finish(data);
}

static void on_input(GObject *source, GAsyncResult *result, gpointer data)
{
    g_output_stream_write_all_finish(G_OUTPUT_STREAM(source), result, NULL, NULL);
    g_output_stream_close(G_OUTPUT_STREAM(source), NULL, NULL);
    g_free(data);
}

/* In the child: work for a daemon that is gone is for nobody. */
static void tie(gpointer data) { prctl(PR_SET_PDEATHSIG, SIGTERM); }

struct gh_child *gh_child_run(const char *const *args, const char *input, gh_child_progress progress, gh_child_note note, gh_child_done done,
                              void *opaque, struct gh_error *err)
{
    g_autofree char *program = gh_paths_program("gasthaus-image");
    g_autoptr(GPtrArray) argv = g_ptr_array_new();
    g_autoptr(GError) error = NULL;
    g_autoptr(GSubprocessLauncher) launcher = g_subprocess_launcher_new(G_SUBPROCESS_FLAGS_STDOUT_PIPE | G_SUBPROCESS_FLAGS_STDERR_PIPE |
                                                                        (input ? G_SUBPROCESS_FLAGS_STDIN_PIPE : G_SUBPROCESS_FLAGS_NONE));

    if (!program) {
        gh_error_set(err, -ENOENT, "ProgramMissing", "The program gasthaus-image is missing; install Gasthaus again.");
        return NULL;
    }
    g_ptr_array_add(argv, program);
    g_ptr_array_add(argv, (gpointer)"--json");
    g_ptr_array_add(argv, (gpointer)"--progress");
    for (; *args; args++)
        g_ptr_array_add(argv, (gpointer)*args);
    g_ptr_array_add(argv, NULL);
    g_subprocess_launcher_set_child_setup(launcher, tie, NULL, NULL);
    GSubprocess *p = g_subprocess_launcher_spawnv(launcher, (const char *const *)argv->pdata, &error);
    if (!p) {
        gh_error_set(err, -EIO, "ProgramFailed", "The program “%s” cannot be started: %s.", program, error->message);
        return NULL;
    }
    struct gh_child *c = g_new0(struct gh_child, 1);
    *c = (struct gh_child){ .process = p, .output = g_string_new(NULL), .progress = progress, .note = note, .done = done, .opaque = opaque, .open = 3 };
    c->lines = g_data_input_stream_new(g_subprocess_get_stderr_pipe(p));
    g_data_input_stream_read_line_async(c->lines, G_PRIORITY_DEFAULT, NULL, on_line, c);
    g_input_stream_read_bytes_async(g_subprocess_get_stdout_pipe(p), CHUNK, G_PRIORITY_DEFAULT, NULL, on_output, c);
    g_subprocess_wait_async(p, NULL, on_child_exit, c);
    if (input) {
        char *copy = g_strdup(input);
        g_output_stream_write_all_async(g_subprocess_get_stdin_pipe(p), copy, strlen(copy), G_PRIORITY_DEFAULT, NULL, on_input, copy);
    }
    return c;
}

void gh_child_cancel(struct gh_child *c)
{
    c->cancelled = TRUE;
    g_subprocess_send_signal(c->process, SIGTERM);
}
