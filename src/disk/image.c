/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/bytes.h"
#include "disk/driver.h"

uint64_t gh_image_bytes(const struct gh_image *img) { return img->bytes; }
const char *gh_image_label(const struct gh_image *img) { return img->label; }
struct gh_image *gh_image_parent(struct gh_image *img) { return img->parent; }
bool gh_image_writable(const struct gh_image *img) { return img->writable; }

const char *gh_image_reason(int r) { return r == -EUCLEAN ? GH_WORD("its content is damaged") : strerror(-r); }

uint64_t gh_round_up(uint64_t v, uint64_t unit)
{
    uint64_t rest = unit ? v % unit : 0;
    return rest ? v + (unit - rest) : v;
}

void gh_uuid_random(uint8_t uuid[16])
{
    if (getrandom(uuid, 16, 0) != 16)
        memset(uuid, 0x5a, 16);
    uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40);
    uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
}

bool gh_uuid_is_null(const uint8_t uuid[16])
{
    static const uint8_t null[16];
    return !memcmp(uuid, null, 16);
}

/* The bytes of the text in order, the first three fields turned round. */
static const uint8_t le_order[16] = { 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15 };

void gh_uuid_text(char ret[37], const uint8_t uuid[16], bool le)
{
    char *p = ret;
    for (unsigned i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *p++ = '-';
        p += snprintf(p, 3, "%02x", uuid[le ? le_order[i] : i]);
    }
}

bool gh_uuid_parse(uint8_t ret[16], const char *text, bool le)
{
    for (unsigned i = 0; i < 16; i++) {
        unsigned v;
        if (*text == '-')
            text++;
        if (sscanf(text, "%2x", &v) != 1)
            return false;
        ret[le ? le_order[i] : i] = (uint8_t)v;
        text += 2;
    }
    return true;
}

int gh_image_bad(struct gh_image *img, struct gh_error *err, const char *fmt, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return gh_error_set(err, -EUCLEAN, "DiskDamaged", "“%s” is damaged: %s. Check it or use a copy.", img->label, text);
}

int gh_image_unsupported(struct gh_image *img, struct gh_error *err, const char *fmt, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return gh_error_set(err, -ENOTSUP, "DiskUnsupported", "“%s” cannot be used: %s.", img->label, text);
}

void gh_check_note(struct gh_check_report *r, const char *fmt, ...)
{
    if (r->first[0])
        return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(r->first, sizeof r->first, fmt, ap);
    va_end(ap);
}

static void close_spec(const struct gh_image_spec *spec, bool with_main)
{
    for (unsigned depth = 0; spec && depth < GH_IMAGE_MAX_CHAIN; spec = spec->parent, depth++) {
        if (with_main && spec->fd >= 0)
            close(spec->fd);
        for (unsigned i = 0; i < spec->part_count; i++)
            if (spec->parts[i].fd >= 0)
                close(spec->parts[i].fd);
        with_main = true;
    }
}

static void image_free(struct gh_image *img)
{
    if (!img)
        return;
    gh_image_close(img->parent);
    for (unsigned i = 0; i < img->part_count; i++)
        gh_file_free(img->parts[i]);
    gh_file_free(img->file);
    free(img->parts);
    free(img->part_names);
    pthread_rwlock_destroy(&img->lock);
    free(img);
}

static int settle_ends(struct gh_image *img)
{
    int r = gh_file_settle_end(img->file);
    for (unsigned i = 0; i < img->part_count && !r; i++)
        r = gh_file_settle_end(img->parts[i]);
    return r;
}

int gh_image_close(struct gh_image *img)
{
    if (!img)
        return 0;
    int r = gh_image_flush_locked(img);
    if (img->driver->close)
        img->driver->close(img);
    int again = gh_image_flush_locked(img), unfinished = img->close_error;
    if (!again)
        again = settle_ends(img);
    image_free(img);
    return r < 0 ? r : unfinished < 0 ? unfinished : again;
}

static int check_access(int fd, bool writable, const char *label, struct gh_error *err)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0)
        return gh_error_set(err, -errno, "DiskUnreadable", "“%s” is not open: %s.", label, strerror(errno));
    if (writable && (flags & O_ACCMODE) != O_RDWR)
        return gh_error_set(err, -EROFS, "DiskReadOnly", "“%s” may only be read. Attach it read-only, or change its permissions.",
                            label);
    return 0;
}

static int open_file(const struct gh_image_spec *spec, int fd, const char *label, struct gh_file **ret, struct gh_error *err)
{
    int r = check_access(fd, spec->writable, label, err);
    if (r < 0) {
        close(fd);
        return r;
    }
    *ret = gh_file_new(fd, spec->writable, label, err);
    if (!*ret)
        return err && err->code ? err->code : -EINVAL;
    (*ret)->draft = spec->draft;
    if (spec->window_at && fd == spec->fd)
        r = gh_file_set_window(*ret, spec->window_at, spec->window_bytes, err);
    if (r < 0 || spec->unlocked)
        return r;
    return gh_file_lock(*ret, spec->writable ? spec->shared_writers ? GH_LOCK_SHARED_WRITERS : GH_LOCK_EXCLUSIVE
                                             : GH_LOCK_SHARED, err);
}

static int open_parts(struct gh_image *img, const struct gh_image_spec *spec, struct gh_error *err)
{
    int r = 0;
    unsigned i = 0;
    if (!spec->part_count)
        return 0;
    img->parts = calloc(spec->part_count, sizeof *img->parts);
    img->part_names = calloc(spec->part_count, sizeof *img->part_names);
    if (!img->parts || !img->part_names)
        r = gh_error_set(err, -ENOMEM, "OutOfMemory", "There is not enough memory to open “%s”.", spec->label);
    for (; i < spec->part_count && !r; i++) {
        char label[192];
        snprintf(label, sizeof label, "%s", spec->parts[i].name);
        r = open_file(spec, spec->parts[i].fd, label, &img->parts[i], err);
        snprintf(img->part_names[i], sizeof img->part_names[i], "%s", spec->parts[i].name);
        img->part_count += img->parts[i] != NULL;
    }
    for (; i < spec->part_count; i++)
        close(spec->parts[i].fd);
    return r;
}

static struct gh_image *open_depth(const struct gh_image_spec *spec, unsigned depth, struct gh_error *err)
{
    const struct gh_image_driver *drv = gh_image_driver_find(spec->format);
    struct gh_image *img = NULL;
    int r = 0;
    if (depth >= GH_IMAGE_MAX_CHAIN)
        r = gh_error_set(err, -ELOOP, "DiskChainTooLong", "“%s” has more than %d disks behind it. Merge some snapshots first.",
                         spec->label, GH_IMAGE_MAX_CHAIN);
    else if (!drv)
        r = gh_error_set(err, -EINVAL, "DiskFormatUnknown", "“%s” is not a disk format. Use one of raw, qcow2, vdi, vmdk, vhd, vhdx, qed, hdd, dmg.",
                         spec->format);
    else if (spec->writable && !drv->format.can_write)
        r = gh_error_set(err, -EROFS, "DiskFormatReadOnly", "“%s” is a %s image, which can only be read. Convert it to use it as a disk.",
                         spec->label, spec->format);
    if (r < 0 || !(img = calloc(1, sizeof *img))) {
        gh_error_set(err, -ENOMEM, "OutOfMemory", "There is not enough memory to open “%s”.", spec->label);
        close_spec(spec, true);
        gh_image_close(spec->opened_parent);
        return NULL;
    }
    img->parent = spec->opened_parent;
    pthread_rwlockattr_t attr;
    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&img->lock, &attr);
    pthread_rwlockattr_destroy(&attr);
    snprintf(img->label, sizeof img->label, "%s", spec->label);
    img->driver = drv;
    img->writable = spec->writable;
    img->repair = spec->repair;
    img->accept_parent = spec->accept_parent;
    img->after_crash = spec->after_crash;
    r = open_file(spec, spec->fd, spec->label, &img->file, err);
    if (r < 0) {
        close_spec(spec, false);
        goto fail;
    }
    r = open_parts(img, spec, err);
    if (r < 0) {
        if (spec->parent)
            close_spec(spec->parent, true);
        goto fail;
    }
    if (spec->parent) {
        struct gh_image_spec behind = *spec->parent;
        behind.writable = false;
        img->parent = open_depth(&behind, depth + 1, err);
        if (!img->parent)
            goto fail;
    }
    snprintf(img->info.variant, sizeof img->info.variant, "%s", drv->format.name);
    r = drv->open(img, err);
    if (!r && img->bytes > GH_IMAGE_MAX_BYTES)
        r = gh_error_set(err, -EFBIG, "DiskTooLarge", "“%s” claims %llu bytes; the limit is 64 TiB.", img->label,
                         (unsigned long long)img->bytes);
    if (!r && img->needs_parent && !img->parent && !img->repair)
        r = gh_error_set(err, -ENOENT, "DiskParentMissing",
                         "“%s” builds on “%s”, which was not given. Restore that file or choose its new place.",
                         img->label, img->info.parent_name);
    if (r < 0) {
        if (drv->close)
            drv->close(img);
        goto fail;
    }
    return img;
fail:
    gh_error_set(err, r < 0 ? r : -EIO, "DiskOpenFailed", "“%s” cannot be opened: %s.", spec->label, strerror(r < 0 ? -r : EIO));
    image_free(img);
    return NULL;
}

struct gh_image *gh_image_open(const struct gh_image_spec *spec, struct gh_error *err) { return open_depth(spec, 0, err); }

struct gh_image *gh_image_overlay(int fd, const char *label, struct gh_image *base, struct gh_error *err)
{
    struct gh_image_create how = { .format = "qcow2", .bytes = gh_round_up(base->bytes, 512), .parent_name = "base",
                                   .parent_format = base->driver->format.name };
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    int r = copy < 0 ? gh_error_set(err, -errno, "OutOfFiles", "There are no free descriptors for “%s”.", label)
                     : gh_image_create(copy, label, &how, err);
    if (r < 0) {
        close(fd);
        gh_image_close(base);
        return NULL;
    }
    return gh_image_open(&(struct gh_image_spec){ .format = "qcow2", .label = label, .fd = fd, .writable = true, .unlocked = true,
                                                  .opened_parent = base }, err);
}

void gh_image_info(struct gh_image *img, struct gh_image_info *ret)
{
    pthread_rwlock_rdlock(&img->lock);
    *ret = img->info;
    ret->format = img->driver->format.name;
    ret->bytes = img->bytes;
    ret->cluster_bytes = img->cluster_bytes;
    ret->writable = img->writable;
    ret->has_parent = img->needs_parent;
    ret->file_bytes = gh_file_bytes(img->file);
    ret->used_bytes = gh_file_used_bytes(img->file);
    for (unsigned i = 0; i < img->part_count; i++) {
        ret->file_bytes += gh_file_bytes(img->parts[i]);
        ret->used_bytes += gh_file_used_bytes(img->parts[i]);
    }
    pthread_rwlock_unlock(&img->lock);
}

void gh_image_cut(struct gh_image *img, uint64_t bytes)
{
    if (!img->writable && bytes < img->bytes)
        img->bytes = bytes;
}

int gh_image_space(struct gh_image *img, uint64_t *ret_growth, uint64_t *ret_free)
{
    uint64_t used = gh_file_used_bytes(img->file);
    for (unsigned i = 0; i < img->part_count; i++)
        used += gh_file_used_bytes(img->parts[i]);
    *ret_growth = img->bytes > used ? img->bytes - used : 0;
    return gh_file_space(img->file, ret_free);
}

/* What a disk gains is zeros: not what its parent holds there, nor what was left behind its end in the last cluster. */
static int clear_gained(struct gh_image *img, uint64_t from)
{
    uint64_t end = gh_round_up(from, img->cluster_bytes), n;
    bool zero;
    int r = 0;
    if (img->parent && img->parent->bytes > end)
        end = img->parent->bytes;
    end = gh_min_u64(end, img->bytes);
    for (uint64_t off = from; off < end && !r; off += n) {
        r = gh_image_known_zero(img, off, end - off, &zero, &n);
        if (!r && !zero)
            r = gh_image_zero(img, off, n);
    }
    return r ? r : gh_image_flush_locked(img);
}

int gh_image_resize(struct gh_image *img, uint64_t bytes, bool allow_shrink, struct gh_error *err)
{
    if (!img->writable)
        return gh_error_set(err, -EROFS, "DiskReadOnly", "“%s” is open for reading only.", img->label);
    if (!img->driver->resize && bytes != img->bytes)
        return gh_error_set(err, -ENOTSUP, "DiskCannotResize", "A %s disk cannot change its size. Convert “%s” with the new size instead.",
                            img->driver->format.name, img->label);
    if (bytes % 512 || !bytes || bytes > GH_IMAGE_MAX_BYTES)
        return gh_error_set(err, -EINVAL, "DiskSizeInvalid", "%llu is not a disk size: use a multiple of 512 up to 64 TiB.",
                            (unsigned long long)bytes);
    if (bytes < img->bytes && !allow_shrink)
        return gh_error_set(err, -EINVAL, "DiskShrinkRefused",
                            "“%s” has %llu bytes; making it smaller cuts off its end. Shrink the partitions inside, then allow it.",
                            img->label, (unsigned long long)img->bytes);
    if (img->info.snapshots)
        return gh_error_set(err, -EBUSY, "DiskHasSnapshots", "“%s” has %u snapshots inside; delete them before changing its size.",
                            img->label, img->info.snapshots);
    uint64_t before = img->bytes;
    pthread_rwlock_wrlock(&img->lock);
    int r = 0;
    if (!img->marked && img->driver->first_write)
        r = img->driver->first_write(img);
    img->marked = !r;
    if (!r && bytes != img->bytes)
        r = img->driver->resize(img, bytes, err);
    if (!r)
        img->bytes = bytes;
    if (!r)
        r = gh_image_flush_locked(img);
    pthread_rwlock_unlock(&img->lock);
    if (!r && bytes > before)
        r = clear_gained(img, before);
    if (r < 0)
        gh_error_set(err, r, "DiskResizeFailed", "“%s” could not be resized: %s.", img->label, gh_image_reason(r));
    return r;
}

int gh_image_check(struct gh_image *img, bool repair, struct gh_check_report *ret, struct gh_error *err)
{
    *ret = (struct gh_check_report){ 0 };
    if (repair && !img->writable)
        return gh_error_set(err, -EROFS, "DiskReadOnly", "“%s” is open for reading only; nothing can be repaired.", img->label);
    uint64_t missing = 0;
    pthread_rwlock_wrlock(&img->lock);
    int r = gh_image_missing(img, repair, &missing);
    if (missing) {
        ret->errors++;
        ret->errors_fixed += repair && !r;
        gh_check_note(ret, "%llu bytes are missing, the end of the file", (unsigned long long)missing);
    }
    if (img->driver->check)
        r = img->driver->check(img, repair, ret, err);
    if (!r && repair)
        r = gh_image_flush_locked(img);
    pthread_rwlock_unlock(&img->lock);
    if (r < 0)
        gh_error_set(err, r, "DiskCheckFailed", "“%s” could not be checked: %s.", img->label, gh_image_reason(r));
    return r;
}

int gh_image_create(int fd, const char *label, const struct gh_image_create *how, struct gh_error *err)
{
    const struct gh_image_driver *drv = gh_image_driver_find(how->format);
    int r = 0;
    if (!drv || !drv->create)
        r = gh_error_set(err, -ENOTSUP, "DiskFormatReadOnly", "Images of format “%s” cannot be made. Use qcow2, vdi, vmdk, vhd, vhdx or raw.",
                         how->format);
    else if (!how->bytes || how->bytes % 512 || how->bytes > GH_IMAGE_MAX_BYTES)
        r = gh_error_set(err, -EINVAL, "DiskSizeInvalid", "%llu is not a disk size: use a multiple of 512 up to 64 TiB.",
                         (unsigned long long)how->bytes);
    else if (how->parent_name && !drv->format.can_parent)
        r = gh_error_set(err, -ENOTSUP, "DiskNoParents", "A %s image made here cannot build on another disk. Use qcow2 or vdi.",
                         how->format);
    if (!r && how->variant) {
        bool known = false;
        for (const char *const *v = drv->format.variants; *v; v++)
            known |= !strcmp(*v, how->variant);
        if (!known)
            r = gh_error_set(err, -EINVAL, "DiskVariantUnknown", "“%s” is not a variant of %s; the first one is “%s”.",
                             how->variant, how->format, drv->format.variants[0]);
    }
    if (r < 0) {
        close(fd);
        return r;
    }
    struct gh_file *file = gh_file_new(fd, true, label, err);
    if (!file)
        return err && err->code ? err->code : -EINVAL;
    file->draft = how->draft;
    if (how->window_at)
        r = gh_file_set_window(file, how->window_at, 0, err);
    if (!r)
        r = drv->create(file, how, err);
    if (!r)
        r = gh_file_flush(file);
    gh_file_free(file);
    if (r < 0)
        gh_error_set(err, r, "DiskCreateFailed", "“%s” could not be made: %s.", label, strerror(-r));
    return r;
}
