/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Input routing and the primary display, as the outside calls them. */
#include "engine/machine/machine_internal.h"

static const struct gh_input_sink *sink_for(struct gh_machine *m, unsigned kind)
{
    /* Newest first: a virtio device that the guest drives wins over PS/2. */
    for (unsigned i = m->input_count; i-- > 0;) {
        const struct gh_input_sink *s = &m->input[i];
        if ((s->kinds & kind) && (!s->ops->active || s->ops->active(s->dev)))
            return s;
    }
    return NULL;
}

static const struct gh_input_sink *pointer_sink(struct gh_machine *m)
{
    const struct gh_input_sink *s = sink_for(m, GH_INPUT_ABSOLUTE);
    return s ? s : sink_for(m, GH_INPUT_RELATIVE);
}

void gh_machine_key(struct gh_machine *m, uint16_t code, bool down)
{
    gh_machine_lock(m);
    const struct gh_input_sink *s = sink_for(m, GH_INPUT_KEYBOARD);
    if (s && s->ops->key)
        s->ops->key(s->dev, code, down);
    gh_machine_unlock(m);
}

void gh_machine_pointer_abs(struct gh_machine *m, uint16_t x, uint16_t y)
{
    gh_machine_lock(m);
    const struct gh_input_sink *s = sink_for(m, GH_INPUT_ABSOLUTE);
    if (s && s->ops->absolute)
        s->ops->absolute(s->dev, x, y);
    gh_machine_unlock(m);
}

void gh_machine_pointer_rel(struct gh_machine *m, int32_t dx, int32_t dy, int32_t wheel)
{
    gh_machine_lock(m);
    const struct gh_input_sink *s = wheel && !dx && !dy ? pointer_sink(m) : sink_for(m, GH_INPUT_RELATIVE);
    if (s && s->ops->relative)
        s->ops->relative(s->dev, dx, dy, wheel);
    gh_machine_unlock(m);
}

void gh_machine_button(struct gh_machine *m, uint16_t code, bool down)
{
    gh_machine_lock(m);
    const struct gh_input_sink *s = pointer_sink(m);
    if (s && s->ops->button)
        s->ops->button(s->dev, code, down);
    gh_machine_unlock(m);
}

void gh_machine_input_sync(struct gh_machine *m)
{
    gh_machine_lock(m);
    const struct gh_input_sink *s = pointer_sink(m);
    if (s && s->ops->sync)
        s->ops->sync(s->dev);
    gh_machine_unlock(m);
}

bool gh_machine_pointer_is_absolute(struct gh_machine *m)
{
    gh_machine_lock(m);
    bool absolute = sink_for(m, GH_INPUT_ABSOLUTE) != NULL;
    gh_machine_unlock(m);
    return absolute;
}

static void tell_screen(void *opaque)
{
    struct gh_machine *m = opaque;

    gh_machine_lock(m);
    struct gh_display_mode mode = m->screen;
    gh_machine_unlock(m);
    if (m->events.screen)
        m->events.screen(m->events.opaque, &mode);
}

bool gh_machine_display_mode(struct gh_machine *m, struct gh_display_mode *ret)
{
    gh_machine_lock(m);
    bool have = m->display_ops != NULL;
    if (have) {
        m->display_ops->mode(m->display, ret);
        if (ret->width != m->screen.width || ret->height != m->screen.height) {
            m->screen = *ret;
            gh_loop_post(m->loop, tell_screen, m);
        }
    }
    gh_machine_unlock(m);
    return have;
}

unsigned gh_machine_display_render(struct gh_machine *m, uint32_t *pixels, uint32_t stride_bytes, bool full,
                                   struct gh_rect *rects, unsigned max_rects)
{
    unsigned n = 0;

    gh_machine_lock(m);
    if (m->display_ops)
        n = m->display_ops->render(m->display, pixels, stride_bytes, full, rects, max_rects);
    gh_machine_unlock(m);
    return n;
}

void gh_machine_on_display_change(struct gh_machine *m, void (*fn)(void *opaque), void *opaque)
{
    gh_machine_lock(m);
    m->display_change = fn;
    m->display_change_opaque = opaque;
    gh_machine_unlock(m);
}
