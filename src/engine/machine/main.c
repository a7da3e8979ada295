/* SPDX-License-Identifier: GPL-3.0-or-later */
/* gasthaus-vm: one virtual machine. Supervisor, or with --machine-fd the process it supervises. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/log.h"
#include "devices/device.h"
#include "engine/machine/cmdline.h"
#include "engine/machine/control.h"
#include "engine/machine/hostcheck.h"
#include "engine/machine/supervisor.h"

/* A descriptor's number; -1: not one. */
static int fd_number(const char *text)
{
    char *end;
    long  n = strtol(text, &end, 10);

    return *end || end == text || n < 0 || n > 1 << 20 ? -1 : (int)n;
}

/* From the daemon: the launch description comes as a message, and we leave its session. */
static int run_launched(int fd, struct gh_error *err)
{
    struct gh_packet packet;
    struct gh_launch *launch = NULL;
    int r = gh_packet_recv(fd, &packet, err);

    if (r <= 0)
        return r ? r : gh_error_set(err, -EPIPE, "LaunchExpected", "Nobody said on descriptor %d what to run.", fd);
    r = gh_launch_from_packet(&packet, &launch, err);
    gh_packet_clear(&packet);
    if (r) {
        gh_control_report_failure(fd, err);
        return r;
    }
    setsid();
    struct gh_supervisor_config cfg = { .launch = launch, .notify_fd = fd };
    r = gh_supervisor_run(&cfg, err);
    gh_launch_free(launch);
    return r;
}

static void list_devices(void)
{
    for (const struct gh_device_class *const *c = gh_device_classes; *c; c++) {
        printf("%-14s %s\n", (*c)->name, (*c)->summary);
        for (const struct gh_option *o = (*c)->options; o && o->name; o++)
            printf("    %-18s %s%s%s%s\n", o->name, o->help ? o->help : "", o->fallback ? " (default " : "", o->fallback ? o->fallback : "",
                   o->fallback ? ")" : "");
    }
}

static int run_command_line(int argc, char **argv, struct gh_error *err)
{
    struct gh_cmdline cmd;
    int r = gh_cmdline_parse(argc, argv, &cmd, err);

    if (r == GH_CMDLINE_LIST_DEVICES)
        list_devices();
    if (r == GH_CMDLINE_CHECK_HOST)
        gh_hostcheck_print(cmd.json);
    if (r > GH_CMDLINE_RUN) {
        r = 0;
    } else if (r == GH_CMDLINE_RUN) {
        struct gh_supervisor_config cfg = { .launch = cmd.launch, .notify_fd = -1 };
        r = gh_supervisor_run(&cfg, err);
    }
    gh_cmdline_fini(&cmd);
    return r;
}

int main(int argc, char **argv)
{
    struct gh_error err = { 0 };
    int r;

    gh_log_init("gasthaus-vm");
    if (argc == 2 && !strcmp(argv[1], "--help-control")) {
        gh_control_help(stdout);
        return 0;
    }
    int fd = argc == 3 ? fd_number(argv[2]) : -1;
    /* It was started as /proc/self/exe; ps, and who asks who holds a disk, shall read what it is. */
    if (fd >= 0 && !strcmp(argv[1], "--machine-fd"))
        prctl(PR_SET_NAME, "gasthaus-vm");
    if (fd >= 0 && !strcmp(argv[1], "--machine-fd"))
        return gh_machine_process_main(fd);
    if (fd >= 0 && !strcmp(argv[1], "--launch-fd"))
        r = run_launched(fd, &err);
    else
        r = run_command_line(argc, argv, &err);
    if (gh_error_is_set(&err))
        fprintf(stderr, "gasthaus-vm: %s [%s]\n", err.text, err.id);
    return r < 0 ? 2 : r;
}
