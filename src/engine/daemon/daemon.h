/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The per-user daemon: registry of machines, their D-Bus objects, running instances.
 *
 * Threads: everything on the GLib main thread; long work (OS detection, making disks) runs in a
 * GTask thread and comes back. Ownership as GLib does it.
 * A machine runs without the daemon: quitting it, or killing it, stops no guest.
 */
#pragma once
#include <limits.h>
#include <gio/gio.h>

#include "base/error.h"
#include "engine-dbus.h"
#include "model/definition.h"

#define GH_ENGINE_PATH "/org/gasthaus/Engine1"
#define GH_ENGINE_NAME "org.gasthaus.Engine1"

struct gh_daemon;
struct gh_instance;
struct gh_job;

/* A network adapter of a running machine, as it last told. */
struct gh_daemon_net { gboolean known, backend, capturing; char capture[PATH_MAX]; char address[16], address6[46]; };

struct gh_daemon_machine {
    struct gh_daemon *daemon;
    char *folder;
    struct gh_definition *definition;      /* NULL: inaccessible */
    GhObjectSkeleton *object;
    GhEngine1Machine *iface;
    struct gh_instance *instance;          /* NULL: off */
    GBytes *thumbnail;
    struct gh_daemon_net net[GH_NETWORKS_MAX];
    void *connecting;                      /* network_connect.c: a change that its supervisor has not answered */
};

struct gh_daemon {
    GMainLoop *loop;
    char *runtime, *machines_folder;       /* $XDG_RUNTIME_DIR/gasthaus; where machines live */
    char *vm_program;
    GDBusServer *server;
    GhEngine1 *iface;
    GList *connections;                    /* GDBusConnection: everybody who is connected */
    GHashTable *machines;                  /* uuid -> struct gh_daemon_machine */
    GList *jobs;                           /* struct gh_job: running, and a little while after */
    guint next_job;
};

/* paths.c */
char *gh_paths_runtime(struct gh_error *err);       /* made 0700; checked to be ours */
int  gh_paths_check(const char *path, struct gh_error *err);   /* what a client gave: absolute, so that it is no option of a program */
char *gh_paths_machines(void);
char *gh_paths_program(const char *name);           /* beside this program, in the build tree, or in PATH */

/* server.c */
int  gh_server_start(struct gh_daemon *d, struct gh_error *err);
void gh_server_stop(struct gh_daemon *d);
void gh_server_export(struct gh_daemon *d, struct gh_daemon_machine *m);
void gh_server_unexport(struct gh_daemon *d, struct gh_daemon_machine *m);
void gh_server_export_job(struct gh_daemon *d, struct gh_job *job);
void gh_server_unexport_job(struct gh_daemon *d, struct gh_job *job);

/* registry.c */
void gh_registry_scan(struct gh_daemon *d);
struct gh_daemon_machine *gh_registry_add(struct gh_daemon *d, const char *folder, struct gh_error *err);
void gh_registry_remove(struct gh_daemon_machine *m);
struct gh_daemon_machine *gh_registry_find(struct gh_daemon *d, const char *uuid);

/* engine.c: org.gasthaus.Engine1 */
void gh_engine_setup(struct gh_daemon *d);
/* firmware.c: appends what UEFI firmware needs; makes the machine's variable store at its first start. */
gboolean gh_firmware_has_uefi(void);
int  gh_firmware_args(const struct gh_daemon_machine *m, GPtrArray *args, struct gh_error *err);

/* create.c: makes folder, disk and definition; nothing is left behind on failure. */
int  gh_create_machine(struct gh_daemon *d, const char *name, GVariant *settings, struct gh_daemon_machine **ret,
                       struct gh_error *err);
int  gh_settings_apply(struct gh_definition *def, GVariant *settings, struct gh_error *err);
char *gh_create_free_folder(const char *parent, const char *name);  /* NULL: none is free */
void gh_create_remove_tree(const char *folder);
/* A folder under a name that is not shown, for a machine that is being made. It is locked by fd as long as that is open: a
 * daemon that starts beside us (another session, the same home) leaves it alone. */
struct gh_hidden { char *path; int fd; };
int  gh_hidden_make(struct gh_daemon *d, const char *prefix, const char *uuid, struct gh_hidden *ret, struct gh_error *err);
void gh_hidden_end(struct gh_hidden *h, gboolean remove);      /* h may be a zeroed one */
void gh_hidden_clean(struct gh_daemon *d);                     /* what daemons left that are gone */

/* appliance.c: machines of other programs. Jobs: *ret_job is the object's path, the job's own. */
void gh_appliance_inspect(struct gh_daemon *d, const char *path, GVariant *options, GDBusMethodInvocation *inv);
int  gh_appliance_import(struct gh_daemon *d, const char *path, GVariant *options, const char **ret_job, struct gh_error *err);
int  gh_appliance_export(struct gh_daemon_machine *m, const char *path, GVariant *options, const char **ret_job, struct gh_error *err);

/* machine.c: org.gasthaus.Engine1.Machine */
struct gh_daemon_machine *gh_daemon_machine_new(struct gh_daemon *d, const char *folder, struct gh_definition *def);
void gh_daemon_machine_free(struct gh_daemon_machine *m);
/* Checks, writes and takes over the changed definition, or frees it. */
int  gh_daemon_machine_save(struct gh_daemon_machine *m, struct gh_definition *changed, struct gh_error *err);
void gh_daemon_machine_refresh(struct gh_daemon_machine *m);   /* properties from definition and instance */
void gh_daemon_machine_error(struct gh_daemon_machine *m, const struct gh_error *err); /* NULL clears */
char *gh_daemon_machine_medium_path(const struct gh_daemon_machine *m, const struct gh_medium *medium);

/* instance.c: a running gasthaus-vm, ours or found again. */
typedef void (*gh_instance_reply)(struct gh_daemon_machine *m, const struct gh_error *err, void *reply /* json_t */, int fd,
                                  void *opaque);
int  gh_instance_start(struct gh_daemon_machine *m, gboolean paused, struct gh_error *err);
/* Looks whether a machine process of this uuid is alive and connects to it. */
gboolean gh_instance_attach(struct gh_daemon_machine *m);
void gh_instance_free(struct gh_daemon_machine *m);            /* lets go; the guest runs on */
const char *gh_instance_state(const struct gh_daemon_machine *m);
/* Sends a verb; parameters (json_t object, taken over, may be NULL); fd (taken over, -1: none). reply may be NULL. */
void gh_instance_call(struct gh_daemon_machine *m, const char *verb, void *parameters, int fd, gh_instance_reply reply, void *opaque);
char *gh_instance_socket(const struct gh_daemon_machine *m, const char *name); /* "display", "serial" */
void gh_instance_take_status(struct gh_daemon_machine *m, void *status /* json_t */);
void gh_instance_describe(struct gh_daemon_machine *m);        /* pushes live properties to the D-Bus object */

/* disk.c: the disks of a machine and how it uses them. */
void gh_disk_connect(struct gh_daemon_machine *m);             /* the methods */
void gh_disk_describe(const struct gh_medium *medium, GVariantDict *d); /* adds how it is used */
/* Refused when another machine has the same file and one of both may write to it. running: looks at running machines alone. */
int  gh_disk_check_sharing(const struct gh_daemon_machine *m, const struct gh_medium *medium, gboolean running, struct gh_error *err);

/* network.c: adapters, forwards, and what running machines tell of them. */
void gh_network_connect(struct gh_daemon_machine *m);          /* the methods */
GVariant *gh_network_describe(struct gh_daemon_machine *m);
void gh_network_ask(struct gh_daemon_machine *m, const char *adapter); /* NULL: all; when the machine says that something changed */
void gh_network_forget(struct gh_daemon_machine *m);           /* it is off */
/* network_connect.c. What gasthaus-vm's --net says for it. */
char *gh_network_words(const struct gh_network *n);
/* Connects a running machine's adapter as n says; err NULL: it is. One at a time. */
typedef void (*gh_network_done)(struct gh_daemon_machine *m, const struct gh_error *err, void *opaque);
void gh_network_reconnect(struct gh_daemon_machine *m, const char *id, const struct gh_network *n, gh_network_done done, void *opaque);
void gh_network_abandon(struct gh_daemon_machine *m);          /* the machine goes */

/* osinfo.c; blocking, call from a thread. Keys as in the D-Bus API. */
GVariant *gh_osinfo_identify(const char *path, struct gh_error *err);
GVariant *gh_osinfo_recommend(const char *os_id);
GVariant *gh_osinfo_list(void);
char *gh_osinfo_name(const char *os_id);            /* NULL: unknown */
void gh_osinfo_preload(void);

/* errors.c */
void gh_describe_errors(GDBusMethodInvocation *invocation);
GVariant *gh_error_parts(const struct gh_error *err); /* aas: what the sentence is made from; floating; err may be NULL */
void gh_return_error(GDBusMethodInvocation *invocation, const struct gh_error *err);
/* The same from a handler; changed, which is not saved, is freed and may be NULL. TRUE: answered. */
gboolean gh_refuse_change(GDBusMethodInvocation *invocation, struct gh_definition *changed, const struct gh_error *err);
