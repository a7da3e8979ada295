/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Key names and typed text as sequences of key changes (Linux input codes, US layout). Pure. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct gh_key_change { uint16_t code; bool down; };
#define GH_KEY_CHANGES 16384

/* 0 where no key has that name. Case does not matter; "ctrl" is the left one. */
uint16_t gh_key_code(const char *name, size_t len);
/* Appends combinations separated by spaces, keys of one joined by '-': "ctrl-alt-f2 ret". */
int gh_keys_parse(const char *keys, struct gh_key_change *list, size_t *count, size_t max, struct gh_error *err);
/* Appends what types the text; a character that a US keyboard lacks is an error. */
int gh_keys_type(const char *text, struct gh_key_change *list, size_t *count, size_t max, struct gh_error *err);
