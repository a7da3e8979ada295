/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A small virtio driver for device tests: finds the register BAR, negotiates, lays rings out in RAM at
 * VQ_BASE, and adds chains by hand, good ones and bad ones.
 */
#pragma once
#include "pci-helper.h"

enum { VQ_BASE = 0x200000, VQ_STRIDE = 0x10000, VQ_AVAIL = 0x4000, VQ_USED = 0x8000, VIO_BAR = 0xfe000000u,
       VIO_MSIX = 0xfe100000u, D_NEXT = 1, D_WRITE = 2, D_INDIRECT = 4 };

struct vio { struct gh_board *b; unsigned devfn; uint16_t size, avail[16]; uint64_t features; };

static inline uint64_t vq_desc(unsigned q) { return VQ_BASE + (uint64_t)q * VQ_STRIDE; }

static inline uint8_t vio_status(struct vio *d) { return (uint8_t)fake_read(d->b, VIO_BAR + 0x14, 1); }

/* BARs, features (want, of what is offered), queues of size, DRIVER_OK. Returns the final status. */
static inline uint8_t vio_start(struct vio *d, struct gh_board *b, unsigned devfn, uint64_t want, unsigned queues, uint16_t size)
{
    *d = (struct vio){ .b = b, .devfn = devfn, .size = size };
    cfg_write32(b, devfn, 0x14, VIO_MSIX);
    cfg_write32(b, devfn, 0x20, VIO_BAR);
    cfg_write32(b, devfn, 0x24, 0);
    cfg_write16(b, devfn, 4, 6);
    fake_write(b, VIO_BAR + 0x14, 1, 0);
    fake_write(b, VIO_BAR + 0x14, 1, 1);
    fake_write(b, VIO_BAR + 0x14, 1, 3);
    uint64_t offered = 0;
    for (unsigned i = 0; i < 2; i++) {
        fake_write(b, VIO_BAR + 0, 4, i);
        offered |= fake_read(b, VIO_BAR + 4, 4) << (i * 32);
    }
    d->features = offered & want;
    for (unsigned i = 0; i < 2; i++) {
        fake_write(b, VIO_BAR + 8, 4, i);
        fake_write(b, VIO_BAR + 0xc, 4, d->features >> (i * 32) & 0xffffffff);
    }
    fake_write(b, VIO_BAR + 0x14, 1, 0xb);
    for (unsigned q = 0; q < queues; q++) {
        memset(b->ram + vq_desc(q), 0, VQ_STRIDE);
        fake_write(b, VIO_BAR + 0x16, 2, q);
        fake_write(b, VIO_BAR + 0x18, 2, size);
        fake_write(b, VIO_BAR + 0x20, 4, vq_desc(q));
        fake_write(b, VIO_BAR + 0x28, 4, vq_desc(q) + VQ_AVAIL);
        fake_write(b, VIO_BAR + 0x30, 4, vq_desc(q) + VQ_USED);
        fake_write(b, VIO_BAR + 0x1c, 2, 1);
    }
    fake_write(b, VIO_BAR + 0x14, 1, 0xf);
    return vio_status(d);
}

static inline void vq_set(struct vio *d, unsigned q, unsigned i, uint64_t address, uint32_t length, uint16_t flags, uint16_t next)
{
    uint8_t *p = d->b->ram + vq_desc(q) + (uint64_t)i * 16;
    gh_le64_put(p, address);
    gh_le32_put(p + 8, length);
    gh_le16_put(p + 12, flags);
    gh_le16_put(p + 14, next);
}

static inline void vq_offer(struct vio *d, unsigned q, uint16_t head)
{
    uint8_t *avail = d->b->ram + vq_desc(q) + VQ_AVAIL;
    gh_le16_put(avail + 4 + (d->avail[q] % d->size) * 2, head);
    gh_le16_put(avail + 2, ++d->avail[q]);
}

static inline void vq_kick(struct vio *d, unsigned q) { fake_write(d->b, VIO_BAR + 0x4000 + q * 0x1000, 2, q); }

static inline uint16_t vq_used(struct vio *d, unsigned q) { return gh_le16_get(d->b->ram + vq_desc(q) + VQ_USED + 2); }
static inline uint32_t vq_used_len(struct vio *d, unsigned q, unsigned i)
{ return gh_le32_get(d->b->ram + vq_desc(q) + VQ_USED + 4 + (i % d->size) * 8 + 4); }
static inline uint32_t vq_used_id(struct vio *d, unsigned q, unsigned i)
{ return gh_le32_get(d->b->ram + vq_desc(q) + VQ_USED + 4 + (i % d->size) * 8); }
