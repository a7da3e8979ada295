/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The launch description: everything a machine process is given. One JSON message with descriptors,
 * the same from the daemon and from the command line; after it the machine opens nothing by path.
 *
 * Names connect the parts: a device's option of a backend type ("drive", "chardev", "netdev") holds
 * the name of a disk, char or net here. Texts that reach a device are checked by the device's own
 * option table. Ownership: a struct gh_launch owns its descriptors; the machine takes what it keeps by
 * gh_steal_fd and the rest is closed by gh_launch_free.
 */
#pragma once
#include "base/schema.h"

#define GH_LAUNCH_VERSION 1
#define GH_LAUNCH_SOCKET_MAX 108               /* sockaddr_un.sun_path */

/* An image file and what it refers to; layers[0] is the top, the last one the base. */
struct gh_launch_extent { char name[256]; int fd; };
struct gh_launch_layer {
    char format[12];                       /* a format of the disk library; never probed */
    char label[256];                       /* for messages; not a path to open */
    int  fd;
    struct gh_launch_extent *extents; unsigned extent_count;
};
struct gh_launch_disk {
    char name[32];
    bool read_only, removable, discard, snapshot; /* snapshot: writes go nowhere durable */
    bool hot_plug;                         /* may be pulled out and plugged in; without layers: nothing yet */
    char serial[21];
    char cache[14];                        /* "writeback" (also if empty), "writethrough", "unsafe" */
    uint64_t limit_bytes;                  /* a second; 0: no limit */
    uint32_t limit_ops;
    struct gh_launch_layer *layers; unsigned layer_count; /* none: an empty drive */
};
struct gh_launch_char {
    char name[32];
    char kind[12];                         /* "stdio", "file", "socket", "listen", "null", "ring" */
    int  in_fd, out_fd;                    /* the same descriptor may stand in in_fd alone */
    char path[GH_LAUNCH_SOCKET_MAX];       /* "listen" without in_fd: where the supervisor listens once it has the lock */
};
struct gh_launch_forward { char protocol[4], address[46]; uint32_t host_port, guest_port; };
struct gh_launch_net {
    char name[32];
    char kind[12];                         /* "nat", "passt", "internal": fd comes from the supervisor; "stream", "null" */
    int  fd;
    char mac[18];
    bool unplugged;                        /* the cable is not in */
    uint64_t limit_bits;                   /* a second, each way; 0: none */
    struct gh_launch_forward *forwards; unsigned forward_count;
    /* For the supervisor: */
    char network[16];                      /* nat: first address of a /24; internal: its name is in group */
    char group[64];
    bool host_loopback, no_ipv6;
    char tftp[256], bootfile[128];
};
struct gh_launch_option { char name[32]; char value[224]; };
struct gh_launch_device {
    char class_name[32], id[32];
    struct gh_launch_option *options; unsigned option_count;
};
struct gh_launch_rom { char name[56]; int fd; };      /* "bios", "vgabios-stdvga", "vars", ... */
struct gh_launch_backend { char kind[12], name[32]; int fd; }; /* socket of a child: "display", "audio"... */

struct gh_launch {
    uint32_t version;
    char     name[256], uuid[37];
    char     accel[12];                    /* "auto", "kvm", "kmod", "soft" */
    char     accel_options[128];
    char     accel_note[512];              /* why auto was decided before the launch, or empty */
    int      kvm_fd, kmod_fd;              /* opened devices, where there are any */
    char     cpu[32];                      /* model name; empty: the accelerator's default */
    uint32_t vcpus;
    uint64_t memory_bytes;
    char     board[12];                    /* "pc", "q35" */
    char     boot[8];                      /* order: c disk, d CD, a floppy, n network */
    bool     boot_menu, paused, no_reboot, kernel_as_is; /* no_reboot: a reset ends the machine */
    bool     hyperv;                       /* show Hyper-V's interfaces, which Windows knows, where the accelerator can */
    char     rtc[12];                      /* "utc", "local" */
    char     clock[12];                    /* "host", "icount" */
    char     sandbox[8];                   /* "on", "off", "log" */
    /* For the supervisor, which makes these sockets; empty: no display; control in the machine's folder. */
    char     display_path[GH_LAUNCH_SOCKET_MAX], control_path[GH_LAUNCH_SOCKET_MAX];
    int      kernel_fd, initrd_fd;
    char    *append;                       /* kernel command line */
    int      state_fd;                     /* saved state to start from */
    int      gdb_fd;                       /* socket on which a debugger is served */
    int      log_fd;                       /* the machine's log; -1: stderr */
    char    *trace;                        /* GH_TRACE patterns */
    struct gh_launch_rom     *roms;     unsigned rom_count;
    struct gh_launch_disk    *disks;    unsigned disk_count;
    struct gh_launch_char    *chars;    unsigned char_count;
    struct gh_launch_net     *nets;     unsigned net_count;
    struct gh_launch_backend *backends; unsigned backend_count;
    struct gh_launch_device  *devices;  unsigned device_count;
};

extern const struct gh_schema gh_launch_schema;

/* A description with defaults (auto, 1 vCPU, 512 MiB, pc, sandbox on) and no descriptors. */
struct gh_launch *gh_launch_new(void);
void gh_launch_free(struct gh_launch *launch);
/* Builds from a received packet whose "verb" is "launch"; descriptors move over. */
int  gh_launch_from_packet(struct gh_packet *packet, struct gh_launch **ret, struct gh_error *err);
/* Sends it over a SOCK_SEQPACKET socket; the descriptors stay the caller's. */
int  gh_launch_send(const struct gh_launch *launch, int sock, struct gh_error *err);
/* Checks what the tables cannot: unique names, sane combinations. from_packet has done it already. */
int  gh_launch_check(const struct gh_launch *launch, struct gh_error *err);

/* Appends an empty entry; NULL where the schema's limit is reached or memory is out. */
struct gh_launch_rom     *gh_launch_add_rom(struct gh_launch *launch, const char *name, int fd);
struct gh_launch_disk    *gh_launch_add_disk(struct gh_launch *launch, const char *name);
struct gh_launch_layer   *gh_launch_add_layer(struct gh_launch_disk *disk, const char *format,
                                              const char *label, int fd);
struct gh_launch_char    *gh_launch_add_char(struct gh_launch *launch, const char *name, const char *kind,
                                             int in_fd, int out_fd);
struct gh_launch_net     *gh_launch_add_net(struct gh_launch *launch, const char *name, const char *kind,
                                            int fd);
struct gh_launch_backend *gh_launch_add_backend(struct gh_launch *launch, const char *kind,
                                                const char *name, int fd);
struct gh_launch_device  *gh_launch_add_device(struct gh_launch *launch, const char *class_name,
                                               const char *id);
int gh_launch_add_option(struct gh_launch_device *device, const char *name, const char *value);

int gh_launch_rom_fd(const struct gh_launch *launch, const char *name); /* borrowed; -1: none */
const struct gh_launch_disk *gh_launch_disk(const struct gh_launch *launch, const char *name);
const struct gh_launch_char *gh_launch_char(const struct gh_launch *launch, const char *name);
const struct gh_launch_net  *gh_launch_net(const struct gh_launch *launch, const char *name);
