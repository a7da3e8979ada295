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
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "crash.h"

/* What was done, counted where it was. */
static struct { uint64_t kills, writes, halves, crashes, histories, faults, allocations; } did;

/* ---- kill -9 --------------------------------------------------------------------------------------------- */
struct shared { _Atomic uint32_t done; uint32_t base; struct op op[100000]; };

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
            bool in_flight = flying && flying->version == version + done && s >= flying->sector && s < flying->sector + flying->count;
            bool half = v == UINT32_MAX && in_flight && half_written(all + (size_t)s * SECTOR, s, now[s], shown(flying));
            did.halves += half;
            if (v != now[s] && !half && !(in_flight && v == shown(flying)) && bad++ < 3 && !plant)
                fprintf(stderr, "%s: round %u: sector %u has version %u, not %u%s\n", kind->name, round, s, v, now[s],
                        in_flight ? ", and was being written" : "");
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

/* What the format wants behind everything when it is closed. */
static bool ends_right(int fd)
{
    struct stat st;
    char last[8];
    return strcmp(kind->format, "vhd") || (!fstat(fd, &st) && pread(fd, last, 8, st.st_size - SECTOR) == 8 && !memcmp(last, "conectix", 8));
}

/* ---- Power loss --------------------------------------------------------------------------------------------- */
static void test_power(unsigned crashes)
{
    uint64_t made;
    CHECK_EQ(power_history(crashes, &made) > 0, plant != PLANT_NONE);
    did.crashes += made;
    did.histories++;
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
        shim.countdown = n;
        shim.fail_code = memory ? -ENOMEM : n & 1 ? -ENOSPC : -EIO;
        shim.fail_memory = memory;
        shim.failed_flush = false;
        struct gh_image *img = open_fd(fd, true, &err);
        if (!img && memory)                    /* refused cleanly; next time it works */
            img = open_fd(fd, true, &err);
        CHECK_FATAL(img);
        for (uint32_t i = 0; i < 60 && !shim.failed_flush; i++) {
            struct op o = random_op(i + 2);
            r = carry_out(img, &o);
            if (r < 0 && !shim.failed_flush)
                r = carry_out(img, &o);        /* the machine was resumed */
            if (r < 0 && !shim.failed_flush && bad++ < 3 && !plant)
                fprintf(stderr, "%s: fault %u: the second try failed too: %d\n", kind->name, n, r);
            for (uint32_t k = 0; k < o.count && !r; k++)
                now[o.sector + k] = shown(&o);
            for (uint32_t k = 0; k < o.count && r; k++)
                now[o.sector + k] = UINT32_MAX - 1; /* never acknowledged: anything it had or gets */
        }
        hit = !shim.countdown;
        shim.countdown = 0;
        did.faults += hit && !memory;
        did.allocations += hit && memory;
        if (shim.failed_flush) {
            if (plant == PLANT_FORGOTTEN_FLUSH)
                atomic_store(&img->file->flush_error, 0);
            bad += gh_image_flush(img) >= 0;   /* a failure is final */
        }
        gh_image_close(img);
        gh_file_set_hook(NULL);
        if (!shim.failed_flush && !ends_right(fd) && bad++ < 3 && !plant)
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
    for (size_t i = 0; i < kind_count; i++)
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
    if (did.halves)
        printf("%-18s %llu sectors were half written when their writer was killed\n", kind->name, (unsigned long long)did.halves);
    printf("%-18s %llu kills after %llu acknowledged writes, %llu crash images of %llu histories, %llu single faults, %llu failed allocations: %s\n",
           kind->name, (unsigned long long)did.kills, (unsigned long long)did.writes, (unsigned long long)did.crashes,
           (unsigned long long)did.histories, (unsigned long long)did.faults, (unsigned long long)did.allocations,
           check_failed_ == was ? "ok" : "FAILED");
    fflush(stdout);
}

enum { ALL_KILLS = 10000, ALL_CRASHES = 1000000 };

int main(int argc, char **argv)
{
    unsigned kills = 15, crashes = 1500, step = 7, tested = 0;
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
    for (size_t i = 0; i < kind_count; i++) {
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
