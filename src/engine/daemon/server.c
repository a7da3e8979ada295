/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Where the API is served: the private socket (always), and the session bus where there is one.
 * GDBusObjectManagerServer takes objects off every connection when one closes, so the object manager's
 * interface is served here by hand over skeletons that each connection shares.
 */
#include <errno.h>
#include <glib/gstdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/daemon/daemon.h"
#include "engine/daemon/job.h"

static const char object_manager_xml[] =
    "<node><interface name='org.freedesktop.DBus.ObjectManager'>"
    "<method name='GetManagedObjects'><arg type='a{oa{sa{sv}}}' name='objects' direction='out'/></method>"
    "<signal name='InterfacesAdded'><arg type='o' name='object'/><arg type='a{sa{sv}}' name='interfaces'/></signal>"
    "<signal name='InterfacesRemoved'><arg type='o' name='object'/><arg type='as' name='interfaces'/></signal>"
    "</interface></node>";
static const char machine_interface[] = "org.gasthaus.Engine1.Machine", job_interface[] = "org.gasthaus.Engine1.Job";

static char *object_path(struct gh_daemon_machine *m)
{ return g_strdup(g_dbus_object_get_object_path(G_DBUS_OBJECT(m->object))); }

/* a{sa{sv}}: the one interface of an object with its properties. */
static GVariant *describe_object(const char *interface, GDBusInterfaceSkeleton *skeleton)
{
    GVariantBuilder b;

    g_variant_builder_init(&b, G_VARIANT_TYPE("a{sa{sv}}"));
    g_variant_builder_add(&b, "{s@a{sv}}", interface, g_dbus_interface_skeleton_get_properties(skeleton));
    return g_variant_builder_end(&b);
}

static GVariant *describe_machine(struct gh_daemon_machine *m) { return describe_object(machine_interface, G_DBUS_INTERFACE_SKELETON(m->iface)); }

static void get_managed_objects(GDBusConnection *connection, const char *sender, const char *path, const char *interface,
                                const char *method, GVariant *parameters, GDBusMethodInvocation *inv, gpointer data)
{
    struct gh_daemon *d = data;
    GVariantBuilder b;
    GHashTableIter iter;
    gpointer value;

    g_variant_builder_init(&b, G_VARIANT_TYPE("a{oa{sa{sv}}}"));
    g_hash_table_iter_init(&iter, d->machines);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        g_autofree char *object = object_path(value);
        g_variant_builder_add(&b, "{o@a{sa{sv}}}", object, describe_machine(value));
    }
    for (GList *l = d->jobs; l; l = l->next)
        g_variant_builder_add(&b, "{o@a{sa{sv}}}", gh_job_path(l->data), describe_object(job_interface, gh_job_iface(l->data)));
    g_dbus_method_invocation_return_value(inv, g_variant_new("(a{oa{sa{sv}}})", &b));
}

static const GDBusInterfaceVTable object_manager_vtable = { .method_call = get_managed_objects };

static void export_machine(struct gh_daemon_machine *m, GDBusConnection *connection)
{
    g_autofree char *path = object_path(m);

    g_dbus_interface_skeleton_export(G_DBUS_INTERFACE_SKELETON(m->iface), connection, path, NULL);
}

static void connection_closed(GDBusConnection *connection, gboolean by_peer, GError *error, gpointer data)
{
    struct gh_daemon *d = data;
    GHashTableIter iter;
    gpointer value;

    if (!g_list_find(d->connections, connection))
        return;
    d->connections = g_list_remove(d->connections, connection);
    g_hash_table_iter_init(&iter, d->machines);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        GDBusInterfaceSkeleton *iface = G_DBUS_INTERFACE_SKELETON(((struct gh_daemon_machine *)value)->iface);
        if (g_dbus_interface_skeleton_has_connection(iface, connection))
            g_dbus_interface_skeleton_unexport_from_connection(iface, connection);
    }
    for (GList *l = d->jobs; l; l = l->next)
        if (g_dbus_interface_skeleton_has_connection(gh_job_iface(l->data), connection))
            g_dbus_interface_skeleton_unexport_from_connection(gh_job_iface(l->data), connection);
    g_dbus_interface_skeleton_unexport_from_connection(G_DBUS_INTERFACE_SKELETON(d->iface), connection);
    g_signal_handlers_disconnect_by_data(connection, d);
    g_object_unref(connection);
}

static void serve(struct gh_daemon *d, GDBusConnection *connection)
{
    static GDBusNodeInfo *node;
    GHashTableIter iter;
    gpointer value;

    if (!node)
        node = g_dbus_node_info_new_for_xml(object_manager_xml, NULL);
    g_dbus_interface_skeleton_export(G_DBUS_INTERFACE_SKELETON(d->iface), connection, GH_ENGINE_PATH, NULL);
    g_hash_table_iter_init(&iter, d->machines);
    while (g_hash_table_iter_next(&iter, NULL, &value))
        export_machine(value, connection);
    for (GList *l = d->jobs; l; l = l->next)
        g_dbus_interface_skeleton_export(gh_job_iface(l->data), connection, gh_job_path(l->data), NULL);
    g_dbus_connection_register_object(connection, GH_ENGINE_PATH, node->interfaces[0], &object_manager_vtable, d, NULL, NULL);
    d->connections = g_list_prepend(d->connections, g_object_ref(connection));
    g_signal_connect(connection, "closed", G_CALLBACK(connection_closed), d);
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

static void tell(struct gh_daemon *d, const char *signal, GVariant *parameters)
{
    g_autoptr(GVariant) held = g_variant_ref_sink(parameters);

    for (GList *l = d->connections; l; l = l->next)
        g_dbus_connection_emit_signal(l->data, NULL, GH_ENGINE_PATH, "org.freedesktop.DBus.ObjectManager", signal, held, NULL);
}

void gh_server_export(struct gh_daemon *d, struct gh_daemon_machine *m)
{
    g_autofree char *path = object_path(m);

    for (GList *l = d->connections; l; l = l->next)
        export_machine(m, l->data);
    tell(d, "InterfacesAdded", g_variant_new("(o@a{sa{sv}})", path, describe_machine(m)));
}

void gh_server_unexport(struct gh_daemon *d, struct gh_daemon_machine *m)
{
    static const char *const interfaces[] = { machine_interface, NULL };
    g_autofree char *path = object_path(m);

    if (g_dbus_interface_skeleton_get_connection(G_DBUS_INTERFACE_SKELETON(m->iface)))
        g_dbus_interface_skeleton_unexport(G_DBUS_INTERFACE_SKELETON(m->iface));
    tell(d, "InterfacesRemoved", g_variant_new("(o^as)", path, interfaces));
}

void gh_server_export_job(struct gh_daemon *d, struct gh_job *job)
{
    for (GList *l = d->connections; l; l = l->next)
        g_dbus_interface_skeleton_export(gh_job_iface(job), l->data, gh_job_path(job), NULL);
    tell(d, "InterfacesAdded", g_variant_new("(o@a{sa{sv}})", gh_job_path(job), describe_object(job_interface, gh_job_iface(job))));
}

void gh_server_unexport_job(struct gh_daemon *d, struct gh_job *job)
{
    static const char *const interfaces[] = { job_interface, NULL };

    if (g_dbus_interface_skeleton_get_connection(gh_job_iface(job)))
        g_dbus_interface_skeleton_unexport(gh_job_iface(job));
    tell(d, "InterfacesRemoved", g_variant_new("(o^as)", gh_job_path(job), interfaces));
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
