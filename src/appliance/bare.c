/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A disk image alone, wrapped in a machine: what runs on it is guessed from its partition table and
 * the beginnings of its file systems. What the machine offers it follows from that: a system finds its disk only on a
 * controller whose driver it loads early, and which that is depends on where it ran before.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "appliance/disk.h"
#include "appliance/i18n.h"
#include "base/bytes.h"

enum { EXT4_EXTENTS = 0x40 };              /* made by ext4, so by a Linux of 2008 or later */
enum { SECTOR = 512, GPT_ENTRIES = 128, GPT_ENTRY = 128 };
struct guess { bool windows, linux_, modern, bsd, dos, esp, bios_boot, boot_code, gpt; };

/* The first three fields of a GUID are little-endian on disk. */
static bool is_type(const uint8_t *entry, uint32_t a, uint16_t b, uint16_t c, const char rest[16])
{
    char text[17];

    for (unsigned i = 0; i < 8; i++)
        snprintf(text + i * 2, 3, "%02x", entry[8 + i]);
    return gh_le32_get(entry) == a && gh_le16_get(entry + 4) == b && gh_le16_get(entry + 6) == c && !memcmp(text, rest, 16);
}

static void look_at_volume(struct gh_image *img, uint64_t at, struct guess *g)
{
    uint8_t b[2048];

    if (at + 70000 > gh_image_bytes(img) || gh_image_read(img, at, b, sizeof b) < 0)
        return;
    if (!memcmp(b + 3, "NTFS    ", 8)) {
        g->windows = true;
    } else if (!memcmp(b + 3, "MSDOS", 5) || !memcmp(b + 3, "MSWIN", 5) || !memcmp(b + 3, "FRDOS", 5) || !memcmp(b + 3, "IBM ", 4)) {
        g->dos = true;
    } else if (gh_le16_get(b + 1024 + 56) == 0xef53) {
        g->linux_ = true;
        g->modern |= gh_le32_get(b + 1024 + 0x60) & EXT4_EXTENTS;
    } else if (!memcmp(b, "XFSB", 4)) {
        g->linux_ = true;
        g->modern |= (gh_be16_get(b + 100) & 15) >= 5;
    } else {
        uint8_t far[8];
        if (gh_image_read(img, at + 65536 + 64, far, 8) == 0 && !memcmp(far, "_BHRfS_M", 8))
            g->linux_ = g->modern = true;
    }
}

static void look_at_gpt(struct gh_image *img, struct guess *g)
{
    uint8_t head[SECTOR], *table = malloc((size_t)GPT_ENTRIES * GPT_ENTRY);

    if (table && gh_image_read(img, SECTOR, head, sizeof head) == 0 && !memcmp(head, "EFI PART", 8) && gh_le32_get(head + 84) == GPT_ENTRY &&
        gh_le64_get(head + 72) < gh_image_bytes(img) / SECTOR && gh_image_read(img, gh_le64_get(head + 72) * SECTOR, table, (size_t)GPT_ENTRIES * GPT_ENTRY) == 0) {
        g->gpt = true;
        for (unsigned i = 0; i < GPT_ENTRIES; i++) {
            const uint8_t *e = table + i * GPT_ENTRY;
            uint64_t first = gh_le64_get(e + 32);
            if (is_type(e, 0xc12a7328, 0xf81f, 0x11d2, "ba4b00a0c93ec93b"))
                g->esp = true;
            else if (is_type(e, 0x21686148, 0x6449, 0x6e6f, "744e656564454649"))
                g->bios_boot = true;
            else if (is_type(e, 0xe3c9e316, 0x0b5c, 0x4db8, "817df92df00215ae"))
                g->windows = true;
            else if (is_type(e, 0x516e7cb4, 0x6ecf, 0x11d6, "8ff800022d09712b") || is_type(e, 0x516e7cba, 0x6ecf, 0x11d6, "8ff800022d09712b"))
                g->bsd = true;
            else if (is_type(e, 0xe6d6d379, 0xf507, 0x44c2, "a23c238f2a3df928")) /* LVM */
                g->linux_ = g->modern = true;
            else if (gh_le32_get(e) && first < gh_image_bytes(img) / SECTOR)
                look_at_volume(img, first * SECTOR, g);
        }
    }
    free(table);
}

static void look(struct gh_image *img, struct guess *g)
{
    uint8_t mbr[SECTOR];

    if (gh_image_bytes(img) < SECTOR || gh_image_read(img, 0, mbr, sizeof mbr) < 0)
        return;
    bool table = mbr[510] == 0x55 && mbr[511] == 0xaa;
    for (unsigned i = 0; i < 64; i++)
        g->boot_code |= table && mbr[i];
    for (unsigned i = 0; table && i < 4; i++) {
        const uint8_t *e = mbr + 446 + i * 16;
        uint64_t first = gh_le32_get(e + 8);
        if (e[4] == 0xee) {
            look_at_gpt(img, g);
            return;
        }
        g->linux_ |= e[4] == 0x82 || e[4] == 0x8e || e[4] == 0xfd;
        g->bsd |= e[4] == 0xa5 || e[4] == 0xa6 || e[4] == 0xa9;
        g->esp |= e[4] == 0xef;
        if (e[4] && !(e[0] & 0x7f) && first && first < gh_image_bytes(img) / SECTOR)
            look_at_volume(img, first * SECTOR, g);
    }
    look_at_volume(img, 0, g);
}

/* Linux of 2008 or later brings virtio's drivers, and has the network's on its disk. The disk's driver must be in what is loaded
 * before, which some distributions fill with what their computer had: images of QEMU's come from virtio, those of others
 * from SATA. Windows and the BSDs of the years of GPT, and Windows 7 or later by name, start from SATA. */
static void choose_hardware(struct gh_appliance *a, struct gh_appliance_medium *m, const struct guess *g, const char *named,
                            const char **ret_adapter)
{
    static const char *const theirs[] = { "vdi", "vmdk", "vhd", "vhdx", "hdd" };
    bool foreign = false, old = strstr(named, "/win/xp") || strstr(named, "/win/2k") || strstr(named, "/winnt") || strstr(named, "/win/me") ||
                                strstr(named, "/win/9") || strstr(named, "/win/3");
    bool new_windows = g->windows && !old && (g->gpt || named[0]);

    for (size_t i = 0; i < GH_ARRAY_LEN(theirs); i++)
        foreign |= !strcmp(m->format, theirs[i]);
    if (g->linux_ && g->modern && !g->windows) {
        snprintf(m->bus, sizeof m->bus, "%s", foreign ? "ahci" : "virtio");
        *ret_adapter = "virtio-net";
        gh_appliance_note(a, GH_CHANGED, foreign ? _("The disk is on AHCI and the network on virtio, which a Linux of 2008 or later has drivers for. Where its start medium has "
                                                     "virtio's, virtio is faster for the disk too.")
                                                 : _("The disk and the network are on virtio, which a Linux of 2008 or later has drivers for. If it does not find its disk, choose AHCI."));
    } else if (new_windows || (g->bsd && g->gpt)) {
        snprintf(m->bus, sizeof m->bus, "ahci");
        gh_appliance_note(a, GH_CHANGED, _("The disk is on AHCI and the network on e1000, which the system has drivers for."));
    } else {
        gh_appliance_note(a, GH_CHANGED, _("The disk is on IDE and the network on e1000, which nearly every system has drivers for."));
    }
}

int gh_read_bare_disk(struct gh_package *p, struct gh_appliance *a, struct gh_error *err)
{
    struct guess g = { 0 };
    const char *base = strrchr(p->path, '/') + 1;
    struct gh_appliance_medium *m = gh_appliance_add_medium(a, "disk", "ide", base, err);

    if (!m)
        return -E2BIG;
    snprintf(m->format, sizeof m->format, "%s", p->format);
    gh_appliance_text_new(&m->path, p->path, PATH_MAX);
    struct gh_image *img = gh_medium_open(p, m, NULL, err);
    if (!img)
        return err->code ? err->code : -EIO;
    look(img, &g);
    gh_image_close(img);
    gh_appliance_text(a->name, sizeof a->name, p->stem);
    /* The file's name is often the best witness; the disk decides what kind it can be. */
    const char *named = gh_appliance_os_id(p->stem);
    const char *what = g.windows ? "Windows 10" : g.linux_ ? "Linux" : g.bsd ? "FreeBSD" : g.dos ? "MS-DOS" : "";
    bool fits = named[0] && (!what[0] || (g.windows || g.dos) == (strstr(named, "microsoft") != NULL));
    if (fits || what[0])
        gh_appliance_text(a->os, sizeof a->os, fits ? p->stem : what);
    const char *adapter = "e1000";
    choose_hardware(a, m, &g, fits ? named : "", &adapter);
    if (g.esp && !g.bios_boot && !(g.boot_code && !g.gpt))
        strcpy(a->firmware, "uefi");
    if (g.windows || g.dos)
        strcpy(a->clock_base, "local");
    a->memory_bytes = g.dos && !g.windows ? 64ull << 20 : 2048ull << 20;
    a->cpus = g.dos && !g.windows ? 1 : 2;
    gh_appliance_note(a, GH_CHANGED, what[0] ? _("The disk looks like %s; memory, processors and network are chosen for it.")
                                             : _("What is on the disk was not recognised; memory, processors and network are a guess (%s)."), what[0] ? what : "2 GiB");
    if (!g.boot_code && !g.esp)
        gh_appliance_note(a, GH_WARNING, _("The disk has no boot code."));
    return gh_appliance_add_network(a, adapter, "nat", "", err) ? 0 : err->code;
}
