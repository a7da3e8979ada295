/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/ctl.h"

static char *socket_path(void)
{
    const char *base = g_getenv("XDG_RUNTIME_DIR");

    return base && base[0] == '/' ? g_build_filename(base, "gasthaus", "bus", NULL)
                                  : g_strdup_printf("/tmp/gasthaus-%u/bus", (unsigned)getuid());
}

static char *daemon_program(void)
{
    static const char *const places[] = { "", "../engine/daemon" };
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);

    if (n > 0) {
        self[n] = 0;
        g_autofree char *folder = g_path_get_dirname(self);
        for (unsigned i = 0; i < G_N_ELEMENTS(places); i++) {
            g_autofree char *path = g_build_filename(folder, places[i], "gasthausd", NULL);
            if (g_file_test(path, G_FILE_TEST_IS_EXECUTABLE))
                return g_steal_pointer(&path);
        }
    }
    return g_find_program_in_path("gasthausd");
}

static void detach(gpointer data) { setsid(); }

static GDBusConnection *try_socket(GError **error)
{
    g_autofree char *path = socket_path();
    g_autofree char *address = g_strdup_printf("unix:path=%s", path);

    return g_dbus_connection_new_for_address_sync(address, G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT, NULL, NULL, error);
}

static GDBusConnection *connect_or_start(GError **error)
{
    GDBusConnection *bus = try_socket(NULL);

    if (bus)
        return bus;
    g_autofree char *program = daemon_program();
    char *argv[] = { program, NULL };
    if (!program) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND, _("The program gasthausd is missing; install Gasthaus again."));
        return NULL;
    }
    if (!g_spawn_async(NULL, argv, NULL, G_SPAWN_STDOUT_TO_DEV_NULL | G_SPAWN_STDERR_TO_DEV_NULL, detach, NULL, NULL, error))
        return NULL;
    for (unsigned i = 0; i < 200 && !bus; i++) {
        g_usleep(50000);
        /* A daemon that was just leaving turned ours away. */
        if (i % 20 == 19)
            g_spawn_async(NULL, argv, NULL, G_SPAWN_STDOUT_TO_DEV_NULL | G_SPAWN_STDERR_TO_DEV_NULL, detach, NULL, NULL, NULL);
        bus = try_socket(i == 199 ? error : NULL);
    }
    return bus;
}

int ctl_connect(struct ctl *ctl)
{
    GError *error = NULL;

    ctl->bus = connect_or_start(&error);
    if (ctl->bus)
        ctl->engine = gh_engine1_proxy_new_sync(ctl->bus, G_DBUS_PROXY_FLAGS_NONE, NULL, "/org/gasthaus/Engine1", NULL, &error);
    if (ctl->engine)
        ctl->manager = gh_object_manager_client_new_sync(ctl->bus, G_DBUS_OBJECT_MANAGER_CLIENT_FLAGS_NONE, NULL, "/org/gasthaus/Engine1", NULL, &error);
    if (!ctl->manager)
        return ctl_fail(ctl, error);
    g_dbus_proxy_set_default_timeout(G_DBUS_PROXY(ctl->engine), 120000);
    return 0;
}

GhEngine1Machine *ctl_machine(struct ctl *ctl, const char *name)
{
    GhEngine1Machine *found = NULL;
    unsigned matches = 0;
    GList *objects = g_dbus_object_manager_get_objects(ctl->manager);

    for (GList *l = objects; l; l = l->next) {
        GhEngine1Machine *m = gh_object_get_engine1_machine(GH_OBJECT(l->data));
        if (!m)
            continue;
        gboolean exact = !strcmp(gh_engine1_machine_get_name(m), name) || !strcmp(gh_engine1_machine_get_uuid(m), name);
        gboolean prefix = strlen(name) >= 4 && g_str_has_prefix(gh_engine1_machine_get_uuid(m), name);
        if (exact || prefix) {
            matches++;
            g_set_object(&found, m);
        }
        g_object_unref(m);
    }
    g_list_free_full(objects, g_object_unref);
    if (matches == 1)
        return found;
    g_clear_object(&found);
    if (matches)
        ctl_error(ctl, "MachineAmbiguous", _("“%s” names %u machines; use the UUID that “gasthausctl list” shows."), name, matches);
    else
        ctl_error(ctl, "MachineUnknown", _("There is no machine “%s”; “gasthausctl list” shows all."), name);
    return NULL;
}

int ctl_error(struct ctl *ctl, const char *id, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    g_autofree char *text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    if (ctl->json) {
        json_t *j = json_pack("{s:{s:s, s:s}}", "error", "id", id, "text", text);
        json_dumpf(j, stderr, 0);
        fputc('\n', stderr);
        json_decref(j);
    } else {
        fprintf(stderr, "gasthausctl: %s [%s]\n", text, id);
    }
    return 1;
}

int ctl_fail(struct ctl *ctl, GError *error)
{
    g_autofree char *name = g_dbus_error_is_remote_error(error) ? g_dbus_error_get_remote_error(error) : NULL;
    const char *prefix = "org.gasthaus.Error.";
    const char *id = name && g_str_has_prefix(name, prefix) ? name + strlen(prefix) : "Failed";

    g_dbus_error_strip_remote_error(error);
    ctl_error(ctl, id, "%s", error->message);
    g_error_free(error);
    return 1;
}

int ctl_usage(const char *text)
{
    fprintf(stderr, _("usage: gasthausctl %s\n"), text);
    return 2;
}

void ctl_print_json(json_t *value)
{
    json_dumpf(value, stdout, JSON_INDENT(2) | JSON_SORT_KEYS);
    putchar('\n');
    json_decref(value);
}

int ctl_print_id(struct ctl *ctl, const char *id)
{
    if (ctl->json)
        ctl_print_json(json_pack("{s:s}", "id", id));
    else
        printf("%s\n", id);
    return 0;
}

json_t *ctl_variant_to_json(GVariant *v)
{
    if (g_variant_is_of_type(v, G_VARIANT_TYPE_VARIANT)) {
        g_autoptr(GVariant) inner = g_variant_get_variant(v);
        return ctl_variant_to_json(inner);
    }
    if (g_variant_is_of_type(v, G_VARIANT_TYPE_STRING) || g_variant_is_of_type(v, G_VARIANT_TYPE_OBJECT_PATH))
        return json_string(g_variant_get_string(v, NULL));
    if (g_variant_is_of_type(v, G_VARIANT_TYPE_BOOLEAN))
        return json_boolean(g_variant_get_boolean(v));
    if (g_variant_is_of_type(v, G_VARIANT_TYPE_UINT64))
        return json_integer((json_int_t)g_variant_get_uint64(v));
    if (g_variant_is_of_type(v, G_VARIANT_TYPE_INT64))
        return json_integer(g_variant_get_int64(v));
    if (g_variant_is_of_type(v, G_VARIANT_TYPE_UINT16))
        return json_integer(g_variant_get_uint16(v));
    if (g_variant_is_of_type(v, G_VARIANT_TYPE_UINT32))
        return json_integer(g_variant_get_uint32(v));
    if (g_variant_is_of_type(v, G_VARIANT_TYPE_DOUBLE))
        return json_real(g_variant_get_double(v));
    gboolean dict = g_variant_is_of_type(v, G_VARIANT_TYPE("a{s*}"));
    if (!dict && !g_variant_is_container(v))
        return json_null();
    json_t *out = dict ? json_object() : json_array();
    GVariantIter iter;
    GVariant *child;
    g_variant_iter_init(&iter, v);
    while ((child = g_variant_iter_next_value(&iter))) {
        if (dict) {
            g_autoptr(GVariant) key = g_variant_get_child_value(child, 0), value = g_variant_get_child_value(child, 1);
            json_object_set_new(out, g_variant_get_string(key, NULL), ctl_variant_to_json(value));
        } else {
            json_array_append_new(out, ctl_variant_to_json(child));
        }
        g_variant_unref(child);
    }
    return out;
}

gboolean ctl_parse_size(const char *text, guint64 *ret)
{
    char *end;
    guint64 n = g_ascii_strtoull(text, &end, 10), unit = 1 << 20;

    if (end == text || text[0] == '-')
        return FALSE;
    switch (*end) {
    case 'k': case 'K': unit = 1 << 10; end++; break;
    case 'm': case 'M': end++; break;
    case 'g': case 'G': unit = 1 << 30; end++; break;
    case 't': case 'T': unit = 1ull << 40; end++; break;
    }
    if ((*end && strcmp(end, "iB") && strcmp(end, "B")) || (n && unit > G_MAXUINT64 / n))
        return FALSE;
    *ret = n * unit;
    return TRUE;
}
