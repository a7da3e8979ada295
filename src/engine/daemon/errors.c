/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/daemon/daemon.h"

/* D-Bus error names are made from the message id; the option, if any, is in front of the text. */
void gh_return_error(GDBusMethodInvocation *invocation, const struct gh_error *err)
{
    g_autofree char *name = g_strdup_printf("org.gasthaus.Error.%s", err->id[0] ? err->id : "Failed");

    g_dbus_method_invocation_return_dbus_error(invocation, name, err->text[0] ? err->text : "The operation failed.");
}
