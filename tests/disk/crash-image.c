/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The images that are crashed: made, opened, written by a random guest, and checked. */
#include <fcntl.h>
#include <unistd.h>

#include "base/bytes.h"
#include "crash-medium.h"
#include "crash.h"

const struct kind kinds[] = {
    { "raw", "raw" }, { "qcow2", "qcow2", NULL, 4096 }, { "qcow2-64k", "qcow2" }, { "qcow2-v2", "qcow2", NULL, 4096, .version = 2 },
    { "qcow2-child", "qcow2", NULL, 4096, true }, { "qcow2-subclusters", "qcow2", NULL, 32768, true, true },
    { "vdi", "vdi" }, { "vdi-child", "vdi", NULL, 0, true }, { "vmdk", "vmdk" }, { "vhd", "vhd" }, { "vhd-fixed", "vhd", "fixed" },
    { "vhdx", "vhdx" },
};
const unsigned kind_count = GH_ARRAY_LEN(kinds);
const struct kind *kind;

uint32_t seed = 1;
uint32_t rnd(uint32_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 17;
    seed ^= seed << 5;
    return n ? seed % n : 0;
}

static void fill(uint8_t *buf, uint32_t sector, uint32_t version)
{
    for (unsigned i = 0; i < SECTOR; i += 8) {
        memcpy(buf + i, &sector, 4);
        memcpy(buf + i + 4, &version, 4);
    }
}

uint32_t version_of(const uint8_t *buf, uint32_t sector)
{
    uint32_t s, v;
    if (memcmp(buf, buf + 8, SECTOR - 8))
        return UINT32_MAX;
    memcpy(&s, buf, 4);
    memcpy(&v, buf + 4, 4);
    return !s && !v ? 0 : s == sector && v ? v : UINT32_MAX;
}

bool half_written(const uint8_t *buf, uint32_t sector, uint32_t before, uint32_t after)
{
    uint8_t old[SECTOR] = { 0 }, new[SECTOR] = { 0 };
    unsigned same = 0;
    if (before)
        fill(old, sector, before);
    if (after)
        fill(new, sector, after);
    while (same < SECTOR && buf[same] == new[same])
        same++;
    return !memcmp(buf + same, old + same, SECTOR - same);
}

static int parent_fd = -1;

struct gh_image *open_fd(int fd, bool writable, struct gh_error *err)
{
    struct gh_image_spec parent = { .format = kind->format, .label = "parent", .fd = -1, .unlocked = true };
    struct gh_image_spec spec = { .format = kind->format, .label = kind->name, .fd = fcntl(fd, F_DUPFD_CLOEXEC, 3),
        .writable = writable, .after_crash = true, .unlocked = true, .parent = kind->child ? &parent : NULL };
    if (kind->child)
        parent.fd = fcntl(parent_fd, F_DUPFD_CLOEXEC, 3);
    return gh_image_open(&spec, err);
}

/* A new image; a child gets a parent whose every fourth run of sectors holds version 1. */
int make(void)
{
    struct gh_error err = { 0 };
    struct gh_image_create how = { .format = kind->format, .variant = kind->variant, .bytes = (uint64_t)DISK_SECTORS * SECTOR,
        .cluster_bytes = kind->cluster, .version = kind->version };
    struct gh_image *parent = NULL;
    if (kind->child) {
        uint8_t buf[SECTOR];
        if (parent_fd >= 0)
            close(parent_fd);
        parent_fd = memory_file("parent");
        CHECK_FATAL(!gh_image_create(fcntl(parent_fd, F_DUPFD_CLOEXEC, 3), "parent", &how, &err));
        parent = gh_image_open(&(struct gh_image_spec){ .format = kind->format, .label = "parent", .unlocked = true,
            .fd = fcntl(parent_fd, F_DUPFD_CLOEXEC, 3), .writable = true }, &err);
        CHECK_FATAL(parent);
        for (uint32_t s = 1; s < DISK_SECTORS; s++)
            if (s / 40 % 4 == 0) {
                fill(buf, s, 1);
                CHECK_FATAL(!gh_image_write(parent, (uint64_t)s * SECTOR, buf, SECTOR));
            }
        CHECK_FATAL(!gh_image_close(parent));
        parent = gh_image_open(&(struct gh_image_spec){ .format = kind->format, .label = "parent", .unlocked = true,
            .fd = fcntl(parent_fd, F_DUPFD_CLOEXEC, 3) }, &err);
        CHECK_FATAL(parent);
        how.parent = parent;
        how.parent_name = "parent";
        how.parent_format = kind->format;
        how.extended_l2 = kind->extended;
    }
    int fd = memory_file(kind->name);
    int r = gh_image_create(fcntl(fd, F_DUPFD_CLOEXEC, 3), kind->name, &how, &err);
    if (r < 0)
        fprintf(stderr, "%s: %s\n", kind->name, err.text);
    CHECK_FATAL(!r);
    gh_image_close(parent);
    return fd;
}

uint32_t first_version(uint32_t s) { return kind->child && s && s / 40 % 4 == 0 ? 1 : 0; }

/* ---- The guest: one random operation --------------------------------------------------------------------- */
struct op random_op(uint32_t version)
{
    struct op o = { .count = 1 + (rnd(4) ? rnd(24) : rnd(MAX_WRITE)), .version = version, .zero = rnd(8) == 0 };
    o.sector = rnd(3) ? rnd(1200) : rnd(DISK_SECTORS);
    if (o.sector + o.count > DISK_SECTORS)
        o.count = DISK_SECTORS - o.sector;
    return o;
}

int carry_out(struct gh_image *img, const struct op *o)
{
    static uint8_t buf[MAX_WRITE * SECTOR];
    if (o->zero)
        return gh_image_zero(img, (uint64_t)o->sector * SECTOR, (uint64_t)o->count * SECTOR);
    for (uint32_t i = 0; i < o->count; i++)
        fill(buf + i * SECTOR, o->sector + i, o->version);
    return gh_image_write(img, (uint64_t)o->sector * SECTOR, buf, (size_t)o->count * SECTOR);
}

/* May the second grain tables differ from the first ones? By the grains of the operations since the last flush, one after a kill. */
enum { FLYING_GRAINS = MAX_WRITE / 128 + 2 };

int repaired(struct gh_image *img, uint32_t open_ops)
{
    bool vmdk = !strcmp(kind->format, "vmdk");
    struct gh_check_report rep;
    struct gh_error err = { 0 };
    int r = gh_image_check(img, vmdk, &rep, &err);
    if (vmdk && rep.leaks > (uint64_t)open_ops * FLYING_GRAINS)
        rep.errors += rep.leaks;
    if ((r < 0 || rep.errors) && !plant)
        fprintf(stderr, "%s: check says %d, %llu errors: %s%s\n", kind->name, r, (unsigned long long)rep.errors, rep.first, err.text);
    return r < 0 || rep.errors;
}
