/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Bare-metal guests in-process: a flat binary at 0x7c00 in real mode, 32 MiB of RAM, a console at port
 * 0xe9, an exit port at 0xf4 (any thread of the guest), a page of MMIO at 0xfed00000 that remembers
 * what was written. Port 0xd0 takes an address and 0xd4 writes there as a device does. Runs any accelerator class
 * that calls its env inline (soft).
 */
#pragma once
#include "engine/accel/accel.h"

#define BARE_RAM (32u << 20)
#define BARE_MMIO 0xfed00000ull

struct bare_result {
    bool     exited;         /* by the exit port; otherwise shut down or out of time */
    bool     shutdown;       /* triple fault */
    unsigned code;           /* what was written to the exit port */
    char     console[16384];
    uint64_t instructions;
};
/* Runs the binary on so many vCPUs; options as gh_accel_config.options. 0 or negative errno. */
int bare_run(const char *path, unsigned vcpus, const char *model, const char *options, unsigned timeout_s,
             struct bare_result *ret);
