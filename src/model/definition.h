/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A machine's definition: what its machine.xml says.
 *
 * Thread: a definition belongs to its caller; no locking. Ownership: strings and arrays are the
 * definition's (malloc), freed by gh_definition_free, which takes NULL. File names of media inside
 * the machine's folder are relative to it; others are absolute.
 * Format: XML, namespace GH_DEFINITION_NS, data/schema/machine.rng. Unknown elements are refused by
 * the schema of the same major version and kept by none: a newer file is not half understood.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define GH_DEFINITION_NS "https://gasthaus.org/ns/machine/1"
#define GH_DEFINITION_FILE "machine.xml"

enum { GH_MEDIA_MAX = 16, GH_NETWORKS_MAX = 8, GH_FORWARDS_MAX = 32, GH_NAME_MAX = 63 };
#define GH_MEMORY_MIN_BYTES (4ull << 20)
#define GH_MEMORY_MAX_BYTES (1ull << 40)
#define GH_CPUS_LIMIT 64u

enum gh_medium_kind { GH_MEDIUM_DISK, GH_MEDIUM_CDROM, GH_MEDIUM_FLOPPY };
struct gh_medium {
    enum gh_medium_kind kind;
    char bus[16];                      /* "ide", "ahci", "nvme", "virtio"; floppies: "fdc" */
    char format[12];                   /* as recorded when attached; never probed again */
    char mode[16];                     /* "normal", "read-only", "immutable", "write-through", "shared" */
    char *file;                        /* NULL: an empty drive */
    char cache[14];                    /* "writeback" (also if empty), "writethrough", "unsafe" */
    bool keep_space;                   /* TRIM is not passed on */
    uint64_t limit_bytes;              /* a second; 0: no limit */
    uint32_t limit_ops;
};
struct gh_forward { char protocol[4]; char host_address[48]; uint16_t host_port, guest_port; };
struct gh_network {
    char adapter[16];                  /* "e1000", "virtio-net" */
    char mode[16];                     /* "nat", "passt", "internal", "stream", "none" */
    char name[64];                     /* of the internal network */
    char socket[108];                  /* stream: a UNIX socket that carries frames, an absolute path */
    char mac[18];
    bool connected;
    uint32_t limit_kbits;              /* a second, each way; 0: none */
    /* nat; of these passt has only the first three */
    bool host_loopback;                /* the guest reaches what listens on the host's loopback, at its gateway */
    bool no_ipv6;
    char subnet[16];                   /* first address of a /24; empty: 10.0.2.0 */
    char tftp[256], bootfile[128];     /* a folder that is served; what DHCP names */
    struct gh_forward forward[GH_FORWARDS_MAX]; unsigned forward_count;
};

struct gh_definition {
    char uuid[37];
    char name[GH_NAME_MAX * 4 + 1];    /* UTF-8 */
    char *description;                 /* may be NULL */
    char os_id[128];                   /* libosinfo's id, or empty */
    uint64_t revision;                 /* grows with every save */
    int64_t created, last_started;     /* seconds since 1970, 0: never */
    uint64_t memory_bytes;
    uint32_t cpus;
    char accelerator[12];              /* "auto", "kvm", "kmod", "soft" */
    char cpu_model[32];                /* empty: the accelerator's default */
    char board[12], firmware[12];      /* "pc"; "bios", "uefi" */
    char boot_order[5];                /* letters c d a n */
    char clock_base[12];               /* "utc", "local" */
    char pointer[12];                  /* "auto", "tablet", "mouse" */
    uint32_t video_mib;
    struct gh_medium medium[GH_MEDIA_MAX]; unsigned medium_count;
    struct gh_network network[GH_NETWORKS_MAX]; unsigned network_count;
};

/* Defaults and a new UUID; NULL when memory is out. */
struct gh_definition *gh_definition_new(void);
struct gh_definition *gh_definition_copy(const struct gh_definition *d);
void gh_definition_free(struct gh_definition *d);
int  gh_definition_add_medium(struct gh_definition *d, enum gh_medium_kind kind, const char *bus,
                              const char *format, const char *file, struct gh_error *err);
struct gh_network *gh_definition_add_network(struct gh_definition *d, const char *adapter, const char *mode,
                                             struct gh_error *err);
/* "net0" and so on; NULL: none. */
struct gh_network *gh_definition_network(struct gh_definition *d, const char *name);
/* Looks a drive up as the API names them: "disk0", "cdrom0", "floppy0"; NULL: none. */
struct gh_medium *gh_definition_drive(struct gh_definition *d, const char *name);
/* definition_network.c. NAT and passt, which the definition's forwards are for. */
bool gh_network_takes_forwards(const struct gh_network *n);
/* They listen on the same port of the same address. */
bool gh_forwards_collide(const struct gh_forward *a, const struct gh_forward *b);
int  gh_definition_check_networks(const struct gh_definition *d, struct gh_error *err);
/* The first thing that is wrong, with the option's name. */
int  gh_definition_check(const struct gh_definition *d, struct gh_error *err);

/* definition_xml.c */
int  gh_definition_parse(const char *text, size_t length, const char *label, struct gh_definition **ret, struct gh_error *err);
/* *ret is malloced, NUL-terminated. */
int  gh_definition_format(const struct gh_definition *d, char **ret, size_t *ret_length, struct gh_error *err);

/* store.c: a machine's folder. Saves write a temporary file, flush it, keep the previous generation
 * as machine.xml.prev, and rename. */
int  gh_store_load(const char *folder, struct gh_definition **ret, bool *ret_restored, struct gh_error *err);
int  gh_store_save(const char *folder, struct gh_definition *d, struct gh_error *err); /* bumps revision */
