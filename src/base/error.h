/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Errors that reach a person: a stable message id, one full sentence with the value quoted,
 * and optionally the option it belongs to, so that a settings row can be marked. The sentence is
 * English; its format and its arguments go along apart, so that a window can say it in another language.
 *
 * Thread: a gh_error belongs to the caller's frame; no locking. Ownership: no pointers inside.
 * Functions that can fail return 0 or a negative errno and fill the error once, at the lowest
 * place that knows the sentence. A NULL error pointer is allowed everywhere.
 */
#pragma once
#include <stdarg.h>
#include <stdbool.h>

#define GH_PRINTF(a, b) __attribute__((format(printf, a, b)))

struct gh_error {
    int  code;         /* negative errno, 0 when nothing was reported */
    char id[48];       /* stable, CamelCase: "DiskLocked"; D-Bus name org.gasthaus.Error.<id> */
    char option[48];   /* name of the setting at fault, or empty */
    char text[640];    /* one sentence, the consequence, and the next action */
    /* What text was made from: parts divided by GH_ERROR_PART, which ": " joins; each part is its format as
     * printf takes it, then every argument as text after a GH_ERROR_ARGUMENT. Empty: only text is known. */
    char message[1024];
};
#define GH_ERROR_ARGUMENT '\x1f'
#define GH_ERROR_PART '\x1e'
/* An argument that is words, not a name or a number: translators get it too, and a window says theirs. */
#define GH_WORD(s) s

/* Fills err (if not NULL and still empty) and returns code, which must be negative. */
int gh_error_set(struct gh_error *err, int code, const char *id, const char *fmt, ...) GH_PRINTF(4, 5);
/* The same for a setting: option names the row. */
int gh_error_option(struct gh_error *err, int code, const char *id, const char *option,
                    const char *fmt, ...) GH_PRINTF(5, 6);
/* An error that another process reported: its text and message as they came. message may be NULL or empty. */
int gh_error_carry(struct gh_error *err, int code, const char *id, const char *option, const char *text, const char *message);
/* Puts "prefix: " in front of the text; keeps id and code. */
void gh_error_prefix(struct gh_error *err, const char *fmt, ...) GH_PRINTF(2, 3);
void gh_error_clear(struct gh_error *err);
static inline bool gh_error_is_set(const struct gh_error *err) { return err && err->code != 0; }
