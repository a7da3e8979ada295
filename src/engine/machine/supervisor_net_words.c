/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The command lines of what carries a NAT: our backend, or passt(1). */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "engine/machine/supervisor_net_words.h"

static void add_word(struct gh_words *w, const char *format, const char *value)
{
    int n = snprintf(w->text + w->used, sizeof w->text - w->used, format, value);

    if (n < 0 || (size_t)n >= sizeof w->text - w->used || w->count + 1 >= GH_WORDS)
        return;
    w->word[w->count++] = w->text + w->used;
    w->used += (size_t)n + 1;
}

/* A name that DHCP may carry. */
static void host_name(const char *name, char out[64])
{
    size_t n = 0;

    for (; *name && n < 62; name++)
        if ((*name | 32) >= 'a' && (*name | 32) <= 'z')
            out[n++] = *name;
        else if ((*name >= '0' && *name <= '9') || (*name == '-' && n))
            out[n++] = *name;
        else if (n && out[n - 1] != '-')
            out[n++] = '-';
    while (n && out[n - 1] == '-')
        n--;
    out[n] = '\0';
}

void gh_words_nat(struct gh_words *w, const struct gh_launch_net *cfg, const char *machine, const struct gh_resolv_state *state)
{
    char name[64];

    *w = (struct gh_words){ .count = 0 };
    add_word(w, "%s", "gasthaus-backend");
    add_word(w, "%s", "net");
    add_word(w, "%s", "--frames-fd=3");
    add_word(w, "%s", "--control-fd=4");
    host_name(machine, name);
    if (name[0])
        add_word(w, "--hostname=%s", name);
    if (cfg->network[0])
        add_word(w, "--network=%s", cfg->network);
    if (cfg->host_loopback)
        add_word(w, "%s", "--allow-host-loopback");
    if (cfg->no_ipv6)
        add_word(w, "%s", "--no-ipv6");
    if (cfg->tftp[0])
        add_word(w, "--tftp=%s", cfg->tftp);
    if (cfg->bootfile[0])
        add_word(w, "--bootfile=%s", cfg->bootfile);
    for (unsigned i = 0; i < state->domain_count; i++)
        add_word(w, "--search=%s", state->domain[i]);
}

/* The same addresses as our NAT's, so that a guest notices no difference: .15 for it, gateway .2, names .3. */
void gh_words_passt(struct gh_words *w, const struct gh_launch_net *cfg)
{
    struct in_addr network = { htonl(0x0a000200) };
    char text[80], address[INET_ADDRSTRLEN];

    if (cfg->network[0])
        inet_pton(AF_INET, cfg->network, &network);
    *w = (struct gh_words){ .count = 0 };
    const char *const fixed[] = { "passt", "--foreground", "--quiet", "--fd", "3", "--mtu", "1500", "--netmask", "255.255.255.0" };
    for (unsigned i = 0; i < sizeof fixed / sizeof *fixed; i++)
        add_word(w, "%s", fixed[i]);
    static const struct { const char *option; unsigned host; } addresses[] = { { "--address", 15 }, { "--gateway", 2 }, { "--dns-forward", 3 } };
    for (unsigned i = 0; i < sizeof addresses / sizeof *addresses; i++) {
        struct in_addr a = { htonl(ntohl(network.s_addr) | addresses[i].host) };
        add_word(w, "%s", addresses[i].option);
        add_word(w, "%s", inet_ntop(AF_INET, &a, address, sizeof address));
    }
    if (!cfg->host_loopback)
        add_word(w, "%s", "--no-map-gw");
    if (cfg->no_ipv6)
        add_word(w, "%s", "--ipv4-only");
    for (unsigned i = 0; i < cfg->forward_count; i++) {
        const struct gh_launch_forward *f = &cfg->forwards[i];
        snprintf(text, sizeof text, "%s/%u:%u", f->address, f->host_port, f->guest_port);
        add_word(w, "%s", !strcmp(f->protocol, "udp") ? "--udp-ports" : "--tcp-ports");
        add_word(w, "%s", text);
    }
}
