/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * "key = value" descriptions: VMware's .vmx, Xen's configuration, Quickemu's .conf. Values are data;
 * nothing is evaluated, neither shell nor Python.
 */
#pragma once
#include <stddef.h>

#include "base/error.h"

enum { GH_KEYS_MAX = 4096 };
struct gh_keys { struct { char *key, *value; } *pair; unsigned count; char *store; };

/* Splits text (copied). lists: a value that opens a bracket goes on until it closes. Quotes around a value are kept. */
int  gh_keys_read(struct gh_keys *k, const char *text, size_t bytes, bool lists, const char *label, struct gh_error *err);
void gh_keys_free(struct gh_keys *k);
/* Raw, as written; NULL: not there. Keys compare without case; the last one wins. */
const char *gh_keys_raw(const struct gh_keys *k, const char *key);
/* Without quotes; empty when not there. */
void gh_keys_text(const struct gh_keys *k, const char *key, char *out, size_t size);
unsigned long long gh_keys_number(const struct gh_keys *k, const char *key);
bool gh_keys_true(const struct gh_keys *k, const char *key);
/* The next quoted string of a list value; false at its end. */
bool gh_keys_item(const char **list, char *out, size_t size);
