/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * gasthaus-backend display from end to end: a made-up machine behind the real machine-side glue, the
 * real program in its sandbox, libvncclient and hand-made sockets in front.
 * Arguments: the program.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/input-event-codes.h>
#include <poll.h>
#include <pthread.h>
#include <rfb/rfbclient.h>
#undef TRUE
#define TRUE 1
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#include "base/bytes.h"
#include "check.h"
#include "engine/backend/display/keymap.h"
#include "engine/backend/display/protocol.h"
#include "engine/machine/display.h"

/* ---- The machine ---------------------------------------------------------------------------------- */

static struct {
    pthread_mutex_t lock;
    struct gh_display_mode mode;
    uint32_t seed;
    struct gh_rect changed;
    bool     dirty, absolute;
    char     log[65536];
} m = { .lock = PTHREAD_MUTEX_INITIALIZER, .mode = { 320, 200, 1 }, .seed = 1, .absolute = true };

static uint32_t pixel(uint32_t seed, uint32_t x, uint32_t y) { return (seed * 0x9e3779b1u + x * 2654435u + y * 40503u) & 0xffffff; }

static bool host_mode(void *o, struct gh_display_mode *ret)
{
    pthread_mutex_lock(&m.lock);
    *ret = m.mode;
    pthread_mutex_unlock(&m.lock);
    return true;
}
static unsigned host_render(void *o, uint32_t *pixels, uint32_t stride, bool full, struct gh_rect *rects, unsigned max)
{
    pthread_mutex_lock(&m.lock);
    struct gh_rect r = full ? (struct gh_rect){ 0, 0, m.mode.width, m.mode.height } : m.changed;
    bool draw = full || m.dirty;
    for (uint32_t y = r.y; draw && y < r.y + r.h; y++)
        for (uint32_t x = r.x; x < r.x + r.w; x++)
            pixels[y * (stride / 4) + x] = 0xff000000 | pixel(m.seed, x, y);
    m.dirty = false;
    rects[0] = r;
    pthread_mutex_unlock(&m.lock);
    return draw;
}
static void note(const char *fmt, ...) GH_PRINTF(1, 2);
static void note(const char *fmt, ...)
{
    va_list ap;
    pthread_mutex_lock(&m.lock);
    size_t n = strlen(m.log);
    va_start(ap, fmt);
    vsnprintf(m.log + n, sizeof m.log - n, fmt, ap);
    va_end(ap);
    pthread_mutex_unlock(&m.lock);
}
static void host_key(void *o, uint16_t code, bool down) { note("k%u%c ", code, down ? '+' : '-'); }
static void host_abs(void *o, uint16_t x, uint16_t y) { note("a%u,%u ", x, y); }
static void host_rel(void *o, int32_t dx, int32_t dy, int32_t wheel) { note("r%d,%d,%d ", dx, dy, wheel); }
static void host_button(void *o, uint16_t code, bool down) { note("b%u%c ", code, down ? '+' : '-'); }
static void host_sync(void *o) { note("s "); }
static bool host_absolute(void *o) { return m.absolute; }
static void host_resize(void *o, uint32_t w, uint32_t h) { note("z%ux%u ", w, h); }
static void host_clients(void *o, unsigned n) { note("c%u ", n); }
static const struct gh_display_host host = {
    .mode = host_mode, .render = host_render, .key = host_key, .pointer_abs = host_abs, .pointer_rel = host_rel,
    .button = host_button, .sync = host_sync, .pointer_is_absolute = host_absolute, .resize = host_resize,
    .clients = host_clients,
};

static void change(uint32_t x, uint32_t y, uint32_t w, uint32_t h)
{
    pthread_mutex_lock(&m.lock);
    m.changed = (struct gh_rect){ x, y, w, h };
    m.seed++;
    m.dirty = true;
    pthread_mutex_unlock(&m.lock);
}
static void set_mode(uint32_t w, uint32_t h)
{
    pthread_mutex_lock(&m.lock);
    m.mode = (struct gh_display_mode){ w, h, m.mode.generation + 1 };
    pthread_mutex_unlock(&m.lock);
}
static void sleep_ms(long ms) { nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000 }, NULL); }
static void clear_log(void)
{
    pthread_mutex_lock(&m.lock);
    m.log[0] = 0;
    pthread_mutex_unlock(&m.lock);
}
/* Waits until the text came, then forgets everything up to its end. */
static bool seen(const char *text)
{
    for (unsigned i = 0; i < 1000; i++) {
        pthread_mutex_lock(&m.lock);
        char *at = strstr(m.log, text);
        if (at)
            memmove(m.log, at + strlen(text), strlen(at + strlen(text)) + 1);
        pthread_mutex_unlock(&m.lock);
        if (at)
            return true;
        sleep_ms(5);
    }
    fprintf(stderr, "waited for \"%s\", log is \"%s\"\n", text, m.log);
    return false;
}

/* ---- The program ------------------------------------------------------------------------------------ */

static struct gh_display *display;
static const char *program;
static char directory[] = "/tmp/gh-display-XXXXXX", path[64];
static int listener;
static pid_t backend;

static void start_backend(void)
{
    char control[32], listening[32];
    struct gh_error err = { 0 };
    int pair[2];

    CHECK_FATAL(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
    CHECK_FATAL(!gh_display_add_backend(display, pair[0], &err));
    snprintf(control, sizeof control, "--control-fd=%d", pair[1]);
    snprintf(listening, sizeof listening, "--listen-fd=%d", listener);
    backend = fork();
    if (!backend) {
        fcntl(pair[1], F_SETFD, 0);
        fcntl(listener, F_SETFD, 0);
        execl(program, program, "display", control, listening, "--name=test machine", (char *)NULL);
        _exit(127);
    }
    close(pair[1]);
}

static int raw_connect(void)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    CHECK_FATAL(fd >= 0 && !connect(fd, (struct sockaddr *)&a, sizeof a));
    return fd;
}

/* ---- A viewer ------------------------------------------------------------------------------------------ */

struct viewer { rfbClient *c; unsigned resizes; int leds, pointer_kind; };
static int viewer_tag;

static rfbBool on_malloc(rfbClient *c)
{
    struct viewer *v = rfbClientGetClientData(c, &viewer_tag);

    free(c->frameBuffer);
    c->frameBuffer = calloc((size_t)c->width * (size_t)c->height, 4);
    v->resizes++;
    return c->frameBuffer != NULL;
}

static int extra_encodings[] = { -261, -257, 0 };
static rfbBool on_rect(rfbClient *c, rfbFramebufferUpdateRectHeader *r)
{
    struct viewer *v = rfbClientGetClientData(c, &viewer_tag);

    if ((int)r->encoding == -261) {
        uint8_t leds;
        if (!ReadFromRFBServer(c, (char *)&leds, 1))
            return FALSE;
        v->leds = leds;
        return TRUE;
    }
    if ((int)r->encoding == -257) {
        v->pointer_kind = r->r.x;
        return TRUE;
    }
    return FALSE;
}
static rfbClientProtocolExtension extra = { .encodings = extra_encodings, .handleEncoding = on_rect };

static bool viewer_open(struct viewer *v)
{
    *v = (struct viewer){ .leds = -1, .pointer_kind = -1 };
    rfbClient *c = rfbGetClient(8, 3, 4);
    rfbClientSetClientData(c, &viewer_tag, v);
    c->format.redShift = 16, c->format.greenShift = 8, c->format.blueShift = 0;
    c->serverHost = strdup(path);
    c->serverPort = 0;
    c->appData.encodingsString = "raw";
    c->appData.useRemoteCursor = TRUE;
    c->canHandleNewFBSize = TRUE;
    c->MallocFrameBuffer = on_malloc;
    c->connectTimeout = 5;
    if (!rfbInitClient(c, NULL, NULL))
        return false;
    v->c = c;
    return true;
}

/* Handles messages until nothing comes for idle_ms. */
static bool viewer_pump(struct viewer *v, int idle_ms)
{
    for (unsigned i = 0; i < 10000; i++) {
        struct pollfd p = { v->c->sock, POLLIN, 0 };
        if (!v->c->buffered && poll(&p, 1, idle_ms) <= 0)
            return true;
        if (!HandleRFBServerMessage(v->c))
            return false;
    }
    return true;
}

static bool same_picture(struct viewer *v)
{
    const uint32_t *p = (const uint32_t *)v->c->frameBuffer;
    uint32_t w = (uint32_t)v->c->width, h = (uint32_t)v->c->height;

    if (w != m.mode.width || h != m.mode.height)
        return false;
    for (uint32_t y = 0; y < h; y++)
        for (uint32_t x = 0; x < w; x++)
            if ((p[y * w + x] & 0xffffff) != pixel(m.seed, x, y))
                return false;
    return true;
}

static bool picture_arrives(struct viewer *v)
{
    for (unsigned i = 0; i < 60; i++) {
        if (!viewer_pump(v, 30))
            return false;
        if (same_picture(v))
            return true;
    }
    return false;
}

/* Blocks until the peer closed; what it sends meanwhile is thrown away. */
static bool closed_by_peer(int fd)
{
    char buffer[65536];

    for (unsigned i = 0; i < 2000; i++) {
        struct pollfd p = { fd, POLLIN, 0 };
        if (poll(&p, 1, 5000) != 1)
            return false;
        ssize_t n = recv(fd, buffer, sizeof buffer, 0);
        if (n == 0 || (n < 0 && errno == ECONNRESET))
            return true;
    }
    return false;
}

/* Through the handshake up to normal messages. */
static int raw_client(void)
{
    char buffer[256];
    int fd = raw_connect();

    CHECK_EQ(recv(fd, buffer, 12, MSG_WAITALL), 12);
    CHECK_EQ(send(fd, "RFB 003.008\n", 12, 0), 12);
    CHECK_EQ(recv(fd, buffer, 2, MSG_WAITALL), 2);
    CHECK_EQ(send(fd, "\1", 1, 0), 1);
    CHECK_EQ(recv(fd, buffer, 4, MSG_WAITALL), 4);
    CHECK_EQ(send(fd, "\1", 1, 0), 1);
    CHECK_EQ(recv(fd, buffer, 24, MSG_WAITALL), 24);
    uint32_t name = gh_be32_get(buffer + 20);
    CHECK_FATAL(name < sizeof buffer);
    CHECK_EQ(recv(fd, buffer, name, MSG_WAITALL), name);
    CHECK(name == 12 && !memcmp(buffer, "test machine", 12));
    return fd;
}

/* ---- Tests -------------------------------------------------------------------------------------------- */

static void test_keymap(void)
{
    enum gh_keysym_shift shift;
    unsigned wrong = 0;

    for (unsigned code = 1; code < 256; code++) {
        uint32_t xt = gh_xt_from_evdev((uint16_t)code);
        if (xt && gh_evdev_from_xt(xt) != code && code != 84)
            wrong++;
    }
    CHECK_EQ(wrong, 0);
    CHECK_EQ(gh_evdev_from_xt(0xc8), KEY_UP);
    CHECK_EQ(gh_evdev_from_xt(0x1e), KEY_A);
    CHECK_EQ(gh_evdev_from_xt(0x56), KEY_102ND);
    CHECK_EQ(gh_evdev_from_xt(0), 0);
    CHECK_EQ(gh_evdev_from_xt(0x1000), 0);
    CHECK_EQ(gh_xt_from_evdev(KEY_PAUSE), 0xc6);
    CHECK_EQ(gh_xt_from_evdev(KEY_SYSRQ), 0x54);
    CHECK_EQ(gh_evdev_from_keysym('%', &shift), KEY_5);
    CHECK_EQ(shift, GH_SHIFT_DOWN);
    CHECK_EQ(gh_evdev_from_keysym('q', &shift), KEY_Q);
    CHECK_EQ(gh_evdev_from_keysym(0xff52, &shift), KEY_UP);
    CHECK_EQ(gh_evdev_from_keysym(0x20ac, &shift), 0);
}

static void test_sandboxed(void)
{
    char file[64], text[4096];

    snprintf(file, sizeof file, "/proc/%d/status", (int)backend);
    FILE *f = fopen(file, "r");
    CHECK_FATAL(f);
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = 0;
    CHECK(strstr(text, "Seccomp:\t2"));
    CHECK(strstr(text, "NoNewPrivs:\t1"));
}

static void test_picture(struct viewer *v)
{
    CHECK_FATAL(viewer_open(v));
    CHECK(picture_arrives(v));
    CHECK_EQ(v->c->width, 320);
    CHECK_STR(v->c->desktopName, "test machine");
    change(0, 0, 320, 200);
    CHECK(picture_arrives(v));
    change(3, 5, 7, 11);
    viewer_pump(v, 200);
    const uint32_t *p = (const uint32_t *)v->c->frameBuffer;
    CHECK_EQ(p[5 * 320 + 3] & 0xffffff, pixel(m.seed, 3, 5));
    CHECK_EQ(p[15 * 320 + 9] & 0xffffff, pixel(m.seed, 9, 15));
    CHECK_EQ(p[5 * 320 + 2] & 0xffffff, pixel(m.seed - 1, 2, 5));

    unsigned before = v->resizes;
    set_mode(800, 600);
    CHECK(picture_arrives(v));
    CHECK_EQ(v->resizes, before + 1);
    set_mode(641, 333);                          /* not a multiple of four */
    CHECK(picture_arrives(v));
    set_mode(1024, 768);
    CHECK(picture_arrives(v));
}

static void test_input(struct viewer *v)
{
    clear_log();
    CHECK(SendExtendedKeyEvent(v->c, 'x', 0xc8, TRUE)); /* the position counts, not the symbol */
    CHECK(SendExtendedKeyEvent(v->c, 'x', 0xc8, FALSE));
    CHECK(seen("k103+ k103- "));
    SendKeyEvent(v->c, 'a', TRUE);
    SendKeyEvent(v->c, 'a', FALSE);
    CHECK(seen("k30+ k30- "));
    SendKeyEvent(v->c, '!', TRUE);               /* no shift held: it is added for the symbol */
    SendKeyEvent(v->c, '!', FALSE);
    CHECK(seen("k42+ k2+ k42- k2- "));
    SendKeyEvent(v->c, 0xffe1, TRUE);            /* shift held by another layout's '/' */
    SendKeyEvent(v->c, '/', TRUE);
    SendKeyEvent(v->c, '/', FALSE);
    SendKeyEvent(v->c, 0xffe1, FALSE);
    CHECK(seen("k42+ k42- k53+ k42+ k53- k42- "));

    SendPointerEvent(v->c, 1023, 0, 0);
    CHECK(seen("a32767,0 s "));
    SendPointerEvent(v->c, 512, 767, 1);
    CHECK(seen("a16399,32767 b272+ s "));
    SendPointerEvent(v->c, 512, 767, 1 | 4 | 8);
    CHECK(seen("b273+ r0,0,1 s "));
    SendPointerEvent(v->c, 512, 767, 0);
    CHECK(seen("b272- b273- s "));

    const uint8_t size[24] = { 251, 0, 1280 >> 8, 1280 & 255, 720 >> 8, 720 & 255, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                               1280 >> 8, 1280 & 255, 720 >> 8, 720 & 255 };
    CHECK(WriteToRFBServer(v->c, (const char *)size, sizeof size));
    CHECK(seen("z1280x720 "));
    CHECK(viewer_pump(v, 100));

    /* LEDs and the pointer's kind; then movements. */
    gh_display_set_leds(display, GH_DISPLAY_LED_CAPS | GH_DISPLAY_LED_NUM);
    m.absolute = false;
    for (unsigned i = 0; i < 50 && (v->leds != 6 || v->pointer_kind != 0); i++)
        viewer_pump(v, 50);
    CHECK_EQ(v->leds, 6);
    CHECK_EQ(v->pointer_kind, 0);
    SendPointerEvent(v->c, 0x7fff - 5, 0x7fff + 9, 0);
    CHECK(seen("r-5,9,0 s "));
    gh_display_set_leds(display, 0);
    m.absolute = true;
    for (unsigned i = 0; i < 50 && v->pointer_kind != 1; i++)
        viewer_pump(v, 50);
    CHECK_EQ(v->pointer_kind, 1);
}

static void test_cursor(struct viewer *v)
{
    static uint32_t shape[16 * 9];

    for (unsigned i = 0; i < 16 * 9; i++)
        shape[i] = i % 3 ? 0xff000000 | i << 8 : 0;
    gh_display_set_cursor(display, shape, 16, 9, 3, 4);
    for (unsigned i = 0; i < 20 && !v->c->rcSource; i++)
        viewer_pump(v, 50);
    CHECK_FATAL(v->c->rcSource && v->c->rcMask);
    unsigned wrong = 0;
    for (unsigned i = 0; i < 16 * 9; i++)
        wrong += v->c->rcMask[i] != (i % 3 != 0) ||
                 (i % 3 && (((uint32_t *)v->c->rcSource)[i] & 0xffffff) != i << 8);
    CHECK_EQ(wrong, 0);
    gh_display_set_cursor(display, NULL, 0, 0, 0, 0);
}

static void test_several(struct viewer *v)
{
    struct viewer second;

    clear_log();
    CHECK_FATAL(viewer_open(&second));
    CHECK(seen("c2 "));
    change(0, 0, 1024, 768);
    CHECK(picture_arrives(&second));
    CHECK(picture_arrives(v));
    SendExtendedKeyEvent(second.c, 0, 0x1d, TRUE);
    SendPointerEvent(second.c, 0, 0, 1);
    CHECK(seen("k29+ "));
    CHECK(seen("b272+ s "));
    free(second.c->frameBuffer), second.c->frameBuffer = NULL;
    rfbClientCleanup(second.c);                  /* vanishes with a key and a button down */
    CHECK(seen("k29- b272- s c1 "));
    change(0, 0, 1024, 768);
    CHECK(picture_arrives(v));
}

static void test_hostile(struct viewer *v)
{
    static const struct { const char *what; uint8_t bytes[24]; size_t count; } table[] = {
        { "file transfer", { 7, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 4, '/', 'e', 't', 'c' }, 16 },
        { "unknown message", { 199, 1, 2, 3 }, 4 },
        { "QEMU audio", { 255, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }, 12 },
        { "scale by zero", { 8, 0, 0, 0 }, 4 },
        { "pixel format of 7 bits", { 0, 0, 0, 0, 7, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0 }, 20 },
        { "endless cut text", { 6, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff }, 8 },
        { "empty maximum", { 0, 0, 0, 0, 32, 24, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0 }, 20 },
    };
    char noise[4096];
    uint32_t seed = 7;

    for (unsigned i = 0; i < GH_ARRAY_LEN(table); i++) {
        int fd = raw_client();
        CHECK_EQ(send(fd, table[i].bytes, table[i].count, MSG_NOSIGNAL), table[i].count);
        bool may_stay = !strcmp(table[i].what, "empty maximum") || !strcmp(table[i].what, "pixel format of 7 bits");
        if (!may_stay && !closed_by_peer(fd)) {
            fprintf(stderr, "not closed after: %s\n", table[i].what);
            CHECK(false);
        }
        close(fd);
    }
    for (unsigned i = 0; i < 10; i++) {          /* noise before and after the handshake */
        int fd = i & 1 ? raw_client() : raw_connect();
        for (unsigned k = 0; k < sizeof noise; k++)
            noise[k] = (char)((seed = seed * 1664525 + 1013904223) >> 24);
        send(fd, noise, sizeof noise, MSG_NOSIGNAL);
        close(fd);
    }
    /* A client that asks and never reads is given up; the others go on. */
    int stalled = raw_client();
    const uint8_t ask[10] = { 3, 0, 0, 0, 0, 0, 1024 >> 8, 0, 768 >> 8, 0 };
    for (unsigned i = 0; i < 20; i++)
        send(stalled, ask, sizeof ask, MSG_NOSIGNAL);
    sleep_ms(100);
    change(0, 0, 1024, 768);
    bool ok = false;
    for (unsigned i = 0; i < 100 && !ok; i++)
        ok = picture_arrives(v);
    CHECK(ok);
    CHECK(closed_by_peer(stalled));
    close(stalled);
    CHECK_EQ(waitpid(backend, NULL, WNOHANG), 0); /* it is alive */
}

static void test_death(struct viewer *v)
{
    int status;

    SendExtendedKeyEvent(v->c, 0, 0x2a, TRUE);
    CHECK(seen("k42+ "));
    clear_log();
    kill(backend, SIGKILL);
    CHECK_EQ(waitpid(backend, &status, 0), backend);
    CHECK(seen("k42- "));                        /* the machine lives and lets go of the key */
    free(v->c->frameBuffer); /* the library leaves it to whoever allocates it */
    v->c->frameBuffer = NULL;
    rfbClientCleanup(v->c);
    start_backend();
    CHECK_FATAL(viewer_open(v));
    change(0, 0, 1024, 768);
    CHECK(picture_arrives(v));
    SendKeyEvent(v->c, 'b', TRUE);
    CHECK(seen("k48+ "));
    free(v->c->frameBuffer); /* the library leaves it to whoever allocates it */
    v->c->frameBuffer = NULL;
    rfbClientCleanup(v->c);
    CHECK(seen("k48- "));
}

int main(int argc, char **argv)
{
#ifdef GH_SANITIZE
    CHECK_SKIP("LeakSanitizer needs calls that the backend's sandbox refuses, and libvncclient leaks of its own");
#endif
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    struct gh_error err = { 0 };
    struct viewer v;
    int status;

    CHECK_FATAL(argc == 2);
    program = argv[1];
    test_keymap();
    rfbEnableClientLogging = FALSE;
    rfbClientRegisterExtension(&extra);
    CHECK_FATAL(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/rfb", directory);
    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    umask(0177);
    CHECK_FATAL(listener >= 0 && !bind(listener, (struct sockaddr *)&a, sizeof a) && !listen(listener, 16));
    CHECK_FATAL(!gh_display_new(&host, NULL, 0, &display, &err) && !gh_display_start(display, &err));
    start_backend();
    test_picture(&v);
    test_sandboxed();
    test_input(&v);
    test_cursor(&v);
    test_several(&v);
    test_hostile(&v);
    test_death(&v);
    gh_display_free(display);                    /* the machine goes: so does the backend */
    CHECK_EQ(waitpid(backend, &status, 0), backend);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    unlink(path);
    rmdir(directory);
    return check_result();
}
