/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <gio/gio.h>
#include <glib/gstdio.h>

#include "engine/daemon/daemon.h"

/* Debian's package ovmf; the store belongs to this code image. */
#define OVMF_CODE "/usr/share/OVMF/OVMF_CODE_4M.fd"
#define OVMF_VARS "/usr/share/OVMF/OVMF_VARS_4M.fd"

int gh_firmware_args(const struct gh_daemon_machine *m, GPtrArray *args, struct gh_error *err)
{
    g_autofree char *folder = g_build_filename(m->folder, "nvram", NULL), *store = g_build_filename(folder, "uefi-vars.fd", NULL);
    g_autofree char *bytes = NULL;
    g_autoptr(GError) error = NULL;
    gsize length;

    if (strcmp(m->definition->firmware, "uefi"))
        return 0;
    if (!g_file_test(OVMF_CODE, G_FILE_TEST_EXISTS) || !g_file_test(OVMF_VARS, G_FILE_TEST_EXISTS))
        return gh_error_option(err, -ENOENT, "FirmwareMissing", "firmware", "The UEFI firmware “%s” is not there; install the package ovmf, or "
                               "change the machine's firmware to bios.", OVMF_CODE);
    if (!g_file_test(store, G_FILE_TEST_EXISTS)) {
        g_mkdir(folder, 0700);
        if (!g_file_get_contents(OVMF_VARS, &bytes, &length, &error) ||
            !g_file_set_contents_full(store, bytes, (gssize)length, G_FILE_SET_CONTENTS_CONSISTENT | G_FILE_SET_CONTENTS_DURABLE, 0600, &error))
            return gh_error_set(err, -EIO, "NvramFailed", "The machine's variable store cannot be made: %s.", error->message);
    }
    const char *const pairs[] = { "--bios", OVMF_CODE, "--nvram", store };
    for (unsigned n = 0; n < G_N_ELEMENTS(pairs); n++)
        g_ptr_array_add(args, g_strdup(pairs[n]));
    return 0;
}
