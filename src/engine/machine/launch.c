/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/machine/launch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct gh_schema extent_schema = { "extent", sizeof(struct gh_launch_extent),
    (const struct gh_schema_field[]){
        GH_S_STRING(struct gh_launch_extent, name, "name", true, "as the image spells it"),
        GH_S_FD(struct gh_launch_extent, fd, "fd", true, NULL),
        GH_S_END } };

static const struct gh_schema layer_schema = { "layer", sizeof(struct gh_launch_layer),
    (const struct gh_schema_field[]){
        GH_S_STRING(struct gh_launch_layer, format, "format", true, "raw qcow2 vdi vmdk vhd vhdx qed hdd dmg"),
        GH_S_STRING(struct gh_launch_layer, label, "label", false, "name for messages"),
        GH_S_FD(struct gh_launch_layer, fd, "fd", true, NULL),
        GH_S_LIST(struct gh_launch_layer, extents, extent_count, "extents", &extent_schema, 200,
                  "files the image refers to"),
        GH_S_END } };

static const struct gh_schema disk_schema = { "disk", sizeof(struct gh_launch_disk),
    (const struct gh_schema_field[]){
        GH_S_STRING(struct gh_launch_disk, name, "name", true, "what a device's drive option says"),
        GH_S_BOOL(struct gh_launch_disk, read_only, "read-only", NULL),
        GH_S_BOOL(struct gh_launch_disk, removable, "removable", "a CD or floppy drive"),
        GH_S_BOOL(struct gh_launch_disk, hot_plug, "hot-plug", "a disk that may be pulled out and plugged in"),
        GH_S_BOOL(struct gh_launch_disk, discard, "discard", "pass TRIM on"),
        GH_S_BOOL(struct gh_launch_disk, snapshot, "snapshot", "forget writes at the end"),
        GH_S_STRING(struct gh_launch_disk, serial, "serial", false, NULL),
        GH_S_STRING(struct gh_launch_disk, cache, "cache", false, "writeback, writethrough or unsafe"),
        GH_S_U64(struct gh_launch_disk, limit_bytes, "limit-bytes", false, 0, INT64_MAX, "a second; 0: none"),
        GH_S_U32(struct gh_launch_disk, limit_ops, "limit-ops", false, 0, UINT32_MAX, "a second; 0: none"),
        GH_S_LIST(struct gh_launch_disk, layers, layer_count, "layers", &layer_schema, 64,
                  "top first; none: no medium"),
        GH_S_END } };

static const struct gh_schema char_schema = { "char", sizeof(struct gh_launch_char),
    (const struct gh_schema_field[]){
        GH_S_STRING(struct gh_launch_char, name, "name", true, "what a device's chardev option says"),
        GH_S_STRING(struct gh_launch_char, kind, "kind", true, "stdio file socket listen null ring"),
        GH_S_FD(struct gh_launch_char, in_fd, "in", false, NULL),
        GH_S_FD(struct gh_launch_char, out_fd, "out", false, NULL),
        GH_S_STRING(struct gh_launch_char, path, "path", false, "listen without in: the supervisor makes this socket"),
        GH_S_END } };

static const struct gh_schema forward_schema = { "forward", sizeof(struct gh_launch_forward),
    (const struct gh_schema_field[]){
        GH_S_STRING(struct gh_launch_forward, protocol, "protocol", true, "tcp udp"),
        GH_S_STRING(struct gh_launch_forward, address, "address", true, "of the host"),
        GH_S_U32(struct gh_launch_forward, host_port, "host-port", true, 1, 65535, NULL),
        GH_S_U32(struct gh_launch_forward, guest_port, "guest-port", true, 1, 65535, NULL),
        GH_S_END } };

static const struct gh_schema net_schema = { "net", sizeof(struct gh_launch_net),
    (const struct gh_schema_field[]){
        GH_S_STRING(struct gh_launch_net, name, "name", true, "what a device's netdev option says"),
        GH_S_STRING(struct gh_launch_net, kind, "kind", true, "nat passt internal stream null"),
        GH_S_FD(struct gh_launch_net, fd, "fd", false, NULL),
        GH_S_STRING(struct gh_launch_net, mac, "mac", false, "xx:xx:xx:xx:xx:xx"),
        GH_S_BOOL(struct gh_launch_net, unplugged, "unplugged", "the cable is not in"),
        GH_S_U64(struct gh_launch_net, limit_bits, "limit-bits", false, 0, INT64_MAX, "a second, each way; 0: none"),
        GH_S_LIST(struct gh_launch_net, forwards, forward_count, "forwards", &forward_schema, 32, NULL),
        GH_S_STRING(struct gh_launch_net, network, "network", false, "nat: first address of a /24"),
        GH_S_STRING(struct gh_launch_net, group, "group", false, "internal: its name"),
        GH_S_BOOL(struct gh_launch_net, host_loopback, "host-loopback", "the guest reaches the host's loopback"),
        GH_S_BOOL(struct gh_launch_net, no_ipv6, "no-ipv6", NULL),
        GH_S_STRING(struct gh_launch_net, tftp, "tftp", false, "folder served by TFTP"),
        GH_S_STRING(struct gh_launch_net, bootfile, "bootfile", false, "named by DHCP"),
        GH_S_END } };

static const struct gh_schema option_schema = { "option", sizeof(struct gh_launch_option),
    (const struct gh_schema_field[]){
        GH_S_STRING(struct gh_launch_option, name, "name", true, NULL),
        GH_S_STRING(struct gh_launch_option, value, "value", true, NULL),
        GH_S_END } };

static const struct gh_schema device_schema = { "device", sizeof(struct gh_launch_device),
    (const struct gh_schema_field[]){
        GH_S_STRING(struct gh_launch_device, class_name, "class", true, "see --list-devices"),
        GH_S_STRING(struct gh_launch_device, id, "id", true, NULL),
        GH_S_LIST(struct gh_launch_device, options, option_count, "options", &option_schema, 32, NULL),
        GH_S_END } };

static const struct gh_schema rom_schema = { "rom", sizeof(struct gh_launch_rom),
    (const struct gh_schema_field[]){
        GH_S_STRING(struct gh_launch_rom, name, "name", true, "bios, vgabios-stdvga, vars, ..."),
        GH_S_FD(struct gh_launch_rom, fd, "fd", true, NULL),
        GH_S_END } };

static const struct gh_schema backend_schema = { "backend", sizeof(struct gh_launch_backend),
    (const struct gh_schema_field[]){
        GH_S_STRING(struct gh_launch_backend, kind, "kind", true, "display audio usb fs net"),
        GH_S_STRING(struct gh_launch_backend, name, "name", true, NULL),
        GH_S_FD(struct gh_launch_backend, fd, "fd", true, "its socket"),
        GH_S_END } };

const struct gh_schema gh_launch_schema = { "launch", sizeof(struct gh_launch),
    (const struct gh_schema_field[]){
        GH_S_U32(struct gh_launch, version, "version", true, GH_LAUNCH_VERSION, GH_LAUNCH_VERSION, NULL),
        GH_S_STRING(struct gh_launch, name, "name", false, "the machine's name, for messages"),
        GH_S_STRING(struct gh_launch, uuid, "uuid", false, NULL),
        GH_S_STRING(struct gh_launch, accel, "accel", true, "auto kvm kmod soft"),
        GH_S_STRING(struct gh_launch, accel_options, "accel-options", false, NULL),
        GH_S_STRING(struct gh_launch, accel_note, "accel-note", false, "why auto was decided already"),
        GH_S_FD(struct gh_launch, kvm_fd, "kvm", false, "/dev/kvm"),
        GH_S_FD(struct gh_launch, kmod_fd, "kmod", false, "/dev/gasthaus"),
        GH_S_STRING(struct gh_launch, cpu, "cpu", false, "model; empty: the accelerator's default"),
        GH_S_BOOL(struct gh_launch, hyperv, "hyperv", "show Hyper-V's interfaces, for Windows"),
        GH_S_U32(struct gh_launch, vcpus, "vcpus", true, 1, 64, NULL),
        GH_S_U64(struct gh_launch, memory_bytes, "memory", true, 1u << 20, 1ull << 42,
                 "bytes, a multiple of 1 MiB"),
        GH_S_STRING(struct gh_launch, board, "board", true, "pc q35"),
        GH_S_STRING(struct gh_launch, boot, "boot", false, "order of c d a n"),
        GH_S_BOOL(struct gh_launch, boot_menu, "boot-menu", NULL),
        GH_S_BOOL(struct gh_launch, no_reboot, "no-reboot", "a reset ends the machine"),
        GH_S_BOOL(struct gh_launch, paused, "paused", "do not start the vCPUs yet"),
        GH_S_STRING(struct gh_launch, rtc, "rtc", false, "utc local"),
        GH_S_STRING(struct gh_launch, clock, "clock", false, "host icount"),
        GH_S_STRING(struct gh_launch, sandbox, "sandbox", true, "on off log"),
        GH_S_STRING(struct gh_launch, display_path, "display", false, "socket of the screen, made by the supervisor"),
        GH_S_STRING(struct gh_launch, control_path, "control", false, "control socket; absent: in the machine's folder"),
        GH_S_FD(struct gh_launch, kernel_fd, "kernel", false, NULL),
        GH_S_BOOL(struct gh_launch, kernel_as_is, "kernel-as-is", "the kernel unpacks itself in the guest"),
        GH_S_FD(struct gh_launch, initrd_fd, "initrd", false, NULL),
        GH_S_TEXT(struct gh_launch, append, "append", false, 4095, "kernel command line"),
        GH_S_FD(struct gh_launch, state_fd, "state", false, "saved state to start from"),
        GH_S_FD(struct gh_launch, gdb_fd, "gdb", false, "listening socket for a debugger"),
        GH_S_FD(struct gh_launch, log_fd, "log", false, NULL),
        GH_S_TEXT(struct gh_launch, trace, "trace", false, 511, "trace patterns"),
        GH_S_LIST(struct gh_launch, roms, rom_count, "roms", &rom_schema, 32, NULL),
        GH_S_LIST(struct gh_launch, disks, disk_count, "disks", &disk_schema, 64, NULL),
        GH_S_LIST(struct gh_launch, chars, char_count, "chars", &char_schema, 32, NULL),
        GH_S_LIST(struct gh_launch, nets, net_count, "nets", &net_schema, 16, NULL),
        GH_S_LIST(struct gh_launch, backends, backend_count, "backends", &backend_schema, 32, NULL),
        GH_S_LIST(struct gh_launch, devices, device_count, "devices", &device_schema, 128, NULL),
        GH_S_END } };

struct gh_launch *gh_launch_new(void)
{
    struct gh_launch *l = malloc(sizeof *l);

    if (!l)
        return NULL;
    gh_schema_init(&gh_launch_schema, l);
    l->version = GH_LAUNCH_VERSION;
    l->vcpus = 1;
    l->memory_bytes = 512ull << 20;
    strcpy(l->accel, "auto");
    strcpy(l->board, "pc");
    strcpy(l->boot, "cda");
    strcpy(l->rtc, "utc");
    strcpy(l->clock, "host");
    strcpy(l->sandbox, "on");
    return l;
}

void gh_launch_free(struct gh_launch *launch)
{
    if (!launch)
        return;
    gh_schema_fini(&gh_launch_schema, launch);
    free(launch);
}

/* ---- Checks across fields ---------------------------------------------------------------- */
static int one_of(const char *option, const char *value, const char *const *words, struct gh_error *err)
{
    char known[128] = "";

    for (const char *const *w = words; *w; w++) {
        if (!strcmp(value, *w))
            return 0;
        size_t n = strlen(known);
        snprintf(known + n, sizeof known - n, "%s%s", n ? ", " : "", *w);
    }
    return gh_error_option(err, -EINVAL, "FieldInvalid", option,
                           "\"%s\" is not a value of \"%s\"; choose one of %s.", value, option, known);
}
#define ONE_OF(option, value, ...) \
    one_of(option, value, (const char *const[]){ __VA_ARGS__, NULL }, err)

/* items: an array whose elements are stride bytes and hold a name at offset. */
static int unique(const char *list, const void *items, unsigned count, size_t stride, size_t offset,
                  struct gh_error *err)
{
    const char *base = items;

    for (unsigned i = 0; i < count; i++) {
        const char *name = base + i * stride + offset;
        if (!*name)
            return gh_error_option(err, -EINVAL, "NameMissing", list,
                                   "Entry %u of \"%s\" has an empty name.", i, list);
        for (unsigned k = 0; k < i; k++)
            if (!strcmp(name, base + k * stride + offset))
                return gh_error_option(err, -EINVAL, "NameTwice", list,
                                       "\"%s\" stands twice in \"%s\"; give each its own name.", name,
                                       list);
    }
    return 0;
}
#define UNIQUE(list, count, member) \
    unique(#list, l->list, l->count, sizeof *l->list, offsetof(__typeof__(*l->list), member), err)

int gh_launch_check(const struct gh_launch *l, struct gh_error *err)
{
    int r = 0;

    if ((r = ONE_OF("accel", l->accel, "auto", "kvm", "kmod", "soft")) ||
        (r = ONE_OF("board", l->board, "pc", "q35")) ||
        (r = ONE_OF("sandbox", l->sandbox, "on", "off", "log")) ||
        (r = ONE_OF("rtc", l->rtc, "utc", "local")) ||
        (r = ONE_OF("clock", l->clock, "host", "icount")) ||
        (r = UNIQUE(roms, rom_count, name)) || (r = UNIQUE(disks, disk_count, name)) ||
        (r = UNIQUE(chars, char_count, name)) || (r = UNIQUE(nets, net_count, name)) ||
        (r = UNIQUE(devices, device_count, id)))
        return r;
    if (l->memory_bytes & 0xfffff)
        return gh_error_option(err, -EINVAL, "FieldInvalid", "memory",
                               "%llu bytes of memory are not whole MiB; round the size.",
                               (unsigned long long)l->memory_bytes);
    if (l->initrd_fd >= 0 && l->kernel_fd < 0)
        return gh_error_option(err, -EINVAL, "FieldInvalid", "initrd",
                               "An initrd was given without a kernel; add --kernel.");
    for (unsigned i = 0; i < l->char_count; i++)
        if ((r = ONE_OF("chars.kind", l->chars[i].kind, "stdio", "file", "socket", "listen", "null",
                        "ring")))
            return r;
    for (unsigned i = 0; i < l->net_count; i++)
        if ((r = ONE_OF("nets.kind", l->nets[i].kind, "nat", "passt", "internal", "stream", "null")))
            return r;
    for (unsigned i = 0; i < l->disk_count; i++) {
        if (!l->disks[i].layer_count && !l->disks[i].removable && !l->disks[i].hot_plug)
            return gh_error_option(err, -EINVAL, "DiskWithoutImage", "disks",
                                   "The disk \"%s\" has no image and is not removable; give it a file.",
                                   l->disks[i].name);
        if ((r = ONE_OF("disks.cache", l->disks[i].cache, "", "writeback", "writethrough", "unsafe")))
            return r;
        for (unsigned k = 0; k < l->disks[i].layer_count; k++)
            if ((r = ONE_OF("disks.format", l->disks[i].layers[k].format, "raw", "qcow2", "vdi", "vmdk", "vhd", "vhdx",
                            "qed", "hdd", "dmg")))
                return r;
    }
    return 0;
}

int gh_launch_from_packet(struct gh_packet *packet, struct gh_launch **ret, struct gh_error *err)
{
    static const char *const envelope[] = { "verb", NULL };
    const char              *verb = json_string_value(json_object_get(packet->json, "verb"));
    struct gh_launch        *l = malloc(sizeof *l);

    *ret = NULL;
    if (!l)
        return gh_error_set(err, -ENOMEM, "OutOfMemory", "There is no memory for a launch description.");
    if (!verb || strcmp(verb, "launch")) {
        free(l);
        return gh_error_set(err, -EBADMSG, "LaunchExpected",
                            "The first message must be a launch description, not \"%.40s\".",
                            verb ? verb : "");
    }
    int r = gh_schema_read(&gh_launch_schema, packet->json, packet, envelope, l, err);
    if (r) {
        free(l);
        return r;
    }
    if (!*l->boot)
        strcpy(l->boot, "cda");
    if (!*l->rtc)
        strcpy(l->rtc, "utc");
    if (!*l->clock)
        strcpy(l->clock, "host");
    r = gh_launch_check(l, err);
    if (r) {
        gh_launch_free(l);
        return r;
    }
    *ret = l;
    return 0;
}

int gh_launch_send(const struct gh_launch *launch, int sock, struct gh_error *err)
{
    int      fds[GH_PACKET_FDS];
    unsigned n = 0;
    json_t  *o = gh_schema_write(&gh_launch_schema, launch, fds, &n, GH_PACKET_FDS);

    if (!o || json_object_set_new(o, "verb", json_string("launch"))) {
        json_decref(o);
        return gh_error_set(err, -E2BIG, "TooManyDescriptors",
                            "The machine needs more than %u open files; remove disks or merge snapshots.",
                            GH_PACKET_FDS);
    }
    int r = gh_packet_send(sock, o, fds, n, err);
    json_decref(o);
    return r;
}

/* ---- Building one by hand ---------------------------------------------------------------- */
/* Grows *items by one zeroed element. */
static void *grow(void *items_pointer, unsigned *count, size_t size, unsigned max)
{
    char **items = items_pointer;

    if (*count >= max)
        return NULL;
    char *bigger = realloc(*items, (*count + 1) * size);
    if (!bigger)
        return NULL;
    *items = bigger;
    memset(bigger + *count * size, 0, size);
    return bigger + (*count)++ * size;
}
#define GROW(of, list, count, max) grow(&(of)->list, &(of)->count, sizeof *(of)->list, max)

struct gh_launch_rom *gh_launch_add_rom(struct gh_launch *l, const char *name, int fd)
{
    struct gh_launch_rom *r = GROW(l, roms, rom_count, 32);
    if (r) {
        snprintf(r->name, sizeof r->name, "%s", name);
        r->fd = fd;
    }
    return r;
}

struct gh_launch_disk *gh_launch_add_disk(struct gh_launch *l, const char *name)
{
    struct gh_launch_disk *d = GROW(l, disks, disk_count, 64);
    if (d)
        snprintf(d->name, sizeof d->name, "%s", name);
    return d;
}

struct gh_launch_layer *gh_launch_add_layer(struct gh_launch_disk *disk, const char *format,
                                            const char *label, int fd)
{
    struct gh_launch_layer *y = GROW(disk, layers, layer_count, 64);
    if (y) {
        snprintf(y->format, sizeof y->format, "%s", format);
        snprintf(y->label, sizeof y->label, "%s", label);
        y->fd = fd;
    }
    return y;
}

struct gh_launch_char *gh_launch_add_char(struct gh_launch *l, const char *name, const char *kind,
                                          int in_fd, int out_fd)
{
    struct gh_launch_char *c = GROW(l, chars, char_count, 32);
    if (c) {
        snprintf(c->name, sizeof c->name, "%s", name);
        snprintf(c->kind, sizeof c->kind, "%s", kind);
        c->in_fd = in_fd;
        c->out_fd = out_fd;
    }
    return c;
}

struct gh_launch_net *gh_launch_add_net(struct gh_launch *l, const char *name, const char *kind, int fd)
{
    struct gh_launch_net *n = GROW(l, nets, net_count, 16);
    if (n) {
        snprintf(n->name, sizeof n->name, "%s", name);
        snprintf(n->kind, sizeof n->kind, "%s", kind);
        n->fd = fd;
    }
    return n;
}

struct gh_launch_backend *gh_launch_add_backend(struct gh_launch *l, const char *kind, const char *name,
                                                int fd)
{
    struct gh_launch_backend *b = GROW(l, backends, backend_count, 32);
    if (b) {
        snprintf(b->kind, sizeof b->kind, "%s", kind);
        snprintf(b->name, sizeof b->name, "%s", name);
        b->fd = fd;
    }
    return b;
}

struct gh_launch_device *gh_launch_add_device(struct gh_launch *l, const char *class_name,
                                              const char *id)
{
    struct gh_launch_device *d = GROW(l, devices, device_count, 128);
    if (d) {
        snprintf(d->class_name, sizeof d->class_name, "%s", class_name);
        snprintf(d->id, sizeof d->id, "%s", id);
    }
    return d;
}

int gh_launch_add_option(struct gh_launch_device *device, const char *name, const char *value)
{
    struct gh_launch_option *o;

    if (strlen(name) >= sizeof o->name || strlen(value) >= sizeof o->value)
        return -E2BIG;
    o = GROW(device, options, option_count, 32);
    if (!o)
        return -ENOMEM;
    memcpy(o->name, name, strlen(name) + 1);
    memcpy(o->value, value, strlen(value) + 1);
    return 0;
}

int gh_launch_rom_fd(const struct gh_launch *l, const char *name)
{
    for (unsigned i = 0; i < l->rom_count; i++)
        if (!strcmp(l->roms[i].name, name))
            return l->roms[i].fd;
    return -1;
}

#define FIND(list, count)                                                                          \
    for (unsigned i = 0; i < l->count; i++)                                                        \
        if (!strcmp(l->list[i].name, name))                                                        \
            return &l->list[i];                                                                    \
    return NULL

const struct gh_launch_disk *gh_launch_disk(const struct gh_launch *l, const char *name)
{
    FIND(disks, disk_count);
}
const struct gh_launch_char *gh_launch_char(const struct gh_launch *l, const char *name)
{
    FIND(chars, char_count);
}
const struct gh_launch_net *gh_launch_net(const struct gh_launch *l, const char *name)
{
    FIND(nets, net_count);
}
