/* SPDX-License-Identifier: GPL-3.0-or-later */
/* control.c: clients and packets; control_table.c: tables from control.def; control_verbs.c: the verbs
 * that need no machine. Loop thread only. */
#pragma once
#include "engine/machine/control.h"
#include "engine/machine/keys.h"

#define CONTROL_QUEUE 16
#define CONTROL_TICKETS 32

struct control_client {
    struct gh_control *control;
    int      fd;
    bool     supervisor, greeted, dead;
    unsigned version;
    struct gh_loop_source *source;
    json_t  *reply;                        /* waits for room; nothing is read meanwhile */
    struct { enum gh_control_event kind; json_t *json; } queue[CONTROL_QUEUE];
    unsigned queued, lost;
    void   (*on_lost)(void *opaque);
    void    *on_lost_opaque;
};

/* send-keys in progress: one at a time. */
struct control_typing {
    struct gh_key_change *list;
    size_t   count, next;
    uint32_t delay_ms, strokes;
    struct control_client *client;         /* NULL: it left */
    json_int_t id;
    struct gh_loop_timer *timer;
};

struct control_request;
struct control_ticket { bool used; struct control_client *client; json_int_t id; unsigned verb; }; /* client NULL: it left */

struct gh_control {
    struct gh_loop *loop;
    const struct gh_control_ops *ops;
    void    *opaque;
    char     name[256], uuid[37];
    struct control_client client[GH_CONTROL_CLIENTS];
    struct control_typing typing;
    const struct control_request *current; /* the call in progress */
    unsigned current_verb;
    struct control_ticket ticket[CONTROL_TICKETS];
    /* LATEST events are sent at most 20 times a second. */
    uint64_t sent_ns[GH_CONTROL_EVENT_COUNT_];
    json_t  *held[GH_CONTROL_EVENT_COUNT_];
    struct gh_loop_timer *held_timer;
};

/* A verb's call: 0, a negative errno with a sentence, or CONTROL_LATER where the reply comes later. */
#define CONTROL_LATER GH_CONTROL_LATER
struct control_request {
    struct control_client *client;
    json_int_t id;
    void *args, *reply;
};
typedef int (*control_call_fn)(struct gh_control *c, struct control_request *rq, struct gh_error *err);
extern const control_call_fn control_calls[];
unsigned control_verb_find(const char *name); /* index; the terminator's where unknown */

void control_reply_ok(struct control_client *client, json_int_t id, const struct gh_schema *schema,
                      const void *reply);
void control_reply_error(struct control_client *client, json_int_t id, const struct gh_error *why);

/* SELF verbs */
int control_hello(struct gh_control *c, struct control_request *rq, struct gh_error *err);
int control_send_keys(struct gh_control *c, struct control_request *rq, struct gh_error *err);
int control_query_counters(struct gh_control *c, struct control_request *rq, struct gh_error *err);
int control_trace_set(struct gh_control *c, struct control_request *rq, struct gh_error *err);
int control_add_client(struct gh_control *c, struct control_request *rq, struct gh_error *err);
void control_typing_stop(struct gh_control *c); /* releases what is held */
