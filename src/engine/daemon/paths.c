/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/daemon/daemon.h"

char *gh_paths_runtime(struct gh_error *err)
{
    const char *base = g_getenv("XDG_RUNTIME_DIR");
    g_autofree char *path = NULL;
    struct stat st;

    /* Without a login session there may be no runtime folder: a private one of the same rights. */
    if (base && base[0] == '/')
        path = g_build_filename(base, "gasthaus", NULL);
    else
        path = g_strdup_printf("/tmp/gasthaus-%u", (unsigned)getuid());
    if (g_mkdir_with_parents(path, 0700) < 0 || lstat(path, &st) < 0) {
        gh_error_set(err, -errno, "RuntimeFolderFailed", "The folder “%s” for running machines cannot be made: %s.", path, strerror(errno));
        return NULL;
    }
    if (!S_ISDIR(st.st_mode) || st.st_uid != getuid() || (st.st_mode & 077)) {
        gh_error_set(err, -EPERM, "RuntimeFolderUnsafe", "The folder “%s” must belong to you alone; remove it and start again.", path);
        return NULL;
    }
    return g_steal_pointer(&path);
}

int gh_paths_check(const char *path, struct gh_error *err)
{
    if (g_path_is_absolute(path) && strlen(path) < 4096)
        return 0;
    return gh_error_set(err, -EINVAL, "PathInvalid", "“%.200s” is not a whole path; it must begin with “/”.", path);
}

char *gh_paths_machines(void)
{
    const char *chosen = g_getenv("GASTHAUS_MACHINES");

    return chosen ? g_strdup(chosen) : g_build_filename(g_get_user_data_dir(), "gasthaus", "machines", NULL);
}

char *gh_paths_program(const char *name)
{
    /* In the build tree programs lie in their source folder's place; installed, beside each other. */
    static const char *const places[] = { "", "../machine", "../engine/machine", "../engine/daemon", "../../engine/daemon",
                                          "../cli", "../image-tool", "../../image-tool", "../../cli", "../libexec/gasthaus" };
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);

    if (n > 0) {
        self[n] = 0;
        g_autofree char *folder = g_path_get_dirname(self);
        for (unsigned i = 0; i < G_N_ELEMENTS(places); i++) {
            g_autofree char *path = g_build_filename(folder, places[i], name, NULL);
            if (g_file_test(path, G_FILE_TEST_IS_EXECUTABLE) && !g_file_test(path, G_FILE_TEST_IS_DIR))
                return g_canonicalize_filename(path, NULL);
        }
    }
    return g_find_program_in_path(name);
}
