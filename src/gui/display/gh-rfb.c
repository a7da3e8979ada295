/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <glib-unix.h>
#include <gio/gio.h>
#include <rfb/rfbclient.h>
/* libvncclient's headers make TRUE -1, which no comparison and no bit field expects. */
#undef TRUE
#define TRUE 1

#include "engine/backend/display/keymap.h"
#include "gui/display/gh-rfb.h"

#define MAX_SIDE 8192

struct gh_rfb {
    gint references; /* the opening thread holds one */
    rfbClient *client;
    char *socket;
    struct gh_rfb_events events;
    gpointer opaque;
    guint watch, resume;
    gboolean paused, abandoned, open;
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
    g_free (r->socket);
    g_free (r);
}

/* May run in the opening thread; then nobody has been told of the buffer yet. */
static rfbBool on_malloc (rfbClient *c)
{
    struct gh_rfb *r = of (c);

    g_free (c->frameBuffer);
    c->frameBuffer = NULL;
    if (c->width < 1 || c->height < 1 || c->width > MAX_SIDE || c->height > MAX_SIDE)
        return FALSE;
    c->frameBuffer = g_try_malloc0 ((gsize) c->width * (gsize) c->height * 4);
    if (c->frameBuffer && r->open && !r->abandoned)
        r->events.resized (r->opaque);
    return c->frameBuffer != NULL;
}

static void on_finished (rfbClient *c)
{
    struct gh_rfb *r = of (c);

    r->paused = TRUE;
    if (r->open && !r->abandoned)
        r->events.updated (r->opaque);
}

static void on_cursor (rfbClient *c, int hot_x, int hot_y, int width, int height, int bytes)
{
    struct gh_rfb *r = of (c);

    if (bytes != 4 || width < 1 || height < 1 || width > 256 || height > 256 || !c->rcSource || !c->rcMask || !r->open || r->abandoned)
        return;
    guint32 *pixels = g_new (guint32, (gsize) width * (gsize) height);
    for (int i = 0; i < width * height; i++) {
        guint32 p;
        memcpy (&p, c->rcSource + (gsize) i * 4, 4);
        pixels[i] = c->rcMask[i] ? p | 0xff000000u : 0;
    }
    r->events.cursor (r->opaque, g_bytes_new_take (pixels, (gsize) width * (gsize) height * 4), width, height, hot_x, hot_y);
}

static void lost (struct gh_rfb *r)
{
    if (!r->open)
        return;
    r->open = FALSE;
    g_clear_handle_id (&r->watch, g_source_remove);
    if (!r->abandoned)
        r->events.closed (r->opaque);
}

/* Data may wait in libvncclient's own buffer, where poll does not see it: go on until that is empty. */
static gboolean read_messages (struct gh_rfb *r)
{
    do
        if (!HandleRFBServerMessage (r->client))
            return FALSE;
    while (r->client->buffered > 0 && !r->paused);
    return TRUE;
}

static gboolean on_readable (gint fd, GIOCondition condition, gpointer data)
{
    struct gh_rfb *r = data;

    g_atomic_int_inc (&r->references);
    gboolean ok = read_messages (r), stay = ok && !r->paused && r->open && !r->abandoned;
    if (!stay)
        r->watch = 0;
    if (!ok)
        lost (r);
    unref (r);
    return stay ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
}

static void watch (struct gh_rfb *r)
{
    if (!r->watch)
        r->watch = g_unix_fd_add (r->client->sock, G_IO_IN | G_IO_HUP | G_IO_ERR, on_readable, r);
}

static gboolean on_resume (gpointer data)
{
    struct gh_rfb *r = data;

    r->resume = 0;
    if (!r->open)
        return G_SOURCE_REMOVE;
    r->paused = FALSE;
    if (r->client->buffered > 0 && !read_messages (r)) {
        lost (r);
        return G_SOURCE_REMOVE;
    }
    if (!r->paused)
        watch (r);
    return G_SOURCE_REMOVE;
}

void gh_rfb_continue (struct gh_rfb *r)
{
    if (r && r->open && r->paused && !r->resume)
        r->resume = g_idle_add_full (G_PRIORITY_DEFAULT, on_resume, r, NULL);
}

/* Version 0.9.14 announces ExtendedDesktopSize but drops screens with id 0, which some servers send, and then refuses
 * the larger rectangle: announce our own list, with the plain size change instead. */
static void announce_encodings (rfbClient *c)
{
    static const gint32 list[] = { rfbEncodingRaw, rfbEncodingCopyRect, (gint32) rfbEncodingRichCursor,
                                   (gint32) rfbEncodingNewFBSize, (gint32) rfbEncodingLastRect,
                                   (gint32) rfbEncodingQemuExtendedKeyEvent };
    guint8 message[4 + 4 * G_N_ELEMENTS (list)] = { rfbSetEncodings, 0, 0, G_N_ELEMENTS (list) };

    for (guint i = 0; i < G_N_ELEMENTS (list); i++) {
        guint32 value = GUINT32_TO_BE ((guint32) list[i]);
        memcpy (message + 4 + 4 * i, &value, 4);
    }
    WriteToRFBServer (c, (char *) message, sizeof message);
}

static gboolean on_opened (gpointer data)
{
    struct gh_rfb *r = data;

    if (!r->abandoned && r->client) {
        r->open = TRUE;
        announce_encodings (r->client);
        r->events.opened (r->opaque);
        r->events.resized (r->opaque);
        watch (r);
    } else if (!r->abandoned) {
        r->events.closed (r->opaque);
    }
    unref (r);
    return G_SOURCE_REMOVE;
}

static gpointer open_thread (gpointer data)
{
    struct gh_rfb *r = data;
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
    c->FinishedFrameBufferUpdate = on_finished;
    c->GotCursorShape = on_cursor;
    if (rfbInitClient (c, NULL, NULL)) /* frees c on failure */
        r->client = c;
    g_idle_add (on_opened, r);
    return NULL;
}

struct gh_rfb *gh_rfb_open (const char *socket, const struct gh_rfb_events *events, gpointer opaque)
{
    struct gh_rfb *r = g_new0 (struct gh_rfb, 1);

    rfbEnableClientLogging = 0;
    r->references = 2;
    r->socket = g_strdup (socket);
    r->events = *events;
    r->opaque = opaque;
    g_thread_unref (g_thread_new ("rfb", open_thread, r));
    return r;
}

void gh_rfb_free (struct gh_rfb *r)
{
    if (!r)
        return;
    r->abandoned = TRUE;
    r->open = FALSE;
    g_clear_handle_id (&r->watch, g_source_remove);
    g_clear_handle_id (&r->resume, g_source_remove);
    unref (r);
}

gboolean gh_rfb_is_open (const struct gh_rfb *r) { return r && r->open; }

const guint8 *gh_rfb_pixels (const struct gh_rfb *r, int *ret_width, int *ret_height)
{
    if (!r || !r->open || !r->client->frameBuffer)
        return NULL;
    *ret_width = r->client->width;
    *ret_height = r->client->height;
    return r->client->frameBuffer;
}

void gh_rfb_pointer (struct gh_rfb *r, int x, int y, int buttons)
{
    if (gh_rfb_is_open (r))
        SendPointerEvent (r->client, x, y, buttons);
}

void gh_rfb_key (struct gh_rfb *r, guint keysym, guint16 code, gboolean down)
{
    if (!gh_rfb_is_open (r))
        return;
    guint32 xt = code ? gh_xt_from_evdev (code) : 0;
    /* By its place on the keyboard, so that the guest's layout counts and not ours. */
    if (!xt || !SendExtendedKeyEvent (r->client, keysym, xt, down ? 1 : 0))
        SendKeyEvent (r->client, keysym, down ? 1 : 0);
}
