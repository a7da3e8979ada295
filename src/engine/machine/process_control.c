/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the outside may ask of a running machine, and what it hears from it. */
#include <errno.h>

#include "engine/machine/display.h"
#include "engine/machine/process_internal.h"

int gh_process_control(struct gh_process *p, const struct gh_process_hooks *hooks, struct gh_machine_events *events, struct gh_error *err)
{
    p->hooks = hooks;
    return gh_display_new(&gh_display_machine_host, NULL, 0, &p->display, err);
}

int gh_process_ready(struct gh_process *p, struct gh_error *err)
{
    return p->hooks && p->hooks->enter ? p->hooks->enter(p->hooks->opaque, err) : 0;
}

void gh_process_control_free(struct gh_process *p)
{
    if (p->display)
        gh_display_free(p->display);
    p->display = NULL;
}
