/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The control socket over real sockets; the negative cases come from its own table. */
#include <errno.h>
#include <fcntl.h>
#include <linux/input-event-codes.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "check.h"
#include "engine/machine/control.h"
#include "engine/machine/keys.h"

static struct gh_loop *loop;
static struct gh_control *control;
static struct { unsigned pauses, keys; uint16_t last[64]; bool down[64]; int taken_fd; unsigned backends, lost; } seen;

static int op_pause(void *o, struct gh_control_pause_args *a, struct gh_control_pause_reply *r, struct gh_error *e)
{
    seen.pauses++;
    return 0;
}
static int op_status(void *o, struct gh_control_status_args *a, struct gh_control_status_reply *r, struct gh_error *e)
{
    strcpy(r->state, "running");
    r->vcpus = 2;
    return 0;
}
static int op_reset(void *o, struct gh_control_reset_args *a, struct gh_control_reset_reply *r, struct gh_error *e)
{
    return gh_error_option(e, -EIO, "TestError", "here", "It \"did\" not work.");
}
static int op_key(void *o, struct gh_control_key_args *a, struct gh_control_key_reply *r, struct gh_error *e)
{
    if (seen.keys < 64) {
        seen.last[seen.keys] = (uint16_t)a->code;
        seen.down[seen.keys++] = a->down;
    }
    return 0;
}
static int op_insert(void *o, struct gh_control_insert_args *a, struct gh_control_insert_reply *r, struct gh_error *e)
{
    seen.taken_fd = gh_steal_fd(&a->fd);
    return 0;
}
static int op_backend(void *o, struct gh_control_backend_args *a, struct gh_control_backend_reply *r, struct gh_error *e)
{
    seen.backends++;
    return 0;
}
static void op_counters(void *o, void (*visit)(void *, const char *, uint64_t), void *vo)
{
    visit(vo, "exits", 12345);
    visit(vo, "huge", UINT64_MAX);
}
static const struct gh_control_ops ops = { .pause = op_pause, .status = op_status, .reset = op_reset, .key = op_key,
                                           .insert = op_insert, .backend = op_backend, .counters = op_counters };

static void on_lost(void *opaque) { seen.lost++; }

static int connect_client(bool supervisor)
{
    int s[2];
    CHECK_FATAL(gh_packet_pair(s, NULL) == 0);
    fcntl(s[0], F_SETFL, O_NONBLOCK);
    CHECK_EQ(gh_control_add(control, s[1], supervisor, supervisor ? on_lost : NULL, NULL, NULL), 0);
    return s[0];
}

/* The next packet, or NULL after a while. */
static json_t *receive(int sock)
{
    struct gh_packet p;
    for (unsigned i = 0; i < 200; i++) {
        if (gh_packet_recv(sock, &p, NULL) == 1) {
            json_t *o = json_incref(p.json);
            gh_packet_clear(&p);
            return o;
        }
        gh_loop_once(loop, 5);
    }
    return NULL;
}

static json_t *ask_fd(int sock, const char *text, int fd)
{
    json_t *rq = json_loads(text, 0, NULL);
    CHECK_FATAL(rq);
    CHECK_EQ(gh_packet_send(sock, rq, &fd, fd >= 0, NULL), 0);
    json_decref(rq);
    return receive(sock);
}
static json_t *ask(int sock, const char *text) { return ask_fd(sock, text, -1); }

static void refused(int sock, const char *text, const char *id)
{
    json_t *r = ask(sock, text);
    const char *got = json_string_value(json_object_get(json_object_get(r, "error"), "id"));
    if (!got || strcmp(got, id))
        fprintf(stderr, "for %s\n", text);
    CHECK_STR(got, id);
    /* Everything the socket itself refuses is documented. */
    bool listed = !strcmp(id, "TestError") || !strcmp(id, "MessageMalformed");
    for (const char *const *e = gh_control_errors; *e; e++)
        listed |= !strcmp(*e, id);
    CHECK(listed);
    json_decref(r);
}
static void accepted(int sock, const char *text)
{
    json_t *r = ask(sock, text);
    if (!json_object_get(r, "ok"))
        fprintf(stderr, "for %s\n", text);
    CHECK(json_object_get(r, "ok"));
    json_decref(r);
}

static void basics(int s)
{
    refused(s, "{\"id\":1,\"verb\":\"status\"}", "HelloExpected");
    refused(s, "{\"id\":1,\"verb\":\"hello\",\"version\":0}", "FieldInvalid");
    json_t *r = ask(s, "{\"id\":77,\"verb\":\"hello\",\"version\":9,\"client\":\"test\"}");
    CHECK_EQ(json_integer_value(json_object_get(r, "id")), 77);
    CHECK_EQ(json_integer_value(json_object_get(json_object_get(r, "ok"), "version")), GH_CONTROL_VERSION);
    CHECK_STR(json_string_value(json_object_get(json_object_get(r, "ok"), "machine")), "m1");
    json_decref(r);
    r = ask(s, "{\"id\":2,\"verb\":\"status\"}");
    CHECK_STR(json_string_value(json_object_get(json_object_get(r, "ok"), "state")), "running");
    CHECK_EQ(json_integer_value(json_object_get(json_object_get(r, "ok"), "vcpus")), 2);
    json_decref(r);
    accepted(s, "{\"id\":3,\"verb\":\"pause\"}");
    CHECK_EQ(seen.pauses, 1);
    refused(s, "{\"id\":3,\"verb\":\"reset\"}", "TestError");
    refused(s, "{\"id\":3,\"verb\":\"resume\"}", "VerbUnsupported");
    refused(s, "{\"id\":3,\"verb\":\"sudo\"}", "VerbUnknown");
    refused(s, "{\"verb\":\"pause\"}", "RequestMalformed");
    refused(s, "{\"id\":\"x\",\"verb\":\"pause\"}", "RequestMalformed");
    refused(s, "{\"id\":3,\"verb\":\"backend\",\"kind\":\"a\",\"name\":\"b\",\"fd\":0}", "VerbRefused");
    CHECK_EQ(send(s, "nonsense", 8, 0), 8);
    r = receive(s);
    CHECK_STR(json_string_value(json_object_get(json_object_get(r, "error"), "id")), "MessageMalformed");
    json_decref(r);
    accepted(s, "{\"id\":3,\"verb\":\"trace-set\",\"patterns\":\"\"}");
}

/* For every verb: each required field left out, an unknown one added, each field of a wrong type. */
static json_t *valid_args(const struct gh_control_verb_info *v)
{
    json_t *o = json_pack("{s:i,s:s}", "id", 5, "verb", v->name);
    for (const struct gh_schema_field *f = v->args->fields; f->name; f++) {
        if (!f->required)
            continue;
        bool text = f->type == GH_SCHEMA_STRING || f->type == GH_SCHEMA_TEXT;
        json_object_set_new(o, f->name, text ? json_string("a") : json_integer(f->type == GH_SCHEMA_FD ? 0 : (json_int_t)f->min));
    }
    return o;
}
static void refused_object(int s, json_t *o, const char *id)
{
    char *text = json_dumps(o, 0);
    refused(s, text, id);
    free(text);
    json_decref(o);
}
static void from_table(int s)
{
    for (const struct gh_control_verb_info *v = gh_control_verbs; v->name; v++) {
        CHECK(v->help && v->since >= 1);
        if (v->supervisor)
            continue;
        json_t *o = valid_args(v);
        json_object_set_new(o, "bogus", json_true());
        refused_object(s, o, "FieldUnknown");
        for (const struct gh_schema_field *f = v->args->fields; f->name; f++) {
            o = valid_args(v);
            json_object_set_new(o, f->name, f->type == GH_SCHEMA_WORDS ? json_integer(1) : json_array());
            refused_object(s, o, "FieldInvalid");
            if (f->required) {
                o = valid_args(v);
                json_object_del(o, f->name);
                refused_object(s, o, "FieldMissing");
            }
            if ((f->type == GH_SCHEMA_U32 || f->type == GH_SCHEMA_I32) && f->max < INT64_MAX) {
                o = valid_args(v);
                json_object_set_new(o, f->name, json_integer((json_int_t)f->max + 1));
                refused_object(s, o, "FieldInvalid");
            }
        }
    }
}

static void keys(int s)
{
    struct gh_key_change list[64];
    size_t n = 0;

    CHECK_EQ(gh_key_code("F12", 3), KEY_F12);
    CHECK_EQ(gh_key_code("z", 1), KEY_Z);
    CHECK_EQ(gh_key_code("bogus", 5), 0);
    CHECK_EQ(gh_keys_parse("ctrl-alt-delete f2", list, &n, 64, NULL), 0);
    CHECK_EQ(n, 8);
    CHECK(list[2].code == KEY_DELETE && list[2].down);
    CHECK(list[3].code == KEY_DELETE && !list[3].down);
    CHECK(list[5].code == KEY_LEFTCTRL && !list[5].down);
    n = 0;
    CHECK_EQ(gh_keys_type("aA1!\n|~", list, &n, 64, NULL), 0);
    CHECK_EQ(list[0].code, KEY_A);
    CHECK_EQ(list[2].code, KEY_LEFTSHIFT);
    CHECK_EQ(list[8].code, KEY_LEFTSHIFT);
    CHECK_EQ(list[9].code, KEY_1);
    CHECK_EQ(list[12].code, KEY_ENTER);
    CHECK_EQ(list[15].code, KEY_BACKSLASH);
    CHECK_EQ(list[19].code, KEY_GRAVE);
    n = 0;
    CHECK_EQ(gh_keys_type("\xc3\xa4", list, &n, 64, NULL), -EINVAL);
    n = 0;
    CHECK_EQ(gh_keys_type("aaaa", list, &n, 4, NULL), -E2BIG);
    CHECK_EQ(n, 4);

    seen.keys = 0;
    json_t *r = ask(s, "{\"id\":9,\"verb\":\"send-keys\",\"keys\":[\"ctrl-c\"],\"text\":\"Ok\",\"delay-ms\":1}");
    CHECK_EQ(json_integer_value(json_object_get(r, "id")), 9);
    CHECK_EQ(json_integer_value(json_object_get(json_object_get(r, "ok"), "strokes")), 5);
    json_decref(r);
    CHECK_EQ(seen.keys, 10);
    CHECK(seen.last[1] == KEY_C && seen.down[1] && seen.last[2] == KEY_C && !seen.down[2]);
    refused(s, "{\"id\":9,\"verb\":\"send-keys\",\"keys\":[\"ctrl-nokey\"]}", "KeyUnknown");
}

static void descriptors(int s)
{
    int file = memfd_create("x", MFD_CLOEXEC), p[2];
    CHECK_FATAL(file >= 0 && pipe(p) == 0);
    json_t *r = ask_fd(s, "{\"id\":1,\"verb\":\"query-counters\",\"fd\":0}", file);
    CHECK(json_object_get(r, "ok"));
    json_decref(r);
    lseek(file, 0, SEEK_SET);
    json_t *list = json_loadfd(file, 0, NULL);
    CHECK_EQ(json_integer_value(json_object_get(list, "exits")), 12345);
    CHECK_EQ(json_integer_value(json_object_get(list, "huge")), INT64_MAX);
    json_decref(list);
    r = ask_fd(s, "{\"id\":1,\"verb\":\"query-counters\",\"fd\":0}", p[1]);
    CHECK_STR(json_string_value(json_object_get(json_object_get(r, "error"), "id")), "DescriptorNotFile");
    json_decref(r);
    r = ask(s, "{\"id\":1,\"verb\":\"query-counters\"}");
    list = json_object_get(json_object_get(r, "ok"), "counters");
    CHECK_EQ(json_integer_value(json_object_get(list, "exits")), 12345);
    json_decref(r);
    seen.taken_fd = -1;
    r = ask_fd(s, "{\"id\":1,\"verb\":\"insert\",\"drive\":\"cd\",\"format\":\"raw\",\"fd\":0}", file);
    CHECK(json_object_get(r, "ok"));
    json_decref(r);
    CHECK(seen.taken_fd >= 0 && fcntl(seen.taken_fd, F_GETFD) >= 0);
    close(seen.taken_fd);
    close(file);
    close(p[0]);
    close(p[1]);
}

static void events(int s)
{
    struct gh_control_screen_event screen = { .height = 480 };
    struct gh_control_guest_panic_event panic = { .bits = 0 };

    /* A thousand changes of the size are two packets: the first and the last. */
    for (unsigned i = 1; i <= 1000; i++) {
        screen.width = i;
        gh_control_emit(control, GH_CONTROL_EVENT_screen, &screen);
    }
    json_t *r = receive(s);
    CHECK_STR(json_string_value(json_object_get(r, "event")), "screen-size");
    CHECK_EQ(json_integer_value(json_object_get(r, "width")), 1);
    json_decref(r);
    r = receive(s);
    CHECK_EQ(json_integer_value(json_object_get(r, "width")), 1000);
    json_decref(r);
    /* A client that does not read costs a bounded queue and learns what it missed. */
    for (unsigned i = 1; i <= 5000; i++) {
        panic.bits = i;
        gh_control_emit(control, GH_CONTROL_EVENT_guest_panic, &panic);
    }
    json_int_t lost = 0, last = 0;
    unsigned got = 0;
    while (last != 5000 && (r = receive(s))) {
        json_int_t bits = json_integer_value(json_object_get(r, "bits"));
        lost += json_integer_value(json_object_get(r, "lost"));
        CHECK(bits > last);
        last = bits;
        got++;
        json_decref(r);
    }
    CHECK_EQ(last, 5000);
    CHECK_EQ(lost + got, 5000);
    CHECK(lost > 0);
}

static void clients(int s)
{
    int sup = connect_client(true), fd[GH_CONTROL_CLIENTS + 1], pair[2];
    struct gh_error err = { 0 };

    CHECK_FATAL(gh_packet_pair(pair, NULL) == 0);
    fcntl(pair[0], F_SETFL, O_NONBLOCK);
    json_t *r = ask_fd(sup, "{\"id\":1,\"verb\":\"add-client\",\"fd\":0}", pair[1]);
    CHECK(json_object_get(r, "ok"));
    json_decref(r);
    close(pair[1]);
    accepted(pair[0], "{\"id\":1,\"verb\":\"hello\",\"version\":1}");
    r = ask_fd(sup, "{\"id\":1,\"verb\":\"backend\",\"kind\":\"display\",\"name\":\"d0\",\"fd\":0}", pair[0]);
    CHECK(json_object_get(r, "ok"));
    json_decref(r);
    CHECK_EQ(seen.backends, 1);

    unsigned n = 0;
    for (; n < GH_CONTROL_CLIENTS - 3; n++)
        fd[n] = connect_client(false);
    int extra[2];
    CHECK_FATAL(gh_packet_pair(extra, NULL) == 0);
    CHECK_EQ(gh_control_add(control, extra[1], false, NULL, NULL, &err), -EBUSY);
    CHECK_STR(err.id, "TooManyClients");
    close(extra[0]);
    /* The departed make room. */
    while (n)
        close(fd[--n]);
    close(pair[0]);
    for (unsigned i = 0; i < 5; i++)
        gh_loop_once(loop, 5);
    fd[0] = connect_client(false);
    accepted(fd[0], "{\"id\":1,\"verb\":\"hello\",\"version\":1}");
    close(fd[0]);
    close(sup);
    for (unsigned i = 0; i < 5; i++)
        gh_loop_once(loop, 5);
    CHECK_EQ(seen.lost, 1);
    accepted(s, "{\"id\":3,\"verb\":\"pause\"}"); /* the others never noticed */
}

int main(void)
{
    CHECK_FATAL(gh_loop_new(&loop, NULL) == 0);
    CHECK_FATAL(gh_control_new(loop, &ops, NULL, "m1", "u1", &control, NULL) == 0);
    int s = connect_client(false);
    basics(s);
    from_table(s);
    keys(s);
    descriptors(s);
    events(s);
    clients(s);
    FILE *help = tmpfile();
    gh_control_help(help);
    CHECK(ftell(help) > 3000);
    fclose(help);
    close(s);
    gh_control_free(control);
    gh_control_free(NULL);
    gh_loop_free(loop);
    return check_result();
}
