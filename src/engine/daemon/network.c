/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Network adapters of a machine: what its definition says, what a running machine tells, and the
 * methods that change both. What a running machine refuses is not saved either.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

#include "engine/daemon/daemon.h"

/* ---- The property ------------------------------------------------------------------------------------- */
static GVariant *describe_forwards(const struct gh_network *n)
{
    GVariantBuilder list;

    g_variant_builder_init(&list, G_VARIANT_TYPE("a(ssqq)"));
    for (unsigned f = 0; f < n->forward_count; f++)
        g_variant_builder_add(&list, "(ssqq)", n->forward[f].protocol, n->forward[f].host_address, n->forward[f].host_port, n->forward[f].guest_port);
    return g_variant_builder_end(&list);
}

GVariant *gh_network_describe(struct gh_daemon_machine *m)
{
    GVariantBuilder list;

    g_variant_builder_init(&list, G_VARIANT_TYPE("aa{sv}"));
    for (unsigned i = 0; i < m->definition->network_count; i++) {
        const struct gh_network *n = &m->definition->network[i];
        const struct gh_daemon_net *live = &m->net[i];
        g_autofree char *id = g_strdup_printf("net%u", i);
        GVariantDict d;
        g_variant_dict_init(&d, NULL);
        g_variant_dict_insert(&d, "id", "s", id);
        g_variant_dict_insert(&d, "adapter", "s", n->adapter);
        g_variant_dict_insert(&d, "mode", "s", n->mode);
        g_variant_dict_insert(&d, "network", "s", n->name);
        g_variant_dict_insert(&d, "mac", "s", n->mac);
        g_variant_dict_insert(&d, "connected", "b", n->connected);
        g_variant_dict_insert(&d, "limit-kbits", "u", n->limit_kbits);
        g_variant_dict_insert(&d, "socket", "s", n->socket);
        g_variant_dict_insert(&d, "host-loopback", "b", n->host_loopback);
        g_variant_dict_insert(&d, "ipv6", "b", !n->no_ipv6);
        g_variant_dict_insert(&d, "subnet", "s", n->subnet);
        g_variant_dict_insert(&d, "tftp", "s", n->tftp);
        g_variant_dict_insert(&d, "bootfile", "s", n->bootfile);
        g_variant_dict_insert_value(&d, "forwards", describe_forwards(n));
        if (m->instance && live->known) {
            g_variant_dict_insert(&d, "link", "b", n->connected && live->backend);
            g_variant_dict_insert(&d, "capturing", "b", live->capturing);
            if (live->capturing)
                g_variant_dict_insert(&d, "capture", "s", live->capture);
            g_variant_dict_insert(&d, "address", "s", live->address);
            g_variant_dict_insert(&d, "address6", "s", live->address6);
        }
        g_variant_builder_add_value(&list, g_variant_dict_end(&d));
    }
    return g_variant_builder_end(&list);
}

static void publish(struct gh_daemon_machine *m)
{
    gh_engine1_machine_set_networks(m->iface, gh_network_describe(m));
    g_dbus_interface_skeleton_flush(G_DBUS_INTERFACE_SKELETON(m->iface));
}

void gh_network_forget(struct gh_daemon_machine *m)
{
    gh_network_abandon(m);
    memset(m->net, 0, sizeof m->net);
    if (m->definition)
        publish(m);
}

static void status_known(struct gh_daemon_machine *m, const struct gh_error *err, void *reply, int fd, void *opaque)
{
    unsigned index = GPOINTER_TO_UINT(opaque);
    const char *address = json_string_value(json_object_get(reply, "address")), *address6 = json_string_value(json_object_get(reply, "address6"));

    if (err || index >= m->definition->network_count)
        return;
    struct gh_daemon_net *n = &m->net[index];
    n->known = TRUE;
    n->backend = json_is_true(json_object_get(reply, "backend"));
    n->capturing = json_is_true(json_object_get(reply, "capturing"));
    g_strlcpy(n->address, address ? address : "", sizeof n->address);
    g_strlcpy(n->address6, address6 ? address6 : "", sizeof n->address6);
    publish(m);
}

void gh_network_ask(struct gh_daemon_machine *m, const char *adapter)
{
    for (unsigned i = 0; i < m->definition->network_count; i++) {
        g_autofree char *id = g_strdup_printf("net%u", i);
        if (!adapter || !strcmp(adapter, id))
            gh_instance_call(m, "net-status", json_pack("{s:s}", "adapter", id), -1, status_known, GUINT_TO_POINTER(i));
    }
}

/* ---- Changes -------------------------------------------------------------------------------------------- */
static struct gh_network *find(struct gh_daemon_machine *m, struct gh_definition *d, const char *id, struct gh_error *err)
{
    struct gh_network *n = gh_definition_network(d, id);

    if (!n)
        gh_error_option(err, -ENOENT, "AdapterUnknown", "adapter", "“%s” has no network adapter “%s”; the first is net0.", m->definition->name, id);
    return n;
}

static int needs_off(struct gh_daemon_machine *m, struct gh_error *err)
{
    return !m->instance ? 0 : gh_error_set(err, -EBUSY, "MachineRunning", "“%s” is running; network cards can be added, exchanged and removed, and passt and sockets chosen, when it is off. "
                                           "Cable, limit, port forwards, NAT and internal networks can be changed now.", m->definition->name);
}

static int take_text(GVariant *v, const char *key, char *out, size_t size, struct gh_error *err)
{
    if (!g_variant_is_of_type(v, G_VARIANT_TYPE_STRING) || strlen(g_variant_get_string(v, NULL)) >= size)
        return gh_error_option(err, -EINVAL, "SettingInvalid", key, "The value of “%s” is not possible.", key);
    g_strlcpy(out, g_variant_get_string(v, NULL), size);
    return 0;
}

/* What a change needs of a running machine. */
enum needs { AT_ONCE, CONNECTED_ANEW, SWITCHED_OFF };

static int apply(struct gh_network *n, GVariant *settings, enum needs *needs, struct gh_error *err)
{
    const struct { const char *key; char *out; size_t size; enum needs needs; } texts[] = {
        { "adapter", n->adapter, sizeof n->adapter, SWITCHED_OFF }, { "mac", n->mac, sizeof n->mac, SWITCHED_OFF },
        { "mode", n->mode, sizeof n->mode, CONNECTED_ANEW }, { "network", n->name, sizeof n->name, CONNECTED_ANEW },
        { "socket", n->socket, sizeof n->socket, CONNECTED_ANEW }, { "subnet", n->subnet, sizeof n->subnet, CONNECTED_ANEW },
        { "tftp", n->tftp, sizeof n->tftp, CONNECTED_ANEW }, { "bootfile", n->bootfile, sizeof n->bootfile, CONNECTED_ANEW },
    };
    GVariantIter iter;
    const char *key;
    GVariant *v;
    int r = 0;

    *needs = AT_ONCE;
    g_variant_iter_init(&iter, settings);
    while (r == 0 && g_variant_iter_next(&iter, "{&sv}", &key, &v)) {
        gboolean boolean = g_variant_is_of_type(v, G_VARIANT_TYPE_BOOLEAN), taken = TRUE;
        enum needs this = CONNECTED_ANEW;
        unsigned i = 0;
        while (i < G_N_ELEMENTS(texts) && strcmp(key, texts[i].key))
            i++;
        if (i < G_N_ELEMENTS(texts)) {
            r = take_text(v, key, texts[i].out, texts[i].size, err);
            this = texts[i].needs;
        } else if (!strcmp(key, "host-loopback") && boolean) {
            n->host_loopback = g_variant_get_boolean(v);
        } else if (!strcmp(key, "ipv6") && boolean) {
            n->no_ipv6 = !g_variant_get_boolean(v);
        } else {
            this = AT_ONCE;
            if (!strcmp(key, "connected") && boolean)
                n->connected = g_variant_get_boolean(v);
            else if (!strcmp(key, "limit-kbits") && g_variant_is_of_type(v, G_VARIANT_TYPE_UINT32))
                n->limit_kbits = g_variant_get_uint32(v);
            else
                taken = FALSE;
        }
        *needs = MAX(*needs, this);
        if (!taken)
            r = gh_error_option(err, -EINVAL, "SettingUnknown", key, "There is no setting “%s” of that type for a network adapter.", key);
        g_variant_unref(v);
    }
    if (r == 0 && n->limit_kbits && (n->limit_kbits < 8 || n->limit_kbits > 1000000000))
        r = gh_error_option(err, -ERANGE, "LimitInvalid", "limit-kbits", "A limit of %u kbit/s is not possible; give 8 kbit/s or more, or 0 for none.", n->limit_kbits);
    return r;
}

/* Two machines with one address disturb each other as soon as they meet on a network. */
static int check_mac(struct gh_daemon_machine *m, const struct gh_network *n, struct gh_error *err)
{
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, m->daemon->machines);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const struct gh_daemon_machine *other = value;
        for (unsigned i = 0; other != m && other->definition && i < other->definition->network_count; i++)
            if (!g_ascii_strcasecmp(other->definition->network[i].mac, n->mac))
                return gh_error_option(err, -EEXIST, "MacTwice", "mac", "The machine “%s” has the hardware address %s already; choose another.",
                                       other->definition->name, n->mac);
    }
    return 0;
}

static gboolean on_add(GhEngine1Machine *iface, GDBusMethodInvocation *inv, GVariant *settings, gpointer data)
{
    struct gh_daemon_machine *m = data;
    struct gh_error err = { 0 };
    struct gh_definition *changed = gh_definition_copy(m->definition);
    struct gh_network *n = NULL;
    enum needs needs;

    if (needs_off(m, &err) || !(n = gh_definition_add_network(changed, "e1000", "nat", &err)) || apply(n, settings, &needs, &err) || check_mac(m, n, &err))
        return gh_refuse_change(inv, changed, &err);
    g_autofree char *id = g_strdup_printf("net%u", changed->network_count - 1);
    if (gh_daemon_machine_save(m, changed, &err))
        return gh_refuse_change(inv, NULL, &err);
    gh_engine1_machine_complete_add_adapter(iface, inv, id);
    return TRUE;
}

static void ignore_reply(struct gh_daemon_machine *m, const struct gh_error *err, void *reply, int fd, void *opaque) { }

/* A changed definition that waits for the word of the running machine or its supervisor. */
struct waiting { GDBusMethodInvocation *inv; struct gh_definition *changed; };

static void tell_live(struct gh_daemon_machine *m, unsigned index)
{
    const struct gh_network *n = &m->definition->network[index];
    g_autofree char *id = g_strdup_printf("net%u", index);

    gh_instance_call(m, "net-cable", json_pack("{s:s, s:b}", "adapter", id, "plugged", n->connected), -1, ignore_reply, NULL);
    gh_instance_call(m, "net-limit", json_pack("{s:s, s:i}", "adapter", id, "kbits", (int)n->limit_kbits), -1, ignore_reply, NULL);
}

static void connected_anew(struct gh_daemon_machine *m, const struct gh_error *err, void *opaque)
{
    struct waiting *w = opaque;
    struct gh_error failure = { 0 };

    if (!err && w->changed->revision != m->definition->revision) {
        gh_error_set(&failure, -EAGAIN, "RevisionConflict", "The settings of “%s” were changed meanwhile; the network is another until it is switched off. Change it again to keep it.",
                     m->definition->name);
        err = &failure;
    }
    if (err) {
        gh_definition_free(w->changed);
        gh_return_error(w->inv, err);
    } else if (gh_daemon_machine_save(m, w->changed, &failure)) {
        gh_return_error(w->inv, &failure);
    } else {
        for (unsigned i = 0; m->instance && i < m->definition->network_count; i++)
            tell_live(m, i);
        g_dbus_method_invocation_return_value(w->inv, NULL);
    }
    g_free(w);
}

static gboolean on_change(GhEngine1Machine *iface, GDBusMethodInvocation *inv, const char *id, GVariant *settings, gpointer data)
{
    struct gh_daemon_machine *m = data;
    struct gh_error err = { 0 };
    struct gh_definition *changed = gh_definition_copy(m->definition);
    struct gh_network *n = find(m, changed, id, &err);
    enum needs needs;

    if (!n || apply(n, settings, &needs, &err))
        return gh_refuse_change(inv, changed, &err);
    if (needs == CONNECTED_ANEW && (!strcmp(n->mode, "passt") || !strcmp(n->mode, "stream")))
        needs = SWITCHED_OFF;
    if ((needs == SWITCHED_OFF && needs_off(m, &err)) || check_mac(m, n, &err) || gh_definition_check(changed, &err))
        return gh_refuse_change(inv, changed, &err);
    unsigned index = (unsigned)(n - changed->network);
    if (m->instance && needs == CONNECTED_ANEW) {
        struct waiting *w = g_new0(struct waiting, 1);
        *w = (struct waiting){ inv, changed };
        gh_network_reconnect(m, id, n, connected_anew, w);
        return TRUE;
    }
    if (gh_daemon_machine_save(m, changed, &err))
        return gh_refuse_change(inv, NULL, &err);
    if (m->instance)
        tell_live(m, index);
    gh_engine1_machine_complete_change_adapter(iface, inv);
    return TRUE;
}

static gboolean on_remove(GhEngine1Machine *iface, GDBusMethodInvocation *inv, const char *id, gpointer data)
{
    struct gh_daemon_machine *m = data;
    struct gh_error err = { 0 };
    struct gh_definition *changed = gh_definition_copy(m->definition);
    struct gh_network *n = find(m, changed, id, &err);

    if (!n || needs_off(m, &err))
        return gh_refuse_change(inv, changed, &err);
    unsigned index = (unsigned)(n - changed->network);
    memmove(n, n + 1, (--changed->network_count - index) * sizeof *n);
    if (gh_daemon_machine_save(m, changed, &err))
        return gh_refuse_change(inv, NULL, &err);
    gh_engine1_machine_complete_remove_adapter(iface, inv);
    return TRUE;
}

/* ---- Forwards ---------------------------------------------------------------------------------------------- */
static void forward_done(struct gh_daemon_machine *m, const struct gh_error *err, void *reply, int fd, void *opaque)
{
    struct waiting *f = opaque;
    struct gh_error failure = { 0 };

    if (err) {
        gh_definition_free(f->changed);
        gh_return_error(f->inv, err);
    } else if (f->changed->revision != m->definition->revision) {
        gh_error_set(&failure, -EAGAIN, "RevisionConflict", "The settings of “%s” were changed meanwhile; the port is forwarded until it is switched off. Add it again to keep it.",
                     m->definition->name);
        gh_definition_free(f->changed);
        gh_return_error(f->inv, &failure);
    } else if (gh_daemon_machine_save(m, f->changed, &failure)) {
        gh_return_error(f->inv, &failure);
    } else {
        g_dbus_method_invocation_return_value(f->inv, NULL);
    }
    g_free(f);
}

static gboolean forward(struct gh_daemon_machine *m, GDBusMethodInvocation *inv, struct gh_definition *changed, gboolean ask, const char *verb, json_t *parameters)
{
    struct gh_error err = { 0 };
    int r = gh_definition_check(changed, &err);

    if (r) {
        json_decref(parameters);
        return gh_refuse_change(inv, changed, &err);
    }
    struct waiting *f = g_new0(struct waiting, 1);
    *f = (struct waiting){ inv, changed };
    if (ask) {
        gh_instance_call(m, verb, parameters, -1, forward_done, f);
    } else {
        json_decref(parameters);
        forward_done(m, NULL, NULL, -1, f);
    }
    return TRUE;
}

static gboolean on_add_forward(GhEngine1Machine *iface, GDBusMethodInvocation *inv, const char *id, const char *protocol, const char *address, guint16 host_port,
                               guint16 guest_port, gpointer data)
{
    struct gh_daemon_machine *m = data;
    struct gh_error err = { 0 };
    struct gh_definition *changed = gh_definition_copy(m->definition);
    struct gh_network *n = find(m, changed, id, &err);

    if (!n)
        return gh_refuse_change(inv, changed, &err);
    if (!gh_network_takes_forwards(n)) {
        gh_error_option(&err, -EOPNOTSUPP, "ForwardUnsupported", "adapter", "Ports can be forwarded with NAT only; “%s” of “%s” is connected otherwise.", id, m->definition->name);
        return gh_refuse_change(inv, changed, &err);
    }
    if (n->forward_count == GH_FORWARDS_MAX) {
        gh_error_option(&err, -ENOSPC, "TooManyForwards", "forward", "An adapter can have at most %d port forwards; remove one first.", GH_FORWARDS_MAX);
        return gh_refuse_change(inv, changed, &err);
    }
    struct gh_forward *f = &n->forward[n->forward_count++];
    *f = (struct gh_forward){ .host_port = host_port, .guest_port = guest_port };
    g_strlcpy(f->protocol, protocol, sizeof f->protocol);
    g_strlcpy(f->host_address, address[0] ? address : "127.0.0.1", sizeof f->host_address);
    json_t *parameters = json_pack("{s:s, s:s, s:s, s:i, s:i}", "adapter", id, "protocol", f->protocol, "address", f->host_address, "host-port", host_port,
                                   "guest-port", guest_port);
    return forward(m, inv, changed, m->instance != NULL, "net-forward-add", parameters);
}

static gboolean on_remove_forward(GhEngine1Machine *iface, GDBusMethodInvocation *inv, const char *id, const char *protocol, const char *address, guint16 host_port,
                                  gpointer data)
{
    struct gh_daemon_machine *m = data;
    struct gh_error err = { 0 };
    struct gh_definition *changed = gh_definition_copy(m->definition);
    struct gh_network *n = find(m, changed, id, &err);

    if (!address[0])
        address = "127.0.0.1";
    for (unsigned i = 0; n && i < n->forward_count; i++) {
        if (n->forward[i].host_port != host_port || strcmp(n->forward[i].protocol, protocol) || strcmp(n->forward[i].host_address, address))
            continue;
        memmove(&n->forward[i], &n->forward[i + 1], (--n->forward_count - i) * sizeof n->forward[0]);
        json_t *parameters = json_pack("{s:s, s:s, s:s, s:i}", "adapter", id, "protocol", protocol, "address", address, "host-port", host_port);
        return forward(m, inv, changed, m->instance != NULL, "net-forward-remove", parameters);
    }
    if (n)
        gh_error_option(&err, -ENOENT, "ForwardUnknown", "forward", "%s port %u of %s is not forwarded to “%s”.", protocol, host_port, address, m->definition->name);
    return gh_refuse_change(inv, changed, &err);
}

/* ---- Capture -------------------------------------------------------------------------------------------------- */
static void capture_done(struct gh_daemon_machine *m, const struct gh_error *err, void *reply, int fd, void *opaque)
{
    if (err)
        gh_return_error(opaque, err);
    else
        g_dbus_method_invocation_return_value(opaque, NULL);
}

static gboolean on_capture(GhEngine1Machine *iface, GDBusMethodInvocation *inv, const char *id, const char *path, gpointer data)
{
    struct gh_daemon_machine *m = data;
    struct gh_error err = { 0 };
    int fd = -1;

    if (!find(m, m->definition, id, &err)) {
        gh_return_error(inv, &err);
    } else if (!m->instance) {
        gh_error_set(&err, -EINVAL, "MachineOff", "“%s” is not running; start it first.", m->definition->name);
        gh_return_error(inv, &err);
    } else if (path[0] && (path[0] != '/' || (fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600)) < 0)) {
        int code = path[0] != '/' ? EINVAL : errno;
        gh_error_option(&err, -code, "FileUnwritable", "path", "The capture “%s” cannot be made: %s. Choose a new file.", path, strerror(code));
        gh_return_error(inv, &err);
    } else {
        g_strlcpy(m->net[find(m, m->definition, id, &err) - m->definition->network].capture, path, PATH_MAX);
        gh_instance_call(m, "net-capture", json_pack("{s:s}", "adapter", id), fd, capture_done, inv);
    }
    return TRUE;
}

void gh_network_connect(struct gh_daemon_machine *m)
{
    static const struct { const char *signal; GCallback handler; } methods[] = {
        { "handle-add-adapter", G_CALLBACK(on_add) }, { "handle-change-adapter", G_CALLBACK(on_change) },
        { "handle-remove-adapter", G_CALLBACK(on_remove) }, { "handle-add-forward", G_CALLBACK(on_add_forward) },
        { "handle-remove-forward", G_CALLBACK(on_remove_forward) }, { "handle-capture", G_CALLBACK(on_capture) },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(methods); i++)
        g_signal_connect(m->iface, methods[i].signal, methods[i].handler, m);
}
