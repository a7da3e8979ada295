/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The RFB side of the display backend: libvncserver fed with connected sockets. It never listens,
 * knows no TCP, and has no file transfer. The only file that includes rfb/rfb.h is rfb_server.c.
 *
 * Thread: one. Sockets handed in belong to the server.
 */
#pragma once
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/backend/display/input.h"
#include "engine/backend/surface-reader.h"

enum { RFB_CLIENTS_MAX = 16 };

struct rfb_server;

struct rfb_server *rfb_server_new(const char *name, struct input_sink *sink); /* NULL: out of memory */
void rfb_server_free(struct rfb_server *s);
void rfb_server_add(struct rfb_server *s, int fd);
unsigned rfb_server_clients(const struct rfb_server *s);

/* Fills poll entries of the clients' sockets; handles what poll found, sends updates, drops the dead. */
unsigned rfb_server_poll(const struct rfb_server *s, struct pollfd p[RFB_CLIENTS_MAX]);
void rfb_server_run(struct rfb_server *s, const struct pollfd *p, unsigned count);
/* A client waits for a change of the picture. */
bool rfb_server_hungry(const struct rfb_server *s);

/* Copies what changed. false: out of memory for a new size. */
bool rfb_server_frame(struct rfb_server *s, const struct gh_surface_view *view, const struct gh_surface_rect *rects,
                      unsigned count);
/* The sink's pointer kind or LEDs changed: clients that care are told. */
void rfb_server_state_changed(struct rfb_server *s);
/* ARGB premultiplied; width 0: none. */
void rfb_server_cursor(struct rfb_server *s, const uint32_t *pixels, uint32_t width, uint32_t height, uint32_t hot_x,
                       uint32_t hot_y);
