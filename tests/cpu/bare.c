/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bare.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define LOAD_AT 0x7c00

struct bare {
    struct bare_result *result;
    struct gh_accel_vm *vm;
    struct gh_vcpu *vcpu[16];
    unsigned vcpus, timeout_s;
    _Atomic bool done;
    uint64_t mmio_word;
    uint8_t *ram;
    uint32_t dma_at;                     /* of one vCPU at a time */
    bool restless;
    _Atomic unsigned moves;
    size_t console_used;
    pthread_mutex_t lock;
    pthread_cond_t cond;
};
struct bare_thread { struct bare *b; unsigned index; pthread_t thread; };

static void finish(struct bare *b)
{
    atomic_store(&b->done, true);
    pthread_mutex_lock(&b->lock);
    pthread_cond_broadcast(&b->cond);
    pthread_mutex_unlock(&b->lock);
    for (unsigned i = 0; i < b->vcpus; i++)
        if (b->vcpu[i])
            gh_accel_soft.kick(b->vcpu[i]);
}

static void pio(void *opaque, unsigned vcpu, uint16_t port, bool write, unsigned width, unsigned count, void *data)
{
    struct bare *b = opaque;

    if (!write) {
        memset(data, 0xff, (size_t)width * count);
        return;
    }
    for (unsigned i = 0; i < count; i++) {
        uint32_t v = 0;
        memcpy(&v, (uint8_t *)data + i * width, width);
        if (port == 0xe9 && b->console_used + 1 < sizeof b->result->console) {
            b->result->console[b->console_used++] = (char)v;
        } else if (port == 0xd0) {
            b->dma_at = v;
        } else if (port == 0xd4 && b->dma_at <= BARE_RAM - 4) {
            memcpy(b->ram + b->dma_at, &v, width);
            gh_accel_soft.dma_written(b->vm, b->dma_at, width);
        } else if (port == 0x92) {
            gh_accel_soft.set_a20(b->vm, v & 2);
        } else if (port == 0xf4 && !b->done) {
            b->result->exited = true;
            b->result->code = v;
            finish(b);
        }
    }
}

static void mmio(void *opaque, unsigned vcpu, uint64_t gpa, bool write, unsigned width, void *data)
{
    struct bare *b = opaque;

    if (gpa < BARE_MMIO || gpa - BARE_MMIO >= 0x1000) {
        if (!write)
            memset(data, 0xff, width);
    } else if (write) {
        memcpy(&b->mmio_word, data, width);
    } else {
        memcpy(data, &b->mmio_word, width);
    }
}

static int intack(void *opaque, unsigned vcpu) { return -1; }
static void eoi(void *opaque, unsigned vcpu, uint8_t vector) {}
static void shut_down(void *opaque, unsigned vcpu) {}

static uint64_t now_ns(void *opaque)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* BARE_RESTLESS: the state goes out, through a reset, and in again, many times a second. */
static void move_state(struct bare *b, struct gh_vcpu *vcpu)
{
    struct gh_cpu_state s;
    struct gh_error err = { 0 };

    memset(&s, 0, sizeof s);
    if (gh_accel_soft.get_state(vcpu, GH_CPU_ALL, &s, &err) < 0)
        fprintf(stderr, "get_state: %s\n", err.text);
    gh_accel_soft.reset(vcpu);
    if (gh_accel_soft.set_state(vcpu, GH_CPU_ALL, &s, &err) < 0)
        fprintf(stderr, "set_state: %s\n", err.text);
    b->moves++;
}

static void *restless(void *opaque)
{
    struct bare *b = opaque;

    while (!b->done) {
        usleep(100);
        for (unsigned i = 0; i < b->vcpus; i++)
            gh_accel_soft.kick(b->vcpu[i]);
    }
    return NULL;
}

static void *vcpu_main(void *opaque)
{
    struct bare_thread *t = opaque;
    struct bare *b = t->b;
    struct gh_exit e;

    while (!b->done) {
        gh_accel_soft.run(b->vcpu[t->index], &e);
        if (e.reason == GH_EXIT_SHUTDOWN) {
            b->result->shutdown = true;
            finish(b);
        } else if (b->restless) {
            move_state(b, b->vcpu[t->index]);
        }
    }
    return NULL;
}

static void *watchdog(void *opaque)
{
    struct bare *b = opaque;
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_sec += b->timeout_s;
    pthread_mutex_lock(&b->lock);
    while (!b->done && pthread_cond_timedwait(&b->cond, &b->lock, &t) == 0)
        ;
    pthread_mutex_unlock(&b->lock);
    if (!b->done)
        finish(b);
    return NULL;
}

static int load(const char *path, uint8_t *ram)
{
    FILE *f = fopen(path, "rb");

    if (!f)
        return -errno;
    size_t n = fread(ram + LOAD_AT, 1, BARE_RAM - LOAD_AT, f);
    fclose(f);
    return n ? 0 : -EINVAL;
}

static void take_counter(void *opaque, const char *name, uint64_t value)
{
    struct bare_result *r = opaque;

    if (!strcmp(name, "interpreted-instructions"))
        r->instructions = value;
    if (getenv("BARE_COUNTERS"))
        fprintf(stderr, "%s %llu\n", name, (unsigned long long)value);
}

static int start_at(struct gh_vcpu *vcpu, uint64_t rip)
{
    struct gh_cpu_state s;
    struct gh_error err = { 0 };

    gh_accel_soft.get_state(vcpu, GH_CPU_REGS | GH_CPU_SREGS, &s, &err);
    s.rip = rip;
    s.seg[GH_CS].base = s.seg[GH_CS].selector = 0;
    s.cr0 = 0x10;
    return gh_accel_soft.set_state(vcpu, GH_CPU_REGS | GH_CPU_SREGS, &s, &err);
}

int bare_run(const char *path, unsigned vcpus, const char *model_name, const char *options, unsigned timeout_s,
             struct bare_result *ret)
{
    struct bare b = { .result = ret, .vcpus = vcpus, .timeout_s = timeout_s,
                      .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER };
    struct gh_accel_env env = { &b, pio, mmio, intack, eoi, now_ns, shut_down };
    struct gh_cpu_model model;
    struct gh_error err = { 0 };
    struct bare_thread thread[16];
    pthread_t dog, kicker;

    b.restless = getenv("BARE_RESTLESS");
    memset(ret, 0, sizeof *ret);
    if (vcpus > 16)
        return -EINVAL;
    uint8_t *ram = mmap(NULL, BARE_RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int rc = ram == MAP_FAILED ? -ENOMEM : load(path, ram);
    b.ram = ram;
    if (rc == 0)
        rc = gh_cpu_model_build(model_name, "soft", vcpus, &model, &err);
    struct gh_accel_config cfg = { .env = &env, .model = &model, .vcpu_count = vcpus, .ram_bytes = BARE_RAM, .options = options };
    if (rc == 0)
        rc = gh_accel_soft.vm_new(-1, &cfg, &b.vm, &err);
    if (rc < 0) {
        fprintf(stderr, "%s: %s %s\n", path, strerror(-rc), err.text);
        return rc;
    }
    struct gh_slot slot = { .gpa = 0, .size = BARE_RAM, .host = ram, .flags = GH_SLOT_WRITABLE, .id = 1 };
    struct gh_flat_map map = { .generation = 1, .slot_count = 1, .slots = &slot };
    gh_accel_soft.publish(b.vm, &map, &err);
    for (unsigned i = 0; i < vcpus; i++)
        gh_accel_soft.vcpu_new(b.vm, i, &b.vcpu[i], &err);
    start_at(b.vcpu[0], LOAD_AT);
    pthread_create(&dog, NULL, watchdog, &b);
    if (b.restless)
        pthread_create(&kicker, NULL, restless, &b);
    for (unsigned i = 0; i < vcpus; i++) {
        thread[i] = (struct bare_thread){ &b, i, 0 };
        pthread_create(&thread[i].thread, NULL, vcpu_main, &thread[i]);
    }
    for (unsigned i = 0; i < vcpus; i++)
        pthread_join(thread[i].thread, NULL);
    finish(&b);
    pthread_join(dog, NULL);
    if (b.restless) {
        pthread_join(kicker, NULL);
        printf("state moved %u times\n", b.moves);
    }
    gh_accel_soft.counters(b.vm, take_counter, ret);
    for (unsigned i = 0; i < vcpus; i++)
        gh_accel_soft.vcpu_free(b.vcpu[i]);
    gh_accel_soft.vm_free(b.vm);
    munmap(ram, BARE_RAM);
    return 0;
}
