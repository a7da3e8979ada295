/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Logging for programs, trace events for everybody.
 *
 * Thread: any. Library code logs at GH_LOG_DEBUG only; programs decide what people see.
 * GH_LOG=debug|info|warn|error sets the level, GH_TRACE='rtc_*,ide_*' the trace patterns.
 * GH_LOG_GUEST is the class for what a guest did wrong: rate-limited by the caller.
 */
#pragma once
#include "base/error.h"

enum gh_log_level { GH_LOG_ERROR, GH_LOG_WARN, GH_LOG_INFO, GH_LOG_GUEST, GH_LOG_DEBUG };

void gh_log_init(const char *program);        /* reads GH_LOG and GH_TRACE once */
void gh_log_set_level(enum gh_log_level level);
bool gh_log_enabled(enum gh_log_level level);
void gh_log(enum gh_log_level level, const char *fmt, ...) GH_PRINTF(2, 3);

/* One static per event; matched against the patterns once, re-matched when they change. */
struct gh_trace_point { const char *name; unsigned seen_generation; bool on; };
extern unsigned gh_trace_generation;
void gh_trace_set(const char *patterns);      /* also while running; NULL: nothing */
bool gh_trace_match(struct gh_trace_point *point);
void gh_trace_emit(const struct gh_trace_point *point, const char *fmt, ...) GH_PRINTF(2, 3);

/* gh_trace(rtc_write, "reg %u value %#x", reg, value); costs one load and compare when off. */
#define gh_trace(event, ...)                                                                       \
    do {                                                                                           \
        static struct gh_trace_point gh_tp_ = { .name = #event, .seen_generation = ~0u };          \
        if (__builtin_expect(gh_tp_.seen_generation != gh_trace_generation, 0))                    \
            gh_trace_match(&gh_tp_);                                                               \
        if (__builtin_expect(gh_tp_.on, 0))                                                        \
            gh_trace_emit(&gh_tp_, __VA_ARGS__);                                                   \
    } while (0)
