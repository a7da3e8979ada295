/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <gio/gio.h>
#include <poll.h>
#include <rfb/rfbclient.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
/* libvncclient's headers make TRUE -1, which no comparison and no bit field expects. */
#undef TRUE
#define TRUE 1

#include "engine/backend/display/keymap.h"
#include "gui/display/gh-rfb.h"

#define MAX_SIDE 8192
#define RECTS 64
#define COMMANDS 512
#define ENCODING_POINTER_KIND (-257)
#define RELATIVE_ZERO 0x7fff /* a movement of nothing */

enum { OPENED = 1, CLOSED = 2, UPDATED = 4, CURSOR = 8, KIND = 16 };

struct command {
    gboolean is_key, down;
    int x, y, buttons;
    guint keysym, xt;
};

struct gh_rfb {
    gint references; /* the caller, the thread, and a dispatch on its way */
    rfbClient *client; /* the thread's; the caller may read its picture while held */
    char *socket;
    struct gh_rfb_events events;
    gpointer opaque;
    gboolean abandoned, open; /* the caller's */
    int wake;
    GMutex lock; /* guards what follows */
    guint pending;
    gboolean dispatching, held, stop, relative;
    int fd; /* to break a read off; -1 */
    struct gh_screen_rect rect[RECTS];
    guint rects;
    struct command command[COMMANDS];
    guint commands;
    GBytes *cursor;
    int cursor_width, cursor_height, hot_x, hot_y;
};

static int tag;

static struct gh_rfb *of (rfbClient *c) { return rfbClientGetClientData (c, &tag); }

static void unref (struct gh_rfb *r)
{
    if (!g_atomic_int_dec_and_test (&r->references))
        return;
    if (r->client) {
        g_free (r->client->frameBuffer);
        r->client->frameBuffer = NULL;
        rfbClientCleanup (r->client);
    }
    g_clear_pointer (&r->cursor, g_bytes_unref);
    close (r->wake);
    g_mutex_clear (&r->lock);
    g_free (r->socket);
    g_free (r);
}

/* ---- To the caller ------------------------------------------------------------------------------------ */
static gboolean dispatch (gpointer data)
{
    struct gh_rfb *r = data;
    struct gh_screen_rect rect[RECTS];
    g_autoptr (GBytes) cursor = NULL;

    g_mutex_lock (&r->lock);
    guint pending = r->pending, rects = r->rects;
    int width = r->cursor_width, height = r->cursor_height, hot_x = r->hot_x, hot_y = r->hot_y;
    gboolean relative = r->relative;
    memcpy (rect, r->rect, rects * sizeof rect[0]);
    cursor = g_steal_pointer (&r->cursor);
    r->pending = r->rects = 0;
    r->dispatching = FALSE;
    g_mutex_unlock (&r->lock);
    /* Any of these may abandon the connection. */
    if (pending & OPENED && !r->abandoned) {
        r->open = TRUE;
        r->events.opened (r->opaque);
    }
    if (pending & KIND && !r->abandoned)
        r->events.pointer_kind (r->opaque, relative);
    if (pending & CURSOR && cursor && !r->abandoned)
        r->events.cursor (r->opaque, g_steal_pointer (&cursor), width, height, hot_x, hot_y);
    if (pending & UPDATED && !r->abandoned)
        r->events.updated (r->opaque, rect, rects);
    if (pending & CLOSED && !r->abandoned) {
        r->open = FALSE;
        r->events.closed (r->opaque);
    }
    unref (r);
    return G_SOURCE_REMOVE;
}

/* With the lock held. */
static void post (struct gh_rfb *r, guint what)
{
    r->pending |= what;
    if (r->dispatching)
        return;
    r->dispatching = TRUE;
    g_atomic_int_inc (&r->references);
    g_idle_add_full (G_PRIORITY_DEFAULT, dispatch, r, NULL);
}

/* ---- The thread: what the library calls ------------------------------------------------------------------ */
static rfbBool on_malloc (rfbClient *c)
{
    g_free (c->frameBuffer);
    c->frameBuffer = NULL;
    if (c->width >= 1 && c->height >= 1 && c->width <= MAX_SIDE && c->height <= MAX_SIDE)
        c->frameBuffer = g_try_malloc0 ((gsize) c->width * (gsize) c->height * 4);
    return c->frameBuffer != NULL;
}

static void on_rect (rfbClient *c, int x, int y, int width, int height)
{
    struct gh_rfb *r = of (c);

    g_mutex_lock (&r->lock);
    if (r->rects == RECTS) { /* too many: the smallest that holds them all */
        struct gh_screen_rect *all = &r->rect[0];
        int right = all->x + all->width, bottom = all->y + all->height;
        for (guint i = 1; i < RECTS; i++) {
            all->x = MIN (all->x, r->rect[i].x);
            all->y = MIN (all->y, r->rect[i].y);
            right = MAX (right, r->rect[i].x + r->rect[i].width);
            bottom = MAX (bottom, r->rect[i].y + r->rect[i].height);
        }
        all->width = right - all->x;
        all->height = bottom - all->y;
        r->rects = 1;
    }
    r->rect[r->rects++] = (struct gh_screen_rect){ x, y, width, height };
    g_mutex_unlock (&r->lock);
}

static void on_finished (rfbClient *c)
{
    struct gh_rfb *r = of (c);

    g_mutex_lock (&r->lock);
    if (r->rects) {
        r->held = TRUE;
        post (r, UPDATED);
    }
    g_mutex_unlock (&r->lock);
}

static void on_cursor (rfbClient *c, int hot_x, int hot_y, int width, int height, int bytes)
{
    struct gh_rfb *r = of (c);

    if (bytes != 4 || width < 1 || height < 1 || width > 256 || height > 256 || !c->rcSource || !c->rcMask)
        return;
    guint32 *pixels = g_new (guint32, (gsize) width * (gsize) height);
    for (int i = 0; i < width * height; i++) {
        guint32 p;
        memcpy (&p, c->rcSource + (gsize) i * 4, 4);
        pixels[i] = c->rcMask[i] ? p | GUINT32_TO_LE (0xff000000u) : 0;
    }
    g_mutex_lock (&r->lock);
    g_clear_pointer (&r->cursor, g_bytes_unref);
    r->cursor = g_bytes_new_take (pixels, (gsize) width * (gsize) height * 4);
    r->cursor_width = width;
    r->cursor_height = height;
    r->hot_x = hot_x;
    r->hot_y = hot_y;
    post (r, CURSOR);
    g_mutex_unlock (&r->lock);
}

static rfbBool on_encoding (rfbClient *c, rfbFramebufferUpdateRectHeader *rect)
{
    struct gh_rfb *r = of (c);

    if ((gint32) rect->encoding != ENCODING_POINTER_KIND || !r)
        return FALSE;
    g_mutex_lock (&r->lock);
    r->relative = rect->r.x == 0;
    post (r, KIND);
    g_mutex_unlock (&r->lock);
    return TRUE;
}

/* Version 0.9.14 announces ExtendedDesktopSize but drops screens with id 0, which some servers send, and then refuses
 * the larger rectangle: announce our own list, with the plain size change instead. */
static gboolean announce_encodings (rfbClient *c)
{
    static const gint32 list[] = { rfbEncodingRaw, rfbEncodingCopyRect, (gint32) rfbEncodingRichCursor,
                                   (gint32) rfbEncodingNewFBSize, (gint32) rfbEncodingLastRect,
                                   (gint32) rfbEncodingQemuExtendedKeyEvent, ENCODING_POINTER_KIND };
    guint8 message[4 + 4 * G_N_ELEMENTS (list)] = { rfbSetEncodings, 0, 0, G_N_ELEMENTS (list) };

    for (guint i = 0; i < G_N_ELEMENTS (list); i++) {
        guint32 value = GUINT32_TO_BE ((guint32) list[i]);
        memcpy (message + 4 + 4 * i, &value, 4);
    }
    return WriteToRFBServer (c, (char *) message, sizeof message) != 0;
}

/* ---- The thread ------------------------------------------------------------------------------------------ */
static gboolean connect_now (struct gh_rfb *r)
{
    rfbClient *c = rfbGetClient (8, 3, 4);

    rfbClientSetClientData (c, &tag, r);
    c->format.redShift = 16;
    c->format.greenShift = 8;
    c->format.blueShift = 0;
    free (c->serverHost);
    c->serverHost = strdup (r->socket);
    c->serverPort = 0;
    c->connectTimeout = 5;
    c->canHandleNewFBSize = TRUE;
    c->appData.encodingsString = "raw copyrect";
    c->appData.useRemoteCursor = TRUE;
    c->MallocFrameBuffer = on_malloc;
    c->GotFrameBufferUpdate = on_rect;
    c->FinishedFrameBufferUpdate = on_finished;
    c->GotCursorShape = on_cursor;
    if (!rfbInitClient (c, NULL, NULL)) /* has freed c */
        return FALSE;
    r->client = c;
    g_mutex_lock (&r->lock);
    r->fd = c->sock;
    g_mutex_unlock (&r->lock);
    return announce_encodings (c);
}

static gboolean send_commands (struct gh_rfb *r, const struct command *list, guint count)
{
    rfbClient *c = r->client;

    for (guint i = 0; i < count; i++) {
        const struct command *m = &list[i];
        /* Keys by their place on the keyboard, so that the guest's layout counts and not ours. */
        gboolean ok = !m->is_key ? SendPointerEvent (c, m->x, m->y, m->buttons)
                                 : (m->xt && SendExtendedKeyEvent (c, m->keysym, m->xt, m->down)) || SendKeyEvent (c, m->keysym, m->down);
        if (!ok)
            return FALSE;
    }
    return TRUE;
}

static void serve (struct gh_rfb *r)
{
    static const int nothing = -1;
    struct command list[COMMANDS];

    for (;;) {
        g_mutex_lock (&r->lock);
        gboolean held = r->held, stop = r->stop;
        guint count = r->commands;
        memcpy (list, r->command, count * sizeof list[0]);
        r->commands = 0;
        g_mutex_unlock (&r->lock);
        if (stop || !send_commands (r, list, count))
            return;
        /* Data may wait in the library's own buffer, where poll does not see it. */
        gboolean buffered = !held && r->client->buffered > 0;
        struct pollfd p[2] = { { r->wake, POLLIN, 0 }, { held ? nothing : r->client->sock, POLLIN, 0 } };
        if (poll (p, 2, buffered ? 0 : -1) < 0 && errno != EINTR)
            return;
        if (p[0].revents) {
            eventfd_t n;
            eventfd_read (r->wake, &n);
        }
        if ((buffered || p[1].revents) && !HandleRFBServerMessage (r->client))
            return;
    }
}

static gpointer thread_main (gpointer data)
{
    struct gh_rfb *r = data;

    if (connect_now (r)) {
        g_mutex_lock (&r->lock);
        post (r, OPENED);
        g_mutex_unlock (&r->lock);
        serve (r);
    }
    g_mutex_lock (&r->lock);
    r->fd = -1;
    post (r, CLOSED);
    g_mutex_unlock (&r->lock);
    unref (r);
    return NULL;
}

/* ---- From the caller ---------------------------------------------------------------------------------------- */
struct gh_rfb *gh_rfb_open (const char *socket, const struct gh_rfb_events *events, gpointer opaque)
{
    static int encodings[] = { ENCODING_POINTER_KIND, 0 };
    static rfbClientProtocolExtension extension = { .encodings = encodings, .handleEncoding = on_encoding };
    static gsize registered;
    struct gh_rfb *r = g_new0 (struct gh_rfb, 1);

    if (g_once_init_enter (&registered)) {
        rfbEnableClientLogging = 0;
        rfbClientRegisterExtension (&extension);
        g_once_init_leave (&registered, 1);
    }
    r->references = 2;
    r->fd = -1;
    r->wake = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
    r->socket = g_strdup (socket);
    r->events = *events;
    r->opaque = opaque;
    g_mutex_init (&r->lock);
    g_thread_unref (g_thread_new ("rfb", thread_main, r));
    return r;
}

void gh_rfb_free (struct gh_rfb *r)
{
    if (!r)
        return;
    r->abandoned = TRUE;
    r->open = FALSE;
    g_mutex_lock (&r->lock);
    r->stop = TRUE;
    r->held = FALSE;
    if (r->fd >= 0)
        shutdown (r->fd, SHUT_RDWR);
    g_mutex_unlock (&r->lock);
    eventfd_write (r->wake, 1);
    unref (r);
}

gboolean gh_rfb_is_open (const struct gh_rfb *r) { return r && r->open; }

const guint8 *gh_rfb_pixels (const struct gh_rfb *r, int *ret_width, int *ret_height)
{
    if (!r || !r->open || !r->held || !r->client->frameBuffer)
        return NULL;
    *ret_width = r->client->width;
    *ret_height = r->client->height;
    return r->client->frameBuffer;
}

void gh_rfb_continue (struct gh_rfb *r)
{
    if (!r || !r->open)
        return;
    g_mutex_lock (&r->lock);
    gboolean held = r->held;
    r->held = FALSE;
    g_mutex_unlock (&r->lock);
    if (held)
        eventfd_write (r->wake, 1);
}

static void queue (struct gh_rfb *r, struct command m)
{
    g_mutex_lock (&r->lock);
    struct command *last = r->commands ? &r->command[r->commands - 1] : NULL;
    if (last && !last->is_key && !m.is_key && last->buttons == m.buttons) {
        /* Only where it ends counts, or the sum of the way. */
        last->x = r->relative ? CLAMP (last->x + m.x - RELATIVE_ZERO, 0, 0xffff) : m.x;
        last->y = r->relative ? CLAMP (last->y + m.y - RELATIVE_ZERO, 0, 0xffff) : m.y;
    } else if (r->commands < COMMANDS) { /* a server that reads nothing loses input, not our memory */
        r->command[r->commands++] = m;
    }
    g_mutex_unlock (&r->lock);
    eventfd_write (r->wake, 1);
}

void gh_rfb_pointer (struct gh_rfb *r, int x, int y, int buttons)
{
    if (!gh_rfb_is_open (r))
        return;
    int zero = r->relative ? RELATIVE_ZERO : 0;
    queue (r, (struct command){ .x = CLAMP (x + zero, 0, 0xffff), .y = CLAMP (y + zero, 0, 0xffff), .buttons = buttons });
}

void gh_rfb_key (struct gh_rfb *r, guint keysym, guint16 code, gboolean down)
{
    if (gh_rfb_is_open (r))
        queue (r, (struct command){ .is_key = TRUE, .down = down, .keysym = keysym, .xt = code ? gh_xt_from_evdev (code) : 0 });
}
