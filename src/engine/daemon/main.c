/* SPDX-License-Identifier: GPL-3.0-or-later */
/* gasthausd: started on demand by whoever needs it; holds a lock, so that there is one per user. */
#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <libxml/parser.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "engine/daemon/daemon.h"

static gboolean quit(gpointer data)
{
    g_main_loop_quit(data);
    return G_SOURCE_REMOVE;
}

/* An OFD lock for life: a killed daemon leaves nothing that has to be cleaned. */
static int take_lock(const char *runtime)
{
    g_autofree char *path = g_build_filename(runtime, "daemon.lock", NULL);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

    if (fd < 0)
        return -errno;
    if (fcntl(fd, F_OFD_SETLK, &lock) < 0) {
        close(fd);
        return -EAGAIN;
    }
    return fd;
}

int main(int argc, char **argv)
{
    struct gh_daemon d = { 0 };
    struct gh_error err = { 0 };

    setlocale(LC_ALL, "");
    gh_log_init("gasthausd");
    xmlInitParser();
    if (argc > 1) {
        printf("gasthausd %s: the Gasthaus daemon. It takes no arguments and is started when needed.\n", GH_VERSION);
        return strcmp(argv[1], "--version") && strcmp(argv[1], "--help") ? 2 : 0;
    }
    d.runtime = gh_paths_runtime(&err);
    if (!d.runtime) {
        fprintf(stderr, "gasthausd: %s [%s]\n", err.text, err.id);
        return 1;
    }
    if (take_lock(d.runtime) < 0) {
        fprintf(stderr, "gasthausd: another daemon of this user is running.\n");
        return 0;
    }
    d.machines_folder = gh_paths_machines();
    d.vm_program = gh_paths_program("gasthaus-vm");
    if (!d.vm_program) {
        fprintf(stderr, "gasthausd: the program gasthaus-vm is missing; install Gasthaus again.\n");
        return 1;
    }
    d.machines = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)gh_daemon_machine_free);
    d.loop = g_main_loop_new(NULL, FALSE);
    gh_osinfo_preload();
    gh_engine_setup(&d);
    gh_hidden_clean(&d);
    gh_registry_scan(&d);
    if (gh_server_start(&d, &err) < 0) {
        fprintf(stderr, "gasthausd: %s [%s]\n", err.text, err.id);
        return 1;
    }
    g_unix_signal_add(SIGTERM, quit, d.loop);
    g_unix_signal_add(SIGINT, quit, d.loop);
    signal(SIGPIPE, SIG_IGN);
    g_main_loop_run(d.loop);
    gh_server_stop(&d);
    g_hash_table_unref(d.machines);
    return 0;
}
