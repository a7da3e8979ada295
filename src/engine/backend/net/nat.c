/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/backend/net/nat.h"

#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <slirp/libslirp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/loop.h"
#include "engine/backend/net/nat_relay.h"

/* libslirp makes TCP segments as large as the guest's announced limit allows. A guest that takes large
 * receive offload is made to announce SEGMENT bytes; what then leaves libslirp is split by the guest's
 * own stack. Everything else larger than an Ethernet frame becomes IP fragments. */
enum { SLIRP_MTU = 65000, SEGMENT_MAX = 32000, TIMERS = 4, TCP_ASKERS = 32, CONGESTED_BYTES = 1 << 20, NOISE_MAX = 20 };

struct timer { bool used; SlirpTimerCb fn; void *opaque; int64_t due_ms; };

struct nat {
    struct nat_config cfg;
    Slirp *slirp;
    struct gh_wire *wire;
    struct nat_dns *dns;
    struct nat_relay *relay;
    struct nat_fragments *fragments;
    bool csum, tso4, tso6;             /* what the guest takes */
    uint16_t segment4, segment6;       /* its real segment sizes */
    bool polled;                       /* slirp's descriptors are in this round */
    unsigned relayed, first;           /* where the relay's and slirp's descriptors begin */
    struct pollfd *p;
    unsigned p_count, p_max;
    struct timer timer[TIMERS];
    struct { uint16_t port; uint8_t server[4]; } tcp_asker[TCP_ASKERS];
    unsigned tcp_next, noise;
    uint16_t fragment_id;
};

/* ---- To the guest ----------------------------------------------------------------------------------- */
static void put(struct nat *n, const uint8_t *data, size_t len, uint8_t *header)
{
    struct iovec iov[2] = { { header, GH_WIRE_HEADER }, { (void *)(uintptr_t)data, len } };

    /* A full wire loses the frame, as any wire does. */
    if (n->csum)
        gh_wire_put(n->wire, GH_WIRE_OFFLOAD, iov, 2);
    else
        gh_wire_put(n->wire, GH_WIRE_FRAME, iov + 1, 1);
}

/* A large segment goes as one frame that the guest's stack treats like many. */
static void put_segments(struct nat *n, struct gh_frame *f)
{
    uint8_t header[GH_WIRE_HEADER] = { 0 };
    unsigned tcp_header = (f->transport[12] >> 4) * 4u;
    size_t before = (size_t)(f->transport - f->eth) + tcp_header;

    if (tcp_header < 20 || tcp_header > f->transport_len)
        return;
    header[GH_VNET_FLAGS] = GH_VNET_NEEDS_CSUM;
    header[GH_VNET_GSO_TYPE] = f->version == 4 ? GH_VNET_GSO_TCPV4 : GH_VNET_GSO_TCPV6;
    gh_le16_put(header + GH_VNET_HDR_LEN, (uint16_t)before);
    gh_le16_put(header + GH_VNET_GSO_SIZE, f->version == 4 ? n->segment4 : n->segment6);
    gh_le16_put(header + GH_VNET_CSUM_START, (uint16_t)(f->transport - f->eth));
    gh_le16_put(header + GH_VNET_CSUM_OFFSET, 16);
    gh_be16_put(f->transport + 16, gh_sum_fold(gh_frame_pseudo(f)));
    put(n, f->eth, f->len, header);
}

/* For a guest that takes none: libslirp may still send one that is too large, to a guest whose own limit
 * it has not understood. */
static void put_piece(void *opaque, const uint8_t *piece, size_t len)
{
    uint8_t header[GH_WIRE_HEADER] = { 0 };

    put(opaque, piece, len, header);
}

static void put_fragments(struct nat *n, const struct gh_frame *f)
{
    uint8_t piece[GH_ETH_HEADER + GH_ETH_MTU], header[GH_WIRE_HEADER] = { 0 };
    size_t head = GH_ETH_HEADER + f->header, step = (GH_ETH_MTU - f->header) & ~7u, total = f->ip_len - f->header;

    if (f->version != 4 || gh_be16_get(f->ip + 6) & 0x3fff)
        return;
    memcpy(piece, f->eth, head);
    uint8_t *ip = piece + GH_ETH_HEADER;
    gh_be16_put(ip + 4, ++n->fragment_id);
    for (size_t at = 0; at < total; at += step) {
        size_t len = total - at < step ? total - at : step;
        gh_be16_put(ip + 2, (uint16_t)(f->header + len));
        gh_be16_put(ip + 6, (uint16_t)(at / 8 | (at + len < total ? 0x2000 : 0)));
        gh_be16_put(ip + 10, 0);
        gh_be16_put(ip + 10, (uint16_t)~gh_sum_fold(gh_sum(ip, f->header, 0)));
        memcpy(piece + head, f->ip + f->header + at, len);
        put(n, piece, head + len, header);
    }
}

static void to_guest(struct nat *n, uint8_t *data, size_t len)
{
    uint8_t header[GH_WIRE_HEADER] = { 0 };
    struct gh_frame f;

    gh_frame_parse(data, len, &f);
    if (f.ip && f.ip_len > GH_ETH_MTU) {
        bool tso = f.version == 4 ? n->tso4 : n->tso6;
        if (f.transport && f.protocol == GH_IP_TCP && tso)
            put_segments(n, &f);
        else if (f.transport && f.protocol == GH_IP_TCP)
            gh_frame_segment(&f, 0, put_piece, n);
        else if (f.protocol != GH_IP_TCP)
            put_fragments(n, &f);
        return;
    }
    if (f.transport)
        header[GH_VNET_FLAGS] = GH_VNET_DATA_VALID; /* libslirp has just computed the checksum */
    put(n, data, len, header);
}

/* An answer over TCP comes from the server it was sent to; the guest asked .3. */
static void restore_server(struct nat *n, uint8_t *data, size_t len)
{
    struct gh_frame f;

    gh_frame_parse(data, len, &f);
    if (f.version != 4 || f.protocol != GH_IP_TCP || !f.transport || gh_be16_get(f.transport) != 53)
        return;
    for (unsigned i = 0; i < TCP_ASKERS; i++)
        if (n->tcp_asker[i].port == gh_be16_get(f.transport + 2) && !memcmp(n->tcp_asker[i].server, f.ip + 12, 4)) {
            gh_be32_put(f.ip + 12, ntohl(n->cfg.network.s_addr) | 3);
            gh_be16_put(f.ip + 10, 0);
            gh_be16_put(f.ip + 10, (uint16_t)~gh_sum_fold(gh_sum(f.ip, f.header, 0)));
            gh_frame_checksum(&f);
            return;
        }
}

static ssize_t slirp_send(const void *data, size_t len, void *opaque)
{
    struct nat *n = opaque;
    uint8_t *frame = (void *)(uintptr_t)data; /* libslirp's own buffer, done with after this */

    if (len >= GH_ETH_HEADER && len <= GH_WIRE_FRAME_MAX) {
        restore_server(n, frame, len);
        to_guest(n, frame, len);
    }
    return (ssize_t)len;
}

/* ---- DNS ------------------------------------------------------------------------------------------------ */
static void dns_answer(void *opaque, const struct nat_dns_asker *to, const uint8_t *data, size_t len)
{
    struct nat *n = opaque;
    uint8_t frame[GH_ETH_HEADER + 40 + 8 + 4096] = { 0 };
    struct gh_frame f;
    size_t header = to->version == 4 ? 20 : 40;

    /* Too large for IPv6, which has no fragments here: the header alone, with "truncated" set. */
    bool cut = to->version == 6 && header + 8 + len > GH_ETH_MTU;
    size_t udp = 8 + (cut ? 12 : len);
    uint8_t *ip = frame + GH_ETH_HEADER, *u = ip + header;
    memcpy(frame, to->mac, 6);
    memcpy(frame + 6, (const uint8_t[]){ 0x52, 0x55, 0x0a, 0x00, 0x02, 0x03 }, 6);
    gh_be16_put(frame + 12, to->version == 4 ? GH_ETH_IPV4 : GH_ETH_IPV6);
    if (to->version == 4) {
        ip[0] = 0x45;
        gh_be16_put(ip + 2, (uint16_t)(header + udp));
        ip[8] = 64;
        ip[9] = GH_IP_UDP;
        memcpy(ip + 12, to->server, 4);
        memcpy(ip + 16, to->guest, 4);
        gh_be16_put(ip + 10, (uint16_t)~gh_sum_fold(gh_sum(ip, 20, 0)));
    } else {
        ip[0] = 0x60;
        gh_be16_put(ip + 4, (uint16_t)udp);
        ip[6] = GH_IP_UDP;
        ip[7] = 64;
        memcpy(ip + 8, to->server, 16);
        memcpy(ip + 24, to->guest, 16);
    }
    gh_be16_put(u, 53);
    gh_be16_put(u + 2, to->port);
    gh_be16_put(u + 4, (uint16_t)udp);
    memcpy(u + 8, data, udp - 8);
    if (cut) {
        u[8 + 2] |= 2;
        memset(u + 8 + 4, 0, 8);
    }
    gh_frame_parse(frame, GH_ETH_HEADER + header + udp, &f);
    gh_frame_checksum(&f);
    to_guest(n, frame, GH_ETH_HEADER + header + udp);
}

/* true: goes on to libslirp. */
static bool take_dns(struct nat *n, struct gh_frame *f)
{
    struct nat_dns_asker from = { .version = f->version };

    if (!f->transport)
        return false;
    if (f->protocol == GH_IP_UDP) {
        size_t udp = gh_be16_get(f->transport + 4), at = f->version == 4 ? 12 : 8, n_address = f->version == 4 ? 4 : 16;
        if (udp < 8 || udp > f->transport_len)
            return false;
        memcpy(from.mac, f->eth + 6, 6);
        memcpy(from.guest, f->ip + at, n_address);
        memcpy(from.server, f->ip + at + n_address, n_address);
        from.port = gh_be16_get(f->transport);
        nat_dns_ask(n->dns, &from, f->transport + 8, udp - 8);
        return false;
    }
    uint8_t server[4];
    if (f->version != 4 || !nat_dns_tcp_server(n->dns, server))
        return false;
    uint16_t port = gh_be16_get(f->transport);
    unsigned slot = TCP_ASKERS;
    for (unsigned i = 0; i < TCP_ASKERS; i++)
        if (n->tcp_asker[i].port == port)
            slot = i;
    if (slot == TCP_ASKERS) {
        slot = n->tcp_next++ % TCP_ASKERS;
        n->tcp_asker[slot].port = port;
        memcpy(n->tcp_asker[slot].server, server, 4);
    }
    memcpy(f->ip + 16, n->tcp_asker[slot].server, 4);
    gh_be16_put(f->ip + 10, 0);
    gh_be16_put(f->ip + 10, (uint16_t)~gh_sum_fold(gh_sum(f->ip, f->header, 0)));
    gh_frame_checksum(f);
    return true;
}

/* ---- From the guest ------------------------------------------------------------------------------------- */
/* RFC 793's option 2 in a SYN says how much the guest takes at once; see SEGMENT_MAX. */
static void stretch_segments(struct nat *n, struct gh_frame *f)
{
    if (f->protocol != GH_IP_TCP || !f->transport || !(f->transport[13] & 2) || !(f->version == 4 ? n->tso4 : n->tso6))
        return;
    size_t end = (f->transport[12] >> 4) * 4u;
    for (size_t at = 20; end <= f->transport_len && at + 4 <= end && f->transport[at];) {
        if (f->transport[at] == 1) {
            at++;
            continue;
        }
        unsigned len = f->transport[at + 1];
        if (f->transport[at] == 2 && len == 4) {
            uint16_t mss = gh_be16_get(f->transport + at + 2);
            if (mss < 536 || mss > 1460)
                return;
            *(f->version == 4 ? &n->segment4 : &n->segment6) = mss;
            gh_be16_put(f->transport + at + 2, (uint16_t)(SEGMENT_MAX / mss * mss));
            gh_frame_checksum(f);
            return;
        }
        if (len < 2)
            return;
        at += len;
    }
}

static void take_frame(struct nat *n, const uint8_t *header, uint8_t *data, size_t len)
{
    struct gh_frame f;

    gh_frame_parse(data, len, &f);
    if (len < GH_ETH_HEADER || f.len < GH_ETH_HEADER)
        return;
    if (header && (header[GH_VNET_FLAGS] || header[GH_VNET_GSO_TYPE]) && !gh_frame_finish(header, &f))
        return;
    if (f.version == 4 && gh_be16_get(f.ip + 6) & 0x3fff && !nat_fragment(n->fragments, &f, &f))
        return;
    enum nat_verdict v = nat_verdict(&n->cfg, &f);
    if (v == NAT_DROP || (v == NAT_DNS && !take_dns(n, &f)))
        return;
    stretch_segments(n, &f);
    slirp_input(n->slirp, f.eth, (int)f.len);
}

/* ---- Control ---------------------------------------------------------------------------------------------- */
static const char *text(const json_t *o, const char *key)
{
    const char *t = json_string_value(json_object_get(o, key));
    return t ? t : "";
}

static void reply(struct nat *n, json_int_t id, const struct gh_error *err)
{
    json_t *o = err ? json_pack("{s:I, s:{s:s, s:s, s:s}}", "id", id, "error", "id", err->id, "text", err->text, "message", err->message)
                    : json_pack("{s:I}", "id", id);
    char *line = o ? json_dumps(o, JSON_COMPACT) : NULL;

    if (line)
        gh_wire_put(n->wire, GH_WIRE_CONTROL, &(struct iovec){ line, strlen(line) }, 1);
    free(line);
    json_decref(o);
}

/* Either kind of host address. 0 or negative errno. */
static int add_forward(struct nat *n, bool udp, const struct in_addr *host, const struct in6_addr *host6, int host_port, int guest_port)
{
    const struct in_addr guest = { 0 }, loopback = { htonl(INADDR_LOOPBACK) };

    errno = 0;
    if (host)
        return slirp_add_hostfwd(n->slirp, udp, *host, host_port, guest, guest_port) == 0 ? 0 : errno ? -errno : -EADDRINUSE;
    uint16_t inner = nat_relay_free_port(udp);
    if (!inner || slirp_add_hostfwd(n->slirp, udp, loopback, inner, guest, guest_port))
        return -EAGAIN;
    int r = nat_relay_add(n->relay, udp, host6, (uint16_t)host_port, inner);
    if (r)
        slirp_remove_hostfwd(n->slirp, udp, loopback, inner);
    return r;
}

static bool remove_forward(struct nat *n, bool udp, const struct in_addr *host, const struct in6_addr *host6, int host_port)
{
    const struct in_addr loopback = { htonl(INADDR_LOOPBACK) };

    if (host)
        return slirp_remove_hostfwd(n->slirp, udp, *host, host_port) == 0;
    uint16_t inner = nat_relay_remove(n->relay, udp, host6, (uint16_t)host_port);
    return inner && slirp_remove_hostfwd(n->slirp, udp, loopback, inner) == 0;
}

static int forward(struct nat *n, const json_t *o, bool add, struct gh_error *err)
{
    const char *protocol = text(o, "protocol"), *address = text(o, "address");
    json_int_t host_port = json_integer_value(json_object_get(o, "host-port")), guest_port = json_integer_value(json_object_get(o, "guest-port"));
    struct in_addr host = { 0 };
    struct in6_addr host6 = { 0 };
    bool udp = !strcmp(protocol, "udp"), four = inet_pton(AF_INET, address, &host) == 1, six = !four && inet_pton(AF_INET6, address, &host6) == 1;

    if ((!udp && strcmp(protocol, "tcp")) || (!four && !six) || host_port < 1 || host_port > 65535 || (add && (guest_port < 1 || guest_port > 65535)))
        return gh_error_set(err, -EINVAL, "ForwardInvalid", "“%.10s:%.50s:%lld” cannot be forwarded; give tcp or udp, an address of this computer, "
                            "and ports from 1 to 65535.", protocol, address, (long long)host_port);
    if (!add)
        return remove_forward(n, udp, four ? &host : NULL, &host6, (int)host_port) ? 0
               : gh_error_set(err, -ENOENT, "ForwardUnknown", "%s port %lld of %s is not forwarded.", protocol, (long long)host_port, address);
    int code = -add_forward(n, udp, four ? &host : NULL, &host6, (int)host_port, (int)guest_port);
    if (!code)
        return 0;
    if (code == EADDRINUSE)
        return gh_error_set(err, -code, "PortInUse", "%s port %lld of %s is used by another program or machine; choose another host port.",
                            protocol, (long long)host_port, address);
    if (code == EACCES || code == EPERM)
        return gh_error_set(err, -code, "PortPrivileged", "%s port %lld is reserved for the system; choose a host port from 1024 on.", protocol, (long long)host_port);
    if (code == EADDRNOTAVAIL)
        return gh_error_set(err, -code, "AddressUnavailable", "%s is not an address of this computer; use 127.0.0.1 or ::1, or 0.0.0.0 or :: for all.", address);
    if (code == EAFNOSUPPORT)
        return gh_error_set(err, -code, "AddressUnavailable", "This computer has no IPv6, so %s cannot be forwarded; use 127.0.0.1.", address);
    return gh_error_set(err, -code, "ForwardFailed", "%s port %lld of %s cannot be forwarded: %s.", protocol, (long long)host_port, address, strerror(code));
}

static void take_control(struct nat *n, const uint8_t *data, size_t len)
{
    json_t *o = json_loadb((const char *)data, len, 0, NULL);
    const char *verb = text(o, "verb");
    struct gh_error err = { 0 };

    if (!strcmp(verb, "offload")) {
        n->csum = json_is_true(json_object_get(o, "csum"));
        n->tso4 = n->csum && json_is_true(json_object_get(o, "tso4"));
        n->tso6 = n->csum && json_is_true(json_object_get(o, "tso6"));
    } else if (!strcmp(verb, "forward-add") || !strcmp(verb, "forward-remove")) {
        int r = forward(n, o, !strcmp(verb, "forward-add"), &err);
        reply(n, json_integer_value(json_object_get(o, "id")), r ? &err : NULL);
    }
    json_decref(o);
}

void nat_take(struct nat *n, const struct gh_wire_record *record)
{
    if (record->kind == GH_WIRE_CONTROL)
        take_control(n, record->data, record->len);
    else if (record->kind == GH_WIRE_FRAME)
        take_frame(n, NULL, record->data, record->len);
    else if (record->len >= GH_WIRE_HEADER)
        take_frame(n, record->data, record->data + GH_WIRE_HEADER, record->len - GH_WIRE_HEADER);
}

void nat_set_servers(struct nat *n, const void *json_list) { nat_dns_servers(n->dns, json_list); }

/* ---- libslirp's callbacks and descriptors --------------------------------------------------------------------- */
static void guest_error(const char *msg, void *opaque)
{
    struct nat *n = opaque;

    if (n->noise++ < NOISE_MAX)
        gh_log(GH_LOG_GUEST, "the guest's network: %s", msg);
}
static int64_t clock_ns(void *opaque) { return (int64_t)gh_loop_now_ns(); }

static void *timer_new(SlirpTimerCb fn, void *cb_opaque, void *opaque)
{
    struct nat *n = opaque;

    for (unsigned i = 0; i < TIMERS; i++)
        if (!n->timer[i].used) {
            n->timer[i] = (struct timer){ true, fn, cb_opaque, 0 };
            return &n->timer[i];
        }
    return NULL;
}
static void timer_free(void *timer, void *opaque)
{
    if (timer)
        *(struct timer *)timer = (struct timer){ 0 };
}
static void timer_mod(void *timer, int64_t due_ms, void *opaque)
{
    if (timer)
        ((struct timer *)timer)->due_ms = due_ms;
}
static void ignore_fd(int fd, void *opaque) { }
static void ignore(void *opaque) { }

static const SlirpCb callbacks = {
    .send_packet = slirp_send, .guest_error = guest_error, .clock_get_ns = clock_ns, .timer_new = timer_new, .timer_free = timer_free,
    .timer_mod = timer_mod, .register_poll_fd = ignore_fd, .unregister_poll_fd = ignore_fd, .notify = ignore,
};

static int add_poll(int fd, int events, void *opaque)
{
    struct nat *n = opaque;
    short wanted = 0;

    if (n->p_count == n->p_max)
        return -1;
    if (events & SLIRP_POLL_IN)
        wanted |= POLLIN;
    if (events & SLIRP_POLL_OUT)
        wanted |= POLLOUT;
    if (events & SLIRP_POLL_PRI)
        wanted |= POLLPRI;
    n->p[n->p_count] = (struct pollfd){ fd, wanted, 0 };
    return (int)n->p_count++;
}

static int get_revents(int index, void *opaque)
{
    struct nat *n = opaque;
    short r = index >= 0 && (unsigned)index < n->p_count ? n->p[index].revents : 0;

    return (r & POLLIN ? SLIRP_POLL_IN : 0) | (r & POLLOUT ? SLIRP_POLL_OUT : 0) | (r & POLLPRI ? SLIRP_POLL_PRI : 0) |
           (r & POLLERR ? SLIRP_POLL_ERR : 0) | (r & POLLHUP ? SLIRP_POLL_HUP : 0);
}

static void shorten(int *timeout_ms, int64_t left)
{
    if (left < 0)
        left = 0;
    if (*timeout_ms < 0 || left < *timeout_ms)
        *timeout_ms = (int)left;
}

unsigned nat_poll(struct nat *n, struct pollfd *p, unsigned max, int *timeout_ms)
{
    int64_t now_ms = clock_ns(n) / 1000000;

    for (unsigned i = 0; i < TIMERS; i++)
        if (n->timer[i].used && n->timer[i].due_ms)
            shorten(timeout_ms, n->timer[i].due_ms - now_ms);
    n->p = p;
    n->p_max = max;
    n->relayed = nat_dns_poll(n->dns, p, max, timeout_ms);
    n->first = n->p_count = n->relayed + nat_relay_poll(n->relay, p + n->relayed, max - n->relayed);
    /* A machine that does not take what waits for it holds the host's side back too. */
    n->polled = gh_wire_waiting(n->wire) < CONGESTED_BYTES;
    if (n->polled) {
        uint32_t wait = *timeout_ms < 0 ? UINT32_MAX : (uint32_t)*timeout_ms;
        slirp_pollfds_fill(n->slirp, &wait, add_poll, n);
        if (wait != UINT32_MAX)
            shorten(timeout_ms, wait);
    }
    return n->p_count;
}

void nat_run(struct nat *n, const struct pollfd *p, unsigned count, bool failed)
{
    int64_t now_ms = clock_ns(n) / 1000000;

    nat_dns_run(n->dns, p, n->relayed);
    nat_relay_run(n->relay, p + n->relayed, n->first - n->relayed);
    for (unsigned i = 0; i < TIMERS; i++)
        if (n->timer[i].used && n->timer[i].due_ms && n->timer[i].due_ms <= now_ms) {
            n->timer[i].due_ms = 0;
            n->timer[i].fn(n->timer[i].opaque);
        }
    if (n->polled)
        slirp_pollfds_poll(n->slirp, failed, get_revents, n);
}

int nat_new(const struct nat_config *cfg, struct gh_wire *wire, struct nat **ret, struct gh_error *err)
{
    struct nat *n = calloc(1, sizeof *n);

    if (!n || nat_fragments_new(&n->fragments) || nat_dns_new(dns_answer, n, &n->dns) || nat_relay_new(&n->relay)) {
        if (n) {
            free(n->fragments);
            free(n->dns);
        }
        free(n);
        return gh_error_set(err, -ENOMEM, "OutOfMemory", "There is no memory for the network.");
    }
    n->cfg = *cfg;
    n->wire = wire;
    n->segment4 = 1460;
    n->segment6 = 1440;
    uint32_t network = ntohl(cfg->network.s_addr);
    SlirpConfig c = {
        .version = 3, .in_enabled = true, .vnetwork.s_addr = htonl(network), .vnetmask.s_addr = htonl(0xffffff00),
        .vhost.s_addr = htonl(network | 2), .vdhcp_start.s_addr = htonl(network | 15), .vnameserver.s_addr = htonl(network | 3),
        .in6_enabled = !cfg->no_ipv6, .vprefix_len = 64, .vhostname = cfg->hostname, .tftp_path = cfg->tftp, .bootfile = cfg->bootfile,
        .vdnssearch = cfg->search[0] ? n->cfg.search : NULL, .if_mtu = SLIRP_MTU, .if_mru = SLIRP_MTU,
        .disable_host_loopback = !cfg->host_loopback,
    };
    inet_pton(AF_INET6, "fec0::", &c.vprefix_addr6);
    inet_pton(AF_INET6, "fec0::2", &c.vhost6);
    inet_pton(AF_INET6, "fec0::3", &c.vnameserver6);
    n->slirp = slirp_new(&c, &callbacks, n);
    if (!n->slirp) {
        free(n->relay);
        free(n->dns);
        free(n->fragments);
        free(n);
        return gh_error_set(err, -EINVAL, "NetworkFailed", "The network could not be set up; its addresses or names are not possible.");
    }
    *ret = n;
    return 0;
}
