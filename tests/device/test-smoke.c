/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Every registered class against a guest that hits its registers at random, and against saved states
 * that are damaged at random. What it asserts: nobody crashes, loops, leaks a DMA map or arms a timer
 * after detach (the fake board ends the test then); saving, loading into a fresh machine and saving
 * again gives the same bytes; a damaged state is refused or harmless. Seeded: a failure repeats.
 * Arguments: [class [seed]].
 */
#include "check.h"
#include "fakebackend.h"

#include <linux/input-event-codes.h>

enum { ACCESSES = 3000, SEEDS = 2, DAMAGES = 60, ACCESSES_AFTER_DAMAGE = 60 };

static const char *const base[] = {"i8259", "ioapic", "i8254", "mc146818", "i8237", "i440fx", "piix3", "fw_cfg", "port92"};

struct world {
    struct gh_board *b;
    struct gh_device *dev;
    struct fake_disk disk[8];
    struct fake_char chr[8];
    struct fake_net net[8];
    unsigned disks, chars, nets;
};

static uint64_t random_state;

static uint32_t roll(uint32_t below)
{
    random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(random_state >> 33) % below;
}

static uint64_t roll_value(void)
{
    static const uint64_t edges[] = {0, 1, 0xff, 0xffff, 0x80000000, 0xffffffff, UINT64_MAX, 0x7fffffff};
    uint64_t v = (uint64_t)roll(UINT32_MAX) << 32 | roll(UINT32_MAX);

    switch (roll(4)) {
    case 0:  return edges[roll(GH_ARRAY_LEN(edges))];
    case 1:  return v & 0xff;
    case 2:  return v & (roll(2) ? 0xffff0 : FAKE_RAM_BYTES - 1); /* often a good address */
    default: return v;
    }
}

static void connect(struct world *w)
{
    for (const struct gh_option *o = w->dev->class->options; o && o->name; o++) {
        if (o->type == GH_T_BLOCK && w->disks < GH_ARRAY_LEN(w->disk)) {
            fake_disk_init(&w->disk[w->disks], w->b, 1474560);
            fake_set_backend(w->dev, o->name, &w->disk[w->disks++].block);
        } else if (o->type == GH_T_CHAR && w->chars < GH_ARRAY_LEN(w->chr)) {
            fake_char_init(&w->chr[w->chars]);
            fake_set_backend(w->dev, o->name, &w->chr[w->chars++].chr);
        } else if (o->type == GH_T_NET && w->nets < GH_ARRAY_LEN(w->net)) {
            fake_net_init(&w->net[w->nets]);
            fake_set_backend(w->dev, o->name, &w->net[w->nets++].net);
        }
    }
}

static uint32_t config(struct gh_board *b, unsigned devfn, unsigned offset)
{
    fake_outl(b, 0xcf8, 0x80000000u | devfn << 8 | offset);
    return fake_inl(b, 0xcfc);
}

static void set_config(struct gh_board *b, unsigned devfn, unsigned offset, uint32_t v)
{
    fake_outl(b, 0xcf8, 0x80000000u | devfn << 8 | offset);
    fake_outl(b, 0xcfc, v);
}

/* As firmware does: every BAR gets a place, every function is switched on. */
static void assign_bars(struct gh_board *b)
{
    uint32_t memory = 0xc0000000, port = 0xc000;

    for (unsigned devfn = 0; devfn < 256; devfn++) {
        if (config(b, devfn, 0) == 0xffffffff)
            continue;
        for (unsigned bar = 0x10; bar < 0x28; bar += 4) {
            set_config(b, devfn, bar, 0xffffffff);
            uint32_t mask = config(b, devfn, bar), size = mask & 1 ? ~(mask & 0xfffc) + 1 : ~(mask & ~15u) + 1;
            if (!mask)
                continue;
            if (mask & 1) {
                size &= 0xffff;
                port = (port + size - 1) & ~(size - 1);
                set_config(b, devfn, bar, port);
                port += size;
            } else {
                memory = (memory + size - 1) & ~(size - 1);
                set_config(b, devfn, bar, memory);
                memory += size;
                if ((mask & 6) == 4)
                    set_config(b, devfn, bar += 4, 0);
            }
        }
        set_config(b, devfn, 4, 7);
    }
}

static bool build(struct world *w, const char *class_name)
{
    struct gh_error err = {0};

    memset(w, 0, sizeof *w);
    w->b = fake_board_new();
    for (unsigned i = 0; i < GH_ARRAY_LEN(base); i++) {
        struct gh_device *dev = NULL;
        if (gh_device_class_find(base[i]))
            dev = fake_add(w->b, base[i], base[i], NULL);
        if (!strcmp(base[i], class_name))
            w->dev = dev;
    }
    if (w->dev)
        return true;
    w->dev = fake_create(w->b, class_name, "target");
    connect(w);
    if (fake_attach(w->dev, &err) < 0) {
        fprintf(stderr, "%s does not attach: %s\n", class_name, err.text);
        return false;
    }
    assign_bars(w->b);
    return true;
}

static void destroy(struct world *w)
{
    fake_board_free(w->b);
    for (unsigned i = 0; i < w->disks; i++)
        fake_disk_fini(&w->disk[i]);
}

static void poke_config(struct gh_board *b)
{
    fake_outl(b, 0xcf8, 0x80000000u | roll(32) << 11 | roll(3) << 8 | (roll(8) ? roll(16) * 4 : roll(64) * 4));
    if (roll(3))
        fake_outl(b, 0xcfc, (uint32_t)roll_value());
    else
        fake_inl(b, 0xcfc);
}

static void poke_at(struct world *w, const struct gh_range_desc *d, uint64_t at, unsigned width)
{
    uint8_t data[64];

    if (d->space == GH_SPACE_MMIO) {
        if (roll(2))
            fake_write(w->b, at, width, roll_value());
        else
            fake_read(w->b, at, width);
    } else if (!roll(16)) {
        memset(data, (int)roll(256), sizeof data);
        fake_rep(w->b, (uint16_t)at, width, roll(2), roll(64 / width) + 1, data);
    } else if (roll(2)) {
        uint64_t v = roll_value();
        width == 1 ? fake_outb(w->b, (uint16_t)at, (uint8_t)v) : width == 2 ? fake_outw(w->b, (uint16_t)at, (uint16_t)v)
                                                                           : fake_outl(w->b, (uint16_t)at, (uint32_t)v);
    } else {
        width == 1 ? (void)fake_inb(w->b, (uint16_t)at) : width == 2 ? (void)fake_inw(w->b, (uint16_t)at)
                                                                    : (void)fake_inl(w->b, (uint16_t)at);
    }
}

static void poke_range(struct world *w)
{
    struct fake_range *mine[FAKE_RANGES];
    unsigned n = 0;

    for (unsigned i = 0; i < w->b->range_count; i++)
        if (w->b->range[i].dev == w->dev && w->b->range[i].enabled)
            mine[n++] = &w->b->range[i];
    if (!n) {
        poke_config(w->b);
        return;
    }
    const struct gh_range_desc *d = &mine[roll(n)]->desc;
    uint64_t offset = roll(4) ? roll((uint32_t)(d->size < 256 ? d->size : 256)) : roll((uint32_t)d->size);
    uint64_t at = d->base + offset;
    unsigned width = 1u << roll(d->space == GH_SPACE_PIO ? 3 : 4);

    /* Now and then one register again and again: queues and indexes overflow that way. */
    for (unsigned times = roll(16) ? 1 : 1 + roll(64); times--;)
        poke_at(w, d, at, width);
}

static void poke_outside(struct world *w)
{
    static const uint8_t noise[100] = {1, 2, 3};

    for (unsigned i = 0; i < w->b->input_count; i++) {
        struct gh_device *dev = w->b->input[i].dev;
        const struct gh_input_ops *ops = w->b->input[i].ops;
        if (ops->key)
            ops->key(dev, (uint16_t)roll(512), roll(2));
        if (ops->relative)
            ops->relative(dev, (int32_t)roll_value(), (int32_t)roll_value(), (int32_t)roll(5) - 2);
        if (ops->absolute)
            ops->absolute(dev, (uint16_t)roll(32768), (uint16_t)roll(32768));
        if (ops->button)
            ops->button(dev, (uint16_t)(BTN_LEFT + roll(8)), roll(2));
        if (ops->sync)
            ops->sync(dev);
    }
    for (unsigned i = 0; i < w->chars; i++) {
        fake_char_send(&w->chr[i], noise, roll(sizeof noise));
        w->chr[i].out_len = 0;
        fake_char_open_room(&w->chr[i], roll(3) ? SIZE_MAX : roll(100));
    }
    for (unsigned i = 0; i < w->nets; i++)
        fake_net_send(&w->net[i], noise, 14 + roll(80));
    for (unsigned i = 0; i < w->disks; i++)
        if (!roll(8))
            fake_disk_medium(&w->disk[i], roll(3) ? 1474560 : roll(2) ? 0 : 64 << 10);
}

static void poke(struct world *w, unsigned accesses)
{
    for (unsigned i = 0; i < accesses; i++) {
        poke_range(w);
        if (!roll(16))
            poke_config(w->b);
        if (!roll(8))
            fake_step_ns(w->b, roll(1000000));
        if (!roll(64))
            poke_outside(w);
        if (!roll(512))
            fake_reset(w->b, roll(2) ? GH_RESET_WARM : GH_RESET_COLD);
        if (!roll(8))
            gh_le64_put(w->b->ram + roll(roll(4) ? 1 << 20 : FAKE_RAM_BYTES - 8), roll_value());
    }
}

/* Another board in the same situation: time, RAM, media. */
static bool twin(struct world *to, const struct world *from, const char *class_name)
{
    if (!build(to, class_name))
        return false;
    to->b->now_ns = from->b->now_ns;
    for (unsigned at = 0; at < FAKE_RAM_BYTES; at += 4096) /* leaves untouched pages untouched */
        if (memcmp(from->b->ram + at, to->b->ram + at, 4096))
            memcpy(to->b->ram + at, from->b->ram + at, 4096);
    for (unsigned i = 0; i < to->disks; i++) {
        fake_disk_medium(&to->disk[i], from->disk[i].info.bytes);
        to->disk[i].info = from->disk[i].info;
    }
    return true;
}

static void save_load_save(struct world *w, const char *class_name, struct gh_state_buffer *saved)
{
    struct gh_state_buffer again = {0};
    struct gh_error err = {0};
    static struct world other;

    fake_save(w->b, saved);
    if (twin(&other, w, class_name)) {
        int r = fake_load(other.b, saved->data, saved->len, &err);
        if (r < 0)
            fprintf(stderr, "%s refuses its own state: %s\n", class_name, err.text);
        CHECK(r == 0);
        fake_save(other.b, &again);
        bool same = saved->len == again.len && !memcmp(saved->data, again.data, saved->len);
        if (!same)
            fprintf(stderr, "%s: save, load, save differs\n", class_name);
        CHECK(same);
    }
    destroy(&other);
    gh_state_buffer_fini(&again);
}

static void damage(const struct world *w, const char *class_name, const struct gh_state_buffer *good)
{
    static struct world other;
    uint8_t *bad = malloc(good->len);
    const uint8_t *p = good->data;
    size_t left = good->len, from = 0, to = good->len;
    struct gh_state_section section;

    /* Only the section of the class under test: the others have their own turn. */
    while (gh_state_next(&p, &left, &section, NULL) > 0) {
        if (!strcmp(section.name, class_name)) {
            from = (size_t)(section.body - good->data);
            to = from + section.body_len;
        }
    }
    for (unsigned i = 0; i < DAMAGES && to > from; i++) {
        memcpy(bad, good->data, good->len);
        for (unsigned n = 1 + roll(4); n--;)
            bad[from + roll((uint32_t)(to - from))] = (uint8_t)roll_value();
        if (twin(&other, w, class_name) && fake_load(other.b, bad, good->len, NULL) == 0)
            poke(&other, ACCESSES_AFTER_DAMAGE);
        destroy(&other);
    }
    free(bad);
}

static void run(const char *class_name, uint64_t seed)
{
    static struct world w;
    struct gh_state_buffer saved = {0};

    random_state = seed;
    bool built = build(&w, class_name);
    CHECK(built);
    if (built) {
        poke(&w, ACCESSES);
        save_load_save(&w, class_name, &saved);
        CHECK_EQ(w.b->dma_maps_open, 0);
        if (seed == 1)
            damage(&w, class_name, &saved);
    }
    destroy(&w);
    gh_state_buffer_fini(&saved);
}

int main(int argc, char **argv)
{
    for (const struct gh_device_class *const *c = gh_device_classes; *c; c++) {
        if (argc > 1 && strcmp((*c)->name, argv[1]))
            continue;
        printf("%s\n", (*c)->name);
        fflush(stdout);
        for (uint64_t seed = 1; seed <= SEEDS; seed++)
            run((*c)->name, argc > 2 ? strtoull(argv[2], NULL, 0) : seed);
    }
    return check_result();
}
