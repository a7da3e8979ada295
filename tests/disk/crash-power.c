/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Power loss: images are built from what was flushed plus random parts of the rest, with torn sectors; nothing flushed may be
 * missing or wrong.
 */
#include <unistd.h>

#include "base/bytes.h"
#include "crash-medium.h"
#include "crash.h"

/* The counts of a qcow2 lie in these clusters. */
static uint64_t count_block[64];
static unsigned count_blocks;

static void find_count_blocks(int fd)
{
    uint8_t head[64], entry[8];
    count_blocks = 0;
    CHECK_FATAL(pread(fd, head, sizeof head, 0) == sizeof head);
    uint64_t table = gh_be64_get(head + 48);
    for (unsigned i = 0; i < GH_ARRAY_LEN(count_block); i++)
        if (pread(fd, entry, 8, (off_t)(table + i * 8)) == 8 && gh_be64_get(entry))
            count_block[count_blocks++] = gh_be64_get(entry);
}

static bool in_counts(const struct record *r)
{
    for (unsigned i = 0; i < count_blocks; i++)
        if (r->offset >= count_block[i] && r->offset < count_block[i] + kind->cluster)
            return true;
    return false;
}

static bool left_out(const struct record *r)
{
    if (r->op != GH_FILE_WRITE)
        return false;
    if (plant == PLANT_EARLY_FREE)
        return r->bytes % SECTOR && r->offset >= SECTOR && !in_counts(r);
    return plant == PLANT_LATE_REFCOUNT && in_counts(r);
}

static void put(struct medium *m, uint64_t off, const uint8_t *data, uint64_t bytes)
{
    if (off + bytes > m->bytes)
        set_size(m, off + bytes);
    memcpy(m->at + off, data, bytes);
}

/* Applies one record, or a random part of its sectors. */
static void apply(struct medium *m, const struct record *r, bool whole)
{
    if (r->op == GH_FILE_TRUNCATE) {
        set_size(m, r->bytes);
        note_shorter(r->bytes);
    } else if (r->op == GH_FILE_PUNCH || r->op == GH_FILE_ZERO) {
        uint64_t end = gh_min_u64(r->offset + r->bytes, m->bytes);
        if (r->offset < end)
            memset(m->at + r->offset, 0, end - r->offset);
        note_dirty(r->offset, r->bytes);
    } else if (r->op == GH_FILE_ALLOCATE) {
        if (m->bytes < r->offset + r->bytes)
            set_size(m, r->offset + r->bytes);
    } else if (r->op == GH_FILE_WRITE && whole) {
        put(m, r->offset, r->data, r->bytes);
        note_dirty(r->offset, r->bytes);
    } else if (r->op == GH_FILE_WRITE) {
        for (uint64_t at = 0; at < r->bytes;) {
            uint64_t n = SECTOR - (r->offset + at) % SECTOR;
            n = n < r->bytes - at ? n : r->bytes - at;
            if (rnd(2))
                put(m, r->offset + at, r->data + at, n);
            at += n;
        }
        note_dirty(r->offset, r->bytes);
    }
}

/* Where an image is looked at: reading takes most of the time. Each at what the last operations touched, two of eight at what any
 * operation of the history touched, one of eight everywhere. */
enum { LAST_OPS = 16 };
struct run { uint32_t from, count; };
static struct run touched[MAX_OPS];
static unsigned runs;

static void find_touched(const struct op *ops, uint32_t first, uint32_t last)
{
    static bool is[DISK_SECTORS + 1];
    memset(is, 0, sizeof is);
    for (uint32_t o = first; o <= last; o++)
        memset(is + ops[o].sector, 1, ops[o].count);
    runs = 0;
    for (uint32_t s = 0; s < DISK_SECTORS; s++)
        if (is[s] && s && is[s - 1])
            touched[runs - 1].count++;
        else if (is[s])
            touched[runs++] = (struct run){ s, 1 };
}

/* Sectors of a run that hold neither what was flushed nor what a later operation wrote. */
static unsigned wrong_sectors(struct run run, const struct op *ops, uint32_t flushed_op, uint32_t last_op, const uint32_t *from,
                              const bool *maybe, const uint8_t *all, bool silent)
{
    unsigned wrong = 0;
    for (uint32_t s = run.from; s < run.from + run.count; s++) {
        uint32_t v = version_of(all + (size_t)s * SECTOR, s);
        bool ok = v == from[s];
        for (uint32_t o = flushed_op + 1; !ok && maybe[s] && o <= last_op; o++)
            ok = s >= ops[o].sector && s < ops[o].sector + ops[o].count && v == shown(&ops[o]);
        if (!ok && !wrong++ && !plant && !silent)
            fprintf(stderr, "%s: flush %u: sector %u has version %u, was %u\n", kind->name, flushed_op, s, v, from[s]);
    }
    return wrong;
}

static uint64_t looked_at;                     /* images, of all histories */

/* One crash image after `upto` shim.records. base holds the first *applied of them, and gets all that are durable then; upto never
 * shrinks from call to call. image is like base before and after. Returns how many sectors are wrong. */
static unsigned crash(struct medium *base, struct medium *image, unsigned *applied, unsigned upto, const struct op *ops, uint32_t op_count,
                      uint8_t *all)
{
    static const struct run whole = { 0, DISK_SECTORS };
    uint32_t look = rnd(8);
    unsigned durable = 0, guest_durable = 0, wrong = 0;
    uint32_t flushed_op = 0, last_op = 0;
    for (unsigned i = 0; i < upto; i++) {
        if (shim.records[i].op == GH_FILE_FLUSH && plant != PLANT_EMPTY_FLUSH && (shim.records[i].guest_flush || plant != PLANT_NO_BARRIER))
            durable = i;
        if (shim.records[i].op == GH_FILE_FLUSH && shim.records[i].guest_flush) {
            flushed_op = shim.records[i].guest_op;
            guest_durable = i;
        }
        last_op = shim.records[i].guest_op;
    }
    if (look)
        find_touched(ops, look > 2 && flushed_op > LAST_OPS ? flushed_op - LAST_OPS : 1, look > 2 ? last_op : op_count);
    const struct run *run = look ? touched : &whole;
    unsigned run_count = look ? runs : 1;
    bool sees_counts = plant == PLANT_LATE_REFCOUNT || plant == PLANT_EARLY_FREE;
    unsigned settled = plant == PLANT_NO_DIRTY_MARK ? 0 : sees_counts && guest_durable < durable ? guest_durable : durable;
    for (; *applied < settled; ++*applied) {
        apply(base, &shim.records[*applied], true);
        apply(image, &shim.records[*applied], true);
    }
    none_dirty();
    unsigned style = rnd(4);
    for (unsigned i = *applied; i < upto; i++) {
        if (i >= guest_durable && left_out(&shim.records[i]))
            continue;
        if (plant == PLANT_NO_DIRTY_MARK && shim.records[i].op == GH_FILE_WRITE && !shim.records[i].offset)
            continue;
        if (i < durable || style == 0)
            apply(image, &shim.records[i], true);
        else if (style == 1 ? rnd(2) : style == 2 ? rnd(8) != 0 : rnd(8) == 0)
            apply(image, &shim.records[i], rnd(3) != 0);
    }
    struct gh_error err = { 0 };
    tracing = true;
    gh_file_set_hook(&hook);
    struct gh_image *img = open_fd(image->fd, true, &err);
    bool unread = !img;
    for (unsigned i = 0; i < run_count && !unread; i++)
        unread = gh_image_read(img, (uint64_t)run[i].from * SECTOR, all + (size_t)run[i].from * SECTOR, (size_t)run[i].count * SECTOR) != 0;
    if (unread) {
        if (!plant)
            fprintf(stderr, "%s: cannot be read after power loss: %s\n", kind->name, err.text);
        wrong = 1;
    } else {
        static uint32_t from[DISK_SECTORS];
        static bool maybe[DISK_SECTORS];
        for (unsigned i = 0; i < run_count; i++)
            for (uint32_t s = run[i].from; s < run[i].from + run[i].count; s++)
                from[s] = first_version(s), maybe[s] = false;
        for (uint32_t o = 1; o <= flushed_op; o++)
            for (uint32_t k = 0; k < ops[o].count; k++)
                from[ops[o].sector + k] = shown(&ops[o]);
        for (uint32_t o = flushed_op + 1; o <= last_op; o++)
            for (uint32_t k = 0; k < ops[o].count; k++)
                maybe[ops[o].sector + k] = true;
        for (unsigned i = 0; i < run_count; i++)
            wrong += wrong_sectors(run[i], ops, flushed_op, last_op, from, maybe, all, wrong != 0);
        if (!plant || sees_counts || plant == PLANT_NO_DIRTY_MARK)
            wrong += (unsigned)repaired(img, last_op - flushed_op + 1);
    }
    gh_image_close(img);
    gh_file_set_hook(NULL);
    tracing = false;
    put_back(image, base);
    if (++looked_at % 256 == 0 && memcmp(image->at, base->at, base->bytes)) {
        fprintf(stderr, "%s: the harness did not put its image back\n", kind->name);
        wrong++;
    }
    return wrong;
}

static int by_number(const void *a, const void *b)
{
    unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;
    return x < y ? -1 : x > y;
}

unsigned power_history(unsigned crashes, uint64_t *ret_looked_at)
{
    struct op *ops = calloc(MAX_OPS + 1, sizeof *ops);
    uint8_t *all = malloc((size_t)DISK_SECTORS * SECTOR);
    int fd = make();
    struct medium base = new_medium("base"), image = new_medium("crash");
    unsigned wrong = 0;
    uint64_t before = looked_at;
    load_medium(&base, fd);
    load_medium(&image, fd);
    struct gh_image *img = open_fd(fd, true, NULL);
    CHECK_FATAL(img && ops && all);
    gh_file_set_hook(&hook);
    shim.recording = true;
    shim.record_count = 0;
    for (shim.current_op = 1; shim.current_op <= 120; shim.current_op++) {
        ops[shim.current_op] = random_op(shim.current_op + 1);
        CHECK_FATAL(!carry_out(img, &ops[shim.current_op]));
        if (rnd(10) == 0) {
            shim.in_guest_flush = true;
            CHECK_FATAL(!gh_image_flush(img));
            shim.in_guest_flush = false;
        }
    }
    shim.current_op--;
    shim.recording = false;
    gh_file_set_hook(NULL);
    unsigned made = shim.record_count;
    if (plant == PLANT_LATE_REFCOUNT || plant == PLANT_EARLY_FREE)
        find_count_blocks(fd);
    unsigned *upto = calloc(crashes, sizeof *upto), applied = 0;
    CHECK_FATAL(upto);
    for (unsigned i = 0; i < crashes; i++)
        upto[i] = 1 + rnd(made);
    qsort(upto, crashes, sizeof *upto, by_number); /* so that what is durable is written once */
    for (unsigned i = 0; i < crashes && wrong < 5; i++)
        wrong += crash(&base, &image, &applied, upto[i], ops, shim.current_op, all) != 0;
    free(upto);
    gh_image_close(img);
    for (unsigned i = 0; i < shim.record_count; i++)
        free(shim.records[i].data);
    shim.record_count = 0;
    free(ops);
    free(all);
    close(fd);
    free_medium(&base);
    free_medium(&image);
    *ret_looked_at = looked_at - before;
    return wrong;
}
