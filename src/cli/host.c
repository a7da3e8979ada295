/* SPDX-License-Identifier: GPL-3.0-or-later */
/* host, identify */
#include <stdio.h>

#include "cli/ctl.h"

static int run_host(struct ctl *ctl, int argc, char **argv)
{
    g_autofree char *report = NULL;
    GError *error = NULL;

    if (argc != 1)
        return ctl_usage("host");
    if (!gh_engine1_call_check_host_sync(ctl->engine, &report, NULL, &error))
        return ctl_fail(ctl, error);
    if (ctl->json) {
        fputs(report, stdout);
        return 0;
    }
    json_t *j = json_loads(report, 0, NULL), *a;
    size_t i;
    if (!j)
        return ctl_error(ctl, "HostCheckFailed", _("The host check gave no report."));
    printf(_("Processor      %s, %d CPUs\n"), json_string_value(json_object_get(j, "cpu")), (int)json_integer_value(json_object_get(j, "cpus")));
    printf(_("Machines use   %s\n"), json_string_value(json_object_get(j, "chosen")));
    printf("               %s\n", json_string_value(json_object_get(j, "why")));
    json_array_foreach(json_object_get(j, "accelerators"), i, a)
        printf("%-14s %s: %s\n", json_string_value(json_object_get(a, "name")), json_is_true(json_object_get(a, "usable")) ? _("usable") : _("not usable"),
               json_string_value(json_object_get(a, "detail")));
    json_decref(j);
    return 0;
}

static int run_identify(struct ctl *ctl, int argc, char **argv)
{
    g_autoptr(GVariant) info = NULL;
    GError *error = NULL;

    if (argc != 2)
        return ctl_usage("identify FILE.iso");
    g_autofree char *path = g_canonicalize_filename(argv[1], NULL);
    if (!gh_engine1_call_identify_medium_sync(ctl->engine, path, &info, NULL, &error))
        return ctl_fail(ctl, error);
    ctl_print_json(ctl_variant_to_json(info));
    return 0;
}

const struct ctl_command ctl_host_commands[] = {
    { "host", "", N_("say what this computer can run machines on"), run_host, FALSE },
    { "identify", "FILE.iso", N_("say what a CD image is"), run_identify, FALSE },
    { NULL, NULL, NULL, NULL, FALSE },
};
