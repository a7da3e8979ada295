/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Everything that control.def generates besides the structs in control.h. */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/machine/control_internal.h"

#define ARGS(v) struct gh_control_##v##_args
#define RET(v) struct gh_control_##v##_reply
#define EV(e) struct gh_control_##e##_event

/* ---- Field tables --------------------------------------------------------------------------- */
#define GH_VERB(v, ...) static const struct gh_schema_field v##_args[] = {
#define GH_REPLY(v) GH_S_END }; static const struct gh_schema_field v##_reply[] = {
#define GH_END(v) GH_S_END };
#define GH_A_STRING(v, m, size, name, req, help) GH_S_STRING(ARGS(v), m, name, req, help),
#define GH_A_TEXT(v, m, name, req, max, help) GH_S_TEXT(ARGS(v), m, name, req, max, help),
#define GH_A_WORDS(v, m, name, req, max, help) GH_S_WORDS(ARGS(v), m, name, req, max, help),
#define GH_A_U32(v, m, name, req, min, max, help) GH_S_U32(ARGS(v), m, name, req, min, max, help),
#define GH_A_I32(v, m, name, req, min, max, help) GH_S_I32(ARGS(v), m, name, req, min, max, help),
#define GH_A_BOOL(v, m, name, help) GH_S_BOOL(ARGS(v), m, name, help),
#define GH_A_FD(v, m, name, req, help) GH_S_FD(ARGS(v), m, name, req, help),
#define GH_R_STRING(v, m, size, name, help) GH_S_STRING(RET(v), m, name, true, help),
#define GH_R_U32(v, m, name, help) GH_S_U32(RET(v), m, name, true, 0, UINT32_MAX, help),
#define GH_R_U64(v, m, name, help) GH_S_U64(RET(v), m, name, true, 0, INT64_MAX, help),
#define GH_R_BOOL(v, m, name, help) GH_S_BOOL(RET(v), m, name, help),
#define GH_R_COUNTERS(v, m, name, help) GH_S_COUNTERS(RET(v), m, m##_count, name, help),
#define GH_EVENT(e, ...) static const struct gh_schema_field e##_event[] = {
#define GH_EVENT_END(e) GH_S_END };
#define GH_E_STRING(e, m, size, name, help) GH_S_STRING(EV(e), m, name, true, help),
#define GH_E_U32(e, m, name, help) GH_S_U32(EV(e), m, name, true, 0, UINT32_MAX, help),
#define GH_E_I32(e, m, name, help) GH_S_I32(EV(e), m, name, true, INT32_MIN, INT32_MAX, help),
#define GH_E_U64(e, m, name, help) GH_S_U64(EV(e), m, name, true, 0, INT64_MAX, help),
#define GH_E_BOOL(e, m, name, help) GH_S_BOOL(EV(e), m, name, help),
#include "engine/machine/control.def"

/* ---- One schema for each ---------------------------------------------------------------------- */
#define GH_VERB(v, name, ...)                                                                      \
    static const struct gh_schema v##_args_schema = { name, sizeof(ARGS(v)), v##_args };           \
    static const struct gh_schema v##_reply_schema = { name, sizeof(RET(v)), v##_reply };
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
#define GH_EVENT(e, name, ...) static const struct gh_schema e##_event_schema = { name, sizeof(EV(e)), e##_event };
#define GH_EVENT_END(...)
#define GH_E_STRING(...)
#define GH_E_U32(...)
#define GH_E_I32(...)
#define GH_E_U64(...)
#define GH_E_BOOL(...)
#include "engine/machine/control.def"

/* ---- Calls --------------------------------------------------------------------------------------- */
#define CALL_SELF(v)
#define CALL_OPS(v)                                                                                \
    static int control_##v(struct gh_control *c, struct control_request *rq, struct gh_error *err) \
    {                                                                                              \
        if (!c->ops->v)                                                                            \
            return unsupported(#v, err);                                                           \
        return c->ops->v(c->opaque, rq->args, rq->reply, err);                                     \
    }
static int unsupported(const char *verb, struct gh_error *err)
{
    return gh_error_set(err, -EOPNOTSUPP, "VerbUnsupported", "This machine cannot do \"%s\".", verb);
}
#define GH_VERB(v, name, since, where, who, help) CALL_##where(v)
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

/* ---- The lists ------------------------------------------------------------------------------------- */
#define WHO_ANY false
#define WHO_SUP true
const struct gh_control_verb_info gh_control_verbs[] = {
#define GH_VERB(v, name, since, where, who, help) \
    { name, help, since, WHO_##who, &v##_args_schema, &v##_reply_schema },
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
    { .name = NULL },
};

const control_call_fn control_calls[] = {
#define GH_VERB(v, ...) control_##v,
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
    NULL,
};

#define HOW_LATEST true
#define HOW_EACH false
const struct gh_control_event_info gh_control_events[] = {
#define GH_EVENT(e, name, since, how, help) { name, help, since, HOW_##how, &e##_event_schema },
#define GH_EVENT_END(...)
#define GH_E_STRING(...)
#define GH_E_U32(...)
#define GH_E_I32(...)
#define GH_E_U64(...)
#define GH_E_BOOL(...)
#include "engine/machine/control.def"
    { .name = NULL },
};

const char *const gh_control_errors[] = {
#define GH_ERROR(id, help) #id,
#include "engine/machine/control.def"
    NULL,
};

unsigned control_verb_find(const char *name)
{
    unsigned i = 0;
    while (gh_control_verbs[i].name && strcmp(gh_control_verbs[i].name, name))
        i++;
    return i;
}

void gh_control_help(FILE *out)
{
    static const struct { const char *id, *help; } errors[] = {
#define GH_ERROR(id, help) { #id, help },
#include "engine/machine/control.def"
    };

    fprintf(out, "Control protocol, version %d (oldest served: %d). SOCK_SEQPACKET, one JSON object of at\n"
            "most %u bytes a packet, at most %u descriptors. A * marks a required field.\n\n",
            GH_CONTROL_VERSION, GH_CONTROL_OLDEST, GH_PACKET_BYTES, GH_PACKET_FDS);
    for (const struct gh_control_verb_info *v = gh_control_verbs; v->name; v++) {
        fprintf(out, "%s  (since %u%s)\n    %s.\n", v->name, v->since, v->supervisor ? ", supervisor only" : "",
                v->help);
        gh_schema_help(v->args, 4, out);
        if (v->reply->fields->name) {
            fprintf(out, "  reply\n");
            gh_schema_help(v->reply, 4, out);
        }
    }
    for (const struct gh_control_event_info *e = gh_control_events; e->name; e++) {
        fprintf(out, "event %s  (since %u%s)\n    %s.\n", e->name, e->since,
                e->latest ? ", only the newest is kept" : "", e->help);
        gh_schema_help(e->fields, 4, out);
    }
    fprintf(out, "\nerrors\n");
    for (unsigned i = 0; i < GH_ARRAY_LEN(errors); i++)
        fprintf(out, "    %-20s %s\n", errors[i].id, errors[i].help);
}
