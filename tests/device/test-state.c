/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The saved-state records themselves: round trip, versions, and every refusal the header promises. */
#include "check.h"
#include "devices/state.h"

#include <errno.h>

struct inner { uint16_t a; bool b; };
struct box {
    bool     flag;
    uint8_t  bytes[5];
    uint16_t words[3];
    uint32_t d;
    uint64_t q;
    char     text[8];
    struct inner one, many[2];
    uint32_t young;
};

static const struct gh_field inner_fields[] = {
    GH_FIELD(GH_T_U16, struct inner, a, 1),
    GH_FIELD(GH_T_BOOL, struct inner, b, 1),
    {0},
};
static const struct gh_field fields[] = {
    GH_FIELD(GH_T_BOOL, struct box, flag, 1),
    GH_FIELD_ARRAY(GH_T_BYTES, struct box, bytes, 5, 1),
    GH_FIELD_ARRAY(GH_T_U16, struct box, words, 3, 1),
    GH_FIELD(GH_T_U32, struct box, d, 1),
    GH_FIELD(GH_T_U64, struct box, q, 1),
    GH_FIELD_ARRAY(GH_T_STRING, struct box, text, 8, 1),
    GH_FIELD_TABLE(struct box, one, struct inner, inner_fields, 1, 1),
    GH_FIELD_TABLE(struct box, many, struct inner, inner_fields, 2, 1),
    GH_FIELD(GH_T_U32, struct box, young, 2),
    {0},
};

static int load(const struct gh_state_buffer *buf, uint16_t version, const struct gh_field *table, struct box *to,
                struct gh_error *err)
{
    struct gh_state_section s;
    const uint8_t *p = buf->data;
    size_t len = buf->len;
    int r = gh_state_next(&p, &len, &s, err);

    if (r <= 0)
        return r < 0 ? r : -ENODATA;
    return gh_state_load(&s, version, table, to, err);
}

/* Several devices: all or nothing. */
static int box_loaded(struct gh_device *dev, struct gh_error *err)
{
    return ((const struct box *)dev->state)->d > 100 ? gh_error_set(err, -EBADMSG, "SavedStateDamaged", "No.") : 0;
}

static const struct gh_device_class box_class = {
    .name = "box", .state_size = sizeof(struct box), .version = 2, .saved = fields, .loaded = box_loaded};

static unsigned foreign_sections;
static int foreign(void *opaque, const struct gh_state_section *section, struct gh_error *err)
{
    foreign_sections++;
    return 0;
}

static void test_devices(void)
{
    struct box a = {.d = 1}, b = {.d = 2}, small = {.d = 50}, big = {.d = 101};
    struct gh_device one = {.class = &box_class, .id = "one", .state = &a};
    struct gh_device two = {.class = &box_class, .id = "two", .state = &b};
    struct gh_device *both[2] = {&one, &two};
    struct gh_state_buffer buf = {0};

    gh_state_save(&buf, "box", "one", 2, fields, &small);
    CHECK_EQ(gh_state_load_devices(both, 2, buf.data, buf.len, NULL, NULL, NULL), -ENOTSUP); /* two is missing */
    CHECK_EQ(a.d, 1);
    size_t first = buf.len;
    gh_state_save(&buf, "box", "two", 2, fields, &big);
    CHECK_EQ(gh_state_load_devices(both, 2, buf.data, buf.len, NULL, NULL, NULL), -EBADMSG); /* loaded() refuses */
    CHECK(a.d == 1 && b.d == 2);
    buf.len = first;
    gh_state_save(&buf, "box", "two", 2, fields, &small);
    CHECK_EQ(gh_state_load_devices(both, 2, buf.data, buf.len, NULL, NULL, NULL), 0);
    CHECK(a.d == 50 && b.d == 50);
    gh_state_save(&buf, "cpu", "0", 1, NULL, NULL);
    CHECK_EQ(gh_state_load_devices(both, 2, buf.data, buf.len, NULL, NULL, NULL), -ENOTSUP);
    CHECK_EQ(gh_state_load_devices(both, 2, buf.data, buf.len, foreign, NULL, NULL), 0);
    CHECK_EQ(foreign_sections, 1);
    gh_state_save(&buf, "box", "one", 2, fields, &small);
    CHECK_EQ(gh_state_load_devices(both, 2, buf.data, buf.len, foreign, NULL, NULL), -EBADMSG); /* twice */
    gh_state_buffer_fini(&buf);
}

int main(void)
{
    test_devices();
    static const struct box sample = {
        .flag = true, .bytes = {1, 2, 3, 4, 5}, .words = {0x1234, 0xffff, 7}, .d = 0xdeadbeef,
        .q = 0x0123456789abcdef, .text = "hello", .one = {42, true}, .many = {{1, false}, {2, true}}, .young = 9,
    };
    struct gh_state_buffer buf = {0}, again = {0};
    struct gh_error err = {0};
    struct box box = {0};

    CHECK_EQ(gh_state_save(&buf, "box", "box0", 2, fields, &sample), 0);
    CHECK_EQ(load(&buf, 2, fields, &box, &err), 0);
    CHECK_EQ(gh_state_save(&again, "box", "box0", 2, fields, &box), 0);
    CHECK(buf.len == again.len && !memcmp(buf.data, again.data, buf.len));
    CHECK_EQ(box.q, sample.q);
    CHECK_EQ(box.many[1].a, 2);
    CHECK_STR(box.text, "hello");

    /* Every cut and every bit flip is refused or loads cleanly; no cut may pass. */
    for (size_t cut = 1; cut < buf.len; cut++) {
        struct gh_state_buffer part = {.data = malloc(cut), .len = cut};
        memcpy(part.data, buf.data, cut);
        CHECK(load(&part, 2, fields, &box, NULL) < 0);
        gh_state_buffer_fini(&part);
    }
    unsigned refused = 0;
    for (size_t bit = 0; bit < buf.len * 8; bit++) {
        buf.data[bit / 8] ^= (uint8_t)(1 << (bit % 8));
        refused += load(&buf, 2, fields, &box, NULL) < 0;
        buf.data[bit / 8] ^= (uint8_t)(1 << (bit % 8));
    }
    CHECK(refused > buf.len * 3);

    /* Older states keep the young field's value; newer ones are refused. */
    struct gh_field old[GH_ARRAY_LEN(fields)];
    memcpy(old, fields, sizeof old);
    old[GH_ARRAY_LEN(fields) - 2] = (struct gh_field){0};
    gh_state_buffer_fini(&again);
    CHECK_EQ(gh_state_save(&again, "box", "box0", 1, old, &sample), 0);
    box.young = 77;
    CHECK_EQ(load(&again, 2, fields, &box, &err), 0);
    CHECK_EQ(box.young, 77);
    gh_error_clear(&err);
    CHECK_EQ(load(&buf, 1, fields, &box, &err), -ENOTSUP);
    CHECK_STR(err.id, "SavedStateNewer");
    gh_error_clear(&err);
    CHECK_EQ(load(&buf, 2, old, &box, &err), -ENOTSUP); /* unknown field */
    CHECK_STR(err.id, "SavedStateUnfit");
    gh_state_buffer_fini(&again);
    gh_error_clear(&err);
    CHECK_EQ(gh_state_save(&again, "box", "box0", 2, old, &sample), 0);
    CHECK_EQ(load(&again, 2, fields, &box, &err), -ENOTSUP); /* missing field */
    CHECK_STR(err.id, "SavedStateUnfit");

    gh_state_buffer_fini(&again);
    CHECK_EQ(gh_state_save(&again, "a-name-that-is-much-longer-than-any-name-of-a-section-may-ever-be-xxx", "", 1,
                           NULL, NULL), -ENAMETOOLONG);
    CHECK_EQ(gh_state_save(&again, "empty", "", 1, NULL, NULL), 0);
    CHECK_EQ(load(&again, 1, NULL, &box, NULL), 0);
    gh_state_buffer_fini(&again);
    gh_state_buffer_fini(&buf);
    return check_result();
}
