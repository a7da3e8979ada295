/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "disk/vhdx.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { NOT_PRESENT = 0, UNDEFINED = 1, ZEROS = 2, UNMAPPED = 3, FULLY = 6, PARTIALLY = 7 };
enum { MAX_REGIONS = 2047, MAX_ITEMS = 2047 };
#define ENTRY_OFFSET 0xfffffffffff00000ull

enum { LINKAGE_CHARS = 38 };                  /* "{...}" */
#define GUID(...) { __VA_ARGS__ }
const uint8_t vhdx_guid_bat[16] = GUID(0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42, 0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08);
const uint8_t vhdx_guid_metadata[16] = GUID(0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b, 0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e);
const uint8_t vhdx_guid_parameters[16] = GUID(0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d, 0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b);
const uint8_t vhdx_guid_size[16] = GUID(0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48, 0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8);
const uint8_t vhdx_guid_page83[16] = GUID(0xab, 0x12, 0xca, 0xbe, 0xe6, 0xb2, 0x23, 0x45, 0x93, 0xef, 0xc3, 0x09, 0xe0, 0x00, 0xc7, 0x46);
const uint8_t vhdx_guid_logical[16] = GUID(0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47, 0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f);
const uint8_t vhdx_guid_physical[16] = GUID(0xc7, 0x48, 0xa3, 0xcd, 0x5d, 0x44, 0x71, 0x44, 0x9c, 0xc9, 0xe9, 0x88, 0x52, 0x51, 0xc5, 0x56);
const uint8_t vhdx_guid_locator[16] = GUID(0x2d, 0x5f, 0xd3, 0xa8, 0x0b, 0xb3, 0x4d, 0x45, 0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab, 0x0c);

static int vhdx_probe(const uint8_t *head, size_t len, const uint8_t *tail, uint64_t file_bytes)
{ return len >= 8 && !memcmp(head, "vhdxfile", 8) ? 100 : 0; }

int vhdx_write_header(struct gh_image *img)
{
    struct vhdx *v = img->state;
    gh_le64_put(v->header + 8, gh_le64_get(v->header + 8) + 1);
    gh_le32_put(v->header + 4, vhdx_crc32c(v->header, VHDX_PAGE, 4));
    v->current ^= 1;
    int r = gh_file_write(img->file, (1 + v->current) * (uint64_t)VHDX_KIB64, v->header, VHDX_PAGE);
    return r < 0 ? r : gh_file_flush(img->file);
}

static int read_headers(struct gh_image *img, struct gh_error *err)
{
    struct vhdx *v = img->state;
    uint8_t h[VHDX_PAGE];
    bool found = false;
    for (unsigned i = 0; i < 2; i++) {
        int r = gh_file_read(img->file, (1 + i) * (uint64_t)VHDX_KIB64, h, sizeof h);
        if (r < 0)
            return r;
        if (memcmp(h, "head", 4) || gh_le32_get(h + 4) != vhdx_crc32c(h, sizeof h, 4) || gh_le16_get(h + 66) != 1)
            continue;
        if (found && gh_le64_get(h + 8) <= gh_le64_get(v->header + 8))
            continue;
        memcpy(v->header, h, sizeof h);
        v->current = i;
        found = true;
    }
    return found ? 0 : gh_image_bad(img, err, "neither of its headers is whole");
}

static int read_regions(struct gh_image *img, struct gh_error *err)
{
    struct vhdx *v = img->state;
    uint8_t *t = malloc(VHDX_KIB64);
    int r = t ? -EUCLEAN : -ENOMEM;
    for (unsigned i = 0; i < 2 && r == -EUCLEAN; i++) {
        r = vhdx_read(img, (3 + i) * (uint64_t)VHDX_KIB64, t, VHDX_KIB64);
        if (!r && (memcmp(t, "regi", 4) || gh_le32_get(t + 4) != vhdx_crc32c(t, VHDX_KIB64, 4) || gh_le32_get(t + 8) > MAX_REGIONS))
            r = -EUCLEAN;
    }
    for (uint32_t i = 0; !r && i < gh_le32_get(t + 8); i++) {
        const uint8_t *e = t + 16 + i * 32;
        uint64_t at = gh_le64_get(e + 16), bytes = gh_le32_get(e + 24);
        if (!memcmp(e, vhdx_guid_bat, 16)) {
            v->bat_at = at;
            v->bat_entries = bytes / 8;
        } else if (!memcmp(e, vhdx_guid_metadata, 16)) {
            v->meta_at = at;
            v->meta_bytes = bytes;
        } else if (gh_le32_get(e + 28) & 1) {
            r = gh_image_unsupported(img, err, "it needs a region that is not known here");
        }
        if (!r && (at % VHDX_MIB || at < VHDX_MIB))
            r = -EUCLEAN;
    }
    free(t);
    if (!r && (!v->bat_at || !v->meta_at || v->meta_bytes < 2 * VHDX_KIB64))
        r = -EUCLEAN;
    return r == -EUCLEAN ? gh_image_bad(img, err, "its region tables are not whole") : r;
}

/* The parent's path: key and value pairs in UTF-16; only ASCII names are turned into a path. */
static int read_locator(struct gh_image *img, uint64_t at, uint32_t bytes)
{
    uint8_t *l = gh_file_memory(bytes, VHDX_MIB);
    int r = l ? vhdx_read(img, at, l, bytes) : -ENOMEM;
    unsigned count = !r && bytes >= 20 ? gh_le16_get(l + 18) : 0;
    for (unsigned i = 0; i < count && 20 + (i + 1) * 12 <= bytes; i++) {
        const uint8_t *e = l + 20 + i * 12;
        uint32_t key = gh_le32_get(e), value = gh_le32_get(e + 4), key_len = gh_le16_get(e + 8), value_len = gh_le16_get(e + 10);
        char name[32], text[1024];
        if (!gh_range_in(key, key_len, bytes) || !gh_range_in(value, value_len, bytes) || key_len / 2 >= sizeof name ||
            value_len / 2 >= sizeof text)
            continue;
        for (unsigned k = 0; k < key_len / 2; k++)
            name[k] = (char)l[key + k * 2];
        name[key_len / 2] = 0;
        for (unsigned k = 0; k < value_len / 2; k++)
            text[k] = l[value + k * 2 + 1] ? '?' : l[value + k * 2] == '\\' ? '/' : (char)l[value + k * 2];
        text[value_len / 2] = 0;
        if (!strcmp(name, "relative_path"))
            snprintf(img->info.parent_name, sizeof img->info.parent_name, "%s", text);
        else if (!strcmp(name, "parent_linkage") && text[0] == '{')
            snprintf(img->info.parent_uuid, sizeof img->info.parent_uuid, "%.36s", text + 1);
        if (!strcmp(name, "parent_linkage") && value_len == 2 * LINKAGE_CHARS)
            ((struct vhdx *)img->state)->linkage_at = at + value;
    }
    if (strspn(img->info.parent_uuid, "0-") == strlen(img->info.parent_uuid))
        img->info.parent_uuid[0] = 0;
    for (char *p = img->info.parent_uuid; *p; p++)
        *p = *p >= 'A' && *p <= 'F' ? (char)(*p | 0x20) : *p;
    free(l);
    return r;
}

static int read_metadata(struct gh_image *img, struct gh_error *err)
{
    struct vhdx *v = img->state;
    uint8_t *t = malloc(VHDX_KIB64), item[16];
    int r = t ? vhdx_read(img, v->meta_at, t, VHDX_KIB64) : -ENOMEM;
    unsigned count = r ? 0 : gh_le16_get(t + 10);
    if (!r && (memcmp(t, "metadata", 8) || count > MAX_ITEMS))
        r = gh_image_bad(img, err, "its metadata table is wrong");
    for (unsigned i = 0; i < count && !r; i++) {
        const uint8_t *e = t + 32 + i * 32;
        uint64_t at = v->meta_at + gh_le32_get(e + 16);
        uint32_t bytes = gh_le32_get(e + 20), flags = gh_le32_get(e + 24);
        if (!gh_range_in(gh_le32_get(e + 16), bytes, v->meta_bytes)) {
            r = gh_image_bad(img, err, "a metadata item lies outside its region");
            break;
        }
        memset(item, 0, sizeof item);
        r = vhdx_read(img, at, item, bytes < sizeof item ? bytes : sizeof item);
        if (!memcmp(e, vhdx_guid_parameters, 16)) {
            v->block = gh_le32_get(item);
            v->fixed = item[4] & 1;
            v->parent = item[4] & 2;
        } else if (!memcmp(e, vhdx_guid_size, 16)) {
            img->bytes = gh_le64_get(item);
            v->size_at = at;
        } else if (!memcmp(e, vhdx_guid_logical, 16)) {
            v->sector = gh_le32_get(item);
        } else if (!memcmp(e, vhdx_guid_locator, 16)) {
            r = read_locator(img, at, bytes);
        } else if (memcmp(e, vhdx_guid_page83, 16) && memcmp(e, vhdx_guid_physical, 16) && flags & 4) {
            r = gh_image_unsupported(img, err, "it needs metadata that are not known here");
        }
    }
    free(t);
    if (!r && (!gh_is_pow2(v->block) || v->block < VHDX_MIB || v->block > 256u << 20 || (v->sector != 512 && v->sector != 4096) ||
               img->bytes % v->sector || !img->bytes || img->bytes > GH_IMAGE_MAX_BYTES))
        r = gh_image_bad(img, err, "its sizes (disk %llu, block %llu, sector %u) cannot be", (unsigned long long)img->bytes,
                         (unsigned long long)v->block, v->sector);
    return r;
}

static uint64_t slot(const struct vhdx *v, uint64_t block) { return block + block / v->ratio; }

static int vhdx_open(struct gh_image *img, struct gh_error *err)
{
    struct vhdx *v = calloc(1, sizeof *v);
    uint8_t id[8];
    if (!v)
        return -ENOMEM;
    img->state = v;
    int r = gh_file_read(img->file, 0, id, sizeof id);
    if (!r && memcmp(id, "vhdxfile", 8))
        return gh_image_bad(img, err, "it is not a VHDX image");
    if (!r)
        r = read_headers(img, err);
    if (!r)
        r = vhdx_log_replay(img, err);
    if (!r)
        r = read_regions(img, err);
    if (!r)
        r = read_metadata(img, err);
    if (r < 0)
        return r;
    v->ratio = ((uint64_t)1 << 23) * v->sector / v->block;
    v->blocks = (img->bytes + v->block - 1) / v->block;
    uint64_t need = slot(v, v->blocks - 1) + 1;
    if (v->parent)
        need = (v->blocks + v->ratio - 1) / v->ratio * (v->ratio + 1);
    if (v->bat_entries < need)
        return gh_image_bad(img, err, "its block table is too short");
    v->bat_entries = need;
    v->bat = gh_file_memory(need * 8, VHDX_BAT_MAX_BYTES);
    if (!v->bat)
        return gh_error_set(err, -ENOMEM, "OutOfMemory", "There is not enough memory for the table of “%s”.", img->label);
    r = vhdx_read(img, v->bat_at, v->bat, need * 8);
    uint64_t size = gh_file_bytes(img->file), limit = size + img->bytes + v->block;
    v->end = gh_round_up(size, VHDX_MIB);
    for (uint64_t i = 0; i < need && !r; i++) {
        v->bat[i] = le64toh(v->bat[i]);
        uint64_t at = v->bat[i] & ENTRY_OFFSET, state = v->bat[i] & 7;
        if (state != FULLY && state != PARTIALLY)
            continue;
        if ((at < VHDX_MIB || at > limit) && !img->repair)
            return gh_image_bad(img, err, "entry %llu of its table leads to %#llx", (unsigned long long)i, (unsigned long long)at);
        if (at <= limit && at + v->block > v->end)
            v->end = at + v->block;
    }
    img->cluster_bytes = v->block;
    img->needs_parent = v->parent;
    snprintf(img->info.variant, sizeof img->info.variant, v->parent ? "differencing" : v->fixed ? "fixed" : "dynamic");
    gh_uuid_text(img->info.uuid, v->header + 32, true);
    /* This id is new with each first write: it says that the data changed, not only which disk it is. */
    snprintf(img->info.change_id, sizeof img->info.change_id, "%s", img->info.uuid);
    if (v->parent) {
        snprintf(img->info.parent_format, sizeof img->info.parent_format, "vhdx");
        snprintf(img->info.parent_change_id, sizeof img->info.parent_change_id, "%s", img->info.parent_uuid);
    }
    /* Blocks that are only partly here, as Hyper-V makes them, are read but not written: ours are always whole. */
    for (uint64_t i = 0; v->parent && img->writable && i < v->blocks && !r; i++)
        if ((v->bat[slot(v, i)] & 7) == PARTIALLY)
            r = gh_error_set(err, -EROFS, "DiskFormatReadOnly", "“%s” is a differencing VHDX with blocks that are only partly there, which can only be read. "
                             "Convert it to use it as a disk.", img->label);
    if (!r)
        r = gh_image_check_parent(img, err);
    return r < 0 ? r : gh_image_mend_end(img);
}

static void vhdx_close(struct gh_image *img)
{
    struct vhdx *v = img->state;
    if (v) {
        free(v->bat);
        free(v->page);
        free(v->page_index);
    }
    free(v);
    img->state = NULL;
}

/* Which sectors of a partly present block are here: the chunk's bitmap, one bit a sector, low bit first. */
static int map_partial(struct gh_image *img, uint64_t block, uint64_t within, uint64_t len, struct gh_extent *ret)
{
    struct vhdx *v = img->state;
    uint64_t e = v->bat[(block / v->ratio) * (v->ratio + 1) + v->ratio];
    uint64_t first = block % v->ratio * (v->block / v->sector) + within / v->sector, n = 0;
    uint8_t bits[512];
    if ((e & 7) != FULLY)
        return -EUCLEAN;
    uint64_t base = first / 8 / sizeof bits * sizeof bits, last = (block % v->ratio + 1) * (v->block / v->sector);
    int r = vhdx_read(img, (e & ENTRY_OFFSET) + base, bits, sizeof bits);
    if (r < 0)
        return r;
    last = gh_min_u64(last, (base + sizeof bits) * 8);
    bool here = bits[first / 8 - base] >> (first % 8) & 1;
    while (first + n < last && (bits[(first + n) / 8 - base] >> ((first + n) % 8) & 1) == here)
        n++;
    ret->kind = here ? GH_EXTENT_DATA : GH_EXTENT_NONE;
    ret->bytes = gh_min_u64(n * v->sector - within % v->sector, len);
    return 0;
}

static int vhdx_map(struct gh_image *img, uint64_t off, uint64_t len, struct gh_extent *ret)
{
    struct vhdx *v = img->state;
    uint64_t block = off / v->block, within = off % v->block, e = v->bat[slot(v, block)];
    *ret = (struct gh_extent){ GH_EXTENT_NONE, gh_min_u64(len, v->block - within), img->file, (e & ENTRY_OFFSET) + within, true };
    switch (e & 7) {
    case NOT_PRESENT: return 0;
    case UNDEFINED: case ZEROS: case UNMAPPED: ret->kind = GH_EXTENT_ZERO; return 0;
    case FULLY: ret->kind = GH_EXTENT_DATA; return 0;
    case PARTIALLY:
        if (v->parent)
            return map_partial(img, block, within, ret->bytes, ret);
        /* fall through */
    default: return -EUCLEAN;
    }
}

static int vhdx_reserve(struct gh_image *img, uint64_t off, struct gh_file **file, uint64_t *file_off, bool *fresh)
{
    struct vhdx *v = img->state;
    *file = img->file;
    *file_off = v->end;
    *fresh = v->end >= gh_file_bytes(img->file);
    v->end += v->block;
    /* The file ends with whole blocks, as other readers expect. */
    return gh_file_bytes(img->file) < v->end ? gh_file_truncate(img->file, v->end) : 0;
}

static void vhdx_unreserve(struct gh_image *img, uint64_t off, uint64_t file_off)
{
    struct vhdx *v = img->state;
    if (v->end == file_off + v->block)
        v->end = file_off;
}

static int vhdx_link(struct gh_image *img, uint64_t off, uint64_t file_off)
{
    struct vhdx *v = img->state;
    uint64_t i = slot(v, off / v->block), value = file_off | FULLY;
    uint8_t e[8];
    gh_le64_put(e, value);
    int r = gh_file_write(img->file, v->bat_at + i * 8, e, 8);
    if (!r)
        v->bat[i] = value;
    return r;
}

static int vhdx_zero(struct gh_image *img, uint64_t off, uint64_t len, bool discard)
{
    struct vhdx *v = img->state;
    int r = 0;
    for (uint64_t b = off / v->block; b * v->block < off + len && !r; b++) {
        uint64_t e = v->bat[slot(v, b)];
        if ((e & 7) == NOT_PRESENT && v->parent) { /* zeros that hide the parent */
            uint8_t entry[8];
            gh_le64_put(entry, ZEROS);
            r = gh_file_write(img->file, v->bat_at + slot(v, b) * 8, entry, 8);
            if (!r)
                v->bat[slot(v, b)] = ZEROS;
        }
        if ((e & 7) != FULLY)
            continue;
        r = discard ? gh_file_punch(img->file, e & ENTRY_OFFSET, v->block) : gh_file_zero(img->file, e & ENTRY_OFFSET, v->block);
        if (r == -EOPNOTSUPP)
            r = 0;
    }
    return r;
}

static unsigned put_wide(uint8_t *to, const char *text)
{
    unsigned n = 0;
    for (; text[n]; n++)
        gh_le16_put(to + n * 2, text[n] == '/' ? '\\' : (uint8_t)text[n]);
    return n * 2;
}

static int vhdx_first_write(struct gh_image *img)
{
    struct vhdx *v = img->state;
    uint64_t size = gh_file_bytes(img->file);
    int r = v->end > size ? gh_file_truncate(img->file, v->end) : 0;
    gh_uuid_random(v->header + 16);           /* others see that the file and its data changed */
    if (!img->keep_id)
        gh_uuid_random(v->header + 32);
    gh_uuid_text(img->info.uuid, v->header + 32, true);
    snprintf(img->info.change_id, sizeof img->info.change_id, "%s", img->info.uuid);
    for (unsigned i = 0; i < 2 && !r; i++)
        r = vhdx_write_header(img);
    return r;
}

static int vhdx_remember_parent(struct gh_image *img, const struct gh_parent_seen *seen, const struct gh_image_info *parent)
{
    struct vhdx *v = img->state;
    uint8_t wide[2 * 36] = { 0 };
    static const char unknown[] = "00000000-0000-0000-0000-000000000000";
    if (parent && strlen(parent->uuid) != 36)
        return 0;
    if (!v->linkage_at)
        return parent ? -ENOTSUP : 0;
    put_wide(wide, parent ? parent->uuid : unknown);
    int r = gh_file_write(img->file, v->linkage_at + 2, wide, sizeof wide);
    if (!r) {
        snprintf(img->info.parent_uuid, sizeof img->info.parent_uuid, "%s", parent ? parent->uuid : "");
        snprintf(img->info.parent_change_id, sizeof img->info.parent_change_id, "%s", parent ? parent->uuid : "");
    }
    return r;
}

static int vhdx_resize(struct gh_image *img, uint64_t bytes, struct gh_error *err)
{
    struct vhdx *v = img->state;
    uint64_t blocks = (bytes + v->block - 1) / v->block;
    uint8_t n[8];
    int r = 0;
    if (bytes % v->sector || slot(v, blocks - 1) + 1 > v->bat_entries)
        return gh_error_set(err, -ENOTSUP, "DiskCannotResize", "The table of “%s” has no room for that size. Convert it with the new size instead.",
                            img->label);
    if (bytes < img->bytes && blocks * v->block < img->bytes)
        r = vhdx_zero(img, blocks * v->block, img->bytes - blocks * v->block, true);
    gh_le64_put(n, bytes);
    if (!r)
        r = gh_file_write(img->file, v->size_at, n, 8);
    if (!r)
        v->blocks = blocks;
    return r;
}

static int vhdx_check(struct gh_image *img, bool repair, struct gh_check_report *rep, struct gh_error *err)
{
    struct vhdx *v = img->state;
    uint64_t size = gh_file_bytes(img->file), places = (v->end > size ? v->end : size) / VHDX_MIB + 1;
    uint8_t *seen = gh_file_memory(places / 8 + 1, 64u << 20);
    if (!seen)
        return -ENOMEM;
    for (uint64_t b = 0; b < v->blocks; b++) {
        uint64_t e = v->bat[slot(v, b)], at = (e & ENTRY_OFFSET) / VHDX_MIB;
        rep->checked++;
        if ((e & 7) != FULLY && (e & 7) != PARTIALLY)
            continue;
        rep->allocated++;
        if (at >= places || (seen[at / 8] >> (at % 8) & 1)) {
            rep->errors++;
            gh_check_note(rep, "block %llu lies at %#llx, outside the file or on another one", (unsigned long long)b,
                          (unsigned long long)(e & ENTRY_OFFSET));
            continue;
        }
        seen[at / 8] |= (uint8_t)(1 << at % 8);
    }
    free(seen);
    return 0;
}

enum { LOCATOR_AT = 4096, LOCATOR_BYTES = 4096 };

/* The parent locator: who the child builds on, and where it is from here. */
static int make_locator(const struct gh_image_create *how, uint8_t l[LOCATOR_BYTES])
{
    /* B04AEFB7-D19E-4A81-B789-25B8E9445913: the only type of locators there is. */
    static const uint8_t type[16] = { 0xb7, 0xef, 0x4a, 0xb0, 0x9e, 0xd1, 0x81, 0x4a, 0xb7, 0x89, 0x25, 0xb8, 0xe9, 0x44, 0x59, 0x13 };
    struct gh_image_info parent = { 0 };
    char value[2][300];
    static const char *const keys[] = { "parent_linkage", "relative_path" };
    uint32_t at = 20 + 2 * 12;

    if (how->parent)
        gh_image_info(how->parent, &parent);
    if (!how->parent || strcmp(parent.format, "vhdx") || strlen(how->parent_name) > 250)
        return -EINVAL;
    for (const char *p = how->parent_name; *p; p++)
        if ((unsigned char)*p >= 0x80)
            return -EILSEQ;
    snprintf(value[0], sizeof value[0], "{%s}", parent.uuid);
    snprintf(value[1], sizeof value[1], "%s%s", how->parent_name[0] == '/' || how->parent_name[0] == '.' ? "" : "./", how->parent_name);
    memset(l, 0, LOCATOR_BYTES);
    memcpy(l, type, sizeof type);
    gh_le16_put(l + 18, 2);
    for (unsigned i = 0; i < 2; i++) {
        uint8_t *e = l + 20 + i * 12;
        gh_le32_put(e, at);
        gh_le16_put(e + 8, (uint16_t)put_wide(l + at, keys[i]));
        at += gh_le16_get(e + 8);
        gh_le32_put(e + 4, at);
        gh_le16_put(e + 10, (uint16_t)put_wide(l + at, value[i]));
        at += gh_le16_get(e + 10);
    }
    return 0;
}

int vhdx_create(struct gh_file *file, const struct gh_image_create *how, struct gh_error *err)
{
    bool child = how->parent_name != NULL;
    uint64_t block = how->cluster_bytes ? how->cluster_bytes : 8u << 20;
    if (!gh_is_pow2(block) || block < VHDX_MIB || block > 256u << 20)
        return gh_error_set(err, -EINVAL, "DiskClusterInvalid", "%llu is not a block size for VHDX: use a power of two from 1 to 256 MiB.",
                            (unsigned long long)block);
    uint64_t ratio = ((uint64_t)1 << 32) / block, blocks = (how->bytes + block - 1) / block;
    /* With a parent, each chunk has its bitmap's entry, the last one too. */
    uint64_t entries = child ? (blocks + ratio - 1) / ratio * (ratio + 1) : blocks + (blocks - 1) / ratio;
    uint64_t bat_bytes = gh_round_up(entries * 8, VHDX_MIB);
    uint8_t *p = gh_file_memory(VHDX_KIB64, VHDX_KIB64), h[VHDX_PAGE] = "head";
    static const char creator[] = "Gasthaus";
    if (!p)
        return -ENOMEM;
    if (bat_bytes > VHDX_BAT_MAX_BYTES || how->bytes > GH_IMAGE_MAX_BYTES) {
        free(p);
        return gh_error_set(err, -EFBIG, "DiskSizeInvalid", "Blocks of that size are too small for this disk.");
    }
    int r = gh_file_truncate(file, 3 * VHDX_MIB + bat_bytes);
    /* Region tables, both the same. */
    memcpy(p, "regi", 4);
    gh_le32_put(p + 8, 2);
    memcpy(p + 16, vhdx_guid_bat, 16);
    gh_le64_put(p + 32, 3 * VHDX_MIB);
    gh_le32_put(p + 40, (uint32_t)bat_bytes);
    gh_le32_put(p + 44, 1);
    memcpy(p + 48, vhdx_guid_metadata, 16);
    gh_le64_put(p + 64, 2 * VHDX_MIB);
    gh_le32_put(p + 72, VHDX_MIB);
    gh_le32_put(p + 76, 1);
    gh_le32_put(p + 4, vhdx_crc32c(p, VHDX_KIB64, 4));
    for (unsigned i = 3; i < 5 && !r; i++)
        r = gh_file_write(file, i * (uint64_t)VHDX_KIB64, p, VHDX_KIB64);
    /* Metadata: the table, then the items 64 KiB behind it. */
    static const struct { const uint8_t *guid; uint32_t at, bytes, flags; } items[] = {
        { vhdx_guid_parameters, 0, 8, 4 }, { vhdx_guid_size, 8, 8, 6 }, { vhdx_guid_page83, 16, 16, 6 },
        { vhdx_guid_logical, 32, 4, 6 }, { vhdx_guid_physical, 36, 4, 6 }, { vhdx_guid_locator, LOCATOR_AT, LOCATOR_BYTES, 4 },
    };
    unsigned item_count = GH_ARRAY_LEN(items) - !child;
    memset(p, 0, VHDX_KIB64);
    memcpy(p, "metadata", 8);
    gh_le16_put(p + 10, (uint16_t)item_count);
    for (unsigned i = 0; i < item_count; i++) {
        memcpy(p + 32 + i * 32, items[i].guid, 16);
        gh_le32_put(p + 48 + i * 32, VHDX_KIB64 + items[i].at);
        gh_le32_put(p + 52 + i * 32, items[i].bytes);
        gh_le32_put(p + 56 + i * 32, items[i].flags);
    }
    if (!r)
        r = gh_file_write(file, 2 * VHDX_MIB, p, VHDX_KIB64);
    memset(p, 0, VHDX_KIB64);
    gh_le32_put(p, (uint32_t)block);
    p[4] = child ? 2 : 0;
    gh_le64_put(p + 8, how->bytes);
    gh_uuid_random(p + 16);
    gh_le32_put(p + 32, 512);
    gh_le32_put(p + 36, 4096);
    if (!r)
        r = gh_file_write(file, 2 * VHDX_MIB + VHDX_KIB64, p, 40);
    if (!r && child) {
        r = make_locator(how, p);
        if (r < 0)
            gh_error_set(err, r, "DiskNoParents", "A VHDX disk builds on a VHDX disk with a short plain name; “%s” is none.", how->parent_name);
        else
            r = gh_file_write(file, 2 * VHDX_MIB + VHDX_KIB64 + LOCATOR_AT, p, LOCATOR_BYTES);
    }
    /* Headers, the second one newer; then the identifier, which makes it an image. */
    gh_uuid_random(h + 16);
    struct gh_image_info same = { 0 };
    if (how->like)
        gh_image_info(how->like, &same);
    if (strcmp(how->like ? same.format : "", "vhdx") || !gh_uuid_parse(h + 32, same.uuid, true))
        gh_uuid_random(h + 32);
    gh_le16_put(h + 66, 1);
    gh_le32_put(h + 68, VHDX_MIB);
    gh_le64_put(h + 72, VHDX_MIB);
    for (unsigned i = 0; i < 2 && !r; i++) {
        gh_le64_put(h + 8, i + 1);
        gh_le32_put(h + 4, vhdx_crc32c(h, sizeof h, 4));
        r = gh_file_write(file, (1 + i) * (uint64_t)VHDX_KIB64, h, sizeof h);
    }
    if (!r)
        r = gh_file_flush(file);
    memset(p, 0, VHDX_KIB64);
    memcpy(p, "vhdxfile", 8);
    for (unsigned i = 0; i < sizeof creator; i++)
        p[8 + i * 2] = (uint8_t)creator[i];
    if (!r)
        r = gh_file_write(file, 0, p, VHDX_KIB64);
    free(p);
    return r;
}

static const char *const variants[] = { "dynamic", NULL };
const struct gh_image_driver gh_image_vhdx = {
    .format = { "vhdx", "Hyper-V disk", variants, true, true, true, "vhdx" },
    .probe = vhdx_probe, .open = vhdx_open, .close = vhdx_close, .map = vhdx_map, .reserve = vhdx_reserve, .link = vhdx_link,
    .unreserve = vhdx_unreserve, .zero = vhdx_zero, .first_write = vhdx_first_write, .resize = vhdx_resize, .remember_parent = vhdx_remember_parent,
    .check = vhdx_check, .create = vhdx_create,
};
