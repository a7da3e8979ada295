/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Options from text: every type, defaults, ranges, and what must be refused with the row named. */
#include "check.h"
#include "devices/backend.h"
#include "devices/device.h"

#include <errno.h>

struct box {
    bool     flag;
    uint8_t  small;
    uint16_t port;
    uint32_t size;
    uint64_t big;
    char     name[8];
    uint8_t  mac[6];
    struct gh_char *chr;
};

static const struct gh_option options[] = {
    GH_OPT(GH_T_BOOL, struct box, flag, "flag", 0, 0, "on", ""),
    GH_OPT(GH_T_U8, struct box, small, "small", 1, 9, "3", ""),
    GH_OPT(GH_T_U16, struct box, port, "port", 0, 0xffff, "0x3f8", ""),
    GH_OPT(GH_T_U32, struct box, size, "size", 0, 0, "16M", ""),
    GH_OPT(GH_T_U64, struct box, big, "big", 0, 0, "8G", ""),
    GH_OPT(GH_T_STRING, struct box, name, "name", 0, 0, "abc", ""),
    GH_OPT(GH_T_BYTES, struct box, mac, "mac", 0, 0, "52:54:00:aB:cd:0f", ""),
    GH_OPT(GH_T_CHAR, struct box, chr, "chr", 0, 0, NULL, ""),
    {0},
};

static void refused(const char *name, const char *value, int code)
{
    struct box      box = {.small = 5, .name = "keep"};
    struct gh_error err = {0};

    CHECK_EQ(gh_option_set(options, &box, name, value, &err), code);
    CHECK_STR(err.option, name);
    CHECK(err.id[0] && err.text[0]);
    CHECK(box.small == 5 && !strcmp(box.name, "keep"));
}

int main(void)
{
    static const uint8_t mac[6] = {0x52, 0x54, 0, 0xab, 0xcd, 0x0f};
    struct box     box = {0};
    struct gh_char chr = {0};

    CHECK_EQ(gh_option_defaults(options, &box, NULL), 0);
    CHECK(box.flag);
    CHECK_EQ(box.small, 3);
    CHECK_EQ(box.port, 0x3f8);
    CHECK_EQ(box.size, 16 << 20);
    CHECK_EQ(box.big, 8ull << 30);
    CHECK_STR(box.name, "abc");
    CHECK(!memcmp(box.mac, mac, 6));
    CHECK(!box.chr);

    CHECK_EQ(gh_option_set(options, &box, "flag", "off", NULL), 0);
    CHECK(!box.flag);
    CHECK_EQ(gh_option_set(options, &box, "small", "9", NULL), 0);
    CHECK_EQ(box.small, 9);
    CHECK_EQ(gh_option_set(options, &box, "name", "1234567", NULL), 0);
    CHECK_STR(box.name, "1234567");
    CHECK_EQ(gh_option_set(options, &box, "mac", "010203040506", NULL), 0);
    CHECK_EQ(box.mac[5], 6);
    CHECK_EQ(gh_option_pointer(options, &box, "chr", &chr, NULL), 0);
    CHECK(box.chr == &chr);

    refused("none", "1", -ENOENT);
    refused("flag", "maybe", -EINVAL);
    refused("small", "0", -ERANGE);
    refused("small", "10", -ERANGE);
    refused("small", "257", -ERANGE);
    refused("small", "", -EINVAL);
    refused("small", "-1", -EINVAL);
    refused("small", "5x", -EINVAL);
    refused("port", "65536", -ERANGE);
    refused("size", "4G", -ERANGE);
    refused("big", "99999999999999999999", -EINVAL);
    refused("big", "16777216T", -EINVAL);
    refused("name", "12345678", -ENAMETOOLONG);
    refused("mac", "52:54:00:ab:cd", -EINVAL);
    refused("mac", "52:54:00:ab:cd:0f:01", -EINVAL);
    refused("mac", "52:54:00:ab:cd:zz", -EINVAL);
    refused("chr", "stdio", -EINVAL);

    struct gh_error err = {0};
    CHECK_EQ(gh_option_pointer(options, &box, "small", &chr, &err), -EINVAL);
    CHECK_STR(err.option, "small");
    CHECK(!gh_device_class_find("no-such-class"));
    return check_result();
}
