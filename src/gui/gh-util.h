/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Small things every page needs. GTK main thread. */
#pragma once
#include <adwaita.h>

#include "engine-dbus.h"

/* The stable id of a D-Bus error of ours ("DiskLocked"), or "Failed". Free with g_free. */
char *gh_error_id (const GError *error);
/* "Sentence [Id]", without D-Bus prefixes; markup is not escaped. Free with g_free. */
char *gh_error_message (const GError *error);
/* The same of a job that failed. */
char *gh_job_error (GhEngine1Job *job);
char *gh_job_notes (GhEngine1Job *job); /* its notes, "Sentence [Id]", one a line; NULL: none */
char *gh_format_size (guint64 bytes); /* binary units, as memory and disks are sold to guests */
char *gh_format_path (const char *path); /* as people read it: ~ for their own folder */
void gh_set_label (GtkWidget *widget, const char *label); /* accessible name */
AdwToast *gh_toast_new (const char *text); /* plain text; long sentences are wrapped, not cut */
/* Over the nearest toast overlay around the widget; without one nothing is shown. */
void gh_toast (GtkWidget *widget, const char *text);
void gh_toast_error (GtkWidget *widget, const GError *error);
/* A quiet line with a warning sign, for dialogs; text NULL hides it. */
GtkWidget *gh_note_new (void);
void gh_note_say (GtkWidget *note, const char *text);
/* Shows what is told in an entry; what a person has typed and not yet applied stays. */
void gh_tell_text (GtkWidget *entry, const char *text);
/* Before it is shown: not larger than the smallest of the desktop's screens lets it be. */
void gh_fit_screen (GtkWindow *window);
void gh_close_on_escape (GtkWidget *window);
