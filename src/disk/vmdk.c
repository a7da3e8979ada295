/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "disk/vmdk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define DIRECTORY_MAX_BYTES (64ull << 20)

static int vmdk_probe(const uint8_t *head, size_t len, const uint8_t *tail, uint64_t file_bytes)
{
    static const char text[] = "# Disk DescriptorFile";
    if (len >= 4 && gh_le32_get(head) == VMDK_MAGIC)
        return 100;
    for (size_t i = 0; i + sizeof text <= len && i < 64; i++)
        if (!memcmp(head + i, text, sizeof text - 1))
            return 90;
    return 0;
}

static int vmdk_references(struct gh_file *file, void (*name)(void *opaque, const char *name), void *opaque, struct gh_error *err)
{
    struct vmdk_text t;
    uint8_t magic[4];
    char *text;
    size_t len;
    uint64_t at;
    int r = gh_file_read(file, 0, magic, 4);
    if (r < 0 || gh_le32_get(magic) == VMDK_MAGIC)
        return r;                              /* everything is in this one file */
    r = vmdk_text_load(file, &text, &len, &at);
    if (!r) {
        r = vmdk_text_parse(text, len, &t);
        free(text);
    }
    if (r < 0)
        return gh_error_set(err, r, "DiskDamaged", "“%s” is damaged: its description makes no sense.", file->label);
    for (unsigned i = 0; i < t.lines; i++) {
        bool again = t.line[i].kind == VMDK_ZERO;
        for (unsigned k = 0; k < i; k++)
            again |= !strcmp(t.line[k].name, t.line[i].name);
        if (!again)
            name(opaque, t.line[i].name);
    }
    vmdk_text_free(&t);
    return 0;
}

static int load_directory(struct gh_image *img, struct vmdk_extent *e, uint64_t at, uint32_t **ret)
{
    uint32_t *d = gh_file_memory(e->tables * 4, DIRECTORY_MAX_BYTES);
    if (!d)
        return -ENOMEM;
    int r = gh_file_read(e->file, at * 512, d, e->tables * 4);
    for (uint64_t i = 0; i < e->tables; i++)
        d[i] = le32toh(d[i]);
    *ret = d;
    return r;
}

static int open_sparse(struct gh_image *img, struct vmdk_extent *e, struct gh_error *err)
{
    uint8_t h[VMDK_HEADER];
    uint64_t size = gh_file_bytes(e->file);
    int r = gh_file_read(e->file, 0, h, sizeof h);
    if (!r && gh_le32_get(h) == VMDK_MAGIC && gh_le64_get(h + 56) == UINT64_MAX) {
        /* A stream: the header that counts stands at the end, before the end marker. */
        r = size >= 1536 ? gh_file_read(e->file, size - 1024, h, sizeof h) : -EUCLEAN;
        if (!r && gh_le32_get(h) != VMDK_MAGIC)
            return gh_image_bad(img, err, "the end of its stream is missing");
    }
    if (r < 0)
        return r == -EUCLEAN ? gh_image_bad(img, err, "the end of its stream is missing") : r;
    if (gh_le32_get(h) != VMDK_MAGIC)
        return gh_image_unsupported(img, err, "“%s” is not a sparse extent of a known kind", e->file->label);
    uint32_t version = gh_le32_get(h + 4), flags = gh_le32_get(h + 8), gtes = gh_le32_get(h + 44);
    uint64_t capacity = gh_le64_get(h + 12);
    if (version < 1 || version > 3)
        return gh_image_unsupported(img, err, "its sparse extents have version %u", version);
    e->grain = gh_le64_get(h + 20);
    if (!gh_is_pow2(e->grain) || e->grain < 8 || e->grain > 2u << 11 || gtes != VMDK_GTES)
        return gh_image_bad(img, err, "it has grains of %llu sectors", (unsigned long long)e->grain);
    if (capacity < e->sectors || capacity > GH_IMAGE_MAX_BYTES / 512)
        return gh_image_bad(img, err, "an extent is shorter than its description says");
    e->zeroed = flags & VMDK_FLAG_ZEROED;
    e->compressed = flags & VMDK_FLAG_COMPRESSED;
    e->markers = flags & VMDK_FLAG_MARKERS;
    if (e->compressed && gh_le16_get(h + 77) != 1)
        return gh_image_unsupported(img, err, "its compression is not known");
    e->tables = (capacity + e->grain * VMDK_GTES - 1) / (e->grain * VMDK_GTES);
    e->directory_at = gh_le64_get(h + 56);
    e->redundant_at = flags & VMDK_FLAG_REDUNDANT ? gh_le64_get(h + 48) : 0;
    if (e->directory_at > size / 512 || e->redundant_at > size / 512)
        return gh_image_bad(img, err, "its directory lies outside the file");
    e->table = gh_file_memory(e->tables * sizeof *e->table, DIRECTORY_MAX_BYTES * 2);
    if (!e->table)
        return gh_error_set(err, -ENOMEM, "OutOfMemory", "There is not enough memory for the tables of “%s”.", img->label);
    r = load_directory(img, e, e->directory_at, &e->directory);
    if (!r && e->redundant_at)
        r = load_directory(img, e, e->redundant_at, &e->redundant);
    e->end = gh_round_up(size, e->grain * 512);
    return r;
}

static struct gh_file *part(struct gh_image *img, const char *name)
{
    for (unsigned i = 0; i < img->part_count; i++)
        if (!strcmp(img->part_names[i], name))
            return img->parts[i];
    return NULL;
}

static int add_extents(struct gh_image *img, const struct vmdk_text *t, bool inside, struct gh_error *err)
{
    struct vmdk *v = img->state;
    uint64_t start = 0, grain = 0;
    int r = 0;
    v->extent = calloc(t->lines, sizeof *v->extent);
    if (!v->extent)
        return -ENOMEM;
    for (unsigned i = 0; i < t->lines && !r; i++) {
        const struct vmdk_line *l = &t->line[i];
        struct vmdk_extent *e = &v->extent[v->extents++];
        *e = (struct vmdk_extent){ .kind = l->kind, .start = start, .sectors = l->sectors, .flat_at = l->offset };
        if (!l->known)
            return gh_image_unsupported(img, err, "it has extents of a kind that is not known");
        if (!l->sectors || l->sectors > GH_IMAGE_MAX_BYTES / 512 - start)
            return gh_image_bad(img, err, "an extent claims %llu sectors", (unsigned long long)l->sectors);
        start += l->sectors;
        if (l->kind == VMDK_ZERO)
            continue;
        e->file = inside && t->lines == 1 ? img->file : part(img, l->name);
        if (!e->file)
            return gh_error_set(err, -ENOENT, "DiskPartMissing", "“%s” needs the file “%s”, which was not given.", img->label, l->name);
        if (l->kind == VMDK_SPARSE) {
            r = open_sparse(img, e, err);
            if (!r && grain && e->grain != grain)
                return gh_image_unsupported(img, err, "its extents have different grains");
            grain = e->grain;
        } else if (l->offset > gh_file_bytes(e->file) / 512 || l->sectors > gh_file_bytes(e->file) / 512 - l->offset) {
            return gh_image_bad(img, err, "“%s” is shorter than its description says", l->name);
        }
    }
    img->bytes = start * 512;
    img->cluster_bytes = grain * 512;
    return r;
}

/* The table entry of a grain of this extent; *table NULL: no table. lock held. */
static int load_table(struct vmdk_extent *e, uint64_t number, uint8_t **table)
{
    *table = NULL;
    if (number >= e->tables || !e->directory[number])
        return 0;
    if (!e->table[number]) {
        uint8_t *t = gh_file_memory(VMDK_GTES * 4, VMDK_GTES * 4);
        int r = t ? gh_file_read(e->file, (uint64_t)e->directory[number] * 512, t, VMDK_GTES * 4) : -ENOMEM;
        if (r < 0) {
            free(t);
            return r;
        }
        e->table[number] = t;
    }
    *table = e->table[number];
    return 0;
}

/* A crash may leave entries that lie beyond the end of the file: nothing else may be put there. */
static int find_end(struct gh_image *img, struct vmdk_extent *e, struct gh_error *err)
{
    uint64_t size = gh_file_bytes(e->file), limit = size + e->sectors * 512 + (1 << 20);
    for (uint64_t t = 0; t < e->tables; t++) {
        uint8_t *table;
        int r = load_table(e, t, &table);
        if (r < 0)
            return r;
        for (unsigned i = 0; table && i < VMDK_GTES; i++) {
            uint32_t gte = gh_le32_get(table + i * 4);
            uint64_t end = ((uint64_t)gte + e->grain) * 512;
            if (gte <= (e->zeroed ? 1u : 0u))
                continue;
            if (end > limit)
                return img->repair ? 0 : gh_image_bad(img, err, "a grain claims sector %u, far outside the file", gte);
            if (end > e->end)
                e->end = gh_round_up(end, e->grain * 512);
        }
    }
    return e->end > size ? gh_file_truncate(e->file, e->end) : 0;
}

static int vmdk_open(struct gh_image *img, struct gh_error *err)
{
    struct vmdk *v = calloc(1, sizeof *v);
    struct vmdk_text t;
    char *text = NULL;
    size_t len;
    uint64_t at;
    uint8_t magic[4];
    if (!v)
        return -ENOMEM;
    img->state = v;
    pthread_mutex_init(&v->lock, NULL);
    int r = gh_file_read(img->file, 0, magic, 4);
    if (!r)
        r = vmdk_text_load(img->file, &text, &len, &at);
    if (!r)
        r = vmdk_text_parse(text, len, &t);
    free(text);
    if (r == -EUCLEAN || r == -E2BIG)
        return gh_image_bad(img, err, "its description makes no sense");
    if (r < 0)
        return r;
    v->cid = t.cid;
    v->cid_at = t.cid_at ? at + t.cid_at : 0;
    v->parent_cid = t.parent_cid;
    v->parent_cid_at = t.parent_cid_at ? at + t.parent_cid_at : 0;
    v->cid_digits = t.cid_digits;
    v->parent_cid_digits = t.parent_cid_digits;
    snprintf(img->info.variant, sizeof img->info.variant, "%.23s", t.create_type);
    snprintf(img->info.change_id, sizeof img->info.change_id, "%08x", t.cid);
    if (t.parent_cid != VMDK_NO_PARENT) {
        img->needs_parent = true;
        snprintf(img->info.parent_name, sizeof img->info.parent_name, "%s", t.parent_name);
        gh_parent_from_windows(img->info.parent_name);
        if (t.parent_cid)                      /* 0: our own merge is under way */
            snprintf(img->info.parent_change_id, sizeof img->info.parent_change_id, "%08x", t.parent_cid);
        snprintf(img->info.parent_format, sizeof img->info.parent_format, "vmdk");
    }
    r = add_extents(img, &t, gh_le32_get(magic) == VMDK_MAGIC, err);
    vmdk_text_free(&t);
    if (r < 0)
        return r;
    for (unsigned i = 0; i < v->extents; i++)
        if (v->extent[i].compressed) {
            /* An empty stream can be filled once, from front to back; a complete one is read only. */
            img->info.compressed_clusters = true;
            v->stream = img->writable && v->extents == 1 && v->extent[0].directory_at == 0;
            img->in_order = v->stream;
            if (img->writable && !v->stream)
                return gh_error_set(err, -EROFS, "DiskFormatReadOnly",
                                    "“%s” is a compressed stream, which can only be read. Convert it to use it as a disk.", img->label);
        }
    /* Flat and sparse extents beside each other: only whole grains everywhere keep the writer simple. */
    for (unsigned i = 0; i + 1 < v->extents && img->writable && img->cluster_bytes; i++)
        if (v->extent[i].sectors * 512 % img->cluster_bytes)
            return gh_image_unsupported(img, err, "an extent ends inside a grain; convert it first");
    for (unsigned i = 0; i < v->extents && img->writable && !v->stream && !r; i++)
        if (v->extent[i].kind == VMDK_SPARSE)
            r = find_end(img, &v->extent[i], err);
    return r < 0 ? r : gh_image_check_parent(img, err);
}

static void vmdk_close(struct gh_image *img)
{
    struct vmdk *v = img->state;
    if (!v)
        return;
    if (v->stream && img->writable)
        img->close_error = vmdk_stream_finish(img);
    for (unsigned i = 0; i < v->extents; i++) {
        struct vmdk_extent *e = &v->extent[i];
        for (uint64_t k = 0; e->table && k < e->tables; k++)
            free(e->table[k]);
        free(e->table);
        free(e->directory);
        free(e->redundant);
    }
    free(v->extent);
    free(v->packed_grain);
    free(v->stream_grain);
    pthread_mutex_destroy(&v->lock);
    free(v);
    img->state = NULL;
}

static struct vmdk_extent *find(struct vmdk *v, uint64_t sector)
{
    for (unsigned i = 0; i < v->extents; i++)
        if (sector - v->extent[i].start < v->extent[i].sectors)
            return &v->extent[i];
    return NULL;
}

static int map_sparse(struct vmdk *v, struct vmdk_extent *e, uint64_t within, uint64_t len, struct gh_extent *ret)
{
    uint64_t grain = e->grain * 512, done = 0;
    int r = 0;
    pthread_mutex_lock(&v->lock);
    while (done < len) {
        uint64_t g = (within + done) / grain, rest = grain - (within + done) % grain;
        uint8_t *table;
        r = load_table(e, g / VMDK_GTES, &table);
        if (r < 0)
            break;
        uint32_t gte = table ? gh_le32_get(table + g % VMDK_GTES * 4) : 0;
        struct gh_extent x = { .file = e->file, .in_place = true };
        x.kind = !gte ? GH_EXTENT_NONE : e->zeroed && gte == 1 ? GH_EXTENT_ZERO : e->compressed ? GH_EXTENT_PACKED : GH_EXTENT_DATA;
        x.file_offset = x.kind == GH_EXTENT_DATA ? (uint64_t)gte * 512 + (within + done) % grain : 0;
        if (!done)
            *ret = x;
        else if (x.kind != ret->kind || x.kind == GH_EXTENT_PACKED ||
                 (x.kind == GH_EXTENT_DATA && x.file_offset != ret->file_offset + done))
            break;
        done += rest;
    }
    pthread_mutex_unlock(&v->lock);
    ret->bytes = gh_min_u64(done, len);
    return done ? 0 : r;
}

static int vmdk_map(struct gh_image *img, uint64_t off, uint64_t len, struct gh_extent *ret)
{
    struct vmdk *v = img->state;
    struct vmdk_extent *e = find(v, off / 512);
    if (!e)
        return -EUCLEAN;
    uint64_t within = off - e->start * 512;
    len = gh_min_u64(len, e->sectors * 512 - within);
    if (e->kind == VMDK_SPARSE)
        return map_sparse(v, e, within, len, ret);
    *ret = (struct gh_extent){ e->kind == VMDK_FLAT ? GH_EXTENT_DATA : GH_EXTENT_ZERO, len, e->file, e->flat_at * 512 + within, true };
    return 0;
}

static int vmdk_read_packed(struct gh_image *img, uint64_t off, void *buf, size_t len)
{
    struct vmdk *v = img->state;
    struct vmdk_extent *e = find(v, off / 512);
    uint64_t within = off - e->start * 512, grain = e->grain * 512, g = within / grain;
    uint8_t *table;
    int r;
    pthread_mutex_lock(&v->lock);
    r = load_table(e, g / VMDK_GTES, &table);
    uint64_t at = !r && table ? (uint64_t)gh_le32_get(table + g % VMDK_GTES * 4) * 512 : 0;
    bool hit = at && v->packed_grain && v->packed_at == at && v->extents == 1;
    if (hit)
        memcpy(buf, v->packed_grain + within % grain, len);
    pthread_mutex_unlock(&v->lock);
    if (r < 0 || !at || hit)
        return r < 0 ? r : at ? 0 : -EUCLEAN;
    uint8_t *out = calloc(1, grain);
    r = out ? vmdk_unpack(img, e, at, out) : -ENOMEM;
    if (!r)
        memcpy(buf, out + within % grain, len);
    if (!r && len < grain) {
        pthread_mutex_lock(&v->lock);
        free(v->packed_grain);
        v->packed_grain = out;
        v->packed_at = at;
        out = NULL;
        pthread_mutex_unlock(&v->lock);
    }
    free(out);
    return r;
}

static int vmdk_reserve(struct gh_image *img, uint64_t off, struct gh_file **file, uint64_t *file_off, bool *fresh)
{
    struct vmdk *v = img->state;
    struct vmdk_extent *e = find(v, off / 512);
    if (!e || e->kind != VMDK_SPARSE || e->compressed)
        return -ENOTSUP;
    if (e->end / 512 + e->grain > UINT32_MAX)
        return -EFBIG;
    *file = e->file;
    *file_off = e->end;
    *fresh = e->end >= gh_file_bytes(e->file);
    e->end += e->grain * 512;
    return 0;
}

static void vmdk_unreserve(struct gh_image *img, uint64_t off, uint64_t file_off)
{
    struct vmdk_extent *e = find(img->state, off / 512);
    if (e && e->end == file_off + e->grain * 512)
        e->end = file_off;
}

/* Both tables get the entry, the redundant one first: the reader's one is the one that counts. */
static int set_entry(struct vmdk *v, struct vmdk_extent *e, uint64_t g, uint32_t value)
{
    uint64_t number = g / VMDK_GTES, at = g % VMDK_GTES * 4;
    uint8_t entry[4], *table;
    int r = load_table(e, number, &table);
    if (!r && !table)
        r = -EUCLEAN;
    gh_le32_put(entry, value);
    if (!r && e->redundant && e->redundant[number])
        r = gh_file_write(e->file, (uint64_t)e->redundant[number] * 512 + at, entry, 4);
    if (!r)
        r = gh_file_write(e->file, (uint64_t)e->directory[number] * 512 + at, entry, 4);
    if (!r)
        memcpy(table + at, entry, 4);
    return r;
}

static int vmdk_link(struct gh_image *img, uint64_t off, uint64_t file_off)
{
    struct vmdk *v = img->state;
    struct vmdk_extent *e = find(v, off / 512);
    pthread_mutex_lock(&v->lock);
    int r = set_entry(v, e, (off - e->start * 512) / (e->grain * 512), (uint32_t)(file_off / 512));
    pthread_mutex_unlock(&v->lock);
    return r;
}

static int vmdk_zero(struct gh_image *img, uint64_t off, uint64_t len, bool discard)
{
    struct vmdk *v = img->state;
    int r = 0;
    for (uint64_t done = 0; done < len && !r;) {
        struct gh_extent x;
        r = vmdk_map(img, off + done, len - done, &x);
        if (r < 0)
            break;
        if (x.kind == GH_EXTENT_DATA) {
            r = discard ? gh_file_punch(x.file, x.file_offset, x.bytes) : gh_file_zero(x.file, x.file_offset, x.bytes);
            if (r == -EOPNOTSUPP)
                r = 0;
        } else if (x.kind == GH_EXTENT_NONE && img->needs_parent) {
            struct vmdk_extent *e = find(v, (off + done) / 512);
            uint64_t grain = e->grain * 512, within = off + done - e->start * 512;
            if (!e->zeroed)
                return -ENOTSUP;
            pthread_mutex_lock(&v->lock);
            for (uint64_t g = within / grain; g * grain < within + x.bytes && !r; g++)
                r = set_entry(v, e, g, 1);
            pthread_mutex_unlock(&v->lock);
        } else if (x.kind == GH_EXTENT_PACKED) {
            return -ENOTSUP;
        }
        done += x.bytes;
    }
    return r;
}

/* Puts eight digits where there are fewer: the rest of the description moves back. *which: cid_at or parent_cid_at. */
static int widen_id(struct gh_image *img, uint64_t *which, unsigned *digits, const char *id)
{
    struct vmdk *v = img->state;
    char *text = NULL, *longer = NULL;
    size_t len, used, more = 8 - *digits;
    uint64_t at;
    int r = vmdk_text_load(img->file, &text, &len, &at);
    if (r < 0)
        return r;
    used = strnlen(text, len);
    bool own = at == 0;                        /* the file is the description, and may grow */
    if (*which < at || *which - at + *digits > used || (!own && used + more >= len))
        r = -ENOSPC;
    else if (!(longer = malloc(used + more)))
        r = -ENOMEM;
    if (!r) {
        size_t from = (size_t)(*which - at);
        memcpy(longer, text, from);
        memcpy(longer + from, id, 8);
        memcpy(longer + from + 8, text + from + *digits, used - from - *digits);
        r = gh_file_write(img->file, at, longer, used + more);
    }
    if (!r) {
        uint64_t *other = which == &v->cid_at ? &v->parent_cid_at : &v->cid_at;
        *digits = 8;
        if (*other > *which)
            *other += more;
    }
    free(text);
    free(longer);
    return r;
}

static int write_id(struct gh_image *img, uint64_t *which, unsigned *digits, uint32_t value)
{
    char id[9];
    snprintf(id, sizeof id, "%08x", value);
    return *digits == 8 || !(value >> 4 * *digits) ? gh_file_write(img->file, *which, id + (8 - *digits), *digits)
                                                   : widen_id(img, which, digits, id);
}

static int vmdk_first_write(struct gh_image *img)
{
    struct vmdk *v = img->state;
    uint8_t random[16];
    if (!v->cid_at || v->stream || img->keep_id)
        return 0;
    gh_uuid_random(random);
    v->cid = gh_le32_get(random) & 0x7fffffff;
    snprintf(img->info.change_id, sizeof img->info.change_id, "%08x", v->cid);
    return write_id(img, &v->cid_at, &v->cid_digits, v->cid);
}

static int vmdk_remember_parent(struct gh_image *img, const struct gh_parent_seen *seen, const struct gh_image_info *parent)
{
    struct vmdk *v = img->state;
    if (parent && strlen(parent->change_id) != 8)
        return 0;
    if (!v->parent_cid_at)
        return parent ? -ENOTSUP : 0;
    snprintf(img->info.parent_change_id, sizeof img->info.parent_change_id, "%s", parent ? parent->change_id : "");
    return write_id(img, &v->parent_cid_at, &v->parent_cid_digits, parent ? (uint32_t)strtoul(parent->change_id, NULL, 16) : 0);
}

/* The second table only helps when the first one is damaged: what it says wrongly is no loss yet. */
static int compare_copy(struct vmdk_extent *e, uint64_t g, uint32_t gte, bool repair, struct gh_check_report *rep)
{
    uint64_t at = (uint64_t)e->redundant[g / VMDK_GTES] * 512 + g % VMDK_GTES * 4;
    uint8_t entry[4];
    int r = gh_file_read(e->file, at, entry, 4);
    if (r < 0 || gh_le32_get(entry) == gte)
        return r;
    rep->leaks++;
    gh_check_note(rep, "the second table has sector %u for grain %llu, the first one %u", gh_le32_get(entry), (unsigned long long)g, gte);
    if (!repair)
        return 0;
    gh_le32_put(entry, gte);
    r = gh_file_write(e->file, at, entry, 4);
    rep->leaks_fixed += !r;
    return r;
}

static int vmdk_check(struct gh_image *img, bool repair, struct gh_check_report *rep, struct gh_error *err)
{
    struct vmdk *v = img->state;
    int r = 0;
    for (unsigned i = 0; i < v->extents && !r; i++) {
        struct vmdk_extent *e = &v->extent[i];
        uint64_t size = e->file ? gh_file_bytes(e->file) : 0;
        for (uint64_t g = 0; e->kind == VMDK_SPARSE && g * e->grain < e->sectors && !r; g++) {
            uint8_t *table;
            pthread_mutex_lock(&v->lock);
            r = load_table(e, g / VMDK_GTES, &table);
            pthread_mutex_unlock(&v->lock);
            uint32_t gte = !r && table ? gh_le32_get(table + g % VMDK_GTES * 4) : 0;
            rep->checked++;
            if (!r && table && e->redundant && e->redundant[g / VMDK_GTES])
                r = compare_copy(e, g, gte, repair, rep);
            if (!gte || (gte == 1 && e->zeroed))
                continue;
            rep->allocated++;
            if ((uint64_t)gte * 512 >= size + e->grain * 512) {
                rep->errors++;
                gh_check_note(rep, "grain %llu claims sector %u outside the file", (unsigned long long)g, gte);
            }
        }
    }
    return r;
}

const struct gh_image_driver gh_image_vmdk = {
    .format = { "vmdk", "VMware disk", vmdk_variants, true, true, false, "vmdk" },
    .probe = vmdk_probe, .references = vmdk_references, .open = vmdk_open, .close = vmdk_close, .map = vmdk_map,
    .read_packed = vmdk_read_packed, .reserve = vmdk_reserve, .link = vmdk_link, .unreserve = vmdk_unreserve, .zero = vmdk_zero,
    .write_stream = vmdk_stream_write, .first_write = vmdk_first_write,
    .remember_parent = vmdk_remember_parent, .check = vmdk_check, .create = vmdk_create,
};
