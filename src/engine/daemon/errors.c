/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/daemon/daemon.h"

#define DESCRIBED "gh-errors-described"

static GVariant *part(const char *packed)
{
    g_autofree char *valid = g_utf8_make_valid(packed, -1); /* names of files may be anything */
    g_auto(GStrv) fields = g_strsplit(valid, (const char[]){ GH_ERROR_ARGUMENT, 0 }, -1);

    return g_variant_new_strv((const char *const *)fields, -1);
}

GVariant *gh_error_parts(const struct gh_error *err)
{
    GVariantBuilder parts;

    g_variant_builder_init(&parts, G_VARIANT_TYPE("aas"));
    if (err && err->message[0]) {
        g_auto(GStrv) packed = g_strsplit(err->message, (const char[]){ GH_ERROR_PART, 0 }, -1);
        for (guint i = 0; packed[i]; i++)
            g_variant_builder_add_value(&parts, part(packed[i]));
    }
    return g_variant_builder_end(&parts);
}

/* Most clients take an error's body for nothing but a sentence. */
void gh_describe_errors(GDBusMethodInvocation *invocation)
{
    if (!g_dbus_method_invocation_get_sender(invocation))
        g_object_set_data(G_OBJECT(g_dbus_method_invocation_get_connection(invocation)), DESCRIBED, GINT_TO_POINTER(1));
}

/* D-Bus error names are made from the message id. */
void gh_return_error(GDBusMethodInvocation *invocation, const struct gh_error *err)
{
    g_autofree char *name = g_strdup_printf("org.gasthaus.Error.%s", err->id[0] ? err->id : "Failed");
    g_autofree char *text = g_utf8_make_valid(err->text[0] ? err->text : "The operation failed.", -1);
    GDBusMessage *call = g_dbus_method_invocation_get_message(invocation);

    if (!g_object_get_data(G_OBJECT(g_dbus_method_invocation_get_connection(invocation)), DESCRIBED)) {
        g_dbus_method_invocation_return_dbus_error(invocation, name, text);
        return;
    }
    if (!(g_dbus_message_get_flags(call) & G_DBUS_MESSAGE_FLAGS_NO_REPLY_EXPECTED)) {
        g_autoptr(GDBusMessage) reply = g_dbus_message_new_method_error_literal(call, name, text);
        g_dbus_message_set_body(reply, g_variant_new("(s@aas)", text, gh_error_parts(err)));
        g_dbus_connection_send_message(g_dbus_method_invocation_get_connection(invocation), reply, G_DBUS_SEND_MESSAGE_FLAGS_NONE, NULL, NULL);
    }
    g_object_unref(invocation);
}

gboolean gh_refuse_change(GDBusMethodInvocation *invocation, struct gh_definition *changed, const struct gh_error *err)
{
    gh_definition_free(changed);
    gh_return_error(invocation, err);
    return TRUE;
}
