/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/machine/process.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/loop.h"
#include "disk/block.h"
#include "engine/machine/net.h"
#include "engine/machine/process_internal.h"
#include "engine/machine/sandbox.h"

static int map_blob(int fd, const char *what, struct gh_blob *ret, struct gh_error *err)
{
    struct stat st;

    if (fd < 0)
        return 0;
    if (fstat(fd, &st) < 0 || st.st_size <= 0 || st.st_size > (2ll << 30))
        return gh_error_set(err, -EINVAL, "FileUnreadable", "The %s cannot be used: it is empty or larger than 2 GiB.", what);
    uint8_t *data = malloc((size_t)st.st_size);
    if (!data)
        return gh_error_set(err, -ENOMEM, "NoMemory", "The host has no memory left for the %s.", what);
    size_t got = 0;
    while (got < (size_t)st.st_size) {
        ssize_t n = pread(fd, data + got, (size_t)st.st_size - got, (off_t)got);
        if (n <= 0) {
            free(data);
            return gh_error_set(err, -EIO, "FileUnreadable", "The %s cannot be read: %s.", what, n < 0 ? strerror(errno) : GH_WORD("it became shorter"));
        }
        got += (size_t)n;
    }
    *ret = (struct gh_blob){ data, got };
    return 0;
}

static void free_blob(struct gh_blob *b)
{
    free((void *)(uintptr_t)b->data);
    *b = (struct gh_blob){ 0 };
}

static int parse_uuid(const char *text, uint8_t out[16])
{
    unsigned n = 0;

    memset(out, 0, 16);
    for (; *text && n < 32; text++) {
        if (*text == '-')
            continue;
        int v = *text >= '0' && *text <= '9' ? *text - '0' : *text >= 'a' && *text <= 'f' ? *text - 'a' + 10 : *text >= 'A' && *text <= 'F' ? *text - 'A' + 10 : -1;
        if (v < 0)
            return -EINVAL;
        out[n / 2] |= (uint8_t)(v << (n & 1 ? 0 : 4));
        n++;
    }
    return n == 32 && !*text ? 0 : -EINVAL;
}

/* ---- Backends --------------------------------------------------------------------------------- */
static int add_ref(struct gh_process *p, const char *name, enum gh_type type, void *handle)
{
    p->backend[p->backend_count++] = (struct gh_backend_ref){ name, type, handle };
    return 0;
}

static void post_to_machine(void *opaque, void (*fn)(void *), void *arg)
{
    struct gh_process *p = opaque;

    if (p->machine)
        gh_machine_post(p->machine, fn, arg);
}

static bool run_on_machine(void *opaque, void (*fn)(void *), void *arg)
{
    struct gh_process *p = opaque;

    return p->machine && gh_machine_run_now(p->machine, fn, arg);
}

/* Storage trouble on the host pauses the machine and says why; resume tries again. */
static void disk_stalled(void *opaque, struct gh_block *b, const struct gh_error *why)
{
    struct gh_process *p = opaque;

    gh_machine_ask(p->machine, GH_REQUEST_PAUSE, 0, why);
}

/* A note: the machine runs on. */
static void disk_space_low(void *opaque, struct gh_block *b, const struct gh_error *why) { gh_process_tell_error(opaque, why); }

struct tray { struct gh_process *process; struct gh_block *drive; };

static void tray_told(void *opaque)
{
    struct tray t = *(struct tray *)opaque;
    struct gh_block_info info;

    free(opaque);
    t.drive->ops->info(t.drive, &info);
    if (t.process->control)
        gh_process_tell_medium(t.process, t.drive->name, info.medium);
}

/* The guest opened or closed a drive. */
static void tray_moved(void *opaque, struct gh_block *b, bool closed)
{
    struct gh_process *p = opaque;
    struct tray *t = malloc(sizeof *t);

    if (!t)
        return; /* an event less: who asks for the status sees it */
    *t = (struct tray){ p, b };
    gh_machine_post(p->machine, tray_told, t);
}

/* Disk workers exist before the sandbox closes, so each narrows itself at its first request after that. */
static void worker_works(void)
{
    static _Thread_local bool narrowed;

    if (narrowed || !gh_sandbox_active())
        return;
    narrowed = true;
    gh_sandbox_thread(GH_SANDBOX_IO, NULL);
}

static int open_disk(struct gh_process *p, struct gh_launch_disk *d, struct gh_error *err)
{
    struct gh_disk_block_params params = {
        .name = d->name, .serial = d->serial, .model = d->removable ? "Gasthaus CD-ROM" : "Gasthaus Disk", .removable = d->removable,
        .hot_plug = d->hot_plug, .no_discard = !d->discard, .limit_bytes = d->limit_bytes, .limit_ops = d->limit_ops,
        .cache = !strcmp(d->cache, "writethrough") ? GH_DISK_WRITETHROUGH : !strcmp(d->cache, "unsafe") ? GH_DISK_UNSAFE : GH_DISK_WRITEBACK,
        .post = post_to_machine, .run_now = run_on_machine, .stalled = disk_stalled, .space_low = disk_space_low, .tray = tray_moved, .working = worker_works, .opaque = p,
    };
    struct gh_image_spec spec[GH_IMAGE_MAX_CHAIN];
    struct gh_image *image = NULL;

    if (d->layer_count > GH_IMAGE_MAX_CHAIN)
        return gh_error_set(err, -EINVAL, "DiskChainTooLong", "The disk “%s” has %u files behind each other; at most %d are possible.", d->name, d->layer_count, GH_IMAGE_MAX_CHAIN);
    unsigned part_count = 0;
    for (unsigned i = 0; i < d->layer_count; i++)
        part_count += d->layers[i].extent_count;
    gh_autofree struct gh_image_part *parts = calloc(part_count + 1, sizeof *parts); /* names live in the launch */
    if (!parts)
        return gh_error_set(err, -ENOMEM, "NoMemory", "The host has no memory left for the disk “%s”.", d->name);
    struct gh_image_part *part = parts;
    for (unsigned i = 0; i < d->layer_count; i++) {
        struct gh_launch_layer *layer = &d->layers[i];
        struct gh_image_part *first = part;
        for (unsigned k = 0; k < layer->extent_count; k++)
            *part++ = (struct gh_image_part){ layer->extents[k].name, gh_steal_fd(&layer->extents[k].fd) };
        spec[i] = (struct gh_image_spec){ .format = layer->format, .label = layer->label, .fd = gh_steal_fd(&layer->fd),
                                          .writable = i == 0 && !d->read_only && !d->snapshot, .after_crash = true, .parts = first, .part_count = layer->extent_count,
                                          .parent = i + 1 < d->layer_count ? &spec[i + 1] : NULL };
    }
    /* Of an immutable disk the first layer is an empty scratch file for what the guest writes. */
    bool scratch = d->snapshot && d->layer_count > 1;
    if (d->layer_count && !(image = gh_image_open(&spec[scratch], err))) {
        if (scratch)
            close(spec[0].fd);
        return err->code ? err->code : -EIO;
    }
    if (scratch && !(image = gh_image_overlay(spec[0].fd, spec[0].label, image, err)))
        return err->code ? err->code : -EIO;
    struct gh_block *b = gh_disk_block_new(&params, image, err);
    if (!b)
        return err->code ? err->code : -EIO;
    p->disk[p->disk_count++] = b;
    return add_ref(p, d->name, GH_T_BLOCK, b);
}

static int open_char(struct gh_process *p, struct gh_launch_char *c, struct gh_error *err)
{
    enum gh_chardev_kind kind = !strcmp(c->kind, "null") ? GH_CHARDEV_NULL : !strcmp(c->kind, "listen") ? GH_CHARDEV_LISTEN : GH_CHARDEV_STREAM;
    struct gh_chardev *dev = NULL;
    int in_fd = gh_steal_fd(&c->in_fd), out_fd = gh_steal_fd(&c->out_fd);

    if (kind == GH_CHARDEV_STREAM && in_fd < 0)
        in_fd = -1;
    int r = gh_chardev_new(p->loop, kind, in_fd, out_fd, &dev, err);
    if (r)
        return r;
    p->chardev[p->chardev_count++] = dev;
    return add_ref(p, c->name, GH_T_CHAR, gh_chardev_handle(dev));
}

static int open_backends(struct gh_process *p, struct gh_error *err)
{
    struct gh_launch *l = p->launch;
    int r = 0;

    p->backend = calloc(l->disk_count + l->char_count + l->net_count + 1, sizeof *p->backend);
    p->disk = calloc(l->disk_count + 1, sizeof(struct gh_block *));
    p->chardev = calloc(l->char_count + 1, sizeof(struct gh_chardev *));
    p->net = calloc(l->net_count + 1, sizeof(struct gh_net *));
    if (!p->backend || !p->disk || !p->chardev || !p->net)
        return gh_error_set(err, -ENOMEM, "NoMemory", "The host has no memory left.");
    for (unsigned i = 0; r == 0 && i < l->disk_count; i++)
        r = open_disk(p, &l->disks[i], err);
    for (unsigned i = 0; r == 0 && i < l->char_count; i++)
        r = open_char(p, &l->chars[i], err);
    for (unsigned i = 0; r == 0 && i < l->net_count; i++) {
        r = gh_process_net_open(p, &l->nets[i], err);
        if (r == 0)
            r = add_ref(p, l->nets[i].name, GH_T_NET, gh_net_handle(p->net[i]));
    }
    return r;
}

/* ---- The configuration ------------------------------------------------------------------------- */
static int configure_devices(struct gh_process *p, struct gh_error *err)
{
    struct gh_launch *l = p->launch;

    p->device = calloc(l->device_count + 1, sizeof *p->device);
    if (!p->device)
        return gh_error_set(err, -ENOMEM, "NoMemory", "The host has no memory left.");
    for (unsigned i = 0; i < l->device_count; i++) {
        struct gh_launch_device *d = &l->devices[i];
        if (d->option_count >= GH_ARRAY_LEN(p->device[i].option))
            return gh_error_set(err, -E2BIG, "TooManyOptions", "Device “%s” has %u options; at most %zu are possible.", d->id, d->option_count,
                                GH_ARRAY_LEN(p->device[i].option) - 1);
        p->device[i].class = d->class_name;
        p->device[i].id = d->id;
        for (unsigned k = 0; k < d->option_count; k++) {
            p->device[i].option[k].name = d->options[k].name;
            p->device[i].option[k].value = d->options[k].value;
        }
    }
    return 0;
}

static int configure(struct gh_process *p, struct gh_machine_config *cfg, struct gh_error *err)
{
    struct gh_launch *l = p->launch;
    int r = gh_accel_choose(l->accel, l->kvm_fd, &p->choice, err);

    if (r)
        return r;
    gh_log(GH_LOG_INFO, "%s", p->choice.why);
    *cfg = (struct gh_machine_config){
        .name = l->name, .memory_bytes = l->memory_bytes, .cpus = l->vcpus, .accel = p->choice.accel, .accel_fd = p->choice.fd,
        .accel_options = l->accel_options[0] ? l->accel_options : NULL, .cmdline = l->append, .boot_order = l->boot[0] ? l->boot : "dca",
        .rtc_local = !strcmp(l->rtc, "local"), .no_reboot = l->no_reboot, .start_paused = l->paused,
        .kernel_as_is = l->kernel_as_is,
        .hyperv = l->hyperv,
    };
    if (l->uuid[0] && parse_uuid(l->uuid, cfg->uuid) < 0)
        return gh_error_option(err, -EINVAL, "UuidInvalid", "uuid", "“%s” is not a UUID, such as 6ba7b810-9dad-41d1-80b4-00c04fd430c8.", l->uuid);
    r = gh_cpu_model_build(l->cpu[0] ? l->cpu : NULL, p->choice.accel->name, l->vcpus, &cfg->model, err);
    if (r == 0)
        r = map_blob(gh_launch_rom_fd(l, "bios"), "BIOS image", &cfg->bios, err);
    if (r == 0)
        r = map_blob(gh_launch_rom_fd(l, "vgabios"), "VGA BIOS image", &cfg->vgabios, err);
    if (r == 0)
        r = map_blob(gh_launch_rom_fd(l, "pxe-e1000"), "boot ROM", &cfg->pxe_e1000, err);
    if (r == 0)
        r = map_blob(gh_launch_rom_fd(l, "pxe-virtio"), "boot ROM", &cfg->pxe_virtio, err);
    if (r == 0)
        r = map_blob(gh_launch_rom_fd(l, "vars"), "variable store", &cfg->vars, err);
    if (r == 0)
        r = map_blob(l->kernel_fd, GH_WORD("kernel"), &cfg->kernel, err);
    if (r == 0)
        r = map_blob(l->initrd_fd, GH_WORD("initial RAM disk"), &cfg->initrd, err);
    if (r == 0)
        r = open_backends(p, err);
    if (r == 0)
        r = configure_devices(p, err);
    cfg->devices = p->device;
    cfg->device_count = l->device_count;
    cfg->backends = p->backend;
    cfg->backend_count = p->backend_count;
    return r;
}

static void on_stopped(void *opaque, int status)
{
    struct gh_process *p = opaque;

    gh_log(GH_LOG_INFO, "the machine stopped with status %d", status);
    gh_loop_quit(p->loop, status);
}

static void free_process(struct gh_process *p)
{
    if (p->machine) {
        /* Nothing may write into guest memory or complete to a device that is gone. */
        gh_machine_lock(p->machine);
        for (unsigned i = 0; i < p->disk_count; i++)
            gh_disk_block_stop(p->disk[i]);
        gh_machine_unlock(p->machine);
        gh_machine_free(p->machine);
    }
    p->machine = NULL;
    for (unsigned i = 0; i < p->disk_count; i++)
        gh_disk_block_free(p->disk[i]);
    for (unsigned i = 0; i < p->chardev_count; i++)
        gh_chardev_free(p->chardev[i]);
    for (unsigned i = 0; i < p->net_count; i++)
        gh_net_free(p->net[i]);
    if (p->choice.fd >= 0)
        close(p->choice.fd);
    free(p->backend);
    free(p->disk);
    free(p->chardev);
    free(p->net);
    free(p->device);
    gh_loop_free(p->loop);
}

int gh_process_run(struct gh_launch *launch, const struct gh_process_hooks *hooks, struct gh_error *err)
{
    struct gh_process p = { .launch = launch, .choice.fd = -1 };
    struct gh_machine_config cfg = { 0 };
    struct gh_machine_events events = { .opaque = &p, .stopped = on_stopped };

    if (launch->trace)
        gh_trace_set(launch->trace);
    int r = gh_loop_new(&p.loop, err);
    if (r)
        return r;
    r = configure(&p, &cfg, err);
    if (r == 0)
        r = gh_process_control(&p, hooks, &events, err);
    if (r == 0)
        r = gh_machine_new(&cfg, p.loop, &events, &p.machine, err);
    free_blob(&cfg.bios);
    free_blob(&cfg.vgabios);
    free_blob(&cfg.pxe_e1000);
    free_blob(&cfg.pxe_virtio);
    free_blob(&cfg.vars);
    if (r == 0) {
        for (unsigned i = 0; i < p.chardev_count; i++)
            gh_chardev_set_machine(p.chardev[i], p.machine);
        for (unsigned i = 0; i < p.net_count; i++)
            gh_net_set_machine(p.net[i], p.machine);
        r = gh_process_ready(&p, err);
    }
    if (r == 0)
        r = gh_machine_start(p.machine, err);
    if (r == 0)
        r = gh_loop_run(p.loop);
    gh_process_control_free(&p);
    free_process(&p);
    free_blob(&cfg.kernel);
    free_blob(&cfg.initrd);
    return r;
}
