/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A small ACPI Machine Language writer (ACPI specification, chapter 20). Appends to a growing buffer;
 * a failed allocation sticks in failed and makes the following calls do nothing. Names are single
 * segments of up to 4 characters ("_CRS", "S0"), or a path with "\\" and "." in gh_aml_path.
 * One thread; the buffer is the caller's and freed with gh_aml_fini.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gh_aml { uint8_t *data; size_t len, capacity; bool failed; };

void gh_aml_fini(struct gh_aml *a);
void gh_aml_bytes(struct gh_aml *a, const void *bytes, size_t len);
void gh_aml_u8(struct gh_aml *a, uint8_t v);
void gh_aml_path(struct gh_aml *a, const char *path);
void gh_aml_integer(struct gh_aml *a, uint64_t v);
void gh_aml_string(struct gh_aml *a, const char *s);
void gh_aml_eisa(struct gh_aml *a, const char *id);            /* "PNP0A03" */

/* Blocks: begin returns a mark for end. */
size_t gh_aml_scope(struct gh_aml *a, const char *path);
size_t gh_aml_device(struct gh_aml *a, const char *name);
size_t gh_aml_method(struct gh_aml *a, const char *name, unsigned args);
size_t gh_aml_package(struct gh_aml *a, uint8_t elements);
size_t gh_aml_if(struct gh_aml *a);                            /* the predicate follows */
void   gh_aml_processor(struct gh_aml *a, const char *name, uint8_t id);
void   gh_aml_end(struct gh_aml *a, size_t mark);

/* Name(name, what follows). */
void gh_aml_name(struct gh_aml *a, const char *name);
void gh_aml_name_integer(struct gh_aml *a, const char *name, uint64_t v);
void gh_aml_name_eisa(struct gh_aml *a, const char *name, const char *id);
void gh_aml_name_string(struct gh_aml *a, const char *name, const char *s);

/* Resource templates: begin writes Name(name, Buffer...), end the end tag and the lengths. */
struct gh_aml_resources { size_t mark, size_at, start; };
struct gh_aml_resources gh_aml_resources(struct gh_aml *a, const char *name);
void gh_aml_resources_end(struct gh_aml *a, struct gh_aml_resources r);
void gh_aml_io(struct gh_aml *a, uint16_t base, uint8_t len);
void gh_aml_irq(struct gh_aml *a, unsigned irq);               /* edge, active high, not shared */
void gh_aml_dma(struct gh_aml *a, unsigned channel);
void gh_aml_memory32(struct gh_aml *a, uint32_t base, uint32_t len);
void gh_aml_interrupts(struct gh_aml *a, const uint8_t *irqs, unsigned count); /* level, active high, shared */
enum gh_aml_space { GH_AML_MEMORY = 0, GH_AML_IO = 1, GH_AML_BUS = 2 };
void gh_aml_window16(struct gh_aml *a, enum gh_aml_space space, uint16_t first, uint16_t last);
void gh_aml_window32(struct gh_aml *a, uint32_t first, uint32_t last, bool cacheable);
void gh_aml_window64(struct gh_aml *a, uint64_t first, uint64_t last);
