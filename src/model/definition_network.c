/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Network adapters of a definition: what is possible. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "model/definition.h"

struct gh_network *gh_definition_add_network(struct gh_definition *d, const char *adapter, const char *mode,
                                             struct gh_error *err)
{
    uint8_t r[3];

    if (d->network_count == GH_NETWORKS_MAX) {
        gh_error_set(err, -ENOSPC, "TooManyNetworks", "A machine can have at most %d network adapters.", GH_NETWORKS_MAX);
        return NULL;
    }
    if (getrandom(r, sizeof r, 0) != sizeof r)
        abort();
    struct gh_network *n = &d->network[d->network_count++];
    *n = (struct gh_network){ .connected = true };
    snprintf(n->adapter, sizeof n->adapter, "%s", adapter);
    snprintf(n->mode, sizeof n->mode, "%s", mode);
    snprintf(n->mac, sizeof n->mac, "52:54:00:%02x:%02x:%02x", r[0], r[1], r[2]);
    return n;
}

struct gh_network *gh_definition_network(struct gh_definition *d, const char *name)
{
    char *end;

    if (strncmp(name, "net", 3) || name[3] < '0' || name[3] > '9')
        return NULL;
    unsigned long index = strtoul(name + 3, &end, 10);
    return *end || index >= d->network_count ? NULL : &d->network[index];
}

bool gh_network_takes_forwards(const struct gh_network *n) { return !strcmp(n->mode, "nat") || !strcmp(n->mode, "passt"); }

static bool is_address(const char *text)
{
    struct in6_addr a;

    return inet_pton(AF_INET, text, &a) == 1 || inet_pton(AF_INET6, text, &a) == 1;
}

static bool same_family(const char *a, const char *b) { return !strchr(a, ':') == !strchr(b, ':'); }
static bool is_any(const char *a) { return !strcmp(a, "0.0.0.0") || !strcmp(a, "::"); }

/* passt has a port once, whatever its addresses. */
static bool same_port(const struct gh_forward *a, const struct gh_forward *b)
{ return a->host_port == b->host_port && !strcmp(a->protocol, b->protocol); }

bool gh_forwards_collide(const struct gh_forward *a, const struct gh_forward *b)
{
    return same_port(a, b) && same_family(a->host_address, b->host_address) &&
           (!strcmp(a->host_address, b->host_address) || is_any(a->host_address) || is_any(b->host_address));
}

static bool mac_is_valid(const char *mac)
{
    unsigned b[6];
    char rest;

    return strlen(mac) == 17 && sscanf(mac, "%2x:%2x:%2x:%2x:%2x:%2x%c", b, b + 1, b + 2, b + 3, b + 4, b + 5, &rest) == 6 && !(b[0] & 1);
}

/* Ports are the host's: they collide across the adapters of a machine too. */
static int check_forwards(const struct gh_definition *d, unsigned adapter, struct gh_error *err)
{
    const struct gh_network *n = &d->network[adapter];

    for (unsigned f = 0; f < n->forward_count; f++) {
        const struct gh_forward *a = &n->forward[f];
        if ((strcmp(a->protocol, "tcp") && strcmp(a->protocol, "udp")) || !a->host_port || !a->guest_port || !is_address(a->host_address))
            return gh_error_option(err, -EINVAL, "ForwardInvalid", "forward", "“%s:%s:%u:%u” is not a port forward; give tcp or udp, an address of this computer, "
                                   "and ports from 1 to 65535.", a->protocol, a->host_address, a->host_port, a->guest_port);
        for (unsigned i = 0; i <= adapter; i++)
            for (unsigned k = 0; k < (i == adapter ? f : d->network[i].forward_count); k++)
                if (gh_forwards_collide(a, &d->network[i].forward[k]) || (i == adapter && !strcmp(n->mode, "passt") && same_port(a, &n->forward[k])))
                    return gh_error_option(err, -EINVAL, "ForwardCollides", "forward", "Host port %u (%s) is forwarded twice; choose another host port.",
                                           a->host_port, a->protocol);
    }
    return 0;
}

/* Words of a NAT go into one option of the machine, in which a comma ends a word. */
static int check_nat(const struct gh_network *n, struct gh_error *err)
{
    struct in_addr subnet;

    if (n->subnet[0] && (inet_pton(AF_INET, n->subnet, &subnet) != 1 || ntohl(subnet.s_addr) & 0xff || !(ntohl(subnet.s_addr) >> 24) ||
                         ntohl(subnet.s_addr) >> 24 == 127 || ntohl(subnet.s_addr) >> 28 >= 14))
        return gh_error_option(err, -EINVAL, "SubnetInvalid", "subnet", "“%s” is not a network for a guest; give the first of 256 addresses, such as 10.0.2.0.", n->subnet);
    if (n->tftp[0] && (n->tftp[0] != '/' || strchr(n->tftp, ',')))
        return gh_error_option(err, -EINVAL, "FolderInvalid", "tftp", "“%s” cannot be served by TFTP; give a folder's whole path, without a comma.", n->tftp);
    if (strchr(n->bootfile, ','))
        return gh_error_option(err, -EINVAL, "BootFileInvalid", "bootfile", "“%s” cannot be a boot file's name; it has a comma.", n->bootfile);
    return 0;
}

int gh_definition_check_networks(const struct gh_definition *d, struct gh_error *err)
{
    static const char name_letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

    for (unsigned i = 0; i < d->network_count; i++) {
        const struct gh_network *n = &d->network[i];
        if (strcmp(n->adapter, "e1000") && strcmp(n->adapter, "virtio-net"))
            return gh_error_option(err, -EINVAL, "AdapterUnknown", "adapter", "“%s” is not a network adapter; use e1000 or virtio-net.", n->adapter);
        if (strcmp(n->mode, "nat") && strcmp(n->mode, "passt") && strcmp(n->mode, "internal") && strcmp(n->mode, "stream") && strcmp(n->mode, "none"))
            return gh_error_option(err, -EINVAL, "NetworkModeUnknown", "mode", "“%s” is not a network mode; use nat, passt, internal, stream or none.", n->mode);
        if (!mac_is_valid(n->mac))
            return gh_error_option(err, -EINVAL, "MacInvalid", "mac", "“%s” is not a hardware address of one adapter, such as 52:54:00:12:34:56.", n->mac);
        if (!strcmp(n->mode, "internal") && (n->name[strspn(n->name, name_letters)] || n->name[0] == '.' || strlen(n->name) >= 48))
            return gh_error_option(err, -EINVAL, "NetworkNameInvalid", "network", "“%s” cannot be an internal network's name; use letters, digits, “.”, “_” and “-”.", n->name);
        if (!strcmp(n->mode, "stream") && (n->socket[0] != '/' || strchr(n->socket, ',')))
            return gh_error_option(err, -EINVAL, "SocketInvalid", "socket", "“%s” is not a socket that carries frames; give its whole path, without a comma.", n->socket);
        for (unsigned k = 0; k < i; k++)
            if (!strcasecmp(n->mac, d->network[k].mac))
                return gh_error_option(err, -EINVAL, "MacTwice", "mac", "Two adapters have the hardware address %s; give each its own.", n->mac);
        int r = check_nat(n, err);
        if (!r)
            r = check_forwards(d, i, err);
        if (r)
            return r;
    }
    return 0;
}
