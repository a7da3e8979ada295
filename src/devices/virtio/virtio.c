/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "devices/virtio/virtio.h"

#include <errno.h>
#include <stdio.h>

#include "devices/virtio/virtio_regs.h"

static const struct gh_field msix_fields[] = {
    GH_FIELD(GH_T_U64, struct gh_pci_msix_entry, address, 1),
    GH_FIELD(GH_T_U32, struct gh_pci_msix_entry, data, 1),
    GH_FIELD(GH_T_U32, struct gh_pci_msix_entry, control, 1),
    { 0 },
};

const struct gh_field gh_virtio_fields[] = {
    GH_PCI_FIELDS(struct gh_virtio, pci, 1),
    GH_FIELD_TABLE(struct gh_virtio, queue, struct gh_virtq, gh_virtq_fields, GH_VIRTIO_QUEUES_MAX, 1),
    GH_FIELD(GH_T_U64, struct gh_virtio, accepted, 1),
    GH_FIELD(GH_T_U32, struct gh_virtio, feature_select, 1),
    GH_FIELD(GH_T_U32, struct gh_virtio, driver_feature_select, 1),
    GH_FIELD(GH_T_U16, struct gh_virtio, queue_select, 1),
    GH_FIELD(GH_T_U16, struct gh_virtio, config_vector, 1),
    GH_FIELD(GH_T_U8, struct gh_virtio, status, 1),
    GH_FIELD(GH_T_U8, struct gh_virtio, isr, 1),
    GH_FIELD(GH_T_U8, struct gh_virtio, generation, 1),
    GH_FIELD_ARRAY(GH_T_U8, struct gh_virtio, config, GH_VIRTIO_CONFIG_MAX, 1),
    GH_FIELD_TABLE(struct gh_virtio, msix_table, struct gh_pci_msix_entry, msix_fields, GH_VIRTIO_QUEUES_MAX + 1, 1),
    GH_FIELD_ARRAY(GH_T_U32, struct gh_virtio, msix_pending, 1, 1),
    { 0 },
};

bool gh_virtio_running(const struct gh_virtio *v)
{
    return (v->status & (VIRTIO_STATUS_DRIVER_OK | VIRTIO_STATUS_NEEDS_RESET)) == VIRTIO_STATUS_DRIVER_OK &&
           !v->stopping && gh_pci_bus_master(&v->pci);
}

static void raise(struct gh_virtio *v, uint8_t isr, uint16_t vector)
{
    if (gh_pci_msix_enabled(&v->pci)) {
        if (vector != VIRTIO_NO_VECTOR)
            gh_pci_msix_notify(&v->pci, vector);
        return;
    }
    v->isr |= isr;
    gh_pci_intx(&v->pci, true);
}

void gh_virtio_interrupt(struct gh_virtio *v, uint16_t vector)
{
    raise(v, VIRTIO_ISR_QUEUE, vector);
}

void gh_virtio_config_changed(struct gh_virtio *v)
{
    v->generation++;
    if (v->status & VIRTIO_STATUS_DRIVER_OK)
        raise(v, VIRTIO_ISR_CONFIG, v->config_vector);
}

void gh_virtio_fail(struct gh_virtio *v, const char *fmt, ...)
{
    char text[160];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    gh_guest_error(v->dev, "%s", text);
    if (v->status & VIRTIO_STATUS_NEEDS_RESET)
        return;
    v->status |= VIRTIO_STATUS_NEEDS_RESET;
    if (v->status & VIRTIO_STATUS_DRIVER_OK)
        raise(v, VIRTIO_ISR_CONFIG, v->config_vector);
}

static void kick_all(struct gh_device *dev, void *arg)
{
    struct gh_virtio *v = arg;
    v->again_queued = false;
    for (unsigned i = 0; i < v->queue_count; i++)
        if (v->queue[i].enabled && gh_virtio_running(v))
            v->type->kick(v, &v->queue[i]);
}

void gh_virtio_again(struct gh_virtio *v)
{
    if (v->again_queued)
        return;
    v->again_queued = true;
    gh_defer(v->dev, kick_all, v);
}

void gh_virtio_clear(struct gh_virtio *v)
{
    v->status = v->isr = 0;
    v->accepted = 0;
    v->feature_select = v->driver_feature_select = 0;
    v->queue_select = 0;
    v->config_vector = VIRTIO_NO_VECTOR;
    v->stopping = false;
    for (unsigned i = 0; i < v->queue_count; i++)
        gh_virtq_reset(&v->queue[i]);
    gh_pci_intx(&v->pci, false);
}

void gh_virtio_reset(struct gh_virtio *v)
{
    if (!v->dev)
        return;
    gh_virtio_clear(v);
    gh_pci_reset(&v->pci);
}

static bool possible(const struct gh_virtio *v, const struct gh_virtq *q)
{
    return q->size && q->size <= q->size_max && !(q->size & (q->size - 1)) && gh_virtq_placed(q) &&
           (q->vector <= v->queue_count || q->vector == VIRTIO_NO_VECTOR);
}

int gh_virtio_loaded(struct gh_virtio *v, struct gh_error *err)
{
    int r = gh_pci_loaded(&v->pci, err);
    if (r < 0)
        return r;
    bool good = !(v->accepted & ~v->offered) && (v->config_vector <= v->queue_count || v->config_vector == VIRTIO_NO_VECTOR);
    for (unsigned i = 0; i < v->queue_count; i++)
        good &= possible(v, &v->queue[i]) || !v->queue[i].enabled;
    if (!good)
        return gh_error_set(err, -EINVAL, "SavedStateDamaged", "The saved state of \"%s\" describes impossible queues; "
                            "discard it and start the machine anew.", v->dev->id);
    for (unsigned i = 0; i < v->queue_count; i++)
        v->queue[i].signalled_valid = false;
    gh_virtio_again(v);                       /* a kick may have come between quiesce and save */
    return 0;
}

void gh_virtio_detach(struct gh_virtio *v)
{
    if (v->dev)
        gh_pci_detach(&v->pci);
}
