/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * gasthaus-backend net and switch, the real programs in their sandboxes, under 10,000 hostile inputs of each kind:
 * Ethernet, ARP, IP, DHCP, DNS, IPv6, virtio-net headers, wire records. Afterwards they still work, and have not grown.
 * Arguments: the program.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/fdpass.h"
#include "check.h"
#include "engine/backend/net/frame.h"
#include "engine/backend/net/wire.h"

enum { INPUTS = 10000, RESIDENT_KIB_MAX = 200000 };

static uint64_t seed = 0x2545f4914f6cdd1d;
static uint32_t roll(uint32_t below)
{
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(seed >> 33) % below;
}
static void noise(uint8_t *p, size_t n)
{
    while (n--)
        *p++ = (uint8_t)roll(256);
}

/* ---- The program ------------------------------------------------------------------------------------------ */
struct backend { pid_t pid; struct gh_wire wire; int control; };

static void start(struct backend *b, const char *program)
{
    int wire[2], control[2];

    CHECK_FATAL(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, wire) && !gh_packet_pair(control, NULL));
    b->pid = fork();
    CHECK_FATAL(b->pid >= 0);
    if (!b->pid) {
        setenv("ASAN_OPTIONS", "detect_leaks=0", 1);  /* LeakSanitizer needs calls that the sandbox refuses */
        dup2(fcntl(wire[1], F_DUPFD, 50), 3);
        dup2(fcntl(control[1], F_DUPFD, 50), 4);
        execl(program, "gasthaus-backend", "net", "--frames-fd=3", "--control-fd=4", "--hostname=test", (char *)NULL);
        _exit(127);
    }
    close(wire[1]);
    close(control[1]);
    b->control = control[0];
    CHECK_FATAL(!gh_wire_init(&b->wire, wire[0], 1 << 20));
}

static bool alive(const struct backend *b)
{
    int status = 0;

    if (waitpid(b->pid, &status, WNOHANG) == 0)
        return true;
    fprintf(stderr, "it ended by %s %d\n", WIFSIGNALED(status) ? "signal" : "status", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    return false;
}

static long resident_kib(pid_t pid)
{
    char path[64], line[200];
    long kib = -1;

    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "VmRSS: %ld", &kib) == 1)
            break;
    if (f)
        fclose(f);
    return kib;
}

/* Takes what comes; true when wanted says yes to a frame. */
static bool drain(struct backend *b, int timeout_ms, bool (*wanted)(const uint8_t *frame, size_t len))
{
    struct gh_wire_record r;
    struct pollfd p = { b->wire.fd, POLLIN, 0 };

    do {
        gh_wire_flush(&b->wire);
        if (poll(&p, 1, timeout_ms) <= 0)
            return false;
        int n = gh_wire_fill(&b->wire);
        if (n <= 0 && n != -EAGAIN)
            return false;
        while (gh_wire_next(&b->wire, &r) == 1)
            if (r.kind != GH_WIRE_CONTROL && wanted && wanted(r.data + (r.kind == GH_WIRE_OFFLOAD ? GH_WIRE_HEADER : 0), r.len))
                return true;
    } while (wanted);
    return false;
}

static void put(struct backend *b, enum gh_wire_kind kind, const uint8_t *data, size_t len)
{
    struct iovec iov = { (void *)(uintptr_t)data, len };

    for (unsigned tries = 0; !gh_wire_put(&b->wire, kind, &iov, 1) && tries < 1000; tries++)
        drain(b, 10, NULL);
}

/* ---- Frames -------------------------------------------------------------------------------------------------- */
static const uint8_t guest_mac[6] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56 };

static size_t ethernet(uint8_t *f, uint16_t type)
{
    memset(f, 0xff, 6);
    memcpy(f + 6, guest_mac, 6);
    gh_be16_put(f + 12, type);
    return 14;
}

/* The IP header is right unless broken; to stays inside networks that lead nowhere. */
static size_t ip4(uint8_t *f, uint8_t protocol, uint32_t from, uint32_t to, size_t payload)
{
    uint8_t *ip = f + ethernet(f, GH_ETH_IPV4);

    memset(ip, 0, 20);
    ip[0] = 0x45;
    gh_be16_put(ip + 2, (uint16_t)(20 + payload));
    ip[8] = 64;
    ip[9] = protocol;
    gh_be32_put(ip + 12, from);
    gh_be32_put(ip + 16, to);
    gh_be16_put(ip + 10, (uint16_t)~gh_sum_fold(gh_sum(ip, 20, 0)));
    return 34 + payload;
}

static size_t udp4(uint8_t *f, uint32_t from, uint32_t to, uint16_t from_port, uint16_t to_port, size_t payload)
{
    uint8_t *u = f + 34;
    struct gh_frame parsed;

    gh_be16_put(u, from_port);
    gh_be16_put(u + 2, to_port);
    gh_be16_put(u + 4, (uint16_t)(8 + payload));
    size_t len = ip4(f, GH_IP_UDP, from, to, 8 + payload);
    gh_frame_parse(f, len, &parsed);
    gh_frame_checksum(&parsed);
    return len;
}

static size_t dhcp(uint8_t *f, bool right)
{
    uint8_t *d = f + 42;
    size_t n = right ? 300 : 240 + roll(310);

    memset(d, 0, n);
    d[0] = d[1] = 1;
    d[2] = 6;
    gh_be32_put(d + 4, 0x1234);
    memcpy(d + 28, guest_mac, 6);
    gh_be32_put(d + 236, 0x63825363);
    memcpy(d + 240, "\x35\x01\x01\xff", 4);
    if (!right) {
        noise(d + 240, n - 240);
        for (unsigned i = roll(4); i; i--)
            d[roll((uint32_t)n)] = (uint8_t)roll(256);
        if (roll(2))
            memcpy(d + 240, roll(2) ? "\x35\x01\x01" : "\x35\x01\x03", 3);
        if (roll(2))
            gh_be32_put(d + 236, 0x63825363);
    }
    return udp4(f, 0, UINT32_MAX, 68, 67, n);
}

static size_t dns(uint8_t *f, bool right)
{
    static const uint8_t question[] = "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04test\x00\x00\x01\x00\x01";
    uint8_t *d = f + 42;
    size_t n = right ? sizeof question - 1 : roll(1400);

    if (right) {
        memcpy(d, question, n);
    } else {
        noise(d, n);
        if (n > 2 && roll(8))
            d[2] &= 0x7f;
    }
    return udp4(f, 0x0a00020f, 0x0a000203, (uint16_t)(1024 + roll(60000)), 53, n);
}

static bool is_offer(const uint8_t *f, size_t len) { return len > 282 && f[23] == GH_IP_UDP && gh_be16_get(f + 36) == 68 && f[42] == 2; }
static bool is_answer(const uint8_t *f, size_t len) { return len >= 54 && f[23] == GH_IP_UDP && gh_be16_get(f + 34) == 53 && gh_be16_get(f + 42) == 0x1234 && f[44] & 0x80; }

static bool works(struct backend *b)
{
    static uint8_t f[2000];
    bool offer = false, answer = false;

    for (unsigned i = 0; i < 20 && !(offer && answer); i++) {
        put(b, GH_WIRE_FRAME, f, dhcp(f, true));
        offer = offer || drain(b, 500, is_offer);
        /* libslirp answers to where ARP says */
        put(b, GH_WIRE_FRAME, f, dns(f, true));
        answer = answer || drain(b, 500, is_answer);
    }
    CHECK(offer);
    CHECK(answer);
    return offer && answer;
}

enum kind { ETHERNET, ARP, IP, DHCP, DNS, IP6, HEADERS, KINDS };
static const char *const kind_names[] = { "ethernet", "arp", "ip", "dhcp", "dns", "ipv6", "virtio-net headers" };

static size_t hostile(uint8_t *f, enum kind kind)
{
    static const uint32_t places[] = { 0x0a000202, 0x0a000203, 0x0a00020f, 0xc0000201, 0xffffffff, 0x0a0002ff, 0x7f000001, 0 };
    static const uint8_t protocols[] = { 1, 2, 6, 17, 0, 255, 47 };
    size_t n;

    switch (kind) {
    case ETHERNET:
        n = roll(1600);
        noise(f, n);
        if (n > 14 && roll(2))
            gh_be16_put(f + 12, (const uint16_t[]){ 0x0800, 0x0806, 0x86dd, 0x8100 }[roll(4)]);
        if (n > 34 && gh_be16_get(f + 12) == 0x0800)
            gh_be32_put(f + 30, places[roll(8)]);
        if (n > 54 && gh_be16_get(f + 12) == 0x86dd)
            memcpy(f + 38, "\xfe\xc0\0\0\0\0\0\0", 8);
        return n;
    case ARP:
        n = ethernet(f, GH_ETH_ARP) + roll(60);
        noise(f + 14, n - 14);
        if (n >= 24 && roll(4))
            memcpy(f + 14, "\0\1\x08\0\6\4\0", 7);
        if (n >= 42 && roll(2))
            gh_be32_put(f + 38, places[roll(8)]);
        return n;
    case IP: {
        n = roll(1400);
        noise(f + 34, n);
        size_t len = ip4(f, protocols[roll(7)], 0x0a00020f, places[roll(8)], n);
        for (unsigned i = roll(4); i; i--) {
            unsigned at = 14 + roll(16);             /* not the destination */
            f[at] = (uint8_t)roll(256);
        }
        if (roll(2)) {
            gh_be16_put(f + 24, 0);
            gh_be16_put(f + 24, (uint16_t)~gh_sum_fold(gh_sum(f + 14, 20, 0)));
        }
        if (n >= 20 && roll(2) && f[23] == 6)
            f[46] = (uint8_t)(roll(16) << 4);
        return len;
    }
    case DHCP: return dhcp(f, false);
    case DNS: return dns(f, false);
    case IP6:
        n = ethernet(f, GH_ETH_IPV6);
        noise(f + n, 400);
        f[14] = 0x60;
        gh_be16_put(f + 18, (uint16_t)roll(346));
        f[20] = (const uint8_t[]){ 6, 17, 58, 0, 43, 44 }[roll(6)];
        memcpy(f + 38, roll(2) ? "\xff\x02\0\0\0\0\0\0" : "\xfe\xc0\0\0\0\0\0\0", 8);
        if (roll(2))
            memcpy(f + 46, "\0\0\0\0\0\0\0\2", 8);
        if (f[20] == 58 && roll(2))
            f[54] = (uint8_t)(133 + roll(5));
        return 14 + 400;
    default:
        noise(f, GH_WIRE_HEADER);
        f[0] &= 3;
        if (roll(2))
            f[1] = (const uint8_t[]){ 0, 1, 4, 0x81 }[roll(4)];
        return GH_WIRE_HEADER + hostile(f + GH_WIRE_HEADER, roll(2) ? IP : IP6);
    }
}

static void test_nat(const char *program)
{
    static uint8_t f[4096];
    struct backend b;
    json_t *servers = json_pack("{s:[{s:s, s:i, s:i}]}", "servers", "address", "127.0.0.1", "port", 1, "scope", 0);

    start(&b, program);
    gh_packet_send(b.control, servers, NULL, 0, NULL);  /* nobody is there: refused at once */
    json_decref(servers);
    CHECK_FATAL(works(&b));
    char offload[] = "{\"verb\": \"offload\", \"csum\": true, \"tso4\": true, \"tso6\": true}";
    put(&b, GH_WIRE_CONTROL, (uint8_t *)offload, strlen(offload));
    for (enum kind kind = 0; kind < KINDS; kind++) {
        for (unsigned i = 0; i < INPUTS; i++) {
            put(&b, kind == HEADERS ? GH_WIRE_OFFLOAD : GH_WIRE_FRAME, f, hostile(f, kind));
            if (i % 64 == 0)
                drain(&b, 0, NULL);
        }
        drain(&b, 50, NULL);
        bool lives = alive(&b);
        if (!lives)
            fprintf(stderr, "%s: the backend is gone\n", kind_names[kind]);
        CHECK_FATAL(lives);
    }
    char nonsense[] = "{\"verb\": \"forward-add\", \"id\": -1, \"protocol\": 5, \"address\": [], \"host-port\": 1e9}";
    for (unsigned i = 0; i < INPUTS; i++) {
        size_t n = roll(200);
        noise(f, n);
        put(&b, GH_WIRE_CONTROL, i % 2 ? f : (uint8_t *)nonsense, i % 2 ? n : strlen(nonsense));
        if (i % 64 == 0)
            drain(&b, 0, NULL);
    }
    CHECK(works(&b));
    long kib = resident_kib(b.pid);
    CHECK(kib < RESIDENT_KIB_MAX);
    /* A machine that breaks the wire's rules loses its network, which ends in order. */
    int status = -1;
    gh_wire_flush(&b.wire);
    CHECK_EQ(write(b.wire.fd, "\xff\xff\xff\xff", 4), 4);
    for (unsigned i = 0; i < 100 && waitpid(b.pid, &status, WNOHANG) == 0; i++)
        nanosleep(&(struct timespec){ .tv_nsec = 100000000 }, NULL);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    gh_wire_fini(&b.wire);
    close(b.control);
}

/* ---- The switch ------------------------------------------------------------------------------------------------- */
static bool is_ours(const uint8_t *f, size_t len) { return len == 60 && f[13] == 0x77; }

static void test_switch(const char *program)
{
    static uint8_t f[4096];
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    struct backend port[3];
    int status = -1, listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(a.sun_path, sizeof a.sun_path, "/tmp/gh-test-switch-%d", getpid());
    CHECK_FATAL(!bind(listener, (struct sockaddr *)&a, sizeof a) && !listen(listener, 8));
    pid_t pid = fork();
    if (!pid) {
        setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
        dup2(fcntl(listener, F_DUPFD, 50), 3);
        execl(program, "gasthaus-backend", "switch", "--listen-fd=3", (char *)NULL);
        _exit(127);
    }
    for (unsigned i = 0; i < 3; i++) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        port[i] = (struct backend){ .pid = pid, .control = -1 };
        CHECK_FATAL(!connect(fd, (struct sockaddr *)&a, sizeof a) && !gh_wire_init(&port[i].wire, fd, 1 << 20));
    }
    unlink(a.sun_path);
    for (enum kind kind = 0; kind < KINDS; kind++)
        for (unsigned i = 0; i < INPUTS; i++) {
            put(&port[i % 2], kind == HEADERS ? GH_WIRE_OFFLOAD : GH_WIRE_FRAME, f, hostile(f, kind));
            if (i % 16 == 0)
                for (unsigned k = 0; k < 3; k++)
                    drain(&port[k], 0, NULL);
        }
    drain(&port[0], 50, NULL);
    CHECK_EQ(write(port[1].wire.fd, "\xff\xff\xff\xff", 4), 4); /* one breaks the rules; it alone is thrown out */
    uint8_t ours[60];
    memset(ours, 0xff, 12);
    memcpy(ours + 6, guest_mac, 6);
    gh_be16_put(ours + 12, 0x8877);
    bool heard = false;
    for (unsigned i = 0; i < 50 && !heard; i++) {
        put(&port[0], GH_WIRE_FRAME, ours, sizeof ours);
        gh_wire_flush(&port[0].wire);
        drain(&port[0], 0, NULL);
        heard = drain(&port[2], 100, is_ours);
    }
    CHECK(heard);
    CHECK(resident_kib(pid) < RESIDENT_KIB_MAX);
    for (unsigned i = 0; i < 3; i++)
        gh_wire_fini(&port[i].wire);
    for (unsigned i = 0; i < 100 && waitpid(pid, &status, WNOHANG) == 0; i++)
        nanosleep(&(struct timespec){ .tv_nsec = 100000000 }, NULL);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);   /* nobody is left */
    close(listener);
}

int main(int argc, char **argv)
{
    CHECK_FATAL(argc == 2);
    signal(SIGPIPE, SIG_IGN);
    test_nat(argv[1]);
    test_switch(argv[1]);
    return check_result();
}
