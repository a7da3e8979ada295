/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "gui/engine/gh-message.h"

#include <libintl.h>
#include <string.h>

/* A conversion of printf at p ("%2$-8.3lu"): what follows it, and the number of its argument, 0 when it does not say. */
static const char *skip_conversion (const char *p, guint *number)
{
    const char *digits = p + 1;
    gsize n = strspn (digits, "0123456789");

    *number = n && n < 4 && digits[n] == '$' ? (guint) g_ascii_strtoull (digits, NULL, 10) : 0;
    p = *number ? digits + n + 1 : digits;
    p += strspn (p, "-+ #0'123456789.*");
    p += strspn (p, "hlzjtL");
    return *p ? p + 1 : p;
}

/* Quoted arguments are names that people gave; others may be words of ours, or what the C library calls a failure. */
static const char *word (const char *before, gsize length, const char *arg)
{
    gboolean quoted = (length && strchr ("\"'(", before[length - 1])) || (length >= 3 && !memcmp (before + length - 3, "“", 3));

    if (quoted || !arg[0])
        return arg;
    const char *own = dgettext ("gasthaus", arg);
    return own != arg ? own : dgettext ("libc", arg);
}

static char *localize_part (const char *const *fields)
{
    GString *out = g_string_new (NULL);
    guint count = g_strv_length ((char **) fields) - 1, next = 0, number;
    const char *format = fields[0][0] ? dgettext ("gasthaus", fields[0]) : "", *end;

    for (const char *p = format; *p; p = end) {
        const char *percent = strchr (p, '%');
        g_string_append_len (out, p, percent ? percent - p : (gssize) strlen (p));
        if (!percent)
            break;
        end = skip_conversion (percent, &number);
        if (end[-1] == '%')
            g_string_append_c (out, '%');
        else if ((number ? number - 1 : next) < count)
            g_string_append (out, word (format, (gsize) (percent - format), fields[1 + (number ? number - 1 : next++)]));
        else
            g_string_append_len (out, percent, end - percent);
    }
    return g_string_free (out, FALSE);
}

char *gh_message_localize (GVariant *parts, const char *text)
{
    g_autoptr (GPtrArray) said = g_ptr_array_new_with_free_func (g_free);
    gsize count = parts && g_variant_is_of_type (parts, G_VARIANT_TYPE ("aas")) ? g_variant_n_children (parts) : 0;

    for (gsize i = 0; i < count; i++) {
        g_autoptr (GVariant) part = g_variant_get_child_value (parts, i);
        g_autofree const char **fields = g_variant_get_strv (part, NULL);
        if (fields[0])
            g_ptr_array_add (said, localize_part (fields));
    }
    if (!said->len)
        return g_strdup (text ? text : "");
    g_ptr_array_add (said, NULL);
    return g_strjoinv (": ", (char **) said->pdata);
}

/* In the connection's own thread, before anything looks at the message. */
static GDBusMessage *filter (GDBusConnection *bus, GDBusMessage *message, gboolean incoming, gpointer data)
{
    const char *name = incoming ? g_dbus_message_get_error_name (message) : NULL;
    GVariant *body = name ? g_dbus_message_get_body (message) : NULL;

    if (!body || !g_str_has_prefix (name, "org.gasthaus.Error.") || !g_variant_is_of_type (body, G_VARIANT_TYPE ("(saas)")))
        return message;
    g_autoptr (GVariant) text = g_variant_get_child_value (body, 0), parts = g_variant_get_child_value (body, 1);
    g_autofree char *said = gh_message_localize (parts, g_variant_get_string (text, NULL));
    GDBusMessage *copy = g_dbus_message_copy (message, NULL);
    if (!copy)
        return message;
    g_dbus_message_set_body (copy, g_variant_new ("(s)", said));
    g_object_unref (message);
    return copy;
}

void gh_message_localize_errors (GDBusConnection *bus) { g_dbus_connection_add_filter (bus, filter, NULL, NULL); }
