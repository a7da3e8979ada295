/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "gui/engine/gh-connection.h"

#include <glib/gi18n.h>
#include <string.h>
#include <unistd.h>

#include "gui/engine/gh-message.h"

#define FIRST_PAUSE_MS 50
#define LONGEST_PAUSE_MS 3000
/* After this many refused attempts the daemon is started (again); it needs a moment to open its socket. */
#define ATTEMPTS_PER_START 8

struct _GhConnection {
    GObject parent_instance;
    GDBusConnection *bus;
    GhEngine1 *engine;
    GDBusObjectManager *manager;
    GListStore *machines, *jobs;
    GCancellable *cancel;
    guint retry, attempt, pause_ms;
    gboolean was_open;
};

G_DEFINE_FINAL_TYPE (GhConnection, gh_connection, G_TYPE_OBJECT)

enum { CHANGED, FAILED, N_SIGNALS };
static guint signals[N_SIGNALS];

static void try_again (GhConnection *self);

static char *daemon_program (void)
{
    static const char *const places[] = { "", "../engine/daemon" };
    g_autofree char *self = g_file_read_link ("/proc/self/exe", NULL);

    if (self) {
        g_autofree char *folder = g_path_get_dirname (self);
        for (guint i = 0; i < G_N_ELEMENTS (places); i++) {
            g_autofree char *path = g_build_filename (folder, places[i], "gasthausd", NULL);
            if (g_file_test (path, G_FILE_TEST_IS_EXECUTABLE))
                return g_steal_pointer (&path);
        }
    }
    return g_find_program_in_path ("gasthausd");
}

/* A session of its own: closing the window or its terminal must not take the daemon along. */
static void detach (gpointer data) { setsid (); }

static void start_daemon (GhConnection *self)
{
    g_autofree char *program = daemon_program ();
    g_autoptr (GError) error = NULL;
    char *argv[] = { program, NULL };

    if (!program)
        g_signal_emit (self, signals[FAILED], 0, _ ("The program gasthausd is missing; install Gasthaus again."));
    else if (!g_spawn_async (NULL, argv, NULL, G_SPAWN_STDOUT_TO_DEV_NULL | G_SPAWN_STDERR_TO_DEV_NULL, detach, NULL, NULL, &error))
        g_signal_emit (self, signals[FAILED], 0, error->message);
}

static int compare_names (gconstpointer a, gconstpointer b, gpointer data)
{
    g_autofree char *x = g_utf8_casefold (gh_machine_get_name ((gpointer) a), -1);
    g_autofree char *y = g_utf8_casefold (gh_machine_get_name ((gpointer) b), -1);

    return g_utf8_collate (x, y);
}

static GhMachine *find_uuid (GhConnection *self, const char *uuid, guint *ret_position)
{
    guint n = g_list_model_get_n_items (G_LIST_MODEL (self->machines));

    for (guint i = 0; i < n; i++) {
        g_autoptr (GhMachine) m = g_list_model_get_item (G_LIST_MODEL (self->machines), i);
        if (g_str_equal (gh_machine_get_uuid (m), uuid)) {
            if (ret_position)
                *ret_position = i;
            return m; /* the store keeps it */
        }
    }
    return NULL;
}

static void add_object (GhConnection *self, GDBusObject *object)
{
    g_autoptr (GhEngine1Machine) proxy = gh_object_get_engine1_machine (GH_OBJECT (object));

    g_autoptr (GhEngine1Job) job = proxy ? NULL : gh_object_get_engine1_job (GH_OBJECT (object));

    if (job)
        g_list_store_append (self->jobs, job);
    if (!proxy)
        return;
    GhMachine *known = find_uuid (self, gh_engine1_machine_get_uuid (proxy), NULL);
    if (known) {
        gh_machine_set_proxy (known, proxy);
    } else {
        g_autoptr (GhMachine) m = gh_machine_new (proxy);
        g_list_store_insert_sorted (self->machines, m, compare_names, NULL);
    }
}

static void on_object_added (GDBusObjectManager *manager, GDBusObject *object, GhConnection *self)
{ add_object (self, object); }

static void on_object_removed (GDBusObjectManager *manager, GDBusObject *object, GhConnection *self)
{
    const char *path = g_dbus_object_get_object_path (object);

    for (guint i = g_list_model_get_n_items (G_LIST_MODEL (self->machines)); i-- > 0;) {
        g_autoptr (GhMachine) m = g_list_model_get_item (G_LIST_MODEL (self->machines), i);
        if (g_str_equal (g_dbus_proxy_get_object_path (G_DBUS_PROXY (gh_machine_get_proxy (m))), path))
            g_list_store_remove (self->machines, i);
    }
    for (guint i = g_list_model_get_n_items (G_LIST_MODEL (self->jobs)); i-- > 0;) {
        g_autoptr (GDBusProxy) job = g_list_model_get_item (G_LIST_MODEL (self->jobs), i);
        if (g_str_equal (g_dbus_proxy_get_object_path (job), path))
            g_list_store_remove (self->jobs, i);
    }
}

static void close_all (GhConnection *self)
{
    if (self->manager)
        g_signal_handlers_disconnect_by_data (self->manager, self);
    if (self->bus)
        g_signal_handlers_disconnect_by_data (self->bus, self);
    if (self->jobs)
        g_list_store_remove_all (self->jobs); /* they end with their daemon */
    g_clear_object (&self->manager);
    g_clear_object (&self->engine);
    g_clear_object (&self->bus);
}

static void on_closed (GDBusConnection *bus, gboolean vanished, GError *error, GhConnection *self)
{
    close_all (self);
    self->attempt = 0;
    self->pause_ms = FIRST_PAUSE_MS;
    g_signal_emit (self, signals[CHANGED], 0);
    try_again (self);
}

static void on_manager (GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr (GhConnection) self = data;
    g_autoptr (GError) error = NULL;
    GDBusObjectManager *manager = gh_object_manager_client_new_finish (result, &error);

    if (!manager) {
        close_all (self);
        try_again (self);
        return;
    }
    self->manager = manager;
    g_signal_connect (manager, "object-added", G_CALLBACK (on_object_added), self);
    g_signal_connect (manager, "object-removed", G_CALLBACK (on_object_removed), self);
    GList *objects = g_dbus_object_manager_get_objects (manager);
    g_autoptr (GHashTable) seen = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
    for (GList *l = objects; l; l = l->next) {
        g_autoptr (GhEngine1Machine) proxy = gh_object_get_engine1_machine (l->data);
        if (proxy)
            g_hash_table_add (seen, g_strdup (gh_engine1_machine_get_uuid (proxy)));
        add_object (self, l->data);
    }
    g_list_free_full (objects, g_object_unref);
    for (guint i = g_list_model_get_n_items (G_LIST_MODEL (self->machines)); i-- > 0;) {
        g_autoptr (GhMachine) m = g_list_model_get_item (G_LIST_MODEL (self->machines), i);
        if (!g_hash_table_contains (seen, gh_machine_get_uuid (m)))
            g_list_store_remove (self->machines, i);
    }
    self->was_open = TRUE;
    self->attempt = 0;
    self->pause_ms = FIRST_PAUSE_MS;
    g_signal_emit (self, signals[CHANGED], 0);
}

static void on_engine (GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr (GhConnection) self = data;
    g_autoptr (GError) error = NULL;

    self->engine = gh_engine1_proxy_new_finish (result, &error);
    if (!self->engine) {
        close_all (self);
        try_again (self);
        return;
    }
    g_dbus_proxy_set_default_timeout (G_DBUS_PROXY (self->engine), 120000);
    gh_engine1_call_describe_errors (self->engine, NULL, NULL, NULL); /* without an answer they stay English */
    gh_object_manager_client_new (self->bus, G_DBUS_OBJECT_MANAGER_CLIENT_FLAGS_NONE, NULL, "/org/gasthaus/Engine1",
                                  self->cancel, on_manager, g_object_ref (self));
}

static void on_bus (GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr (GhConnection) self = data;
    g_autoptr (GError) error = NULL;

    self->bus = g_dbus_connection_new_for_address_finish (result, &error);
    if (!self->bus) {
        if (g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
            return;
        if (self->attempt++ % ATTEMPTS_PER_START == 0)
            start_daemon (self);
        try_again (self);
        return;
    }
    gh_message_localize_errors (self->bus);
    g_signal_connect (self->bus, "closed", G_CALLBACK (on_closed), self);
    gh_engine1_proxy_new (self->bus, G_DBUS_PROXY_FLAGS_NONE, NULL, "/org/gasthaus/Engine1", self->cancel, on_engine,
                          g_object_ref (self));
}

static gboolean on_retry (gpointer data)
{
    GhConnection *self = data;

    self->retry = 0;
    gh_connection_open (self);
    return G_SOURCE_REMOVE;
}

static void try_again (GhConnection *self)
{
    if (self->retry || g_cancellable_is_cancelled (self->cancel))
        return;
    self->retry = g_timeout_add (self->pause_ms, on_retry, self);
    self->pause_ms = MIN (self->pause_ms * 3 / 2, LONGEST_PAUSE_MS);
}

void gh_connection_open (GhConnection *self)
{
    const char *base = g_getenv ("XDG_RUNTIME_DIR");
    g_autofree char *path = base && base[0] == '/' ? g_build_filename (base, "gasthaus", "bus", NULL)
                                                   : g_strdup_printf ("/tmp/gasthaus-%u/bus", (guint) getuid ());
    g_autofree char *escaped = g_dbus_address_escape_value (path);
    g_autofree char *address = g_strdup_printf ("unix:path=%s", escaped);

    g_dbus_connection_new_for_address (address, G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT, NULL, self->cancel, on_bus,
                                       g_object_ref (self));
}

gboolean gh_connection_is_open (GhConnection *self) { return self->manager != NULL; }
gboolean gh_connection_was_open (GhConnection *self) { return self->was_open; }
GhEngine1 *gh_connection_get_engine (GhConnection *self) { return self->manager ? self->engine : NULL; }
GListModel *gh_connection_get_jobs (GhConnection *self) { return G_LIST_MODEL (self->jobs); }
GListModel *gh_connection_get_machines (GhConnection *self) { return G_LIST_MODEL (self->machines); }

GhMachine *gh_connection_find (GhConnection *self, const char *object_path)
{
    guint n = g_list_model_get_n_items (G_LIST_MODEL (self->machines));

    for (guint i = 0; i < n; i++) {
        g_autoptr (GhMachine) m = g_list_model_get_item (G_LIST_MODEL (self->machines), i);
        if (g_str_equal (g_dbus_proxy_get_object_path (G_DBUS_PROXY (gh_machine_get_proxy (m))), object_path))
            return m;
    }
    return NULL;
}

GhConnection *gh_connection_new (void) { return g_object_new (GH_TYPE_CONNECTION, NULL); }

static void gh_connection_dispose (GObject *object)
{
    GhConnection *self = GH_CONNECTION (object);

    g_cancellable_cancel (self->cancel);
    g_clear_handle_id (&self->retry, g_source_remove);
    close_all (self);
    g_clear_object (&self->machines);
    g_clear_object (&self->jobs);
    G_OBJECT_CLASS (gh_connection_parent_class)->dispose (object);
}

static void gh_connection_finalize (GObject *object)
{
    g_object_unref (GH_CONNECTION (object)->cancel);
    G_OBJECT_CLASS (gh_connection_parent_class)->finalize (object);
}

static void gh_connection_class_init (GhConnectionClass *klass)
{
    G_OBJECT_CLASS (klass)->dispose = gh_connection_dispose;
    G_OBJECT_CLASS (klass)->finalize = gh_connection_finalize;
    signals[CHANGED] = g_signal_new ("changed", GH_TYPE_CONNECTION, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 0);
    signals[FAILED] = g_signal_new ("failed", GH_TYPE_CONNECTION, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 1, G_TYPE_STRING);
}

static void gh_connection_init (GhConnection *self)
{
    self->machines = g_list_store_new (GH_TYPE_MACHINE);
    self->jobs = g_list_store_new (GH_TYPE_ENGINE1_JOB);
    self->cancel = g_cancellable_new ();
    self->pause_ms = FIRST_PAUSE_MS;
}
