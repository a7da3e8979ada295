/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Shared by process.c (making the machine) and process_control.c (what the outside asks of it). */
#pragma once
#include "engine/machine/accel_choice.h"
#include "engine/machine/chardev.h"
#include "engine/machine/machine.h"
#include "engine/machine/process.h"

struct gh_display;
struct gh_control;
struct gh_net;

struct gh_process {
    struct gh_launch *launch;
    struct gh_loop *loop;
    struct gh_accel_choice choice;
    struct gh_machine *machine;
    struct gh_backend_ref *backend;
    unsigned backend_count;
    struct gh_block **disk;
    unsigned disk_count;
    struct gh_chardev **chardev;
    unsigned chardev_count;
    struct gh_net **net;
    unsigned net_count;
    struct gh_device_config *device;
    struct gh_display *display;
    struct gh_control *control;
    struct gh_gdb *gdb;                /* NULL until one is asked for */
    const struct gh_process_hooks *hooks;
    struct gh_error trouble;           /* why it is paused, if something went wrong */
};

int  gh_process_control(struct gh_process *p, const struct gh_process_hooks *hooks, struct gh_machine_events *events, struct gh_error *err);
/* The machine stands: display, threads, then the sandbox. */
int  gh_process_ready(struct gh_process *p, struct gh_error *err);
/* A drive's medium came or went; loop thread. */
void gh_process_tell_medium(struct gh_process *p, const char *drive, bool present);
/* Something people should know; the machine runs on. Into the log too. Loop thread. */
void gh_process_tell_error(struct gh_process *p, const struct gh_error *err);
/* process_net.c */
int  gh_process_net_open(struct gh_process *p, struct gh_launch_net *net, struct gh_error *err);
struct gh_net *gh_process_net(struct gh_process *p, const char *name, struct gh_error *err);
struct gh_control_ops;
void gh_process_net_ops(struct gh_control_ops *ops);
void gh_process_net_counters(struct gh_process *p, void (*visit)(void *, const char *, uint64_t), void *opaque);
void gh_process_control_free(struct gh_process *p);
