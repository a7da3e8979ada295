/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Saved state of everything that has a field table: devices, and whatever else the machine keeps.
 *
 *   section:  le32 bytes of what follows | str name | str instance | le16 version | fields
 *   fields:   le16 how many | field...
 *   field:    str name | u8 type | le32 count | values
 *   str:      u8 length | bytes          values: little endian, bool one byte
 *   values of a table: count times "fields"; of BYTES and STRING: count bytes
 *
 * Loading trusts nothing: an unknown section, field or type, a different count, a field that is
 * there twice, one that is missing although the saved version had it, and a version newer than the
 * program's are refused. A field younger than the saved version keeps the value it has (attach and
 * reset have run). Values are checked for their type only; the class's loaded() checks the rest.
 *
 * Thread: the caller's lock protects the object. Ownership: data of a buffer is freed by _fini.
 * A failed allocation sticks in the buffer (failed) and makes the following calls do nothing.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/device.h"

struct gh_state_buffer { uint8_t *data; size_t len, capacity; bool failed; };

struct gh_state_section {
    char     name[64], instance[64];
    uint16_t version;
    const uint8_t *body;                  /* points into the data given to gh_state_next */
    size_t   body_len;
};

void gh_state_buffer_fini(struct gh_state_buffer *buf);

/* Appends one section. table may be NULL (a section without fields). -ENOMEM or -ENAMETOOLONG. */
int gh_state_save(struct gh_state_buffer *buf, const char *name, const char *instance, uint16_t version,
                  const struct gh_field *table, const void *object);
/* Section named after the class, instance the device's id. */
int gh_state_save_device(struct gh_state_buffer *buf, const struct gh_device *dev);

/* Reads the next section and moves on; 1: filled, 0: end of data, negative: damaged. */
int gh_state_next(const uint8_t **data, size_t *len, struct gh_state_section *ret, struct gh_error *err);
/* Fills object from the section. On failure the object is partly filled and must not be used. */
int gh_state_load(const struct gh_state_section *section, uint16_t version, const struct gh_field *table,
                  void *object, struct gh_error *err);
/* Name and instance must match. Does not call loaded(): the board does so after it filled all. */
int gh_state_load_device(const struct gh_state_section *section, struct gh_device *dev, struct gh_error *err);

/*
 * A whole machine's devices: every device must have exactly one section, and every section a device,
 * or `other` (may be NULL) takes it. Fills all, then calls loaded() of all. On failure the devices'
 * fields are what they were before, so that resetting or detaching them is safe.
 */
int gh_state_load_devices(struct gh_device *const *devices, unsigned count, const void *data, size_t len,
                          int (*other)(void *opaque, const struct gh_state_section *section, struct gh_error *err),
                          void *opaque, struct gh_error *err);
