/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The raw driver, the locks, and the block backend: completions, held requests, media. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "../check.h"
#include "base/bytes.h"
#include "disk/block.h"
#include "disk/file.h"

static char folder[] = "/tmp/gh-block-XXXXXX";

static int temp_file(const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
}

static struct gh_image *raw_image(const char *name, uint64_t bytes, bool writable, struct gh_error *err)
{
    int fd = temp_file(name);
    if (ftruncate(fd, (off_t)bytes) < 0)
        return NULL;
    return gh_image_open(&(struct gh_image_spec){ .format = "raw", .label = name, .fd = fd, .writable = writable }, err);
}

/* ---- A stand-in for the machine's loop ---------------------------------------------------------------- */
static pthread_mutex_t post_lock = PTHREAD_MUTEX_INITIALIZER;
static void (*post_fn[64])(void *), *post_arg[64];
static unsigned posts;
static int wake_fd;
static pthread_mutex_t machine = PTHREAD_MUTEX_INITIALIZER; /* the main thread has it except while it waits */
static unsigned ran_on_workers;

static bool run_on_worker(void *opaque, void (*fn)(void *), void *arg)
{
    if (pthread_mutex_trylock(&machine))
        return false;
    fn(arg);
    ran_on_workers++;
    pthread_mutex_unlock(&machine);
    eventfd_write(wake_fd, 1);
    return true;
}
static bool (*run_now)(void *opaque, void (*fn)(void *), void *arg);

static void post(void *opaque, void (*fn)(void *), void *arg)
{
    pthread_mutex_lock(&post_lock);
    post_fn[posts] = fn;
    post_arg[posts++] = arg;
    pthread_mutex_unlock(&post_lock);
    eventfd_write(wake_fd, 1);
}

static void loop_once(int timeout_ms)
{
    struct pollfd p = { .fd = wake_fd, .events = POLLIN };
    eventfd_t v;
    pthread_mutex_unlock(&machine);
    if (poll(&p, 1, timeout_ms) > 0)
        eventfd_read(wake_fd, &v);
    pthread_mutex_lock(&machine);
    for (;;) {
        pthread_mutex_lock(&post_lock);
        unsigned n = posts;
        void (*fn)(void *) = n ? post_fn[0] : NULL;
        void *arg = n ? post_arg[0] : NULL;
        if (n) {
            memmove(post_fn, post_fn + 1, sizeof *post_fn * (n - 1));
            memmove(post_arg, post_arg + 1, sizeof *post_arg * (n - 1));
            posts--;
        }
        pthread_mutex_unlock(&post_lock);
        if (!n)
            return;
        fn(arg);
    }
}

static unsigned stalls, events, eject_requests;
static char stall_id[48];
static void stalled(void *opaque, struct gh_block *b, const struct gh_error *why)
{
    stalls++;
    snprintf(stall_id, sizeof stall_id, "%s", why->id);
}
static void medium_event(void *opaque, bool eject_request)
{
    events++;
    eject_requests += eject_request;
}

static unsigned finished;
static int last_result;
static void done(struct gh_block_request *req, int result)
{
    finished++;
    last_result = result;
}

static int submit_wait(struct gh_block *b, enum gh_block_op op, uint64_t off, void *buf, size_t len)
{
    struct iovec iov = { buf, len };
    struct gh_block_request req = { .op = op, .offset = off, .bytes = len, .iov = &iov, .iov_count = 1, .done = done };
    unsigned was = finished;
    b->ops->submit(b, &req);
    for (unsigned i = 0; i < 50 && finished == was; i++)
        loop_once(100);
    CHECK_FATAL(finished == was + 1);
    return last_result;
}

/* ---- Fault injection: fails the next so many writes ------------------------------------------------------ */
static _Atomic int fail_writes, fail_with, fail_flushes;
static int fault(struct gh_file_hook *hook, const struct gh_file_event *ev)
{
    if (ev->op == GH_FILE_WRITE && fail_writes > 0) {
        fail_writes--;
        return fail_with;
    }
    if (ev->op == GH_FILE_FLUSH && fail_flushes > 0) {
        fail_flushes--;
        return -EIO;
    }
    return 0;
}
static struct gh_file_hook hook = { fault, NULL };

static void test_disk(void)
{
    stalls = 0;
    struct gh_error err = { 0 };
    uint8_t out[4096], in[4096];
    struct gh_disk_block_params p = { .name = "sda", .serial = "GH1", .model = "DISK", .post = post, .run_now = run_now, .stalled = stalled };
    struct gh_block *b = gh_disk_block_new(&p, raw_image("a.img", 1 << 20, true, &err), &err);
    CHECK_FATAL(b);
    struct gh_block_info info;
    b->ops->info(b, &info);
    CHECK_EQ(info.bytes, 1 << 20);
    CHECK(info.medium && !info.read_only && !info.removable);
    for (unsigned i = 0; i < sizeof out; i++)
        out[i] = (uint8_t)(i * 7);
    CHECK_EQ(submit_wait(b, GH_BLOCK_WRITE, 8192, out, sizeof out), 0);
    CHECK_EQ(submit_wait(b, GH_BLOCK_FLUSH, 0, NULL, 0), 0);
    memset(in, 0, sizeof in);
    CHECK_EQ(submit_wait(b, GH_BLOCK_READ, 8192, in, sizeof in), 0);
    CHECK(!memcmp(in, out, sizeof in));
    CHECK_EQ(submit_wait(b, GH_BLOCK_DISCARD, 8192, NULL, 4096), 0);
    CHECK_EQ(submit_wait(b, GH_BLOCK_READ, 1 << 20, in, 512), -EINVAL);

    /* Disk full: nothing completes, the machine hears of it once, resume writes. */
    gh_file_set_hook(&hook);
    fail_with = -ENOSPC;
    fail_writes = 1;
    struct iovec iov = { out, sizeof out };
    struct gh_block_request w = { .op = GH_BLOCK_WRITE, .bytes = sizeof out, .iov = &iov, .iov_count = 1, .done = done };
    unsigned was = finished;
    b->ops->submit(b, &w);
    for (unsigned i = 0; i < 50 && !stalls; i++)
        loop_once(100);
    CHECK_EQ(stalls, 1);
    CHECK_STR(stall_id, "DiskFull");
    CHECK_EQ(finished, was);
    CHECK(gh_disk_block_stalled(b));
    gh_disk_block_resume(b, false);
    for (unsigned i = 0; i < 50 && finished == was; i++)
        loop_once(100);
    CHECK_EQ(finished, was + 1);
    CHECK_EQ(last_result, 0);
    CHECK_EQ(submit_wait(b, GH_BLOCK_READ, 0, in, sizeof in), 0);
    CHECK(!memcmp(in, out, sizeof in));

    /* The same reported to the guest, then cancelled. */
    fail_with = -EIO;
    fail_writes = 1;
    b->ops->submit(b, &w);
    for (unsigned i = 0; i < 50 && stalls < 2; i++)
        loop_once(100);
    CHECK_STR(stall_id, "DiskWriteFailed");
    was = finished;
    gh_disk_block_resume(b, true);
    loop_once(1000);
    CHECK_EQ(finished, was + 1);
    CHECK_EQ(last_result, -EIO);

    /* A failed flush is final. */
    CHECK_EQ(submit_wait(b, GH_BLOCK_WRITE, 0, out, sizeof out), 0);
    fail_flushes = 1;
    struct gh_block_request f = { .op = GH_BLOCK_FLUSH, .done = done };
    b->ops->submit(b, &f);
    for (unsigned i = 0; i < 50 && stalls < 3; i++)
        loop_once(100);
    CHECK_STR(stall_id, "DiskFlushFailed");
    gh_disk_block_resume(b, false);
    for (unsigned i = 0; i < 50 && stalls < 4; i++)
        loop_once(100);
    CHECK_EQ(stalls, 4);
    was = finished;
    b->ops->cancel_all(b);
    loop_once(1000);
    CHECK_EQ(finished, was + 1);
    CHECK_EQ(last_result, -ECANCELED);
    gh_file_set_hook(NULL);
    CHECK_EQ(gh_disk_block_free(b), -EIO);
}

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static _Atomic unsigned flushes_seen;
static int watch(struct gh_file_hook *h, const struct gh_file_event *ev)
{
    flushes_seen += ev->op == GH_FILE_FLUSH;
    return 0;
}

/* What the limit holds back, what each cache policy flushes, and what a stop does with what is queued. */
static void test_policies(void)
{
    static uint8_t buf[65536];
    struct gh_file_hook watcher = { watch, NULL };
    struct gh_error err = { 0 };
    struct gh_disk_block_params p = { .name = "slow", .post = post, .run_now = run_now, .stalled = stalled, .limit_ops = 40 };
    struct gh_block *b = gh_disk_block_new(&p, raw_image("slow.img", 1 << 20, true, &err), &err);
    CHECK_FATAL(b);
    uint64_t begin = now_ms();
    for (unsigned i = 0; i < 24; i++)
        CHECK_EQ(submit_wait(b, GH_BLOCK_READ, i * 512, buf, 512), 0);
    CHECK(now_ms() - begin >= 400);           /* 24 at 40 a second, 4 of them on credit */
    CHECK_EQ(gh_disk_block_free(b), 0);

    p = (struct gh_disk_block_params){ .name = "slow", .post = post, .run_now = run_now, .stalled = stalled, .limit_bytes = 1 << 20 };
    b = gh_disk_block_new(&p, raw_image("slow.img", 1 << 20, true, &err), &err);
    begin = now_ms();
    for (unsigned i = 0; i < 10; i++)
        CHECK_EQ(submit_wait(b, GH_BLOCK_WRITE, i * sizeof buf, buf, sizeof buf), 0);
    CHECK(now_ms() - begin >= 400);           /* 640 KiB at 1 MiB a second */
    /* A stop does not wait for the limit, and drops nothing that was queued. */
    struct iovec iov = { buf, sizeof buf };
    struct gh_block_request req[16];
    unsigned was = finished;
    memset(buf, 0x77, sizeof buf);
    for (unsigned i = 0; i < 16; i++) {
        req[i] = (struct gh_block_request){ .op = GH_BLOCK_WRITE, .offset = i * sizeof buf, .bytes = sizeof buf, .iov = &iov, .iov_count = 1, .done = done };
        b->ops->submit(b, &req[i]);
    }
    begin = now_ms();
    gh_disk_block_stop(b);
    CHECK_EQ(finished, was + 16);
    CHECK_EQ(last_result, 0);
    b->ops->submit(b, &req[0]);               /* too late: forgotten */
    loop_once(50);
    CHECK_EQ(finished, was + 16);
    CHECK_EQ(gh_disk_block_free(b), 0);

    static const struct { enum gh_disk_cache cache; unsigned writes_flush, flush_flushes; } policies[] = {
        { GH_DISK_WRITEBACK, 0, 1 }, { GH_DISK_WRITETHROUGH, 3, 0 }, { GH_DISK_UNSAFE, 0, 0 },
    };
    for (unsigned i = 0; i < 3; i++) {
        p = (struct gh_disk_block_params){ .name = "c", .post = post, .run_now = run_now, .cache = policies[i].cache, .no_discard = true };
        b = gh_disk_block_new(&p, raw_image("cache.img", 1 << 20, true, &err), &err);
        struct gh_block_info info;
        b->ops->info(b, &info);
        CHECK(!info.can_discard);
        gh_file_set_hook(&watcher);
        flushes_seen = 0;
        for (unsigned k = 0; k < 3; k++)
            CHECK_EQ(submit_wait(b, GH_BLOCK_WRITE, k * 4096, buf, 4096), 0);
        CHECK_EQ(flushes_seen, policies[i].writes_flush);
        flushes_seen = 0;
        CHECK_EQ(submit_wait(b, GH_BLOCK_FLUSH, 0, NULL, 0), 0);
        CHECK_EQ(flushes_seen, policies[i].flush_flushes);
        gh_file_set_hook(NULL);
        CHECK_EQ(gh_disk_block_free(b), 0);
    }
}

/* Many in flight, each followed by another out of its completion; flushes between. A drain leaves nothing running. */
static struct gh_block *busy;
static unsigned to_submit, flying, wrong;
static void next_one(struct gh_block_request *r, int result)
{
    const uint8_t *data = r->op == GH_BLOCK_FLUSH ? NULL : r->iov->iov_base;
    wrong += result < 0 || (r->op == GH_BLOCK_READ && data[0] != (uint8_t)(r->offset >> 9));
    flying--;
    if (!to_submit)
        return;
    to_submit--;
    flying++;
    r->op = to_submit % 16 ? GH_BLOCK_READ : GH_BLOCK_FLUSH;
    r->bytes = r->op == GH_BLOCK_FLUSH ? 0 : 512;
    r->offset = to_submit % 512 * 512;
    busy->ops->submit(busy, r);
}

static void test_many(void)
{
    enum { DEPTH = 24, COUNT = 20000 };
    static uint8_t buf[DEPTH][512], pattern[512 * 512];
    struct gh_block_request req[DEPTH];
    struct iovec iov[DEPTH];
    struct gh_error err = { 0 };
    struct gh_disk_block_params p = { .name = "busy", .post = post, .run_now = run_now };
    busy = gh_disk_block_new(&p, raw_image("busy.img", sizeof pattern, true, &err), &err);
    CHECK_FATAL(busy);
    for (unsigned i = 0; i < sizeof pattern; i++)
        pattern[i] = (uint8_t)(i >> 9);
    CHECK_EQ(submit_wait(busy, GH_BLOCK_WRITE, 0, pattern, sizeof pattern), 0);
    wrong = 0;
    flying = DEPTH;
    to_submit = COUNT;
    for (unsigned i = 0; i < DEPTH; i++) {
        iov[i] = (struct iovec){ buf[i], 512 };
        req[i] = (struct gh_block_request){ .bytes = 512, .iov = &iov[i], .iov_count = 1, .offset = i * 512, .done = next_one };
        busy->ops->submit(busy, &req[i]);
    }
    while (to_submit > COUNT / 2)
        loop_once(100);
    to_submit = 0;
    pthread_mutex_unlock(&machine);
    gh_disk_block_drain(busy);
    pthread_mutex_lock(&machine);
    gh_disk_block_deliver(busy);
    CHECK_EQ(flying, 0);
    CHECK_EQ(wrong, 0);
    loop_once(0);                             /* no post may outlive the drive */
    CHECK_EQ(gh_disk_block_free(busy), 0);
}

static void test_locks(void)
{
    struct gh_error err = { 0 };
    struct gh_image *one = raw_image("l.img", 4096, true, &err);
    CHECK_FATAL(one);
    struct gh_image *two = raw_image("l.img", 4096, true, &err);
    CHECK(!two);
    CHECK_STR(err.id, "DiskLocked");
    gh_error_clear(&err);
    CHECK(!raw_image("l.img", 4096, false, &err));
    gh_image_close(one);
    gh_error_clear(&err);
    one = raw_image("l.img", 4096, false, &err);
    two = raw_image("l.img", 4096, false, &err);
    CHECK(one && two);
    CHECK(!raw_image("l.img", 4096, true, &err));
    CHECK_EQ(gh_image_write(one, 0, "x", 1), -EROFS);
    gh_image_close(one);
    gh_image_close(two);
    gh_error_clear(&err);
    CHECK(!gh_image_open(&(struct gh_image_spec){ .format = "raw", .label = folder, .fd = open(folder, O_RDONLY) }, &err));
    CHECK_STR(err.id, "DiskNotAFile");
    gh_error_clear(&err);
    CHECK(!gh_image_open(&(struct gh_image_spec){ .format = "zip", .label = "z", .fd = temp_file("z") }, &err));
    CHECK_STR(err.id, "DiskFormatUnknown");
}

/* A VHD whose block bitmap does not say what is there (power loss, or a program that sets single bits): the
 * first write sets all of it and keeps the block's other data, for other programs go by it. */
static void test_vhd_bitmap(void)
{
    struct gh_error err = { 0 };
    struct gh_image_create how = { .format = "vhd", .bytes = 8 << 20 };
    uint8_t buf[4096], bits[512], table[4];
    int fd = temp_file("bits.vhd");
    CHECK_FATAL(gh_image_create(dup(fd), "bits.vhd", &how, &err) == 0);
    struct gh_image_spec spec = { .format = "vhd", .label = "bits.vhd", .fd = dup(fd), .writable = true, .unlocked = true };
    struct gh_image *img = gh_image_open(&spec, &err);
    CHECK_FATAL(img);
    memset(buf, 0x11, sizeof buf);
    CHECK_EQ(gh_image_write(img, 64 << 10, buf, sizeof buf), 0);
    CHECK_EQ(gh_image_close(img), 0);
    CHECK_EQ(pread(fd, table, 4, 1536), 4);
    off_t place = (off_t)gh_be32_get(table) * 512;
    memset(bits, 0, sizeof bits);
    CHECK_EQ(pwrite(fd, bits, sizeof bits, place), (ssize_t)sizeof bits);
    spec.fd = dup(fd);
    img = gh_image_open(&spec, &err);
    CHECK_FATAL(img);
    CHECK_EQ(gh_image_read(img, 64 << 10, buf, sizeof buf), 0);
    CHECK_EQ(buf[0], 0x11);
    CHECK_EQ(pread(fd, bits, sizeof bits, place), (ssize_t)sizeof bits);
    CHECK_EQ(bits[0], 0);                     /* reading changes nothing */
    memset(buf, 0x22, sizeof buf);
    CHECK_EQ(gh_image_write(img, 128 << 10, buf, sizeof buf), 0);
    CHECK_EQ(gh_image_read(img, 64 << 10, buf, sizeof buf), 0);
    CHECK_EQ(buf[4095], 0x11);
    CHECK_EQ(gh_image_close(img), 0);
    CHECK_EQ(pread(fd, bits, sizeof bits, place), (ssize_t)sizeof bits);
    CHECK(bits[0] == 0xff && !memcmp(bits, bits + 1, sizeof bits - 1));
    CHECK_EQ(pread(fd, buf, sizeof buf, place + 512 + (128 << 10)), (ssize_t)sizeof buf);
    CHECK_EQ(buf[0], 0x22);
    close(fd);
}

static void test_media(void)
{
    events = eject_requests = 0;
    struct gh_error err = { 0 };
    uint8_t buf[2048];
    struct gh_disk_block_params p = { .name = "cd0", .removable = true, .post = post, .run_now = run_now };
    struct gh_block *b = gh_disk_block_new(&p, NULL, &err);
    struct gh_block_info info;
    CHECK_FATAL(b);
    b->medium_event = medium_event;
    b->ops->info(b, &info);
    CHECK(!info.medium && info.removable);
    uint64_t generation = info.medium_generation;
    CHECK_EQ(submit_wait(b, GH_BLOCK_READ, 0, buf, 2048), -ENOMEDIUM);
    CHECK_EQ(gh_disk_block_insert(b, raw_image("cd.iso", 10000, false, &err), false, &err), 0);
    CHECK_EQ(events, 1);
    b->ops->info(b, &info);
    CHECK(info.medium && info.read_only && info.medium_generation > generation);
    CHECK_EQ(info.bytes, 10240);
    CHECK_EQ(submit_wait(b, GH_BLOCK_READ, 0, buf, 2048), 0);
    CHECK_EQ(b->ops->eject(b, false), 0);
    CHECK_EQ(submit_wait(b, GH_BLOCK_READ, 0, buf, 2048), -ENOMEDIUM);
    CHECK_EQ(b->ops->eject(b, true), 0);
    b->ops->lock(b, true);
    CHECK_EQ(b->ops->eject(b, false), -EBUSY);
    CHECK_EQ(gh_disk_block_eject(b, false, &err), -EBUSY);
    CHECK_STR(err.id, "MediumLocked");
    CHECK_EQ(eject_requests, 1);
    CHECK_EQ(gh_disk_block_eject(b, true, &err), 0);
    CHECK_EQ(submit_wait(b, GH_BLOCK_READ, 0, buf, 2048), -ENOMEDIUM);
    CHECK_EQ(gh_disk_block_free(b), 0);
}

int main(void)
{
    CHECK_FATAL(mkdtemp(folder));
    wake_fd = eventfd(0, EFD_NONBLOCK);
    pthread_mutex_lock(&machine);
    for (unsigned i = 0; i < 2; i++) {
        run_now = i ? run_on_worker : NULL;
        test_disk();
        test_policies();
        test_many();
        test_media();
        CHECK_EQ(ran_on_workers > 0, i);
    }
    pthread_mutex_unlock(&machine);
    test_locks();
    test_vhd_bitmap();
    char cmd[64];
    snprintf(cmd, sizeof cmd, "rm -r %s", folder);
    CHECK_EQ(system(cmd), 0);
    return check_result();
}
