/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The kvm accelerator against /dev/kvm with guests of a few instructions: some hosts emulate guest
 * kernels at less than a million instructions a second.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "check.h"
#include "engine/accel/accel.h"
#include "engine/accel/kvm/kvm_int.h"

#define GUEST(name) extern const uint8_t guest_##name##_start[], guest_##name##_end[]
GUEST(rom); GUEST(mmio); GUEST(irq); GUEST(timer); GUEST(dirty); GUEST(count); GUEST(spin); GUEST(triple); GUEST(split); GUEST(hyperv);
extern const uint8_t guest_irq_vector40[], guest_irq_vector41[], guest_irq_vector30[], guest_timer_vector40[],
    guest_split_vector30[], guest_split_vector31[];

enum { RAM = 2 << 20, CODE = 0x10000, TABLES = 0x20000, IDT = 0x30000, GDT = 0x31000, STACK = 0x40000 };
#define MMIO_BASE 0xe0000000ull

static const struct gh_accel_class *const kvm = &gh_accel_kvm;
static int kvm_fd;
static bool emulated;                  /* guest kernels, by the host: see the probe */

struct guest {
    struct gh_accel_env env;
    struct gh_cpu_model model;
    struct gh_accel_vm *vm;
    struct gh_vcpu *vcpu;
    uint8_t *ram, *rom;
    uint32_t reports[64];
    unsigned report_count;
    bool ended;
    struct { uint64_t gpa; bool write; unsigned width; uint64_t value; } mmio[32];
    unsigned mmio_count;
    int intack_vector;
    _Atomic unsigned reached;             /* reports so far, for other threads */
    unsigned exits[GH_EXIT_COUNT_];
    uint8_t eoi_vector;
    struct gh_error error;
};

static int on_intack(void *opaque, unsigned vcpu)
{
    struct guest *g = opaque;
    kvm->set_intr(g->vcpu, false);
    return g->intack_vector;
}

static uint8_t *memory(size_t bytes)
{
    uint8_t *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK_FATAL(p != MAP_FAILED);
    return p;
}

static void publish(struct guest *g, const struct gh_slot *slots, unsigned count)
{
    struct gh_flat_map map = { .generation = 1, .slot_count = count, .slots = slots };
    struct gh_error err = { 0 };
    if (kvm->publish(g->vm, &map, &err))
        fprintf(stderr, "%s\n", err.text);
    CHECK(!err.code);
}

static void start_with(struct guest *g, bool hyperv)
{
    struct gh_accel_config cfg = { .env = &g->env, .model = &g->model, .vcpu_count = 1, .ram_bytes = RAM, .hyperv = hyperv };
    struct gh_error err = { 0 };

    memset(g, 0, sizeof *g);
    g->env.opaque = g;
    g->env.intack = on_intack;
    g->ram = memory(RAM);
    if (kvm->vm_new(kvm_fd, &cfg, &g->vm, &err) || kvm->vcpu_new(g->vm, 0, &g->vcpu, &err)) {
        fprintf(stderr, "%s: %s\n", err.id, err.text);
        exit(1);
    }
    publish(g, &(struct gh_slot){ .size = RAM, .host = g->ram, .flags = GH_SLOT_WRITABLE, .id = 1 }, 1);
}

static void start(struct guest *g) { start_with(g, false); }

static void finish(struct guest *g)
{
    kvm->vcpu_free(g->vcpu);
    kvm->vm_free(g->vm);
    munmap(g->ram, RAM);
    if (g->rom)
        munmap(g->rom, 0x10000);
}

static void gate(struct guest *g, unsigned vector, uint64_t rip)
{
    uint8_t *d = g->ram + IDT + vector * 16;
    gh_le64_put(d, (rip & 0xffff) | 8u << 16 | 0x8e00ull << 32 | (rip >> 16 & 0xffff) << 48);
    gh_le64_put(d + 8, rip >> 32);
}

/* Identity-mapped first and last GiB, flat segments, an empty IDT. */
static void long_mode(struct guest *g, const uint8_t *code, const uint8_t *end)
{
    static struct gh_cpu_state s;
    struct gh_error err = { 0 };
    uint8_t *t = g->ram + TABLES;

    memcpy(g->ram + CODE, code, (size_t)(end - code));
    gh_le64_put(t, (TABLES + 0x1000) | 3);
    gh_le64_put(t + 0x1000, (TABLES + 0x2000) | 3);
    gh_le64_put(t + 0x1000 + 3 * 8, (TABLES + 0x3000) | 3);
    for (unsigned i = 0; i < 512; i++) {
        gh_le64_put(t + 0x2000 + i * 8, (uint64_t)i << 21 | 0x83);
        gh_le64_put(t + 0x3000 + i * 8, (0xc0000000ull + ((uint64_t)i << 21)) | 0x83);
    }
    gh_le64_put(g->ram + GDT + 8, 0x00af9b000000ffffull);
    gh_le64_put(g->ram + GDT + 16, 0x00cf93000000ffffull);
    CHECK_EQ(kvm->get_state(g->vcpu, GH_CPU_ALL, &s, &err), 0);
    for (unsigned i = GH_ES; i <= GH_GS; i++)
        s.seg[i] = (struct gh_segment){ .limit = 0xffffffff, .selector = 16,
                                        .attr = 3 | GH_SEG_S | GH_SEG_P | GH_SEG_DB | GH_SEG_G };
    s.seg[GH_CS] = (struct gh_segment){ .limit = 0xffffffff, .selector = 8,
                                        .attr = 11 | GH_SEG_S | GH_SEG_P | GH_SEG_L | GH_SEG_G };
    s.gdt = (struct gh_table){ GDT, 0xff };
    s.idt = (struct gh_table){ IDT, 0xfff };
    s.cr3 = TABLES;
    s.cr4 = 0x620;                        /* PAE, SSE */
    s.cr0 = 0x80000033;
    s.efer = 0x500;
    memset(s.gpr, 0, sizeof s.gpr);
    s.gpr[GH_RSP] = STACK;
    s.gpr[GH_RDI] = MMIO_BASE;
    s.gpr[GH_RSI] = 0x100000;
    s.rip = CODE;
    s.rflags = 2;
    CHECK_EQ(kvm->set_state(g->vcpu, GH_CPU_SREGS | GH_CPU_REGS, &s, &err), 0);
}

static void on_pio(struct guest *g, struct gh_exit *e)
{
    if (e->pio.port == 0x501) {
        g->ended = true;
        return;
    }
    for (unsigned i = 0; i < e->pio.count; i++) {
        uint8_t *p = (uint8_t *)e->pio.data + i * e->pio.width;
        if (!e->pio.write) {
            gh_le16_put(p, 0x1234);
            continue;
        }
        uint32_t v = 0;
        memcpy(&v, p, e->pio.width);
        if (g->report_count < 64)
            g->reports[g->report_count++] = v;
        atomic_fetch_add(&g->reached, 1);
    }
}

static void on_mmio(struct guest *g, struct gh_exit *e)
{
    if (g->mmio_count < 32) {
        g->mmio[g->mmio_count].gpa = e->mmio.gpa;
        g->mmio[g->mmio_count].write = e->mmio.write;
        g->mmio[g->mmio_count].width = e->mmio.width;
        memcpy(&g->mmio[g->mmio_count++].value, e->mmio.data, 8);
    }
    if (!e->mmio.write)
        gh_le64_put(e->mmio.reply, 0x0123456789abcdefull >> (e->mmio.gpa & 7) * 8);
}

/* Until END, an exit of that reason, or too many exits. */
static enum gh_exit_reason run_until(struct guest *g, enum gh_exit_reason stop, unsigned reports)
{
    for (unsigned i = 0; i < 200; i++) {
        struct gh_exit e = { 0 };
        kvm->run(g->vcpu, &e);
        g->exits[e.reason]++;
        if (e.reason == GH_EXIT_PIO)
            on_pio(g, &e);
        if (e.reason == GH_EXIT_MMIO)
            on_mmio(g, &e);
        if (e.reason == GH_EXIT_IOAPIC_EOI)
            g->eoi_vector = e.eoi.vector;
        if (e.reason == GH_EXIT_ERROR) {
            fprintf(stderr, "%s\n", e.error.text);
            g->error = e.error;
            return e.reason;
        }
        if (e.reason == stop || g->ended || (reports && g->report_count >= reports))
            return e.reason;
    }
    CHECK(!"too many exits");
    return GH_EXIT_COUNT_;
}

static void real_mode(void)
{
    struct guest g;

    start(&g);
    g.rom = memory(0x10000);
    memcpy(g.rom, guest_rom_start, (size_t)(guest_rom_end - guest_rom_start));
    struct gh_slot slots[] = {
        { .size = RAM, .host = g.ram, .flags = GH_SLOT_WRITABLE, .id = 1 },
        { .gpa = 0xffff0000, .size = 0x10000, .host = g.rom, .id = 2 },
    };
    publish(&g, slots, 2);
    kvm->reset(g.vcpu);
    CHECK_EQ(run_until(&g, GH_EXIT_ERROR, 0), GH_EXIT_PIO);
    CHECK(g.ended);
    static const uint32_t expected[] = { 0x41, 0x1235, 'h', 'a', 'l', 'l', 'o', 0x00ba };
    CHECK_EQ(g.report_count, 8);
    for (unsigned i = 0; i < 8; i++)
        CHECK_EQ(g.reports[i], i < 7 ? expected[i] : (uint32_t)(guest_rom_start[0] | guest_rom_start[1] << 8));
    CHECK_EQ(g.mmio_count, 1);
    CHECK_EQ(g.mmio[0].gpa, 0xffff0010);
    CHECK(g.mmio[0].write);
    CHECK_EQ(g.mmio[0].width, 2);
    CHECK_EQ(g.mmio[0].value & 0xffff, 0x5aa5);
    CHECK_EQ(g.rom[0x10], guest_rom_start[0x10]);
    finish(&g);
}

static void mmio(void)
{
    struct guest g;

    start(&g);
    long_mode(&g, guest_mmio_start, guest_mmio_end);
    run_until(&g, GH_EXIT_ERROR, 0);
    CHECK(g.ended);
    CHECK_EQ(g.mmio_count, 4);
    CHECK_EQ(g.mmio[0].gpa, MMIO_BASE + 8);
    CHECK_EQ(g.mmio[0].width, 8);
    CHECK_EQ(g.mmio[0].value, 0x1122334455667788ull);
    CHECK_EQ(g.mmio[1].gpa, MMIO_BASE + 4);
    CHECK_EQ(g.mmio[1].width, 4);
    CHECK_EQ(g.mmio[1].value & 0xffffffff, 0xcafe);
    CHECK_EQ(g.mmio[2].width, 1);
    CHECK_EQ(g.mmio[2].value & 0xff, 0x7f);
    CHECK(!g.mmio[3].write);
    CHECK_EQ(g.mmio[3].gpa, MMIO_BASE + 16);
    CHECK_EQ(g.reports[0], 0x89abcdefu);
    CHECK_EQ(g.reports[1], 0x01234567u);
    finish(&g);
}

struct sender { struct guest *g; void (*fn)(struct guest *g); unsigned after; };
static void *sender_main(void *opaque)
{
    struct sender *s = opaque;
    while (atomic_load(&s->g->reached) < s->after)
        usleep(500);
    usleep(5000);                         /* let it reach HLT */
    s->fn(s->g);
    return NULL;
}
static void with_sender(struct guest *g, void (*fn)(struct guest *), unsigned after,
                        enum gh_exit_reason stop, unsigned reports)
{
    struct sender s = { g, fn, after };
    pthread_t t;
    CHECK_FATAL(pthread_create(&t, NULL, sender_main, &s) == 0);
    run_until(g, stop, reports);
    pthread_join(t, NULL);
}
static void send_edge(struct guest *g) { CHECK_EQ(kvm->msi(g->vm, 0xfee00000, 0x40), 0); }
static void send_level(struct guest *g) { CHECK_EQ(kvm->msi(g->vm, 0xfee00000, 0xc041), 0); }
static void raise_intr(struct guest *g) { kvm->set_intr(g->vcpu, true); }
static void send_kick(struct guest *g) { kvm->kick(g->vcpu); }

static void interrupts(void)
{
    struct guest g;

    start(&g);
    long_mode(&g, guest_irq_start, guest_irq_end);
    gate(&g, 0x40, CODE + (uint64_t)(guest_irq_vector40 - guest_irq_start));
    gate(&g, 0x41, CODE + (uint64_t)(guest_irq_vector41 - guest_irq_start));
    gate(&g, 0x30, CODE + (uint64_t)(guest_irq_vector30 - guest_irq_start));
    g.intack_vector = 0x30;
    CHECK_EQ(kvm->ioapic_route(g.vm, 5, 0xfee00000, 0xc041, false), 0);
    CHECK_EQ(kvm->ioapic_route(g.vm, 4, 0xfee00000, 0x0040, false), 0);
    CHECK_EQ(kvm->ioapic_route(g.vm, 100000, 0, 0, false), -EINVAL);

    run_until(&g, GH_EXIT_ERROR, 1);
    CHECK_EQ(g.reports[0], 0x100);
    with_sender(&g, send_edge, 1, GH_EXIT_ERROR, 2);
    CHECK_EQ(g.reports[1], 0x40);
    CHECK_EQ(g.exits[GH_EXIT_IOAPIC_EOI], 0);
    with_sender(&g, send_level, 2, GH_EXIT_IOAPIC_EOI, 0);
    CHECK_EQ(g.report_count, 3);
    CHECK_EQ(g.reports[2], 0x41);
    CHECK_EQ(g.eoi_vector, 0x41);
    CHECK_EQ(kvm->ioapic_route(g.vm, 5, 0, 0, true), 0);
    with_sender(&g, raise_intr, 3, GH_EXIT_ERROR, 4);
    CHECK_EQ(g.reports[3], 0x30);
    with_sender(&g, raise_intr, 4, GH_EXIT_ERROR, 5);
    CHECK_EQ(g.reports[4], 0x30);
    with_sender(&g, send_kick, 5, GH_EXIT_KICKED, 0); /* out of HLT in the kernel */
    CHECK_EQ(g.report_count, 5);

    /* A kick while nobody runs is not lost. */
    kvm->kick(g.vcpu);
    struct gh_exit e = { 0 };
    kvm->run(g.vcpu, &e);
    CHECK_EQ(e.reason, GH_EXIT_KICKED);

    /* An eventfd bound to a pin arrives without this process. */
    int fd = eventfd(0, EFD_CLOEXEC);
    uint64_t one = 1;
    CHECK_EQ(kvm->irqfd(g.vm, fd, 4, true), 0);
    CHECK_EQ(write(fd, &one, 8), 8);
    run_until(&g, GH_EXIT_ERROR, 6);
    CHECK_EQ(g.reports[5], 0x40);
    CHECK_EQ(kvm->irqfd(g.vm, fd, 4, false), 0);
    close(fd);
    finish(&g);
}

/* Interrupts of both kinds at any moment of the guest's halt loop, kicks and a jittering INTR line beside
 * them: each must arrive. A lost one hangs, and the alarm ends the test. */
enum { STORM = 600 };
struct storm { struct guest *g; _Atomic bool done; };

static void *storm_sender(void *opaque)
{
    struct storm *s = opaque;
    unsigned seed = 12345;

    for (unsigned i = 1; i <= STORM; i++) {
        while (atomic_load(&s->g->reached) < i)
            sched_yield();
        seed = seed * 1103515245 + 12345;
        for (volatile unsigned spin = seed >> 16 & 0x3fff; spin; spin--)
            ;
        if (i % 3)
            raise_intr(s->g);
        else
            send_edge(s->g);
    }
    return NULL;
}
static void *storm_kicker(void *opaque)
{
    struct storm *s = opaque;

    while (!atomic_load(&s->done)) {
        kvm->kick(s->g->vcpu);
        usleep(300);
    }
    return NULL;
}

static void storm(void)
{
    struct guest g;
    pthread_t a, b;

    start(&g);
    long_mode(&g, guest_irq_start, guest_irq_end);
    gate(&g, 0x40, CODE + (uint64_t)(guest_irq_vector40 - guest_irq_start));
    gate(&g, 0x30, CODE + (uint64_t)(guest_irq_vector30 - guest_irq_start));
    g.intack_vector = 0x30;
    struct storm s = { .g = &g };
    CHECK_FATAL(pthread_create(&a, NULL, storm_sender, &s) == 0 && pthread_create(&b, NULL, storm_kicker, &s) == 0);
    for (unsigned exits = 0; atomic_load(&g.reached) <= STORM && exits < 400000; exits++) {
        struct gh_exit e = { 0 };
        kvm->run(g.vcpu, &e);
        g.exits[e.reason]++;
        g.report_count = 0;
        if (e.reason == GH_EXIT_PIO)
            on_pio(&g, &e);
    }
    atomic_store(&s.done, true);
    CHECK_EQ(atomic_load(&g.reached), STORM + 1);
    CHECK(g.exits[GH_EXIT_KICKED] > 0);
    pthread_join(a, NULL);
    pthread_join(b, NULL);
    finish(&g);
}

static void timer(void)
{
    struct guest g;

    start(&g);
    long_mode(&g, guest_timer_start, guest_timer_end);
    gate(&g, 0x40, CODE + (uint64_t)(guest_timer_vector40 - guest_timer_start));
    run_until(&g, GH_EXIT_ERROR, 0);
    CHECK(g.ended);
    finish(&g);
}

static unsigned bits(const uint64_t *map, unsigned words)
{
    unsigned n = 0;
    for (unsigned i = 0; i < words; i++)
        n += (unsigned)__builtin_popcountll(map[i]);
    return n;
}

static void dirty(void)
{
    struct guest g;
    uint64_t map[4] = { 0 };

    start(&g);
    long_mode(&g, guest_dirty_start, guest_dirty_end);
    /* 16 pages at 1 MiB are a piece of their own, in two slots, as a range split by another is. */
    struct gh_slot slots[] = {
        { .size = 0x100000, .host = g.ram, .flags = GH_SLOT_WRITABLE, .id = 1 },
        { .gpa = 0x100000, .size = 0x4000, .host = g.ram + 0x100000, .flags = GH_SLOT_WRITABLE | GH_SLOT_DIRTY, .id = 7 },
        { .gpa = 0x104000, .size = 0xc000, .host = g.ram + 0x104000, .flags = GH_SLOT_WRITABLE | GH_SLOT_DIRTY, .id = 7,
          .offset = 0x4000 },
    };
    publish(&g, slots, 3);
    run_until(&g, GH_EXIT_ERROR, 0);
    CHECK(g.ended);
    CHECK_EQ(kvm->dirty_harvest(g.vm, 7, map, 16), 0);
    CHECK_EQ(map[0], 1u << 0 | 1u << 2 | 1u << 5);
    memset(map, 0, sizeof map);
    CHECK_EQ(kvm->dirty_harvest(g.vm, 7, map, 16), 0);
    CHECK_EQ(bits(map, 4), 0);            /* harvesting clears */
    g.ended = false;
    run_until(&g, GH_EXIT_ERROR, 0);
    CHECK_EQ(kvm->dirty_harvest(g.vm, 7, map, 2), 0);
    CHECK_EQ(map[0], 1);                  /* the caller's size bounds it */
    /* A piece that left the map in between counts as all dirty once. */
    publish(&g, slots, 1);
    publish(&g, slots, 3);
    memset(map, 0, sizeof map);
    CHECK_EQ(kvm->dirty_harvest(g.vm, 7, map, 16), 0);
    CHECK_EQ(map[0], 0xffff);

    /* Overlapping pieces are refused with a sentence. */
    struct gh_error err = { 0 };
    slots[2].gpa = 0x102000;
    struct gh_flat_map bad = { .slot_count = 3, .slots = slots };
    CHECK(kvm->publish(g.vm, &bad, &err) < 0);
    CHECK(err.text[0] && err.id[0]);
    finish(&g);
}

static void state(void)
{
    struct guest g, h;
    static struct gh_cpu_state a, b, c;
    struct gh_error err = { 0 };

    start(&g);
    long_mode(&g, guest_count_start, guest_count_end);
    run_until(&g, GH_EXIT_ERROR, 5);
    kvm->kick(g.vcpu);
    struct gh_exit e = { 0 };
    kvm->run(g.vcpu, &e);                 /* completes the OUT */
    CHECK_EQ(e.reason, GH_EXIT_KICKED);
    memset(&a, 0, sizeof a);
    CHECK_EQ(kvm->get_state(g.vcpu, GH_CPU_ALL, &a, &err), 0);
    CHECK_EQ(a.gpr[GH_RCX], 5);
    CHECK(a.msr_count > 5);
    gh_le64_put(a.xsave + 160 + 16, 0x1122334455667788ull); /* XMM1 */
    a.xsave[512] |= 2;                    /* XSTATE_BV: SSE is not in its initial state */
    a.dr[0] = 0x1000;

    start(&h);
    memcpy(h.ram, g.ram, RAM);
    finish(&g);
    CHECK_EQ(kvm->set_state(h.vcpu, GH_CPU_ALL, &a, &err), 0);
    memset(&b, 0, sizeof b);
    CHECK_EQ(kvm->get_state(h.vcpu, GH_CPU_ALL, &b, &err), 0);
    CHECK(!memcmp(a.gpr, b.gpr, sizeof a.gpr));
    CHECK_EQ(a.rip, b.rip);
    CHECK(!memcmp(a.seg, b.seg, sizeof a.seg));
    CHECK_EQ(a.cr0, b.cr0);
    CHECK_EQ(a.cr4, b.cr4);
    CHECK_EQ(a.efer, b.efer);
    CHECK_EQ(b.dr[0], 0x1000);
    CHECK_EQ(gh_le64_get(b.xsave + 160 + 16), 0x1122334455667788ull);
    CHECK(!memcmp(a.lapic, b.lapic, sizeof a.lapic));
    CHECK_EQ(a.msr_count, b.msr_count);
    for (unsigned i = 0; i < a.msr_count && i < b.msr_count; i++) {
        CHECK_EQ(a.msr[i].index, b.msr[i].index);
        if (a.msr[i].index != 0x10 && a.msr[i].index != 0x3b) /* the TSC runs on */
            CHECK_EQ(a.msr[i].value, b.msr[i].value);
    }
    run_until(&h, GH_EXIT_ERROR, 3);
    CHECK_EQ(h.reports[0], 6);
    CHECK_EQ(h.reports[2], 8);

    /* Reset is the power-on state, whatever happened before. */
    kvm->reset(h.vcpu);
    CHECK_EQ(kvm->get_state(h.vcpu, GH_CPU_ALL, &c, &err), 0);
    CHECK_EQ(c.rip, 0xfff0);
    CHECK_EQ(c.seg[GH_CS].base, 0xffff0000);
    CHECK_EQ(c.efer, 0);
    CHECK_EQ(c.cr0 & 0x80000001, 0);
    CHECK_EQ(c.run_state, GH_RUN_RUNNABLE);
    finish(&h);
}

/* A page of the machine's memory that the host cannot give; code where no memory is. */
static void failures(void)
{
    static const uint8_t jump_into_mmio[] = { 0xff, 0xe7 }; /* jmp *%rdi */
    struct guest g;

    start(&g);
    long_mode(&g, guest_spin_start, guest_spin_end);
    CHECK_EQ(mprotect(g.ram, RAM, PROT_NONE), 0);
    /* A kernel that walks the guest's page tables by itself finds none there: the guest's fault, a triple one. */
    if (run_until(&g, GH_EXIT_SHUTDOWN, 0) != GH_EXIT_SHUTDOWN || !emulated)
        CHECK_STR(g.error.id, "KvmMemoryFault");
    finish(&g);
    start(&g);
    long_mode(&g, jump_into_mmio, jump_into_mmio + sizeof jump_into_mmio);
    CHECK_EQ(run_until(&g, GH_EXIT_ERROR, 0), GH_EXIT_ERROR);
    CHECK_STR(g.error.id, "KvmInternalError");
    CHECK(strstr(g.error.text, "0xe0000000"));
    finish(&g);
}

/* A map that the kernel refuses is an error, and the next one is right again. */
static void refused_map(void)
{
    struct guest g;
    struct gh_error err = { 0 };

    start(&g);
    const struct gh_slot bad[] = { { .size = RAM, .host = g.ram, .flags = GH_SLOT_WRITABLE, .id = 1 },
                                   { .gpa = RAM, .size = 0x1000, .host = g.ram + 1, .flags = GH_SLOT_WRITABLE, .id = 2 } };
    CHECK(kvm->publish(g.vm, &(struct gh_flat_map){ .slot_count = 2, .slots = bad }, &err) < 0);
    CHECK_STR(err.id, "KvmFailed");
    gh_error_clear(&err);
    publish(&g, &(struct gh_slot){ .gpa = RAM, .size = 0x1000, .host = g.ram, .flags = GH_SLOT_WRITABLE, .id = 2 }, 1);
    publish(&g, &(struct gh_slot){ .size = RAM, .host = g.ram, .flags = GH_SLOT_WRITABLE, .id = 1 }, 1);
    long_mode(&g, guest_count_start, guest_count_end);
    run_until(&g, GH_EXIT_ERROR, 3);
    CHECK_EQ(g.report_count, 3);
    CHECK_EQ(g.reports[2], 3);
    finish(&g);
}

static uint64_t nanoseconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static uint64_t kernels_clock(const struct guest *g)
{
    struct kvm_clock_data clock = { 0 };

    CHECK_EQ(ioctl(g->vm->vm_fd, KVM_GET_CLOCK, &clock), 0);
    return clock.clock;
}

static uint64_t msr_of(const struct gh_cpu_state *s, uint32_t index)
{
    for (unsigned i = 0; i < s->msr_count; i++)
        if (s->msr[i].index == index)
            return s->msr[i].value;
    return 0;
}

/* The guest's time does not pass in a pause; an eighth of it is left to the clocks' differences. */
static void pause_stops_time(void)
{
    static struct gh_cpu_state s;
    struct guest g;
    struct gh_error err = { 0 };

    start(&g);
    struct kvm_device_attr offset = { .group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET };
    bool tsc = ioctl(g.vcpu->fd, KVM_HAS_DEVICE_ATTR, &offset) == 0;
    bool deadline = ioctl(kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0;
    CHECK_EQ(kvm->get_state(g.vcpu, GH_CPU_ALL, &s, &err), 0);
    uint64_t far = msr_of(&s, 0x10) + (1ull << 42);
    gh_le32_put(s.lapic + 0xf0, 0x1ff);
    gh_le32_put(s.lapic + 0x320, 2u << 17 | 0x40);
    for (unsigned i = 0; i < s.msr_count; i++)
        if (s.msr[i].index == 0x6e0)
            s.msr[i].value = far;
    CHECK_EQ(kvm->set_state(g.vcpu, GH_CPU_LAPIC | GH_CPU_MSRS, &s, &err), 0);

    uint64_t begin = nanoseconds(), clock = kernels_clock(&g);
    CHECK_EQ(kvm->get_state(g.vcpu, GH_CPU_MSRS, &s, &err), 0);
    uint64_t ticks = msr_of(&s, 0x10);
    kvm->paused(g.vm);
    uint64_t stands = nanoseconds();
    nanosleep(&(struct timespec){ .tv_nsec = 400000000 }, NULL);
    uint64_t stood = nanoseconds() - stands;
    kvm->resumed(g.vm);
    CHECK_EQ(kvm->get_state(g.vcpu, GH_CPU_MSRS, &s, &err), 0);
    clock = kernels_clock(&g) - clock;
    ticks = msr_of(&s, 0x10) - ticks;
    uint64_t ran = nanoseconds() - begin - stood;
    CHECK(clock <= ran + stood / 8);
    if (tsc && !emulated)              /* else the guest sees the processor's own, whatever offset was set */
        CHECK(ticks / (g.vm->tsc_hz / 1000) <= (ran + stood / 8) / 1000000);
    else
        printf("this kernel cannot hold the TSC\n");
    if (deadline)
        CHECK_EQ(msr_of(&s, 0x6e0), far);
    kvm->resumed(g.vm);                /* without a pause: nothing */
    CHECK(kernels_clock(&g) >= clock);
    finish(&g);
}

static void endings(void)
{
    struct guest g;

    start(&g);
    long_mode(&g, guest_spin_start, guest_spin_end);
    with_sender(&g, send_kick, 0, GH_EXIT_KICKED, 0);
    CHECK_EQ(g.exits[GH_EXIT_KICKED], 1);
    finish(&g);
    start(&g);
    long_mode(&g, guest_triple_start, guest_triple_end);
    CHECK_EQ(run_until(&g, GH_EXIT_SHUTDOWN, 0), GH_EXIT_SHUTDOWN);
    finish(&g);
}

static const struct kvm_cpuid_entry2 *leaf(const struct kvm_cpuid2 *c, uint32_t function, uint32_t index)
{
    for (unsigned i = 0; i < c->nent; i++)
        if (c->entries[i].function == function && c->entries[i].index == index)
            return &c->entries[i];
    return NULL;
}

static void cpuid(void)
{
    const size_t bytes = sizeof(struct kvm_cpuid2) + KVM_CPUID_MAX * sizeof(struct kvm_cpuid_entry2);
    struct kvm_cpuid2 *host = calloc(1, bytes), *named = calloc(1, bytes);
    struct gh_cpu_model any = { .name = "host" };
    struct gh_cpu_model small = { .name = "small", .leaf_count = 1,
                                  .leaf = { { .leaf = 1, .ecx = 1u << 0 | 1u << 5, .edx = 1u << 15 | 1u << 0 } } };
    struct gh_error err = { 0 };

    CHECK_FATAL(host && named);
    CHECK_EQ(kvm_cpuid_build(kvm_fd, &any, 2, 3, 2500000000, false, host, &err), 0);
    CHECK_EQ(kvm_cpuid_build(kvm_fd, &small, 0, 1, 2500000000, false, named, &err), 0);
    const struct kvm_cpuid_entry2 *one = leaf(host, 1, 0), *sig = leaf(host, 0x40000000, 0);
    CHECK_FATAL(one && sig);
    CHECK_EQ(one->ebx >> 24, 2);
    CHECK_EQ(one->ebx >> 16 & 0xff, 3);
    CHECK(one->edx & 1u << 28);
    CHECK(one->ecx & 1u << 31);
    CHECK(!(one->ecx & 1u << 5));
    CHECK(!memcmp(&sig->ebx, "KVMKVMKVM\0\0", 12));
    CHECK_EQ(leaf(host, 0x40000010, 0)->eax, 2500000);
    CHECK_EQ(leaf(host, 0xb, 1)->ebx, 3);
    CHECK_EQ(leaf(host, 0xb, 1)->eax, 2);
    CHECK_EQ(leaf(host, 0xb, 0)->edx, 2);
    CHECK(!leaf(host, 0xa, 0));
    one = leaf(named, 1, 0);
    CHECK_EQ(one->edx, 1u << 15 | 1u << 0);
    CHECK_EQ(one->ecx & ~(1u << 31 | 1u << 24 | 1u << 21), leaf(host, 1, 0)->ecx & 1);
    CHECK(!leaf(named, 0xd, 0));       /* no XSAVE, no state components */
    if (leaf(named, 7, 0))
        CHECK_EQ(leaf(named, 7, 0)->ebx, 0);
    CHECK_EQ(kvm_cpuid_build(kvm_fd, &any, 1, 2, 2500000000, true, host, &err), 0);
    CHECK(!memcmp(&leaf(host, 0x40000000, 0)->ebx, "Microsoft Hv", 12));
    CHECK_EQ(leaf(host, 0x40000000, 0)->eax, 0x40000005);
    CHECK(!memcmp(&leaf(host, 0x40000001, 0)->eax, "Hv#1", 4));
    CHECK(leaf(host, 0x40000003, 0)->eax & 1u << 9);
    CHECK(leaf(host, 0x40000004, 0)->eax & 1u << 5);
    CHECK(!leaf(host, 0x40000010, 0));
    CHECK(!memcmp(&leaf(host, 0x40000100, 0)->ebx, "KVMKVMKVM\0\0", 12));
    CHECK_EQ(leaf(host, 0x40000100, 0)->eax, 0x40000101);
    CHECK(leaf(host, 0x40000101, 0)->eax != 0);
    free(host);
    free(named);
}

/* A write that crosses a page is two accesses; the 8259 raises its line at each. Both vectors must arrive. */
static struct { unsigned raised, given; } line;

static int on_line_intack(void *opaque, unsigned vcpu)
{
    struct guest *g = opaque;
    int vector = line.given < line.raised ? (int)(0x30 + line.given++) : -1;

    kvm->set_intr(g->vcpu, line.given < line.raised);
    return vector;
}

static void split_access(void)
{
    struct guest g;

    start(&g);
    g.env.intack = on_line_intack;
    line.raised = line.given = 0;
    long_mode(&g, guest_split_start, guest_split_end);
    gate(&g, 0x30, CODE + (uint64_t)(guest_split_vector30 - guest_split_start));
    gate(&g, 0x31, CODE + (uint64_t)(guest_split_vector31 - guest_split_start));
    for (unsigned i = 0; i < 200 && !g.ended; i++) {
        struct gh_exit e = { 0 };
        kvm->run(g.vcpu, &e);
        CHECK_FATAL(e.reason != GH_EXIT_ERROR);
        if (e.reason == GH_EXIT_PIO)
            on_pio(&g, &e);
        if (e.reason == GH_EXIT_MMIO && e.mmio.gpa >= MMIO_BASE && e.mmio.gpa < MMIO_BASE + 0x2000) {
            on_mmio(&g, &e);
            line.raised++;
            kvm->set_intr(g.vcpu, true);
        }
    }
    CHECK(g.ended);
    CHECK_EQ(g.mmio_count, 2);
    CHECK_EQ(g.mmio[1].gpa, MMIO_BASE + 0x1000);
    CHECK_EQ(line.given, 2);
    CHECK_EQ(g.report_count, 2);
    CHECK_EQ(g.reports[0] + g.reports[1], 0x61);
    finish(&g);
}

/* What Windows would use: identity, hypercall page, reference clock and rates; and a reset that takes them away. */
static void hyperv(void)
{
    static struct gh_cpu_state s;
    struct guest g;
    struct gh_error err = { 0 };

    if (!kvm_hyperv_offered(kvm_fd)) {
        printf("this kernel does not offer Hyper-V's interfaces\n");
        return;
    }
    start_with(&g, true);
    long_mode(&g, guest_hyperv_start, guest_hyperv_end);
    run_until(&g, GH_EXIT_ERROR, 0);
    CHECK(g.ended);
    CHECK_EQ(g.report_count, 5);
    CHECK_EQ(g.reports[0], 3);                      /* the hypercall page's answer to an unknown call */
    CHECK_EQ(g.reports[1], 1);                      /* the reference counter runs */
    CHECK(g.reports[2] != 0);                       /* the TSC's rate */
    CHECK(g.reports[3] >= 1000000);                 /* the APIC's */
    CHECK_EQ(g.reports[4], 0);                      /* this processor's index */
    /* The reference TSC page: sequence 0 says that the counter must be asked, and then there is no scale. */
    CHECK_EQ(gh_le32_get(g.ram + 0x101000) != 0, gh_le64_get(g.ram + 0x101008) != 0);
    kvm->reset(g.vcpu);
    CHECK_EQ(kvm->get_state(g.vcpu, GH_CPU_MSRS, &s, &err), 0);
    unsigned seen = 0;
    for (unsigned i = 0; i < s.msr_count; i++)
        if (kvm_hyperv_msr(s.msr[i].index)) {
            seen++;
            /* The hypercall page's place stays, without its enable bit: nobody has said who asks. */
            CHECK_EQ(s.msr[i].index == 0x40000001 ? s.msr[i].value & 1 : s.msr[i].value, 0);
        }
    CHECK(seen >= 3);
    finish(&g);
}

static void refusals(void)
{
    struct gh_accel_vm *vm = NULL;
    struct gh_accel_caps caps;
    struct gh_accel_config cfg = { .vcpu_count = 65 };
    struct gh_error err = { 0 };
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    CHECK(kvm->vm_new(kvm_fd, &cfg, &vm, &err) < 0 && !vm);
    CHECK_STR(err.id, "TooManyVcpus");
    CHECK_STR(err.option, "vcpus");
    gh_error_clear(&err);
    CHECK(kvm->probe(null, &caps, &err) < 0);
    CHECK_STR(err.id, "KvmFailed");
    gh_error_clear(&err);
    CHECK_EQ(kvm_fail(&err, EACCES, "x"), -EACCES);
    CHECK_STR(err.id, "KvmNoPermission");
    CHECK(strstr(err.text, "group kvm"));
    gh_error_clear(&err);
    kvm_fail(&err, EBUSY, "x");
    CHECK_STR(err.id, "KvmBusy");
    close(null);
    kvm->vcpu_free(NULL);
    kvm->vm_free(NULL);
}

int main(void)
{
    struct gh_accel_caps caps;
    struct gh_error err = { 0 };

    kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (kvm_fd < 0)
        CHECK_SKIP("/dev/kvm: %s", strerror(errno));
    alarm(240);
    CHECK_EQ(kvm->probe(kvm_fd, &caps, &err), 0);
    if (err.code)
        CHECK_SKIP("%s", err.text);
    printf("%s\n", caps.detail);
    CHECK(caps.ring0_mips > 0.01);
    emulated = caps.ring0_mips < 50;
    CHECK(caps.max_vcpus >= 1);
    real_mode();
    mmio();
    interrupts();
    storm();
    timer();
    dirty();
    state();
    split_access();
    hyperv();
    endings();
    failures();
    refused_map();
    pause_stops_time();
    cpuid();
    refusals();
    return check_result();
}
