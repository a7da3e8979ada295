/* SPDX-License-Identifier: GPL-3.0-or-later */
/* struct gh_machine as the host of a display. */
#include "engine/machine/display.h"
#include "engine/machine/machine.h"

static bool host_mode(void *m, struct gh_display_mode *ret) { return gh_machine_display_mode(m, ret); }
static unsigned host_render(void *m, uint32_t *pixels, uint32_t stride, bool full, struct gh_rect *rects, unsigned max)
{ return gh_machine_display_render(m, pixels, stride, full, rects, max); }
static void host_key(void *m, uint16_t code, bool down) { gh_machine_key(m, code, down); }
static void host_abs(void *m, uint16_t x, uint16_t y) { gh_machine_pointer_abs(m, x, y); }
static void host_rel(void *m, int32_t dx, int32_t dy, int32_t wheel) { gh_machine_pointer_rel(m, dx, dy, wheel); }
static void host_button(void *m, uint16_t code, bool down) { gh_machine_button(m, code, down); }
static void host_sync(void *m) { gh_machine_input_sync(m); }
static bool host_absolute(void *m) { return gh_machine_pointer_is_absolute(m); }

const struct gh_display_host gh_display_machine_host = {
    .mode = host_mode, .render = host_render, .key = host_key, .pointer_abs = host_abs, .pointer_rel = host_rel,
    .button = host_button, .sync = host_sync, .pointer_is_absolute = host_absolute,
};

static void changed(void *d) { gh_display_changed(d); }

void gh_display_bind_machine(struct gh_display *d, struct gh_machine *m)
{
    gh_display_set_opaque(d, m);
    gh_machine_on_display_change(m, changed, d);
}
