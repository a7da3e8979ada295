/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>

#include "devices/chipset/pci_regs.h"
#include "devices/virtio/virtio.h"
#include "devices/virtio/virtio_regs.h"

/* ---- Common configuration --------------------------------------------------------------------------- */

static struct gh_virtq *selected(struct gh_virtio *v)
{
    return v->queue_select < v->queue_count ? &v->queue[v->queue_select] : NULL;
}

static uint32_t half(uint64_t value, unsigned which) { return (uint32_t)(value >> (which * 32)); }

static uint32_t common_read(struct gh_virtio *v, unsigned offset)
{
    const struct gh_virtq *q = selected(v);
    switch (offset) {
    case COMMON_DFSELECT: return v->feature_select;
    case COMMON_DF: return v->feature_select < 2 ? half(v->offered, v->feature_select) : 0;
    case COMMON_GFSELECT: return v->driver_feature_select;
    case COMMON_GF: return v->driver_feature_select < 2 ? half(v->accepted, v->driver_feature_select) : 0;
    case COMMON_MSIX: return v->config_vector;
    case COMMON_NUMQ: return v->queue_count;
    case COMMON_STATUS: return v->status;
    case COMMON_GENERATION: return v->generation;
    case COMMON_Q_SELECT: return v->queue_select;
    case COMMON_Q_SIZE: return q ? q->size : 0;
    case COMMON_Q_MSIX: return q ? q->vector : VIRTIO_NO_VECTOR;
    case COMMON_Q_ENABLE: return q ? q->enabled : 0;
    case COMMON_Q_NOFF: return q ? q->index : 0;
    case COMMON_Q_DESC: case COMMON_Q_DESC + 4: return q ? half(q->desc, offset >> 2 & 1) : 0;
    case COMMON_Q_DRIVER: case COMMON_Q_DRIVER + 4: return q ? half(q->driver, offset >> 2 & 1) : 0;
    case COMMON_Q_DEVICE: case COMMON_Q_DEVICE + 4: return q ? half(q->device, offset >> 2 & 1) : 0;
    default: return 0;
    }
}

static void set_half(uint64_t *value, unsigned which, uint32_t part)
{
    *value = which ? (*value & 0xffffffffull) | (uint64_t)part << 32 : (*value & ~0xffffffffull) | part;
}

/* Queue registers may change only while the queue is off. */
static void queue_write(struct gh_virtio *v, unsigned offset, uint32_t value)
{
    struct gh_virtq *q = selected(v);
    if (!q)
        return;
    if (offset == COMMON_Q_MSIX) {
        q->vector = value <= v->queue_count ? (uint16_t)value : VIRTIO_NO_VECTOR;
        return;
    }
    if (q->enabled)
        return;
    switch (offset) {
    case COMMON_Q_SIZE:
        if (value && value <= q->size_max && !(value & (value - 1)))
            q->size = (uint16_t)value;
        break;
    case COMMON_Q_ENABLE:
        if (value != 1)
            break;
        if (!gh_virtq_placed(q))
            gh_virtio_fail(v, "queue %u is not aligned, or wraps around", q->index);
        else
            q->enabled = true;
        break;
    case COMMON_Q_DESC: case COMMON_Q_DESC + 4: set_half(&q->desc, offset >> 2 & 1, value); break;
    case COMMON_Q_DRIVER: case COMMON_Q_DRIVER + 4: set_half(&q->driver, offset >> 2 & 1, value); break;
    case COMMON_Q_DEVICE: case COMMON_Q_DEVICE + 4: set_half(&q->device, offset >> 2 & 1, value); break;
    default: break;
    }
}

void gh_virtio_stopped(struct gh_virtio *v)
{
    if (v->stopping)
        gh_virtio_clear(v);
}

/* The driver polls the status until it reads 0, which is after the last request came back. */
static void begin_reset(struct gh_virtio *v)
{
    if (v->stopping)
        return;
    v->stopping = true;
    if (!v->type->stop || v->type->stop(v))
        gh_virtio_clear(v);
}

static void write_status(struct gh_virtio *v, uint8_t value)
{
    uint8_t added = value & (uint8_t)~v->status;
    gh_trace(virtio_status, "%s %#x features %#llx", v->dev->id, value, (unsigned long long)v->accepted);
    if (!value) {
        begin_reset(v);
        return;
    }
    if (v->stopping)
        return;
    if (added & VIRTIO_STATUS_FEATURES_OK && ((v->accepted & ~v->offered) || !gh_virtio_has(v, GH_VIRTIO_VERSION_1)))
        value &= (uint8_t)~VIRTIO_STATUS_FEATURES_OK;
    if (added & VIRTIO_STATUS_DRIVER_OK && !(value & VIRTIO_STATUS_FEATURES_OK)) {
        gh_virtio_fail(v, "the driver starts without negotiated features");
        return;
    }
    v->status = value | (v->status & VIRTIO_STATUS_NEEDS_RESET);
    if (added & VIRTIO_STATUS_DRIVER_OK && v->type->started)
        v->type->started(v);
}

static void common_write(struct gh_virtio *v, unsigned offset, uint32_t value)
{
    switch (offset) {
    case COMMON_DFSELECT: v->feature_select = value; break;
    case COMMON_GFSELECT: v->driver_feature_select = value; break;
    case COMMON_GF:
        if (v->driver_feature_select < 2 && !(v->status & VIRTIO_STATUS_FEATURES_OK))
            set_half(&v->accepted, v->driver_feature_select, value);
        break;
    case COMMON_MSIX: v->config_vector = value <= v->queue_count ? (uint16_t)value : VIRTIO_NO_VECTOR; break;
    case COMMON_STATUS: write_status(v, (uint8_t)value); break;
    case COMMON_Q_SELECT: v->queue_select = (uint16_t)value; break;
    default: queue_write(v, offset, value); break;
    }
}

static unsigned common_width(unsigned offset)
{
    if (offset == COMMON_STATUS || offset == COMMON_GENERATION)
        return 1;
    return offset >= COMMON_MSIX && offset < COMMON_Q_DESC ? 2 : 4;
}

/* Reads may be narrower than a field (iPXE reads features so) or wider, with the neighbours in it. */
static uint64_t common_read_bytes(struct gh_virtio *v, unsigned offset, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned done = 0; done < bytes;) {
        unsigned width = common_width(offset + done), inside = (offset + done) % width, n = width - inside;
        if (n > bytes - done)
            n = bytes - done;
        value |= (common_read(v, offset + done - inside) >> (inside * 8) & gh_width_mask(n)) << (done * 8);
        done += n;
    }
    return value;
}

/* Writes have the width of their field, or cover several fields. */
static bool common_access(struct gh_virtio *v, struct gh_access *a)
{
    unsigned offset = (unsigned)a->offset;
    if (offset + a->width > COMMON_END)
        return false;
    if (!a->write) {
        a->value = common_read_bytes(v, offset, a->width);
        return true;
    }
    for (unsigned done = 0; done < a->width;) {
        unsigned width = common_width(offset + done);
        if ((offset + done) % width || done + width > a->width)
            return false;
        common_write(v, offset + done, (uint32_t)(a->value >> (done * 8) & gh_width_mask(width)));
        done += width;
    }
    return true;
}

/* ---- The other regions ----------------------------------------------------------------------------------- */

static bool isr_access(struct gh_virtio *v, struct gh_access *a)
{
    if (a->write || a->offset)
        return false;
    a->value = v->isr;
    v->isr = 0;
    gh_pci_intx(&v->pci, false);
    return true;
}

static bool device_access(struct gh_virtio *v, struct gh_access *a)
{
    if (!gh_range_in(a->offset, a->width, v->type->config_bytes))
        return false;
    if (!a->write) {
        a->value = 0;
        memcpy(&a->value, v->config + a->offset, a->width);
        return true;
    }
    if (!v->type->config_written)
        return false;
    memcpy(v->config + a->offset, &a->value, a->width);
    v->type->config_written(v, (unsigned)a->offset, a->width);
    return true;
}

static void kick(struct gh_virtio *v, unsigned index)
{
    gh_trace(virtio_kick, "%s queue %u", v->dev->id, index);
    if (index < v->queue_count && v->queue[index].enabled && gh_virtio_running(v))
        v->type->kick(v, &v->queue[index]);
}

static void rung(struct gh_device *dev, unsigned queue)
{
    struct gh_virtio *v = dev->state;         /* at the start of every virtio device's state */
    kick(v, queue);
}

static bool regs_access(struct gh_device *dev, struct gh_virtio *v, struct gh_access *a)
{
    struct gh_access part = *a;
    bool known = true;
    if (a->offset >= AT_NOTIFY) {
        if (!a->write)
            return false;
        kick(v, (unsigned)((a->offset - AT_NOTIFY) / NOTIFY_STEP));
        return true;
    }
    part.offset = a->offset % REGION;
    switch (a->offset - part.offset) {
    case AT_COMMON: known = common_access(v, &part); break;
    case AT_ISR: known = isr_access(v, &part); break;
    case AT_DEVICE: known = device_access(v, &part); break;
    default: return false;
    }
    a->value = part.value;
    return known;
}

/* Every virtio device has its struct gh_virtio at the start of its state. */
static bool virtio_range(struct gh_device *dev, unsigned range, struct gh_access *a)
{
    struct gh_virtio *v = dev->state;
    if (range == GH_VIRTIO_RANGE_REGS)
        return regs_access(dev, v, a);
    bool pba = a->offset >= MSIX_PENDING;
    struct gh_access part = *a;
    part.offset -= pba ? MSIX_PENDING : 0;
    bool known = gh_pci_msix_access(&v->pci, &part, pba);
    a->value = part.value;
    return known;
}

/* ---- Configuration access through PCI config space: for firmware that cannot reach the BAR ------------------ */

static bool access_window(struct gh_virtio *v, struct gh_access *a, bool write)
{
    const uint8_t *cap = v->pci.config + v->config_access;
    uint32_t offset = gh_le32_get(cap + CAP_OFFSET), length = gh_le32_get(cap + CAP_LENGTH);
    if (cap[CAP_BAR] != BAR_REGS || (length != 1 && length != 2 && length != 4) || offset % length ||
        !gh_range_in(offset, length, v->pci.bar[BAR_REGS].size))
        return false;
    *a = (struct gh_access){ .offset = offset, .width = (uint8_t)length, .write = write, .count = 1 };
    return true;
}

static bool virtio_config_read(struct gh_device *dev, struct gh_pci *pci, unsigned offset, unsigned width, uint32_t *value)
{
    struct gh_virtio *v = dev->state;
    struct gh_access a;
    if (!v->config_access || offset < v->config_access + CAP_EXTRA || offset + width > v->config_access + CAP_EXTRA + 4)
        return false;
    if (!access_window(v, &a, false) || !regs_access(dev, v, &a))
        a.value = 0;
    *value = (uint32_t)(a.value >> (offset - v->config_access - CAP_EXTRA) * 8 & gh_width_mask(width));
    return true;
}

static void virtio_config_written(struct gh_device *dev, struct gh_pci *pci, unsigned offset, unsigned width)
{
    struct gh_virtio *v = dev->state;
    struct gh_access a;
    if (pci->msix_cap && offset < pci->msix_cap + 4u && offset + width > pci->msix_cap)
        gh_pci_intx(pci, v->isr && !gh_pci_msix_enabled(pci));
    if (!v->config_access || offset != v->config_access + CAP_EXTRA || !access_window(v, &a, true))
        return;
    a.value = gh_le32_get(pci->config + offset) & gh_width_mask(a.width);
    regs_access(dev, v, &a);
}

static uint8_t vendor_cap(struct gh_virtio *v, uint8_t type, uint32_t offset, uint32_t length, uint8_t extra)
{
    uint8_t at = gh_pci_capability(&v->pci, PCI_CAP_ID_VENDOR, (uint8_t)(CAP_EXTRA + extra)), *cap = v->pci.config + at;
    cap[CAP_LEN] = (uint8_t)(CAP_EXTRA + extra);
    cap[CAP_TYPE] = type;
    cap[CAP_BAR] = BAR_REGS;
    gh_le32_put(cap + CAP_OFFSET, offset);
    gh_le32_put(cap + CAP_LENGTH, length);
    return at;
}

/* ---- Attach ---------------------------------------------------------------------------------------------------- */

static int add_ranges(struct gh_device *dev, struct gh_virtio *v, uint64_t regs_bytes, struct gh_error *err)
{
    const struct gh_range_desc msix = { .name = "virtio-msix", .space = GH_SPACE_MMIO, .size = MSIX_BYTES, .priority = 1,
                                        .disabled = true, .widths = GH_W32 | GH_W64, .fn = virtio_range };
    const struct gh_range_desc regs = { .name = "virtio", .space = GH_SPACE_MMIO, .size = regs_bytes, .priority = 1,
                                        .disabled = true, .widths = GH_W8 | GH_W16 | GH_W32, .fn = virtio_range };
    int r = gh_range_add(dev, GH_VIRTIO_RANGE_MSIX, &msix, err);
    return r < 0 ? r : gh_range_add(dev, GH_VIRTIO_RANGE_REGS, &regs, err);
}

int gh_virtio_attach(struct gh_device *dev, struct gh_virtio *v, const struct gh_virtio_type *type,
                     unsigned queues, uint16_t queue_size, uint64_t extra, struct gh_error *err)
{
    const struct gh_pci_id id = { .vendor = 0x1af4, .device = (uint16_t)(0x1040 + type->id), .revision = 1,
                                  .class_code = type->class_code, .sub_vendor = 0x1af4, .sub_device = 0x1100 };
    uint64_t regs_bytes = AT_NOTIFY;
    while (regs_bytes < AT_NOTIFY + (uint64_t)queues * NOTIFY_STEP)
        regs_bytes *= 2;
    v->dev = dev;
    v->type = type;
    v->queue_count = queues;
    v->offered = type->features | extra | 1ull << GH_VIRTIO_VERSION_1 | 1ull << GH_VIRTIO_RING_INDIRECT |
                 1ull << GH_VIRTIO_RING_EVENT_IDX;
    for (unsigned i = 0; i < queues; i++)
        v->queue[i] = (struct gh_virtq){ .virtio = v, .index = (uint16_t)i, .size_max = queue_size };
    int r = gh_pci_attach(dev, &v->pci, v->addr, &id, err);
    if (r == 0)
        r = add_ranges(dev, v, regs_bytes, err);
    if (r < 0)
        return r;
    gh_pci_pin(&v->pci, 1);
    gh_pci_bar(&v->pci, BAR_MSIX, GH_BAR_MEM32, MSIX_BYTES, GH_VIRTIO_RANGE_MSIX);
    gh_pci_bar(&v->pci, BAR_REGS, GH_BAR_MEM64, regs_bytes, GH_VIRTIO_RANGE_REGS);
    gh_pci_msix_init(&v->pci, BAR_MSIX, 0, MSIX_PENDING, queues + 1, v->msix_table, v->msix_pending);
    vendor_cap(v, CAP_COMMON, AT_COMMON, COMMON_END, 0);
    vendor_cap(v, CAP_ISR, AT_ISR, 1, 0);
    vendor_cap(v, CAP_DEVICE, AT_DEVICE, REGION, 0);
    uint8_t cap = vendor_cap(v, CAP_NOTIFY, AT_NOTIFY, (uint32_t)queues * NOTIFY_STEP, 4);
    gh_le32_put(v->pci.config + cap + CAP_EXTRA, NOTIFY_STEP);
    v->config_access = vendor_cap(v, CAP_PCI_ACCESS, 0, 0, 4);
    v->pci.config[v->config_access + CAP_BAR] = 0;
    v->pci.writable[v->config_access + CAP_BAR] = 0xff;
    memset(v->pci.writable + v->config_access + CAP_OFFSET, 0xff, 12);
    /* Drivers write the queue's number, 16 bits wide. */
    for (unsigned i = 0; type->doorbells && i < queues; i++)
        gh_doorbell(dev, GH_VIRTIO_RANGE_REGS, AT_NOTIFY + (uint64_t)i * NOTIFY_STEP, 2, rung, i);
    v->pci.config_read = virtio_config_read;
    v->pci.config_written = virtio_config_written;
    return 0;
}
