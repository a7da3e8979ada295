/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/log.h"

#include <fnmatch.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static enum gh_log_level current_level = GH_LOG_WARN;
static const char *program_name = "gasthaus";
static char trace_patterns[512];
static pthread_mutex_t trace_lock = PTHREAD_MUTEX_INITIALIZER;
unsigned gh_trace_generation;

static const char *const level_names[] = { "error", "warn", "info", "guest", "debug" };

void gh_log_init(const char *program)
{
    const char *level = getenv("GH_LOG");

    program_name = program;
    if (level)
        for (unsigned i = 0; i < sizeof level_names / sizeof level_names[0]; i++)
            if (!strcmp(level, level_names[i]))
                current_level = (enum gh_log_level)i;
    gh_trace_set(getenv("GH_TRACE"));
}

void gh_log_set_level(enum gh_log_level level) { current_level = level; }

bool gh_log_enabled(enum gh_log_level level) { return level <= current_level; }

/* One write per line, so that lines of several processes on one stderr do not mix. */
static void emit(const char *tag, const char *fmt, va_list ap)
{
    char line[1024];
    int  n = snprintf(line, sizeof line, "%s: %s: ", program_name, tag);
    int  m = vsnprintf(line + n, sizeof line - (size_t)n - 1, fmt, ap);
    size_t len = (size_t)n + (m < 0 ? 0 : (size_t)m);

    if (len > sizeof line - 2)
        len = sizeof line - 2;
    line[len++] = '\n';
    ssize_t ignored = write(STDERR_FILENO, line, len);
    (void)ignored;
}

void gh_log(enum gh_log_level level, const char *fmt, ...)
{
    va_list ap;

    if (!gh_log_enabled(level))
        return;
    va_start(ap, fmt);
    emit(level_names[level], fmt, ap);
    va_end(ap);
}

void gh_trace_set(const char *patterns)
{
    pthread_mutex_lock(&trace_lock);
    snprintf(trace_patterns, sizeof trace_patterns, "%s", patterns ? patterns : "");
    __atomic_add_fetch(&gh_trace_generation, 1, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&trace_lock);
}

bool gh_trace_match(struct gh_trace_point *point)
{
    char copy[sizeof trace_patterns];
    bool on = false;

    pthread_mutex_lock(&trace_lock);
    memcpy(copy, trace_patterns, sizeof copy);
    point->seen_generation = gh_trace_generation;
    pthread_mutex_unlock(&trace_lock);
    char *save = NULL;
    for (char *p = strtok_r(copy, ",", &save); p && !on; p = strtok_r(NULL, ",", &save))
        on = fnmatch(p, point->name, 0) == 0;
    point->on = on;
    return on;
}

void gh_trace_emit(const struct gh_trace_point *point, const char *fmt, ...)
{
    char            tag[80];
    struct timespec ts;
    va_list         ap;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    snprintf(tag, sizeof tag, "%ld.%06ld %s", (long)ts.tv_sec, ts.tv_nsec / 1000, point->name);
    va_start(ap, fmt);
    emit(tag, fmt, ap);
    va_end(ap);
}
