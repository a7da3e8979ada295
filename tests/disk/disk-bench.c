/* SPDX-License-Identifier: GPL-3.0-or-later */
/* For bench/disk: disk-bench FORMAT FILE read|write COUNT STEP. 4 KiB requests, 32 in flight, through the block
 * backend as a device uses it, in steps of so many bytes round the disk. */
#include <poll.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "disk/block.h"

enum { DEPTH = 32, SIZE = 4096 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static void (*posted)(void *);
static void *posted_arg;
static int wake;
static unsigned long left, flying;
static uint64_t next_off, disk_bytes, step;
static struct gh_block *block;
static enum gh_block_op op;
static int failed;

static void post(void *opaque, void (*fn)(void *), void *arg)
{
    pthread_mutex_lock(&lock);
    posted = fn;
    posted_arg = arg;
    pthread_mutex_unlock(&lock);
    eventfd_write(wake, 1);
}

static void submit(struct gh_block_request *r)
{
    r->op = op;
    r->offset = next_off;
    next_off += step;
    if (next_off + SIZE > disk_bytes)
        next_off = next_off % step;
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

int main(int argc, char **argv)
{
    static uint8_t buf[DEPTH][SIZE];
    static struct iovec iov[DEPTH];
    static struct gh_block_request req[DEPTH];
    struct gh_error err = { 0 };
    if (argc != 6 || (step = strtoul(argv[5], NULL, 10)) < SIZE)
        return 2;
    wake = eventfd(0, 0);
    struct gh_image *img = gh_image_open(&(struct gh_image_spec){ .format = argv[1], .label = argv[2], .fd = open(argv[2], O_RDWR),
                                                                  .writable = true }, &err);
    if (!img || !(block = gh_disk_block_new(&(struct gh_disk_block_params){ .name = "bench", .post = post }, img, &err))) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    disk_bytes = gh_image_bytes(img);
    op = !strcmp(argv[3], "write") ? GH_BLOCK_WRITE : GH_BLOCK_READ;
    left = strtoul(argv[4], NULL, 10);
    for (unsigned i = 0; i < DEPTH && left; i++) {
        iov[i] = (struct iovec){ buf[i], SIZE };
        req[i] = (struct gh_block_request){ .bytes = SIZE, .iov = &iov[i], .iov_count = 1, .done = done };
        submit(&req[i]);
    }
    while (flying) {
        eventfd_t v;
        eventfd_read(wake, &v);
        pthread_mutex_lock(&lock);
        void (*fn)(void *) = posted;
        void *arg = posted_arg;
        posted = NULL;
        pthread_mutex_unlock(&lock);
        if (fn)
            fn(arg);
    }
    return gh_disk_block_free(block) < 0 || failed;
}
