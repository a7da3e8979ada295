/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "gui/engine/gh-machine.h"

#include <glib/gi18n.h>

#include "gui/engine/gh-message.h"
#include "gui/gh-util.h"

struct _GhMachine {
    GObject parent_instance;
    GhEngine1Machine *proxy;
};

G_DEFINE_FINAL_TYPE (GhMachine, gh_machine, G_TYPE_OBJECT)

static guint changed_signal;

static void emit_changed (GhMachine *self) { g_signal_emit (self, changed_signal, 0); }

static const char *text (const char *s) { return s ? s : ""; }

void gh_machine_set_proxy (GhMachine *self, GhEngine1Machine *proxy)
{
    if (self->proxy)
        g_signal_handlers_disconnect_by_data (self->proxy, self);
    g_set_object (&self->proxy, proxy);
    g_signal_connect_swapped (proxy, "g-properties-changed", G_CALLBACK (emit_changed), self);
    emit_changed (self);
}

GhMachine *gh_machine_new (GhEngine1Machine *proxy)
{
    GhMachine *self = g_object_new (GH_TYPE_MACHINE, NULL);

    gh_machine_set_proxy (self, proxy);
    return self;
}

GhEngine1Machine *gh_machine_get_proxy (GhMachine *self) { return self->proxy; }
GhEngine1 *gh_machine_new_engine (GhMachine *self)
{
    GDBusProxy *own = G_DBUS_PROXY (self->proxy);

    return gh_engine1_proxy_new_sync (g_dbus_proxy_get_connection (own), G_DBUS_PROXY_FLAGS_DO_NOT_LOAD_PROPERTIES | G_DBUS_PROXY_FLAGS_DO_NOT_CONNECT_SIGNALS,
                                      g_dbus_proxy_get_name (own), "/org/gasthaus/Engine1", NULL, NULL); /* nothing is asked, so nothing waits */
}

const char *gh_machine_get_name (GhMachine *self) { return text (gh_engine1_machine_get_name (self->proxy)); }
const char *gh_machine_get_uuid (GhMachine *self) { return text (gh_engine1_machine_get_uuid (self->proxy)); }
const char *gh_machine_get_state (GhMachine *self) { return text (gh_engine1_machine_get_state (self->proxy)); }

static const struct {
    const char *state, *text, *icon;
} states[] = {
    { "off", N_ ("Off"), "gh-state-off-symbolic" },
    { "starting", N_ ("Starting…"), "gh-state-running-symbolic" },
    { "running", N_ ("Running"), "gh-state-running-symbolic" },
    { "paused", N_ ("Paused"), "gh-state-paused-symbolic" },
    { "stopping", N_ ("Stopping…"), "gh-state-off-symbolic" },
    { "aborted", N_ ("Ended unexpectedly"), "gh-state-error-symbolic" },
    { "inaccessible", N_ ("Not accessible"), "gh-state-error-symbolic" },
};

static guint state_index (GhMachine *self)
{
    const char *state = gh_machine_get_state (self);

    for (guint i = 0; i < G_N_ELEMENTS (states); i++)
        if (g_str_equal (state, states[i].state))
            return i;
    return 0;
}

const char *gh_machine_get_state_text (GhMachine *self) { return _ (states[state_index (self)].text); }
const char *gh_machine_get_state_icon (GhMachine *self) { return states[state_index (self)].icon; }

char *gh_machine_get_trouble (GhMachine *self)
{
    const char *id = gh_engine1_machine_get_error_id (self->proxy);
    g_autofree char *sentence = gh_message_localize (gh_engine1_machine_get_error_message (self->proxy), gh_engine1_machine_get_error_text (self->proxy));

    return id && id[0] ? g_strdup_printf ("%s [%s]", sentence, id) : NULL;
}

char *gh_machine_get_address (GhMachine *self)
{
    GVariant *cards = gh_engine1_machine_get_networks (self->proxy);
    guint count = cards && gh_machine_is_on (self) ? (guint) g_variant_n_children (cards) : 0;

    for (guint i = 0; i < count; i++) {
        g_autoptr (GVariant) card = g_variant_get_child_value (cards, i);
        const char *address = "", *address6 = "";
        g_variant_lookup (card, "address", "&s", &address);
        g_variant_lookup (card, "address6", "&s", &address6);
        if (address[0] || address6[0])
            return g_strdup (address[0] ? address : address6);
    }
    return NULL;
}

gboolean gh_machine_is_on (GhMachine *self)
{
    guint i = state_index (self);

    return i >= 1 && i <= 4;
}

const char *gh_machine_get_os_icon (GhMachine *self)
{
    const char *os = text (gh_engine1_machine_get_os_id (self->proxy));

    if (strstr (os, "microsoft.com"))
        return "gh-os-windows";
    if (strstr (os, "bsd") || strstr (os, "BSD"))
        return "gh-os-bsd";
    return os[0] ? "gh-os-linux" : "gh-os-other";
}

struct change {
    GhMachine *machine;
    GtkWidget *widget;
};

static void on_changed (GObject *source, GAsyncResult *result, gpointer data)
{
    struct change *c = data;
    g_autoptr (GError) error = NULL;

    if (!gh_engine1_machine_call_change_finish (GH_ENGINE1_MACHINE (source), NULL, result, &error)) {
        gh_toast_error (c->widget, error);
        emit_changed (c->machine);
    }
    g_object_unref (c->machine);
    g_object_unref (c->widget);
    g_free (c);
}

void gh_machine_change (GhMachine *self, const char *key, GVariant *value, GtkWidget *widget)
{
    struct change *c = g_new (struct change, 1);
    GVariantDict settings;

    *c = (struct change){ g_object_ref (self), g_object_ref (widget) };
    g_variant_dict_init (&settings, NULL);
    g_variant_dict_insert_value (&settings, key, value);
    /* One setting that a person has just chosen: there is nothing for a stale revision (0: any) to protect. */
    gh_engine1_machine_call_change (self->proxy, 0, g_variant_dict_end (&settings), NULL, on_changed, c);
}

static void gh_machine_dispose (GObject *object)
{
    GhMachine *self = GH_MACHINE (object);

    if (self->proxy)
        g_signal_handlers_disconnect_by_data (self->proxy, self);
    g_clear_object (&self->proxy);
    G_OBJECT_CLASS (gh_machine_parent_class)->dispose (object);
}

static void gh_machine_class_init (GhMachineClass *klass)
{
    G_OBJECT_CLASS (klass)->dispose = gh_machine_dispose;
    changed_signal = g_signal_new ("changed", GH_TYPE_MACHINE, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 0);
}

static void gh_machine_init (GhMachine *self) {}
