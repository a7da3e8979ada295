/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "crash-medium.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../check.h"
#include "disk/driver.h"

bool tracing;

int memory_file(const char *name)
{
    int fd = memfd_create(name, MFD_CLOEXEC);
    CHECK_FATAL(fd >= 0);
    return fd;
}

enum { MEDIUM_ROOM = 256 << 20, DIRTY_MAX = 65536 };
static struct { uint64_t from, to; } dirty[DIRTY_MAX];  /* of the crash image, against the base */
static unsigned dirty_count;
static uint64_t dirty_low;                     /* it was this short once */

struct medium new_medium(const char *name)
{
    struct medium m = { .fd = memory_file(name) };
    m.at = mmap(NULL, MEDIUM_ROOM, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, m.fd, 0);
    CHECK_FATAL(m.at != MAP_FAILED);
    return m;
}

void set_size(struct medium *m, uint64_t bytes)
{
    CHECK_FATAL(bytes <= MEDIUM_ROOM);
    if (m->bytes != bytes)
        CHECK_FATAL(!ftruncate(m->fd, (off_t)bytes));
    m->bytes = bytes;
}

void note_dirty(uint64_t from, uint64_t bytes)
{
    if (dirty_count && dirty[dirty_count - 1].to == from) {
        dirty[dirty_count - 1].to = from + bytes;
        return;
    }
    CHECK_FATAL(dirty_count < DIRTY_MAX);
    dirty[dirty_count].from = from;
    dirty[dirty_count++].to = from + bytes;
}

void note_shorter(uint64_t bytes)
{
    dirty_low = bytes < dirty_low ? bytes : dirty_low;
}

void put_back(struct medium *m, const struct medium *base)
{
    struct stat st;
    CHECK_FATAL(!fstat(m->fd, &st));
    m->bytes = (uint64_t)st.st_size;
    set_size(m, base->bytes);
    for (unsigned i = 0; i < dirty_count; i++)
        if (dirty[i].from < base->bytes)
            memcpy(m->at + dirty[i].from, base->at + dirty[i].from, gh_min_u64(dirty[i].to, base->bytes) - dirty[i].from);
    if (dirty_low < base->bytes)
        memcpy(m->at + dirty_low, base->at + dirty_low, base->bytes - dirty_low);
    dirty_count = 0;
    dirty_low = UINT64_MAX;
}

void load_medium(struct medium *m, int fd)
{
    struct stat st;
    CHECK_FATAL(!fstat(fd, &st));
    set_size(m, (uint64_t)st.st_size);
    for (off_t at = 0; (at = lseek(fd, at, SEEK_DATA)) >= 0;) {
        off_t end = lseek(fd, at, SEEK_HOLE);
        for (ssize_t n; at < end; at += n) {
            n = pread(fd, m->at + at, (size_t)(end - at), at);
            CHECK_FATAL(n > 0);
        }
    }
}

void free_medium(struct medium *m)
{
    munmap(m->at, MEDIUM_ROOM);
    close(m->fd);
}

void none_dirty(void)
{
    dirty_count = 0;
    dirty_low = UINT64_MAX;
}
