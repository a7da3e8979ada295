/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The flash of UEFI variables: commands as OVMF gives them, writing back, errors, and a full host disk. */
#include "check.h"
#include "devices/firmware/pflash.h"
#include "fakebackend.h"

#include <errno.h>

enum { BASE = 0xffc00000u, SIZE = 64 << 10 };

static struct fake_disk disk;

static void program(struct gh_board *b, uint32_t at, uint8_t value)
{
    fake_write(b, BASE + at, 1, 0x10);
    fake_write(b, BASE + at, 1, value);
}

int main(void)
{
    struct gh_board *b = fake_board_new();
    struct gh_error err = { 0 };
    fake_disk_init(&disk, b, SIZE);
    struct gh_device *dev = fake_create(b, "pflash", "nvram0");
    fake_set_options(dev, "base=0xffc00000,size=65536", NULL);
    fake_set_backend(dev, "drive", &disk.block);
    CHECK_FATAL(fake_attach(dev, NULL) == 0);
    CHECK_EQ(fake_read(b, BASE + 100, 4), 0xffffffff);
    CHECK_EQ(gh_pflash_fill(dev, "variables", 9, NULL), 0);
    CHECK_EQ(gh_pflash_fill(dev, &err, SIZE + 1, &err), -EINVAL);
    CHECK_EQ(fake_read(b, BASE, 4), 0x69726176);

    /* How firmware finds out that this is flash and not RAM or ROM. */
    fake_write(b, BASE + 0x1000, 1, 0x50);
    CHECK_EQ(fake_read(b, BASE + 0x1000, 1), 0xff);
    fake_write(b, BASE + 0x1000, 1, 0x70);
    CHECK_EQ(fake_read(b, BASE + 0x1000, 1), 0);
    CHECK_EQ(fake_read(b, BASE + SIZE - 4, 4), 0);
    fake_write(b, BASE + 0x1000, 1, 0xff);
    CHECK_EQ(fake_read(b, BASE + 0x1000, 1), 0xff);
    fake_write(b, BASE, 1, 0x90);
    CHECK_EQ(fake_read(b, BASE, 2), 0x1889);
    fake_write(b, BASE, 1, 0xff);

    /* Programming clears bits; only erasing sets them, a block of 4 KiB. */
    program(b, 0x1005, 0xf0);
    CHECK_EQ(fake_read(b, BASE + 0x1005, 1), 0x80);           /* status until read array */
    program(b, 0x1005, 0x3c);
    program(b, 0x2fff, 0);
    program(b, 0x3000, 0);
    fake_write(b, BASE, 1, 0xff);
    CHECK_EQ(fake_read(b, BASE + 0x1005, 1), 0x30);
    CHECK_EQ(disk.writes, 0);
    fake_step_ns(b, 100000000);
    CHECK_EQ(disk.writes, 3);
    CHECK_EQ(disk.flushes, 1);
    CHECK(disk.data[0x1005] == 0x30 && disk.data[0x1004] == 0xff && disk.data[0x2fff] == 0 && disk.data[0x3000] == 0);
    fake_write(b, BASE + 0x2abc, 1, 0x20);
    fake_write(b, BASE + 0x2abc, 1, 0xd0);
    fake_write(b, BASE, 1, 0xff);
    CHECK_EQ(fake_read(b, BASE + 0x2fff, 1), 0xff);
    CHECK_EQ(fake_read(b, BASE + 0x3000, 1), 0);
    CHECK_EQ(fake_read(b, BASE + 0x1005, 1), 0x30);
    /* An erase that is not confirmed, a command that does not exist. */
    fake_write(b, BASE + 0x3000, 1, 0x20);
    fake_write(b, BASE + 0x3000, 1, 0x00);
    CHECK_EQ(fake_read(b, BASE, 1), 0xb0);
    fake_write(b, BASE, 1, 0x50);
    fake_write(b, BASE, 1, 0xe8);
    CHECK_EQ(fake_read(b, BASE, 1), 0xb0);
    CHECK_EQ(dev->guest_errors, 1);
    fake_write(b, BASE, 1, 0x50);
    fake_write(b, BASE, 1, 0xff);
    CHECK_EQ(fake_read(b, BASE + 0x3000, 1), 0);

    /* A full disk pauses the machine; nothing is lost. */
    fake_step_ns(b, 100000000);
    disk.fail = -ENOSPC;
    program(b, 0x4000, 0x11);
    fake_write(b, BASE, 1, 0xff);
    fake_step_ns(b, 100000000);
    CHECK_EQ(b->requests[GH_REQUEST_PAUSE], 1);
    CHECK_STR(b->request_why.id, "NvramWriteFailed");
    disk.fail = 0;
    fake_step_ns(b, 2000000000);
    CHECK_EQ(disk.data[0x4000], 0x11);

    /* Save and load in the middle of a command. */
    struct gh_state_buffer first = { 0 }, second = { 0 };
    program(b, 0x5000, 0x22);
    fake_save(b, &first);
    CHECK_EQ(disk.data[0x5000], 0x22);
    fake_reset(b, GH_RESET_WARM);
    CHECK_EQ(fake_read(b, BASE + 0x5000, 1), 0x22);
    CHECK_EQ(fake_load(b, first.data, first.len, NULL), 0);
    CHECK_EQ(fake_read(b, BASE + 0x5000, 1), 0x80);
    fake_save(b, &second);
    CHECK(first.len == second.len && !memcmp(first.data, second.data, first.len));
    gh_state_buffer_fini(&first);
    gh_state_buffer_fini(&second);

    static const char *const bad[] = { "base=0xffc00800,size=65536", "base=0xffff0000,size=131072", "base=0,size=5000" };
    for (unsigned i = 0; i < GH_ARRAY_LEN(bad); i++) {
        dev = fake_create(b, "pflash", "bad");
        fake_set_options(dev, bad[i], NULL);
        CHECK_EQ(fake_attach(dev, NULL), -EINVAL);
    }
    fake_board_free(b);
    fake_disk_fini(&disk);
    return check_result();
}
