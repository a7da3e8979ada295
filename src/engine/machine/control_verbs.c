/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "engine/machine/control_internal.h"

#define DEFAULT_DELAY_MS 15

int control_hello(struct gh_control *c, struct control_request *rq, struct gh_error *err)
{
    const struct gh_control_hello_args *args = rq->args;
    struct gh_control_hello_reply *ret = rq->reply;

    if (args->version < GH_CONTROL_OLDEST)
        return gh_error_option(err, -EPROTO, "VersionUnsupported", "version", "The client speaks version %u of "
                               "the control protocol and this machine %d to %d; restart the machine to finish "
                               "the update.", args->version, GH_CONTROL_OLDEST, GH_CONTROL_VERSION);
    ret->version = args->version < GH_CONTROL_VERSION ? args->version : GH_CONTROL_VERSION;
    snprintf(ret->program, sizeof ret->program, "%s", GH_VERSION);
    snprintf(ret->machine, sizeof ret->machine, "%s", c->name);
    snprintf(ret->uuid, sizeof ret->uuid, "%s", c->uuid);
    rq->client->version = ret->version;
    rq->client->greeted = true;
    return 0;
}

/* ---- Keys ---------------------------------------------------------------------------------------- */
static void key(struct gh_control *c, struct gh_key_change change)
{
    struct gh_control_key_args args = { .code = change.code, .down = change.down };
    struct gh_control_key_reply ret;

    if (c->ops->key)
        c->ops->key(c->opaque, &args, &ret, NULL);
}

static void typing_end(struct gh_control *c)
{
    free(c->typing.list);
    c->typing.list = NULL;
    c->typing.client = NULL;
}

void control_typing_stop(struct gh_control *c)
{
    struct control_typing *t = &c->typing;

    /* Every press in the list has its release behind it. */
    for (; t->list && t->next < t->count; t->next++)
        if (!t->list[t->next].down)
            key(c, t->list[t->next]);
    typing_end(c);
}

static void typing_step(void *opaque)
{
    struct gh_control *c = opaque;
    struct control_typing *t = &c->typing;

    if (!t->list)
        return;
    if (t->next < t->count) {
        key(c, t->list[t->next++]);
        gh_loop_timer_arm(t->timer, gh_loop_now_ns() + (uint64_t)t->delay_ms * 1000000u);
        return;
    }
    struct control_client *client = t->client;
    struct gh_control_send_keys_reply ret = { .strokes = t->strokes };
    json_int_t id = t->id;
    typing_end(c);
    if (client)
        control_reply_ok(client, id, gh_control_verbs[control_verb_find("send-keys")].reply, &ret);
}

int control_send_keys(struct gh_control *c, struct control_request *rq, struct gh_error *err)
{
    const struct gh_control_send_keys_args *args = rq->args;
    struct control_typing *t = &c->typing;
    size_t count = 0;

    if (t->list)
        return gh_error_set(err, -EBUSY, "TooManyKeys", "The keys of an earlier request are still being "
                            "pressed; try again when its reply has come.");
    if (!c->ops->key)
        return gh_error_set(err, -EOPNOTSUPP, "VerbUnsupported", "This machine has no keyboard.");
    if (!t->timer && !(t->timer = gh_loop_timer(c->loop, typing_step, c)))
        return gh_error_set(err, -ENOMEM, "OutOfMemory", "There is no memory for a timer.");
    gh_autofree struct gh_key_change *list = calloc(GH_KEY_CHANGES, sizeof *list);
    if (!list)
        return gh_error_set(err, -ENOMEM, "OutOfMemory", "There is no memory for the keys.");
    int r = args->keys ? gh_keys_parse(args->keys, list, &count, GH_KEY_CHANGES, err) : 0;
    if (!r && args->text)
        r = gh_keys_type(args->text, list, &count, GH_KEY_CHANGES, err);
    if (r)
        return r;
    *t = (struct control_typing){ .list = gh_steal_ptr(&list), .count = count, .client = rq->client,
                                  .id = rq->id, .timer = t->timer,
                                  .delay_ms = args->delay_ms ? args->delay_ms : DEFAULT_DELAY_MS };
    for (size_t i = 0; i < count; i++)
        t->strokes += t->list[i].down;
    typing_step(c);
    return CONTROL_LATER;
}

/* ---- Counters, tracing --------------------------------------------------------------------------- */
struct counting { struct gh_control_query_counters_reply *ret; json_t *object; bool failed; };

static void count_one(void *opaque, const char *name, uint64_t value)
{
    struct counting *k = opaque;
    struct gh_control_query_counters_reply *ret = k->ret;

    if (value > INT64_MAX)
        value = INT64_MAX;
    if (k->object) {
        json_object_set_new(k->object, name, json_integer((json_int_t)value));
        return;
    }
    struct gh_schema_counter *bigger = realloc(ret->counters, (ret->counters_count + 1) * sizeof *bigger);
    if (!bigger) {
        k->failed = true;
        return;
    }
    ret->counters = bigger;
    snprintf(bigger[ret->counters_count].name, sizeof bigger->name, "%s", name);
    bigger[ret->counters_count++].value = value;
}

/* Regular files only: writing to a pipe that nobody reads would stop the machine. */
static int write_file(int fd, const char *text, struct gh_error *err)
{
    struct stat st;
    size_t len = strlen(text);

    if (fstat(fd, &st) || !S_ISREG(st.st_mode))
        return gh_error_option(err, -EINVAL, "DescriptorNotFile", "fd",
                               "The descriptor must be a regular file or a memfd.");
    for (size_t at = 0; at < len;) {
        ssize_t n = write(fd, text + at, len - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return gh_error_set(err, n ? -errno : -EIO, "WriteFailed", "The reply could not be written: %s.",
                                strerror(n ? errno : EIO));
        at += (size_t)n;
    }
    return 0;
}

int control_query_counters(struct gh_control *c, struct control_request *rq, struct gh_error *err)
{
    const struct gh_control_query_counters_args *args = rq->args;
    struct counting k = { .ret = rq->reply };

    if (!c->ops->counters)
        return gh_error_set(err, -EOPNOTSUPP, "VerbUnsupported", "This machine counts nothing.");
    if (args->fd < 0) {
        c->ops->counters(c->opaque, count_one, &k);
        return k.failed ? gh_error_set(err, -ENOMEM, "OutOfMemory", "There is no memory for the counters.") : 0;
    }
    k.object = json_object();
    c->ops->counters(c->opaque, count_one, &k);
    gh_autofree char *text = json_dumps(k.object, JSON_INDENT(1));
    json_decref(k.object);
    return text ? write_file(args->fd, text, err)
                : gh_error_set(err, -ENOMEM, "OutOfMemory", "There is no memory for the counters.");
}

int control_trace_set(struct gh_control *c, struct control_request *rq, struct gh_error *err)
{
    const struct gh_control_trace_set_args *args = rq->args;
    gh_trace_set(args->patterns);
    return 0;
}

int control_add_client(struct gh_control *c, struct control_request *rq, struct gh_error *err)
{
    struct gh_control_add_client_args *args = rq->args;
    return gh_control_add(c, gh_steal_fd(&args->fd), false, NULL, NULL, err);
}
