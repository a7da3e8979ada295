/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Runs one bare-metal guest: bare FILE [VCPUS [MODEL]]. Its console goes to stdout; exit 0 if it exited with 0. */
#include <stdio.h>
#include <stdlib.h>

#include "bare.h"

int main(int argc, char **argv)
{
    static struct bare_result r;

    if (argc < 2)
        return 2;
    if (bare_run(argv[1], argc > 2 ? (unsigned)atoi(argv[2]) : 1, argc > 3 ? argv[3] : NULL, getenv("BARE_OPTIONS"), getenv("BARE_SECONDS") ? (unsigned)atoi(getenv("BARE_SECONDS")) : 60, &r) < 0)
        return 1;
    fputs(r.console, stdout);
    if (!r.exited)
        printf("%s after %llu instructions\n", r.shutdown ? "shut down" : "out of time", (unsigned long long)r.instructions);
    if (getenv("BARE_SHUTDOWN"))     /* the guest's last act is a triple fault */
        return r.shutdown && !r.exited ? 0 : 1;
    return r.exited && r.code == 0 ? 0 : 1;
}
