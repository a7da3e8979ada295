/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The generated tables as firmware sees them: runs the linker script, then walks from the RSDP and
 * checks every checksum, pointer and the few fields an OS cannot do without. With a folder as argument
 * it also writes the tables there, for iasl.
 */
#include "check.h"
#include "devices/chipset/piix4pm.h"
#include "devices/firmware/acpi.h"
#include "devices/firmware/smbios.h"
#include "pci-helper.h"

#include <errno.h>

enum { TABLES_AT = 0x100000, RSDP_AT = 0xf5000 };

static uint8_t *place(struct gh_board *b, const char *file, size_t *len)
{
    struct gh_fw_cfg *fw = fake_lookup_service(b, "fw_cfg");
    uint8_t *data = gh_fw_cfg_data(fw, file, len);
    CHECK_FATAL(data);
    uint8_t *to = b->ram + (!strcmp(file, "etc/acpi/rsdp") ? RSDP_AT : TABLES_AT);
    memcpy(to, data, *len);
    return to;
}

static void select_file(struct gh_board *b, const char *name)
{
    uint8_t entry[64], count[4];
    fake_outw(b, 0x510, GH_FW_FILE_DIR);
    fake_rep(b, 0x511, 1, false, 4, count);
    for (unsigned i = 0; i < gh_be32_get(count); i++) {
        fake_rep(b, 0x511, 1, false, 64, entry);
        if (!strcmp((char *)entry + 8, name)) {
            fake_outw(b, 0x510, gh_be16_get(entry + 4));
            return;
        }
    }
    CHECK(!"file is there");
}

static void run_loader(struct gh_board *b)
{
    struct gh_fw_cfg *fw = fake_lookup_service(b, "fw_cfg");
    size_t len, tables_len = 0, rsdp_len = 0;
    uint8_t *script = gh_fw_cfg_data(fw, "etc/table-loader", &len);
    CHECK_FATAL(script && len % 128 == 0);
    for (size_t at = 0; at < len; at += 128) {
        const uint8_t *c = script + at;
        const char *file = (const char *)c + 4;
        bool rsdp = !strcmp(file, "etc/acpi/rsdp");
        uint8_t *base = b->ram + (rsdp ? RSDP_AT : TABLES_AT);
        size_t limit = rsdp ? rsdp_len : tables_len;
        switch (gh_le32_get(c)) {
        case 1:
            place(b, file, rsdp ? &rsdp_len : &tables_len);
            break;
        case 2: {
            uint32_t offset = gh_le32_get(c + 116);
            CHECK_STR((const char *)c + 60, "etc/acpi/tables");
            CHECK_FATAL(gh_range_in(offset, c[120], limit));
            uint64_t v = 0;
            memcpy(&v, base + offset, c[120]);
            CHECK(v < tables_len);
            v += TABLES_AT;
            memcpy(base + offset, &v, c[120]);
            break;
        }
        case 3: {
            uint32_t sum_at = gh_le32_get(c + 60), start = gh_le32_get(c + 64), n = gh_le32_get(c + 68);
            CHECK_FATAL(gh_range_in(start, n, limit) && sum_at < limit);
            uint8_t sum = 0;
            base[sum_at] = 0;
            for (uint32_t i = 0; i < n; i++)
                sum += base[start + i];
            base[sum_at] = (uint8_t)-sum;
            break;
        }
        default:
            CHECK(!"known command");
        }
    }
}

static uint8_t sum_of(const uint8_t *p, size_t len)
{
    uint8_t sum = 0;
    while (len--)
        sum += *p++;
    return sum;
}

static const uint8_t *find_table(struct gh_board *b, const char *signature)
{
    const uint8_t *rsdp = b->ram + RSDP_AT;
    CHECK(!memcmp(rsdp, "RSD PTR ", 8) && !sum_of(rsdp, 20) && !sum_of(rsdp, 36));
    const uint8_t *xsdt = b->ram + gh_le64_get(rsdp + 24), *rsdt = b->ram + gh_le32_get(rsdp + 16);
    CHECK(!memcmp(xsdt, "XSDT", 4) && !sum_of(xsdt, gh_le32_get(xsdt + 4)));
    CHECK(!memcmp(rsdt, "RSDT", 4) && !sum_of(rsdt, gh_le32_get(rsdt + 4)));
    CHECK_EQ((gh_le32_get(xsdt + 4) - 36) / 8, (gh_le32_get(rsdt + 4) - 36) / 4);
    for (uint32_t i = 36; i < gh_le32_get(xsdt + 4); i += 8) {
        const uint8_t *t = b->ram + gh_le64_get(xsdt + i);
        CHECK_EQ(sum_of(t, gh_le32_get(t + 4)), 0);
        if (!memcmp(t, signature, 4))
            return t;
    }
    return NULL;
}

static void dump(const char *folder, const char *name, const uint8_t *t)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s.aml", folder, name);
    FILE *f = fopen(path, "w");
    CHECK_FATAL(f);
    fwrite(t, 1, gh_le32_get(t + 4), f);
    fclose(f);
}

static void test_smbios(struct gh_board *b)
{
    struct gh_fw_cfg *fw = fake_lookup_service(b, "fw_cfg");
    struct gh_smbios_config c = { .uuid = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 }, .cpus = 2,
                                  .ram_below_4g = 3ull << 30, .ram_above_4g = 5ull << 40, .serial = "" };
    CHECK_EQ(gh_smbios_publish(fw, &c, NULL), 0);
    size_t len, anchor_len;
    const uint8_t *t = gh_fw_cfg_data(fw, "etc/smbios/smbios-tables", &len);
    const uint8_t *anchor = gh_fw_cfg_data(fw, "etc/smbios/smbios-anchor", &anchor_len);
    CHECK_EQ(anchor_len, 31);
    CHECK_EQ(gh_le16_get(anchor + 0x16), len);
    unsigned count = 0, types[128] = { 0 };
    size_t at = 0;
    while (at + 4 <= len) {
        CHECK(t[at] < 128);
        types[t[at] & 127]++;
        if (t[at] == 1) {
            static const uint8_t uuid[16] = { 4, 3, 2, 1, 6, 5, 8, 7, 9, 10, 11, 12, 13, 14, 15, 16 };
            CHECK(!memcmp(t + at + 8, uuid, 16));
            CHECK(memmem(t + at, len - at, "Gasthaus\0Gasthaus", 17) != NULL);
        }
        count++;
        for (at += t[at + 1]; at + 1 < len && (t[at] || t[at + 1]); at++)
            ;
        at += 2;
    }
    CHECK_EQ(at, len);
    CHECK_EQ(count, gh_le16_get(anchor + 0x1c));
    CHECK(types[0] == 1 && types[1] == 1 && types[3] == 1 && types[4] == 2 && types[16] == 1 && types[17] == 1 &&
          types[19] == 2 && types[32] == 1 && types[127] == 1);
    c.cpus = 2000;
    CHECK(gh_smbios_publish(fw, &c, NULL) < 0);
}

int main(int argc, char **argv)
{
    struct gh_board *b = fake_board_new();
    fake_add(b, "i440fx", "pci0", NULL);
    fake_add(b, "piix3", "isa0", NULL);
    struct gh_device *pm = fake_add(b, "piix4-pm", "pm0", NULL);
    fake_add(b, "fw_cfg", "fw0", NULL);
    struct gh_acpi_config config = { .cpus = 3, .ram_below_4g = 0xc0000000, .pci64_base = 1ull << 35,
                                     .pci64_bytes = 1ull << 35, .hpet = true, .fdc = true, .lpt = true,
                                     .pvpanic = true, .ps2 = true, .com = { true, true, true, true }, .pm = pm };
    struct gh_fw_cfg *fw = fake_lookup_service(b, "fw_cfg");
    CHECK_EQ(gh_acpi_publish(fw, &config, NULL), 0);
    /* Firmware places the PM registers, then reads the tables. */
    cfg_write32(b, 1 << 3 | 3, 0x40, 0xb001);
    cfg_write8(b, 1 << 3 | 3, 0x80, 1);
    select_file(b, "etc/acpi/tables");
    run_loader(b);

    const uint8_t *fadt = find_table(b, "FACP");
    CHECK_FATAL(fadt);
    CHECK_EQ(gh_le32_get(fadt + 56), 0xb000);
    CHECK_EQ(gh_le32_get(fadt + 76), 0xb008);
    CHECK_EQ(gh_le16_get(fadt + 46), 9);
    CHECK_EQ(gh_le32_get(fadt + 4), 244);
    const uint8_t *facs = b->ram + gh_le32_get(fadt + 36), *dsdt = b->ram + gh_le32_get(fadt + 40);
    CHECK(!memcmp(facs, "FACS", 4) && gh_le32_get(fadt + 36) % 64 == 0);
    CHECK(!memcmp(dsdt, "DSDT", 4) && !sum_of(dsdt, gh_le32_get(dsdt + 4)));
    CHECK_EQ(gh_le64_get(fadt + 140), gh_le32_get(fadt + 40));
    const uint8_t *madt = find_table(b, "APIC");
    CHECK_FATAL(madt);
    unsigned cpus = 0, overrides = 0;
    for (uint32_t i = 44; i < gh_le32_get(madt + 4) && madt[i + 1]; i += madt[i + 1]) {
        cpus += madt[i] == 0;
        overrides += madt[i] == 2;
    }
    CHECK_EQ(cpus, 3);
    CHECK_EQ(overrides, 5);
    CHECK(find_table(b, "HPET") && find_table(b, "WAET"));
    if (argc > 1) {
        dump(argv[1], "dsdt", dsdt);
        dump(argv[1], "facp", fadt);
        dump(argv[1], "apic", madt);
        dump(argv[1], "hpet", find_table(b, "HPET"));
    }
    struct gh_error err = { 0 };
    config.cpus = 0;
    CHECK_EQ(gh_acpi_publish(fw, &config, &err), -EINVAL);
    CHECK_STR(err.option, "cpus");
    config.cpus = 254;
    config.hpet = config.fdc = false;
    CHECK_EQ(gh_acpi_publish(fw, &config, NULL), 0);
    test_smbios(b);
    fake_board_free(b);
    return check_result();
}
