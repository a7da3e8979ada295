/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A child shows nonsense when its parent changes under it. What it remembers of the parent tells: ids where both
 * formats have them (VDI, VMDK, VHDX), else the parent's size and the time of its last change, which every program
 * that writes to it moves on (qcow2 in a header extension, VHD in its parent time stamp).
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/bytes.h"
#include "disk/driver.h"

void gh_parent_from_windows(char *name)
{
    bool drive = name[0] && name[1] == ':' && (name[2] == '\\' || name[2] == '/');
    bool share = (name[0] == '\\' || name[0] == '/') && name[1] == name[0];
    char *last = name;
    for (char *p = name; *p; p++)
        if (*p == '\\' || ((drive || share) && *p == '/'))
            last = p + 1;
    if (drive || share)
        memmove(name, last, strlen(last) + 1);
}

static void text_of(int64_t sec, char ret[32])
{
    struct tm tm;
    time_t t = (time_t)sec;
    ret[0] = 0;
    if (gmtime_r(&t, &tm))
        strftime(ret, 32, "%F %T UTC", &tm);
}

static void changed_at(const struct gh_image *img, char ret[32])
{
    struct stat st;
    ret[0] = 0;
    if (!fstat(img->file->fd, &st))
        text_of(st.st_mtime, ret);
}

static uint64_t mix(uint64_t h, const char *text)
{
    for (; *text; text++)
        h = (h ^ (uint8_t)*text) * 0x100000001b3ull;
    return h;
}

uint64_t gh_parent_name_hash(const char *name) { return mix(0xcbf29ce484222325ull, name); }

void gh_parent_look(struct gh_image *parent, struct gh_parent_seen *ret)
{
    struct stat st;
    *ret = (struct gh_parent_seen){ .bytes = parent->bytes };
    if (parent->file->window || fstat(parent->file->fd, &st) || !S_ISREG(st.st_mode))
        return;                               /* the time of a device says nothing about its content */
    ret->known = true;
    ret->sec = st.st_mtim.tv_sec;
    ret->nsec = (uint32_t)st.st_mtim.tv_nsec;
    if (parent->info.uuid[0] || parent->info.change_id[0])
        ret->ids = mix(mix(0xcbf29ce484222325ull, parent->info.uuid), parent->info.change_id);
}

void gh_parent_record(struct gh_image *parent, struct gh_parent_seen *ret)
{
    /* fdatasync leaves the time of the last write in memory: after a power loss the file would look older. */
    gh_file_settle_time(parent->file);
    gh_parent_look(parent, ret);
}

/* Copies keep a time as finely as their file system or archive does: 2 s (FAT), 1 s (tar), 10 ms (exFAT), 1 us, 100 ns (NTFS). */
static bool same_time(const struct gh_parent_seen *then, const struct gh_parent_seen *now)
{
    static const int64_t grains[] = { 1, 100, 1000, 10000000, 1000000000, 2000000000 };
    if (then->seconds_only)
        return then->sec == now->sec || (then->sec & ~1) == now->sec;
    if (then->sec < 0 || then->sec > INT64_MAX / 1000000000 - 2 || now->sec < 0 || now->sec > INT64_MAX / 1000000000 - 2)
        return then->sec == now->sec && then->nsec == now->nsec;
    int64_t a = then->sec * 1000000000 + then->nsec, b = now->sec * 1000000000 + now->nsec;
    for (unsigned i = 0; i < GH_ARRAY_LEN(grains); i++)
        if (a - a % grains[i] == b)
            return true;
    return false;
}

static int changed(struct gh_image *img, const char *now, const char *then, struct gh_error *err)
{
    return gh_error_set(err, -ESTALE, "DiskParentChanged",
                        "“%s” was changed (%s) after “%s” was made on top of it (%s), so that their content may no longer fit. Restore the parent from a "
                        "backup, or accept it as it is: gasthaus-image rebase --accept-parent.", img->parent->label, now, img->label, then);
}

int gh_image_check_parent(struct gh_image *img, struct gh_error *err)
{
    if (!img->parent)
        return 0;
    const struct gh_image_info *c = &img->info, *p = &img->parent->info;
    char now[32], then[32];
    if (c->parent_uuid[0] && p->uuid[0] && strcmp(c->parent_uuid, p->uuid) && strcmp(p->uuid, p->change_id))
        return gh_error_set(err, -ESTALE, "DiskParentWrong", "“%s” builds on the disk %s, but “%s” is %s. Choose the right parent.",
                            img->label, c->parent_uuid, img->parent->label, p->uuid);
    if (img->accept_parent)
        return 0;
    if (c->parent_change_id[0] && p->change_id[0] && strcmp(c->parent_change_id, p->change_id)) {
        changed_at(img->parent, now);
        changed_at(img, then);
        return changed(img, now, then, err);
    }
    struct gh_parent_seen seen;
    gh_parent_look(img->parent, &seen);
    if (!img->seen.known || !seen.known)
        return 0;
    if (same_time(&img->seen, &seen) && (!img->seen.bytes || img->seen.bytes == seen.bytes) && (!img->seen.ids || img->seen.ids == seen.ids))
        return 0;
    text_of(seen.sec, now);
    text_of(img->seen.sec, then);
    return changed(img, now, then, err);
}

int gh_image_remember_parent(struct gh_image *img, struct gh_image *parent, struct gh_error *err)
{
    struct gh_parent_seen seen = { .known = false };
    struct stat st;
    if (!img->writable)
        return gh_error_set(err, -EROFS, "DiskReadOnly", "“%s” is open for reading only.", img->label);
    if (!img->driver->remember_parent || !img->needs_parent)
        return 0;
    if (parent)
        gh_parent_record(parent, &seen);
    bool kept = !fstat(img->file->fd, &st) && S_ISREG(st.st_mode);
    pthread_rwlock_wrlock(&img->lock);
    int r = img->driver->remember_parent(img, parent ? &seen : NULL, parent ? &parent->info : NULL);
    pthread_rwlock_unlock(&img->lock);
    if (!r)
        r = gh_image_flush(img);
    /* What it reads as is the same: its own children need not know. */
    if (!r && kept && !img->marked)
        gh_file_set_time(img->file, &st.st_mtim);
    if (r < 0)
        gh_error_set(err, r, "DiskWriteFailed", "“%s” could not be written: %s.", img->label, strerror(-r));
    return r;
}
