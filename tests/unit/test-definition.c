/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Definitions: round trip, schema and limits, atomic saves, what happens to damaged files. */
#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "model/definition.h"

static char folder[] = "/tmp/gh-definition-XXXXXX";

static void put(const char *name, const char *text)
{
    char path[200];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    CHECK_FATAL(f != NULL);
    fputs(text, f);
    fclose(f);
}

static struct gh_definition *example(void)
{
    struct gh_error err = { 0 };
    struct gh_definition *d = gh_definition_new();

    CHECK_FATAL(d != NULL);
    strcpy(d->name, "Wörk & <Play>");
    d->description = strdup("two\nlines \"quoted\"");
    strcpy(d->os_id, "http://debian.org/debian/12");
    d->memory_bytes = 1536ull << 20;
    d->cpus = 2;
    CHECK_EQ(gh_definition_add_medium(d, GH_MEDIUM_DISK, "ide", "qcow2", "disk.qcow2", &err), 0);
    strcpy(d->medium[0].cache, "writethrough");
    d->medium[0].keep_space = true;
    d->medium[0].limit_bytes = 10 << 20;
    d->medium[0].limit_ops = 500;
    CHECK_EQ(gh_definition_add_medium(d, GH_MEDIUM_CDROM, "ide", "raw", NULL, &err), 0);
    struct gh_network *n = gh_definition_add_network(d, "e1000", "nat", &err);
    n->forward[0] = (struct gh_forward){ "tcp", "127.0.0.1", 2222, 22 };
    n->forward[1] = (struct gh_forward){ "tcp", "::1", 2222, 22 };
    n->forward_count = 2;
    n->host_loopback = n->no_ipv6 = true;
    strcpy(n->subnet, "10.7.0.0");
    strcpy(n->tftp, "/srv/tftp");
    strcpy(n->bootfile, "boot.ipxe");
    n = gh_definition_add_network(d, "virtio-net", "stream", &err);
    strcpy(n->socket, "/run/user/1000/passt.socket");
    return d;
}

/* What a network adapter cannot be. */
static void networks(void)
{
    struct gh_error err = { 0 };

#define REFUSED(wanted, ...)                                    \
    do {                                                     \
        struct gh_definition *d = example();                 \
        struct gh_network *n = &d->network[0];               \
        __VA_ARGS__;                                         \
        err = (struct gh_error){ 0 };                        \
        CHECK(gh_definition_check(d, &err) < 0 && n);        \
        CHECK_STR(err.id, wanted);                           \
        gh_definition_free(d);                               \
    } while (0)
    REFUSED("NetworkModeUnknown", strcpy(n->mode, "bridge"));
    REFUSED("SubnetInvalid", strcpy(n->subnet, "10.0.2.1"));
    REFUSED("SubnetInvalid", strcpy(n->subnet, "127.0.0.0"));
    REFUSED("SubnetInvalid", strcpy(n->subnet, "224.0.0.0"));
    REFUSED("FolderInvalid", strcpy(n->tftp, "srv"));
    REFUSED("FolderInvalid", strcpy(n->tftp, "/srv,forward=tcp:1:1"));
    REFUSED("BootFileInvalid", strcpy(n->bootfile, "a,host-loopback"));
    REFUSED("SocketInvalid", strcpy(d->network[1].socket, ""));
    REFUSED("SocketInvalid", strcpy(d->network[1].socket, "/a,b"));
    REFUSED("NetworkNameInvalid", strcpy(n->mode, "internal"), strcpy(n->name, "../x"));
    REFUSED("NetworkNameInvalid", strcpy(n->mode, "internal"), strcpy(n->name, ".hidden"));
    REFUSED("MacTwice", strcpy(d->network[1].mac, n->mac));
    REFUSED("ForwardInvalid", strcpy(n->forward[0].host_address, "localhost"));
    REFUSED("ForwardInvalid", n->forward[0].host_port = 0);
    REFUSED("ForwardCollides", strcpy(n->mode, "passt"));
    REFUSED("ForwardCollides", strcpy(n->forward[1].host_address, "0.0.0.0"));
#undef REFUSED
    const struct gh_forward four = { "tcp", "0.0.0.0", 80, 1 }, six = { "tcp", "::", 80, 1 }, one = { "tcp", "::1", 80, 2 }, udp = { "udp", "::1", 80, 2 };
    CHECK(!gh_forwards_collide(&four, &six) && gh_forwards_collide(&six, &one) && !gh_forwards_collide(&one, &udp));
}

static void round_trip(void)
{
    struct gh_error err = { 0 };
    struct gh_definition *d = example(), *b = NULL;
    bool restored;

    CHECK_EQ(gh_store_save(folder, d, &err), 0);
    CHECK_EQ(gh_store_load(folder, &b, &restored, &err), 0);
    CHECK_FATAL(b != NULL);
    CHECK(!restored);
    CHECK_STR(b->name, d->name);
    CHECK_STR(b->description, d->description);
    CHECK_STR(b->uuid, d->uuid);
    CHECK_EQ(b->revision, 1);
    CHECK_EQ(b->memory_bytes, d->memory_bytes);
    CHECK_EQ(b->medium_count, 2);
    CHECK_STR(b->medium[0].file, "disk.qcow2");
    CHECK_STR(b->medium[0].cache, "writethrough");
    CHECK(b->medium[0].keep_space && !b->medium[1].keep_space);
    CHECK_EQ(b->medium[0].limit_bytes, 10 << 20);
    CHECK_EQ(b->medium[0].limit_ops, 500);
    CHECK(b->medium[1].file == NULL);
    CHECK_EQ(b->network_count, 2);
    CHECK_EQ(b->network[0].forward[0].host_port, 2222);
    CHECK_STR(b->network[0].forward[1].host_address, "::1");
    CHECK(b->network[0].host_loopback && b->network[0].no_ipv6 && !b->network[1].host_loopback && !b->network[1].no_ipv6);
    CHECK_STR(b->network[0].subnet, "10.7.0.0");
    CHECK_STR(b->network[0].tftp, "/srv/tftp");
    CHECK_STR(b->network[0].bootfile, "boot.ipxe");
    CHECK_STR(b->network[1].mode, "stream");
    CHECK_STR(b->network[1].socket, "/run/user/1000/passt.socket");
    CHECK(gh_definition_drive(b, "cdrom0") == &b->medium[1]);
    CHECK(gh_definition_drive(b, "cdrom1") == NULL);
    CHECK(gh_definition_drive(b, "disk0x") == NULL);
    gh_definition_free(b);
    gh_definition_free(d);
}

static void damage(void)
{
    struct gh_error err = { 0 };
    struct gh_definition *d = example(), *b = NULL;
    bool restored;

    CHECK_EQ(gh_store_save(folder, d, &err), 0);
    d->cpus = 3;
    CHECK_EQ(gh_store_save(folder, d, &err), 0); /* .prev now says 2 CPUs */
    put("machine.xml", "<machine");
    CHECK_EQ(gh_store_load(folder, &b, &restored, &err), 0);
    CHECK_FATAL(b != NULL);
    CHECK(restored);
    CHECK_EQ(b->cpus, 2);
    gh_definition_free(b);
    char path[200];
    snprintf(path, sizeof path, "%s/machine.xml.damaged", folder);
    CHECK_EQ(access(path, R_OK), 0);
    put("machine.xml", "<machine");
    put("machine.xml.prev", "nonsense");
    b = NULL;
    CHECK(gh_store_load(folder, &b, &restored, &err) < 0);
    CHECK(b == NULL);
    CHECK_STR(err.id, "DefinitionBroken");
    gh_definition_free(d);
}

static void refuse(const char *text, const char *id)
{
    struct gh_error err = { 0 };
    struct gh_definition *b = NULL;

    CHECK(gh_definition_parse(text, strlen(text), "test", &b, &err) < 0);
    CHECK(b == NULL);
    CHECK_STR(err.id, id);
    CHECK(strstr(err.text, "test") != NULL);
}

static void hostile(void)
{
    static const char head[] = "<machine xmlns='" GH_DEFINITION_NS "' uuid='11111111-2222-4333-8444-555555555555'>";
    char text[4096];

    refuse("", "DefinitionBroken");
    refuse("<!DOCTYPE machine [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><machine>&x;</machine>", "DefinitionBroken");
    refuse("<machine xmlns='urn:other'/>", "DefinitionBroken");
    snprintf(text, sizeof text, "%s<name>a</name><memory mib='0'/><cpu count='1'/></machine>", head);
    refuse(text, "MemoryOutOfRange");
    snprintf(text, sizeof text, "%s<name>a</name><memory mib='10485760'/><cpu count='1'/></machine>", head);
    refuse(text, "MemoryOutOfRange");
    snprintf(text, sizeof text, "%s<name>a</name><memory mib='64'/><cpu count='0'/></machine>", head);
    refuse(text, "CpusOutOfRange");
    snprintf(text, sizeof text, "%s<name>../x</name><memory mib='64'/><cpu count='1'/></machine>", head);
    refuse(text, "NameInvalid");
    snprintf(text, sizeof text, "%s<name>a</name><memory mib='64'/><cpu count='1'/><surprise/></machine>", head);
    refuse(text, "DefinitionBroken");
    snprintf(text, sizeof text, "%s<name>a</name><memory mib='64'/><cpu count='1'/><devices><disk bus='ide' format='raw' "
             "file='/a'/><disk bus='ide' format='raw' file='/a'/></devices></machine>", head);
    refuse(text, "DiskTwice");
}

static void read_only_folder(void)
{
    struct gh_error err = { 0 };
    struct gh_definition *d = example();

    CHECK(gh_store_save("/proc/self", d, &err) < 0);
    CHECK_STR(err.id, "DefinitionNotSaved");
    CHECK_EQ(d->revision, 0);
    gh_definition_free(d);
}

int main(void)
{
    CHECK_FATAL(mkdtemp(folder) != NULL);
    round_trip();
    networks();
    damage();
    hostile();
    read_only_folder();
    char command[100];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    CHECK_EQ(system(command), 0);
    return check_result();
}
