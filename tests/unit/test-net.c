/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Networks without processes: the wire, frames and their offloads, the switch, what NAT lets through, name servers, addresses. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "check.h"
#include "engine/backend/net/nat.h"
#include "engine/backend/net/switch.h"
#include "engine/machine/net.h"
#include "engine/machine/supervisor_net.h"

/* ---- The wire ------------------------------------------------------------------------------------------ */
static void test_wire(void)
{
    static uint8_t big[GH_WIRE_RECORD_MAX + 1];
    struct gh_wire a, b;
    struct gh_wire_record r;
    int s[2];

    CHECK_FATAL(!socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    CHECK_FATAL(!gh_wire_init(&a, s[0], 256 * 1024) && !gh_wire_init(&b, s[1], 4096));
    struct iovec iov[2] = { { (void *)"abc", 3 }, { (void *)"defg", 4 } };
    CHECK(gh_wire_put(&a, GH_WIRE_FRAME, iov, 2));
    CHECK(gh_wire_put(&a, GH_WIRE_CONTROL, iov + 1, 1));
    CHECK_EQ(gh_wire_flush(&a), 0);
    CHECK_EQ(gh_wire_fill(&b), 7 + 4 + 4 + 4);
    CHECK_EQ(gh_wire_next(&b, &r), 1);
    CHECK(r.kind == GH_WIRE_FRAME && r.len == 7 && !memcmp(r.data, "abcdefg", 7));
    gh_wire_unget(&b, &r);
    CHECK_EQ(gh_wire_next(&b, &r), 1);
    CHECK_EQ(r.len, 7);
    CHECK_EQ(gh_wire_next(&b, &r), 1);
    CHECK(r.kind == GH_WIRE_CONTROL && r.len == 4);
    CHECK_EQ(gh_wire_next(&b, &r), 0);
    CHECK_EQ(gh_wire_fill(&b), -EAGAIN);
    /* QEMU's stream format, to the byte */
    CHECK(gh_wire_put(&a, GH_WIRE_FRAME, iov, 1));
    CHECK(!memcmp(a.tx, "\0\0\0\3abc", 7));
    gh_wire_flush(&a);
    gh_wire_fill(&b);
    CHECK_EQ(gh_wire_next(&b, &r), 1);
    /* a full queue takes nothing; too long is lost, not stuck */
    struct iovec half = { big, 3000 };
    CHECK(gh_wire_put(&b, GH_WIRE_FRAME, &half, 1));
    CHECK(!gh_wire_put(&b, GH_WIRE_FRAME, &half, 1));
    CHECK_EQ(gh_wire_waiting(&b), 3004);
    struct iovec whole = { big, sizeof big };
    CHECK(gh_wire_put(&a, GH_WIRE_FRAME, &whole, 1));
    CHECK_EQ(gh_wire_waiting(&a), 0);
    /* records in pieces, and nonsense */
    CHECK_EQ(write(s[0], "\0\0\0\6ab", 6), 6);
    gh_wire_fill(&b);
    CHECK_EQ(gh_wire_next(&b, &r), 0);
    CHECK_EQ(write(s[0], "cdef\0\2\0\0", 8), 8);
    gh_wire_fill(&b);
    CHECK_EQ(gh_wire_next(&b, &r), 1);
    CHECK_EQ(gh_wire_next(&b, &r), -EPROTO);
    gh_wire_fini(&a);
    CHECK_EQ(gh_wire_fill(&b), 0);
    gh_wire_fini(&b);
    gh_wire_fini(&b);
}

/* ---- Frames ----------------------------------------------------------------------------------------------- */
/* An IPv4 frame to `to` with a TCP or UDP header and n bytes. */
static size_t make4(uint8_t *f, const char *to, uint8_t protocol, uint16_t port, size_t n)
{
    size_t head = protocol == GH_IP_TCP ? 20 : 8;

    memset(f, 0, 14 + 20 + head);
    memcpy(f, "\x52\x55\x0a\x00\x02\x02\x52\x54\x00\x00\x00\x01\x08\x00", 14);
    uint8_t *ip = f + 14, *t = ip + 20;
    ip[0] = 0x45;
    gh_be16_put(ip + 2, (uint16_t)(20 + head + n));
    ip[8] = 64;
    ip[9] = protocol;
    inet_pton(AF_INET, "10.0.2.15", ip + 12);
    inet_pton(AF_INET, to, ip + 16);
    gh_be16_put(t, 40000);
    gh_be16_put(t + 2, port);
    if (protocol == GH_IP_TCP)
        t[12] = 5 << 4;
    else
        gh_be16_put(t + 4, (uint16_t)(8 + n));
    for (size_t i = 0; i < n; i++)
        t[head + i] = (uint8_t)(i * 7);
    return 14 + 20 + head + n;
}

static size_t make6(uint8_t *f, const char *to, uint8_t protocol, uint16_t port)
{
    memset(f, 0, 14 + 40 + 20);
    memcpy(f, "\x52\x56\x00\x00\x00\x02\x52\x54\x00\x00\x00\x01\x86\xdd", 14);
    f[14] = 0x60;
    gh_be16_put(f + 18, 20);
    f[20] = protocol;
    inet_pton(AF_INET6, "fec0::5054:ff:fe00:1", f + 22);
    inet_pton(AF_INET6, to, f + 38);
    gh_be16_put(f + 56, port);
    f[66] = 5 << 4;
    return 14 + 40 + 20;
}

static bool transport_sum_right(uint8_t *data, size_t len)
{
    struct gh_frame f;
    gh_frame_parse(data, len, &f);
    return f.transport && gh_sum_fold(gh_sum(f.transport, f.transport_len, gh_frame_pseudo(&f))) == 0xffff;
}

struct collected { uint8_t data[65536]; size_t len, next_seq; unsigned pieces, bad; };

static void collect(void *opaque, const uint8_t *piece, size_t len)
{
    struct collected *c = opaque;
    static uint8_t copy[2048];

    memcpy(copy, piece, len);
    c->bad += !transport_sum_right(copy, len) || len > 1514 || gh_sum_fold(gh_sum(copy + 14, 20, 0)) != 0xffff;
    c->bad += gh_be32_get(copy + 38) != c->next_seq;
    c->next_seq += len - 54;
    memcpy(c->data + c->len, piece + 54, len - 54);
    c->len += len - 54;
    c->pieces++;
}

static void test_frames(void)
{
    static uint8_t frame[70000];
    static struct collected c;
    struct gh_frame f;
    uint8_t header[GH_WIRE_HEADER] = { 0 };

    /* RFC 1071's example, and odd lengths */
    CHECK_EQ(gh_sum_fold(gh_sum("\x00\x01\xf2\x03\xf4\xf5\xf6\xf7", 8, 0)), 0xddf2);
    CHECK_EQ(gh_sum_fold(gh_sum("\x12\x34\x56", 3, 0)), 0x1234 + 0x5600);
    size_t len = make4(frame, "192.0.2.1", GH_IP_TCP, 80, 40000);
    header[GH_VNET_FLAGS] = GH_VNET_NEEDS_CSUM;
    header[GH_VNET_GSO_TYPE] = GH_VNET_GSO_TCPV4;
    gh_be16_put(frame + 16, 0);                      /* some drivers leave the length to the card */
    gh_frame_parse(frame, len, &f);
    CHECK(!f.ip);
    gh_be16_put(frame + 16, 20 + 20 + 40000);
    gh_frame_parse(frame, len, &f);
    CHECK(gh_frame_finish(header, &f) && transport_sum_right(frame, len));
    gh_frame_segment(&f, 1448, collect, &c);
    CHECK_EQ(c.pieces, (40000 + 1447) / 1448);
    CHECK_EQ(c.bad, 0);
    CHECK(c.len == 40000 && !memcmp(c.data, frame + 54, 40000));
    memset(&c, 0, sizeof c);
    gh_frame_segment(&f, 0, collect, &c);
    CHECK(c.pieces == (40000 + 1459) / 1460 && c.bad == 0);
    /* a partial checksum; one that points outside */
    len = make4(frame, "192.0.2.1", GH_IP_UDP, 9, 100);
    gh_frame_parse(frame, len, &f);
    gh_be16_put(f.transport + 6, gh_sum_fold(gh_frame_pseudo(&f)));
    memset(header, 0, sizeof header);
    header[GH_VNET_FLAGS] = GH_VNET_NEEDS_CSUM;
    gh_le16_put(header + GH_VNET_CSUM_START, 34);
    gh_le16_put(header + GH_VNET_CSUM_OFFSET, 6);
    CHECK(gh_frame_finish(header, &f) && transport_sum_right(frame, len));
    gh_le16_put(header + GH_VNET_CSUM_START, (uint16_t)(len - 1));
    CHECK(!gh_frame_finish(header, &f));
    /* lengths that lie */
    gh_be16_put(frame + 16, (uint16_t)len);
    gh_frame_parse(frame, len, &f);
    CHECK(!f.ip && !f.transport);
    frame[14] = 0x4f;
    gh_frame_parse(frame, 14 + 24, &f);
    CHECK(!f.ip);
}

/* ---- What a guest may reach -------------------------------------------------------------------------------- */
static void test_verdicts(void)
{
    static const struct { const char *to; uint8_t protocol; uint16_t port; enum nat_verdict wanted; } rows[] = {
        { "192.0.2.1", GH_IP_TCP, 80, NAT_PASS }, { "10.0.2.2", GH_IP_TCP, 80, NAT_PASS }, { "10.0.2.3", GH_IP_UDP, 53, NAT_DNS },
        { "10.0.2.3", GH_IP_TCP, 53, NAT_DNS }, { "10.0.2.3", GH_IP_TCP, 80, NAT_DROP }, { "10.0.2.4", GH_IP_TCP, 80, NAT_DROP },
        { "127.0.0.1", GH_IP_TCP, 80, NAT_DROP }, { "127.255.255.254", GH_IP_UDP, 53, NAT_DROP }, { "0.0.0.0", GH_IP_TCP, 22, NAT_DROP },
        { "0.1.2.3", GH_IP_TCP, 22, NAT_DROP }, { "169.254.169.254", GH_IP_TCP, 80, NAT_DROP }, { "224.0.0.251", GH_IP_UDP, 5353, NAT_DROP },
        { "255.255.255.255", GH_IP_UDP, 67, NAT_PASS }, { "255.255.255.255", GH_IP_UDP, 9, NAT_DROP }, { "10.0.2.255", GH_IP_UDP, 9, NAT_DROP },
        { "240.0.0.1", GH_IP_TCP, 80, NAT_DROP }, { "2001:db8::1", GH_IP_TCP, 80, NAT_PASS }, { "fec0::2", GH_IP_TCP, 80, NAT_PASS },
        { "fec0::3", GH_IP_UDP, 53, NAT_DNS }, { "::1", GH_IP_TCP, 80, NAT_DROP }, { "::", GH_IP_TCP, 80, NAT_DROP },
        { "::ffff:127.0.0.1", GH_IP_TCP, 80, NAT_DROP }, { "::127.0.0.1", GH_IP_TCP, 80, NAT_DROP }, { "64:ff9b::7f00:1", GH_IP_TCP, 80, NAT_DROP },
        { "fe80::1", GH_IP_TCP, 80, NAT_DROP }, { "ff02::1", GH_IP_ICMP6, 0, NAT_PASS }, { "ff02::fb", GH_IP_UDP, 5353, NAT_DROP },
        { "fec0::5", GH_IP_TCP, 80, NAT_DROP },
    };
    struct nat_config cfg = { .network.s_addr = htonl(0x0a000200) };
    uint8_t frame[200];
    struct gh_frame f;

    for (unsigned i = 0; i < GH_ARRAY_LEN(rows); i++) {
        size_t len = strchr(rows[i].to, ':') ? make6(frame, rows[i].to, rows[i].protocol, rows[i].port)
                                             : make4(frame, rows[i].to, rows[i].protocol, rows[i].port, 4);
        gh_frame_parse(frame, len, &f);
        enum nat_verdict v = nat_verdict(&cfg, &f);
        if (v != rows[i].wanted)
            fprintf(stderr, "%s %u %u\n", rows[i].to, rows[i].protocol, rows[i].port);
        CHECK_EQ(v, rows[i].wanted);
    }
    cfg.no_ipv6 = true;
    gh_frame_parse(frame, make6(frame, "2001:db8::1", GH_IP_TCP, 80), &f);
    CHECK_EQ(nat_verdict(&cfg, &f), NAT_DROP);
}

/* ---- Fragments ---------------------------------------------------------------------------------------------- */
static bool fragment(struct nat_fragments *r, const uint8_t *whole, size_t at, size_t len, bool more, struct gh_frame *ret)
{
    static uint8_t f[2000];
    struct gh_frame parsed;

    memcpy(f, whole, 34);
    memcpy(f + 34, whole + 34 + at, len);
    gh_be16_put(f + 16, (uint16_t)(20 + len));
    gh_be16_put(f + 20, (uint16_t)(at / 8 | (more ? 0x2000 : 0)));
    gh_frame_parse(f, 34 + len, &parsed);
    return parsed.ip && nat_fragment(r, &parsed, ret);
}

static void test_fragments(void)
{
    static uint8_t whole[8000];
    struct nat_fragments *r;
    struct gh_frame f = { 0 };

    CHECK_FATAL(!nat_fragments_new(&r));
    size_t len = make4(whole, "192.0.2.1", GH_IP_UDP, 9, 4000), total = len - 34;
    CHECK(!fragment(r, whole, 1480, 1480, true, &f));          /* any order */
    CHECK(!fragment(r, whole, 2960, total - 2960, false, &f));
    CHECK(fragment(r, whole, 0, 1480, true, &f));
    CHECK(f.len == len && f.ip_len == 20 + total && !memcmp(f.ip + 20, whole + 34, total) && f.transport);
    CHECK_EQ(gh_sum_fold(gh_sum(f.ip, 20, 0)), 0xffff);
    CHECK(!fragment(r, whole, 0, 1480, true, &f));             /* overlap: all of it is forgotten */
    CHECK(!fragment(r, whole, 1472, 1480, true, &f));
    CHECK(!fragment(r, whole, 1480, total - 1480 > 1480 ? 1480 : total - 1480, false, &f));
    gh_be16_put(whole + 18, 7);
    CHECK(!fragment(r, whole, 1480, 8, false, &f));            /* an end before what was there */
    CHECK(!fragment(r, whole, 2960, 8, true, &f));
    CHECK(!fragment(r, whole, 0, 1480, true, &f));
    gh_be16_put(whole + 18, 8);
    CHECK(!fragment(r, whole, 65528, 1480, true, &f));         /* beyond 64 KiB */
    CHECK(!fragment(r, whole, 0, 100, true, &f));              /* not in units of eight */
    free(r);
}

/* ---- The switch ------------------------------------------------------------------------------------------------ */
static struct { unsigned count[SWITCH_PORTS], kind[3]; size_t bytes; } sent;

static void on_send(void *opaque, unsigned port, enum gh_wire_kind kind, const struct iovec *iov, unsigned count)
{
    sent.count[port]++;
    sent.kind[kind]++;
    sent.bytes += iov[0].iov_len;
}

static void pass(struct gh_switch *s, unsigned port, uint8_t to, uint8_t from, uint32_t now)
{
    uint8_t frame[60] = { 0x52, 0, 0, 0, 0, to, 0x52, 0, 0, 0, 0, from };
    struct gh_wire_record r = { GH_WIRE_FRAME, frame, sizeof frame };

    if (to == 0xff)
        memset(frame, 0xff, 6);
    memset(&sent, 0, sizeof sent);
    gh_switch_take(s, port, &r, now);
}

static void test_switch(void)
{
    static uint8_t big[GH_WIRE_RECORD_MAX];
    struct gh_switch s;

    CHECK_FATAL(!gh_switch_init(&s, on_send, NULL));
    for (unsigned i = 0; i < 4; i++)
        gh_switch_attach(&s, i);
    pass(&s, 0, 2, 1, 10);                           /* unknown: to all others */
    CHECK(!sent.count[0] && sent.count[1] == 1 && sent.count[2] == 1 && sent.count[3] == 1);
    pass(&s, 2, 1, 2, 10);                           /* learned */
    CHECK(sent.count[0] == 1 && !sent.count[1] && !sent.count[3]);
    pass(&s, 0, 2, 1, 10);
    CHECK(sent.count[2] == 1 && !sent.count[1]);
    pass(&s, 0, 0xff, 1, 10);
    CHECK(sent.count[1] == 1 && sent.count[2] == 1 && !sent.count[0]);
    pass(&s, 3, 9, 2, 20);                           /* it has moved */
    pass(&s, 0, 2, 1, 20);
    CHECK(sent.count[3] == 1 && !sent.count[2]);
    pass(&s, 3, 2, 7, 20);                           /* to where it came from: nobody */
    CHECK_EQ(sent.kind[0], 0);
    pass(&s, 0, 2, 1, 20 + SWITCH_AGE_S + 1);        /* too old: to all */
    CHECK_EQ(sent.kind[0], 3);
    gh_switch_detach(&s, 3);
    pass(&s, 0, 2, 1, 21);
    CHECK(sent.count[1] == 1 && !sent.count[3]);
    /* Group addresses are not learned; a flood of addresses makes the table forget, not grow. */
    uint8_t group[60] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x33, 0x33 };
    gh_switch_take(&s, 1, &(struct gh_wire_record){ GH_WIRE_FRAME, group, sizeof group }, 21);
    for (unsigned i = 0; i < SWITCH_ADDRESSES; i++)
        CHECK(!s.address[i].used || !(s.address[i].mac[0] & 1));
    for (unsigned i = 0; i < 100000; i++) {
        gh_le32_put(group + 7, i);
        group[6] = 0x52;
        gh_switch_take(&s, 1, &(struct gh_wire_record){ GH_WIRE_FRAME, group, sizeof group }, 22);
    }
    pass(&s, 0, 2, 1, 23);
    pass(&s, 2, 1, 2, 23);
    CHECK(sent.count[0] == 1 && !sent.count[1]);
    /* Segments pass where both take them, are cut where not; a header that lies loses its frame. */
    size_t len = make4(big + GH_WIRE_HEADER, "10.9.0.2", GH_IP_TCP, 80, 30000);
    memcpy(big + GH_WIRE_HEADER, "\x52\0\0\0\0\2\x52\0\0\0\0\1", 12);
    memset(big, 0, GH_WIRE_HEADER);
    big[GH_VNET_FLAGS] = GH_VNET_NEEDS_CSUM;
    big[GH_VNET_GSO_TYPE] = GH_VNET_GSO_TCPV4;
    gh_le16_put(big + GH_VNET_GSO_SIZE, 1460);
    struct gh_wire_record large = { GH_WIRE_OFFLOAD, big, GH_WIRE_HEADER + len };
    memset(&sent, 0, sizeof sent);
    gh_switch_take(&s, 0, &large, 23);
    CHECK(sent.count[2] == (30000 + 1459) / 1460 && sent.kind[GH_WIRE_FRAME] == sent.count[2]);
    char take[] = "{\"verb\": \"offload\", \"csum\": true, \"tso4\": true}";
    gh_switch_take(&s, 2, &(struct gh_wire_record){ GH_WIRE_CONTROL, (uint8_t *)take, strlen(take) }, 23);
    memset(&sent, 0, sizeof sent);
    gh_switch_take(&s, 0, &large, 23);
    CHECK(sent.count[2] == 1 && sent.kind[GH_WIRE_OFFLOAD] == 1);
    big[GH_VNET_GSO_TYPE] = GH_VNET_GSO_TCPV6;
    big[GH_WIRE_HEADER + 14] = 0;
    memset(&sent, 0, sizeof sent);
    gh_switch_take(&s, 0, &large, 23);
    CHECK_EQ(sent.count[2], 0);
    gh_switch_fini(&s);
}

/* ---- Name servers, addresses -------------------------------------------------------------------------------------- */
static void test_resolv(void)
{
    struct gh_resolv_state s;

    gh_resolv_parse("# comment\nsearch a.test  b.test\nnameserver 127.0.0.53\nnameserver fe80::1%nowhere ; x\n"
                    "nameserver [127.0.0.1]:5353\nnameserver nonsense\nnameserver 300.1.1.1\ndomain c.test\nnameserver 9.9.9.9\nnameserver 8.8.8.8", &s);
    CHECK_EQ(s.server_count, 4);
    CHECK_STR(s.server[0].address, "127.0.0.53");
    CHECK_EQ(s.server[0].port, 53);
    CHECK_STR(s.server[1].address, "fe80::1");
    CHECK_STR(s.server[2].address, "127.0.0.1");
    CHECK_EQ(s.server[2].port, 5353);
    CHECK_STR(s.server[3].address, "9.9.9.9");
    CHECK(s.domain_count == 1 && !strcmp(s.domain[0], "c.test"));
    gh_resolv_parse("", &s);
    CHECK(s.server_count == 1 && !strcmp(s.server[0].address, "127.0.0.1"));
    gh_resolv_parse("nameserver [::1]:99999\nnameserver [1.2.3.4", &s);
    CHECK_STR(s.server[0].address, "127.0.0.1");
}

static void test_watch(void)
{
    struct gh_net_watch w = { .mac = { 0x52, 0x54, 0, 0, 0, 1 } };
    static uint8_t f[600];
    size_t len = make4(f, "192.0.2.1", GH_IP_UDP, 9, 10);

    CHECK(gh_net_watch_sent(&w, f, len) && !gh_net_watch_sent(&w, f, len));
    CHECK(w.v4[0] == 10 && w.v4[3] == 15);
    f[11] = 2;                                       /* another card's */
    f[26] = 11;
    CHECK(!gh_net_watch_sent(&w, f, len));
    f[11] = 1;
    memset(f + 26, 0, 4);                            /* 0.0.0.0 is none */
    CHECK(!gh_net_watch_sent(&w, f, len));
    len = make6(f, "ff02::1", GH_IP_UDP, 9);
    CHECK(gh_net_watch_sent(&w, f, len) && w.v6[0] == 0xfe && w.v6[1] == 0xc0);
    uint8_t arp[42] = { [12] = 0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1 };
    memcpy(arp + 6, w.mac, 6);
    memcpy(arp + 22, w.mac, 6);
    memcpy(arp + 28, "\xc0\xa8\x01\x07", 4);
    CHECK(gh_net_watch_sent(&w, arp, sizeof arp) && w.v4[0] == 192 && w.v4[3] == 7);
    CHECK(!gh_net_watch_sent(&w, arp, 30));
    /* DHCP: only an acknowledgement counts */
    len = make4(f, "10.0.2.15", GH_IP_UDP, 68, 300);
    gh_be16_put(f + 34, 67);
    memset(f + 42, 0, 300);
    uint8_t *d = f + 42;
    d[0] = 2;
    memcpy(d + 16, "\x0a\x00\x02\x11", 4);
    memcpy(d + 28, w.mac, 6);
    gh_be32_put(d + 236, 0x63825363);
    memcpy(d + 240, "\x35\x01\x02\xff", 4);
    CHECK(!gh_net_watch_received(&w, f, len));
    d[242] = 5;
    CHECK(gh_net_watch_received(&w, f, len) && w.v4[3] == 17);
    memset(d + 240, 0x35, 60);                       /* options that run over the end */
    CHECK(!gh_net_watch_received(&w, f, len));
}

int main(void)
{
    test_wire();
    test_frames();
    test_verdicts();
    test_fragments();
    test_switch();
    test_resolv();
    test_watch();
    return check_result();
}
