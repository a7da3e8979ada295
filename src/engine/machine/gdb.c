/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The debugger's connection: packets, and what each asks. */
#include "engine/machine/gdb_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"

enum { PENDING_MAX = 1 << 20 };

/* ---- Text ------------------------------------------------------------------------------------------ */
static void put_bytes(struct gdb_out *o, const char *data, size_t len)
{
    if (len > o->size - o->used - 1) {
        o->full = true;
        return;
    }
    memcpy(o->data + o->used, data, len);
    o->used += len;
    o->data[o->used] = 0;
}

void gdb_put(struct gdb_out *o, const char *text) { put_bytes(o, text, strlen(text)); }

void gdb_putf(struct gdb_out *o, const char *fmt, ...)
{
    char text[1024];
    va_list ap;

    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (n > 0)
        put_bytes(o, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

void gdb_put_hex(struct gdb_out *o, const void *bytes, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *p = bytes;

    for (size_t i = 0; i < len; i++)
        put_bytes(o, (const char[]){ digits[p[i] >> 4], digits[p[i] & 15] }, 2);
}

int gdb_hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool gdb_number(const char **p, uint64_t *ret)
{
    const char *start = *p;

    *ret = 0;
    while (gdb_hex_digit(**p) >= 0)
        *ret = *ret << 4 | (uint64_t)gdb_hex_digit(*(*p)++);
    return *p != start;
}

size_t gdb_bytes(const char *p, uint8_t *ret, size_t max)
{
    size_t n = 0;

    for (; n < max && gdb_hex_digit(p[0]) >= 0 && gdb_hex_digit(p[1]) >= 0; n++, p += 2)
        ret[n] = (uint8_t)(gdb_hex_digit(p[0]) << 4 | gdb_hex_digit(p[1]));
    return n;
}

/* ---- The socket --------------------------------------------------------------------------------------- */
static void drop_client(struct gh_gdb *g);

static void flush(struct gh_gdb *g)
{
    size_t done = 0;

    while (done < g->pending_used) {
        ssize_t n = send(g->fd, g->pending + done, g->pending_used - done, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    memmove(g->pending, g->pending + done, g->pending_used - done);
    g->pending_used -= done;
    gh_loop_fd_events(g->client, EPOLLIN | (g->pending_used ? EPOLLOUT : 0));
}

static void write_raw(struct gh_gdb *g, const char *data, size_t len)
{
    if (g->fd < 0 || g->pending_used + len > PENDING_MAX)
        return;     /* a client that reads nothing gets nothing */
    if (g->pending_used + len > g->pending_size) {
        size_t size = (g->pending_used + len) * 2;
        char *bigger = realloc(g->pending, size);
        if (!bigger)
            return;
        g->pending = bigger;
        g->pending_size = size;
    }
    memcpy(g->pending + g->pending_used, data, len);
    g->pending_used += len;
    flush(g);
}

void gdb_send(struct gh_gdb *g, const char *body, size_t len)
{
    char end[4];
    uint8_t sum = 0;

    for (size_t i = 0; i < len; i++)
        sum = (uint8_t)(sum + (uint8_t)body[i]);
    write_raw(g, "$", 1);
    write_raw(g, body, len);
    snprintf(end, sizeof end, "#%02x", sum);
    write_raw(g, end, 3);
}

static void fail(struct gh_gdb *g, struct gdb_out *o, int code, const struct gh_error *err)
{
    if (err && err->text[0] && g->error_text)
        gdb_putf(o, "E.%s", err->text);
    else
        gdb_putf(o, "E%02x", code & 0xff);
}

/* ---- Packets --------------------------------------------------------------------------------------------- */
static void read_memory(struct gh_gdb *g, const char *p, struct gdb_out *o)
{
    static uint8_t data[GDB_PACKET / 2];
    uint64_t address, len;

    if (!gdb_number(&p, &address) || *p++ != ',' || !gdb_number(&p, &len)) {
        fail(g, o, EINVAL, NULL);
        return;
    }
    if (len > sizeof data)
        len = sizeof data;
    size_t n = gdb_read_memory(g, address, data, len);
    if (n || !len)
        gdb_put_hex(o, data, n);
    else
        fail(g, o, EFAULT, NULL);
}

static void write_memory(struct gh_gdb *g, const char *p, const char *end, bool binary, struct gdb_out *o)
{
    static uint8_t data[GDB_PACKET];
    uint64_t address, len;
    size_t n = 0;

    if (!gdb_number(&p, &address) || *p++ != ',' || !gdb_number(&p, &len) || *p++ != ':' || len > sizeof data) {
        fail(g, o, EINVAL, NULL);
        return;
    }
    if (!binary)
        n = gdb_bytes(p, data, len);
    for (; binary && p < end && n < len; p++)
        data[n++] = *p == 0x7d && p + 1 < end ? (uint8_t)(*++p ^ 0x20) : (uint8_t)*p;
    if (n == len && gdb_write_memory(g, address, data, n) == n)
        gdb_put(o, "OK");
    else
        fail(g, o, EFAULT, NULL);
}

static void point(struct gh_gdb *g, bool add, const char *p, struct gdb_out *o)
{
    uint64_t type, address, length;
    struct gh_error err = { 0 };

    if (!gdb_number(&p, &type) || *p++ != ',' || !gdb_number(&p, &address) || *p++ != ',' || !gdb_number(&p, &length)) {
        fail(g, o, EINVAL, NULL);
        return;
    }
    int r = gdb_point(g, add, (unsigned)type, address, length > 255 ? 256 : (unsigned)length, &err);
    if (r == 0)
        gdb_put(o, "OK");
    else if (r != -EOPNOTSUPP)
        fail(g, o, -r, &err);
}

/* "monitor" commands: text in and out. */
static void monitor(struct gh_gdb *g, const char *hex, struct gdb_out *o)
{
    char command[128], reply[256] = "";
    size_t n = gdb_bytes(hex, (uint8_t *)command, sizeof command - 1);
    unsigned long long address;
    uint64_t gpa;
    struct gh_cpu_state s;

    command[n] = 0;
    if (!strcmp(command, "reset")) {
        gh_machine_reset(g->machine);
        snprintf(reply, sizeof reply, "The machine was reset.\n");
    } else if (!strcmp(command, "physical on") || !strcmp(command, "physical off")) {
        g->physical = command[10] == 'n';
        snprintf(reply, sizeof reply, "Memory is read and written by %s addresses.\n", g->physical ? "physical" : "linear");
    } else if (sscanf(command, "translate %llx", &address) == 1) {
        if (gdb_state(g, g->thread, GH_CPU_SREGS, &s) && gdb_walk(g, &s, address, &gpa))
            snprintf(reply, sizeof reply, "%#llx is at the physical address %#llx.\n", address, (unsigned long long)gpa);
        else
            snprintf(reply, sizeof reply, "%#llx is not mapped.\n", address);
    } else {
        snprintf(reply, sizeof reply, "reset               presses the reset button\n"
                 "translate ADDRESS   the physical address behind a linear one\n"
                 "physical on|off     memory by physical addresses\n");
    }
    gdb_put_hex(o, reply, strlen(reply));
}

static void features(const char *p, struct gdb_out *o)
{
    const char *xml = gdb_target_xml();
    size_t total = strlen(xml);
    uint64_t at, len;

    if (strncmp(p, "target.xml:", 11) || (p += 11, !gdb_number(&p, &at)) || *p++ != ',' || !gdb_number(&p, &len) || at > total) {
        gdb_put(o, "E00");
        return;
    }
    if (len > GDB_PACKET - 16)
        len = GDB_PACKET - 16;
    size_t n = total - at < len ? total - at : len;
    gdb_put(o, n < total - at ? "m" : "l");
    put_bytes(o, xml + at, n);
}

static bool is(const char *p, const char *word) { return !strncmp(p, word, strlen(word)); }

static void query(struct gh_gdb *g, const char *p, struct gdb_out *o)
{
    uint64_t number;

    if (is(p, "qSupported")) {
        g->error_text = strstr(p, "error-message+");
        gdb_putf(o, "PacketSize=%x;qXfer:features:read+;QStartNoAckMode+;vContSupported+;hwbreak+;error-message+", GDB_PACKET);
    } else if (is(p, "qXfer:features:read:")) {
        features(p + 20, o);
    } else if (!strcmp(p, "qC")) {
        gdb_putf(o, "QC%x", g->thread + 1);
    } else if (!strcmp(p, "qfThreadInfo")) {
        gdb_put(o, "m");
        for (unsigned i = 0; i < g->machine->cfg.cpus; i++)
            gdb_putf(o, "%s%x", i ? "," : "", i + 1);
    } else if (!strcmp(p, "qsThreadInfo")) {
        gdb_put(o, "l");
    } else if (is(p, "qThreadExtraInfo,")) {
        static const char *const states[] = { "running", "halted", "waiting for start-up", "shut down" };
        struct gh_cpu_state s;
        char text[48];
        p += 17;
        if (!gdb_number(&p, &number) || !number || number > g->machine->cfg.cpus || !gdb_state(g, (unsigned)number - 1, GH_CPU_EVENTS, &s)) {
            fail(g, o, EINVAL, NULL);
            return;
        }
        snprintf(text, sizeof text, "vCPU %u, %s", (unsigned)number - 1, (unsigned)s.run_state < GH_ARRAY_LEN(states) ? states[s.run_state] : "?");
        gdb_put_hex(o, text, strlen(text));
    } else if (is(p, "qAttached")) {
        gdb_put(o, "1");
    } else if (is(p, "qSymbol")) {
        gdb_put(o, "OK");
    } else if (is(p, "qRcmd,")) {
        monitor(g, p + 6, o);
    } else if (!strcmp(p, "QStartNoAckMode")) {
        g->no_ack = true;
        gdb_put(o, "OK");
    }
}

static void registers(struct gh_gdb *g, const char *p, struct gdb_out *o)
{
    struct gh_cpu_state s;
    uint64_t number;
    uint8_t value[16];

    if (*p == 'g' || *p == 'p') {
        bool ok = gdb_state(g, g->thread, GDB_GROUPS, &s);
        if (*p == 'g')
            for (unsigned i = 0; ok && i < gdb_register_count(); i++)
                gdb_read_register(&s, i, o);
        else
            ok = ok && (p++, gdb_number(&p, &number)) && number < gdb_register_count() && gdb_read_register(&s, (unsigned)number, o);
        if (!ok)
            fail(g, o, EINVAL, NULL);
        return;
    }
    bool ok = *p++ == 'G' ? gdb_write_registers(g, g->thread, p)
                          : gdb_number(&p, &number) && *p++ == '=' && number < gdb_register_count() &&
                            gdb_write_register(g, g->thread, (unsigned)number, value, gdb_bytes(p, value, sizeof value));
    if (ok)
        gdb_put(o, "OK");
    else
        fail(g, o, EINVAL, NULL);
}

static void choose_thread(struct gh_gdb *g, const char *p, struct gdb_out *o)
{
    bool set = *p == 'H';
    uint64_t number = 0;

    p += set ? 2 : 1;
    if (*p == '-' || (gdb_number(&p, &number) && number <= g->machine->cfg.cpus)) {
        if (set && number)
            g->thread = (unsigned)number - 1;
        gdb_put(o, "OK");
    } else {
        fail(g, o, EINVAL, NULL);
    }
}

/* c [address], s [address]: of the current thread; the others go on. */
static void go_old(struct gh_gdb *g, const char *p)
{
    uint64_t address;
    uint8_t value[8];
    char actions[48];
    const char *at = p + 1;

    if (gdb_number(&at, &address)) {
        gh_le64_put(value, address);
        gdb_write_register(g, g->thread, 16, value, 8); /* rip */
    }
    snprintf(actions, sizeof actions, *p == 's' ? ";s:%x;c" : ";c", g->thread + 1);
    gdb_continue(g, actions);
}

static void packet(struct gh_gdb *g, char *p, size_t len)
{
    static char reply[GDB_PACKET + 16];
    struct gdb_out o = { .data = reply, .size = sizeof reply };

    reply[0] = 0;
    if (!g->ended && !g->running && gh_machine_state(g->machine) == GH_MACHINE_RUNNING)
        gh_machine_pause(g->machine); /* somebody let it run meanwhile */
    switch (*p) {
    case '?': gdb_put(&o, g->stop); break;
    case 'g': case 'G': case 'p': case 'P': registers(g, p, &o); break;
    case 'm': read_memory(g, p + 1, &o); break;
    case 'M': write_memory(g, p + 1, p + len, false, &o); break;
    case 'X': write_memory(g, p + 1, p + len, true, &o); break;
    case 'Z': case 'z': point(g, *p == 'Z', p + 1, &o); break;
    case 'H': case 'T': choose_thread(g, p, &o); break;
    case 'q': case 'Q': query(g, p, &o); break;
    case 'c': case 's': go_old(g, p); return;
    case 'k': gh_machine_stop(g->machine, 0); return;
    case 'D':
        gdb_send(g, "OK", 2);
        drop_client(g);
        return;
    case 'v':
        if (!strcmp(p, "vCont?")) {
            gdb_put(&o, "vCont;c;C;s;S;t");
        } else if (is(p, "vCont;")) {
            gdb_continue(g, p + 5);
            return;
        } else if (is(p, "vKill")) {
            gdb_send(g, "OK", 2);
            gh_machine_stop(g->machine, 0);
            return;
        }
        break;
    default: break;
    }
    if (o.full)
        gdb_send(g, "E0c", 3);
    else
        gdb_send(g, reply, o.used);
}

/* Everything complete in the buffer; the rest stays. */
static void parse(struct gh_gdb *g)
{
    size_t at = 0;

    while (at < g->in_used && g->fd >= 0) {
        if (g->in[at] == 3) {
            gdb_interrupt(g);
            at++;
            continue;
        }
        if (g->in[at] != '$') {
            at++;                               /* acknowledgements */
            continue;
        }
        char *end = memchr(g->in + at, '#', g->in_used - at);
        if (!end || (size_t)(end - g->in) + 3 > g->in_used)
            break;
        uint8_t sum = 0;
        for (char *p = g->in + at + 1; p < end; p++)
            sum = (uint8_t)(sum + (uint8_t)*p);
        int told = gdb_hex_digit(end[1]) << 4 | gdb_hex_digit(end[2]);
        size_t start = at + 1;
        at = (size_t)(end - g->in) + 3;
        if (!g->no_ack)
            write_raw(g, told == sum ? "+" : "-", 1);
        *end = 0;
        if (told == sum && !g->ended)
            packet(g, g->in + start, (size_t)(end - g->in) - start);
    }
    memmove(g->in, g->in + at, g->in_used - at);
    g->in_used -= at;
}

/* ---- Clients ------------------------------------------------------------------------------------------------ */
static void client_event(void *opaque, int fd, uint32_t events)
{
    struct gh_gdb *g = opaque;

    if (events & EPOLLOUT)
        flush(g);
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        return;
    ssize_t n = recv(fd, g->in + g->in_used, sizeof g->in - g->in_used, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {                               /* also a packet larger than was promised: no room is left */
        drop_client(g);
        return;
    }
    g->in_used += (size_t)n;
    parse(g);
}

static int take_client(struct gh_gdb *g, int fd)
{
    g->client = gh_loop_fd(g->loop, fd, EPOLLIN, client_event, g);
    if (!g->client)
        return -errno;
    g->fd = fd;
    g->in_used = g->pending_used = 0;
    g->no_ack = g->physical = g->error_text = false;
    gh_log(GH_LOG_INFO, "a debugger has connected");
    gdb_attach(g);
    return 0;
}

static void drop_client(struct gh_gdb *g)
{
    if (g->fd < 0)
        return;
    gh_loop_fd_free(g->client);
    close(g->fd);
    g->fd = -1;
    g->client = NULL;
    gh_log(GH_LOG_INFO, "the debugger has left");
    gdb_detach(g);
}

static void accept_client(void *opaque, int fd, uint32_t events)
{
    struct gh_gdb *g = opaque;
    int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (client >= 0 && (g->fd >= 0 || g->ended || take_client(g, client) < 0))
        close(client);                          /* one at a time */
}

int gh_gdb_new(struct gh_loop *loop, struct gh_machine *m, int fd, struct gh_gdb **ret, struct gh_error *err)
{
    int listening = 0;
    socklen_t size = sizeof listening;

    *ret = NULL;
    if (!m->cfg.accel->debug_points) {
        close(fd);
        return gh_error_option(err, -ENOTSUP, "DebuggerUnsupported", "gdb", "The accelerator “%s” cannot be debugged; use soft.", m->cfg.accel->name);
    }
    struct gh_gdb *g = calloc(1, sizeof *g);
    if (!g || getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) < 0) {
        free(g);
        close(fd);
        return g ? gh_error_option(err, -EINVAL, "DescriptorNotSocket", "gdb", "The debugger's descriptor is not a socket.")
                 : gh_error_set(err, -ENOMEM, "NoMemory", "The host has no memory left for a debugger.");
    }
    g->loop = loop;
    g->machine = m;
    g->fd = g->listen_fd = -1;
    int r = 0;
    if (listening) {
        g->listen_fd = fd;
        g->listener = gh_loop_fd(loop, fd, EPOLLIN, accept_client, g);
        r = g->listener ? 0 : -errno;
    } else {
        r = take_client(g, fd);
        if (r < 0)
            close(fd);
    }
    if (r < 0) {
        gh_gdb_free(g);
        return gh_error_option(err, r, "DescriptorNotSocket", "gdb", "The debugger's descriptor cannot be watched: %s.", strerror(-r));
    }
    *ret = g;
    return 0;
}

void gh_gdb_paused(struct gh_gdb *g)
{
    if (g && g->fd >= 0 && !g->ended)
        gdb_interrupt(g);
}

void gh_gdb_ended(struct gh_gdb *g, int status)
{
    char reply[8];

    if (!g || g->ended)
        return;
    g->ended = true;
    snprintf(reply, sizeof reply, "W%02x", status & 0xff);
    if (g->fd >= 0)
        gdb_send(g, reply, strlen(reply));
}

static void close_all(struct gh_gdb *g)
{
    drop_client(g);
    g->ended = true;
    if (g->listener)
        gh_loop_fd_free(g->listener);
    if (g->listen_fd >= 0)
        close(g->listen_fd);
    g->listener = NULL;
    g->listen_fd = -1;
}

static void free_late(void *opaque) { gh_gdb_free(opaque); }

void gh_gdb_close(struct gh_gdb *g)
{
    if (!g)
        return;
    close_all(g);
    gh_loop_post(g->loop, free_late, g); /* behind what a vCPU may have posted */
}

void gh_gdb_free(struct gh_gdb *g)
{
    if (!g)
        return;
    close_all(g);
    free(g->pending);
    free(g);
}
