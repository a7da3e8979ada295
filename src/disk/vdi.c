/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * VirtualBox's VDI 1.1: dynamic, fixed, differencing and undo images.
 *
 *     header (at 0) | map: le32 per block | blocks, in the order they were first written
 *     map entry: block number in the file, or one of the two marks below
 *
 * The header's counter of blocks may lag behind the map after a crash: it is recomputed. A block
 * that becomes zeros keeps its place and loses its space, so that no pointer has to move.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "disk/drivers.h"

enum { TYPE_DYNAMIC = 1, TYPE_FIXED = 2, TYPE_UNDO = 3, TYPE_DIFF = 4 };
enum { HEADER_BYTES = 512, MAP_AT = 1 << 20, BLOCK = 1 << 20 };
#define UNALLOCATED 0xffffffffu               /* the parent's, or zeros */
#define ZEROED 0xfffffffeu                    /* zeros, hiding the parent */
#define SIGNATURE 0xbeda107fu
#define MAP_MAX_BYTES (256ull << 20)
#define MOVE_STEP (1ull << 20)

struct vdi {
    uint32_t type, blocks, allocated;         /* allocated: the next free block number */
    uint64_t map_at, data_at, block, stride;  /* stride: with the extra bytes in front of each block */
    uint64_t extra;
    uint32_t *map;                            /* host order */
    uint8_t header[HEADER_BYTES];
};

static int vdi_probe(const uint8_t *head, size_t len, const uint8_t *tail, uint64_t file_bytes)
{ return len >= 68 && gh_le32_get(head + 64) == SIGNATURE ? 100 : 0; }

static int vdi_open(struct gh_image *img, struct gh_error *err)
{
    struct vdi *v = calloc(1, sizeof *v);
    if (!v)
        return -ENOMEM;
    img->state = v;
    uint8_t *h = v->header;
    int r = gh_file_read(img->file, 0, h, HEADER_BYTES);
    if (r < 0)
        return r;
    if (gh_le32_get(h + 64) != SIGNATURE)
        return gh_image_bad(img, err, "it is not a VDI image");
    if (gh_le32_get(h + 68) >> 16 != 1)
        return gh_image_unsupported(img, err, "it is a VDI image of version %#x, and only 1.x is known", gh_le32_get(h + 68));
    v->type = gh_le32_get(h + 76);
    v->map_at = gh_le32_get(h + 0x154);
    v->data_at = gh_le32_get(h + 0x158);
    img->bytes = gh_le64_get(h + 0x170);
    v->block = gh_le32_get(h + 0x178);
    v->extra = gh_le32_get(h + 0x17c);
    v->blocks = gh_le32_get(h + 0x180);
    if (v->type < TYPE_DYNAMIC || v->type > TYPE_DIFF)
        return gh_image_unsupported(img, err, "it is a VDI image of type %u", v->type);
    if (!gh_is_pow2(v->block) || v->block < 4096 || v->block > 256u << 20 || v->extra > 1 << 20 || v->extra % 512)
        return gh_image_bad(img, err, "its blocks have %llu bytes", (unsigned long long)v->block);
    if (img->bytes % 512 || !img->bytes || img->bytes > GH_IMAGE_MAX_BYTES || (img->bytes - 1) / v->block >= v->blocks)
        return gh_image_bad(img, err, "%u blocks do not make %llu bytes", v->blocks, (unsigned long long)img->bytes);
    if (v->data_at % 512 || v->map_at < 400 || v->data_at < v->map_at + (uint64_t)v->blocks * 4)
        return gh_image_bad(img, err, "its map and its data overlap");
    v->stride = v->block + v->extra;
    if (!img->repair && !gh_range_in(v->map_at, (uint64_t)v->blocks * 4, gh_file_bytes(img->file)))
        return gh_image_bad(img, err, "its map lies outside the file");
    v->map = gh_file_memory((uint64_t)v->blocks * 4, MAP_MAX_BYTES);
    if (!v->map)
        return gh_error_set(err, -ENOMEM, "OutOfMemory", "There is not enough memory for the map of “%s”.", img->label);
    r = gh_file_read(img->file, v->map_at, v->map, (size_t)v->blocks * 4);
    if (r < 0)
        return r;
    /* A number that no file of this length could have is damage, not the lag of a crash. */
    uint64_t limit = gh_file_bytes(img->file) / v->stride + v->blocks;
    for (uint32_t i = 0; i < v->blocks; i++) {
        v->map[i] = le32toh(v->map[i]);
        if (v->map[i] < ZEROED && v->map[i] >= limit && !img->repair)
            return gh_image_bad(img, err, "block %u claims place %u, far outside the file", i, v->map[i]);
        if (v->map[i] < ZEROED && v->map[i] < limit && v->map[i] >= v->allocated)
            v->allocated = v->map[i] + 1;
    }
    img->cluster_bytes = v->block;
    img->needs_parent = v->type == TYPE_DIFF || v->type == TYPE_UNDO;
    gh_uuid_text(img->info.uuid, h + 0x188, true);
    gh_uuid_text(img->info.change_id, h + 0x198, true);
    if (img->needs_parent) {
        gh_uuid_text(img->info.parent_uuid, h + 0x1a8, true);
        if (!gh_uuid_is_null(h + 0x1b8))
            gh_uuid_text(img->info.parent_change_id, h + 0x1b8, true);
        snprintf(img->info.parent_format, sizeof img->info.parent_format, "vdi");
    }
    img->info.cylinders = gh_le32_get(h + 0x15c);
    img->info.heads = gh_le32_get(h + 0x160);
    img->info.sectors = gh_le32_get(h + 0x164);
    static const char *const names[] = { "", "dynamic", "fixed", "undo", "differencing" };
    snprintf(img->info.variant, sizeof img->info.variant, "%s", names[v->type]);
    r = gh_image_check_parent(img, err);
    return r < 0 ? r : gh_image_mend_end(img);
}

static void vdi_close(struct gh_image *img)
{
    struct vdi *v = img->state;
    if (v)
        free(v->map);
    free(v);
    img->state = NULL;
}

static uint64_t place(const struct vdi *v, uint32_t number) { return v->data_at + number * v->stride + v->extra; }

static int vdi_map(struct gh_image *img, uint64_t off, uint64_t len, struct gh_extent *ret)
{
    struct vdi *v = img->state;
    uint64_t i = off / v->block, done = v->block - off % v->block;
    uint32_t e = v->map[i];
    *ret = (struct gh_extent){ .file = img->file, .in_place = true,
        .kind = e == UNALLOCATED ? GH_EXTENT_NONE : e == ZEROED ? GH_EXTENT_ZERO : GH_EXTENT_DATA };
    if (ret->kind == GH_EXTENT_DATA)
        ret->file_offset = place(v, e) + off % v->block;
    while (done < len && ++i < v->blocks) {
        if (e >= ZEROED ? v->map[i] != e : v->extra || v->map[i] != ++e)
            break;
        done += v->block;
    }
    ret->bytes = gh_min_u64(done, len);
    return 0;
}

static int vdi_reserve(struct gh_image *img, uint64_t off, struct gh_file **file, uint64_t *file_off, bool *fresh)
{
    struct vdi *v = img->state;
    if (v->allocated >= ZEROED)
        return -EFBIG;
    *file = img->file;
    *file_off = place(v, v->allocated);
    *fresh = *file_off >= gh_file_bytes(img->file);
    v->allocated++;
    return 0;
}

static void vdi_unreserve(struct gh_image *img, uint64_t off, uint64_t file_off)
{
    struct vdi *v = img->state;
    if (v->allocated && place(v, v->allocated - 1) == file_off)
        v->allocated--;
}

static int write_entry(struct gh_image *img, uint64_t i, uint32_t value)
{
    struct vdi *v = img->state;
    uint8_t e[4];
    gh_le32_put(e, value);
    int r = gh_file_write(img->file, v->map_at + i * 4, e, 4);
    if (!r)
        v->map[i] = value;
    return r;
}

/* One value for all of a range, which may be millions. */
static int write_entries(struct gh_image *img, uint64_t from, uint64_t to, uint32_t value)
{
    struct vdi *v = img->state;
    uint8_t e[16384];
    int r = 0;
    for (size_t i = 0; i < sizeof e; i += 4)
        gh_le32_put(e + i, value);
    for (uint64_t n; from < to && !r; from += n) {
        n = gh_min_u64(to - from, sizeof e / 4);
        r = gh_file_write(img->file, v->map_at + from * 4, e, n * 4);
        for (uint64_t i = from; i < from + n && !r; i++)
            v->map[i] = value;
    }
    return r;
}

static int write_counter(struct gh_image *img)
{
    struct vdi *v = img->state;
    gh_le32_put(v->header + 0x184, v->allocated);
    return gh_file_write(img->file, 0x184, v->header + 0x184, 4);
}

static int vdi_link(struct gh_image *img, uint64_t off, uint64_t file_off)
{
    struct vdi *v = img->state;
    int r = write_counter(img);
    return r < 0 ? r : write_entry(img, off / v->block, (uint32_t)((file_off - v->extra - v->data_at) / v->stride));
}

static int vdi_zero(struct gh_image *img, uint64_t off, uint64_t len, bool discard)
{
    struct vdi *v = img->state;
    int r = 0;
    for (uint64_t i = off / v->block; i * v->block < off + len && !r; i++) {
        uint32_t e = v->map[i];
        if (e < ZEROED) {
            r = discard ? gh_file_punch(img->file, place(v, e), v->block) : gh_file_zero(img->file, place(v, e), v->block);
            if (r == -EOPNOTSUPP)
                r = 0;
        } else if (e == UNALLOCATED && img->needs_parent) {
            r = write_entry(img, i, ZEROED);
        }
    }
    return r;
}

static int vdi_first_write(struct gh_image *img)
{
    struct vdi *v = img->state;
    if (img->keep_id)
        return 0;
    gh_uuid_random(v->header + 0x198);        /* children see that their parent changed */
    gh_uuid_text(img->info.change_id, v->header + 0x198, true);
    return gh_file_write(img->file, 0x198, v->header + 0x198, 16);
}

static int vdi_remember_parent(struct gh_image *img, const struct gh_parent_seen *seen, const struct gh_image_info *parent)
{
    struct vdi *v = img->state;
    if (!parent)
        memset(v->header + 0x1b8, 0, 16);
    else if (!gh_uuid_parse(v->header + 0x1b8, parent->change_id, true))
        return 0;
    snprintf(img->info.parent_change_id, sizeof img->info.parent_change_id, "%s", parent ? parent->change_id : "");
    return gh_file_write(img->file, 0x1b8, v->header + 0x1b8, 16);
}

/* The blocks take the first places, without a gap: VirtualBox takes no image with more places than blocks, and QEMU counts them. Each
 * block is where the map says all the time. blocks: entries of the map that count, the rest is empty. */
static int pull_in(struct gh_image *img, uint64_t blocks)
{
    struct vdi *v = img->state;
    uint8_t *used = gh_file_memory(blocks / 8 + 1, MAP_MAX_BYTES), *buf = malloc(MOVE_STEP);
    uint64_t end = 0, free_at = 0;
    int r = used && buf ? 0 : -ENOMEM;
    for (uint64_t i = 0; i < blocks; i++)
        end += v->map[i] < ZEROED;
    for (uint64_t i = 0; i < blocks && !r; i++)
        if (v->map[i] < end)
            used[v->map[i] / 8] |= (uint8_t)(1 << v->map[i] % 8);
    for (uint64_t i = 0; i < blocks && !r; i++) {
        if (v->map[i] >= ZEROED || v->map[i] < end)
            continue;
        while (free_at < end && used[free_at / 8] >> free_at % 8 & 1)
            free_at++;
        if (free_at == end)
            r = -EUCLEAN;                      /* several blocks at one place */
        for (uint64_t at = 0, n; at < v->stride && !r; at += n) {
            n = gh_min_u64(MOVE_STEP, v->stride - at);
            r = gh_file_read(img->file, v->data_at + v->map[i] * v->stride + at, buf, n);
            if (!r)
                r = gh_is_zero(buf, n) ? gh_file_zero(img->file, v->data_at + free_at * v->stride + at, n)
                                       : gh_file_write(img->file, v->data_at + free_at * v->stride + at, buf, n);
        }
        if (!r)
            r = gh_file_flush(img->file);
        if (!r)
            r = write_entry(img, i, (uint32_t)free_at++);
    }
    v->allocated = 0;
    for (uint64_t i = 0; i < v->blocks; i++)
        if (v->map[i] < ZEROED && v->map[i] >= v->allocated)
            v->allocated = v->map[i] + 1;
    free(used);
    free(buf);
    return r ? r : gh_file_flush(img->file);
}

static int vdi_resize(struct gh_image *img, uint64_t bytes, struct gh_error *err)
{
    struct vdi *v = img->state;
    uint64_t need = (bytes + v->block - 1) / v->block;
    int r = 0;
    if (v->type == TYPE_FIXED)
        return gh_error_set(err, -ENOTSUP, "DiskCannotResize", "“%s” is a fixed VDI. Convert it with the new size instead.", img->label);
    if (v->map_at + need * 4 > v->data_at || need * 4 > MAP_MAX_BYTES)
        return gh_error_set(err, -ENOTSUP, "DiskCannotResize", "The map of “%s” has no room for more than %llu GiB. Convert it with the new size instead.",
                            img->label, (unsigned long long)((v->data_at - v->map_at) / 4 * v->block >> 30));
    if (need < v->blocks) {
        uint64_t from = need * v->block;
        if (from < img->bytes)
            r = vdi_zero(img, from, img->bytes - from, true);
        if (!r)
            r = write_entries(img, need, v->blocks, img->needs_parent ? ZEROED : UNALLOCATED);
        if (!r)
            r = gh_file_flush(img->file);
        if (!r)
            r = pull_in(img, need);
    } else if (need > v->blocks) {
        uint32_t *map = realloc(v->map, need * 4);
        if (!map)
            return -ENOMEM;
        v->map = map;
        r = write_entries(img, v->blocks, need, UNALLOCATED);
        if (!r)
            r = gh_file_flush(img->file);
    }
    if (!r && bytes < img->bytes && bytes % v->block && v->map[need - 1] < ZEROED)
        r = gh_file_zero(img->file, place(v, v->map[need - 1]) + bytes % v->block, v->block - bytes % v->block);
    if (r < 0)
        return r;
    v->blocks = (uint32_t)need;
    gh_le64_put(v->header + 0x170, bytes);
    gh_le32_put(v->header + 0x180, v->blocks);
    gh_le32_put(v->header + 0x184, v->allocated);
    r = gh_file_write(img->file, 0, v->header, HEADER_BYTES);
    if (!r)
        r = gh_file_flush(img->file);
    return !r && place(v, v->allocated) - v->extra < gh_file_bytes(img->file) && bytes < img->bytes
         ? gh_file_truncate(img->file, place(v, v->allocated) - v->extra) : r;
}

static int vdi_check(struct gh_image *img, bool repair, struct gh_check_report *rep, struct gh_error *err)
{
    struct vdi *v = img->state;
    uint64_t limit = gh_file_bytes(img->file) / v->stride + v->blocks, beyond = 0;
    uint8_t *seen = gh_file_memory(limit / 8 + 1, MAP_MAX_BYTES);
    if (!seen)
        return -ENOMEM;
    for (uint32_t i = 0; i < v->blocks; i++) {
        uint32_t e = v->map[i];
        rep->checked++;
        if (e >= ZEROED)
            continue;
        rep->allocated++;
        if (e >= limit) {
            rep->errors++;
            gh_check_note(rep, "block %u claims place %u outside the file", i, e);
        } else if (seen[e / 8] >> (e % 8) & 1) {
            rep->errors++;
            gh_check_note(rep, "place %u is used by two blocks", e);
        } else {
            seen[e / 8] |= (uint8_t)(1 << e % 8);
            if (e >= v->blocks) {
                beyond++;
                gh_check_note(rep, "block %u lies at place %u, and there are only %u", i, e, v->blocks);
            }
        }
    }
    free(seen);
    int r = 0;
    if (beyond && repair && !rep->errors) {
        r = pull_in(img, v->blocks);
        rep->errors_fixed += r ? 0 : beyond;
    }
    rep->errors += beyond;
    if (gh_le32_get(v->header + 0x184) != v->allocated) {
        rep->leaks++;
        gh_check_note(rep, "the header counts %u blocks, the map %u", gh_le32_get(v->header + 0x184), v->allocated);
        if (repair) {
            r = write_counter(img);
            rep->leaks_fixed += !r;
        }
    }
    return r;
}

static int vdi_create(struct gh_file *file, const struct gh_image_create *how, struct gh_error *err)
{
    uint8_t h[HEADER_BYTES] = "<<< Oracle VM VirtualBox Disk Image >>>\n";
    bool fixed = how->variant && !strcmp(how->variant, "fixed");
    uint64_t blocks = (how->bytes + BLOCK - 1) / BLOCK, data = MAP_AT + gh_round_up(blocks * 4, 1 << 20);
    struct gh_image_info parent = { 0 };
    if (blocks * 4 > MAP_MAX_BYTES || data > UINT32_MAX || (fixed && how->parent_name))
        return gh_error_set(err, -EINVAL, "DiskSizeInvalid", "A VDI image cannot be made like that.");
    gh_le32_put(h + 64, SIGNATURE);
    gh_le32_put(h + 68, 0x00010001);
    gh_le32_put(h + 72, 0x190);
    gh_le32_put(h + 76, how->parent_name ? TYPE_DIFF : fixed ? TYPE_FIXED : TYPE_DYNAMIC);
    gh_le32_put(h + 0x154, MAP_AT);
    gh_le32_put(h + 0x158, (uint32_t)data);
    gh_le32_put(h + 0x168, 512);
    gh_le64_put(h + 0x170, how->bytes);
    gh_le32_put(h + 0x178, BLOCK);
    gh_le32_put(h + 0x180, (uint32_t)blocks);
    gh_le32_put(h + 0x184, fixed ? (uint32_t)blocks : 0);
    struct gh_image_info same = { 0 };
    if (how->like)
        gh_image_info(how->like, &same);
    if (strcmp(how->like ? same.format : "", "vdi") || !gh_uuid_parse(h + 0x188, same.uuid, true) || !gh_uuid_parse(h + 0x198, same.change_id, true)) {
        gh_uuid_random(h + 0x188);
        gh_uuid_random(h + 0x198);
    }
    if (how->parent) {
        gh_image_info(how->parent, &parent);
        if (!gh_uuid_parse(h + 0x1a8, parent.uuid, true) || !gh_uuid_parse(h + 0x1b8, parent.change_id, true))
            return gh_error_set(err, -EINVAL, "DiskNoParents", "A VDI image can only build on another VDI image.");
    } else if (how->parent_name) {
        return gh_error_set(err, -EINVAL, "DiskNoParents", "The parent of a VDI image must be there when it is made.");
    }
    int r = gh_file_truncate(file, data);
    uint8_t map[4096];
    for (uint64_t i = 0; i < blocks && !r; i += sizeof map / 4) {
        uint64_t n = gh_min_u64(sizeof map / 4, blocks - i);
        for (uint64_t k = 0; k < n; k++)
            gh_le32_put(map + k * 4, fixed ? (uint32_t)(i + k) : UNALLOCATED);
        r = gh_file_write(file, MAP_AT + i * 4, map, n * 4);
    }
    if (!r && fixed) {
        r = gh_file_allocate(file, data, blocks * BLOCK);
        if (r == -EOPNOTSUPP)
            r = gh_file_truncate(file, data + blocks * BLOCK);
    }
    if (!r)
        r = gh_file_flush(file);
    return r < 0 ? r : gh_file_write(file, 0, h, sizeof h);
}

static const char *const variants[] = { "dynamic", "fixed", NULL };
const struct gh_image_driver gh_image_vdi = {
    .format = { "vdi", "VirtualBox disk", variants, true, true, true, "vdi" },
    .probe = vdi_probe, .open = vdi_open, .close = vdi_close, .map = vdi_map, .reserve = vdi_reserve, .link = vdi_link,
    .unreserve = vdi_unreserve, .zero = vdi_zero, .first_write = vdi_first_write, .remember_parent = vdi_remember_parent, .resize = vdi_resize, .check = vdi_check,
    .create = vdi_create,
};
