/* SPDX-License-Identifier: GPL-3.0-or-later */
/* For bench/disk: disk-bench [--plain|--direct|--ring] [--size N] [--depth N] [--cold] FORMAT FILE read|write COUNT STEP.
 * Requests of so many bytes (4 KiB), so many in flight (32), in steps of so many bytes round the disk. They go
 *   through the block backend, as a device uses it;
 *   --direct  one after the other through the disk library, on as many threads as are in flight, 4 at most;
 *   --plain   the same with pread and pwrite and nothing else (raw); both go round the memory of as many requests as are in flight;
 *   --ring    through io_uring, to where the format's map says they lie: what the backend could be.
 * --cold: the file is dropped from the host's cache before. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/io_uring.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "disk/block.h"
#include "disk/driver.h"

enum { MAX_DEPTH = 256, MAX_LOOPS = 4 };
enum way { BACKEND, DIRECT, PLAIN, RING };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER, machine = PTHREAD_MUTEX_INITIALIZER;
static void (*posted)(void *);
static void *posted_arg;
static int wake;
static unsigned long total, left, flying;
static uint64_t disk_bytes, step;
static size_t size = 4096;
static unsigned depth = 32;
static struct gh_block *block;
static struct gh_image *img;
static bool writes;
static _Atomic int failed;
static _Atomic uint64_t next_index;

/* Round the disk in steps; what does not fit its end begins again one step's rest further. */
static uint64_t offset_of(uint64_t index)
{
    uint64_t per_round = (disk_bytes - size) / step + 1, round = index / per_round;
    uint64_t shift = round * size % step, off = index % per_round * step + shift;
    return off + size <= disk_bytes ? off : shift;
}

static void post(void *opaque, void (*fn)(void *), void *arg)
{
    pthread_mutex_lock(&lock);
    posted = fn;
    posted_arg = arg;
    pthread_mutex_unlock(&lock);
    eventfd_write(wake, 1);
}

static bool run_now(void *opaque, void (*fn)(void *), void *arg)
{
    if (pthread_mutex_trylock(&machine))
        return false;
    fn(arg);
    bool last = !flying;
    pthread_mutex_unlock(&machine);
    if (last)
        eventfd_write(wake, 1);
    return true;
}

static void submit(struct gh_block_request *r)
{
    r->op = writes ? GH_BLOCK_WRITE : GH_BLOCK_READ;
    r->offset = offset_of(next_index++);
    left--;
    flying++;
    block->ops->submit(block, r);
}

static void done(struct gh_block_request *r, int result)
{
    flying--;
    failed |= result < 0;
    if (left)
        submit(r);
}

static int by_backend(uint8_t *buf)
{
    static struct iovec iov[MAX_DEPTH];
    static struct gh_block_request req[MAX_DEPTH];
    struct gh_error err = { 0 };
    wake = eventfd(0, 0);
    block = gh_disk_block_new(&(struct gh_disk_block_params){ .name = "bench", .post = post, .run_now = run_now }, img, &err);
    if (!block) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    left = total;
    pthread_mutex_lock(&machine);
    for (unsigned i = 0; i < depth && left; i++) {
        iov[i] = (struct iovec){ buf + i * size, size };
        req[i] = (struct gh_block_request){ .bytes = size, .iov = &iov[i], .iov_count = 1, .done = done };
        submit(&req[i]);
    }
    while (flying) {
        eventfd_t v;
        pthread_mutex_unlock(&machine);
        eventfd_read(wake, &v);
        pthread_mutex_lock(&machine);
        pthread_mutex_lock(&lock);
        void (*fn)(void *) = posted;
        void *arg = posted_arg;
        posted = NULL;
        pthread_mutex_unlock(&lock);
        if (fn)
            fn(arg);
    }
    pthread_mutex_unlock(&machine);
    return gh_disk_block_free(block) < 0;
}

static enum way way;
static int plain_fd;

static void *loop(void *arg)
{
    for (uint64_t i; (i = next_index++) < total;) {
        uint64_t off = offset_of(i);
        uint8_t *buf = (uint8_t *)arg + i % depth * size; /* each in flight has memory of its own, as a guest's have */
        ssize_t n = (ssize_t)size;
        if (way == PLAIN)
            n = writes ? pwrite(plain_fd, buf, size, (off_t)off) : pread(plain_fd, buf, size, (off_t)off);
        else if ((writes ? gh_image_write(img, off, buf, size) : gh_image_read(img, off, buf, size)) < 0)
            n = -1;
        failed |= n != (ssize_t)size;
    }
    return NULL;
}

static int by_loops(uint8_t *buf)
{
    pthread_t thread[MAX_LOOPS];
    unsigned n = 0, want = depth < MAX_LOOPS ? depth : MAX_LOOPS;
    for (; n + 1 < want && !pthread_create(&thread[n], NULL, loop, buf); n++) {
    }
    loop(buf);
    while (n)
        pthread_join(thread[--n], NULL);
    return (way == DIRECT ? gh_image_close(img) : writes ? fdatasync(plain_fd) : 0) < 0;  /* durable, as the others are in the end */
}

/* ---- io_uring, without its library ------------------------------------------------------------------------ */
struct ring {
    int fd;
    _Atomic uint32_t *sq_tail, *cq_head, *cq_tail;
    uint32_t sq_mask, cq_mask, *array;
    struct io_uring_sqe *sqe;
    struct io_uring_cqe *cqe;
};

static int ring_open(struct ring *r)
{
    struct io_uring_params p = { 0 };
    r->fd = (int)syscall(SYS_io_uring_setup, MAX_DEPTH, &p);
    if (r->fd < 0)
        return -errno;
    size_t sq = p.sq_off.array + p.sq_entries * sizeof(uint32_t), cq = p.cq_off.cqes + p.cq_entries * sizeof *r->cqe;
    uint8_t *s = mmap(NULL, sq, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, IORING_OFF_SQ_RING);
    uint8_t *c = mmap(NULL, cq, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, IORING_OFF_CQ_RING);
    r->sqe = mmap(NULL, p.sq_entries * sizeof *r->sqe, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, IORING_OFF_SQES);
    if (s == MAP_FAILED || c == MAP_FAILED || r->sqe == MAP_FAILED)
        return -ENOMEM;
    r->sq_tail = (_Atomic uint32_t *)(s + p.sq_off.tail);
    r->sq_mask = *(uint32_t *)(s + p.sq_off.ring_mask);
    r->array = (uint32_t *)(s + p.sq_off.array);
    r->cq_head = (_Atomic uint32_t *)(c + p.cq_off.head);
    r->cq_tail = (_Atomic uint32_t *)(c + p.cq_off.tail);
    r->cq_mask = *(uint32_t *)(c + p.cq_off.ring_mask);
    r->cqe = (struct io_uring_cqe *)(c + p.cq_off.cqes);
    return 0;
}

static int ring_put(struct ring *r, uint8_t *buf, unsigned slot)
{
    uint64_t off = offset_of(next_index++);
    struct gh_map m;
    int e = gh_image_map(img, off, size, &m);
    if (e < 0 || m.kind != GH_MAP_DATA || m.bytes < size)
        return e < 0 ? e : -ENOTSUP;           /* the bench fills its images before */
    uint32_t tail = *r->sq_tail, i = tail & r->sq_mask;
    r->sqe[i] = (struct io_uring_sqe){ .opcode = writes ? IORING_OP_WRITE : IORING_OP_READ, .fd = img->file->fd, .off = m.file_offset,
                                       .addr = (uint64_t)(uintptr_t)(buf + slot * size), .len = (uint32_t)size, .user_data = slot };
    r->array[i] = i;
    atomic_store_explicit(r->sq_tail, tail + 1, memory_order_release);
    left--;
    flying++;
    return 0;
}

static int by_ring(uint8_t *buf)
{
    struct ring r;
    int e = ring_open(&r);
    unsigned fresh = 0;
    left = total;
    for (unsigned i = 0; i < depth && left && !e; i++, fresh++)
        e = ring_put(&r, buf, i);
    while (flying && !e) {
        if (syscall(SYS_io_uring_enter, r.fd, fresh, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0 && errno != EINTR)
            e = -errno;
        fresh = 0;
        uint32_t head = *r.cq_head;
        for (; head != atomic_load_explicit(r.cq_tail, memory_order_acquire) && !e; head++) {
            const struct io_uring_cqe *c = &r.cqe[head & r.cq_mask];
            failed |= c->res != (int32_t)size;
            flying--;
            if (left) {
                e = ring_put(&r, buf, (unsigned)c->user_data);
                fresh++;
            }
        }
        atomic_store_explicit(r.cq_head, head, memory_order_release);
    }
    if (e)
        fprintf(stderr, "io_uring: %s\n", strerror(-e));
    return (e < 0 ? e : gh_image_close(img)) < 0;
}

int main(int argc, char **argv)
{
    static const struct option options[] = { { "plain", 0, NULL, 'p' }, { "direct", 0, NULL, 'd' }, { "ring", 0, NULL, 'r' }, { "cold", 0, NULL, 'c' },
                                             { "size", 1, NULL, 's' }, { "depth", 1, NULL, 'n' }, { 0 } };
    struct gh_error err = { 0 };
    bool cold = false;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;)
        switch (c) {
        case 'p': way = PLAIN; break;
        case 'd': way = DIRECT; break;
        case 'r': way = RING; break;
        case 'c': cold = true; break;
        case 's': size = strtoul(optarg, NULL, 10); break;
        case 'n': depth = (unsigned)strtoul(optarg, NULL, 10); break;
        default: return 2;
        }
    if (argc - optind != 5 || !size || !depth || depth > MAX_DEPTH || !(step = strtoul(argv[optind + 4], NULL, 10)))
        return 2;
    const char *format = argv[optind], *path = argv[optind + 1];
    writes = !strcmp(argv[optind + 2], "write");
    total = strtoul(argv[optind + 3], NULL, 10);
    uint8_t *buf = NULL;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 || posix_memalign((void **)&buf, 4096, depth * size))
        return 1;
    memset(buf, 0x5a, depth * size);
    if (cold && (fdatasync(fd) < 0 || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED)))
        return 1;
    plain_fd = fd;
    disk_bytes = (uint64_t)lseek(fd, 0, SEEK_END);
    if (way != PLAIN) {
        img = gh_image_open(&(struct gh_image_spec){ .format = format, .label = path, .fd = fd, .writable = true }, &err);
        if (!img) {
            fprintf(stderr, "%s\n", err.text);
            return 1;
        }
        disk_bytes = gh_image_bytes(img);
    }
    if (disk_bytes < size)
        return 2;
    int r = way == BACKEND ? by_backend(buf) : way == RING ? by_ring(buf) : by_loops(buf);
    free(buf);
    return r || failed;
}
