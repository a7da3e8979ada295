/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The launch description there and back, and what base/schema refuses. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "engine/machine/launch.h"

static unsigned open_fds(void)
{
    unsigned n = 0;
    DIR     *d = opendir("/proc/self/fd");
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}
static int null_fd(void) { return open("/dev/null", O_RDWR | O_CLOEXEC); }

static struct gh_launch *example(void)
{
    struct gh_launch *l = gh_launch_new();

    CHECK_FATAL(l);
    strcpy(l->name, "win \"11\" \xc3\xa4");
    l->vcpus = 3;
    l->memory_bytes = 3ull << 30;
    l->append = strdup("console=ttyS0");
    l->kernel_fd = null_fd();
    gh_launch_add_rom(l, "bios", null_fd());
    struct gh_launch_disk *d = gh_launch_add_disk(l, "hda");
    gh_launch_add_layer(d, "qcow2", "top", null_fd());
    struct gh_launch_layer *y = gh_launch_add_layer(d, "vmdk", "base", null_fd());
    y->extents = calloc(1, sizeof *y->extents);
    y->extent_count = 1;
    strcpy(y->extents[0].name, "base-s001.vmdk");
    y->extents[0].fd = null_fd();
    gh_launch_add_disk(l, "cd0")->removable = true;
    gh_launch_add_char(l, "com1", "stdio", null_fd(), null_fd());
    gh_launch_add_net(l, "net0", "null", -1);
    struct gh_launch_device *dev = gh_launch_add_device(l, "serial", "com1");
    CHECK_EQ(gh_launch_add_option(dev, "chardev", "com1"), 0);
    char big[512];
    memset(big, 'x', sizeof big);
    big[511] = 0;
    CHECK_EQ(gh_launch_add_option(dev, "chardev", big), -E2BIG);
    return l;
}

static void round_trip(int s[2])
{
    struct gh_launch *l = example(), *m = NULL;
    struct gh_packet  p;
    struct gh_error   err = { 0 };
    unsigned          before = open_fds();

    CHECK_EQ(gh_launch_send(l, s[0], &err), 0);
    CHECK_EQ(gh_packet_recv(s[1], &p, &err), 1);
    CHECK_EQ(p.fd_count, 7);
    CHECK_EQ(gh_launch_from_packet(&p, &m, &err), 0);
    CHECK_FATAL(m);
    gh_packet_clear(&p);
    CHECK_STR(m->name, l->name);
    CHECK_EQ(m->vcpus, 3);
    CHECK_EQ(m->memory_bytes, 3ull << 30);
    CHECK_STR(m->append, "console=ttyS0");
    CHECK(m->kernel_fd >= 0 && m->kernel_fd != l->kernel_fd);
    CHECK_EQ(m->initrd_fd, -1);
    CHECK(gh_launch_rom_fd(m, "bios") >= 0);
    CHECK_EQ(gh_launch_rom_fd(m, "none"), -1);
    const struct gh_launch_disk *d = gh_launch_disk(m, "hda");
    CHECK_FATAL(d && d->layer_count == 2 && d->layers[1].extent_count == 1);
    CHECK_STR(d->layers[1].extents[0].name, "base-s001.vmdk");
    CHECK(gh_launch_disk(m, "cd0")->removable);
    CHECK(!gh_launch_disk(m, "hdb"));
    CHECK(gh_launch_char(m, "com1")->out_fd >= 0);
    CHECK_EQ(gh_launch_net(m, "net0")->fd, -1);
    CHECK_STR(m->devices[0].options[0].value, "com1");
    gh_launch_free(m);
    CHECK_EQ(open_fds(), before);
    gh_launch_free(l);
    gh_launch_free(NULL);
}

/* Sends a changed description and expects the error id and the field it names. */
static void refused(int s[2], const char *text, const char *id, const char *option)
{
    struct gh_packet  p;
    struct gh_launch *m = NULL;
    struct gh_error   err = { 0 };
    int               fds[2] = { null_fd(), null_fd() };
    unsigned          before = open_fds();
    json_t           *base = json_pack("{s:s,s:i,s:s,s:i,s:i,s:s,s:s}", "verb", "launch", "version", 1,
                                       "accel", "soft", "vcpus", 1, "memory", 1 << 20, "board", "pc",
                                       "sandbox", "on");
    json_t           *change = json_loads(text, 0, NULL);

    CHECK_FATAL(base && change);
    json_object_update(base, change);
    CHECK_EQ(gh_packet_send(s[0], base, fds, 2, NULL), 0);
    CHECK_EQ(gh_packet_recv(s[1], &p, NULL), 1);
    int r = gh_launch_from_packet(&p, &m, &err);
    gh_packet_clear(&p);
    if (id) {
        CHECK(r < 0 && !m);
        CHECK_STR(err.id, id);
        CHECK_STR(err.option, option);
    } else {
        CHECK_EQ(r, 0);
        gh_launch_free(m);
    }
    CHECK_EQ(open_fds(), before);
    json_decref(base);
    json_decref(change);
    close(fds[0]);
    close(fds[1]);
}

int main(void)
{
    int s[2];

    CHECK_FATAL(gh_packet_pair(s, NULL) == 0);
    round_trip(s);
    refused(s, "{}", NULL, NULL);
    refused(s, "{\"version\":2}", "FieldInvalid", "version");
    refused(s, "{\"verb\":\"quit\"}", "LaunchExpected", "");
    refused(s, "{\"vcpus\":0}", "FieldInvalid", "vcpus");
    refused(s, "{\"vcpus\":65}", "FieldInvalid", "vcpus");
    refused(s, "{\"vcpus\":-1}", "FieldInvalid", "vcpus");
    refused(s, "{\"vcpus\":1.5}", "FieldInvalid", "vcpus");
    refused(s, "{\"vcpus\":\"1\"}", "FieldInvalid", "vcpus");
    refused(s, "{\"memory\":1048577}", "FieldInvalid", "memory");
    refused(s, "{\"path\":\"/etc/passwd\"}", "FieldUnknown", "path");
    refused(s, "{\"accel\":\"magic\"}", "FieldInvalid", "accel");
    refused(s, "{\"accel\":\"aaaaaaaaaaaaaaaaaaaaaaaaa\"}", "FieldInvalid", "accel");
    refused(s, "{\"paused\":1}", "FieldInvalid", "paused");
    refused(s, "{\"kernel\":2}", "FieldInvalid", "kernel");
    refused(s, "{\"kernel\":-1}", "FieldInvalid", "kernel");
    refused(s, "{\"kernel\":0,\"initrd\":0}", "FieldInvalid", "initrd"); /* one descriptor, one owner */
    refused(s, "{\"initrd\":0}", "FieldInvalid", "initrd");
    refused(s, "{\"roms\":[{\"name\":\"a\",\"fd\":0},{\"name\":\"b\"}]}", "FieldMissing", "roms[1].fd");
    refused(s, "{\"roms\":[{\"name\":\"a\",\"fd\":0},{\"name\":\"a\",\"fd\":1}]}", "NameTwice", "roms");
    refused(s, "{\"disks\":[{\"name\":\"a\"}]}", "DiskWithoutImage", "disks");
    refused(s, "{\"disks\":[{\"name\":\"a\",\"layers\":[{\"format\":\"auto\",\"fd\":0}]}]}", "FieldInvalid",
            "disks.format");
    refused(s, "{\"devices\":[{\"class\":\"x\",\"id\":\"y\",\"options\":[7]}]}", "FieldInvalid",
            "devices[0].options[0]");
    refused(s, "{\"devices\":{}}", "FieldInvalid", "devices");

    json_t *many = json_array();
    for (unsigned i = 0; i < 33; i++)
        json_array_append_new(many, json_pack("{s:s,s:s}", "name", "a", "kind", "null"));
    json_t *o = json_pack("{s:o}", "chars", many);
    char   *text = json_dumps(o, 0);
    refused(s, text, "FieldInvalid", "chars");
    free(text);
    json_decref(o);
    close(s[0]);
    close(s[1]);
    return check_result();
}
