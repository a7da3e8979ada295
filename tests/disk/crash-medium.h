/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The medium of a crash image: a memory file and its content side by side. Images are made from the base by what differs and put
 * back afterwards, as a copy of the whole for each of a million would cost most of the time. One thread.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

int memory_file(const char *name);

struct medium { int fd; uint8_t *at; uint64_t bytes; };
struct medium new_medium(const char *name);
void load_medium(struct medium *m, int fd);
void free_medium(struct medium *m);
void set_size(struct medium *m, uint64_t bytes);

/* What the crash image has been given against its base; put_back takes it away again. */
void none_dirty(void);
void note_dirty(uint64_t from, uint64_t bytes);
void note_shorter(uint64_t bytes);             /* it was this short once */
void put_back(struct medium *m, const struct medium *base);
extern bool tracing;                           /* an opened image's own changes are noted as well */
