/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The board `pc`: which devices stand on it, in the order in which they find each other, and the
 * machine's own memory: RAM, the BIOS at the top of 4 GiB, and the shadow area that the host
 * bridge's PAM registers switch.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "devices/chipset/i440fx.h"
#include "devices/display/vga.h"
#include "devices/firmware/pflash.h"
#include "devices/net/nic_rom.h"
#include "engine/machine/machine_internal.h"

/* UEFI firmware finds its variables right below itself. */
static int place_vars(struct gh_machine *m, struct gh_device *dev, struct gh_error *err)
{
    char base[24], size[24];

    snprintf(base, sizeof base, "%#llx", (1ull << 32) - m->cfg.bios.size - m->cfg.vars.size);
    snprintf(size, sizeof size, "%zu", m->cfg.vars.size);
    int r = gh_option_set(dev->class->options, dev->state, "size", size, err);
    return r ? r : gh_option_set(dev->class->options, dev->state, "base", base, err);
}

/* Always there, with fixed places. Options in the machine's config for the same id are added. */
static const struct gh_device_config pc_devices[] = {
    { .class = "fw_cfg", .id = "fwcfg" },
    { .class = "i8259", .id = "pic" },
    { .class = "ioapic", .id = "ioapic" },
    { .class = "i8254", .id = "pit" },
    { .class = "mc146818", .id = "rtc" },
    { .class = "hpet", .id = "hpet" },
    { .class = "i8237", .id = "dma" },
    { .class = "i440fx", .id = "host" },
    { .class = "piix3", .id = "isa" },
    { .class = "piix3-ide", .id = "ide" },
    { .class = "piix4-pm", .id = "pm" },
    { .class = "i8042", .id = "kbc" },
    { .class = "port92", .id = "port92" },
    { .class = "vga", .id = "vga" },
    { .class = "fdc", .id = "fdc" },
    { .class = "uart16550", .id = "com1", .option = { { "iobase", "0x3f8" }, { "irq", "4" } } },
    { .class = "uart16550", .id = "com2", .option = { { "iobase", "0x2f8" }, { "irq", "3" } } },
    { .class = "debugcon", .id = "debugcon", .option = { { "port", "0x402" } } },
    { .class = "debugcon", .id = "port-e9", .option = { { "port", "0xe9" } } },
    { .class = "debug-exit", .id = "debugexit" },
    { .class = "pvpanic", .id = "pvpanic" },
};

static const struct gh_device_config *config_for(const struct gh_machine *m, const char *id)
{
    for (unsigned i = 0; i < m->cfg.device_count; i++)
        if (!strcmp(m->cfg.devices[i].id, id))
            return &m->cfg.devices[i];
    return NULL;
}

static int apply_options(struct gh_machine *m, struct gh_device *dev, const struct gh_device_config *cfg,
                         struct gh_error *err)
{
    const struct gh_option *table = dev->class->options;

    for (unsigned i = 0; cfg && i < GH_ARRAY_LEN(cfg->option) && cfg->option[i].name; i++) {
        const char *name = cfg->option[i].name, *value = cfg->option[i].value;
        const struct gh_option *o = table;
        while (o && o->name && strcmp(o->name, name))
            o++;
        int r;
        if (o && o->name && (o->type == GH_T_BLOCK || o->type == GH_T_CHAR || o->type == GH_T_NET)) {
            void *handle = NULL;
            for (unsigned k = 0; k < m->cfg.backend_count; k++)
                if (m->cfg.backends[k].type == o->type && !strcmp(m->cfg.backends[k].name, value))
                    handle = m->cfg.backends[k].handle;
            if (!handle)
                return gh_error_option(err, -ENOENT, "BackendUnknown", name,
                                       "Device “%s” asks for backend “%s”, which this machine does not have.",
                                       dev->id, value);
            r = gh_option_pointer(table, dev->state, name, handle, err);
        } else {
            r = gh_option_set(table, dev->state, name, value, err);
        }
        if (r) {
            gh_error_prefix(err, "Device “%s”", dev->id);
            return r;
        }
    }
    return 0;
}

/* Images that devices copy while they are attached. */
static void give_roms(struct gh_machine *m, struct gh_device *dev)
{
    const char *nic = gh_nic_rom_name(dev->class->name);

    if (!strcmp(dev->class->name, "vga") && m->cfg.vgabios.size)
        gh_vga_set_rom(dev, m->cfg.vgabios.data, m->cfg.vgabios.size);
    if (nic) {
        const struct gh_blob *rom = !strcmp(nic, "pxe-e1000") ? &m->cfg.pxe_e1000 : &m->cfg.pxe_virtio;
        gh_nic_set_rom(dev, rom->data, rom->size);
    }
}

static void device_free(struct gh_device *dev)
{
    if (dev)
        free(dev->state);
    free(dev);
}

static struct gh_device *add(struct gh_machine *m, const struct gh_device_config *cfg,
                             const struct gh_device_config *extra, struct gh_error *err)
{
    const struct gh_device_class *class = gh_device_class_find(cfg->class);

    if (!class) {
        gh_error_set(err, -ENODEV, "DeviceUnknown", "There is no device called “%s”; --list-devices shows all.", cfg->class);
        return NULL;
    }
    if (m->device_count == GH_ARRAY_LEN(m->device)) {
        gh_error_set(err, -ENOSPC, "TooManyDevices", "A machine can have at most %zu devices.", GH_ARRAY_LEN(m->device));
        return NULL;
    }
    struct gh_device *dev = calloc(1, sizeof *dev);
    if (dev)
        dev->state = calloc(1, class->state_size ? class->state_size : 1);
    if (!dev || !dev->state) {
        device_free(dev);
        gh_error_set(err, -ENOMEM, "NoMemory", "The host has no memory left for device “%s”.", cfg->id);
        return NULL;
    }
    dev->class = class;
    dev->board = &m->board;
    dev->ops = &gh_machine_board_ops;
    snprintf(dev->id, sizeof dev->id, "%s", cfg->id);
    if ((class->options && gh_option_defaults(class->options, dev->state, err) < 0) ||
        apply_options(m, dev, cfg, err) < 0 || apply_options(m, dev, extra, err) < 0) {
        device_free(dev);
        return NULL;
    }
    m->device[m->device_count++] = dev; /* teardown detaches half-attached devices too */
    give_roms(m, dev);
    bool vars = !strcmp(class->name, "pflash") && m->cfg.vars.size;
    if ((vars && place_vars(m, dev, err) < 0) || (class->attach && class->attach(dev, err) < 0) ||
        (vars && gh_pflash_fill(dev, m->cfg.vars.data, m->cfg.vars.size, err) < 0)) {
        gh_error_prefix(err, "Device “%s”", dev->id);
        return NULL;
    }
    return dev;
}

struct gh_device *gh_board_add(struct gh_machine *m, const struct gh_device_config *cfg, struct gh_error *err)
{ return add(m, cfg, NULL, err); }

/* ---- The shadow area ------------------------------------------------------------------------
 * Segments 0-11 are 16 KiB each from 0xc0000 to 0xeffff, segment 12 is 0xf0000-0xfffff. Where
 * reads are not to RAM they see the BIOS (top of its image) or, below 0xe0000, nothing. */
static void pam_place(unsigned segment, uint64_t *base, uint64_t *bytes)
{
    *base = segment < 12 ? 0xc0000 + segment * 0x4000ull : 0xf0000;
    *bytes = segment < 12 ? 0x4000 : 0x10000;
}

/* Writes that reach RAM while reads see ROM. */
static bool pam_write(struct gh_device *dev, unsigned range, struct gh_access *a)
{
    struct gh_machine *m = dev->state;
    unsigned segment = range & 15;
    uint64_t base, bytes, left;

    pam_place(segment, &base, &bytes);
    if (!a->write)
        return false;
    if (range >= 32) { /* only writes go to RAM in this mode */
        memcpy(gh_ram_host(&m->ram, base + a->offset, &left), &a->value, a->width);
        if (m->cfg.accel->dma_written)
            m->cfg.accel->dma_written(m->vm, base + a->offset, a->width);
    }
    return true;
}

/* Every segment has two overlays: `pam` hides RAM (ROM view, or nothing), `pam_write` takes part
 * where reads and writes differ. */
static void pam_switch(void *opaque, unsigned segment, bool read_ram, bool write_ram)
{
    struct gh_machine *m = opaque;
    uint64_t base, bytes, left;

    if (segment >= 13)
        return;
    pam_place(segment, &base, &bytes);
    bool bios = base >= 0xe0000 && m->bios_bytes >= 0x100000 - base;
    uint8_t *rom = bios ? m->bios_host + m->bios_bytes - (0x100000 - base) : NULL;
    uint8_t *ram = gh_ram_host(&m->ram, base, &left);
    struct gh_range *r = m->pam[segment];

    r->desc.kind = read_ram || rom ? GH_RANGE_ROM : GH_RANGE_HANDLER;
    r->number = (write_ram ? 32 : 16) + segment;
    gh_memmap_set_host(&m->map, r, read_ram ? ram : rom);
    gh_memmap_set(&m->map, r, !(read_ram && write_ram), base);
    m->map.edited = true;
}

static int own_range(struct gh_machine *m, const char *name, enum gh_range_kind kind, uint64_t base, uint64_t bytes,
                     uint8_t *host, int priority, unsigned number)
{
    struct gh_range_desc d = { .name = name, .space = GH_SPACE_MMIO, .kind = kind, .base = base, .size = bytes,
                               .host = host, .priority = priority };

    return gh_memmap_add(&m->map, &m->self, number, &d) ? 0 : -ENOMEM;
}

static int add_memory(struct gh_machine *m, struct gh_error *err)
{
    static const struct gh_device_class self_class = { .name = "machine" };

    m->self = (struct gh_device){ .class = &self_class, .board = &m->board, .ops = &gh_machine_board_ops,
                                  .id = "machine", .state = m };
    int r = own_range(m, "RAM", GH_RANGE_RAM, 0, m->ram.below_4g, m->ram.guest, 0, 100);
    if (r == 0 && m->ram.above_4g)
        r = own_range(m, "high RAM", GH_RANGE_RAM, 1ull << 32, m->ram.above_4g, m->ram.guest + m->ram.below_4g, 0, 101);
    for (unsigned i = 0; r == 0 && i < 13; i++) {
        uint64_t base, bytes;
        pam_place(i, &base, &bytes);
        struct gh_range_desc d = { .name = "shadow", .space = GH_SPACE_MMIO, .kind = GH_RANGE_HANDLER, .base = base,
                                   .size = bytes, .priority = 1, .fn = pam_write };
        m->pam[i] = gh_memmap_add(&m->map, &m->self, 16 + i, &d);
        r = m->pam[i] ? 0 : -ENOMEM;
    }
    return r ? gh_error_set(err, r, "NoMemory", "The host has no memory left for the machine's memory map.") : 0;
}

int gh_board_build(struct gh_machine *m, struct gh_error *err)
{
    int r = add_memory(m, err);

    if (r == 0)
        r = gh_firmware_load(m, err);
    if (r)
        return r;
    m->memory_control = (struct gh_memory_control){ .pam = pam_switch, .opaque = m };
    gh_machine_board_ops.provide(&m->board, "memory-control", &m->memory_control);
    for (unsigned i = 0; i < GH_ARRAY_LEN(pc_devices); i++)
        if (!add(m, &pc_devices[i], config_for(m, pc_devices[i].id), err))
            return err && err->code ? err->code : -EINVAL;
    for (unsigned i = 0; i < m->cfg.device_count; i++) {
        if (gh_machine_device(m, m->cfg.devices[i].id))
            continue;
        if (!add(m, &m->cfg.devices[i], NULL, err))
            return err && err->code ? err->code : -EINVAL;
    }
    gh_irq_wire(m);
    r = gh_firmware_tables(m, err);
    if (r)
        return r;
    gh_board_reset(m, GH_RESET_COLD);
    return 0;
}

void gh_board_reset(struct gh_machine *m, enum gh_reset why)
{
    if (m->cfg.accel->set_a20)
        m->cfg.accel->set_a20(m->vm, true);
    for (unsigned i = 0; i < 13 && why != GH_RESET_WAKE; i++)
        pam_switch(m, i, false, false);
    for (unsigned i = 0; i < m->device_count; i++)
        if (m->device[i]->class->reset)
            m->device[i]->class->reset(m->device[i], why);
    gh_firmware_reset(m, why);
}

void gh_board_teardown(struct gh_machine *m)
{
    while (m->device_count) {
        struct gh_device *dev = m->device[--m->device_count];
        if (dev->class->detach)
            dev->class->detach(dev);
        gh_memmap_remove_device(&m->map, dev);
        device_free(dev);
    }
    m->pic = NULL;
    m->ioapic = NULL;
    m->service_count = m->input_count = 0;
    m->display = NULL;
    m->display_ops = NULL;
}

void gh_board_counters(struct gh_machine *m, void (*visit)(void *, const char *, uint64_t), void *opaque)
{
    static const char *const exit_names[GH_EXIT_COUNT_] = { "kicked", "pio", "mmio", "halted", "ioapic-eoi",
                                                            "intr-window", "shutdown", "debug", "error" };
    char name[64];

    for (unsigned v = 0; v < m->cfg.cpus; v++)
        for (unsigned i = 0; i < GH_EXIT_COUNT_; i++) {
            snprintf(name, sizeof name, "vcpu%u.exit.%s", v, exit_names[i]);
            visit(opaque, name, m->vcpu[v].exits[i]);
        }
    for (unsigned i = 0; i < m->device_count; i++) {
        if (!m->device[i]->guest_errors)
            continue;
        snprintf(name, sizeof name, "%s.guest-errors", m->device[i]->id);
        visit(opaque, name, m->device[i]->guest_errors);
    }
}
