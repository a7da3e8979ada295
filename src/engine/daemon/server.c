/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Where the API is served: the private socket (always), and the session bus where there is one.
 * Each connection has its own object manager over the same object skeletons.
 */
#include <errno.h>
#include <glib/gstdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/daemon/daemon.h"

static void manager_closed(GDBusConnection *connection, gboolean by_peer, GError *error, gpointer data)
{
    struct gh_daemon *d = data;

    for (GList *l = d->managers; l; l = l->next) {
        GDBusObjectManagerServer *manager = l->data;
        g_autoptr(GDBusConnection) own = g_dbus_object_manager_server_get_connection(manager);
        if (own != connection)
            continue;
        g_dbus_object_manager_server_set_connection(manager, NULL);
        d->managers = g_list_delete_link(d->managers, l);
        g_object_unref(manager);
        break;
    }
    g_dbus_interface_skeleton_unexport_from_connection(G_DBUS_INTERFACE_SKELETON(d->iface), connection);
    g_signal_handlers_disconnect_by_data(connection, d);
    g_object_unref(connection);
}

static void serve(struct gh_daemon *d, GDBusConnection *connection)
{
    GDBusObjectManagerServer *manager = g_dbus_object_manager_server_new(GH_ENGINE_PATH);
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, d->machines);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        struct gh_daemon_machine *m = value;
        g_dbus_object_manager_server_export(manager, G_DBUS_OBJECT_SKELETON(m->object));
    }
    g_dbus_interface_skeleton_export(G_DBUS_INTERFACE_SKELETON(d->iface), connection, GH_ENGINE_PATH, NULL);
    g_dbus_object_manager_server_set_connection(manager, connection);
    d->managers = g_list_prepend(d->managers, manager);
    g_signal_connect(g_object_ref(connection), "closed", G_CALLBACK(manager_closed), d);
}

static gboolean new_connection(GDBusServer *server, GDBusConnection *connection, gpointer data)
{
    serve(data, connection);
    return TRUE;
}

/* Only the same user: the folder's rights say so already, the peer's credentials say it again. */
static gboolean authorize(GDBusAuthObserver *observer, GIOStream *stream, GCredentials *credentials, gpointer data)
{
    return credentials && g_credentials_get_unix_user(credentials, NULL) == getuid();
}

void gh_server_export(struct gh_daemon *d, GDBusObjectSkeleton *object)
{
    for (GList *l = d->managers; l; l = l->next)
        g_dbus_object_manager_server_export(l->data, object);
}

void gh_server_unexport(struct gh_daemon *d, GDBusObjectSkeleton *object)
{
    const char *path = g_dbus_object_get_object_path(G_DBUS_OBJECT(object));

    for (GList *l = d->managers; l; l = l->next)
        g_dbus_object_manager_server_unexport(l->data, path);
}

static void bus_acquired(GDBusConnection *connection, const char *name, gpointer data) { serve(data, connection); }

int gh_server_start(struct gh_daemon *d, struct gh_error *err)
{
    g_autofree char *socket = g_build_filename(d->runtime, "bus", NULL);
    g_autofree char *address = g_strdup_printf("unix:path=%s", socket);
    g_autofree char *guid = g_dbus_generate_guid();
    g_autoptr(GDBusAuthObserver) observer = g_dbus_auth_observer_new();
    g_autoptr(GError) error = NULL;

    g_signal_connect(observer, "authorize-authenticated-peer", G_CALLBACK(authorize), NULL);
    g_unlink(socket); /* the caller holds the daemon's lock: nobody serves it */
    d->server = g_dbus_server_new_sync(address, G_DBUS_SERVER_FLAGS_NONE, guid, observer, NULL, &error);
    if (!d->server)
        return gh_error_set(err, -EIO, "SocketFailed", "The daemon's socket “%s” cannot be made: %s.", socket, error->message);
    g_chmod(socket, 0600);
    g_signal_connect(d->server, "new-connection", G_CALLBACK(new_connection), d);
    g_dbus_server_start(d->server);
    if (g_getenv("DBUS_SESSION_BUS_ADDRESS"))
        g_bus_own_name(G_BUS_TYPE_SESSION, GH_ENGINE_NAME, G_BUS_NAME_OWNER_FLAGS_NONE, bus_acquired, NULL, NULL, d, NULL);
    return 0;
}

void gh_server_stop(struct gh_daemon *d)
{
    g_autofree char *socket = g_build_filename(d->runtime, "bus", NULL);

    if (d->server)
        g_dbus_server_stop(d->server);
    g_unlink(socket);
}
