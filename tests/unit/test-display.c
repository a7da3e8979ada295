/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The screen's way out of a machine: surface, frames on demand, input back, screenshots. */
#include <errno.h>
#include <fcntl.h>
#include <linux/input-event-codes.h>
#include <poll.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include "base/bytes.h"
#include "check.h"
#include "engine/backend/display/protocol.h"
#include "engine/backend/surface-reader.h"
#include "engine/machine/display.h"
#include "engine/machine/png.h"
#include "engine/machine/surface.h"

/* ---- A made-up machine -------------------------------------------------------------------------- */

struct fake {
    pthread_mutex_t lock;
    struct gh_display_mode mode;
    uint32_t colour;
    struct gh_rect changed;
    bool     dirty, absolute;
    unsigned renders;
    char     log[4096];
};

static bool fake_mode(void *o, struct gh_display_mode *ret)
{
    struct fake *f = o;
    pthread_mutex_lock(&f->lock);
    *ret = f->mode;
    pthread_mutex_unlock(&f->lock);
    return ret->width != 0;
}

static unsigned fake_render(void *o, uint32_t *pixels, uint32_t stride, bool full, struct gh_rect *rects, unsigned max)
{
    struct fake *f = o;
    pthread_mutex_lock(&f->lock);
    struct gh_rect r = full ? (struct gh_rect){ 0, 0, f->mode.width, f->mode.height } : f->changed;
    bool draw = full || f->dirty;
    f->renders++;
    for (uint32_t y = r.y; draw && y < r.y + r.h; y++)
        for (uint32_t x = r.x; x < r.x + r.w; x++)
            pixels[y * (stride / 4) + x] = 0xff000000 | (f->colour + x + (y << 8));
    f->dirty = false;
    rects[0] = r;
    pthread_mutex_unlock(&f->lock);
    return draw;
}

static void note(struct fake *f, const char *fmt, ...) GH_PRINTF(2, 3);
static void note(struct fake *f, const char *fmt, ...)
{
    va_list ap;
    pthread_mutex_lock(&f->lock);
    size_t n = strlen(f->log);
    va_start(ap, fmt);
    vsnprintf(f->log + n, sizeof f->log - n, fmt, ap);
    va_end(ap);
    pthread_mutex_unlock(&f->lock);
}
static void fake_key(void *o, uint16_t code, bool down) { note(o, "k%u%c ", code, down ? '+' : '-'); }
static void fake_abs(void *o, uint16_t x, uint16_t y) { note(o, "a%u,%u ", x, y); }
static void fake_rel(void *o, int32_t dx, int32_t dy, int32_t wheel) { note(o, "r%d,%d,%d ", dx, dy, wheel); }
static void fake_button(void *o, uint16_t code, bool down) { note(o, "b%u%c ", code, down ? '+' : '-'); }
static void fake_sync(void *o) { note(o, "s "); }
static bool fake_absolute(void *o) { return ((struct fake *)o)->absolute; }
static void fake_resize(void *o, uint32_t w, uint32_t h) { note(o, "z%ux%u ", w, h); }

static const struct gh_display_host host = {
    .mode = fake_mode, .render = fake_render, .key = fake_key, .pointer_abs = fake_abs, .pointer_rel = fake_rel,
    .button = fake_button, .sync = fake_sync, .pointer_is_absolute = fake_absolute, .resize = fake_resize,
};

static void change(struct fake *f, uint32_t x, uint32_t y, uint32_t w, uint32_t h, uint32_t colour)
{
    pthread_mutex_lock(&f->lock);
    f->changed = (struct gh_rect){ x, y, w, h };
    f->colour = colour;
    f->dirty = true;
    pthread_mutex_unlock(&f->lock);
}

static bool readable(int fd, int ms)
{
    struct pollfd p = { fd, POLLIN, 0 };
    return poll(&p, 1, ms) == 1;
}
static void sleep_ms(unsigned ms) { nanosleep(&(struct timespec){ 0, ms * 1000000l }, NULL); }
static bool log_has(struct fake *f, const char *text)
{
    bool has = false;
    for (unsigned i = 0; i < 200 && !has; i++) {
        pthread_mutex_lock(&f->lock);
        has = strstr(f->log, text) != NULL;
        pthread_mutex_unlock(&f->lock);
        if (!has)
            sleep_ms(5);
    }
    if (!has)
        fprintf(stderr, "log is: %s\n", f->log);
    return has;
}

/* ---- Surface ------------------------------------------------------------------------------------- */

static void test_surface(void)
{
    struct gh_surface *s;
    struct gh_surface_reader *r;
    struct gh_surface_view v;
    struct gh_surface_rect rects[8];
    struct gh_error err = { 0 };
    uint32_t w, h, stride;

    CHECK_FATAL(!gh_surface_new(1 << 20, &s, &err));
    CHECK_FATAL(!gh_surface_reader_open(gh_surface_fd(s), &r));
    CHECK_EQ(gh_surface_reader_update(r, &v, rects, 8), -EAGAIN);
    CHECK_EQ(gh_surface_set_size(s, 1024, 257), -EFBIG);
    CHECK_EQ(gh_surface_set_size(s, 0, 1), -EFBIG);
    CHECK_EQ(gh_surface_set_size(s, 640, 400), 0);
    uint32_t *p = gh_surface_pixels(s, &w, &h, &stride);
    p[stride / 4 * 399 + 639] = 0xff112233;
    CHECK_EQ(gh_surface_reader_update(r, &v, rects, 8), 1);
    CHECK(v.resized);
    CHECK_EQ(v.pixels[v.stride / 4 * 399 + 639], 0xff112233);
    CHECK_EQ(rects[0].w, 640);
    CHECK_EQ(gh_surface_reader_update(r, &v, rects, 8), 0);
    gh_surface_commit(s, &(struct gh_rect){ 1, 2, 3, 4 }, 1);
    gh_surface_commit(s, (struct gh_rect[]){ { 10, 10, 1, 1 }, { 12, 14, 1, 1 } }, 2);
    CHECK_EQ(gh_surface_reader_update(r, &v, rects, 2), 2);
    CHECK(!v.resized);
    CHECK_EQ(rects[0].x, 1);
    CHECK_EQ(rects[1].w, 3);                     /* joined */
    CHECK_EQ(rects[1].h, 5);
    /* Behind by more than the ring: everything. */
    for (unsigned i = 0; i < GH_SURFACE_RING + 1; i++)
        gh_surface_commit(s, &(struct gh_rect){ 1, 2, 3, 4 }, 1);
    CHECK_EQ(gh_surface_reader_update(r, &v, rects, 8), 1);
    CHECK_EQ(rects[0].w, 640);
    /* Readers cannot write, nobody can shrink. */
    CHECK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, gh_surface_fd(s), 0) == MAP_FAILED);
    CHECK(ftruncate(gh_surface_fd(s), 4096) < 0);
    CHECK(write(gh_surface_fd(s), "x", 1) < 0);
    gh_surface_reader_free(r);
    gh_surface_free(s);
}

/* A producer that lies about everything. */
static void test_hostile_surface(void)
{
    struct gh_surface_reader *r;
    struct gh_surface_view v;
    struct gh_surface_rect rects[4];
    int fd = memfd_create("hostile", MFD_ALLOW_SEALING | MFD_CLOEXEC);

    CHECK_FATAL(fd >= 0 && !ftruncate(fd, 65536));
    struct gh_surface_header *h = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK_FATAL(h != MAP_FAILED);
    CHECK_EQ(gh_surface_reader_open(fd, &r), -EPERM);
    CHECK_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
    CHECK_EQ(gh_surface_reader_open(fd, &r), -EPROTO);
    h->magic = GH_SURFACE_MAGIC;
    CHECK_FATAL(!gh_surface_reader_open(fd, &r));
    static const struct { uint32_t w, h, stride, format; uint64_t offset; int result; } table[] = {
        { 100, 100, 400, 1, 8192, 1 }, { 100, 100, 400, 2, 8192, -EPROTO }, { 100, 144, 400, 1, 8192, -EPROTO },
        { 100, 143, 400, 1, 8192, 1 }, { 100, 143, 404, 1, 8192, -EPROTO }, { 100, 100, 399, 1, 8192, -EPROTO },
        { 100, 100, 396, 1, 8192, -EPROTO }, { 100, 100, 402, 1, 8192, -EPROTO }, { 0, 100, 400, 1, 8192, -EPROTO },
        { 100, 1, 400, 1, 65536, -EPROTO }, { 100, 1, 400, 1, 65536 - 400, 1 }, { 100, 1, 400, 1, ~0ull - 3, -EPROTO },
        { 100, 1, 400, 1, 0, -EPROTO }, { 0x40000001, 1, 4, 1, 8192, -EPROTO }, { 1, 0xffffffff, 4, 1, 8192, -EPROTO },
        { 1, 16384, 0x20004, 1, 8192, -EPROTO },
    };
    for (unsigned i = 0; i < GH_ARRAY_LEN(table); i++) {
        h->width = table[i].w, h->height = table[i].h, h->stride = table[i].stride;
        h->format = table[i].format, h->pixels_offset = table[i].offset, h->generation = i;
        int e = gh_surface_reader_update(r, &v, rects, 4);
        if (e != table[i].result)
            fprintf(stderr, "case %u\n", i);
        CHECK_EQ(e, table[i].result);
    }
    h->width = h->height = 100, h->stride = 400, h->format = 1, h->pixels_offset = 8192;
    gh_surface_reader_update(r, &v, rects, 4);
    h->ring[h->ring_head % GH_SURFACE_RING] = (struct gh_surface_rect){ 90, 99, 65535, 65535 };
    h->ring[(h->ring_head + 1) % GH_SURFACE_RING] = (struct gh_surface_rect){ 100, 0, 1, 1 };
    h->ring_head += 2;
    CHECK_EQ(gh_surface_reader_update(r, &v, rects, 4), 1);
    CHECK_EQ(rects[0].w, 10);
    CHECK_EQ(rects[0].h, 1);
    h->ring_head = 1;                            /* backwards */
    CHECK_EQ(gh_surface_reader_update(r, &v, rects, 4), 1);
    CHECK_EQ(rects[0].w, 100);
    h->sequence = 1;                             /* for ever */
    CHECK_EQ(gh_surface_reader_update(r, &v, rects, 4), -EAGAIN);
    gh_surface_reader_free(r);
    munmap(h, 65536);
    close(fd);
}

/* ---- PNG ------------------------------------------------------------------------------------------- */

/* Independent decoding of the one kind that is written. */
static uint32_t *png_read(int fd, uint32_t *ret_w, uint32_t *ret_h)
{
    static uint8_t file[1 << 20], data[1 << 20];
    ssize_t n = pread(fd, file, sizeof file, 0);
    size_t at = 8, used = 0;
    bool end = false;

    CHECK_FATAL(n > 45 && !memcmp(file, "\x89PNG\r\n\x1a\n", 8));
    while (at + 12 <= (size_t)n && !end) {
        uint32_t bytes = gh_be32_get(file + at);
        CHECK_FATAL(at + 12 + bytes <= (size_t)n);
        CHECK_EQ(gh_be32_get(file + at + 8 + bytes), crc32(0, file + at + 4, bytes + 4));
        if (!memcmp(file + at + 4, "IHDR", 4)) {
            *ret_w = gh_be32_get(file + at + 8);
            *ret_h = gh_be32_get(file + at + 12);
            CHECK(!memcmp(file + at + 16, "\x08\x02\x00\x00\x00", 5));
        } else if (!memcmp(file + at + 4, "IDAT", 4)) {
            memcpy(data + used, file + at + 8, bytes);
            used += bytes;
        } else {
            end = !memcmp(file + at + 4, "IEND", 4);
        }
        at += 12 + bytes;
    }
    CHECK(end);
    CHECK_EQ(at, n);
    size_t line = (size_t)*ret_w * 3;
    uLongf raw_bytes = (line + 1) * *ret_h;
    uint8_t *raw = malloc(raw_bytes);
    uint32_t *out = malloc((size_t)*ret_w * *ret_h * 4);
    CHECK_EQ(uncompress(raw, &raw_bytes, data, used), Z_OK);
    CHECK_EQ(raw_bytes, (line + 1) * *ret_h);
    for (uint32_t y = 0; y < *ret_h; y++) {
        uint8_t *now = raw + (line + 1) * y + 1, *before = raw + (line + 1) * (y - 1) + 1;
        CHECK_EQ(now[-1], 2);
        for (size_t i = 0; y && i < line; i++)
            now[i] = (uint8_t)(now[i] + before[i]);
        for (uint32_t x = 0; x < *ret_w; x++)
            out[y * *ret_w + x] = 0xff000000 | (uint32_t)now[3 * x] << 16 | (uint32_t)now[3 * x + 1] << 8 | now[3 * x + 2];
    }
    free(raw);
    return out;
}

static void test_png(void)
{
    enum { W = 301, H = 211, STRIDE = 320 };
    static uint32_t pixels[H * STRIDE];
    uint32_t seed = 1, w, h;
    struct gh_error err = { 0 };
    int fd = memfd_create("png", 0), full = open("/dev/full", O_WRONLY);

    for (unsigned i = 0; i < H * STRIDE; i++)
        pixels[i] = 0xff000000 | (seed = seed * 1664525 + 1013904223) >> 8; /* more than one IDAT */
    CHECK_EQ(gh_png_write(fd, pixels, W, H, STRIDE * 4, &err), 0);
    uint32_t *back = png_read(fd, &w, &h);
    CHECK_EQ(w, W);
    CHECK_EQ(h, H);
    unsigned wrong = 0;
    for (uint32_t y = 0; y < H; y++)
        for (uint32_t x = 0; x < W; x++)
            wrong += back[y * W + x] != pixels[y * STRIDE + x];
    CHECK_EQ(wrong, 0);
    free(back);
    CHECK_EQ(gh_png_write(full, pixels, W, H, STRIDE * 4, &err), -ENOSPC);
    CHECK_STR(err.id, "ScreenshotFailed");

    const uint32_t four[4] = { 0xff000000, 0xff0000ff, 0xff00ff00, 0xffff0000 };
    uint32_t *small = gh_picture_shrink(four, 2, 2, 8, 1, 0, &w, &h);
    CHECK_EQ(w, 1);
    CHECK_EQ(h, 1);
    CHECK_EQ(small[0], 0xff3f3f3f);
    free(small);
    small = gh_picture_shrink(pixels, W, H, STRIDE * 4, 100, 100, &w, &h);
    CHECK_EQ(w, 100);
    CHECK_EQ(h, 70);
    free(small);
    small = gh_picture_shrink(pixels, W, H, STRIDE * 4, 4000, 4000, &w, &h);
    CHECK_EQ(w, W);
    CHECK_EQ(small[W * 7 + 5], pixels[STRIDE * 7 + 5]);
    free(small);
    close(fd);
    close(full);
}

/* ---- Frames and input ------------------------------------------------------------------------------- */

static int receive_hello(int sock, int fds[3])
{
    struct gh_display_message m = { 0 };
    union { struct cmsghdr align; char bytes[CMSG_SPACE(3 * sizeof(int))]; } control;
    struct iovec iov = { &m, sizeof m };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control };

    if (!readable(sock, 2000) || recvmsg(sock, &msg, MSG_CMSG_CLOEXEC) != sizeof m || !CMSG_FIRSTHDR(&msg))
        return -1;
    memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&msg)), 3 * sizeof(int));
    return (int)m.type;
}

static void send_message(int sock, uint32_t type, uint32_t a, uint32_t b, uint32_t c)
{
    struct gh_display_message m = { type, a, b, c };
    CHECK_EQ(send(sock, &m, sizeof m, 0), sizeof m);
}

static void test_display(void)
{
    struct fake f = { .lock = PTHREAD_MUTEX_INITIALIZER, .mode = { 320, 200, 1 }, .colour = 0x100000 };
    struct gh_error err = { 0 };
    struct gh_display *d;
    struct gh_surface_reader *r;
    struct gh_surface_view v;
    struct gh_surface_rect rects[16];
    int pair[2], fds[3], viewer[3];

    CHECK_FATAL(!gh_display_new(&host, &f, 4 << 20, &d, &err));
    CHECK_FATAL(!gh_display_start(d, &err));
    CHECK_FATAL(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
    CHECK_FATAL(!gh_display_add_backend(d, pair[0], &err));
    CHECK_FATAL(receive_hello(pair[1], fds) == GH_DISPLAY_HELLO);
    CHECK_FATAL(!gh_surface_reader_open(fds[0], &r));
    sleep_ms(60);
    CHECK_EQ(f.renders, 0);                      /* nobody asked */

    gh_surface_ask(fds[2]);
    CHECK_FATAL(readable(fds[1], 2000));
    gh_surface_drain(fds[1]);
    CHECK_EQ(gh_surface_reader_update(r, &v, rects, 16), 1);
    CHECK(v.resized);
    CHECK_EQ(v.width, 320);
    CHECK_EQ(v.pixels[199 * 320 + 319], 0xff000000 | (0x100000 + 319 + (199 << 8)));

    /* A change without a hint is found by looking, one with a hint at once. */
    gh_surface_ask(fds[2]);
    CHECK(!readable(fds[1], 100));
    change(&f, 5, 6, 7, 8, 0x200000);
    CHECK(readable(fds[1], 1000));
    gh_surface_drain(fds[1]);
    CHECK_EQ(gh_surface_reader_update(r, &v, rects, 16), 1);
    CHECK_EQ(rects[0].x, 5);
    CHECK_EQ(rects[0].h, 8);
    CHECK_EQ(v.pixels[6 * 320 + 5], 0xff000000 | (0x200000 + 5 + (6 << 8)));
    change(&f, 0, 0, 1, 1, 0x300000);
    gh_display_changed(d);
    CHECK(!readable(fds[1], 60));                /* not asked: not shown */
    gh_surface_ask(fds[2]);
    CHECK(readable(fds[1], 1000));
    gh_surface_drain(fds[1]);
    gh_surface_reader_update(r, &v, rects, 16);

    /* At most 60 frames a second however much changes. */
    unsigned before = f.renders, frames = 0;
    for (unsigned i = 0; i < 300; i++) {
        change(&f, 0, 0, 1, 1, i);
        gh_display_changed(d);
        gh_surface_ask(fds[2]);
        if (readable(fds[1], 1)) {
            gh_surface_drain(fds[1]);
            frames++;
        }
    }
    CHECK(frames >= 5);
    CHECK(f.renders - before <= 60);             /* 300 turns of at most 1-2 ms */

    /* A viewer of its own, and the mode changes. */
    CHECK_EQ(gh_display_open_viewer(d, viewer, &err), 0);
    pthread_mutex_lock(&f.lock);
    f.mode = (struct gh_display_mode){ 640, 480, 2 };
    pthread_mutex_unlock(&f.lock);
    gh_surface_ask(viewer[2]);
    CHECK(readable(viewer[1], 1000));
    CHECK_EQ(gh_surface_reader_update(r, &v, rects, 16), 1);
    CHECK_EQ(v.width, 640);
    for (unsigned i = 0; i < 3; i++)
        close(viewer[i]);
    for (unsigned i = 0; i < 20; i++) {          /* places are reused */
        CHECK_EQ(gh_display_open_viewer(d, viewer, &err), 0);
        for (unsigned k = 0; k < 3; k++)
            close(viewer[k]);
    }
    /* Larger than the surface: the old picture stays. */
    pthread_mutex_lock(&f.lock);
    f.mode = (struct gh_display_mode){ 4000, 4000, 3 };
    pthread_mutex_unlock(&f.lock);
    gh_surface_ask(fds[2]);
    sleep_ms(80);
    gh_surface_reader_update(r, &v, rects, 16);
    CHECK_EQ(v.width, 640);
    pthread_mutex_lock(&f.lock);
    f.mode = (struct gh_display_mode){ 640, 480, 4 };
    pthread_mutex_unlock(&f.lock);

    /* Input in order; nonsense is ignored; a dead backend holds nothing down. */
    send_message(pair[1], GH_DISPLAY_KEY, KEY_A, 1, 0);
    send_message(pair[1], GH_DISPLAY_KEY, KEY_A, 0, 0);
    send_message(pair[1], GH_DISPLAY_KEY, KEY_MAX + 1, 1, 0);
    send_message(pair[1], GH_DISPLAY_KEY, 0xffffffff, 1, 0);
    send_message(pair[1], GH_DISPLAY_KEY, BTN_LEFT, 1, 0);
    send_message(pair[1], GH_DISPLAY_BUTTON, KEY_B, 1, 0);
    send_message(pair[1], GH_DISPLAY_MOVE_TO, 32768, 0, 0);
    send_message(pair[1], GH_DISPLAY_MOVE_TO, 32767, 16, 0);
    send_message(pair[1], GH_DISPLAY_MOVE_BY, (uint32_t)-3, 4, (uint32_t)-1);
    send_message(pair[1], GH_DISPLAY_BUTTON, BTN_LEFT, 1, 0);
    send_message(pair[1], GH_DISPLAY_SYNC, 0, 0, 0);
    send_message(pair[1], GH_DISPLAY_RESIZE, 800, 600, 0);
    send_message(pair[1], GH_DISPLAY_RESIZE, 1, 0xffffffff, 0);
    send_message(pair[1], 9999, 1, 2, 3);
    send_message(pair[1], GH_DISPLAY_KEY, KEY_LEFTCTRL, 1, 0);
    CHECK(log_has(&f, "k30+ k30- a32767,16 r-3,4,-1 b272+ s z800x600 k29+ "));
    f.log[0] = 0;
    close(pair[1]);
    CHECK(log_has(&f, "k29- b272- s "));

    /* A new one learns the state: pointer kind, LEDs, cursor. */
    const uint32_t cursor[4] = { 0xff010203, 0, 0, 0xffffffff };
    gh_display_set_leds(d, GH_DISPLAY_LED_CAPS);
    gh_display_set_cursor(d, cursor, 2, 2, 1, 1);
    f.absolute = true;
    CHECK_FATAL(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
    CHECK_FATAL(!gh_display_add_backend(d, pair[0], &err));
    for (unsigned i = 0; i < 3; i++)
        close(fds[i]);
    CHECK_FATAL(receive_hello(pair[1], fds) == GH_DISPLAY_HELLO);
    struct { struct gh_display_message head; uint32_t pixels[4]; } m;
    bool seen_led = false, seen_cursor = false, seen_absolute = false;
    while (!(seen_led && seen_cursor && seen_absolute) && readable(pair[1], 2000)) {
        ssize_t n = recv(pair[1], &m, sizeof m, 0);
        seen_led |= m.head.type == GH_DISPLAY_LEDS && m.head.a == GH_DISPLAY_LED_CAPS;
        seen_absolute |= m.head.type == GH_DISPLAY_POINTER && m.head.a == 1;
        seen_cursor |= m.head.type == GH_DISPLAY_CURSOR && n == sizeof m && m.head.c == (1 | 1 << 16) &&
                       m.pixels[0] == cursor[0];
    }
    CHECK(seen_led);
    CHECK(seen_absolute);
    CHECK(seen_cursor);
    CHECK_EQ(send(pair[1], "short", 5, 0), 5);   /* speaks another language: dropped */
    struct pollfd p = { pair[1], POLLIN, 0 };
    bool hangup = false;
    for (unsigned i = 0; i < 100 && !hangup; i++) {
        poll(&p, 1, 50);
        hangup = p.revents & POLLHUP;
        if (!hangup && p.revents)
            hangup = recv(pair[1], &m, sizeof m, MSG_DONTWAIT) == 0;
    }
    CHECK(hangup);

    int fd = memfd_create("shot", 0);
    uint32_t w, h;
    change(&f, 0, 0, 640, 480, 0x400000);
    CHECK_EQ(gh_display_screenshot(d, fd, 0, 0, &err), 0);
    uint32_t *back = png_read(fd, &w, &h);
    CHECK_EQ(w, 640);
    CHECK_EQ(back[640 * 3 + 2], 0xff000000 | (0x400000 + 2 + (3 << 8)));
    free(back);
    close(fd);
    close(pair[1]);
    for (unsigned i = 0; i < 3; i++)
        close(fds[i]);
    gh_surface_reader_free(r);
    gh_display_free(d);
}

int main(void)
{
    test_surface();
    test_hostile_surface();
    test_png();
    test_display();
    return check_result();
}
