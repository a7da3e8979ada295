/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The row in which a port forward is typed: protocol, address and port of this computer, port of the guest.
 * What is wrong is marked at its field and said below. Signals: "apply" when the person wants it and it can
 * be tried, "cancel".
 */
#pragma once
#include <adwaita.h>

#define GH_TYPE_FORWARD_FORM (gh_forward_form_get_type ())
G_DECLARE_FINAL_TYPE (GhForwardForm, gh_forward_form, GH, FORWARD_FORM, AdwPreferencesRow)

typedef struct { char protocol[4], address[46]; guint16 host_port, guest_port; } GhForward;

GtkWidget *gh_forward_form_new (void);
/* Starts anew with these values; NULL: an empty form. taken: forwards (a(ssqq)) that a new one must not collide with. */
void gh_forward_form_start (GhForwardForm *self, const GhForward *forward, GVariant *taken);
/* What is typed; valid in the handler of "apply". */
void gh_forward_form_get (GhForwardForm *self, GhForward *ret);
/* The same address of this computer, or one of them is all addresses. */
gboolean gh_forward_addresses_meet (const char *a, const char *b);
/* The machine or the daemon said no. */
void gh_forward_form_refuse (GhForwardForm *self, const char *text);
