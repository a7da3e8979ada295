/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The sandboxed side: gasthaus-vm --machine-fd N. Everything it ever gets arrives on that socket. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "engine/machine/control.h"
#include "engine/machine/process.h"
#include "engine/machine/sandbox.h"
#include "engine/machine/supervisor.h"

static int enter(void *opaque, struct gh_error *err)
{
    return gh_sandbox_enter(*(enum gh_sandbox_mode *)opaque, err);
}

static int run(int fd, struct gh_error *err)
{
    struct gh_packet  packet;
    struct gh_launch *launch = NULL;
    enum gh_sandbox_mode mode;
    int r = gh_packet_recv(fd, &packet, err);

    if (r <= 0)
        return r ? r : gh_error_set(err, -EPIPE, "LaunchExpected", "The supervisor went away before it said what to run.");
    r = gh_launch_from_packet(&packet, &launch, err);
    gh_packet_clear(&packet);
    if (r)
        return r;
    tzset(); /* reads a file, which is not possible later */
    mode = (enum gh_sandbox_mode)gh_sandbox_mode_parse(launch->sandbox);
    r = gh_sandbox_prepare(mode, err);
    if (r == 0) {
        struct gh_process_hooks hooks = { .opaque = &mode, .enter = enter, .control_fd = dup(fd) };
        r = gh_process_run(launch, &hooks, err);
    }
    gh_launch_free(launch);
    return r;
}

int gh_machine_process_main(int fd)
{
    struct gh_error err = { 0 };

    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);             /* a disk that may not grow is an error (EFBIG) that pauses the machine */
    int r = run(fd, &err);
    if (r >= 0)
        return r;
    gh_control_report_failure(fd, &err);
    return 2;
}
