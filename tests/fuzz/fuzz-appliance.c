/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A machine of another program: the input is the file FUZZ_NAME ("a.ovf", "a.vbox", ...). With FUZZ_ARCHIVE it is a
 * whole OVA in a file: archive, manifest and disks too.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "appliance/disk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What came out must survive the trip to the daemon. */
static void there_and_back(struct gh_appliance *a)
{
    struct gh_appliance *again = NULL;
    struct gh_error err = { 0 };
    json_t *j = gh_appliance_to_json(a);

    if (!j || gh_appliance_from_json(j, &again, &err) < 0) {
        fprintf(stderr, "not understood again: %s\n", err.text);
        abort();
    }
    gh_appliance_free(again);
    json_decref(j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gh_package p;
    struct gh_error err = { 0 };
    struct gh_appliance *a = gh_appliance_new();
    bool found;

#ifdef FUZZ_ARCHIVE
    static char path[64];
    if (!path[0])
        snprintf(path, sizeof path, "/tmp/gh-fuzz-%d.ova", getpid());
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    close(fd);
    int r = gh_package_open(&p, path, NULL, &err);
    unlink(path);
#else
    int r = gh_package_from_text(&p, FUZZ_NAME, (const char *)data, size, &err);
#endif
    if (!r)
        r = gh_read_description(&p, a, &err);
#ifdef FUZZ_ARCHIVE
    if (!r)
        r = gh_media_locate(&p, a, &err);
    if (!r)
        gh_manifest_check(&p, NULL, &found, NULL, NULL, &err);
#else
    (void)found;
#endif
    if (!r)
        r = gh_appliance_finish(a, p.stem, &err);
    if (!r)
        there_and_back(a);
    else if (!err.id[0])
        abort(); /* every refusal says why */
    gh_package_close(&p);
    gh_appliance_free(a);
    return 0;
}
