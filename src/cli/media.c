/* SPDX-License-Identifier: GPL-3.0-or-later */
/* media list, info, create, check, compact, resize, convert, move, relink, release, accept-parent, delete, restore */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/ctl.h"

static json_t *load(struct ctl *ctl)
{
    g_autofree char *text = NULL;
    GError *error = NULL;

    if (!gh_engine1_call_list_media_sync(ctl->engine, &text, NULL, &error)) {
        ctl_fail(ctl, error);
        return NULL;
    }
    return json_loads(text, 0, NULL);
}

static char *size_text(json_t *m, const char *key)
{ return g_format_size_full((guint64)json_integer_value(json_object_get(m, key)), G_FORMAT_SIZE_IEC_UNITS); }

static char *users_text(json_t *m, const char *nobody)
{
    GString *s = g_string_new(NULL);
    json_t *u;
    size_t i;

    json_array_foreach(json_object_get(m, "users"), i, u)
        g_string_append_printf(s, "%s%s (%s)", i ? ", " : "", json_string_value(json_object_get(u, "name")), json_string_value(json_object_get(u, "drive")));
    if (!s->len && json_array_size(json_object_get(m, "parent_of")))
        g_string_append(s, _("other disks build on it"));
    else if (!s->len)
        g_string_append(s, nobody);
    if (!json_is_true(json_object_get(m, "present")))
        g_string_append(s, _("; missing"));
    return g_string_free(s, FALSE);
}

static int run_list(struct ctl *ctl)
{
    json_t *list = load(ctl), *m;
    size_t i;

    if (!list)
        return 1;
    if (ctl->json) {
        ctl_print_json(list);
        return 0;
    }
    json_array_foreach(list, i, m) {
        g_autofree char *users = users_text(m, _("used by nobody")), *host = size_text(m, "host_bytes");
        printf("%-7s %-6s %10s  %s\n        %s\n", json_string_value(json_object_get(m, "kind")), json_string_value(json_object_get(m, "format")), host,
               json_string_value(json_object_get(m, "path")), users);
    }
    json_decref(list);
    return 0;
}

static int run_info(struct ctl *ctl, const char *path)
{
    json_t *list = load(ctl), *m, *found = NULL, *parent;
    g_autofree char *wanted = realpath(path, NULL);
    size_t i;

    if (!list)
        return 1;
    json_array_foreach(list, i, m)
        if (!g_strcmp0(json_string_value(json_object_get(m, "path")), wanted ? wanted : path))
            found = m;
    if (!found) {
        json_decref(list);
        return ctl_error(ctl, "MediumUnknown", _("“%s” is neither a medium of a machine nor a disk in a machine's folder."), path);
    }
    if (ctl->json) {
        ctl_print_json(json_incref(found));
    } else {
        g_autofree char *users = users_text(found, _("no machine")), *host = size_text(found, "host_bytes"), *bytes = size_text(found, "bytes");
        const char *error = json_string_value(json_object_get(json_object_get(found, "error"), "text"));
        printf(_("File      %s\nFormat    %s %s\nSize      %s\nOn disk   %s\nUsed by   %s\n"), json_string_value(json_object_get(found, "path")),
               json_string_value(json_object_get(found, "format")), json_object_get(found, "variant") ? json_string_value(json_object_get(found, "variant")) : "",
               bytes, host, users);
        json_array_foreach(json_object_get(found, "chain"), i, parent)
            printf(_("Builds on %s\n"), json_string_value(parent));
        if (error)
            printf(_("Trouble   %s\n"), error);
    }
    json_decref(list);
    return 0;
}

static void print_result(struct ctl *ctl, const char *action, const char *result)
{
    json_t *j = result && result[0] ? json_loads(result, 0, NULL) : NULL;

    if (!j && ctl->notes)
        j = json_object();
    if (!j)
        return;
    if (ctl->notes)
        json_object_set(j, "notes", ctl->notes);
    if (ctl->json) {
        ctl_print_json(json_incref(j));
    } else if (!strcmp(action, "compact")) {
        gint64 before = json_integer_value(json_object_get(j, "before")), after = json_integer_value(json_object_get(j, "after"));
        g_autofree char *was = size_text(j, "before"), *is = size_text(j, "after"), *back = g_format_size_full((guint64)MAX(before - after, 0), G_FORMAT_SIZE_IEC_UNITS);
        printf(_("%s returned: %s before, %s now.\n"), back, was, is);
    } else if (!strcmp(action, "check")) {
        printf(_("%d errors (%d mended), %d leaks (%d mended). %s\n"), (int)json_integer_value(json_object_get(j, "errors")),
               (int)json_integer_value(json_object_get(j, "errors_fixed")), (int)json_integer_value(json_object_get(j, "leaks")),
               (int)json_integer_value(json_object_get(j, "leaks_fixed")), json_string_value(json_object_get(j, "first")));
    } else if (!strcmp(action, "convert") || !strcmp(action, "create")) {
        printf("%s\n", json_string_value(json_object_get(j, "path")));
    }
    json_decref(j);
}

static const char usage[] = "media list | info FILE | create FILE SIZE [--to FORMAT] [--variant NAME] [--machine NAME [--bus BUS]] | check FILE [--repair] | compact FILE | resize FILE SIZE [--shrink] | convert FILE --to FORMAT "
    "[--target FILE] [--replace] | move FILE TARGET | relink FILE NEW | release FILE | accept-parent FILE | delete FILE | restore FILE";

static int run_media(struct ctl *ctl, int argc, char **argv)
{
    static const char *const with_target[] = { "move", "relink", NULL }, *const texts[] = { "--to", "--variant", "--machine", "--bus", NULL };
    GVariantDict dict;
    GError *error = NULL;
    gboolean wrong = argc < 2;
    g_autofree char *job = NULL, *result = NULL;
    int first = 3;

    if (argc == 2 && !strcmp(argv[1], "list"))
        return run_list(ctl);
    if (argc == 3 && !strcmp(argv[1], "info"))
        return run_info(ctl, argv[2]);
    if (argc < 3 || !strcmp(argv[1], "list") || !strcmp(argv[1], "info"))
        return ctl_usage(usage);
    g_variant_dict_init(&dict, NULL);
    if (g_strv_contains(with_target, argv[1]) && argc > 3) {
        g_autofree char *target = g_canonicalize_filename(argv[3], NULL);
        if (g_str_has_suffix(argv[3], "/") && !g_file_test(target, G_FILE_TEST_IS_DIR)) {
            g_variant_dict_clear(&dict);
            return ctl_error(ctl, "FolderUnreadable", _("There is no folder “%s”."), target);
        }
        g_variant_dict_insert(&dict, "target", "s", target);
        first = 4;
    } else if ((!strcmp(argv[1], "resize") || !strcmp(argv[1], "create")) && argc > 3) {
        guint64 bytes = 0;
        wrong |= !ctl_parse_size(argv[3], &bytes);
        g_variant_dict_insert(&dict, "bytes", "t", bytes);
        first = 4;
    } else if (!strcmp(argv[1], "resize") || !strcmp(argv[1], "create")) {
        wrong = TRUE;
    }
    for (int i = first; i < argc && !wrong; i++) {
        if (!strcmp(argv[i], "--repair") || !strcmp(argv[i], "--shrink") || !strcmp(argv[i], "--replace")) {
            g_variant_dict_insert(&dict, argv[i] + 2, "b", TRUE);
        } else if (g_strv_contains(texts, argv[i]) && i + 1 < argc) {
            g_variant_dict_insert(&dict, argv[i] + 2, "s", argv[i + 1]);
            i++;
        } else if (!strcmp(argv[i], "--target") && i + 1 < argc) {
            g_autofree char *target = g_canonicalize_filename(argv[++i], NULL);
            g_variant_dict_insert(&dict, "target", "s", target);
        } else {
            wrong = TRUE;
        }
    }
    g_autoptr(GVariant) options = g_variant_ref_sink(g_variant_dict_end(&dict));
    if (wrong)
        return ctl_usage(usage);
    g_autofree char *path = g_canonicalize_filename(argv[2], NULL);
    ctl_catch_interrupts();
    if (!gh_engine1_call_media_action_sync(ctl->engine, argv[1], path, options, &job, NULL, &error))
        return ctl_fail(ctl, error);
    int r = ctl_wait_job(ctl, job, NULL, &result);
    if (!r)
        print_result(ctl, argv[1], result);
    return r;
}

const struct ctl_command ctl_media_commands[] = {
    { "media", "ACTION [FILE...]", N_("disks and CD images: list, info, create, check, compact, resize, convert, move, relink, release, accept-parent, delete, restore"), run_media, FALSE },
    { NULL, NULL, NULL, NULL, FALSE },
};
