/* SPDX-License-Identifier: GPL-3.0-or-later */
/* network, forward, capture, ssh */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <unistd.h>

#include "cli/ctl.h"

static const char *text_of(GVariant *d, const char *key)
{
    const char *t = "";

    g_variant_lookup(d, key, "&s", &t);
    return t;
}

static gboolean flag_of(GVariant *d, const char *key, gboolean otherwise)
{
    g_variant_lookup(d, key, "b", &otherwise);
    return otherwise;
}

/* ---- network -------------------------------------------------------------------------------------------- */
/* What is not as everywhere. */
static void describe_nat(GVariant *n)
{
    static const struct { const char *key, *format; } texts[] = { { "socket", "  %s" }, { "subnet", "  subnet=%s" }, { "tftp", "  tftp=%s" }, { "bootfile", "  bootfile=%s" } };

    for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++)
        if (text_of(n, texts[i].key)[0])
            printf(texts[i].format, text_of(n, texts[i].key));
    if (flag_of(n, "host-loopback", FALSE))
        printf("  %s", _("reaches this computer's loopback"));
    if (!flag_of(n, "ipv6", TRUE))
        printf("  %s", _("no IPv6"));
}

static int list(struct ctl *ctl, GhEngine1Machine *m)
{
    GVariant *networks = gh_engine1_machine_get_networks(m);

    if (ctl->json) {
        ctl_print_json(networks ? ctl_variant_to_json(networks) : json_array());
        return 0;
    }
    for (gsize i = 0; networks && i < g_variant_n_children(networks); i++) {
        g_autoptr(GVariant) n = g_variant_get_child_value(networks, i);
        g_autoptr(GVariant) forwards = g_variant_lookup_value(n, "forwards", G_VARIANT_TYPE("a(ssqq)"));
        gboolean connected = TRUE, capturing = FALSE;
        guint32 kbits = 0;
        g_variant_lookup(n, "connected", "b", &connected);
        g_variant_lookup(n, "capturing", "b", &capturing);
        g_variant_lookup(n, "limit-kbits", "u", &kbits);
        printf("%-5s %-11s %s%s%s  %s", text_of(n, "id"), text_of(n, "adapter"), text_of(n, "mode"), text_of(n, "network")[0] ? ":" : "", text_of(n, "network"),
               text_of(n, "mac"));
        printf("%s%s%s%s", text_of(n, "address")[0] ? "  " : "", text_of(n, "address"), text_of(n, "address6")[0] ? "  " : "", text_of(n, "address6"));
        if (!connected)
            printf("  %s", _("cable unplugged"));
        if (kbits)
            printf(_("  at most %u kbit/s"), kbits);
        if (capturing)
            printf("  %s%s%s", _("capturing"), text_of(n, "capture")[0] ? " " : "", text_of(n, "capture"));
        describe_nat(n);
        printf("\n");
        for (gsize f = 0; forwards && f < g_variant_n_children(forwards); f++) {
            const char *protocol, *address;
            guint16 host, guest;
            g_variant_get_child(forwards, f, "(&s&sqq)", &protocol, &address, &host, &guest);
            printf(strchr(address, ':') ? "      %s:[%s]:%u:%u\n" : "      %s:%s:%u:%u\n", protocol, address, host, guest);
        }
    }
    return 0;
}

static gboolean parse_rate(const char *text, guint32 *ret_kbits)
{
    char *end;
    guint64 n = g_ascii_strtoull(text, &end, 10), unit = 1;

    if (!strcmp(text, "off") || !strcmp(text, "none")) {
        *ret_kbits = 0;
        return TRUE;
    }
    if (end == text)
        return FALSE;
    switch (g_ascii_tolower(*end)) {
    case 'k': end++; break;
    case 'm': unit = 1000; end++; break;
    case 'g': unit = 1000000; end++; break;
    default: return FALSE;
    }
    if (*end || n > 1000000000 / unit)
        return FALSE;
    *ret_kbits = (guint32)(n * unit);
    return TRUE;
}

static const char network_usage[] = "network NAME [add|set ADAPTER|remove ADAPTER] [--adapter virtio-net|e1000] "
    "[--mode nat|passt|internal|stream|none] [--network NAME] [--socket PATH] [--subnet ADDRESS] [--host-loopback on|off] [--ipv6 on|off] "
    "[--tftp FOLDER] [--bootfile NAME] [--mac ADDRESS] [--cable in|out] [--limit RATE|off]";

static int take_settings(struct ctl *ctl, int argc, char **argv, int from, GVariantDict *dict)
{
    static const struct { const char *option, *key; gboolean path; } texts[] = {
        { "--adapter", "adapter", FALSE }, { "--mode", "mode", FALSE }, { "--network", "network", FALSE }, { "--mac", "mac", FALSE }, { "--socket", "socket", TRUE },
        { "--subnet", "subnet", FALSE }, { "--tftp", "tftp", TRUE }, { "--bootfile", "bootfile", FALSE },
    };
    static const struct { const char *option, *key, *on, *off; } switches[] = {
        { "--cable", "connected", "in", "out" }, { "--host-loopback", "host-loopback", "on", "off" }, { "--ipv6", "ipv6", "on", "off" },
    };

    for (int i = from; i < argc; i += 2) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        gboolean taken = FALSE;
        guint32 kbits;
        for (unsigned k = 0; value && k < G_N_ELEMENTS(texts); k++)
            if (!strcmp(argv[i], texts[k].option)) {
                g_autofree char *whole = texts[k].path && value[0] ? g_canonicalize_filename(value, NULL) : g_strdup(value);
                g_variant_dict_insert(dict, texts[k].key, "s", whole);
                taken = TRUE;
            }
        for (unsigned k = 0; value && k < G_N_ELEMENTS(switches); k++)
            if (!strcmp(argv[i], switches[k].option) && (!strcmp(value, switches[k].on) || !strcmp(value, switches[k].off))) {
                g_variant_dict_insert(dict, switches[k].key, "b", !strcmp(value, switches[k].on));
                taken = TRUE;
            }
        if (value && !strcmp(argv[i], "--limit")) {
            if (!parse_rate(value, &kbits))
                return ctl_error(ctl, "LimitInvalid", _("“%s” is not a rate in bits a second, such as 500k or 10M."), value), 2;
            g_variant_dict_insert(dict, "limit-kbits", "u", kbits);
            taken = TRUE;
        }
        if (!taken)
            return ctl_usage(network_usage);
    }
    return 0;
}

static int run_network(struct ctl *ctl, int argc, char **argv)
{
    const char *what = argc > 2 ? argv[2] : "";
    gboolean add = !strcmp(what, "add"), set = !strcmp(what, "set") && argc > 4, removing = !strcmp(what, "remove") && argc == 4;
    g_autofree char *id = NULL;
    GError *error = NULL;
    GVariantDict dict;

    if (argc < 2 || (argc > 2 && !add && !set && !removing))
        return ctl_usage(network_usage);
    g_autoptr(GhEngine1Machine) m = ctl_machine(ctl, argv[1]);
    if (!m)
        return 1;
    if (argc == 2)
        return list(ctl, m);
    if (removing)
        return gh_engine1_machine_call_remove_adapter_sync(m, argv[3], NULL, &error) ? 0 : ctl_fail(ctl, error);
    g_variant_dict_init(&dict, NULL);
    int r = take_settings(ctl, argc, argv, add ? 3 : 4, &dict);
    g_autoptr(GVariant) settings = g_variant_ref_sink(g_variant_dict_end(&dict));
    if (r)
        return r;
    if (set)
        return gh_engine1_machine_call_change_adapter_sync(m, argv[3], settings, NULL, &error) ? 0 : ctl_fail(ctl, error);
    if (!gh_engine1_machine_call_add_adapter_sync(m, settings, &id, NULL, &error))
        return ctl_fail(ctl, error);
    return ctl_print_id(ctl, id);
}

/* ---- forward ------------------------------------------------------------------------------------------------ */
/* PROTOCOL:[ADDRESS:]HOSTPORT[:GUESTPORT]; an IPv6 address stands in brackets. */
static gboolean parse_forward(const char *text, gboolean both, char **protocol, char **address, guint16 *host, guint16 *guest)
{
    const char *at = strchr(text, ':'), *end = NULL;
    guint64 number[2] = { 0, 1 };
    guint ports = both ? 2 : 1;

    if (!at)
        return FALSE;
    *protocol = g_strndup(text, (gsize)(at++ - text));
    if (*at == '[') {
        end = strchr(at, ']');
        if (!end || end[1] != ':')
            return FALSE;
        *address = g_strndup(at + 1, (gsize)(end - at - 1));
        at = end + 2;
    }
    g_auto(GStrv) part = g_strsplit(at, ":", -1);
    guint n = g_strv_length(part);
    if (n != ports && (n != ports + 1 || end))
        return FALSE;
    for (guint i = 0; i < ports; i++)
        if (!g_ascii_string_to_unsigned(part[n - ports + i], 10, 1, 65535, &number[i], NULL))
            return FALSE;
    if (!*address)
        *address = g_strdup(n > ports ? part[0] : "");
    *host = (guint16)number[0];
    *guest = (guint16)number[1];
    return TRUE;
}

static const char forward_usage[] = "forward NAME add tcp:[ADDRESS:]HOSTPORT:GUESTPORT | remove tcp:[ADDRESS:]HOSTPORT [--adapter net0]";

static int run_forward(struct ctl *ctl, int argc, char **argv)
{
    g_autofree char *protocol = NULL, *address = NULL;
    const char *id = "net0";
    guint16 host, guest;
    GError *error = NULL;

    if (argc == 6 && !strcmp(argv[4], "--adapter")) {
        id = argv[5];
        argc = 4;
    }
    gboolean add = argc == 4 && !strcmp(argv[2], "add");
    if (argc != 4 || (!add && strcmp(argv[2], "remove")))
        return ctl_usage(forward_usage);
    if (!parse_forward(argv[3], add, &protocol, &address, &host, &guest))
        return ctl_error(ctl, "ForwardInvalid", _("“%s” is not a port forward, such as tcp:8080:80."), argv[3]);
    g_autoptr(GhEngine1Machine) m = ctl_machine(ctl, argv[1]);
    if (!m)
        return 1;
    gboolean done = add ? gh_engine1_machine_call_add_forward_sync(m, id, protocol, address, host, guest, NULL, &error)
                        : gh_engine1_machine_call_remove_forward_sync(m, id, protocol, address, host, NULL, &error);
    return done ? 0 : ctl_fail(ctl, error);
}

/* ---- capture --------------------------------------------------------------------------------------------------- */
static int run_capture(struct ctl *ctl, int argc, char **argv)
{
    const char *id = "net0";
    GError *error = NULL;

    if (argc == 5 && !strcmp(argv[3], "--adapter")) {
        id = argv[4];
        argc = 3;
    }
    if (argc != 3)
        return ctl_usage("capture NAME FILE.pcapng|--stop [--adapter net0]");
    g_autoptr(GhEngine1Machine) m = ctl_machine(ctl, argv[1]);
    if (!m)
        return 1;
    g_autofree char *path = !strcmp(argv[2], "--stop") ? g_strdup("") : g_canonicalize_filename(argv[2], NULL);
    return gh_engine1_machine_call_capture_sync(m, id, path, NULL, &error) ? 0 : ctl_fail(ctl, error);
}

/* ---- ssh ---------------------------------------------------------------------------------------------------------- */
enum { SSH = 22, FIRST_PORT = 2222, TRIES = 200 };

/* The host port that leads to the guest's port 22 already; the NAT adapter to use otherwise. */
static guint16 known_forward(GhEngine1Machine *m, char **ret_id)
{
    GVariant *networks = gh_engine1_machine_get_networks(m);

    for (gsize i = 0; networks && i < g_variant_n_children(networks); i++) {
        g_autoptr(GVariant) n = g_variant_get_child_value(networks, i);
        g_autoptr(GVariant) forwards = g_variant_lookup_value(n, "forwards", G_VARIANT_TYPE("a(ssqq)"));
        if (strcmp(text_of(n, "mode"), "nat"))
            continue;
        if (!*ret_id)
            *ret_id = g_strdup(text_of(n, "id"));
        for (gsize f = 0; forwards && f < g_variant_n_children(forwards); f++) {
            const char *protocol, *address;
            guint16 host, guest;
            g_variant_get_child(forwards, f, "(&s&sqq)", &protocol, &address, &host, &guest);
            if (guest == SSH && !strcmp(protocol, "tcp"))
                return host;
        }
    }
    return 0;
}

static gboolean port_is_free(guint16 port)
{
    const struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    gboolean is_free = fd >= 0 && bind(fd, (const struct sockaddr *)&a, sizeof a) == 0;

    if (fd >= 0)
        close(fd);
    return is_free;
}

static gboolean is_error(GError *error, const char *id)
{
    g_autofree char *name = g_dbus_error_get_remote_error(error);
    return name && g_str_has_suffix(name, id);
}

static int run_ssh(struct ctl *ctl, int argc, char **argv)
{
    const char *user = argc == 4 && !strcmp(argv[2], "--user") ? argv[3] : NULL;
    g_autofree char *id = NULL;

    if (argc != 2 && !user)
        return ctl_usage("ssh NAME [--user USER]");
    g_autoptr(GhEngine1Machine) m = ctl_machine(ctl, argv[1]);
    if (!m)
        return 1;
    guint16 port = known_forward(m, &id);
    if (!id)
        return ctl_error(ctl, "ForwardUnsupported", _("“%s” has no network adapter with NAT; add one with “gasthausctl network”."), argv[1]);
    for (guint16 p = FIRST_PORT; !port && p < FIRST_PORT + TRIES; p++) {
        g_autoptr(GError) error = NULL;
        if (!port_is_free(p))
            continue;
        if (gh_engine1_machine_call_add_forward_sync(m, id, "tcp", "127.0.0.1", p, SSH, NULL, &error))
            port = p;
        else if (!is_error(error, "PortInUse") && !is_error(error, "ForwardCollides"))
            return ctl_fail(ctl, g_steal_pointer(&error));
    }
    if (!port)
        return ctl_error(ctl, "PortInUse", _("No free port of this computer was found from %d on."), FIRST_PORT);
    if (ctl->json)
        ctl_print_json(json_pack("{s:s, s:i}", "host", "127.0.0.1", "port", port));
    else
        printf("ssh -p %u %s%s127.0.0.1\n", port, user ? user : "", user ? "@" : "");
    return 0;
}

const struct ctl_command ctl_network_commands[] = {
    { "network", "NAME [add|set|remove]", N_("show or change network adapters; NAT, internal networks, cable and limit also while running"), run_network, FALSE },
    { "forward", "NAME add|remove FORWARD", N_("forward a port of this computer to the guest: tcp:8080:80"), run_forward, FALSE },
    { "capture", "NAME FILE|--stop", N_("write what a network adapter sees into a pcapng file"), run_capture, FALSE },
    { "ssh", "NAME [--user USER]", N_("forward a port to the guest's SSH and print the command"), run_ssh, FALSE },
    { NULL, NULL, NULL, NULL, FALSE },
};
