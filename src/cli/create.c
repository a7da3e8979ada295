/* SPDX-License-Identifier: GPL-3.0-or-later */
/* create, set, medium */
#include <stdio.h>
#include <string.h>

#include "cli/ctl.h"

struct option_row { const char *option, *key; enum { TEXT, SIZE, COUNT } type; };
static const struct option_row rows[] = {
    { "--media", "media", TEXT }, { "--disk", "disk-bytes", SIZE }, { "--disk-format", "disk-format", TEXT }, { "--disk-bus", "disk-bus", TEXT },
    { "--memory", "memory-bytes", SIZE }, { "--cpus", "cpus", COUNT }, { "--os", "os-id", TEXT }, { "--accel", "accelerator", TEXT },
    { "--cpu", "cpu-model", TEXT }, { "--boot", "boot-order", TEXT }, { "--clock", "clock-base", TEXT }, { "--firmware", "firmware", TEXT },
    { "--adapter", "network-adapter", TEXT }, { "--description", "description", TEXT }, { "--name", "name", TEXT },
};

/* Options from argv[from] on into dict; 0, or the exit status after a message. */
static int take_options(struct ctl *ctl, int argc, char **argv, int from, GVariantDict *dict, const char *usage)
{
    for (int i = from; i < argc; i += 2) {
        const struct option_row *row = NULL;
        for (unsigned k = 0; k < G_N_ELEMENTS(rows); k++)
            if (!strcmp(argv[i], rows[k].option))
                row = &rows[k];
        if (!row || i + 1 == argc)
            return ctl_usage(usage);
        const char *value = argv[i + 1];
        guint64 n = 0;
        char *end;
        if (row->type == TEXT && !strcmp(row->key, "media")) {
            g_autofree char *path = value[0] ? g_canonicalize_filename(value, NULL) : g_strdup("");
            g_variant_dict_insert(dict, row->key, "s", path);
        } else if (row->type == TEXT) {
            g_variant_dict_insert(dict, row->key, "s", value);
        } else if (row->type == SIZE) {
            if (!ctl_parse_size(value, &n))
                return ctl_error(ctl, "SizeInvalid", _("“%s” is not a size, such as 512M or 2G."), value), 2;
            g_variant_dict_insert(dict, row->key, "t", n);
        } else {
            n = g_ascii_strtoull(value, &end, 10);
            if (*end || end == value || n > G_MAXUINT32)
                return ctl_error(ctl, "NumberInvalid", _("“%s” is not a number."), value), 2;
            g_variant_dict_insert(dict, row->key, "u", (guint32)n);
        }
    }
    return 0;
}

static const char create_usage[] = "create NAME [--media FILE.iso] [--disk SIZE] [--memory SIZE] [--cpus N] [--os ID] [--accel auto|kvm|soft] "
    "[--disk-format F] [--disk-bus B] [--boot ORDER] [--clock utc|local] [--firmware bios|uefi] [--adapter virtio-net|e1000|none] [--description TEXT]";

static int run_create(struct ctl *ctl, int argc, char **argv)
{
    GVariantDict dict;
    GError *error = NULL;
    g_autofree char *path = NULL;

    if (argc < 2 || argv[1][0] == '-')
        return ctl_usage(create_usage);
    g_variant_dict_init(&dict, NULL);
    int r = take_options(ctl, argc, argv, 2, &dict, create_usage);
    GVariant *settings = g_variant_dict_end(&dict);
    if (r) {
        g_variant_unref(g_variant_ref_sink(settings));
        return r;
    }
    if (!gh_engine1_call_create_machine_sync(ctl->engine, argv[1], settings, &path, NULL, &error))
        return ctl_fail(ctl, error);
    g_autofree char *uuid = g_strdelimit(g_path_get_basename(path), "_", '-');
    if (ctl->json)
        ctl_print_json(json_pack("{s:s, s:s}", "uuid", uuid, "name", argv[1]));
    else
        printf("%s\n", uuid);
    return 0;
}

static const char set_usage[] = "set NAME [--memory SIZE] [--cpus N] [--accel NAME] [--boot ORDER] [--clock BASE] [--firmware bios|uefi] [--name NEW] [--description TEXT]";

static int run_set(struct ctl *ctl, int argc, char **argv)
{
    GVariantDict dict;
    GError *error = NULL;
    guint64 revision;

    if (argc < 4)
        return ctl_usage(set_usage);
    g_autoptr(GhEngine1Machine) m = ctl_machine(ctl, argv[1]);
    if (!m)
        return 1;
    g_variant_dict_init(&dict, NULL);
    int r = take_options(ctl, argc, argv, 2, &dict, set_usage);
    GVariant *settings = g_variant_dict_end(&dict);
    if (r) {
        g_variant_unref(g_variant_ref_sink(settings));
        return r;
    }
    return gh_engine1_machine_call_change_sync(m, gh_engine1_machine_get_revision(m), settings, &revision, NULL, &error) ? 0 : ctl_fail(ctl, error);
}

static int run_medium(struct ctl *ctl, int argc, char **argv)
{
    GError *error = NULL;

    if (argc < 3 || argc > 4)
        return ctl_usage("medium NAME DRIVE [FILE]");
    g_autoptr(GhEngine1Machine) m = ctl_machine(ctl, argv[1]);
    if (!m)
        return 1;
    g_autofree char *path = argc == 4 ? g_canonicalize_filename(argv[3], NULL) : g_strdup("");
    return gh_engine1_machine_call_set_medium_sync(m, argv[2], path, NULL, &error) ? 0 : ctl_fail(ctl, error);
}

const struct ctl_command ctl_create_commands[] = {
    { "create", "NAME [OPTION...]", N_("make a new machine; what is not given comes from the system's profile"), run_create, FALSE },
    { "set", "NAME OPTION...", N_("change a machine's settings"), run_set, FALSE },
    { "medium", "NAME DRIVE [FILE]", N_("put an image into a CD or floppy drive (cdrom0, floppy0); without FILE: eject"), run_medium, FALSE },
    { NULL, NULL, NULL, NULL, FALSE },
};
