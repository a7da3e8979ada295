/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One software CPU with flat RAM at 0 and nothing else: port 0xe9 collects text, a write to port 0xf4
 * stops the machine with that value. Single thread. Failures to set up end the program.
 */
#pragma once
#include "engine/accel/accel.h"
#include "engine/accel/soft/block.h"
#include "engine/accel/soft/cpu.h"
#include "engine/accel/soft/system.h"
#include "engine/accel/soft/vm.h"

struct harness {
    struct gh_accel_vm *vm;
    struct gh_vcpu *vcpu;
    struct soft_cpu *cpu;       /* vcpu 0, to look into and to set */
    struct gh_cpu_model model;
    uint8_t *ram;
    uint64_t ram_bytes;
    char text[8192];
    unsigned text_len;
    bool exited, shutdown;
    uint32_t exit_value;
    uint64_t now_ns;            /* the machine's clock; real time where real_time is set */
    bool real_time;
};

void harness_init(struct harness *h, uint64_t ram_bytes, const char *model);
void harness_fini(struct harness *h);
/* 64-bit mode with identity mapping of RAM (2 MiB pages, user, writable) by tables at table_gpa
 * (12 KiB + one page per GiB), ring 0 or 3, flat segments, SSE and AVX enabled, IF clear, no IDT. */
void harness_long_mode(struct harness *h, uint64_t table_gpa, unsigned ring);
/* Runs at most so many block heads (0: until something stops it). An exception is delivered as in a
 * machine; without an IDT that ends in a triple fault: h->shutdown, and cpu->fault says what. */
void harness_run(struct harness *h, uint64_t max_blocks);
/* Runs until rip is stop or shutdown, at most max_blocks block heads; true: reached. Plant a HLT or
 * INT3-free landing at stop: blocks are cut there only if it starts a block. */
bool harness_run_to(struct harness *h, uint64_t stop, uint64_t max_blocks);
