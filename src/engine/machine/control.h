/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The control socket's server, inside the machine process. SOCK_SEQPACKET, one JSON object a packet.
 *
 *   request  {"id": 7, "verb": "pause", ...}
 *   reply    {"id": 7, "ok": {...}}  or  {"id": 7, "error": {"id", "text", "option"}}
 *   event    {"event": "state", ..., "lost": n}
 *
 * Vocabulary, structs and documentation come from control.def. Connected sockets arrive from the
 * supervisor (add-client); the machine itself listens to nothing.
 *
 * Thread: the loop's, all of it. A client that does not read is not waited for: its requests are not
 * read while a reply waits, and of its events the newest are kept. Ownership: descriptors in arguments
 * are closed after the call unless the op took them with gh_steal_fd.
 */
#pragma once
#include <stdio.h>

#include "base/loop.h"
#include "base/schema.h"

#define GH_CONTROL_VERSION 1
#define GH_CONTROL_OLDEST  1 /* a daemon one release behind is still served */
#define GH_CONTROL_CLIENTS 16

/* struct gh_control_<verb>_args, struct gh_control_<verb>_reply, struct gh_control_<event>_event */
#define GH_VERB(v, ...) struct gh_control_##v##_args {
#define GH_REPLY(v) }; struct gh_control_##v##_reply {
#define GH_END(v) };
#define GH_A_STRING(v, member, size, ...) char member[size];
#define GH_A_TEXT(v, member, ...) char *member;
#define GH_A_WORDS(v, member, ...) char *member; /* joined by spaces */
#define GH_A_U32(v, member, ...) uint32_t member;
#define GH_A_I32(v, member, ...) int32_t member;
#define GH_A_BOOL(v, member, ...) bool member;
#define GH_A_FD(v, member, ...) int member;
#define GH_R_STRING(v, member, size, ...) char member[size];
#define GH_R_U32(v, member, ...) uint32_t member;
#define GH_R_U64(v, member, ...) uint64_t member;
#define GH_R_BOOL(v, member, ...) bool member;
#define GH_R_COUNTERS(v, member, ...) struct gh_schema_counter *member; unsigned member##_count;
#define GH_EVENT(e, ...) struct gh_control_##e##_event {
#define GH_EVENT_END(e) };
#define GH_E_STRING(e, member, size, ...) char member[size];
#define GH_E_U32(e, member, ...) uint32_t member;
#define GH_E_I32(e, member, ...) int32_t member;
#define GH_E_U64(e, member, ...) uint64_t member;
#define GH_E_BOOL(e, member, ...) bool member;
#include "engine/machine/control.def"

/* GH_CONTROL_EVENT_state, ... */
enum gh_control_event {
#define GH_EVENT(e, ...) GH_CONTROL_EVENT_##e,
#define GH_EVENT_END(...)
#define GH_E_STRING(...)
#define GH_E_U32(...)
#define GH_E_I32(...)
#define GH_E_U64(...)
#define GH_E_BOOL(...)
#include "engine/machine/control.def"
    GH_CONTROL_EVENT_COUNT_
};

/* What the machine implements; NULL: VerbUnsupported. Each returns 0 or a negative errno with a
 * sentence. Pointer changes are followed by input_sync. */
struct gh_control_ops {
#define GH_CONTROL_OP_OPS(v)                                                                       \
    int (*v)(void *opaque, struct gh_control_##v##_args *args, struct gh_control_##v##_reply *ret, \
             struct gh_error *err);
#define GH_CONTROL_OP_SELF(v)
#define GH_VERB(v, name, since, where, who, help) GH_CONTROL_OP_##where(v)
#define GH_REPLY(...)
#define GH_END(...)
#define GH_A_STRING(...)
#define GH_A_TEXT(...)
#define GH_A_WORDS(...)
#define GH_A_U32(...)
#define GH_A_I32(...)
#define GH_A_BOOL(...)
#define GH_A_FD(...)
#define GH_R_STRING(...)
#define GH_R_U32(...)
#define GH_R_U64(...)
#define GH_R_BOOL(...)
#define GH_R_COUNTERS(...)
#include "engine/machine/control.def"
    void (*input_sync)(void *opaque);
    /* Calls visit for each counter. */
    void (*counters)(void *opaque, void (*visit)(void *visit_opaque, const char *name, uint64_t value),
                     void *visit_opaque);
};

struct gh_control;
/* An op that answers later takes a ticket and returns GH_CONTROL_LATER. defer: a ticket, or -EBUSY with a
 * sentence. finish: reply is the verb's struct, or why is set; a client that left hears nothing. */
#define GH_CONTROL_LATER 1
int  gh_control_defer(struct gh_control *control, struct gh_error *err);
void gh_control_finish(struct gh_control *control, int ticket, const void *reply, const struct gh_error *why);

/* name and uuid are what hello answers; copied. */
int  gh_control_new(struct gh_loop *loop, const struct gh_control_ops *ops, void *opaque, const char *name,
                    const char *uuid, struct gh_control **ret, struct gh_error *err);
void gh_control_free(struct gh_control *control);
/* Takes the socket. The supervisor's needs no hello and may use its own verbs; when it closes, lost
 * is called (may be NULL for others). */
int  gh_control_add(struct gh_control *control, int sock, bool supervisor,
                    void (*lost)(void *opaque), void *opaque, struct gh_error *err);
/* event: the struct of that kind. Goes to every client that has said hello. */
void gh_control_emit(struct gh_control *control, enum gh_control_event kind, const void *event);
/* Sends what still waits, for at most timeout_ms: before the process ends. */
void gh_control_flush(struct gh_control *control, int timeout_ms);

/* Before there is a control server: tells the supervisor why the machine cannot be made. */
void gh_control_report_failure(int sock, const struct gh_error *why);

/* The documentation of the protocol, from the same tables. */
void gh_control_help(FILE *out);
/* Tables for tests and clients. Index 0.. until name NULL. */
struct gh_control_verb_info {
    const char *name, *help;
    unsigned since;
    bool supervisor;
    const struct gh_schema *args, *reply;
};
struct gh_control_event_info { const char *name, *help; unsigned since; bool latest; const struct gh_schema *fields; };
extern const struct gh_control_verb_info gh_control_verbs[];
extern const struct gh_control_event_info gh_control_events[];
extern const char *const gh_control_errors[];
