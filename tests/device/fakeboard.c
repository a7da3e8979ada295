/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fakeboard.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static const struct gh_board_ops fake_ops;

static void die(const char *what, const char *detail)
{
    fprintf(stderr, "fake board: %s: %s\n", what, detail);
    exit(1);
}

/* ---- Ranges -------------------------------------------------------------------------------------- */

static int fake_range_add(struct gh_board *b, struct gh_device *dev, unsigned range,
                          const struct gh_range_desc *desc, struct gh_error *err)
{
    if (b->range_count == FAKE_RANGES)
        return gh_error_set(err, -ENOSPC, "FakeBoardFull", "The fake board has too many ranges.");
    if (!desc->size || (desc->kind == GH_RANGE_HANDLER && !desc->fn) || (desc->kind != GH_RANGE_HANDLER && !desc->host))
        die("range without size, handler or memory", desc->name ? desc->name : dev->id);
    for (unsigned i = 0; i < b->range_count; i++)
        if (b->range[i].dev == dev && b->range[i].number == range)
            die("range number used twice", dev->id);
    struct fake_range *r = &b->range[b->range_count++];
    *r = (struct fake_range){.dev = dev, .number = range, .desc = *desc, .enabled = !desc->disabled};
    if (desc->dirty_log)
        r->dirty = calloc((desc->size / 4096 + 64) / 64, 8);
    return 0;
}

static struct fake_range *range_of(struct gh_board *b, struct gh_device *dev, unsigned number)
{
    for (unsigned i = 0; i < b->range_count; i++)
        if (b->range[i].dev == dev && b->range[i].number == number)
            return &b->range[i];
    die("no such range", dev->id);
    return NULL;
}

static void fake_range_set(struct gh_board *b, struct gh_device *dev, unsigned range, bool enabled, uint64_t base)
{
    struct fake_range *r = range_of(b, dev, range);
    r->enabled = enabled;
    r->desc.base = base;
}

static void fake_range_host(struct gh_board *b, struct gh_device *dev, unsigned range, uint8_t *host)
{
    range_of(b, dev, range)->desc.host = host;
}

static unsigned fake_range_dirty(struct gh_board *b, struct gh_device *dev, unsigned range, uint64_t *bitmap,
                                 size_t pages)
{
    struct fake_range *r = range_of(b, dev, range);
    unsigned n = 0;

    for (size_t i = 0; r->dirty && i < pages && i < (r->desc.size + 4095) / 4096; i++) {
        if (!(r->dirty[i / 64] >> (i % 64) & 1))
            continue;
        r->dirty[i / 64] &= ~(1ull << (i % 64));
        bitmap[i / 64] |= 1ull << (i % 64);
        n++;
    }
    return n;
}

static uint8_t *fake_ram_alloc(struct gh_board *b, uint64_t bytes, const char *name, struct gh_error *err)
{
    void *p = NULL;

    bytes = (bytes + 4095) & ~4095ull;
    if (b->allocated_count == GH_ARRAY_LEN(b->allocated) || bytes > 1u << 30 || posix_memalign(&p, 4096, bytes)) {
        gh_error_set(err, -ENOMEM, "FakeBoardFull", "The fake board has no memory for %s.", name);
        return NULL;
    }
    memset(p, 0, bytes);
    b->allocated[b->allocated_count++] = p;
    return p;
}

/* The range that answers at addr; *ret_span: how far it, and nothing above it, reaches. */
static struct fake_range *range_at(struct gh_board *b, enum gh_range_space space, uint64_t addr, uint64_t *ret_span)
{
    struct fake_range *best = NULL;
    uint64_t span = UINT64_MAX;

    for (unsigned i = 0; i < b->range_count; i++) {
        struct fake_range *r = &b->range[i];
        if (!r->enabled || r->desc.space != space || addr - r->desc.base >= r->desc.size)
            continue;
        if (!best || r->desc.priority > best->desc.priority)
            best = r;
    }
    for (unsigned i = 0; i < b->range_count; i++) {
        struct fake_range *r = &b->range[i];
        if (r->enabled && r->desc.space == space && r->desc.base > addr &&
            (!best || r->desc.priority > best->desc.priority) && r->desc.base - addr < span)
            span = r->desc.base - addr;
    }
    if (best && best->desc.size - (addr - best->desc.base) < span)
        span = best->desc.size - (addr - best->desc.base);
    *ret_span = span;
    return best;
}

static void memory_access(struct fake_range *r, uint64_t offset, unsigned width, bool write, uint64_t *v)
{
    if (!write) {
        *v = 0;
        memcpy(v, r->desc.host + offset, width);
        return;
    }
    memcpy(r->desc.host + offset, v, width);
    for (uint64_t page = offset / 4096; r->dirty && page <= (offset + width - 1) / 4096; page++)
        r->dirty[page / 64] |= 1ull << (page % 64);
}

static void handler_access(struct gh_board *b, struct fake_range *r, uint64_t offset, unsigned width, bool write,
                           uint64_t *v)
{
    struct gh_access a = {.offset = offset, .width = (uint8_t)width, .write = write, .count = 1,
                          .value = write ? *v & gh_width_mask(width) : 0};

    if (!r->desc.fn || !r->desc.fn(r->dev, r->number, &a)) {
        b->refused++;
        gh_guest_error(r->dev, "no register at offset %#" PRIx64 " of %s", offset, r->desc.name);
        a.value = UINT64_MAX;
    }
    if (!write)
        *v = a.value & gh_width_mask(width);
}

/* Splits as the contract says: at the ends of ranges and into widths the range takes. */
static void guest_access(struct gh_board *b, enum gh_range_space space, uint64_t addr, unsigned width, bool write,
                         uint64_t *value)
{
    uint64_t result = 0;

    for (unsigned done = 0; done < width;) {
        uint64_t span, part = *value >> (done * 8);
        struct fake_range *r = range_at(b, space, addr + done, &span);
        unsigned n = width - done;

        while (n > span || (n & (n - 1)))
            n--;
        if (r && r->desc.kind == GH_RANGE_HANDLER && r->desc.widths) {
            while (n > 1 && !(r->desc.widths & n))
                n /= 2;
            if (!(r->desc.widths & n)) {           /* narrower than the device takes */
                uint64_t wide = 0;
                unsigned up = n;
                while (!(r->desc.widths & up))
                    up *= 2;
                uint64_t offset = addr + done - r->desc.base, low = offset & ~(uint64_t)(up - 1);
                if (!write)
                    handler_access(b, r, low, up, false, &wide);
                else
                    b->refused++;
                part = wide >> ((offset - low) * 8);
                r = NULL;
                goto store;
            }
        }
        if (!r) {
            b->unclaimed++;
            part = UINT64_MAX;
        } else if (r->desc.kind == GH_RANGE_RAM || (r->desc.kind == GH_RANGE_ROM && !write)) {
            memory_access(r, addr + done - r->desc.base, n, write, &part);
        } else if (r->desc.fn || r->desc.kind == GH_RANGE_HANDLER) {
            handler_access(b, r, addr + done - r->desc.base, n, write, &part);
        }
store:
        result |= (part & gh_width_mask(n)) << (done * 8);
        done += n;
    }
    if (!write)
        *value = result;
}

static uint64_t pio(struct gh_board *b, uint16_t port, unsigned width, bool write, uint64_t v)
{
    guest_access(b, GH_SPACE_PIO, port, width, write, &v);
    fake_run_deferred(b);
    return v;
}

uint8_t fake_inb(struct gh_board *b, uint16_t port) { return (uint8_t)pio(b, port, 1, false, 0); }
uint16_t fake_inw(struct gh_board *b, uint16_t port) { return (uint16_t)pio(b, port, 2, false, 0); }
uint32_t fake_inl(struct gh_board *b, uint16_t port) { return (uint32_t)pio(b, port, 4, false, 0); }
void fake_outb(struct gh_board *b, uint16_t port, uint8_t v) { pio(b, port, 1, true, v); }
void fake_outw(struct gh_board *b, uint16_t port, uint16_t v) { pio(b, port, 2, true, v); }
void fake_outl(struct gh_board *b, uint16_t port, uint32_t v) { pio(b, port, 4, true, v); }

void fake_rep(struct gh_board *b, uint16_t port, unsigned width, bool write, uint32_t count, void *data)
{
    uint64_t span;
    struct fake_range *r = range_at(b, GH_SPACE_PIO, port, &span);

    if (r && r->desc.repeat && span >= width && (!r->desc.widths || r->desc.widths & width)) {
        struct gh_access a = {.offset = port - r->desc.base, .width = (uint8_t)width, .write = write,
                              .count = count};
        if (count == 1) {
            if (write)
                memcpy(&a.value, data, width);
        } else {
            a.data = data;
        }
        bool known = r->desc.fn(r->dev, r->number, &a);
        if (!known) {
            b->refused++;
            if (!write)
                memset(data, 0xff, (size_t)count * width);
        } else if (count == 1 && !write) {
            memcpy(data, &a.value, width);
        }
        fake_run_deferred(b);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint64_t v = 0;
        uint8_t *element = (uint8_t *)data + (size_t)i * width;
        if (write)
            memcpy(&v, element, width);
        v = pio(b, port, width, write, v);
        if (!write)
            memcpy(element, &v, width);
    }
}

uint64_t fake_read(struct gh_board *b, uint64_t gpa, unsigned width)
{
    uint64_t v = 0, span;

    if (!range_at(b, GH_SPACE_MMIO, gpa, &span) && gh_range_in(gpa, width, FAKE_RAM_BYTES))
        memcpy(&v, b->ram + gpa, width);
    else
        guest_access(b, GH_SPACE_MMIO, gpa, width, false, &v);
    fake_run_deferred(b);
    return v;
}

void fake_write(struct gh_board *b, uint64_t gpa, unsigned width, uint64_t v)
{
    uint64_t span;

    if (!range_at(b, GH_SPACE_MMIO, gpa, &span) && gh_range_in(gpa, width, FAKE_RAM_BYTES))
        memcpy(b->ram + gpa, &v, width);
    else
        guest_access(b, GH_SPACE_MMIO, gpa, width, true, &v);
    fake_run_deferred(b);
}

/* ---- Lines and messages ---------------------------------------------------------------------------- */

static void fake_irq_set(struct gh_board *b, unsigned gsi, bool level)
{
    if (gsi >= FAKE_GSIS)
        die("no such line", "gsi above 255");
    pthread_mutex_lock(&b->lock);
    if (b->irq_level[gsi] != level) {
        b->irq_level[gsi] = level;
        b->irq_changes[gsi]++;
        b->irq_edges[gsi] += level;
    }
    pthread_mutex_unlock(&b->lock);
    if (b->irq_hook)
        b->irq_hook(b, gsi, level);
}

unsigned fake_irq_take(struct gh_board *b, unsigned gsi)
{
    pthread_mutex_lock(&b->lock);
    unsigned n = b->irq_edges[gsi];
    b->irq_edges[gsi] = 0;
    pthread_mutex_unlock(&b->lock);
    return n;
}

static void fake_msi_send(struct gh_board *b, uint64_t address, uint32_t data)
{
    pthread_mutex_lock(&b->lock);
    if (b->msi_count < FAKE_MSI_LOG)
        b->msi[b->msi_count] = (struct fake_msi){address, data};
    b->msi_count++;
    pthread_mutex_unlock(&b->lock);
}

/* ---- Time ------------------------------------------------------------------------------------------ */

static uint64_t fake_now_ns(struct gh_board *b) { return b->now_ns += b->now_drift_ns; }
static uint64_t fake_wall_ns(struct gh_board *b) { return b->wall_base_ns + b->now_ns; }

static void fake_timer_disarm(struct gh_board *b, struct gh_timer *t)
{
    if (!t->deadline_ns)
        return;
    if (t->prev)
        t->prev->next = t->next;
    else
        b->timers = t->next;
    if (t->next)
        t->next->prev = t->prev;
    t->prev = t->next = NULL;
    t->deadline_ns = 0;
}

static void fake_timer_arm(struct gh_board *b, struct gh_timer *t, uint64_t deadline_ns)
{
    struct gh_timer *prev = NULL, *next;

    fake_timer_disarm(b, t);
    for (next = b->timers; next && next->deadline_ns <= deadline_ns; next = next->next)
        prev = next;
    t->deadline_ns = deadline_ns;
    t->prev = prev;
    t->next = next;
    if (prev)
        prev->next = t;
    else
        b->timers = t;
    if (next)
        next->prev = t;
}

uint64_t fake_next_timer(const struct gh_board *b)
{
    return b->timers ? b->timers->deadline_ns : UINT64_MAX;
}

void fake_step_ns(struct gh_board *b, uint64_t ns)
{
    uint64_t end = b->now_ns + ns;
    unsigned same_instant = 0;

    fake_run_deferred(b);
    while (b->timers && b->timers->deadline_ns <= end) {
        struct gh_timer *t = b->timers;
        if (t->deadline_ns > b->now_ns) {
            b->now_ns = t->deadline_ns;
            same_instant = 0;
        } else if (++same_instant > 100000) {
            die("timers fire for ever without time passing", t->dev->id);
        }
        fake_timer_disarm(b, t);
        t->fn(t->dev, t);
        fake_run_deferred(b);
    }
    b->now_ns = end;
}

bool fake_step_to_timer(struct gh_board *b, uint64_t limit_ns)
{
    uint64_t next = fake_next_timer(b);

    if (next == UINT64_MAX || (next > b->now_ns && next - b->now_ns > limit_ns))
        return false;
    fake_step_ns(b, next > b->now_ns ? next - b->now_ns : 0);
    return true;
}

static void fake_defer(struct gh_board *b, struct gh_device *dev, void (*fn)(struct gh_device *, void *), void *arg)
{
    pthread_mutex_lock(&b->lock);
    if (b->deferred_count == FAKE_DEFERRED)
        die("too many deferred calls", dev->id);
    b->deferred[b->deferred_count++] = (struct fake_deferred){dev, fn, arg};
    pthread_mutex_unlock(&b->lock);
}

void fake_run_deferred(struct gh_board *b)
{
    for (unsigned n = 0; n < 100000; n++) {
        pthread_mutex_lock(&b->lock);
        if (!b->deferred_count) {
            pthread_mutex_unlock(&b->lock);
            return;
        }
        struct fake_deferred d = b->deferred[0];
        b->deferred_count--;
        memmove(b->deferred, b->deferred + 1, b->deferred_count * sizeof d);
        pthread_mutex_unlock(&b->lock);
        d.fn(d.dev, d.arg);
    }
    die("deferred calls defer for ever", "100000 calls at one instant");
}

/* ---- DMA, services, the rest ------------------------------------------------------------------------- */

static bool fake_dma_map(struct gh_board *b, uint64_t gpa, uint64_t bytes, bool write, struct gh_dma *ret)
{
    if (gpa >= FAKE_RAM_BYTES)
        return false;
    if (bytes > FAKE_RAM_BYTES - gpa)
        bytes = FAKE_RAM_BYTES - gpa;
    if (b->dma_chunk && bytes > b->dma_chunk - gpa % b->dma_chunk)
        bytes = b->dma_chunk - gpa % b->dma_chunk;
    *ret = (struct gh_dma){.host = b->ram + gpa, .gpa = gpa, .bytes = bytes, .write = write};
    b->dma_maps_open++;
    return true;
}

static void fake_dma_unmap(struct gh_board *b, struct gh_dma *map)
{
    if (!b->dma_maps_open)
        die("unmapped more often than mapped", "dma_unmap");
    b->dma_maps_open--;
    if (map->write)
        b->dma_written += map->bytes;
    map->host = NULL;
}

static void fake_request(struct gh_board *b, struct gh_device *dev, enum gh_request what, uint64_t arg,
                         const struct gh_error *why)
{
    b->requests[what]++;
    b->request_arg[what] = arg;
    if (why)
        b->request_why = *why;
}

void *fake_lookup_service(struct gh_board *b, const char *service)
{
    for (unsigned i = 0; i < b->service_count; i++)
        if (!strcmp(b->service[i].name, service))
            return b->service[i].object;
    return NULL;
}

void fake_provide(struct gh_board *b, const char *service, void *object)
{
    for (unsigned i = 0; i < b->service_count; i++) {
        if (!strcmp(b->service[i].name, service)) {
            b->service[i].object = object;
            return;
        }
    }
    if (b->service_count == GH_ARRAY_LEN(b->service))
        die("too many services", service);
    snprintf(b->service[b->service_count].name, sizeof b->service[0].name, "%s", service);
    b->service[b->service_count++].object = object;
}

static void fake_display_add(struct gh_board *b, struct gh_device *dev, const struct gh_display_ops *ops)
{
    if (b->display_count < GH_ARRAY_LEN(b->display)) {
        b->display[b->display_count].dev = dev;
        b->display[b->display_count++].ops = ops;
    }
}

static void fake_display_changed(struct gh_board *b, struct gh_device *dev) { b->display_hints++; }

static void fake_input_add(struct gh_board *b, struct gh_device *dev, unsigned kinds, const struct gh_input_ops *ops)
{
    if (b->input_count < GH_ARRAY_LEN(b->input)) {
        b->input[b->input_count].dev = dev;
        b->input[b->input_count].kinds = kinds;
        b->input[b->input_count++].ops = ops;
    }
}

const struct gh_input_ops *fake_input(struct gh_board *b, unsigned kind, struct gh_device **ret_dev)
{
    for (unsigned i = 0; i < b->input_count; i++) {
        if (b->input[i].kinds & kind) {
            if (ret_dev)
                *ret_dev = b->input[i].dev;
            return b->input[i].ops;
        }
    }
    return NULL;
}

const struct gh_display_ops *fake_display(struct gh_board *b, struct gh_device **ret_dev)
{
    if (!b->display_count)
        return NULL;
    if (ret_dev)
        *ret_dev = b->display[0].dev;
    return b->display[0].ops;
}

static struct gh_device *fake_find(struct gh_board *b, const char *id)
{
    for (unsigned i = 0; i < b->device_count; i++)
        if (b->attached[i] && !strcmp(b->device[i]->id, id))
            return b->device[i];
    return NULL;
}

static const struct gh_board_ops fake_ops = {
    .range_add = fake_range_add, .range_set = fake_range_set, .range_host = fake_range_host,
    .range_dirty = fake_range_dirty, .ram_alloc = fake_ram_alloc, .irq_set = fake_irq_set,
    .msi_send = fake_msi_send, .now_ns = fake_now_ns, .wall_ns = fake_wall_ns,
    .timer_arm = fake_timer_arm, .timer_disarm = fake_timer_disarm, .dma_map = fake_dma_map,
    .dma_unmap = fake_dma_unmap, .defer = fake_defer, .request = fake_request, .lookup = fake_lookup_service,
    .provide = fake_provide, .display_add = fake_display_add, .display_changed = fake_display_changed,
    .input_add = fake_input_add, .find = fake_find,
};

const struct gh_board_ops *fake_board_ops(void) { return &fake_ops; }

/* ---- Life ------------------------------------------------------------------------------------------ */

struct gh_board *fake_board_new(void)
{
    struct gh_board *b = calloc(1, sizeof *b);

    /* Mapped, not allocated: a test that makes many boards touches few pages of each. */
    void *ram = mmap(NULL, FAKE_RAM_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (!b || ram == MAP_FAILED)
        die("no memory", "board");
    b->ram = ram;
    b->now_ns = 1000000000;
    b->wall_base_ns = 1000000000000000000ull; /* 2001-09-09 */
    pthread_mutex_init(&b->lock, NULL);
    return b;
}

static int index_of(struct gh_device *dev)
{
    for (unsigned i = 0; i < dev->board->device_count; i++)
        if (dev->board->device[i] == dev)
            return (int)i;
    die("not a device of this board", dev->id);
    return -1;
}

static void drop_ranges(struct gh_board *b, struct gh_device *dev)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < b->range_count; i++) {
        if (b->range[i].dev == dev)
            free(b->range[i].dirty);
        else
            b->range[kept++] = b->range[i];
    }
    b->range_count = kept;
}

static void detach(struct gh_device *dev)
{
    struct gh_board *b = dev->board;

    if (dev->class->detach)
        dev->class->detach(dev);
    fake_run_deferred(b);
    drop_ranges(b, dev);
    for (struct gh_timer *t = b->timers; t; t = t->next)
        if (t->dev == dev)
            die("a timer is still armed after detach", dev->id);
    b->attached[index_of(dev)] = false;
}

void fake_board_free(struct gh_board *b)
{
    if (!b)
        return;
    fake_quiesce(b);
    for (unsigned i = b->device_count; i--;) {
        if (b->attached[i])
            detach(b->device[i]);
        free(b->device[i]->state);
        free(b->device[i]);
    }
    if (b->dma_maps_open)
        die("DMA maps are still open at the end", "board");
    for (unsigned i = 0; i < b->allocated_count; i++)
        free(b->allocated[i]);
    pthread_mutex_destroy(&b->lock);
    munmap(b->ram, FAKE_RAM_BYTES);
    free(b);
}

struct gh_device *fake_create(struct gh_board *b, const char *class_name, const char *id)
{
    const struct gh_device_class *class = gh_device_class_find(class_name);

    if (!class)
        die("no such class", class_name);
    return fake_create_class(b, class, id);
}

struct gh_device *fake_create_class(struct gh_board *b, const struct gh_device_class *class, const char *id)
{
    struct gh_error err = {0};

    if (b->device_count == FAKE_DEVICES)
        die("too many devices", id);
    struct gh_device *dev = calloc(1, sizeof *dev);
    void *state = calloc(1, class->state_size ? class->state_size : 1);
    if (!dev || !state)
        die("no memory", id);
    *dev = (struct gh_device){.class = class, .board = b, .ops = &fake_ops, .state = state};
    snprintf(dev->id, sizeof dev->id, "%s", id);
    b->device[b->device_count++] = dev;
    if (gh_option_defaults(class->options, state, &err) < 0)
        die("defaults", err.text);
    return dev;
}

int fake_set_options(struct gh_device *dev, const char *options, struct gh_error *err)
{
    char text[1024], *save = NULL;

    snprintf(text, sizeof text, "%s", options ? options : "");
    for (char *p = strtok_r(text, ",", &save); p; p = strtok_r(NULL, ",", &save)) {
        char *eq = strchr(p, '=');
        if (!eq)
            die("option without =", p);
        *eq = 0;
        int r = gh_option_set(dev->class->options, dev->state, p, eq + 1, err);
        if (r < 0)
            return r;
    }
    return 0;
}

void fake_set_backend(struct gh_device *dev, const char *option, void *backend)
{
    struct gh_error err = {0};

    if (gh_option_pointer(dev->class->options, dev->state, option, backend, &err) < 0)
        die("backend", err.text);
}

int fake_attach(struct gh_device *dev, struct gh_error *err)
{
    int r = dev->class->attach(dev, err);

    dev->board->attached[index_of(dev)] = true;
    if (r < 0) {
        detach(dev);
        return r;
    }
    if (dev->class->reset)
        dev->class->reset(dev, GH_RESET_COLD);
    return 0;
}

struct gh_device *fake_add(struct gh_board *b, const char *class_name, const char *id, const char *options)
{
    struct gh_error err = {0};
    struct gh_device *dev = fake_create(b, class_name, id);

    if (fake_set_options(dev, options, &err) < 0)
        die("options", err.text);
    if (fake_attach(dev, &err) < 0)
        die("attach", err.text);
    return dev;
}

struct quiet { struct gh_done done; bool is; };

static void quiet_done(struct gh_done *done) { ((struct quiet *)done->opaque)->is = true; }

void fake_quiesce(struct gh_board *b)
{
    for (unsigned i = 0; i < b->device_count; i++) {
        struct gh_device *dev = b->device[i];
        struct quiet q = {.done = {.fn = quiet_done, .opaque = &q}};

        if (!b->attached[i] || !dev->class->quiesce)
            continue;
        dev->class->quiesce(dev, &q.done);
        for (unsigned n = 0; !q.is; n++) {
            if (n > 100000)
                die("does not become quiet", dev->id);
            fake_step_ns(b, 10000);
        }
    }
}

void fake_reset(struct gh_board *b, enum gh_reset why)
{
    fake_quiesce(b);
    for (unsigned i = 0; i < b->device_count; i++)
        if (b->attached[i] && b->device[i]->class->reset)
            b->device[i]->class->reset(b->device[i], why);
}

/* ---- Saved state ------------------------------------------------------------------------------------- */

void fake_save(struct gh_board *b, struct gh_state_buffer *buf)
{
    fake_quiesce(b);
    for (unsigned i = 0; i < b->device_count; i++)
        if (b->attached[i] && gh_state_save_device(buf, b->device[i]) < 0)
            die("cannot be saved", b->device[i]->id);
}

int fake_load(struct gh_board *b, const void *data, size_t len, struct gh_error *err)
{
    struct gh_device *devices[FAKE_DEVICES];
    unsigned count = 0;

    for (unsigned i = 0; i < b->device_count; i++)
        if (b->attached[i])
            devices[count++] = b->device[i];
    return gh_state_load_devices(devices, count, data, len, NULL, NULL, err);
}
