/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The I/O APIC: registers, edge, level with remote IRR and EOI, masks, routes. */
#include "check.h"
#include "fakeboard.h"
#include "devices/irq/ioapic.h"

static struct gh_board *b;
static struct gh_ioapic *io;
static unsigned messages, routes;
static uint64_t last_address, route_address;
static uint32_t last_data, route_data;
static bool route_masked;
static unsigned route_pin;

static void message(void *opaque, uint64_t address, uint32_t data)
{
    messages++;
    last_address = address;
    last_data = data;
}

static void route(void *opaque, unsigned pin, uint64_t address, uint32_t data, bool masked)
{
    routes++;
    route_pin = pin;
    route_address = address;
    route_data = data;
    route_masked = masked;
}

static uint32_t get(uint8_t reg)
{
    fake_write(b, 0xfec00000, 4, reg);
    return (uint32_t)fake_read(b, 0xfec00010, 4);
}

static void put(uint8_t reg, uint32_t v)
{
    fake_write(b, 0xfec00000, 4, reg);
    fake_write(b, 0xfec00010, 4, v);
}

static void entry(unsigned pin, uint64_t v)
{
    put((uint8_t)(0x11 + pin * 2), (uint32_t)(v >> 32));
    put((uint8_t)(0x10 + pin * 2), (uint32_t)v);
}

int main(void)
{
    b = fake_board_new();
    fake_add(b, "ioapic", "ioapic", NULL);
    io = fake_lookup_service(b, "ioapic");
    CHECK_FATAL(io);
    gh_ioapic_set_output(io, message, route, NULL);
    CHECK_EQ(routes, 24);
    CHECK(route_masked);

    CHECK_EQ(get(1), 0x00170020);
    put(0, 0xffffffff);
    CHECK_EQ(get(0), 0x0f000000);
    put(1, 0);
    CHECK_EQ(get(1), 0x00170020);
    CHECK_EQ(get(0x10), 0x10000);
    CHECK_EQ(get(0x3f), 0);
    CHECK_EQ(get(0x40), 0);
    put(0x40, 0xffffffff);                /* past the table */
    entry(5, ~0ull);
    CHECK_EQ(get(0x1a), 0x1afff);         /* delivery status and remote IRR are read-only */
    CHECK_EQ(get(0x1b), 0xff000000);

    /* Edge */
    entry(4, 0x0300000000000034);
    CHECK_EQ(route_pin, 4);
    CHECK(!route_masked);
    CHECK_EQ(route_address, 0xfee03000);
    CHECK_EQ(route_data, 0x34);
    gh_ioapic_set_irq(io, 4, true);
    CHECK_EQ(messages, 1);
    CHECK_EQ(last_address, 0xfee03000);
    CHECK_EQ(last_data, 0x34);
    gh_ioapic_set_irq(io, 4, true);
    CHECK_EQ(messages, 1);
    gh_ioapic_set_irq(io, 4, false);
    gh_ioapic_set_irq(io, 4, true);
    CHECK_EQ(messages, 2);
    gh_ioapic_set_irq(io, 4, false);
    entry(4, 0x10034);
    gh_ioapic_set_irq(io, 4, true);       /* masked edge: lost */
    entry(4, 0x34);
    CHECK_EQ(messages, 2);
    gh_ioapic_set_irq(io, 4, false);

    /* Level, logical, lowest priority */
    entry(11, 0x070000000000a951 | 0x0000);
    gh_ioapic_set_irq(io, 11, true);
    CHECK_EQ(messages, 3);
    CHECK_EQ(last_address, 0xfee0700c);
    CHECK_EQ(last_data, 0xc151);
    CHECK(get(0x26) & 0x4000);            /* remote IRR */
    gh_ioapic_set_irq(io, 11, false);
    gh_ioapic_set_irq(io, 11, true);
    CHECK_EQ(messages, 3);                /* not before EOI */
    gh_ioapic_eoi(io, 0x52);              /* somebody else's */
    CHECK_EQ(messages, 3);
    gh_ioapic_eoi(io, 0x51);
    CHECK_EQ(messages, 4);                /* still high: again */
    gh_ioapic_set_irq(io, 11, false);
    fake_write(b, 0xfec00040, 4, 0x51);   /* the register does the same */
    CHECK_EQ(messages, 4);
    CHECK(!(get(0x26) & 0x4000));
    entry(11, 0x18051);                   /* masked level waits for the unmask */
    gh_ioapic_set_irq(io, 11, true);
    CHECK_EQ(messages, 4);
    entry(11, 0x8051);
    CHECK_EQ(messages, 5);
    entry(11, 0x10051);                   /* to edge and back clears remote IRR */
    CHECK(!(get(0x26) & 0x4000));
    entry(11, 0x8051);
    CHECK_EQ(messages, 6);

    gh_ioapic_set_irq(io, 24, true);      /* no such pin */
    gh_ioapic_set_irq(io, 1000, true);
    CHECK_EQ(messages, 6);
    unsigned refused = b->refused;
    CHECK_EQ(fake_read(b, 0xfec00020, 4), 0xffffffff);
    CHECK_EQ(b->refused, refused + 1);

    struct gh_state_buffer saved = {0};
    struct gh_error err = {0};
    fake_save(b, &saved);
    fake_reset(b, GH_RESET_COLD);
    CHECK_EQ(get(0x26), 0x10000);
    CHECK_EQ(fake_load(b, saved.data, saved.len, &err), 0);
    CHECK_EQ(get(0x26), 0xc051);
    gh_state_buffer_fini(&saved);
    fake_board_free(b);
    return check_result();
}
