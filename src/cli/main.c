/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "cli/ctl.h"

static const struct ctl_command *const groups[] = { ctl_machine_commands, ctl_create_commands, ctl_screen_commands, ctl_network_commands, ctl_host_commands,
                                                   ctl_appliance_commands, ctl_media_commands, ctl_disk_commands };

static void help(void)
{
    printf(_("usage: gasthausctl [--json] COMMAND [ARGUMENT...]\n\n"));
    for (unsigned g = 0; g < G_N_ELEMENTS(groups); g++)
        for (const struct ctl_command *c = groups[g]; c->name; c++) {
            g_autofree char *left = g_strdup_printf("%s %s", c->name, c->args);
            printf("  %-28s %s\n", left, _(c->help));
        }
    printf(_("\nA machine is named by its name, its UUID, or the UUID's beginning.\n"));
}

/* For the completion script: the words, and the machines' names. */
static int complete(struct ctl *ctl, const char *what)
{
    if (!strcmp(what, "commands")) {
        for (unsigned g = 0; g < G_N_ELEMENTS(groups); g++)
            for (const struct ctl_command *c = groups[g]; c->name; c++)
                printf("%s\n", c->name);
        return 0;
    }
    if (ctl_connect(ctl))
        return 1;
    GList *objects = g_dbus_object_manager_get_objects(ctl->manager);
    for (GList *l = objects; l; l = l->next) {
        g_autoptr(GhEngine1Machine) m = gh_object_get_engine1_machine(GH_OBJECT(l->data));
        if (m)
            printf("%s\n", gh_engine1_machine_get_name(m));
    }
    g_list_free_full(objects, g_object_unref);
    return 0;
}

int main(int argc, char **argv)
{
    struct ctl ctl = { 0 };
    int first = 1;

    setlocale(LC_ALL, "");
    bindtextdomain("gasthaus", GH_LOCALEDIR);
    bind_textdomain_codeset("gasthaus", "UTF-8");
    textdomain("gasthaus");
    if (argc > 1 && !strcmp(argv[1], "--json")) {
        ctl.json = TRUE;
        first = 2;
    }
    if (first >= argc || !strcmp(argv[first], "--help") || !strcmp(argv[first], "-h") || !strcmp(argv[first], "help")) {
        help();
        return first >= argc ? 2 : 0;
    }
    if (!strcmp(argv[first], "--version")) {
        printf("gasthausctl %s\n", GH_VERSION);
        return 0;
    }
    if (!strcmp(argv[first], "--complete") && argc > first + 1)
        return complete(&ctl, argv[first + 1]);
    for (unsigned g = 0; g < G_N_ELEMENTS(groups); g++)
        for (const struct ctl_command *c = groups[g]; c->name; c++) {
            if (strcmp(c->name, argv[first]))
                continue;
            int count = argc - first;
            if (count > 1 && !strcmp(argv[argc - 1], "--json")) {
                ctl.json = TRUE;
                count--;
            }
            if (!c->no_daemon && ctl_connect(&ctl))
                return 1;
            return c->run(&ctl, count, argv + first);
        }
    fprintf(stderr, _("gasthausctl: there is no command “%s”; “gasthausctl help” shows all.\n"), argv[first]);
    return 2;
}
