/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The two promises, per format: test-crash [--kills N] [--crashes N] [--only NAME] [--seed S].
 *
 * kill:   a child writes and is killed with SIGKILL; every write it saw complete must be there.
 * power:  everything the shim did is recorded; images are built from what was flushed plus random
 *         parts of the rest, with torn sectors; nothing flushed may be missing or wrong.
 * fault:  each host call fails once; the request is tried again; nothing may be lost.
 * planted: the same replay with the library's own barriers left out must find damage.
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
#include "disk/disk.h"
#include "disk/file.h"

enum { SECTOR = 512, DISK_SECTORS = 16384, MAX_WRITE = 300, MAX_OPS = 600 };

struct kind { const char *name, *format, *variant; uint64_t cluster; bool child, extended; unsigned version; };
static const struct kind kinds[] = {
    { "raw", "raw" }, { "qcow2", "qcow2", NULL, 4096 }, { "qcow2-64k", "qcow2" }, { "qcow2-v2", "qcow2", NULL, 4096, .version = 2 },
    { "qcow2-child", "qcow2", NULL, 4096, true }, { "qcow2-subclusters", "qcow2", NULL, 32768, true, true },
    { "vdi", "vdi" }, { "vdi-child", "vdi", NULL, 0, true }, { "vmdk", "vmdk" }, { "vhd", "vhd" }, { "vhd-fixed", "vhd", "fixed" },
    { "vhdx", "vhdx" },
};

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
    for (unsigned i = 8; i < SECTOR; i++)
        if (buf[i] != buf[i - 8])
            return UINT32_MAX;
    memcpy(&s, buf, 4);
    memcpy(&v, buf + 4, 4);
    return !s && !v ? 0 : s == sector && v ? v : UINT32_MAX;
}

static const struct kind *kind;
static int parent_fd = -1;

static int memory_file(const char *name)
{
    int fd = memfd_create(name, MFD_CLOEXEC);
    CHECK_FATAL(fd >= 0);
    return fd;
}

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

static int repaired(struct gh_image *img)
{
    struct gh_check_report rep;
    struct gh_error err = { 0 };
    int r = gh_image_check(img, false, &rep, &err);
    if (r < 0 || rep.errors)
        fprintf(stderr, "%s: check says %d, %llu errors: %s%s\n", kind->name, r, (unsigned long long)rep.errors, rep.first, err.text);
    return r < 0 || rep.errors;
}

/* ---- kill -9 --------------------------------------------------------------------------------------------- */
struct shared { _Atomic uint32_t done; uint32_t base; struct op op[100000]; };

static void test_kill(unsigned rounds)
{
    struct shared *sh = mmap(NULL, sizeof *sh, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    uint32_t *now = malloc(DISK_SECTORS * sizeof *now), version = 2, bad = 0;
    uint8_t *all = malloc((size_t)DISK_SECTORS * SECTOR);
    int fd = make();
    CHECK_FATAL(sh != MAP_FAILED && now && all);
    for (uint32_t s = 0; s < DISK_SECTORS; s++)
        now[s] = first_version(s);
    for (unsigned round = 0; round < rounds; round++) {
        atomic_store(&sh->done, 0);
        pid_t pid = fork();
        CHECK_FATAL(pid >= 0);
        if (!pid) {
            struct gh_image *img = open_fd(fd, true, NULL);
            for (uint32_t i = 0; img && i < GH_ARRAY_LEN(sh->op); i++) {
                sh->op[i] = random_op(version + i);
                if (carry_out(img, &sh->op[i]))
                    _exit(3);
                atomic_store(&sh->done, i + 1);
            }
            _exit(img ? 0 : 2);
        }
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
            if (v != now[s] && !in_flight && bad++ < 3)
                fprintf(stderr, "%s: round %u: sector %u has version %u, not %u\n", kind->name, round, s, v, now[s]);
            now[s] = v;
        }
        bad += repaired(img);
        CHECK_EQ(gh_image_close(img), 0);
        version += done + 1;
        memset(&sh->op[done < GH_ARRAY_LEN(sh->op) ? done : 0], 0, sizeof sh->op[0]);
    }
    CHECK_EQ(bad, 0);
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

static int before(struct gh_file_hook *hook, const struct gh_file_event *ev)
{
    bool counts = fail_memory ? ev->op == GH_FILE_ALLOC_MEMORY : ev->op != GH_FILE_ALLOC_MEMORY && ev->op != GH_FILE_READ;
    if (!countdown || !counts || --countdown)
        return 0;
    if (ev->op == GH_FILE_FLUSH)
        failed_flush = true;
    return fail_code;
}

static void after(struct gh_file_hook *hook, const struct gh_file_event *ev)
{
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
static struct gh_file_hook hook = { before, after };

/* Applies one record, or a random part of its sectors. */
static void apply(int fd, const struct record *r, bool whole)
{
    struct stat st;
    int rc = 0;
    if (r->op == GH_FILE_TRUNCATE) {
        rc = ftruncate(fd, (off_t)r->bytes);
    } else if (r->op == GH_FILE_PUNCH || r->op == GH_FILE_ZERO) {
        rc = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)r->offset, (off_t)r->bytes);
    } else if (r->op == GH_FILE_ALLOCATE) {
        fstat(fd, &st);
        if ((uint64_t)st.st_size < r->offset + r->bytes)
            rc = ftruncate(fd, (off_t)(r->offset + r->bytes));
    } else if (r->op == GH_FILE_WRITE) {
        for (uint64_t at = 0; at < r->bytes;) {
            uint64_t n = SECTOR - (r->offset + at) % SECTOR;
            n = n < r->bytes - at ? n : r->bytes - at;
            if (whole || rnd(2))
                rc |= pwrite(fd, r->data + at, n, (off_t)(r->offset + at)) != (ssize_t)n;
            at += n;
        }
    }
    CHECK_FATAL(!rc);
}

static void copy_file(int from, int to)
{
    struct stat st;
    static uint8_t buf[1 << 16];
    fstat(from, &st);
    CHECK_FATAL(!ftruncate(to, 0) && !ftruncate(to, st.st_size));
    for (off_t at = 0; (at = lseek(from, at, SEEK_DATA)) >= 0;) {
        off_t end = lseek(from, at, SEEK_HOLE);
        while (at < end) {
            ssize_t n = pread(from, buf, end - at < (off_t)sizeof buf ? (size_t)(end - at) : sizeof buf, at);
            CHECK_FATAL(n > 0 && pwrite(to, buf, (size_t)n, at) == n);
            at += n;
        }
    }
}

/* One crash image after `upto` records. Returns how many sectors are wrong. */
static unsigned crash(int base, unsigned upto, const struct op *ops, bool plant, uint8_t *all)
{
    int fd = memory_file("crash");
    unsigned durable = 0, wrong = 0;
    uint32_t flushed_op = 0, last_op = 0;
    copy_file(base, fd);
    for (unsigned i = 0; i < upto; i++) {
        if (records[i].op == GH_FILE_FLUSH && (records[i].guest_flush || !plant))
            durable = i;
        if (records[i].op == GH_FILE_FLUSH && records[i].guest_flush)
            flushed_op = records[i].guest_op;
        last_op = records[i].guest_op;
    }
    unsigned style = rnd(4);
    for (unsigned i = 0; i < upto; i++) {
        if (i < durable || style == 0)
            apply(fd, &records[i], true);
        else if (style == 1 ? rnd(2) : style == 2 ? rnd(8) != 0 : rnd(8) == 0)
            apply(fd, &records[i], rnd(3) != 0);
    }
    struct gh_error err = { 0 };
    struct gh_image *img = open_fd(fd, true, &err);
    if (!img || gh_image_read(img, 0, all, (size_t)DISK_SECTORS * SECTOR)) {
        if (!plant)
            fprintf(stderr, "%s: cannot be read after power loss: %s\n", kind->name, err.text);
        wrong = 1;
    } else {
        static uint32_t from[DISK_SECTORS];
        static bool maybe[DISK_SECTORS];
        for (uint32_t s = 0; s < DISK_SECTORS; s++)
            from[s] = first_version(s), maybe[s] = false;
        for (uint32_t o = 1; o <= flushed_op; o++)
            for (uint32_t k = 0; k < ops[o].count; k++)
                from[ops[o].sector + k] = shown(&ops[o]);
        for (uint32_t o = flushed_op + 1; o <= last_op; o++)
            for (uint32_t k = 0; k < ops[o].count; k++)
                maybe[ops[o].sector + k] = true;
        for (uint32_t s = 0; s < DISK_SECTORS; s++) {
            uint32_t v = version_of(all + (size_t)s * SECTOR, s);
            bool ok = v == from[s];
            for (uint32_t o = flushed_op + 1; !ok && maybe[s] && o <= last_op; o++)
                ok = s >= ops[o].sector && s < ops[o].sector + ops[o].count && v == shown(&ops[o]);
            if (!ok && !wrong++ && !plant)
                fprintf(stderr, "%s: record %u of %u, flush %u: sector %u has version %u, was %u\n", kind->name, upto,
                        record_count, flushed_op, s, v, from[s]);
        }
        if (!plant)
            wrong += (unsigned)repaired(img);
    }
    gh_image_close(img);
    close(fd);
    return wrong;
}

static void test_power(unsigned crashes, bool plant)
{
    struct op *ops = calloc(MAX_OPS + 1, sizeof *ops);
    uint8_t *all = malloc((size_t)DISK_SECTORS * SECTOR);
    int fd = make(), base = memory_file("base");
    unsigned wrong = 0;
    copy_file(fd, base);
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
    for (unsigned i = 0; i < crashes && wrong < 5; i++)
        wrong += crash(base, 1 + rnd(made), ops, plant, all) != 0;
    if (plant)
        CHECK(wrong > 0);
    else
        CHECK_EQ(wrong, 0);
    gh_image_close(img);
    for (unsigned i = 0; i < record_count; i++)
        free(records[i].data);
    record_count = 0;
    free(ops);
    free(all);
    close(fd);
    close(base);
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
            if (r < 0 && !failed_flush && bad++ < 3)
                fprintf(stderr, "%s: fault %u: the second try failed too: %d\n", kind->name, n, r);
            for (uint32_t k = 0; k < o.count && !r; k++)
                now[o.sector + k] = shown(&o);
            for (uint32_t k = 0; k < o.count && r; k++)
                now[o.sector + k] = UINT32_MAX - 1; /* never acknowledged: anything it had or gets */
        }
        hit = !countdown;
        countdown = 0;
        if (failed_flush)
            CHECK(gh_image_flush(img) < 0);    /* final */
        gh_image_close(img);
        gh_file_set_hook(NULL);
        img = open_fd(fd, true, &err);
        if (!img || gh_image_read(img, 0, all, (size_t)DISK_SECTORS * SECTOR)) {
            fprintf(stderr, "%s: fault %u: cannot be read: %s\n", kind->name, n, err.text);
            bad++;
        } else {
            for (uint32_t s = 0; s < DISK_SECTORS; s++) {
                uint32_t v = version_of(all + (size_t)s * SECTOR, s);
                if (now[s] != UINT32_MAX - 1 && v != now[s] && bad++ < 3)
                    fprintf(stderr, "%s: fault %u: sector %u has version %u, not %u\n", kind->name, n, s, v, now[s]);
            }
            bad += (uint32_t)repaired(img);
        }
        gh_image_close(img);
        close(fd);
    }
    CHECK_EQ(bad, 0);
    free(now);
    free(all);
}

static bool known(const char *format)
{
    for (const struct gh_image_format *f = gh_image_formats(); f->name; f++)
        if (!strcmp(f->name, format))
            return f->can_write;
    return false;
}

int main(int argc, char **argv)
{
    unsigned kills = 15, crashes = 150, step = 7;
    const char *only = NULL;
    if (getenv("GH_ALL")) {                    /* ./test --all */
        kills = 400;
        crashes = 5000;
        step = 1;
    }
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--kills"))
            kills = (unsigned)atoi(argv[i + 1]);
        else if (!strcmp(argv[i], "--crashes"))
            crashes = (unsigned)atoi(argv[i + 1]);
        else if (!strcmp(argv[i], "--step"))
            step = (unsigned)atoi(argv[i + 1]);
        else if (!strcmp(argv[i], "--only"))
            only = argv[i + 1];
        else if (!strcmp(argv[i], "--seed"))
            seed = (uint32_t)atoi(argv[i + 1]) | 1;
    }
    for (size_t i = 0; i < GH_ARRAY_LEN(kinds); i++) {
        kind = &kinds[i];
        if ((only && strcmp(only, kind->name)) || !known(kind->format))
            continue;
        unsigned was = check_failed_;
        test_kill(kills);
        test_power(crashes, false);
        test_faults(false, step);
        test_faults(true, step);
        printf("%-18s %s\n", kind->name, check_failed_ == was ? "ok" : "FAILED");
        fflush(stdout);
    }
    if (!only) {
        kind = &kinds[4];
        test_power(crashes * 4 < 2000 ? 2000 : crashes, true);
        printf("planted: a missing barrier was found\n");
    }
    return check_result();
}
