/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The parts of the media window, which share one page: the list (gh-media-window.c), its rows (gh-media-row.c), the questions before an
 * action (gh-media-ask.c), and actions under way (gh-media-work.c). GTK main thread.
 */
#pragma once
#include <adwaita.h>
#include <jansson.h>

#include "gui/engine/gh-connection.h"

struct gh_media_page {
    GtkWidget *window, *toasts, *stack, *content, *works; /* content: the list that is shown, made anew when it changed; works: one row for each action */
    GhConnection *connection;
    GCancellable *cancel; /* when the window goes, and the page with it */
    char *expanded;       /* path of the row that is open */
    char *shown;          /* the list as the engine sent it */
    gboolean asking, again; /* the engine was asked for the list; something changed since */
};

/* gh-media-window.c: asks the engine again. */
void gh_media_page_load (struct gh_media_page *p);
/* gh-media-row.c; m: one of the engine's media. */
GtkWidget *gh_media_row_new (struct gh_media_page *p, json_t *m);
int gh_media_compare (json_t *a, json_t *b); /* as a list is sorted: by machine, then by file */
/* gh-media-ask.c: does it, after a question where one is due. m as above. */
void gh_media_ask (struct gh_media_page *p, const char *action, json_t *m);
void gh_media_ask_new (struct gh_media_page *p);
void gh_media_ask_repair (struct gh_media_page *p, const char *path, const char *found);
/* gh-media-work.c: options as the API's MediaAction takes them (floating). */
void gh_media_run (struct gh_media_page *p, const char *action, const char *path, GVariant *options);
void gh_media_say (struct gh_media_page *p, const char *text);
void gh_media_fail (struct gh_media_page *p, const char *action, const char *path, const char *text);
