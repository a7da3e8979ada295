/* SPDX-License-Identifier: GPL-3.0-or-later */
/* --net: KIND[,word...], a network adapter and what it is connected to. */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/bytes.h"
#include "engine/machine/cmdline.h"

static int bad(struct gh_error *err, const char *word, const char *wanted)
{ return gh_error_option(err, -EINVAL, "NetOptionInvalid", "net", "“%.200s” is not possible for --net; %s.", word, wanted); }

static bool parse_port(const char *text, uint32_t *out)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);

    *out = (uint32_t)n;
    return *text >= '0' && *text <= '9' && !*end && n >= 1 && n <= 65535;
}

/* [ADDRESS]: in brackets where it has colons itself. Moves *at behind it and its colon. */
static bool take_address(char **at, char *out, size_t size)
{
    char *end = **at == '[' ? strchr(*at, ']') : strchr(*at, ':');
    struct in6_addr a;

    if (!end || (**at == '[' && end[1] != ':'))
        return false;
    bool six = **at == '[';
    char *text = *at + six;
    *at = end + 1 + six;
    *end = '\0';
    if (inet_pton(six ? AF_INET6 : AF_INET, text, &a) != 1 || strlen(text) >= size)
        return false;
    snprintf(out, size, "%s", text);
    return true;
}

int gh_parse_forward(const char *text, struct gh_launch_forward *ret, struct gh_error *err)
{
    char copy[128], *at = copy;
    unsigned colons = 0;
    bool good = strlen(text) < sizeof copy;

    *ret = (struct gh_launch_forward){ .address = "127.0.0.1" };
    if (good) {
        memcpy(copy, text, strlen(text) + 1);
        char *colon = strchr(copy, ':');
        good = colon == copy + 3 && (!strncmp(copy, "tcp", 3) || !strncmp(copy, "udp", 3));
        at = copy + 4;
    }
    for (const char *p = good ? at : ""; *p; p++)
        colons += *p == ':';
    if (good && colons > 1)
        good = take_address(&at, ret->address, sizeof ret->address);
    char *colon = good ? strchr(at, ':') : NULL;
    if (colon)
        *colon = '\0';
    if (!colon || !parse_port(at, &ret->host_port) || !parse_port(colon + 1, &ret->guest_port))
        return gh_error_option(err, -EINVAL, "ForwardInvalid", "forward", "“%.100s” is not a port forward; write tcp:HOSTPORT:GUESTPORT or "
                               "udp:ADDRESS:HOSTPORT:GUESTPORT, with ports from 1 to 65535 and an IPv6 address in brackets.", text);
    memcpy(ret->protocol, copy, 4);
    ret->protocol[3] = '\0';
    return 0;
}

static int add_forward(struct gh_launch_net *n, const char *text, struct gh_error *err)
{
    struct gh_launch_forward f;
    int r = gh_parse_forward(text, &f, err);

    if (r)
        return r;
    for (unsigned i = 0; i < n->forward_count; i++)
        if (n->forwards[i].host_port == f.host_port && !strcmp(n->forwards[i].protocol, f.protocol) &&
            !strchr(n->forwards[i].address, ':') == !strchr(f.address, ':'))
            return gh_error_option(err, -EEXIST, "ForwardCollides", "forward", "Host port %u (%s) is forwarded twice.", f.host_port, f.protocol);
    if (n->forward_count == 32)
        return gh_error_option(err, -ENOSPC, "TooManyForwards", "forward", "An adapter can have at most 32 port forwards.");
    struct gh_launch_forward *bigger = realloc(n->forwards, (n->forward_count + 1) * sizeof f);
    if (!bigger)
        return gh_error_set(err, -ENOMEM, "NoMemory", "The host has no memory left.");
    n->forwards = bigger;
    bigger[n->forward_count++] = f;
    return 0;
}

static int set_mac(struct gh_launch_net *n, const char *text, struct gh_error *err)
{
    unsigned b[6];
    char rest;

    if (strlen(text) != 17 || sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%c", b, b + 1, b + 2, b + 3, b + 4, b + 5, &rest) != 6 || b[0] & 1)
        return gh_error_option(err, -EINVAL, "MacInvalid", "mac", "“%s” is not a hardware address of one adapter, such as 52:54:00:12:34:56.", text);
    snprintf(n->mac, sizeof n->mac, "%02x:%02x:%02x:%02x:%02x:%02x", b[0] & 255, b[1] & 255, b[2] & 255, b[3] & 255, b[4] & 255, b[5] & 255);
    return 0;
}

static int set_folder(struct gh_launch_net *n, const char *path, struct gh_error *err)
{
    char real[PATH_MAX];
    struct stat st;

    if (!realpath(path, real) || stat(real, &st) || !S_ISDIR(st.st_mode))
        return gh_error_option(err, -ENOENT, "FolderUnreadable", "tftp", "The folder “%s” for TFTP cannot be opened.", path);
    if (strlen(real) >= sizeof n->tftp)
        return bad(err, path, "the path of the folder is too long");
    memcpy(n->tftp, real, strlen(real) + 1);
    return 0;
}

/* QEMU's stream netdev, passt: whoever listens there gets the frames. */
static int connect_stream(struct gh_launch_net *n, const char *path, struct gh_error *err)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || strlen(path) >= sizeof a.sun_path || (memcpy(a.sun_path, path, strlen(path) + 1), connect(fd, (struct sockaddr *)&a, sizeof a))) {
        int code = errno ? -errno : -EINVAL;
        if (fd >= 0)
            close(fd);
        return gh_error_option(err, code, "SocketFailed", "net", "Nothing carries frames at “%s”: %s. Start passt (or what listens there) first.", path,
                               strerror(-code));
    }
    n->fd = fd;
    return 0;
}

static int take_word(struct gh_launch_net *n, char *word, char *model, size_t model_size, struct gh_error *err)
{
    char *value = strchr(word, '=');
    uint64_t bits;
    bool nat = !strcmp(n->kind, "nat"), either = nat || !strcmp(n->kind, "passt");
    struct in_addr a;

    if (value)
        *value++ = '\0';
    if (value && !strcmp(word, "model")) {
        snprintf(model, model_size, "%s", value);
        return !strcmp(value, "e1000") || !strcmp(value, "virtio-net") ? 0 : gh_error_option(err, -ENODEV, "AdapterUnknown", "adapter", "“%s” is not a network adapter; use e1000 or virtio-net.", value);
    }
    if (value && !strcmp(word, "mac"))
        return set_mac(n, value, err);
    if (value && !strcmp(word, "link") && (!strcmp(value, "on") || !strcmp(value, "off"))) {
        n->unplugged = !strcmp(value, "off");
        return 0;
    }
    if (value && !strcmp(word, "limit")) {
        if (gh_parse_bits(value, &bits))
            return bad(err, value, "give a limit in bits a second, such as 10M");
        n->limit_bits = bits;
        return 0;
    }
    if (value && either && !strcmp(word, "forward"))
        return add_forward(n, value, err);
    if (value && either && !strcmp(word, "network")) {
        if (inet_pton(AF_INET, value, &a) != 1 || ntohl(a.s_addr) & 0xff)
            return bad(err, value, "give the first address of 256, such as 10.0.2.0");
        snprintf(n->network, sizeof n->network, "%s", value);
        return 0;
    }
    if (value && nat && !strcmp(word, "tftp"))
        return set_folder(n, value, err);
    if (value && nat && !strcmp(word, "bootfile") && strlen(value) < sizeof n->bootfile) {
        snprintf(n->bootfile, sizeof n->bootfile, "%s", value);
        return 0;
    }
    if (value && !strcmp(n->kind, "internal") && !strcmp(word, "name") && gh_group_name_valid(value)) {
        snprintf(n->group, sizeof n->group, "%s", value);
        return 0;
    }
    if (value && !strcmp(n->kind, "stream") && !strcmp(word, "path"))
        return n->fd >= 0 ? bad(err, value, "one path is enough") : connect_stream(n, value, err);
    if (!value && either && !strcmp(word, "host-loopback"))
        n->host_loopback = true;
    else if (!value && either && !strcmp(word, "no-ipv6"))
        n->no_ipv6 = true;
    else
        return bad(err, word, "words are model=, mac=, link=on|off, limit=; for nat and passt forward=, network=, host-loopback, no-ipv6; "
                   "for nat tftp=, bootfile=; for internal name=; for stream path=");
    return 0;
}

int gh_parse_bits(const char *text, uint64_t *ret)
{
    char *end;
    unsigned long long n = strtoull(text, &end, 10), unit = 1;

    if (text[0] < '0' || text[0] > '9')
        return -EINVAL;
    switch (*end) {
    case 'k': case 'K': unit = 1000; end++; break;
    case 'm': case 'M': unit = 1000000; end++; break;
    case 'g': case 'G': unit = 1000000000; end++; break;
    }
    uint64_t bits;
    if (*end || !gh_mul_u64(n, unit, &bits) || bits > 1000000000000ull || (bits && bits < 8000))
        return -ERANGE;
    *ret = bits;
    return 0;
}

bool gh_group_name_valid(const char *name)
{
    return *name && strlen(name) < 48 && name[0] != '.' &&
           name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")] == '\0';
}

int gh_cmdline_net(struct gh_launch *l, const char *text, struct gh_error *err)
{
    char copy[2048], model[32] = "virtio-net", name[32], id[32], *save = NULL;
    uint8_t random[3] = { 0 };

    if (strlen(text) >= sizeof copy)
        return bad(err, text, "it is too long");
    memcpy(copy, text, strlen(text) + 1);
    const char *kind = strtok_r(copy, ",", &save);
    if (!kind || (strcmp(kind, "nat") && strcmp(kind, "passt") && strcmp(kind, "internal") && strcmp(kind, "stream") && strcmp(kind, "none")))
        return bad(err, kind ? kind : "", "use nat, passt, internal, stream or none");
    snprintf(name, sizeof name, "net%u", l->net_count);
    snprintf(id, sizeof id, "nic%u", l->net_count);
    struct gh_launch_net *n = gh_launch_add_net(l, name, strcmp(kind, "none") ? kind : "null", -1);
    if (!n)
        return gh_error_option(err, -ENOSPC, "TooManyNetworks", "net", "A machine can have at most 16 network adapters.");
    if (getrandom(random, sizeof random, 0) != sizeof random)
        return gh_error_set(err, -EIO, "NoRandom", "The host gives no random numbers.");
    snprintf(n->mac, sizeof n->mac, "52:54:00:%02x:%02x:%02x", random[0], random[1], random[2]);
    int r = 0;
    for (char *w = strtok_r(NULL, ",", &save); w && !r; w = strtok_r(NULL, ",", &save))
        r = take_word(n, w, model, sizeof model, err);
    if (r)
        return r;
    if (!strcmp(kind, "stream") && n->fd < 0)
        return bad(err, text, "a stream needs path=");
    if (!strcmp(kind, "internal") && !n->group[0])
        snprintf(n->group, sizeof n->group, "internal");
    for (unsigned i = 0; i + 1 < l->net_count; i++)
        if (!strcmp(l->nets[i].mac, n->mac))
            return gh_error_option(err, -EEXIST, "MacTwice", "mac", "Two adapters have the hardware address %s; give each its own.", n->mac);
    struct gh_launch_device *d = gh_launch_add_device(l, model, id);
    if (!d || gh_launch_add_option(d, "netdev", name) < 0)
        return gh_error_set(err, -ENOMEM, "NoMemory", "The host has no memory left.");
    return 0;
}
