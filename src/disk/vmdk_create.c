/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "disk/vmdk.h"

enum { GRAIN = 128, DESCRIPTOR_AT = 1, DESCRIPTOR_SECTORS = 20 };
#define SPLIT_SECTORS (2047ull << 11)         /* 2 GB less 1 MiB, whole grains */

const char *const vmdk_variants[] = { "monolithic-sparse", "monolithic-flat", "split-sparse", "split-flat", "stream-optimized", NULL };
enum { MONOLITHIC_SPARSE, MONOLITHIC_FLAT, SPLIT_SPARSE, SPLIT_FLAT, STREAM };
static const char *const types[] = { "monolithicSparse", "monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat", "streamOptimized" };

static int text_for(char *text, size_t room, unsigned kind, const struct gh_image_create *how, const char *extents)
{
    uint8_t random[16];
    uint64_t sectors = how->bytes / 512, cylinders = sectors / (16 * 63);
    char parent_cid[16] = "ffffffff", hint[300] = "";
    gh_uuid_random(random);
    uint32_t cid = gh_le32_get(random) & 0x7fffffff;
    if (how->like) {
        struct gh_image_info same;
        gh_image_info(how->like, &same);
        if (!strcmp(same.format, "vmdk"))
            cid = (uint32_t)strtoul(same.change_id, NULL, 16);
    }
    if (how->parent_name) {
        struct gh_image_info parent;
        gh_image_info(how->parent, &parent);
        snprintf(parent_cid, sizeof parent_cid, "%.8s", parent.change_id);
        snprintf(hint, sizeof hint, "parentFileNameHint=\"%.256s\"\n", how->parent_name);
    }
    int n = snprintf(text, room,
        "# Disk DescriptorFile\nversion=1\nCID=%08x\nparentCID=%s\ncreateType=\"%s\"\n%s\n"
        "# Extent description\n%s\n# The Disk Data Base\n#DDB\n\nddb.virtualHWVersion = \"4\"\n"
        "ddb.geometry.cylinders = \"%llu\"\nddb.geometry.heads = \"16\"\nddb.geometry.sectors = \"63\"\nddb.adapterType = \"ide\"\n",
        cid, parent_cid, types[kind], hint, extents,
        (unsigned long long)(cylinders > 16383 ? 16383 : cylinders));
    return n > 0 && (size_t)n < room ? n : -ENAMETOOLONG;
}

/* Header, both directories and empty tables; text may be NULL (the descriptor is elsewhere). */
static int make_sparse(struct gh_file *f, uint64_t sectors, const char *text, bool stream)
{
    uint8_t h[VMDK_HEADER] = { 0 };
    uint64_t tables = (sectors + GRAIN * VMDK_GTES - 1) / (GRAIN * VMDK_GTES);
    uint64_t dir = (tables * 4 + 511) / 512, per = VMDK_GTES * 4 / 512;
    uint64_t redundant = DESCRIPTOR_AT + DESCRIPTOR_SECTORS, primary = redundant + dir + tables * per;
    uint64_t data = gh_round_up(stream ? redundant : primary + dir + tables * per, GRAIN);
    gh_le32_put(h, VMDK_MAGIC);
    gh_le32_put(h + 4, stream ? 3 : 1);
    gh_le32_put(h + 8, stream ? 1 | VMDK_FLAG_COMPRESSED | VMDK_FLAG_MARKERS : 1 | VMDK_FLAG_REDUNDANT);
    gh_le64_put(h + 12, sectors);
    gh_le64_put(h + 20, GRAIN);
    gh_le64_put(h + 28, text ? DESCRIPTOR_AT : 0);
    gh_le64_put(h + 36, text ? DESCRIPTOR_SECTORS : 0);
    gh_le32_put(h + 44, VMDK_GTES);
    gh_le64_put(h + 48, stream ? 0 : redundant);
    gh_le64_put(h + 56, stream ? 0 : primary);
    gh_le64_put(h + 64, data);
    memcpy(h + 73, "\n \r\n", 4);
    gh_le16_put(h + 77, stream);
    int r = gh_file_truncate(f, data * 512);
    for (unsigned copy = 0; copy < 2 && !r && !stream; copy++) {
        uint64_t at = copy ? primary : redundant;
        uint8_t *d = gh_file_memory(dir * 512, 64u << 20);
        if (!d)
            return -ENOMEM;
        for (uint64_t i = 0; i < tables; i++)
            gh_le32_put(d + i * 4, (uint32_t)(at + dir + i * per));
        r = gh_file_write(f, at * 512, d, dir * 512);
        free(d);
    }
    if (!r && text)
        r = gh_file_write(f, DESCRIPTOR_AT * 512, text, strlen(text));
    if (!r)
        r = gh_file_flush(f);
    return r < 0 ? r : gh_file_write(f, 0, h, sizeof h);
}

static int make_part(const struct gh_image_create *how, const char *suffix, uint64_t sectors, bool flat, struct gh_error *err)
{
    int fd = how->new_part ? how->new_part(how->opaque, suffix) : -EINVAL;
    if (fd < 0)
        return gh_error_set(err, fd, "FileNotCreated", "The part “%s” of the disk cannot be made: %s.", suffix, strerror(-fd));
    struct gh_file *f = gh_file_new(fd, true, suffix, err);
    if (!f)
        return -EIO;
    f->draft = how->draft;
    int r = flat ? gh_file_truncate(f, sectors * 512) : make_sparse(f, sectors, NULL, false);
    if (!r && flat && how->preallocate) {
        r = gh_file_allocate(f, 0, sectors * 512);
        r = r == -EOPNOTSUPP ? 0 : r;
    }
    if (!r)
        r = gh_file_flush(f);
    gh_file_free(f);
    return r;
}

int vmdk_create(struct gh_file *file, const struct gh_image_create *how, struct gh_error *err)
{
    unsigned kind = MONOLITHIC_SPARSE;
    const char *name = how->own_name ? how->own_name : "disk.vmdk", *dot = strrchr(name, '.');
    int stem = dot ? (int)(dot - name) : (int)strlen(name);
    uint64_t sectors = how->bytes / 512;
    size_t room = 1 << 18, used = 0;
    char *extents = calloc(1, room), *text = calloc(1, room + 2048);
    int r = extents && text ? 0 : -ENOMEM;
    for (unsigned i = 0; how->variant && vmdk_variants[i]; i++)
        if (!strcmp(how->variant, vmdk_variants[i]))
            kind = i;
    if (!r && how->parent_name) {
        struct gh_image_info parent = { 0 };
        if (how->parent)
            gh_image_info(how->parent, &parent);
        if (!how->parent || strcmp(parent.format, "vmdk") || strlen(how->parent_name) > 250 || strpbrk(how->parent_name, "\"\n\r"))
            r = gh_error_set(err, -EINVAL, "DiskNoParents", "A VMDK disk builds on a VMDK disk with a short plain name; “%s” is none.", how->parent_name);
        else if (kind != MONOLITHIC_SPARSE && kind != SPLIT_SPARSE)
            r = gh_error_set(err, -ENOTSUP, "DiskNoParents", "Only a sparse VMDK disk can build on another one.");
    }
    if (!r && (strlen(name) > 200 || strpbrk(name, "\"\n\r")))
        r = gh_error_set(err, -EINVAL, "DiskNameInvalid", "“%s” cannot stand in the description of a VMDK disk.", name);
    bool flat = kind == MONOLITHIC_FLAT || kind == SPLIT_FLAT, split = kind == SPLIT_SPARSE || kind == SPLIT_FLAT;
    if (!r && !split && !flat) {
        snprintf(extents, room, "RW %llu SPARSE \"%s\"\n", (unsigned long long)sectors, name);
        r = text_for(text, room, kind, how, extents);
        if (r >= 0 && r > DESCRIPTOR_SECTORS * 512)
            r = -ENAMETOOLONG;
        if (r >= 0)
            r = make_sparse(file, sectors, text, kind == STREAM);
        goto out;
    }
    for (uint64_t at = 0, n = 1; !r && at < sectors; n++) {
        uint64_t here = split ? gh_min_u64(SPLIT_SECTORS, sectors - at) : sectors;
        char suffix[32];
        if (n >= VMDK_MAX_EXTENTS)
            r = gh_error_set(err, -EFBIG, "DiskSizeInvalid", "A split disk of that size would have too many files.");
        snprintf(suffix, sizeof suffix, split ? flat ? "-f%03llu.vmdk" : "-s%03llu.vmdk" : "-flat.vmdk", (unsigned long long)n);
        if (!r)
            r = make_part(how, suffix, here, flat, err);
        if (!r)
            used += (size_t)snprintf(extents + used, room - used, "RW %llu %s \"%.*s%s\"%s\n", (unsigned long long)here,
                                     flat ? "FLAT" : "SPARSE", stem, name, suffix, flat ? " 0" : "");
        if (used + 512 > room)
            r = -E2BIG;
        at += here;
    }
    if (!r)
        r = text_for(text, room + 2048, kind, how, extents);
    if (r >= 0)
        r = gh_file_write(file, 0, text, strlen(text));
out:
    free(extents);
    free(text);
    return r < 0 ? r : 0;
}
