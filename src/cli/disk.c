/* SPDX-License-Identifier: GPL-3.0-or-later */
/* disk: the disks of one machine and how it uses them */
#include <stdio.h>
#include <string.h>

#include "cli/ctl.h"

static const char usage[] = "disk NAME [add FILE|set DISK|remove DISK] [--mode normal|read-only|immutable|write-through|shared] [--bus ide|ahci|nvme|virtio] "
    "[--cache writeback|writethrough|unsafe] [--trim on|off] [--limit BYTES|off] [--iops N|off]";

static int list(struct ctl *ctl, GhEngine1Machine *m)
{
    GVariant *drives = gh_engine1_machine_get_disks(m);

    if (ctl->json) {
        ctl_print_json(drives ? ctl_variant_to_json(drives) : json_array());
        return 0;
    }
    for (gsize i = 0; drives && i < g_variant_n_children(drives); i++) {
        g_autoptr(GVariant) d = g_variant_get_child_value(drives, i);
        const char *id = "", *kind = "", *bus = "", *file = "", *format = "", *mode = "", *cache = "";
        gboolean trim = TRUE, present = TRUE;
        guint64 bytes = 0, host = 0;
        guint32 ops = 0;
        g_variant_lookup(d, "id", "&s", &id);
        g_variant_lookup(d, "kind", "&s", &kind);
        g_variant_lookup(d, "bus", "&s", &bus);
        g_variant_lookup(d, "file", "&s", &file);
        g_variant_lookup(d, "format", "&s", &format);
        g_variant_lookup(d, "present", "b", &present);
        g_variant_lookup(d, "host-bytes", "t", &host);
        if (!g_variant_lookup(d, "mode", "&s", &mode)) {
            printf("%-8s %-6s %s\n", id, bus, file[0] ? file : _("No medium"));
            continue;
        }
        g_variant_lookup(d, "cache", "&s", &cache);
        g_variant_lookup(d, "discard", "b", &trim);
        g_variant_lookup(d, "limit-bytes", "t", &bytes);
        g_variant_lookup(d, "limit-ops", "u", &ops);
        g_autofree char *size = g_format_size_full(host, G_FORMAT_SIZE_IEC_UNITS), *rate = g_format_size_full(bytes, G_FORMAT_SIZE_IEC_UNITS);
        printf("%-8s %-6s %-13s %-12s %-6s %s%s\n", id, bus, mode, cache, format, file, present ? "" : _("; missing"));
        printf(_("         %s on this computer, TRIM %s"), size, trim ? _("on") : _("off"));
        if (bytes)
            printf(_(", at most %s a second"), rate);
        if (ops)
            printf(_(", at most %u requests a second"), ops);
        printf("\n");
    }
    return 0;
}

static int take_settings(struct ctl *ctl, int argc, char **argv, int from, GVariantDict *dict)
{
    static const struct { const char *option, *key; } texts[] = { { "--mode", "mode" }, { "--bus", "bus" }, { "--cache", "cache" } };

    for (int i = from; i < argc; i += 2) {
        const char *option = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
        gboolean taken = FALSE, off = value && !strcmp(value, "off");
        guint64 n = 0;
        for (unsigned k = 0; value && k < G_N_ELEMENTS(texts); k++)
            if (!strcmp(option, texts[k].option)) {
                g_variant_dict_insert(dict, texts[k].key, "s", value);
                taken = TRUE;
            }
        if (value && !strcmp(option, "--trim") && (off || !strcmp(value, "on"))) {
            g_variant_dict_insert(dict, "discard", "b", !off);
            taken = TRUE;
        } else if (value && !strcmp(option, "--limit")) {
            if (!off && !ctl_parse_size(value, &n))
                return ctl_error(ctl, "SizeInvalid", _("“%s” is not a size, such as 512M or 2G."), value), 2;
            g_variant_dict_insert(dict, "limit-bytes", "t", n);
            taken = TRUE;
        } else if (value && !strcmp(option, "--iops")) {
            if (!off && !g_ascii_string_to_unsigned(value, 10, 1, G_MAXUINT32, &n, NULL))
                return ctl_error(ctl, "NumberInvalid", _("“%s” is not a number."), value), 2;
            g_variant_dict_insert(dict, "limit-ops", "u", (guint32)n);
            taken = TRUE;
        }
        if (!taken)
            return ctl_usage(usage);
    }
    return 0;
}

static int run_disk(struct ctl *ctl, int argc, char **argv)
{
    const char *what = argc > 2 ? argv[2] : "";
    gboolean add = !strcmp(what, "add") && argc > 3, set = !strcmp(what, "set") && argc > 4, removing = !strcmp(what, "remove") && argc == 4;
    g_autofree char *id = NULL;
    GError *error = NULL;
    GVariantDict dict;

    if (argc < 2 || (argc > 2 && !add && !set && !removing))
        return ctl_usage(usage);
    g_autoptr(GhEngine1Machine) m = ctl_machine(ctl, argv[1]);
    if (!m)
        return 1;
    if (argc == 2)
        return list(ctl, m);
    if (removing)
        return gh_engine1_machine_call_remove_disk_sync(m, argv[3], NULL, &error) ? 0 : ctl_fail(ctl, error);
    g_variant_dict_init(&dict, NULL);
    int r = take_settings(ctl, argc, argv, 4, &dict);
    g_autoptr(GVariant) settings = g_variant_ref_sink(g_variant_dict_end(&dict));
    if (r)
        return r;
    if (set)
        return gh_engine1_machine_call_change_disk_sync(m, argv[3], settings, NULL, &error) ? 0 : ctl_fail(ctl, error);
    g_autofree char *path = g_canonicalize_filename(argv[3], NULL);
    if (!gh_engine1_machine_call_add_disk_sync(m, path, settings, &id, NULL, &error))
        return ctl_fail(ctl, error);
    return ctl_print_id(ctl, id);
}

const struct ctl_command ctl_disk_commands[] = {
    { "disk", "NAME [add|set|remove]", N_("show a machine's disks, put in one that exists, take one out, or change its mode, bus, cache, TRIM and limits"), run_disk, FALSE },
    { NULL, NULL, NULL, NULL, FALSE },
};
