/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The two promises, per format: test-crash [--kills N] [--crashes N] [--step N] [--only NAME] [--seed S].
 * Without numbers a short dose; with GH_ALL set (./test --all) 10,000 kills and 1,000,000 crash images, and nothing less is accepted.
 * What was really done is counted where it is done, printed, and compared with what was asked for.
 *
 * kill:   a child writes and is killed with SIGKILL; every write it saw complete must be there.
 * power:  everything the shim did is recorded; images are built from what was flushed plus random
 *         parts of the rest, with torn sectors; nothing flushed may be missing or wrong.
 * fault:  each host call fails once; the request is tried again; nothing may be lost.
 * planted: for each rule of ordering the same harness with that rule broken must find damage (--only planted).
 *
 * A sector holds 64 times its number and version, so that any misplaced sector shows.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../check.h"
#include "base/bytes.h"
#include "crash-medium.h"
#include "disk/driver.h"

enum { SECTOR = 512, DISK_SECTORS = 16384, MAX_WRITE = 300, MAX_OPS = 600 };

struct kind { const char *name, *format, *variant; uint64_t cluster; bool child, extended; unsigned version; };
static const struct kind kinds[] = {
    { "raw", "raw" }, { "qcow2", "qcow2", NULL, 4096 }, { "qcow2-64k", "qcow2" }, { "qcow2-v2", "qcow2", NULL, 4096, .version = 2 },
    { "qcow2-child", "qcow2", NULL, 4096, true }, { "qcow2-subclusters", "qcow2", NULL, 32768, true, true },
    { "vdi", "vdi" }, { "vdi-child", "vdi", NULL, 0, true }, { "vmdk", "vmdk" }, { "vhd", "vhd" }, { "vhd-fixed", "vhd", "fixed" },
    { "vhdx", "vhdx" },
};

/* The rules, broken by the shim. */
enum plant {
    PLANT_NONE,
    PLANT_NO_BARRIER,        /* data is not durable before the pointer that hides what was there */
    PLANT_EMPTY_FLUSH,       /* a flush completes without making anything durable */
    PLANT_POINTER_IN_MEMORY, /* a completed write is known to our memory only */
    PLANT_LATE_REFCOUNT,     /* a cluster is used before its count says so */
    PLANT_BELIEVED_WRITE,    /* a write that failed counts as done */
    PLANT_FORGOTTEN_FLUSH,   /* a failed flush is forgotten at the next try */
    PLANT_EARLY_FREE,        /* a count falls before the pointer is gone */
    PLANT_NO_DIRTY_MARK,     /* qcow2's dirty bit is not durable before the first change */
    PLANT_ONE_TABLE,         /* VMDK's second grain table is not written */
    PLANT_NO_FOOTER,         /* VHD's footer is not written again behind a new block */
};
static enum plant plant;

static uint32_t seed = 1;
static uint32_t rnd(uint32_t n)
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

/* The version a sector holds: 0 zeros; UINT32_MAX: none that was ever written. */
static uint32_t version_of(const uint8_t *buf, uint32_t sector)
{
    uint32_t s, v;
    if (memcmp(buf, buf + 8, SECTOR - 8))
        return UINT32_MAX;
    memcpy(&s, buf, 4);
    memcpy(&v, buf + 4, 4);
    return !s && !v ? 0 : s == sector && v ? v : UINT32_MAX;
}

static const struct kind *kind;
static int parent_fd = -1;

/* What was done, counted where it was. */
static struct { uint64_t kills, writes, crashes, histories, faults, allocations; } did;

static struct gh_image *open_fd(int fd, bool writable, struct gh_error *err)
{
    struct gh_image_spec parent = { .format = kind->format, .label = "parent", .fd = -1, .unlocked = true };
    struct gh_image_spec spec = { .format = kind->format, .label = kind->name, .fd = fcntl(fd, F_DUPFD_CLOEXEC, 3),
        .writable = writable, .unlocked = true, .parent = kind->child ? &parent : NULL };
    if (kind->child)
        parent.fd = fcntl(parent_fd, F_DUPFD_CLOEXEC, 3);
    return gh_image_open(&spec, err);
}

/* A new image; a child gets a parent whose every fourth run of sectors holds version 1. */
static int make(void)
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
        CHECK_EQ(gh_image_close(parent), 0);
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

static uint32_t first_version(uint32_t s) { return kind->child && s && s / 40 % 4 == 0 ? 1 : 0; }

/* ---- The guest: one random operation --------------------------------------------------------------------- */
struct op { uint32_t sector, count, version; bool zero; };
static struct op random_op(uint32_t version)
{
    struct op o = { .count = 1 + (rnd(4) ? rnd(24) : rnd(MAX_WRITE)), .version = version, .zero = rnd(8) == 0 };
    o.sector = rnd(3) ? rnd(1200) : rnd(DISK_SECTORS);
    if (o.sector + o.count > DISK_SECTORS)
        o.count = DISK_SECTORS - o.sector;
    return o;
}

static int carry_out(struct gh_image *img, const struct op *o)
{
    static uint8_t buf[MAX_WRITE * SECTOR];
    if (o->zero)
        return gh_image_zero(img, (uint64_t)o->sector * SECTOR, (uint64_t)o->count * SECTOR);
    for (uint32_t i = 0; i < o->count; i++)
        fill(buf + i * SECTOR, o->sector + i, o->version);
    return gh_image_write(img, (uint64_t)o->sector * SECTOR, buf, (size_t)o->count * SECTOR);
}
static uint32_t shown(const struct op *o) { return o->zero ? 0 : o->version; }

/* May the second grain tables differ from the first ones? By the grains of the operations since the last flush, one after a kill. */
enum { FLYING_GRAINS = MAX_WRITE / 128 + 2 };

static int repaired(struct gh_image *img, uint32_t open_ops)
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

/* ---- kill -9 --------------------------------------------------------------------------------------------- */
struct shared { _Atomic uint32_t done; uint32_t base; struct op op[100000]; };

static void find_second_tables(int fd);
static int before(struct gh_file_hook *hook, const struct gh_file_event *ev);
static void after(struct gh_file_hook *hook, const struct gh_file_event *ev);
static struct gh_file_hook hook = { before, after };

static void test_kill(unsigned rounds)
{
    struct shared *sh = mmap(NULL, sizeof *sh, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    uint32_t *now = malloc(DISK_SECTORS * sizeof *now), version = 2, bad = 0;
    uint8_t *all = malloc((size_t)DISK_SECTORS * SECTOR);
    int fd = make();
    CHECK_FATAL(sh != MAP_FAILED && now && all);
    if (plant == PLANT_ONE_TABLE)
        find_second_tables(fd);
    for (uint32_t s = 0; s < DISK_SECTORS; s++)
        now[s] = first_version(s);
    for (unsigned round = 0; round < rounds; round++) {
        atomic_store(&sh->done, 0);
        pid_t pid = fork();
        CHECK_FATAL(pid >= 0);
        if (!pid) {
            struct gh_image *img = open_fd(fd, true, NULL);
            gh_file_set_hook(plant ? &hook : NULL);
            for (uint32_t i = 0; img && i < GH_ARRAY_LEN(sh->op); i++) {
                sh->op[i] = random_op(version + i);
                if (carry_out(img, &sh->op[i]))
                    _exit(3);
                atomic_store(&sh->done, i + 1);
            }
            _exit(img ? 0 : 2);
        }
        /* A kill of a writer that never came to write proves little: most of them wait for its first write. */
        for (unsigned wait = 0; round % 4 && wait < 100000 && !atomic_load(&sh->done) && !waitpid(pid, &(int){ 0 }, WNOHANG | WNOWAIT); wait++)
            usleep(100);
        usleep(500 + rnd(20000));
        kill(pid, SIGKILL);
        int status;
        waitpid(pid, &status, 0);
        if (WIFEXITED(status) && WEXITSTATUS(status)) {
            fprintf(stderr, "%s: the writer left with %d\n", kind->name, WEXITSTATUS(status));
            bad++;
            break;
        }
        uint32_t done = atomic_load(&sh->done);
        did.writes += done;
        for (uint32_t i = 0; i < done; i++)
            for (uint32_t k = 0; k < sh->op[i].count; k++)
                now[sh->op[i].sector + k] = shown(&sh->op[i]);
        struct op *flying = done < GH_ARRAY_LEN(sh->op) ? &sh->op[done] : NULL;
        struct gh_error err = { 0 };
        struct gh_image *img = open_fd(fd, true, &err);
        if (!img || gh_image_read(img, 0, all, (size_t)DISK_SECTORS * SECTOR)) {
            fprintf(stderr, "%s: cannot be read after a kill: %s\n", kind->name, err.text);
            bad++;
            break;
        }
        for (uint32_t s = 0; s < DISK_SECTORS; s++) {
            uint32_t v = version_of(all + (size_t)s * SECTOR, s);
            bool in_flight = flying && flying->version == version + done && s >= flying->sector &&
                             s < flying->sector + flying->count && v == shown(flying);
            if (v != now[s] && !in_flight && bad++ < 3 && !plant)
                fprintf(stderr, "%s: round %u: sector %u has version %u, not %u\n", kind->name, round, s, v, now[s]);
            now[s] = v;
        }
        bad += repaired(img, 1);
        CHECK_EQ(gh_image_close(img), 0);
        did.kills++;
        version += done + 1;
        memset(&sh->op[done < GH_ARRAY_LEN(sh->op) ? done : 0], 0, sizeof sh->op[0]);
    }
    CHECK_EQ(bad != 0, plant != PLANT_NONE);
    munmap(sh, sizeof *sh);
    free(now);
    free(all);
    close(fd);
}

/* ---- The recorder ------------------------------------------------------------------------------------------ */
struct record { enum gh_file_op op; uint64_t offset, bytes; uint8_t *data; bool guest_flush; uint32_t guest_op; };
static struct record *records;
static unsigned record_count, record_room;
static bool recording, in_guest_flush;
static uint32_t current_op;
static unsigned countdown;
static int fail_code;
static bool failed_flush, fail_memory;

static uint64_t second_from, second_to;        /* VMDK: where its second tables lie */

static void find_second_tables(int fd)
{
    uint8_t head[SECTOR];
    CHECK_FATAL(pread(fd, head, sizeof head, 0) == sizeof head);
    second_from = gh_le64_get(head + 48) * SECTOR;
    second_to = gh_le64_get(head + 56) * SECTOR;
    if (second_to < second_from)
        second_to = gh_le64_get(head + 64) * SECTOR;
}

/* What the format wants behind everything when it is closed. */
static bool ends_right(int fd)
{
    struct stat st;
    char last[8];
    return strcmp(kind->format, "vhd") || (!fstat(fd, &st) && pread(fd, last, 8, st.st_size - SECTOR) == 8 && !memcmp(last, "conectix", 8));
}

static int before(struct gh_file_hook *self, const struct gh_file_event *ev)
{
    if (plant == PLANT_POINTER_IN_MEMORY && ev->op == GH_FILE_WRITE && ev->bytes % SECTOR)
        return 1;
    if (plant == PLANT_ONE_TABLE && ev->op == GH_FILE_WRITE && ev->bytes == 4 && ev->offset >= second_from && ev->offset < second_to)
        return 1;
    if (plant == PLANT_NO_FOOTER && ev->op == GH_FILE_WRITE && ev->bytes == SECTOR && ev->offset && !memcmp(ev->iov->iov_base, "conectix", 8))
        return 1;
    bool counts = fail_memory ? ev->op == GH_FILE_ALLOC_MEMORY : ev->op != GH_FILE_ALLOC_MEMORY && ev->op != GH_FILE_READ;
    if (!countdown || !counts || --countdown)
        return 0;
    if (plant == PLANT_BELIEVED_WRITE)
        return ev->op == GH_FILE_WRITE;
    if (ev->op == GH_FILE_FLUSH)
        failed_flush = true;
    return fail_code;
}

static void after(struct gh_file_hook *self, const struct gh_file_event *ev)
{
    if (tracing && ev->file && ev->op == GH_FILE_TRUNCATE)
        note_shorter(ev->bytes);
    else if (tracing && ev->file && (ev->op == GH_FILE_WRITE || ev->op == GH_FILE_ZERO || ev->op == GH_FILE_PUNCH))
        note_dirty(ev->offset, ev->bytes);
    if (!recording || ev->op == GH_FILE_READ || ev->op == GH_FILE_ALLOC_MEMORY || !ev->file || !strcmp(ev->file->label, "parent"))
        return;
    if (record_count == record_room) {
        record_room = record_room ? record_room * 2 : 4096;
        records = realloc(records, record_room * sizeof *records);
        CHECK_FATAL(records);
    }
    struct record *r = &records[record_count++];
    *r = (struct record){ ev->op, ev->offset, ev->bytes, NULL, in_guest_flush, current_op };
    if (ev->op == GH_FILE_WRITE) {
        uint64_t done = 0;
        r->data = malloc(ev->bytes);
        for (unsigned i = 0; done < ev->bytes; i++) {
            uint64_t n = ev->iov[i].iov_len < ev->bytes - done ? ev->iov[i].iov_len : ev->bytes - done;
            memcpy(r->data + done, ev->iov[i].iov_base, n);
            done += n;
        }
    }
}

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

/* One crash image after `upto` records. base holds the first *applied of them, and gets all that are durable then; upto never
 * shrinks from call to call. image is like base before and after. Returns how many sectors are wrong. */
static unsigned crash(struct medium *base, struct medium *image, unsigned *applied, unsigned upto, const struct op *ops, uint32_t op_count,
                      uint8_t *all)
{
    static const struct run whole = { 0, DISK_SECTORS };
    uint32_t look = rnd(8);
    unsigned durable = 0, guest_durable = 0, wrong = 0;
    uint32_t flushed_op = 0, last_op = 0;
    for (unsigned i = 0; i < upto; i++) {
        if (records[i].op == GH_FILE_FLUSH && plant != PLANT_EMPTY_FLUSH && (records[i].guest_flush || plant != PLANT_NO_BARRIER))
            durable = i;
        if (records[i].op == GH_FILE_FLUSH && records[i].guest_flush) {
            flushed_op = records[i].guest_op;
            guest_durable = i;
        }
        last_op = records[i].guest_op;
    }
    if (look)
        find_touched(ops, look > 2 && flushed_op > LAST_OPS ? flushed_op - LAST_OPS : 1, look > 2 ? last_op : op_count);
    const struct run *run = look ? touched : &whole;
    unsigned run_count = look ? runs : 1;
    bool sees_counts = plant == PLANT_LATE_REFCOUNT || plant == PLANT_EARLY_FREE;
    unsigned settled = plant == PLANT_NO_DIRTY_MARK ? 0 : sees_counts && guest_durable < durable ? guest_durable : durable;
    for (; *applied < settled; ++*applied) {
        apply(base, &records[*applied], true);
        apply(image, &records[*applied], true);
    }
    dirty_count = 0;
    dirty_low = UINT64_MAX;
    unsigned style = rnd(4);
    for (unsigned i = *applied; i < upto; i++) {
        if (i >= guest_durable && left_out(&records[i]))
            continue;
        if (plant == PLANT_NO_DIRTY_MARK && records[i].op == GH_FILE_WRITE && !records[i].offset)
            continue;
        if (i < durable || style == 0)
            apply(image, &records[i], true);
        else if (style == 1 ? rnd(2) : style == 2 ? rnd(8) != 0 : rnd(8) == 0)
            apply(image, &records[i], rnd(3) != 0);
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
    did.crashes++;
    if (did.crashes % 256 == 0 && memcmp(image->at, base->at, base->bytes)) {
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

static void test_power(unsigned crashes)
{
    struct op *ops = calloc(MAX_OPS + 1, sizeof *ops);
    uint8_t *all = malloc((size_t)DISK_SECTORS * SECTOR);
    int fd = make();
    struct medium base = new_medium("base"), image = new_medium("crash");
    unsigned wrong = 0;
    load_medium(&base, fd);
    load_medium(&image, fd);
    struct gh_image *img = open_fd(fd, true, NULL);
    CHECK_FATAL(img && ops && all);
    gh_file_set_hook(&hook);
    recording = true;
    record_count = 0;
    for (current_op = 1; current_op <= 120; current_op++) {
        ops[current_op] = random_op(current_op + 1);
        CHECK_EQ(carry_out(img, &ops[current_op]), 0);
        if (rnd(10) == 0) {
            in_guest_flush = true;
            CHECK_EQ(gh_image_flush(img), 0);
            in_guest_flush = false;
        }
    }
    current_op--;
    recording = false;
    gh_file_set_hook(NULL);
    unsigned made = record_count;
    if (plant == PLANT_LATE_REFCOUNT || plant == PLANT_EARLY_FREE)
        find_count_blocks(fd);
    unsigned *upto = calloc(crashes, sizeof *upto), applied = 0;
    CHECK_FATAL(upto);
    for (unsigned i = 0; i < crashes; i++)
        upto[i] = 1 + rnd(made);
    qsort(upto, crashes, sizeof *upto, by_number); /* so that what is durable is written once */
    for (unsigned i = 0; i < crashes && wrong < 5; i++)
        wrong += crash(&base, &image, &applied, upto[i], ops, current_op, all) != 0;
    free(upto);
    if (plant)
        CHECK(wrong > 0);
    else
        CHECK_EQ(wrong, 0);
    did.histories++;
    gh_image_close(img);
    for (unsigned i = 0; i < record_count; i++)
        free(records[i].data);
    record_count = 0;
    free(ops);
    free(all);
    close(fd);
    free_medium(&base);
    free_medium(&image);
}

/* ---- One fault ------------------------------------------------------------------------------------------------ */
static void test_faults(bool memory, unsigned step)
{
    uint32_t *now = malloc(DISK_SECTORS * sizeof *now), bad = 0;
    uint8_t *all = malloc((size_t)DISK_SECTORS * SECTOR);
    uint32_t start = seed;
    bool hit = true;
    CHECK_FATAL(now && all);
    for (unsigned n = 1; hit && bad < 3; n += step) {
        struct gh_error err = { 0 };
        int fd = make(), r = 0;
        seed = start;
        for (uint32_t s = 0; s < DISK_SECTORS; s++)
            now[s] = first_version(s);
        gh_file_set_hook(&hook);
        countdown = n;
        fail_code = memory ? -ENOMEM : n & 1 ? -ENOSPC : -EIO;
        fail_memory = memory;
        failed_flush = false;
        struct gh_image *img = open_fd(fd, true, &err);
        if (!img && memory)                    /* refused cleanly; next time it works */
            img = open_fd(fd, true, &err);
        CHECK_FATAL(img);
        for (uint32_t i = 0; i < 60 && !failed_flush; i++) {
            struct op o = random_op(i + 2);
            r = carry_out(img, &o);
            if (r < 0 && !failed_flush)
                r = carry_out(img, &o);        /* the machine was resumed */
            if (r < 0 && !failed_flush && bad++ < 3 && !plant)
                fprintf(stderr, "%s: fault %u: the second try failed too: %d\n", kind->name, n, r);
            for (uint32_t k = 0; k < o.count && !r; k++)
                now[o.sector + k] = shown(&o);
            for (uint32_t k = 0; k < o.count && r; k++)
                now[o.sector + k] = UINT32_MAX - 1; /* never acknowledged: anything it had or gets */
        }
        hit = !countdown;
        countdown = 0;
        did.faults += hit && !memory;
        did.allocations += hit && memory;
        if (failed_flush) {
            if (plant == PLANT_FORGOTTEN_FLUSH)
                atomic_store(&img->file->flush_error, 0);
            bad += gh_image_flush(img) >= 0;   /* a failure is final */
        }
        gh_image_close(img);
        gh_file_set_hook(NULL);
        if (!failed_flush && !ends_right(fd) && bad++ < 3 && !plant)
            fprintf(stderr, "%s: fault %u: the file does not end as it should\n", kind->name, n);
        img = open_fd(fd, true, &err);
        if (!img || gh_image_read(img, 0, all, (size_t)DISK_SECTORS * SECTOR)) {
            fprintf(stderr, "%s: fault %u: cannot be read: %s\n", kind->name, n, err.text);
            bad++;
        } else {
            for (uint32_t s = 0; s < DISK_SECTORS; s++) {
                uint32_t v = version_of(all + (size_t)s * SECTOR, s);
                if (now[s] != UINT32_MAX - 1 && v != now[s] && bad++ < 3 && !plant)
                    fprintf(stderr, "%s: fault %u: sector %u has version %u, not %u\n", kind->name, n, s, v, now[s]);
            }
            bad += (uint32_t)repaired(img, 1);
        }
        gh_image_close(img);
        close(fd);
    }
    CHECK_EQ(bad != 0, plant != PLANT_NONE);
    free(now);
    free(all);
}

static const struct kind *find_kind(const char *name)
{
    for (size_t i = 0; i < GH_ARRAY_LEN(kinds); i++)
        if (!strcmp(kinds[i].name, name))
            return &kinds[i];
    CHECK_FATAL(false);
    return NULL;
}

static void planted_power(void) { test_power(3000); }
static void planted_kill(void) { test_kill(20); }
static void planted_faults(void) { test_faults(false, 1); }

/* Each rule broken once where it matters; the harness that watches over it must cry. */
static void test_planted(void)
{
    static const struct { enum plant plant; const char *what, *kind; void (*harness)(void); } plants[] = {
        { PLANT_NO_BARRIER, "a missing barrier", "qcow2-child", planted_power },
        { PLANT_NO_BARRIER, "a missing barrier", "vdi-child", planted_power },
        { PLANT_EMPTY_FLUSH, "a flush that flushes nothing", "raw", planted_power },
        { PLANT_EMPTY_FLUSH, "a flush that flushes nothing", "vhd", planted_power },
        { PLANT_POINTER_IN_MEMORY, "a pointer kept in memory", "qcow2", planted_kill },
        { PLANT_POINTER_IN_MEMORY, "a pointer kept in memory", "vdi", planted_kill },
        { PLANT_POINTER_IN_MEMORY, "a pointer kept in memory", "vmdk", planted_kill },
        { PLANT_POINTER_IN_MEMORY, "a pointer kept in memory", "vhd", planted_kill },
        { PLANT_POINTER_IN_MEMORY, "a pointer kept in memory", "vhdx", planted_kill },
        { PLANT_EARLY_FREE, "a count that falls before its pointer", "qcow2-v2", planted_power },
        { PLANT_NO_DIRTY_MARK, "a dirty bit that is not durable", "qcow2", planted_power },
        { PLANT_ONE_TABLE, "a second grain table that is not written", "vmdk", planted_kill },
        { PLANT_NO_FOOTER, "a footer that is not written again", "vhd", planted_faults },
        { PLANT_LATE_REFCOUNT, "a count written after its pointer", "qcow2-v2", planted_power },
        { PLANT_BELIEVED_WRITE, "a failed write that counts as done", "raw", planted_faults },
        { PLANT_BELIEVED_WRITE, "a failed write that counts as done", "vmdk", planted_faults },
        { PLANT_FORGOTTEN_FLUSH, "a failed flush that is forgotten", "qcow2-child", planted_faults },
    };
    for (unsigned i = 0; i < GH_ARRAY_LEN(plants); i++) {
        unsigned was = check_failed_;
        kind = find_kind(plants[i].kind);
        plant = plants[i].plant;
        plants[i].harness();
        plant = PLANT_NONE;
        printf("planted, %-12s %s %s\n", plants[i].kind, plants[i].what, check_failed_ == was ? "was found" : "was NOT found");
        fflush(stdout);
    }
}

static bool known(const char *format)
{
    for (const struct gh_image_format *f = gh_image_formats(); f->name; f++)
        if (!strcmp(f->name, format))
            return f->can_write;
    return false;
}

/* Everything of one format, and a line about what was done. */
static void test_kind(unsigned kills, unsigned crashes, unsigned step)
{
    unsigned was = check_failed_;
    memset(&did, 0, sizeof did);
    test_kill(kills);
    for (unsigned left = crashes; left;) {     /* a new history for every thousand images */
        unsigned part = left < 1000 ? left : 1000;
        test_power(part);
        left -= part;
    }
    test_faults(false, step);
    test_faults(true, step);
    /* A failure ends its loop early and is counted as one; nothing else may. */
    if (check_failed_ == was) {
        CHECK_EQ(did.kills, kills);
        CHECK_EQ(did.crashes, crashes);
        CHECK(did.writes >= kills / 2);
        CHECK(did.faults >= 60 / step);
        /* Only memory whose size the file controls counts; these two have none. */
        CHECK(did.allocations || !strcmp(kind->name, "raw") || !strcmp(kind->name, "vhd-fixed"));
    }
    printf("%-18s %llu kills after %llu acknowledged writes, %llu crash images of %llu histories, %llu single faults, %llu failed allocations: %s\n",
           kind->name, (unsigned long long)did.kills, (unsigned long long)did.writes, (unsigned long long)did.crashes,
           (unsigned long long)did.histories, (unsigned long long)did.faults, (unsigned long long)did.allocations,
           check_failed_ == was ? "ok" : "FAILED");
    fflush(stdout);
}

enum { ALL_KILLS = 10000, ALL_CRASHES = 1000000 };

int main(int argc, char **argv)
{
    unsigned kills = 15, crashes = 150, step = 7, tested = 0;
    const char *only = NULL;
    const char *everything = getenv("GH_ALL");
    bool full = everything && *everything;              /* ./test --all */
    if (full) {
        kills = ALL_KILLS;
        crashes = ALL_CRASHES;
        step = 1;
    }
    for (int i = 1; i < argc; i += 2) {
        unsigned *number = !strcmp(argv[i], "--kills") ? &kills : !strcmp(argv[i], "--crashes") ? &crashes : !strcmp(argv[i], "--step") ? &step
                         : !strcmp(argv[i], "--seed") ? &seed : NULL;
        char *end = NULL;
        CHECK_FATAL(i + 1 < argc && (number || !strcmp(argv[i], "--only")));
        if (number) {
            *number = (unsigned)strtoul(argv[i + 1], &end, 10);
            CHECK_FATAL(end != argv[i + 1] && !*end);
        } else {
            only = argv[i + 1];
        }
    }
    seed |= 1;
    CHECK_FATAL(step && (!full || (kills >= ALL_KILLS && crashes >= ALL_CRASHES && step == 1)));
    for (size_t i = 0; i < GH_ARRAY_LEN(kinds); i++) {
        kind = &kinds[i];
        if (only && strcmp(only, kind->name))
            continue;
        CHECK(known(kind->format));
        test_kind(kills, crashes, step);
        tested++;
    }
    if (!only || !strcmp(only, "planted")) {
        test_planted();
        tested++;
    }
    CHECK_FATAL(tested);
    return check_result();
}
