/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/machine/cmdline_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/bytes.h"
#include "devices/net/nic_rom.h"

#ifndef GH_VERSION
#define GH_VERSION "development"
#endif

int gh_cmdline_open(const char *option, const char *path, int flags, struct gh_error *err)
{
    struct stat st;
    int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return gh_error_option(err, -errno, errno == ENOENT ? "FileMissing" : "FileUnreadable", option,
                               "“%s” cannot be opened: %s.", path, strerror(errno));
    if (fstat(fd, &st) < 0 || S_ISDIR(st.st_mode)) {
        close(fd);
        return gh_error_option(err, -EISDIR, "FileIsFolder", option, "“%s” is a folder, not a file.", path);
    }
    if (S_ISREG(st.st_mode) && st.st_size == 0 && strcmp(option, "disk")) {
        close(fd);
        return gh_error_option(err, -EINVAL, "FileEmpty", option, "“%s” is empty; download or copy it again.", path);
    }
    return fd;
}

int gh_parse_size(const char *text, uint64_t unit, uint64_t *ret)
{
    char *end;

    if (text[0] < '0' || text[0] > '9')
        return -EINVAL;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    if (errno)
        return -ERANGE;
    switch (*end) {
    case 'k': case 'K': unit = 1ull << 10; end++; break;
    case 'm': case 'M': unit = 1ull << 20; end++; break;
    case 'g': case 'G': unit = 1ull << 30; end++; break;
    case 't': case 'T': unit = 1ull << 40; end++; break;
    }
    if (*end && strcmp(end, "iB") && strcmp(end, "B"))
        return -EINVAL;
    return gh_mul_u64(n, unit, ret) ? 0 : -ERANGE;
}

static int text_into(char *out, size_t size, const char *option, const char *value, struct gh_error *err)
{
    if (strlen(value) >= size)
        return gh_error_option(err, -EINVAL, "OptionTooLong", option, "The value of --%s is longer than %zu characters.", option, size - 1);
    memcpy(out, value, strlen(value) + 1);
    return 0;
}

static int opt_name(struct gh_cmdline_state *s, const char *v, struct gh_error *err) { return text_into(s->l->name, sizeof s->l->name, "name", v, err); }
static int opt_uuid(struct gh_cmdline_state *s, const char *v, struct gh_error *err) { return text_into(s->l->uuid, sizeof s->l->uuid, "uuid", v, err); }
static int opt_cpu(struct gh_cmdline_state *s, const char *v, struct gh_error *err) { return text_into(s->l->cpu, sizeof s->l->cpu, "cpu", v, err); }
static int opt_boot(struct gh_cmdline_state *s, const char *v, struct gh_error *err) { return text_into(s->l->boot, sizeof s->l->boot, "boot", v, err); }
static int opt_rtc(struct gh_cmdline_state *s, const char *v, struct gh_error *err) { return text_into(s->l->rtc, sizeof s->l->rtc, "rtc", v, err); }
static int opt_sandbox(struct gh_cmdline_state *s, const char *v, struct gh_error *err) { return text_into(s->l->sandbox, sizeof s->l->sandbox, "sandbox", v, err); }

static int opt_memory(struct gh_cmdline_state *s, const char *v, struct gh_error *err)
{
    if (gh_parse_size(v, 1ull << 20, &s->l->memory_bytes) < 0 || s->l->memory_bytes < (4ull << 20) || s->l->memory_bytes > (1ull << 40))
        return gh_error_option(err, -ERANGE, "MemoryOutOfRange", "memory", "“%s” of memory is not possible; give between 4M and 1T.", v);
    return 0;
}

static int opt_cpus(struct gh_cmdline_state *s, const char *v, struct gh_error *err)
{
    char *end;
    unsigned long n = strtoul(v, &end, 10);

    if (*end || n < 1 || n > 64)
        return gh_error_option(err, -ERANGE, "CpusOutOfRange", "cpus", "“%s” CPUs are not possible; give 1 to 64.", v);
    s->l->vcpus = (uint32_t)n;
    return 0;
}

static int opt_accel(struct gh_cmdline_state *s, const char *v, struct gh_error *err)
{
    const char *comma = strchr(v, ',');
    char name[12];

    snprintf(name, sizeof name, "%.*s", (int)(comma ? comma - v : (long)strlen(v)), v);
    if (strcmp(name, "auto") && strcmp(name, "kvm") && strcmp(name, "soft") && strcmp(name, "kmod"))
        return gh_error_option(err, -EINVAL, "AcceleratorUnknown", "accel", "“%s” is not an accelerator; use auto, kvm or soft.", v);
    memcpy(s->l->accel, name, sizeof name);
    return comma ? text_into(s->l->accel_options, sizeof s->l->accel_options, "accel", comma + 1, err) : 0;
}

int gh_cmdline_no_memory(struct gh_error *err) { return gh_error_set(err, -ENOMEM, "NoMemory", "The host has no memory left."); }

struct gh_launch_device *gh_cmdline_device(struct gh_cmdline_state *s, const char *class_name, const char *id)
{
    for (unsigned i = 0; i < s->l->device_count; i++)
        if (!strcmp(s->l->devices[i].id, id))
            return &s->l->devices[i];
    return gh_launch_add_device(s->l, class_name, id);
}

int gh_cmdline_connect(struct gh_cmdline_state *s, const char *class_name, const char *id, const char *option, const char *value, struct gh_error *err)
{
    struct gh_launch_device *d = gh_cmdline_device(s, class_name, id);

    return !d || gh_launch_add_option(d, option, value) < 0 ? gh_cmdline_no_memory(err) : 0;
}

static int opt_kernel(struct gh_cmdline_state *s, const char *v, struct gh_error *err)
{
    s->l->kernel_fd = gh_cmdline_open("kernel", v, O_RDONLY, err);
    return s->l->kernel_fd < 0 ? s->l->kernel_fd : 0;
}
static int opt_initrd(struct gh_cmdline_state *s, const char *v, struct gh_error *err)
{
    s->l->initrd_fd = gh_cmdline_open("initrd", v, O_RDONLY, err);
    return s->l->initrd_fd < 0 ? s->l->initrd_fd : 0;
}
static int opt_append(struct gh_cmdline_state *s, const char *v, struct gh_error *err)
{
    free(s->l->append);
    s->l->append = strdup(v);
    return s->l->append ? 0 : gh_cmdline_no_memory(err);
}

/* A listening socket of ours alone: the umask of the moment decides its rights at birth. */
int gh_listen_unix(const char *option, const char *path, int type, struct gh_error *err)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0 || strlen(path) >= sizeof a.sun_path) {
        if (fd >= 0)
            close(fd);
        return gh_error_option(err, -EINVAL, "SocketFailed", option, "“%s” is too long for a socket's path.", path);
    }
    memcpy(a.sun_path, path, strlen(path) + 1);
    struct stat st;
    if (!lstat(path, &st) && S_ISSOCK(st.st_mode)) /* anything else there is somebody's file: bind refuses */
        unlink(path);
    mode_t old = umask(0177);
    int r = bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 8) < 0 ? -errno : 0;
    umask(old);
    if (r) {
        close(fd);
        return gh_error_option(err, r, "SocketFailed", option, "The socket “%s” cannot be made: %s.", path, strerror(-r));
    }
    return fd;
}

static int add_char(struct gh_cmdline_state *s, const char *option, const char *name, const char *v, struct gh_error *err)
{
    struct gh_launch_char *c = NULL;
    int fd = -1;

    if (!strcmp(v, "none") || !strcmp(v, "null")) {
        c = gh_launch_add_char(s->l, name, "null", -1, -1);
    } else if (!strcmp(v, "stdio")) {
        c = gh_launch_add_char(s->l, name, "stdio", dup(STDIN_FILENO), dup(STDOUT_FILENO));
    } else if (!strcmp(v, "stderr")) {
        c = gh_launch_add_char(s->l, name, "file", -1, dup(STDERR_FILENO));
    } else if (!strncmp(v, "file:", 5)) {
        fd = open(v + 5, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (fd < 0)
            return gh_error_option(err, -errno, "FileUnwritable", option, "“%s” cannot be written: %s.", v + 5, strerror(errno));
        c = gh_launch_add_char(s->l, name, "file", -1, fd);
    } else if (!strncmp(v, "unix:", 5)) {
        if (strlen(v + 5) >= sizeof c->path)
            return gh_error_option(err, -EINVAL, "SocketFailed", option, "“%s” is too long for a socket's path.", v + 5);
        c = gh_launch_add_char(s->l, name, "listen", -1, -1);
        if (c)
            memcpy(c->path, v + 5, strlen(v + 5) + 1);
    } else {
        return gh_error_option(err, -EINVAL, "CharacterBackendUnknown", option, "“%s” is not a place for --%s; use stdio, none, file:PATH or unix:PATH.", v, option);
    }
    return c ? 0 : gh_cmdline_no_memory(err);
}

static int char_device(struct gh_cmdline_state *s, const char *option, const char *class_name, const char *id, const char *v, struct gh_error *err)
{
    int r = add_char(s, option, option, v, err);

    if (r)
        return r;
    struct gh_launch_device *d = gh_cmdline_device(s, class_name, id);
    return !d || gh_launch_add_option(d, "chardev", option) < 0 ? gh_cmdline_no_memory(err) : 0;
}
static int opt_serial(struct gh_cmdline_state *s, const char *v, struct gh_error *err) { return char_device(s, "serial", "uart16550", "com1", v, err); }
static int opt_serial2(struct gh_cmdline_state *s, const char *v, struct gh_error *err) { return char_device(s, "serial2", "uart16550", "com2", v, err); }
static int opt_debugcon(struct gh_cmdline_state *s, const char *v, struct gh_error *err) { return char_device(s, "debugcon", "debugcon", "debugcon", v, err); }
static int opt_e9(struct gh_cmdline_state *s, const char *v, struct gh_error *err) { return char_device(s, "port-e9", "debugcon", "port-e9", v, err); }

/* --device debugcon,id=post,port=... takes another port. */
static int opt_post(struct gh_cmdline_state *s, const char *v, struct gh_error *err)
{
    int r = char_device(s, "post", "debugcon", "post", v, err);

    if (r)
        return r;
    struct gh_launch_device *d = gh_cmdline_device(s, "debugcon", "post");
    if (!d || gh_launch_add_option(d, "hex", "on") < 0)
        return gh_cmdline_no_memory(err);
    for (unsigned i = 0; i < d->option_count; i++) {
        if (!strcmp(d->options[i].name, "port"))
            return 0;                   /* --device came first */
    }
    return gh_launch_add_option(d, "port", "0x80") < 0 ? gh_cmdline_no_memory(err) : 0;
}

static int socket_option(char out[GH_LAUNCH_SOCKET_MAX], const char *option, const char *v, struct gh_error *err)
{
    if (!strcmp(v, "none"))
        return 0;
    if (strncmp(v, "unix:", 5))
        return gh_error_option(err, -EINVAL, "SocketFailed", option, "“%s” is not a place for --%s; use unix:PATH or none.", v, option);
    if (strlen(v + 5) >= GH_LAUNCH_SOCKET_MAX)
        return gh_error_option(err, -EINVAL, "SocketFailed", option, "“%s” is too long for a socket's path.", v + 5);
    memcpy(out, v + 5, strlen(v + 5) + 1);
    return 0;
}
static int opt_display(struct gh_cmdline_state *s, const char *v, struct gh_error *err) { return socket_option(s->l->display_path, "display", v, err); }
static int opt_control(struct gh_cmdline_state *s, const char *v, struct gh_error *err) { return socket_option(s->l->control_path, "control", v, err); }
static int opt_gdb(struct gh_cmdline_state *s, const char *v, struct gh_error *err)
{
    if (strncmp(v, "unix:", 5))
        return gh_error_option(err, -EINVAL, "SocketFailed", "gdb", "“%s” is not a place for --gdb; use unix:PATH.", v);
    s->l->gdb_fd = gh_listen_unix("gdb", v + 5, SOCK_STREAM, err);
    return s->l->gdb_fd < 0 ? s->l->gdb_fd : 0;
}

/* CLASS[,id=ID][,option=value...] */
static int opt_device(struct gh_cmdline_state *s, const char *v, struct gh_error *err)
{
    char copy[1024], id[32] = "", *save = NULL;

    if (strlen(v) >= sizeof copy)
        return gh_error_option(err, -EINVAL, "OptionTooLong", "device", "The value of --device is too long.");
    memcpy(copy, v, strlen(v) + 1);
    char *class_name = strtok_r(copy, ",", &save);
    if (!class_name)
        return gh_error_option(err, -ENODEV, "DeviceUnknown", "device", "--device needs a class; --list-devices shows all.");
    snprintf(id, sizeof id, "%.20s%u", class_name, s->devices++);
    struct { char *name, *value; } words[16];
    unsigned n = 0;
    for (char *w = strtok_r(NULL, ",", &save); w && n < 16; w = strtok_r(NULL, ",", &save)) {
        char *equals = strchr(w, '=');
        if (!equals)
            return gh_error_option(err, -EINVAL, "DeviceOptionInvalid", "device", "“%s” is not an option=value of device “%s”.", w, class_name);
        *equals = 0;
        if (!strcmp(w, "id"))
            snprintf(id, sizeof id, "%.31s", equals + 1);
        else
            words[n].name = w, words[n++].value = equals + 1;
    }
    struct gh_launch_device *d = gh_cmdline_device(s, class_name, id);
    if (!d)
        return gh_cmdline_no_memory(err);
    for (unsigned i = 0; i < n; i++)
        if (gh_launch_add_option(d, words[i].name, words[i].value) < 0)
            return gh_cmdline_no_memory(err);
    return 0;
}

static int opt_rom(struct gh_cmdline_state *s, const char *name, const char *option, const char *path, struct gh_error *err)
{
    int fd = gh_cmdline_open(option, path, O_RDONLY, err);

    if (fd < 0)
        return fd;
    return gh_launch_add_rom(s->l, name, fd) ? 0 : gh_cmdline_no_memory(err);
}
static int opt_bios(struct gh_cmdline_state *s, const char *v, struct gh_error *err) { return opt_rom(s, "bios", "bios", v, err); }
static int opt_vgabios(struct gh_cmdline_state *s, const char *v, struct gh_error *err) { return opt_rom(s, "vgabios", "vgabios", v, err); }

/* The store is read at the start, and written by the flash device as a disk. */
static int opt_nvram(struct gh_cmdline_state *s, const char *v, struct gh_error *err)
{
    int fd = gh_cmdline_open("nvram", v, O_RDWR, err);

    if (fd < 0)
        return fd;
    struct gh_launch_disk *disk = gh_launch_add_disk(s->l, "nvram");
    if (!disk || !gh_launch_add_layer(disk, "raw", v, fd))
        return gh_cmdline_no_memory(err);
    int r = opt_rom(s, "vars", "nvram", v, err);
    return r ? r : gh_cmdline_connect(s, "pflash", "nvram", "drive", "nvram", err);
}

static int opt_trace(struct gh_cmdline_state *s, const char *v, struct gh_error *err)
{
    free(s->l->trace);
    s->l->trace = strdup(v);
    return s->l->trace ? 0 : gh_cmdline_no_memory(err);
}
static int opt_net(struct gh_cmdline_state *s, const char *v, struct gh_error *err) { return gh_cmdline_net(s->l, v, err); }
static int opt_paused(struct gh_cmdline_state *s, const char *v, struct gh_error *err) { s->l->paused = true; return 0; }
static int opt_kernel_as_is(struct gh_cmdline_state *s, const char *v, struct gh_error *err) { s->l->kernel_as_is = true; return 0; }
static int opt_hyperv(struct gh_cmdline_state *s, const char *v, struct gh_error *err) { s->l->hyperv = true; return 0; }
static int opt_no_reboot(struct gh_cmdline_state *s, const char *v, struct gh_error *err) { s->l->no_reboot = true; return 0; }
static int opt_check_host(struct gh_cmdline_state *s, const char *v, struct gh_error *err) { s->check_host = true; return 0; }
static int opt_json(struct gh_cmdline_state *s, const char *v, struct gh_error *err) { s->cmd->json = true; return 0; }

static int opt_version(struct gh_cmdline_state *s, const char *v, struct gh_error *err)
{
    printf("gasthaus-vm %s\n", GH_VERSION);
    s->done = true;
    return 0;
}

static int opt_list_devices(struct gh_cmdline_state *s, const char *v, struct gh_error *err) { s->list_devices = true; return 0; }

static int opt_help(struct gh_cmdline_state *s, const char *v, struct gh_error *err);

static const struct row { const char *name, *arg; int (*fn)(struct gh_cmdline_state *, const char *, struct gh_error *); const char *help; } rows[] = {
    { "name", "TEXT", opt_name, "name of the machine" },
    { "uuid", "UUID", opt_uuid, "identity of the machine" },
    { "memory", "SIZE", opt_memory, "guest memory, such as 512M or 2G (default 512M)" },
    { "cpus", "N", opt_cpus, "virtual CPUs (default 1)" },
    { "accel", "NAME", opt_accel, "auto, kvm or soft (default auto)" },
    { "cpu", "MODEL", opt_cpu, "CPU model: x86-64-v2, x86-64-v3, host or max" },
    { "hyperv", NULL, opt_hyperv, "shows Windows the interfaces of Hyper-V that it knows; on KVM" },
    { "boot", "ORDER", opt_boot, "letters in order: d CD, c disk, a floppy, n network" },
    { "cdrom", "FILE[,bus=B]", gh_cmdline_cdrom, "a CD drive with this image on bus ide or ahci; “none”: an empty drive" },
    { "disk", "FILE[,…]", gh_cmdline_disk, "a disk; format=raw|qcow2|… (else its name must tell), bus=ide|ahci|nvme|virtio, cache=writeback|writethrough|unsafe, bps=, iops=, discard=off, hotplug, readonly, snapshot" },
    { "floppy", "FILE", gh_cmdline_floppy, "a floppy drive with this image" },
    { "net", "KIND[,…]", opt_net, "a network adapter: nat, internal, stream or none; model=, mac=, forward=tcp:8080:80, …" },
    { "kernel", "FILE", opt_kernel, "boot this Linux (or Multiboot) kernel directly" },
    { "initrd", "FILE", opt_initrd, "initial RAM disk for --kernel" },
    { "append", "TEXT", opt_append, "command line for --kernel" },
    { "kernel-as-is", NULL, opt_kernel_as_is, "let it unpack itself in the guest; else the host unpacks a Linux kernel" },
    { "serial", "WHERE", opt_serial, "first serial line: stdio, none, file:PATH, unix:PATH" },
    { "serial2", "WHERE", opt_serial2, "second serial line" },
    { "debugcon", "WHERE", opt_debugcon, "debug output of the firmware (port 0x402)" },
    { "port-e9", "WHERE", opt_e9, "debug output of guests (port 0xe9)" },
    { "post", "WHERE", opt_post, "power-on self test codes (port 0x80), a line of two digits each" },
    { "display", "WHERE", opt_display, "serve the screen (RFB) on unix:PATH" },
    { "control", "WHERE", opt_control, "control socket on unix:PATH" },
    { "gdb", "WHERE", opt_gdb, "serve GDB on unix:PATH; with --paused from the first instruction on" },
    { "device", "CLASS[,…]", opt_device, "add a device, or options for one: id=, option=value" },
    { "bios", "FILE", opt_bios, "firmware image" },
    { "nvram", "FILE", opt_nvram, "variable store of UEFI firmware given with --bios, e.g. a copy of OVMF_VARS_4M.fd" },
    { "vgabios", "FILE", opt_vgabios, "VGA BIOS image" },
    { "rtc", "BASE", opt_rtc, "the clock shows utc (default) or local time" },
    { "paused", NULL, opt_paused, "do not start the CPUs yet" },
    { "no-reboot", NULL, opt_no_reboot, "a reset ends the machine" },
    { "sandbox", "MODE", opt_sandbox, "on (default), or off for debugging" },
    { "trace", "PATTERNS", opt_trace, "trace events, such as 'ide_*,rtc_*'" },
    { "list-devices", NULL, opt_list_devices, "show all devices and their options" },
    { "check-host", NULL, opt_check_host, "say what this computer can run machines on, and the fix for what is missing" },
    { "json", NULL, opt_json, "with --check-host: as JSON" },
    { "version", NULL, opt_version, "show the version" },
    { "help", NULL, opt_help, "show this" },
};

static int opt_help(struct gh_cmdline_state *s, const char *v, struct gh_error *err)
{
    printf("usage: gasthaus-vm [OPTION]...\nRuns one virtual machine.\n\n");
    for (unsigned i = 0; i < GH_ARRAY_LEN(rows); i++) {
        char left[40];
        snprintf(left, sizeof left, "--%s%s%s", rows[i].name, rows[i].arg ? " " : "", rows[i].arg ? rows[i].arg : "");
        printf("  %-24s %s\n", left, rows[i].help);
    }
    s->done = true;
    return 0;
}

static int add_default_roms(struct gh_cmdline_state *s, struct gh_error *err)
{
    static const struct { const char *name, *path; } roms[] = {
        { "bios", "/usr/share/seabios/bios-256k.bin" }, { "vgabios", "/usr/share/seabios/vgabios-stdvga.bin" },
    };

    for (unsigned i = 0; i < GH_ARRAY_LEN(roms); i++) {
        if (gh_launch_rom_fd(s->l, roms[i].name) >= 0)
            continue;
        int fd = open(roms[i].path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            return gh_error_set(err, -errno, "FirmwareMissing", "The firmware “%s” cannot be opened: %s; install the package seabios.", roms[i].path, strerror(errno));
        if (!gh_launch_add_rom(s->l, roms[i].name, fd))
            return gh_cmdline_no_memory(err);
    }
    return 0;
}

/* Boot ROMs of the network cards that are there; a card without one works, but cannot be booted from. */
static int add_nic_roms(struct gh_cmdline_state *s, struct gh_error *err)
{
    static const char *const folders[] = { "/usr/lib/ipxe/qemu", "/usr/share/qemu", "/usr/share/ipxe/qemu" };

    bool uefi = gh_launch_rom_fd(s->l, "vars") >= 0;

    for (unsigned i = 0; i < s->l->device_count; i++) {
        const char *name = gh_nic_rom_name(s->l->devices[i].class_name);
        for (unsigned k = 0; name && gh_launch_rom_fd(s->l, name) < 0 && k < GH_ARRAY_LEN(folders); k++) {
            char path[128];
            /* The image for UEFI has a driver for the card too; that of virtio is in the firmware already. */
            snprintf(path, sizeof path, "%s/%s%s.rom", folders[k], uefi && !strcmp(name, "pxe-e1000") ? "efi" : "pxe", name + 3);
            int fd = open(path, O_RDONLY | O_CLOEXEC);
            if (fd >= 0 && !gh_launch_add_rom(s->l, name, fd))
                return gh_cmdline_no_memory(err);
        }
    }
    return 0;
}

/* Disks with queues get one for each virtual CPU, unless --device says otherwise. */
static int add_queues(struct gh_cmdline_state *s, struct gh_error *err)
{
    static const struct { const char *class_name; unsigned most; } with_queues[] = { { "virtio-blk", 8 }, { "nvme", 16 } };
    char count[12];

    for (unsigned i = 0; i < s->l->device_count; i++) {
        struct gh_launch_device *d = &s->l->devices[i];
        bool given = false;
        for (unsigned k = 0; k < d->option_count; k++)
            given |= !strcmp(d->options[k].name, "queues");
        for (unsigned k = 0; k < GH_ARRAY_LEN(with_queues) && !given; k++) {
            if (strcmp(d->class_name, with_queues[k].class_name))
                continue;
            snprintf(count, sizeof count, "%u", s->l->vcpus < with_queues[k].most ? s->l->vcpus : with_queues[k].most);
            if (gh_launch_add_option(d, "queues", count) < 0)
                return gh_cmdline_no_memory(err);
        }
    }
    return 0;
}

int gh_cmdline_parse(int argc, char **argv, struct gh_cmdline *cmd, struct gh_error *err)
{
    struct option options[GH_ARRAY_LEN(rows) + 1] = { 0 };
    struct gh_cmdline_state s = { .cmd = cmd };
    int c, index = 0, r = 0;

    *cmd = (struct gh_cmdline){ .launch = gh_launch_new() };
    if (!cmd->launch)
        return gh_cmdline_no_memory(err);
    s.l = cmd->launch;
    for (unsigned i = 0; i < GH_ARRAY_LEN(rows); i++)
        options[i] = (struct option){ rows[i].name, rows[i].arg ? required_argument : no_argument, NULL, 1000 + (int)i };
    opterr = 0;
    optind = 0; /* from the start, whatever was parsed before */
    while (r == 0 && !s.done && (c = getopt_long(argc, argv, "", options, &index)) != -1) {
        if (c < 1000)
            return gh_error_set(err, -EINVAL, "OptionUnknown", "“%s” is not an option, or lacks its value; --help shows all.", argv[optind - 1]);
        r = rows[c - 1000].fn(&s, optarg, err);
    }
    if (r || s.done)
        return r ? r : GH_CMDLINE_DONE;
    if (s.check_host || s.list_devices)
        return s.check_host ? GH_CMDLINE_CHECK_HOST : GH_CMDLINE_LIST_DEVICES;
    if (optind < argc)
        return gh_error_set(err, -EINVAL, "OptionUnknown", "“%s” is not an option; --help shows all.", argv[optind]);
    if (s.l->initrd_fd >= 0 && s.l->kernel_fd < 0)
        return gh_error_option(err, -EINVAL, "InitrdWithoutKernel", "initrd", "--initrd needs --kernel.");
    r = add_default_roms(&s, err);
    if (r == 0)
        r = add_nic_roms(&s, err);
    if (r == 0)
        r = add_queues(&s, err);
    return r ? r : GH_CMDLINE_RUN;
}

void gh_cmdline_fini(struct gh_cmdline *cmd)
{
    gh_launch_free(cmd->launch);
    *cmd = (struct gh_cmdline){ 0 };
}
