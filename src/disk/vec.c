/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "disk/driver.h"

#include <string.h>

static void advance(struct gh_vec *v, uint64_t len)
{
    while (len) {
        size_t here = v->iov->iov_len - v->skip;
        if (len < here) {
            v->skip += len;
            return;
        }
        len -= here;
        v->skip = 0;
        v->iov++;
        v->count--;
    }
}

static int move(struct gh_vec *v, struct gh_file *f, uint64_t off, uint64_t len, bool write)
{
    /* The first element may be half used: it goes alone, the rest as it is. */
    while (len) {
        struct iovec head;
        const struct iovec *iov = v->iov;
        unsigned n = v->count;
        uint64_t take = len;
        if (v->skip) {
            head = (struct iovec){ (char *)iov->iov_base + v->skip, iov->iov_len - v->skip };
            iov = &head;
            n = 1;
            take = gh_min_u64(take, head.iov_len);
        }
        int r = write ? gh_file_writev(f, off, iov, n, take) : gh_file_readv(f, off, iov, n, take);
        if (r < 0)
            return r;
        advance(v, take);
        off += take;
        len -= take;
    }
    return 0;
}

int gh_vec_read(struct gh_vec *v, struct gh_file *f, uint64_t off, uint64_t len) { return move(v, f, off, len, false); }
int gh_vec_write(struct gh_vec *v, struct gh_file *f, uint64_t off, uint64_t len) { return move(v, f, off, len, true); }

enum how { ZERO, PUT, GET };
static void walk(struct gh_vec *v, char *data, uint64_t len, enum how how)
{
    while (len) {
        char *p = (char *)v->iov->iov_base + v->skip;
        size_t here = v->iov->iov_len - v->skip;
        if (here > len)
            here = (size_t)len;
        if (how == ZERO) {
            memset(p, 0, here);
        } else if (how == PUT) {
            memcpy(p, data, here);
            data += here;
        } else {
            memcpy(data, p, here);
            data += here;
        }
        advance(v, here);
        len -= here;
    }
}
void gh_vec_zero(struct gh_vec *v, uint64_t len) { walk(v, NULL, len, ZERO); }
void gh_vec_put(struct gh_vec *v, const void *data, uint64_t len) { walk(v, (char *)data, len, PUT); }
void gh_vec_get(struct gh_vec *v, void *data, uint64_t len) { walk(v, data, len, GET); }
