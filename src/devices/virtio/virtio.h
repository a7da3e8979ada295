/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A virtio device on PCI, modern transport only (Virtual I/O Device specification 1.1, "Virtio Over PCI
 * Bus"): a device embeds struct gh_virtio as its transport, names its type and queues, and gets called
 * when the driver kicks one.
 *
 * BAR 4 (64 bit): 0x0000 common configuration, 0x1000 ISR, 0x2000 device configuration, 0x4000 doorbells,
 * one page a queue so that each may become an ioeventfd. BAR 1: MSI-X table and pending bits.
 * The legacy and transitional interfaces are left out on purpose.
 *
 * Lock: the machine lock for everything here.
 */
#pragma once
#include "devices/chipset/pci.h"
#include "devices/virtio/virtqueue.h"

enum gh_virtio_id { GH_VIRTIO_NET = 1, GH_VIRTIO_BLK = 2, GH_VIRTIO_CONSOLE = 3, GH_VIRTIO_RNG = 4, GH_VIRTIO_INPUT = 18 };
enum gh_virtio_feature { GH_VIRTIO_RING_INDIRECT = 28, GH_VIRTIO_RING_EVENT_IDX = 29, GH_VIRTIO_VERSION_1 = 32 };
enum { GH_VIRTIO_QUEUES_MAX = 16, GH_VIRTIO_CONFIG_MAX = 256 };
/* Range numbers of the transport; a device's own ranges start after them. */
enum { GH_VIRTIO_RANGE_MSIX, GH_VIRTIO_RANGE_REGS, GH_VIRTIO_RANGE_FREE };

struct gh_virtio_type {
    enum gh_virtio_id id;
    uint32_t class_code;
    uint64_t features;                    /* beyond the transport's own */
    unsigned config_bytes;                /* of gh_virtio.config that the driver sees */
    bool doorbells;                       /* a worker for each queue serves its kicks, where the accelerator can */
    /* The driver has put chains into a queue. At most vq->size chains a call, see gh_virtio_again. */
    void (*kick)(struct gh_virtio *v, struct gh_virtq *vq);
    void (*started)(struct gh_virtio *v);                 /* DRIVER_OK; optional */
    /* The driver wrote device configuration; the bytes are in v->config already. Optional. */
    void (*config_written)(struct gh_virtio *v, unsigned offset, unsigned width);
    /* Reset begins (by the driver): false: requests are in flight, the device calls gh_virtio_stopped later. Optional. */
    bool (*stop)(struct gh_virtio *v);
};

struct gh_virtio {
    struct gh_device *dev;
    const struct gh_virtio_type *type;
    struct gh_pci pci;
    char     addr[8];                     /* option "addr" */
    struct gh_virtq queue[GH_VIRTIO_QUEUES_MAX];
    unsigned queue_count;
    uint64_t offered, accepted;
    uint32_t feature_select, driver_feature_select;
    uint16_t queue_select, config_vector;
    uint8_t  status, isr, generation;
    bool     stopping;                    /* a reset waits for requests in flight */
    uint8_t  config[GH_VIRTIO_CONFIG_MAX];
    struct gh_pci_msix_entry msix_table[GH_VIRTIO_QUEUES_MAX + 1];
    uint32_t msix_pending[1];
    unsigned config_access;               /* offset of the PCI configuration access capability */
    bool     again_queued;
};

/* From the device's attach; adds ranges, BARs and capabilities. extra: features decided at run time. */
int  gh_virtio_attach(struct gh_device *dev, struct gh_virtio *v, const struct gh_virtio_type *type,
                      unsigned queues, uint16_t queue_size, uint64_t extra, struct gh_error *err);
void gh_virtio_reset(struct gh_virtio *v);               /* from the class's reset, after quiesce */
int  gh_virtio_loaded(struct gh_virtio *v, struct gh_error *err);
void gh_virtio_detach(struct gh_virtio *v);
void gh_virtio_clear(struct gh_virtio *v);               /* for the transport: what a driver's reset does */
void gh_virtio_stopped(struct gh_virtio *v);             /* see stop */

static inline bool gh_virtio_has(const struct gh_virtio *v, unsigned feature) { return v->accepted >> feature & 1; }
/* The driver is up, nothing failed, and the device may use the rings. */
bool gh_virtio_running(const struct gh_virtio *v);
/* The driver broke the rules: DEVICE_NEEDS_RESET, and nothing moves until it resets. */
void gh_virtio_fail(struct gh_virtio *v, const char *fmt, ...) GH_PRINTF(2, 3);
void gh_virtio_interrupt(struct gh_virtio *v, uint16_t vector);
/* config changed: bumps the generation and interrupts. */
void gh_virtio_config_changed(struct gh_virtio *v);
/* Kicks all queues again from the main loop: a handler has used up its budget. */
void gh_virtio_again(struct gh_virtio *v);

extern const struct gh_field gh_virtio_fields[];
#define GH_VIRTIO_FIELD(struct_, member_, since_)                                                  \
    GH_FIELD_TABLE(struct_, member_, struct gh_virtio, gh_virtio_fields, 1, since_)
#define GH_VIRTIO_OPT_ADDR(struct_, member_)                                                       \
    GH_OPT(GH_T_STRING, struct_, member_.addr, "addr", 0, 0, "", "PCI address (slot.function); empty: the next free one")
