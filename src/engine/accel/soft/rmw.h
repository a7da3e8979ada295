/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Read-modify-write of guest memory, plain and LOCKed. Thread: the vCPU's own.
 *
 * A LOCKed operation inside one cache line of RAM is one LOCKed host instruction. Split ones and
 * MMIO run under one process-wide mutex: atomic among themselves, which is what such code can
 * expect of a device; a host LOCK across lines may be punished by the host's kernel.
 */
#pragma once
#include "engine/accel/soft/operand.h"

/* Host address of the operand after every fault check of a write; NULL: crosses a page or MMIO. */
static inline void *soft_rmw_host(struct soft_cpu *cpu, uint64_t linear, unsigned bytes)
{
    void *p = soft_hit_write(cpu, linear, bytes);
    return soft_likely(p != NULL) ? p : soft_probe(cpu, linear, bytes, true);
}
static inline bool soft_lockable(const void *p, unsigned bytes)
{
    return ((uintptr_t)p & 63) + bytes <= 64;
}
void soft_split_lock(void);    /* the mutex; nothing in between may raise */
void soft_split_unlock(void);

/* Applies `plain` (an expression of `old` giving the new value) to the operand at `linear_`, or the
 * host instruction `locked` on `p_` where the guest said LOCK. */
#define SOFT_RMW(n, type, in, linear, locking, plain, locked)                                      \
    do {                                                                                           \
        uint64_t linear_ = (linear);                                                               \
        type *p_ = soft_rmw_host(cpu, linear_, n / 8);                                             \
        if (soft_likely(p_ != NULL)) {                                                             \
            if (soft_likely(!(locking))) {                                                         \
                type old = *p_;                                                                    \
                *p_ = (plain);                                                                     \
            } else if (soft_likely(soft_lockable(p_, n / 8))) {                                    \
                locked;                                                                            \
            } else {                                                                               \
                soft_split_lock();                                                                 \
                type old = *p_;                                                                    \
                *p_ = (plain);                                                                     \
                soft_split_unlock();                                                               \
            }                                                                                      \
        } else {                                                                                   \
            soft_split_lock();                                                                     \
            type old = soft_ld##n(cpu, linear_);                                                   \
            soft_st##n(cpu, linear_, (plain));                                                     \
            soft_split_unlock();                                                                   \
        }                                                                                          \
    } while (0)
