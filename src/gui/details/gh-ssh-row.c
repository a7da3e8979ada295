/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "gui/details/gh-ssh-row.h"

#include <glib/gi18n.h>

#include "gui/gh-util.h"

#define SSH_PORT 22

struct _GhSshRow {
    AdwActionRow parent_instance;
    GhMachine *machine;
    char *adapter;
    GVariant *forwards;
};

G_DEFINE_FINAL_TYPE (GhSshRow, gh_ssh_row, ADW_TYPE_ACTION_ROW)

struct ssh { GhSshRow *self; guint16 port; };

static void give_command (GhSshRow *self, guint16 port)
{
    g_autofree char *command = g_strdup_printf ("ssh -p %u 127.0.0.1", port);
    g_autofree char *text = g_strdup_printf (_ ("“%s” is on the clipboard"), command);

    gdk_clipboard_set_text (gtk_widget_get_clipboard (GTK_WIDGET (self)), command);
    gh_toast (GTK_WIDGET (self), text);
}

static void on_ssh_forward (GObject *source, GAsyncResult *result, gpointer data)
{
    g_autofree struct ssh *c = data;
    g_autoptr (GhSshRow) self = c->self;
    g_autoptr (GError) error = NULL;

    if (!gh_engine1_machine_call_add_forward_finish (GH_ENGINE1_MACHINE (source), result, &error))
        gh_toast_error (GTK_WIDGET (self), error);
    else if (self->machine)
        give_command (self, c->port);
}

/* A port of this computer that nobody has now; 0: none. */
static guint16 free_port (void)
{
    g_autoptr (GSocket) socket = g_socket_new (G_SOCKET_FAMILY_IPV4, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_TCP, NULL);
    g_autoptr (GSocketAddress) wanted = g_inet_socket_address_new_from_string ("127.0.0.1", 0), got = NULL;

    if (!socket || !g_socket_bind (socket, wanted, FALSE, NULL) || !(got = g_socket_get_local_address (socket, NULL)))
        return 0;
    return g_inet_socket_address_get_port (G_INET_SOCKET_ADDRESS (got));
}

static void on_ssh (GhSshRow *self)
{
    const char *protocol, *address;
    guint16 host_port, guest_port;
    GVariantIter iter;

    if (!self->forwards)
        return;
    g_variant_iter_init (&iter, self->forwards);
    while (g_variant_iter_next (&iter, "(&s&sqq)", &protocol, &address, &host_port, &guest_port))
        if (guest_port == SSH_PORT && g_str_equal (protocol, "tcp") && (g_str_equal (address, "127.0.0.1") || g_str_equal (address, "0.0.0.0"))) {
            give_command (self, host_port);
            return;
        }
    struct ssh *c = g_new0 (struct ssh, 1);
    *c = (struct ssh){ g_object_ref (self), free_port () };
    gh_engine1_machine_call_add_forward (gh_machine_get_proxy (self->machine), self->adapter, "tcp", "127.0.0.1", c->port, SSH_PORT, NULL, on_ssh_forward, c);
}

void gh_ssh_row_show (GhSshRow *self, const char *adapter, GVariant *forwards)
{
    g_variant_ref (forwards);
    g_clear_pointer (&self->forwards, g_variant_unref);
    self->forwards = forwards;
    g_free (self->adapter);
    self->adapter = g_strdup (adapter);
}

static void gh_ssh_row_dispose (GObject *object)
{
    GhSshRow *self = GH_SSH_ROW (object);

    g_clear_object (&self->machine);
    g_clear_pointer (&self->forwards, g_variant_unref);
    g_clear_pointer (&self->adapter, g_free);
    G_OBJECT_CLASS (gh_ssh_row_parent_class)->dispose (object);
}

static void gh_ssh_row_class_init (GhSshRowClass *klass) { G_OBJECT_CLASS (klass)->dispose = gh_ssh_row_dispose; }

static void gh_ssh_row_init (GhSshRow *self)
{
    GtkWidget *button = gtk_button_new_with_mnemonic (_ ("Copy SSH _Command"));

    adw_preferences_row_set_title (ADW_PREFERENCES_ROW (self), _ ("Log In by SSH"));
    adw_action_row_set_subtitle (ADW_ACTION_ROW (self), _ ("Forwards a port of this computer to the guest's SSH"));
    gtk_widget_set_valign (button, GTK_ALIGN_CENTER);
    adw_action_row_add_suffix (ADW_ACTION_ROW (self), button);
    g_signal_connect_swapped (button, "clicked", G_CALLBACK (on_ssh), self);
}

GtkWidget *gh_ssh_row_new (GhMachine *machine)
{
    GhSshRow *self = g_object_new (GH_TYPE_SSH_ROW, NULL);

    self->machine = g_object_ref (machine);
    return GTK_WIDGET (self);
}
