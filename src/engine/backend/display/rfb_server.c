/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/backend/display/rfb_server.h"

#include <arpa/inet.h>
#include <rfb/rfb.h>
#include <rfb/rfbregion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "engine/backend/display/protocol.h"

enum {
    ENCODING_POINTER_KIND = -257, ENCODING_QEMU_KEY = -258, ENCODING_QEMU_LED = -261,
    QEMU_KEY_SUBTYPE = 0,
    RELATIVE_ZERO = 0x7fff,   /* a movement of nothing */
    SIZE_FORWARDED = 4,       /* ExtendedDesktopSize status: asked for, may come later */
    SEND_BUFFER = 8 << 20,    /* a whole screen at a time, as far as the host allows */
    CLIENT_WAIT_MS = 2000,    /* a client that neither reads nor finishes its message for so long is dropped */
};

struct client {
    rfbClientPtr cl;
    struct input_viewer input;
    bool     updated;         /* has got its first update: see acknowledge() */
    bool     wants_keys, wants_leds, wants_pointer;
    bool     keys_sent, leds_sent, pointer_sent;
    bool     relative;        /* what the client was told last */
};

struct rfb_server {
    rfbScreenInfoPtr screen;
    struct input_sink *sink;
    uint32_t *pixels;
    struct client client[RFB_CLIENTS_MAX];
};

static struct client *client_of(rfbClientPtr cl) { return cl->clientData; }
static struct rfb_server *server_of(rfbClientPtr cl) { return cl->screen->screenData; }

/* ---- Input hooks ----------------------------------------------------------------------------------- */

static void on_key(rfbBool down, rfbKeySym keysym, rfbClientPtr cl)
{
    if (client_of(cl))
        input_key(server_of(cl)->sink, &client_of(cl)->input, 0, (uint32_t)keysym, down != 0);
}

static void on_pointer(int buttons, int x, int y, rfbClientPtr cl)
{
    struct client *c = client_of(cl);

    if (!c)
        return;
    if (c->relative) {
        input_pointer(server_of(cl)->sink, &c->input, (unsigned)buttons, x - RELATIVE_ZERO, y - RELATIVE_ZERO, true);
        return;
    }
    input_pointer(server_of(cl)->sink, &c->input, (unsigned)buttons, x, y, false);
    if (server_of(cl)->sink->absolute)           /* where the shape is drawn for clients that cannot */
        rfbDefaultPtrAddEvent(buttons, x, y, cl);
}

static int on_resize(int width, int height, int screens, struct rfbExtDesktopScreen *list, rfbClientPtr cl)
{
    if (width < 64 || height < 64 || width > 8192 || height > 8192 || screens != 1)
        return rfbExtDesktopSize_InvalidScreenLayout;
    input_send(server_of(cl)->sink, GH_DISPLAY_RESIZE, (uint32_t)width, (uint32_t)height, 0);
    return SIZE_FORWARDED;
}

static void on_gone(rfbClientPtr cl)
{
    struct client *c = client_of(cl);

    if (!c)
        return;
    input_release(server_of(cl)->sink, &c->input);
    memset(c, 0, sizeof *c);
    cl->clientData = NULL;
    input_send(server_of(cl)->sink, GH_DISPLAY_CLIENTS, rfb_server_clients(server_of(cl)), 0, 0);
}

static void on_update_finished(rfbClientPtr cl, int result)
{
    if (client_of(cl))
        client_of(cl)->updated = true;
}

/* ---- QEMU's extensions --------------------------------------------------------------------------------- */

static int extension_encodings[] = { ENCODING_QEMU_KEY, ENCODING_QEMU_LED, ENCODING_POINTER_KIND, 0 };

static rfbBool extension_new(rfbClientPtr cl, void **data)
{
    *data = NULL;
    return TRUE;
}

static rfbBool extension_enable(rfbClientPtr cl, void **data, int encoding)
{
    struct client *c = client_of(cl);

    if (!c)
        return FALSE;
    c->wants_keys |= encoding == ENCODING_QEMU_KEY;
    c->wants_leds |= encoding == ENCODING_QEMU_LED;
    c->wants_pointer |= encoding == ENCODING_POINTER_KIND;
    return TRUE;
}

static rfbBool extension_message(rfbClientPtr cl, void *data, const rfbClientToServerMsg *message)
{
    uint8_t rest[11];                            /* subtype, down (2), keysym (4), keycode (4) */

    if (message->type != 255)
        return FALSE;
    if (rfbReadExact(cl, (char *)rest, sizeof rest) <= 0 || rest[0] != QEMU_KEY_SUBTYPE || !client_of(cl)) {
        rfbCloseClient(cl);                      /* gone, or a message whose length is unknown */
        return TRUE;
    }
    input_key(server_of(cl)->sink, &client_of(cl)->input, gh_be32_get(rest + 7), gh_be32_get(rest + 3),
              gh_be16_get(rest + 1) != 0);
    return TRUE;
}

static rfbProtocolExtension extension = {
    .newClient = extension_new, .pseudoEncodings = extension_encodings, .enablePseudoEncoding = extension_enable,
    .handleMessage = extension_message,
};

/* One pseudo rectangle in an update of its own. */
static void send_pseudo(rfbClientPtr cl, int encoding, uint16_t x, const void *payload, size_t bytes)
{
    uint8_t m[16 + 4] = { rfbFramebufferUpdate };

    gh_be16_put(m + 2, 1);
    gh_be16_put(m + 4, x);
    gh_be32_put(m + 12, (uint32_t)encoding);
    memcpy(m + 16, payload, bytes);
    if (rfbWriteExact(cl, (const char *)m, (int)(16 + bytes)) < 0)
        rfbCloseClient(cl);
}

/* Acknowledgements wait until the list of supported messages went out with an update (not always the
 * first): libvncclient would let it overwrite what it learned before. Width and height stay 0, because
 * libvncclient checks them. */
static void acknowledge(struct rfb_server *s, struct client *c)
{
    bool relative = !s->sink->absolute;

    if (!c->updated || c->cl->enableSupportedMessages || c->cl->sock == RFB_INVALID_SOCKET)
        return;
    if (c->wants_keys && !c->keys_sent) {
        c->keys_sent = true;
        send_pseudo(c->cl, ENCODING_QEMU_KEY, 0, "", 0);
    }
    if (c->wants_leds && !c->leds_sent && c->cl->sock != RFB_INVALID_SOCKET) {
        uint8_t leds = (uint8_t)s->sink->leds;
        c->leds_sent = true;
        send_pseudo(c->cl, ENCODING_QEMU_LED, 0, &leds, 1);
    }
    if (c->wants_pointer && !c->pointer_sent && c->cl->sock != RFB_INVALID_SOCKET) {
        c->pointer_sent = true;
        c->relative = relative;
        send_pseudo(c->cl, ENCODING_POINTER_KIND, !relative, "", 0);
    }
}

void rfb_server_state_changed(struct rfb_server *s)
{
    for (unsigned i = 0; i < RFB_CLIENTS_MAX; i++) {
        struct client *c = &s->client[i];
        c->leds_sent = c->pointer_sent = false;
        c->input.positioned = false;
        if (c->cl)
            acknowledge(s, c);
    }
}

/* ---- Clients ------------------------------------------------------------------------------------------- */

void rfb_server_add(struct rfb_server *s, int fd)
{
    const int bytes = SEND_BUFFER;
    struct client *c = NULL;

    for (unsigned i = 0; i < RFB_CLIENTS_MAX && !c; i++)
        if (!s->client[i].cl)
            c = &s->client[i];
    if (!c) {
        close(fd);
        return;
    }
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes); /* as much as the host grants */
    rfbClientPtr cl = rfbNewClient(s->screen, fd);
    if (!cl)                                     /* closed by the library */
        return;
    *c = (struct client){ .cl = cl };
    cl->clientData = c;
    cl->clientGoneHook = on_gone;
    input_send(s->sink, GH_DISPLAY_CLIENTS, rfb_server_clients(s), 0, 0);
}

unsigned rfb_server_clients(const struct rfb_server *s)
{
    unsigned n = 0;

    for (unsigned i = 0; i < RFB_CLIENTS_MAX; i++)
        n += s->client[i].cl != NULL;
    return n;
}

unsigned rfb_server_poll(const struct rfb_server *s, struct pollfd p[RFB_CLIENTS_MAX])
{
    for (unsigned i = 0; i < RFB_CLIENTS_MAX; i++)
        p[i] = (struct pollfd){ s->client[i].cl ? s->client[i].cl->sock : -1, POLLIN, 0 };
    return RFB_CLIENTS_MAX;
}

void rfb_server_run(struct rfb_server *s, const struct pollfd *p, unsigned count)
{
    for (unsigned i = 0; i < RFB_CLIENTS_MAX; i++) {
        struct client *c = &s->client[i];
        if (!c->cl)
            continue;
        if (i < count && p[i].fd == c->cl->sock && p[i].revents)
            rfbProcessClientMessage(c->cl);
        if (c->cl->sock != RFB_INVALID_SOCKET && c->cl->state == RFB_NORMAL) {
            rfbUpdateClient(c->cl);
            acknowledge(s, c);
        }
        if (c->cl->sock == RFB_INVALID_SOCKET)
            rfbClientConnectionGone(c->cl);      /* calls on_gone */
    }
}

bool rfb_server_hungry(const struct rfb_server *s)
{
    for (unsigned i = 0; i < RFB_CLIENTS_MAX; i++) {
        rfbClientPtr cl = s->client[i].cl;
        if (cl && cl->state == RFB_NORMAL && !sraRgnEmpty(cl->requestedRegion))
            return true;
    }
    return false;
}

/* ---- Pictures -------------------------------------------------------------------------------------------- */

static void xrgb_format(rfbScreenInfoPtr screen)
{
    screen->serverFormat.redShift = 16;
    screen->serverFormat.greenShift = 8;
    screen->serverFormat.blueShift = 0;
}

static bool resize(struct rfb_server *s, uint32_t width, uint32_t height)
{
    uint32_t *pixels = calloc((size_t)width * height, sizeof *pixels);

    if (!pixels)
        return false;
    rfbNewFramebuffer(s->screen, (char *)pixels, (int)width, (int)height, 8, 3, 4);
    xrgb_format(s->screen);
    free(s->pixels);
    s->pixels = pixels;
    s->sink->width = width;
    s->sink->height = height;
    for (unsigned i = 0; i < RFB_CLIENTS_MAX; i++)
        s->client[i].input.positioned = false;
    return true;
}

bool rfb_server_frame(struct rfb_server *s, const struct gh_surface_view *view, const struct gh_surface_rect *rects,
                      unsigned count)
{
    if ((view->width != s->sink->width || view->height != s->sink->height) && !resize(s, view->width, view->height))
        return false;
    for (unsigned i = 0; i < count; i++) {
        const struct gh_surface_rect *r = &rects[i];
        for (uint32_t y = r->y; y < (uint32_t)r->y + r->h; y++)
            memcpy(s->pixels + (size_t)y * view->width + r->x, view->pixels + (size_t)y * (view->stride / 4) + r->x,
                   (size_t)r->w * 4);
        rfbMarkRectAsModified(s->screen, r->x, r->y, r->x + r->w, r->y + r->h);
    }
    return true;
}

void rfb_server_cursor(struct rfb_server *s, const uint32_t *pixels, uint32_t width, uint32_t height, uint32_t hot_x,
                       uint32_t hot_y)
{
    size_t row = (width + 7) / 8, count = (size_t)width * height;
    rfbCursorPtr c = width && height ? calloc(1, sizeof *c) : NULL;

    if (c) {
        c->cleanup = c->cleanupMask = c->cleanupRichSource = TRUE;
        c->width = (unsigned short)width;
        c->height = (unsigned short)height;
        c->xhot = (unsigned short)hot_x;
        c->yhot = (unsigned short)hot_y;
        c->mask = calloc(row, height);
        c->richSource = malloc(count * 4);
        if (!c->mask || !c->richSource) {
            rfbFreeCursor(c);
            c = NULL;
        }
    }
    for (size_t i = 0; c && i < count; i++) {
        uint32_t x = (uint32_t)(i % width), y = (uint32_t)(i / width), pixel = pixels[i];
        gh_le32_put(c->richSource + 4 * i, pixel & 0xffffff);
        if (pixel >> 24 >= 0x80)
            c->mask[y * row + x / 8] |= (uint8_t)(0x80 >> (x & 7));
    }
    rfbSetCursor(s->screen, c);                  /* frees the one before */
}

/* ---- Life ---------------------------------------------------------------------------------------------------- */

struct rfb_server *rfb_server_new(const char *name, struct input_sink *sink)
{
    struct rfb_server *s = calloc(1, sizeof *s);

    if (!s)
        return NULL;
    sink->width = 640;                           /* until the machine shows something */
    sink->height = 480;
    s->sink = sink;
    s->pixels = calloc((size_t)sink->width * sink->height, 4);
    rfbLogEnable(0);
    rfbScreenInfoPtr screen = s->pixels ? rfbGetScreen(NULL, NULL, (int)sink->width, (int)sink->height, 8, 3, 4) : NULL;
    if (!screen) {
        free(s->pixels);
        free(s);
        return NULL;
    }
    s->screen = screen;
    xrgb_format(screen);
    screen->screenData = s;
    screen->frameBuffer = (char *)s->pixels;
    screen->desktopName = name;
    screen->port = screen->ipv6port = screen->udpPort = screen->httpPort = 0;
    screen->autoPort = FALSE;
    screen->httpDir = NULL;
    screen->permitFileTransfer = FALSE;
    screen->alwaysShared = TRUE;
    screen->deferUpdateTime = screen->deferPtrUpdateTime = 0;
    screen->maxClientWait = rfbMaxClientWait = CLIENT_WAIT_MS;
    screen->ignoreSIGPIPE = TRUE;
    screen->kbdAddEvent = on_key;
    screen->ptrAddEvent = on_pointer;
    screen->setDesktopSizeHook = on_resize;
    screen->displayFinishedHook = on_update_finished;
    rfbSetCursor(screen, NULL);
    rfbRegisterProtocolExtension(&extension);
    rfbInitServer(screen);
    return s;
}

void rfb_server_free(struct rfb_server *s)
{
    if (!s)
        return;
    for (unsigned i = 0; i < RFB_CLIENTS_MAX; i++)
        if (s->client[i].cl) {
            rfbCloseClient(s->client[i].cl);
            rfbClientConnectionGone(s->client[i].cl);
        }
    rfbUnregisterProtocolExtension(&extension);
    rfbScreenCleanup(s->screen);
    free(s->pixels);
    free(s);
}
