/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <gio/gio.h>
#include <glib/gstdio.h>

#include "engine/daemon/daemon.h"

/* Debian's package ovmf; the store belongs to this code image. */
#define OVMF_FOLDER "/usr/share/OVMF"

static char *ovmf(const char *file)
{
    const char *folder = g_getenv("GASTHAUS_OVMF");
    return g_build_filename(folder ? folder : OVMF_FOLDER, file, NULL);
}

gboolean gh_firmware_has_uefi(void)
{
    g_autofree char *code = ovmf("OVMF_CODE_4M.fd"), *vars = ovmf("OVMF_VARS_4M.fd");
    return g_file_test(code, G_FILE_TEST_EXISTS) && g_file_test(vars, G_FILE_TEST_EXISTS);
}

int gh_firmware_args(const struct gh_daemon_machine *m, GPtrArray *args, struct gh_error *err)
{
    g_autofree char *folder = g_build_filename(m->folder, "nvram", NULL), *store = g_build_filename(folder, "uefi-vars.fd", NULL);
    g_autofree char *bytes = NULL, *code = ovmf("OVMF_CODE_4M.fd"), *vars = ovmf("OVMF_VARS_4M.fd");
    g_autoptr(GError) error = NULL;
    gsize length;

    if (strcmp(m->definition->firmware, "uefi"))
        return 0;
    if (!gh_firmware_has_uefi())
        return gh_error_option(err, -ENOENT, "FirmwareMissing", "firmware", "The UEFI firmware “%s” is not there; install the package ovmf, or "
                               "change the machine's firmware to bios.", code);
    if (!g_file_test(store, G_FILE_TEST_EXISTS)) {
        g_mkdir(folder, 0700);
        if (!g_file_get_contents(vars, &bytes, &length, &error) ||
            !g_file_set_contents_full(store, bytes, (gssize)length, G_FILE_SET_CONTENTS_CONSISTENT | G_FILE_SET_CONTENTS_DURABLE, 0600, &error))
            return gh_error_set(err, -EIO, "NvramFailed", "The machine's variable store cannot be made: %s.", error->message);
    }
    const char *const pairs[] = { "--bios", code, "--nvram", store };
    for (unsigned n = 0; n < G_N_ELEMENTS(pairs); n++)
        g_ptr_array_add(args, g_strdup(pairs[n]));
    return 0;
}
