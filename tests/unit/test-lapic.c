/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "check.h"
#include "devices/irq/lapic.h"

static struct gh_lapic_bus bus;
static struct gh_lapic apic[4];
static uint64_t now;
struct seen { unsigned attention, nmi, init, startup, eoi; uint8_t page, vector; };
static struct seen seen[4];

static void on_attention(void *o) { ((struct seen *)o)->attention++; }
static void on_nmi(void *o) { ((struct seen *)o)->nmi++; }
static void on_init(void *o) { ((struct seen *)o)->init++; }
static void on_startup(void *o, uint8_t page) { ((struct seen *)o)->startup++; ((struct seen *)o)->page = page; }
static void on_eoi(void *o, uint8_t v) { ((struct seen *)o)->eoi++; ((struct seen *)o)->vector = v; }
static uint64_t on_now(void *o) { return now; }
static uint64_t on_tsc(void *o) { return now * 2; }

static void setup(void)
{
    memset(seen, 0, sizeof seen);
    now = 1000;
    bus.count = 4;
    for (unsigned i = 0; i < 4; i++) {
        struct gh_lapic_env env = { &seen[i], on_attention, on_nmi, on_init, on_startup, on_eoi, on_now, on_tsc, 2000000000u };
        gh_lapic_init(&apic[i], &bus, i, i == 0, &env);
        bus.apic[i] = &apic[i];
        gh_lapic_write(&apic[i], 0xf0, 0x1ff);
    }
}

static uint32_t rd(unsigned n, uint32_t offset) { return gh_lapic_read(&apic[n], offset); }
static void wr(unsigned n, uint32_t offset, uint32_t v) { gh_lapic_write(&apic[n], offset, v); }

static void reset_values(void)
{
    setup();
    gh_lapic_reset(&apic[1], false);
    CHECK_EQ(rd(1, 0x20), 1u << 24);
    CHECK_EQ(rd(1, 0x30) & 0xff, 0x14);
    CHECK_EQ(rd(1, 0xf0), 0xff);
    CHECK_EQ(rd(1, 0xe0), 0xffffffff);
    CHECK_EQ(rd(1, 0x320), 0x10000);
    CHECK_EQ(apic[1].base_msr, 0xfee00800);
    CHECK_EQ(apic[0].base_msr, 0xfee00900);
    CHECK(!gh_lapic_accepts_extint(&apic[1]));
}

static void priorities(void)
{
    setup();
    gh_lapic_deliver(&apic[0], GH_DELIVER_FIXED, 0x41, false);
    gh_lapic_deliver(&apic[0], GH_DELIVER_FIXED, 0x62, false);
    CHECK_EQ(seen[0].attention, 2);
    CHECK_EQ(gh_lapic_pending(&apic[0]), 0x62);
    CHECK_EQ(gh_lapic_ack(&apic[0]), 0x62);
    CHECK_EQ(gh_lapic_pending(&apic[0]), -1);    /* 41 is below the one in service */
    gh_lapic_deliver(&apic[0], GH_DELIVER_FIXED, 0x6f, false);
    CHECK_EQ(gh_lapic_pending(&apic[0]), -1);    /* the same class does not nest */
    gh_lapic_deliver(&apic[0], GH_DELIVER_FIXED, 0x70, false);
    CHECK_EQ(gh_lapic_ack(&apic[0]), 0x70);
    CHECK_EQ(rd(0, 0xa0), 0x70);
    wr(0, 0xb0, 0);
    CHECK_EQ(rd(0, 0xa0), 0x60);
    wr(0, 0xb0, 0);
    CHECK_EQ(gh_lapic_ack(&apic[0]), 0x6f);
    wr(0, 0xb0, 0);
    gh_lapic_set_cr8(&apic[0], 4);
    CHECK_EQ(rd(0, 0x80), 0x40);
    CHECK_EQ(gh_lapic_pending(&apic[0]), -1);
    gh_lapic_set_cr8(&apic[0], 3);
    CHECK_EQ(gh_lapic_ack(&apic[0]), 0x41);
    CHECK_EQ(seen[0].eoi, 0);                    /* edge-triggered ones are not told */
    gh_lapic_deliver(&apic[0], GH_DELIVER_FIXED, 0x55, true);
    CHECK_EQ(gh_lapic_ack(&apic[0]), 0x55);
    wr(0, 0xb0, 0);
    CHECK_EQ(seen[0].eoi, 1);
    CHECK_EQ(seen[0].vector, 0x55);
    gh_lapic_deliver(&apic[0], GH_DELIVER_FIXED, 3, false);
    CHECK_EQ(rd(0, 0x200), 0);                   /* vectors below 16 are an error */
    wr(0, 0x280, 0);
    CHECK_EQ(rd(0, 0x280), 1u << 6);
    wr(0, 0xf0, 0xff);
    gh_lapic_deliver(&apic[0], GH_DELIVER_FIXED, 0x80, false);
    CHECK_EQ(gh_lapic_pending(&apic[0]), -1);
    CHECK_EQ(rd(0, 0x350) & 0x10000, 0x10000);   /* switched off by software: all LVT entries masked */
}

static void addressing(void)
{
    setup();
    CHECK_EQ(gh_lapic_bus_msi(&bus, 0xfee02000, 0x0051), 1);            /* physical 2 */
    CHECK_EQ(gh_lapic_pending(&apic[2]), 0x51);
    CHECK_EQ(gh_lapic_bus_msi(&bus, 0xfee09000, 0x0051), 0);            /* nobody */
    CHECK_EQ(gh_lapic_bus_msi(&bus, 0xfeeff000, 0x0052), 4);            /* broadcast */
    setup();
    for (unsigned i = 0; i < 4; i++)
        wr(i, 0xd0, 1u << (24 + i));
    CHECK_EQ(gh_lapic_bus_msi(&bus, 0xfee0a004, 0x0053), 2);            /* logical, flat: 1 and 3 */
    CHECK_EQ(gh_lapic_pending(&apic[1]), 0x53);
    CHECK_EQ(gh_lapic_pending(&apic[3]), 0x53);
    CHECK_EQ(gh_lapic_pending(&apic[0]), -1);
    wr(0, 0x80, 0x30);
    CHECK_EQ(gh_lapic_bus_msi(&bus, 0xfee05004, 0x0154), 1);            /* lowest priority of 0 and 2 */
    CHECK_EQ(rd(2, 0x220) >> 0x14 & 1, 1);
    CHECK_EQ(rd(0, 0x220) >> 0x14 & 1, 0);
    for (unsigned i = 0; i < 4; i++) {
        wr(i, 0xe0, 0x0fffffff);                                        /* cluster model */
        wr(i, 0xd0, (i / 2) << 28 | 1u << (24 + i % 2));
    }
    CHECK_EQ(gh_lapic_bus_msi(&bus, 0xfee13004, 0x0060), 2);            /* cluster 1, both */
    CHECK_EQ(gh_lapic_bus_msi(&bus, 0xfee11004, 0x0061), 1);
}

static void commands(void)
{
    setup();
    wr(0, 0x310, 2u << 24);
    wr(0, 0x300, 0x4500);                        /* INIT, assert */
    CHECK_EQ(seen[2].init, 1);
    wr(0, 0x300, 0x8500);                        /* INIT de-assert: nothing */
    CHECK_EQ(seen[2].init, 1);
    wr(0, 0x300, 0x46ab);                        /* SIPI */
    CHECK_EQ(seen[2].startup, 1);
    CHECK_EQ(seen[2].page, 0xab);
    wr(0, 0x300, 0xc4070);                       /* all but self */
    CHECK_EQ(gh_lapic_pending(&apic[0]), -1);
    CHECK_EQ(gh_lapic_pending(&apic[3]), 0x70);
    wr(0, 0x300, 0x84071);                       /* all */
    CHECK_EQ(gh_lapic_pending(&apic[0]), 0x71);
    wr(1, 0x300, 0x44072);                       /* self */
    CHECK_EQ(gh_lapic_pending(&apic[1]), 0x72);
    wr(0, 0x300, 0xc4400);                       /* NMI to the others */
    CHECK_EQ(seen[1].nmi + seen[2].nmi + seen[3].nmi, 3);
    CHECK_EQ(seen[0].nmi, 0);
}

static void timers(void)
{
    setup();
    wr(0, 0x3e0, 0);                             /* divide by 2 */
    wr(0, 0x320, 0x44);
    CHECK_EQ(gh_lapic_deadline_ns(&apic[0]), -1);
    wr(0, 0x380, 500);
    CHECK_EQ(gh_lapic_deadline_ns(&apic[0]), 2000);
    now = 1400;
    CHECK_EQ(rd(0, 0x390), 300);
    gh_lapic_expire(&apic[0], now);
    CHECK_EQ(gh_lapic_pending(&apic[0]), -1);
    now = 2000;
    gh_lapic_expire(&apic[0], now);
    CHECK_EQ(gh_lapic_ack(&apic[0]), 0x44);
    CHECK_EQ(gh_lapic_deadline_ns(&apic[0]), -1);
    CHECK_EQ(rd(0, 0x390), 0);
    wr(0, 0xb0, 0);
    wr(0, 0x320, 0x20045);                       /* periodic */
    wr(0, 0x380, 500000);
    now = 2000 + 2500000;                        /* two periods and a half later */
    gh_lapic_expire(&apic[0], now);
    CHECK_EQ(gh_lapic_ack(&apic[0]), 0x45);
    CHECK_EQ(gh_lapic_deadline_ns(&apic[0]), 2000 + 3000000);
    CHECK_EQ(rd(0, 0x390), 250000);
    wr(0, 0x380, 1);                             /* a period of 2 ns: the host is asked every 100 us */
    CHECK_EQ(gh_lapic_deadline_ns(&apic[0]), now + 100000);
    wr(0, 0x320, 0x30045);
    CHECK_EQ(gh_lapic_deadline_ns(&apic[0]), -1); /* masked */
    wr(0, 0xb0, 0);
    wr(0, 0x320, 0x40046);                       /* TSC deadline; the TSC runs at 2 GHz */
    gh_lapic_set_deadline(&apic[0], now * 2 + 5000);
    CHECK_EQ(gh_lapic_deadline_ns(&apic[0]), now + 2500);
    wr(0, 0x380, 7);                             /* ignored in this mode */
    CHECK_EQ(rd(0, 0x390), 0);
    now += 2500;
    gh_lapic_expire(&apic[0], now);
    CHECK_EQ(gh_lapic_ack(&apic[0]), 0x46);
    CHECK_EQ(gh_lapic_get_deadline(&apic[0]), 0);
}

static void x2apic(void)
{
    uint64_t v;

    setup();
    CHECK(!gh_lapic_msr_read(&apic[1], 0x802, &v));                     /* not in x2APIC mode */
    CHECK(!gh_lapic_set_base(&apic[1], 0xfee00400));                    /* x2 without enable */
    CHECK(gh_lapic_set_base(&apic[1], 0xfee00c00));
    CHECK(gh_lapic_msr_read(&apic[1], 0x802, &v));
    CHECK_EQ(v, 1);
    CHECK(gh_lapic_msr_read(&apic[1], 0x80d, &v));
    CHECK_EQ(v, 2);
    CHECK(!gh_lapic_msr_read(&apic[1], 0x80e, &v));                     /* no DFR */
    CHECK(!gh_lapic_msr_write(&apic[1], 0x80b, 1));                     /* EOI takes 0 only */
    CHECK(!gh_lapic_msr_write(&apic[1], 0x802, 0));
    CHECK(gh_lapic_msr_write(&apic[1], 0x83f, 0x90));
    CHECK_EQ(gh_lapic_ack(&apic[1]), 0x90);
    CHECK(gh_lapic_msr_write(&apic[1], 0x80b, 0));
    CHECK(gh_lapic_msr_write(&apic[1], 0x830, 0x300000091ull));         /* physical 3 */
    CHECK_EQ(gh_lapic_pending(&apic[3]), 0x91);
    CHECK(!gh_lapic_set_base(&apic[1], 0xfee00800));                    /* back only through off */
    CHECK(gh_lapic_set_base(&apic[1], 0xfee00000));
    CHECK(gh_lapic_set_base(&apic[1], 0xfee00800));
    CHECK(!gh_lapic_set_base(&apic[1], 1ull << 45));
}

static void saved(void)
{
    uint8_t page[1024], again[1024];

    setup();
    wr(0, 0x3e0, 0xb);
    wr(0, 0x320, 0x20047);
    wr(0, 0x380, 1000);
    now += 300;
    gh_lapic_deliver(&apic[0], GH_DELIVER_FIXED, 0x77, true);
    gh_lapic_deliver(&apic[0], GH_DELIVER_FIXED, 0x33, false);
    CHECK_EQ(gh_lapic_ack(&apic[0]), 0x77);
    gh_lapic_save(&apic[0], page);
    uint64_t due = gh_lapic_deadline_ns(&apic[0]) - now;
    setup();
    now = 900000;
    CHECK(gh_lapic_load(&apic[0], page));
    CHECK_EQ(gh_lapic_deadline_ns(&apic[0]) - now, due);
    gh_lapic_save(&apic[0], again);
    CHECK(!memcmp(page, again, sizeof page));
    wr(0, 0xb0, 0);
    CHECK_EQ(seen[0].eoi, 1);
    CHECK_EQ(gh_lapic_pending(&apic[0]), 0x33);
    page[0x322] = 0x6;                           /* timer mode 3 does not exist */
    CHECK(!gh_lapic_load(&apic[0], page));
}

int main(void)
{
    reset_values();
    priorities();
    addressing();
    commands();
    timers();
    x2apic();
    saved();
    return check_result();
}
