/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The whole of the unit tests' framework: CHECK counts and prints file:line, check_result is main's
 * return value. CHECK_SKIP leaves with 77, which meson reports as skipped.
 */
#pragma once
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned check_done_, check_failed_;

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        check_done_++;                                                                             \
        if (!(cond)) {                                                                             \
            check_failed_++;                                                                       \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #cond);                   \
        }                                                                                          \
    } while (0)

/* Integers; both sides are printed. */
#define CHECK_EQ(a, b)                                                                             \
    do {                                                                                           \
        long long check_a_ = (long long)(a), check_b_ = (long long)(b);                            \
        check_done_++;                                                                             \
        if (check_a_ != check_b_) {                                                                \
            check_failed_++;                                                                       \
            fprintf(stderr, "%s:%d: %s is %lld (%#llx), expected %lld (%#llx)\n", __FILE__,        \
                    __LINE__, #a, check_a_, (unsigned long long)check_a_, check_b_,                \
                    (unsigned long long)check_b_);                                                 \
        }                                                                                          \
    } while (0)

#define CHECK_STR(a, b)                                                                            \
    do {                                                                                           \
        const char *check_a_ = (a), *check_b_ = (b);                                               \
        check_done_++;                                                                             \
        if (!check_a_ || !check_b_ || strcmp(check_a_, check_b_)) {                                \
            check_failed_++;                                                                       \
            fprintf(stderr, "%s:%d: %s is \"%s\", expected \"%s\"\n", __FILE__, __LINE__, #a,      \
                    check_a_ ? check_a_ : "(null)", check_b_ ? check_b_ : "(null)");               \
        }                                                                                          \
    } while (0)

/* Stops the test: nothing after it makes sense. */
#define CHECK_FATAL(cond)                                                                          \
    do {                                                                                           \
        check_done_++;                                                                             \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "%s:%d: not true, giving up: %s\n", __FILE__, __LINE__, #cond);        \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

#define CHECK_SKIP(...) do { printf("skipped: " __VA_ARGS__); printf("\n"); exit(77); } while (0)

/* A test that checked nothing has failed. */
static inline int check_result(void)
{
    printf("%u checks, %u failed\n", check_done_, check_failed_);
    return check_failed_ || !check_done_;
}
