/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the engine says, in the person's language. The engine's sentences are English and arrive with what they are made from: parts
 * that ": " joins, each a format (the msgid) and its arguments as text. Any thread.
 */
#pragma once
#include <gio/gio.h>

/* parts: aas, or NULL; text when nothing is known of how it was made. Free with g_free. */
char *gh_message_localize (GVariant *parts, const char *text);
/* From now on every error of this connection has its sentence in the person's language. */
void gh_message_localize_errors (GDBusConnection *bus);
