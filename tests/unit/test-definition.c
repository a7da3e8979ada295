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
    n->forward_count = 1;
    return d;
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
    CHECK_EQ(b->network[0].forward[0].host_port, 2222);
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
    damage();
    hostile();
    read_only_folder();
    char command[100];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    CHECK_EQ(system(command), 0);
    return check_result();
}
