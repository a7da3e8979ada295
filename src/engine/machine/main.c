/* SPDX-License-Identifier: GPL-3.0-or-later */
/* gasthaus-vm: one virtual machine. */
#include <signal.h>
#include <stdio.h>

#include "base/log.h"
#include "engine/machine/cmdline.h"
#include "engine/machine/process.h"

int main(int argc, char **argv)
{
    struct gh_cmdline cmd;
    struct gh_error err = { 0 };
    struct gh_process_hooks hooks = { .control_fd = -1 };

    gh_log_init("gasthaus-vm");
    signal(SIGPIPE, SIG_IGN);
    int r = gh_cmdline_parse(argc, argv, &cmd, &err);
    if (r == GH_CMDLINE_RUN)
        r = gh_process_run(cmd.launch, &hooks, &err);
    else if (r == GH_CMDLINE_DONE)
        r = 0;
    gh_cmdline_fini(&cmd);
    if (r < 0) {
        fprintf(stderr, "gasthaus-vm: %s [%s]\n", err.text, err.id);
        return 2;
    }
    return r;
}
