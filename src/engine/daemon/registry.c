/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The registry is what the folders say: it is rebuilt by scanning them and cannot be lost. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/daemon/daemon.h"

struct gh_daemon_machine *gh_registry_find(struct gh_daemon *d, const char *uuid)
{ return g_hash_table_lookup(d->machines, uuid); }

struct gh_daemon_machine *gh_registry_add(struct gh_daemon *d, const char *folder, struct gh_error *err)
{
    struct gh_definition *def = NULL;
    bool restored = false;

    if (gh_store_load(folder, &def, &restored, err) < 0)
        return NULL;
    struct gh_daemon_machine *known = gh_registry_find(d, def->uuid);
    if (known) {
        gh_error_set(err, -EEXIST, "MachineKnown", "The machine in “%s” is registered already, as “%s” in “%s”.", folder,
                     known->definition ? known->definition->name : "?", known->folder);
        gh_definition_free(def);
        return NULL;
    }
    struct gh_daemon_machine *m = gh_daemon_machine_new(d, folder, def);
    g_hash_table_insert(d->machines, g_strdup(def->uuid), m);
    if (restored) {
        struct gh_error note = { 0 };
        gh_error_set(&note, -EIO, "DefinitionRestored", "The settings of “%s” were damaged; those before the last change are in use. "
                     "The damaged file is kept as machine.xml.damaged.", def->name);
        gh_daemon_machine_error(m, &note);
    }
    gh_instance_attach(m);
    gh_daemon_machine_refresh(m);
    gh_server_export(d, m);
    return m;
}

void gh_registry_remove(struct gh_daemon_machine *m)
{
    struct gh_daemon *d = m->daemon;
    g_autofree char *uuid = g_strdup(m->definition->uuid);

    gh_server_unexport(d, m);
    g_hash_table_remove(d->machines, uuid);
}

void gh_registry_scan(struct gh_daemon *d)
{
    g_autoptr(GDir) dir = g_dir_open(d->machines_folder, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *folder = g_build_filename(d->machines_folder, name, NULL);
        g_autofree char *file = g_build_filename(folder, GH_DEFINITION_FILE, NULL);
        g_autofree char *previous = g_strconcat(file, ".prev", NULL);
        struct gh_error err = { 0 };
        if (name[0] == '.' || (!g_file_test(file, G_FILE_TEST_EXISTS) && !g_file_test(previous, G_FILE_TEST_EXISTS)))
            continue;
        if (!gh_registry_add(d, folder, &err) && err.code != -EEXIST)
            g_warning("%s", err.text); /* one broken machine does not hide the others */
    }
}
