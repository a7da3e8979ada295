/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * For libFuzzer targets of devices: reading the input, a board that is cheap to have again and again,
 * and what must hold at the end of every run.
 */
#pragma once
#include <stdlib.h>

#include "../device/fakebackend.h"
#include "../device/pci-helper.h"

struct fuzz { const uint8_t *data; size_t left; };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void fuzz_bytes(struct fuzz *in, void *to, size_t n)
{
    size_t have = in->left < n ? in->left : n;
    memset(to, 0, n);
    memcpy(to, in->data, have);
    in->data += have;
    in->left -= have;
}
static inline uint8_t fuzz_u8(struct fuzz *in) { uint8_t v; fuzz_bytes(in, &v, 1); return v; }
static inline uint16_t fuzz_u16(struct fuzz *in) { uint8_t v[2]; fuzz_bytes(in, v, 2); return gh_le16_get(v); }
static inline uint32_t fuzz_u32(struct fuzz *in) { uint8_t v[4]; fuzz_bytes(in, v, 4); return gh_le32_get(v); }

static inline void fuzz_memory(struct fuzz *in, struct gh_board *b, uint64_t at, size_t n)
{
    if (gh_range_in(at, n, FAKE_RAM_BYTES))
        fuzz_bytes(in, b->ram + at, n);
}

static inline struct gh_board *fuzz_board(void)
{
    struct gh_board *b = fake_board_new();
    fake_add(b, "i440fx", "pci0", NULL);
    return b;
}

/* Whatever the guest did, its devices can be saved and loaded. */
static inline void fuzz_state(struct gh_board *b)
{
    struct gh_state_buffer buf = { 0 };
    fake_save(b, &buf);
    if (fake_load(b, buf.data, buf.len, NULL) < 0)
        abort();
    gh_state_buffer_fini(&buf);
}

static inline int fuzz_end(struct gh_board *b)
{
    fake_quiesce(b);
    if (b->dma_maps_open)
        abort();
    fake_board_free(b);
    return 0;
}
