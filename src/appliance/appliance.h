/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Machines of other programs: one model that every reader fills and that the report, the import and the
 * user interfaces share. It travels as JSON from the sandboxed gasthaus-image to the daemon.
 *
 * Thread: an appliance belongs to its caller; no locking. Ownership: everything inside is the
 * appliance's until gh_appliance_free. All text is valid UTF-8 without control characters and is data
 * only: never a format, markup, a command, or a path without being resolved (package.h).
 */
#pragma once
#include <jansson.h>
#include <stdint.h>

#include "base/error.h"

enum { GH_APPLIANCE_MEDIA_MAX = 16, GH_APPLIANCE_NETWORKS_MAX = 8, GH_APPLIANCE_LINES_MAX = 200, GH_APPLIANCE_SYSTEMS_MAX = 64,
       GH_APPLIANCE_SNAPSHOTS_MAX = 200 };

struct gh_appliance_line {                 /* of the report */
    char  kind[12];                        /* "kept", "changed", "dropped", "warning" */
    char *text;
};
struct gh_appliance_medium {
    char     kind[12];                     /* "disk", "cdrom", "floppy" */
    char     bus[16];                      /* as machine.xml has them */
    char    *source;                       /* as the description calls the file; NULL: an empty drive */
    char    *path;                         /* where it is on this host; NULL: in the package, or nowhere */
    char     format[12];                   /* as found */
    char     target[96];                   /* file in the machine's folder; empty: nothing is copied */
    uint64_t at, bytes;                    /* place in the package */
    uint64_t virtual_bytes;                /* what the guest sees */
    uint64_t needed_bytes;                 /* on the host, when copied */
    char     mode[16];                     /* "", "immutable", "write-through", "read-only": as machine.xml has them */
    bool     packed;                       /* gzip around the image */
    uint64_t piece_bytes;                  /* cut into files of so many bytes, NAME.000000000 and so on; 0: it is not */
    uint32_t pieces;
    uint64_t seen_bytes;                   /* the file's size and change time (ns) when it was looked at */
    int64_t  seen_ns;
    bool     is_new;                       /* of virtual_bytes and empty, where the file is missing */
    char     uuid[40];                     /* the file is known by this alone */
    bool     missing;                      /* named, but not there: skipped */
    bool     can_stay;                     /* may be used where it is */
};
struct gh_appliance_network {
    char adapter[16], mode[16], name[64], mac[18];
    bool connected;
};
struct gh_appliance_system { char name[256]; };
struct gh_appliance_snapshot { char name[128], id[40], time[32]; };  /* id, time: as the source has them, or empty */
struct gh_appliance {
    char     kind[12];                     /* "ova", "ovf", "vbox", "vmx", "libvirt", "xen", "quickemu", "disk" */
    char     dialect[32];                  /* who wrote it, or empty */
    char     name[256];
    char    *description;                  /* may be NULL */
    char     os[128], os_id[128];          /* as the source calls it; libosinfo's id; or empty */
    uint64_t memory_bytes;
    uint32_t cpus;
    char     firmware[12], clock_base[12], boot_order[8];
    uint32_t system;                       /* which of the package's machines this is; set before reading */
    char     snapshot[128];                /* instead of the current state, by name or id; set before reading */
    bool     in_place;                     /* disks that can stay where they are do; set before reading */
    struct gh_appliance_system  *systems;  unsigned system_count;   /* all of them; none where a package has one at most */
    struct gh_appliance_snapshot *snapshots; unsigned snapshot_count; /* of this machine, none of which the current state brings */
    struct gh_appliance_medium  *media;    unsigned media_count;
    struct gh_appliance_network *networks; unsigned network_count;
    struct gh_appliance_line    *lines;    unsigned line_count;
    uint64_t space_needed;                 /* bytes of what is copied */
    char    *blocker;                      /* why it cannot start here as it is, and what would help; or NULL */
};

struct gh_appliance *gh_appliance_new(void);
void gh_appliance_free(struct gh_appliance *a);
json_t *gh_appliance_to_json(const struct gh_appliance *a);
/* Checks everything again: what comes out of the sandbox is not trusted either. */
int  gh_appliance_from_json(const json_t *j, struct gh_appliance **ret, struct gh_error *err);

/* ---- For readers ---------------------------------------------------------------------------------- */
enum gh_note { GH_KEPT, GH_CHANGED, GH_DROPPED, GH_WARNING };
/* fmt is a literal, translated by the caller; the arguments are cut to what is printable. */
void gh_appliance_note(struct gh_appliance *a, enum gh_note kind, const char *fmt, ...) GH_PRINTF(3, 4);
/* NULL after ApplianceTooLarge. source may be NULL: an empty drive. */
struct gh_appliance_medium *gh_appliance_add_medium(struct gh_appliance *a, const char *kind, const char *bus, const char *source,
                                                    struct gh_error *err);
/* 08:00:27:..., 08-00-27-... or 080027...; out stays as it is when text is none. */
void gh_appliance_mac(char out[18], const char *text);
struct gh_appliance_network *gh_appliance_add_network(struct gh_appliance *a, const char *adapter, const char *mode,
                                                      const char *mac, struct gh_error *err);
/* NULL: there are too many, which is said. memory: it keeps what was in memory too. One that was asked for gets its line from
 * gh_appliance_from_snapshot, which fails (SnapshotUnknown) when it was not among them. */
struct gh_appliance_snapshot *gh_appliance_add_snapshot(struct gh_appliance *a, const char *name, const char *id, const char *time);
/* How a disk is used, when not as any other; noted. */
void gh_appliance_set_mode(struct gh_appliance *a, struct gh_appliance_medium *m, const char *mode);
bool gh_appliance_wants(const struct gh_appliance *a, const char *name, const char *id);
int  gh_appliance_from_snapshot(struct gh_appliance *a, bool found, bool memory, const char *path, struct gh_error *err);
/* Copies what is printable and fits. */
void gh_appliance_text(char *out, size_t size, const char *text);
void gh_appliance_text_new(char **out, const char *text, size_t limit);
/* Bus and adapter by the names others use ("scsi", "vmxnet3", ...), with a line where it changes. */
const char *gh_appliance_bus(struct gh_appliance *a, const char *theirs);
const char *gh_appliance_adapter(struct gh_appliance *a, const char *theirs);
const char *gh_appliance_network_mode(struct gh_appliance *a, const char *theirs);
/* os.c: what another program calls the system, as libosinfo's id; empty when unknown. */
const char *gh_appliance_os_id(const char *text);
/* Limits, defaults, lines for what is kept, space. After reading, before the report. */
int  gh_appliance_finish(struct gh_appliance *a, const char *fallback_name, struct gh_error *err);
