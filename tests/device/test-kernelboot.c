/* SPDX-License-Identifier: GPL-3.0-or-later */
/* bzImage and Multiboot headers: what is published for good ones, and what is refused of bad ones. */
#include "check.h"
#include "devices/firmware/kernelboot.h"
#include "devices/firmware/pcfw.h"
#include "fakeboard.h"

#include <errno.h>

enum { SETUP_SECTS = 3, SETUP = (SETUP_SECTS + 1) * 512, BODY = 0x5000 };

static uint8_t image[SETUP + BODY];

static void good_linux(void)
{
    memset(image, 0, sizeof image);
    image[0x1f1] = SETUP_SECTS;
    gh_le32_put(image + 0x1f4, BODY / 16);
    gh_le16_put(image + 0x1fe, 0xaa55);
    memcpy(image + 0x202, "HdrS", 4);
    gh_le16_put(image + 0x206, 0x20f);
    image[0x211] = 1;
    gh_le32_put(image + 0x22c, 0x7fffffff);
    gh_le32_put(image + 0x238, 2047);
    gh_le64_put(image + 0x258, 0x1000000);
    gh_le32_put(image + 0x260, 0x2000000);
    image[SETUP] = 0x5a;
}

static struct gh_board *b;
static struct gh_fw_cfg *fw;

static uint32_t item32(uint16_t key)
{
    uint8_t v[4];
    fake_outw(b, 0x510, key);
    fake_rep(b, 0x511, 1, false, 4, v);
    return gh_le32_get(v);
}

static void refused(const struct gh_kernelboot *k, int code, const char *id)
{
    struct gh_error err = { 0 };
    CHECK_EQ(gh_kernelboot_publish(fw, k, &err), code);
    CHECK_STR(err.id, id);
    CHECK(err.option[0]);
}

static void test_linux(void)
{
    static uint8_t initrd[10000];
    struct gh_kernelboot k = { .kernel = image, .kernel_len = sizeof image, .initrd = initrd, .initrd_len = sizeof initrd,
                               .cmdline = "console=ttyS0", .ram_below_4g = 256u << 20 };
    good_linux();
    CHECK_EQ(gh_kernelboot_publish(fw, &k, NULL), 0);
    CHECK_EQ(item32(GH_FW_KERNEL_ADDR), 0x100000);
    CHECK_EQ(item32(GH_FW_KERNEL_SIZE), BODY);
    CHECK_EQ(item32(GH_FW_KERNEL_DATA) & 0xff, 0x5a);
    CHECK_EQ(item32(GH_FW_KERNEL_ENTRY), 0);
    CHECK_EQ(item32(GH_FW_SETUP_SIZE), SETUP);
    CHECK_EQ(item32(GH_FW_INITRD_SIZE), sizeof initrd);
    CHECK_EQ(item32(GH_FW_INITRD_ADDR), (255u << 20) - 3 * 4096);
    CHECK_EQ(item32(GH_FW_CMDLINE_SIZE), 14);
    uint8_t setup[SETUP];
    fake_outw(b, 0x510, GH_FW_SETUP_DATA);
    fake_rep(b, 0x511, 1, false, SETUP, setup);
    CHECK_EQ(setup[0x210], 0xff);
    CHECK_EQ(setup[0x211], 0x81);
    CHECK_EQ(gh_le32_get(setup + 0x228), 0x20000);
    CHECK_EQ(gh_le32_get(setup + 0x218), item32(GH_FW_INITRD_ADDR));
    size_t len;
    const uint8_t *rom = gh_fw_cfg_data(fw, GH_KERNELBOOT_ROM, &len);
    CHECK_FATAL(rom && len && len % 512 == 0);
    uint8_t sum = 0;
    for (size_t i = 0; i < len; i++)
        sum += rom[i];
    CHECK(rom[0] == 0x55 && rom[1] == 0xaa && rom[2] == len / 512 && !sum);
    CHECK(!memcmp(rom + gh_le16_get(rom + 0x1a), "$PnP", 4));

    /* The kernel's own limit for the initrd wins where it is lower. */
    gh_le32_put(image + 0x22c, 0x7ffffff);
    CHECK_EQ(gh_kernelboot_publish(fw, &k, NULL), 0);
    CHECK_EQ(item32(GH_FW_INITRD_ADDR), 0x8000000 - 3 * 4096);

    k.ram_below_4g = 49u << 20;               /* ends exactly where the kernel unpacks */
    refused(&k, -ENOSPC, "KernelNoRoom");
    k.initrd_len = 0;
    CHECK_EQ(gh_kernelboot_publish(fw, &k, NULL), 0);
    k.ram_below_4g -= 1;
    refused(&k, -ENOSPC, "KernelNoRoom");
    k.ram_below_4g = 256u << 20;

    static char line[3000];
    memset(line, 'x', 2048);
    k.cmdline = line;
    refused(&k, -EINVAL, "KernelCommandLine");
    line[2047] = 0;
    CHECK_EQ(gh_kernelboot_publish(fw, &k, NULL), 0);

    static const struct { unsigned at; uint8_t value; const char *id; } damage[] = {
        { 0x1fe, 0, "KernelInvalid" }, { 0x202, 'X', "KernelInvalid" }, { 0x207, 1, "KernelTooOld" },
        { 0x211, 0, "KernelTooOld" }, { 0x1f1, 200, "KernelTruncated" }, { 0x1f6, 1, "KernelTruncated" },
        { 0x25f, 0xff, "KernelNoRoom" },
    };
    for (unsigned i = 0; i < GH_ARRAY_LEN(damage); i++) {
        good_linux();
        image[damage[i].at] = damage[i].value;
        refused(&k, !strcmp(damage[i].id, "KernelNoRoom") ? -ENOSPC : -EINVAL, damage[i].id);
    }
    good_linux();
    for (k.kernel_len = 0; k.kernel_len < SETUP; k.kernel_len += 61)
        refused(&k, -EINVAL, "KernelTruncated");
    k.kernel_len = sizeof image - 4096;
    refused(&k, -EINVAL, "KernelTruncated");
}

static void good_multiboot(void)
{
    memset(image, 0, sizeof image);
    memcpy(image, "\177ELF\1\1\1", 7);
    gh_le16_put(image + 18, 3);
    gh_le32_put(image + 24, 0x100010);        /* entry */
    gh_le32_put(image + 28, 52);
    gh_le16_put(image + 42, 32);
    gh_le16_put(image + 44, 1);
    gh_le32_put(image + 52, 1);
    gh_le32_put(image + 56, 0x1000);
    gh_le32_put(image + 64, 0x100000);
    gh_le32_put(image + 68, 0x800);
    gh_le32_put(image + 72, 0x3000);
    gh_le32_put(image + 0x1000, 0x1badb002);
    gh_le32_put(image + 0x1008, -0x1badb002u);
}

static void test_multiboot(void)
{
    static const uint8_t module[5000] = { 7 };
    struct gh_kernelboot k = { .kernel = image, .kernel_len = sizeof image, .initrd = module, .initrd_len = sizeof module,
                               .cmdline = "smp=2", .ram_below_4g = 64u << 20 };
    good_multiboot();
    CHECK_EQ(gh_kernelboot_publish(fw, &k, NULL), 0);
    CHECK_EQ(item32(GH_FW_KERNEL_ADDR), 0x100000);
    CHECK_EQ(item32(GH_FW_KERNEL_SIZE), 0x3000);
    CHECK_EQ(item32(GH_FW_KERNEL_ENTRY), 0x100010);
    CHECK_EQ(item32(GH_FW_SETUP_SIZE), 0);
    CHECK_EQ(item32(GH_FW_INITRD_ADDR), 0x103000);
    uint8_t info[4097];
    fake_outw(b, 0x510, GH_FW_INITRD_DATA);
    fake_rep(b, 0x511, 1, false, sizeof info, info);
    CHECK_EQ(gh_le32_get(info + 20), 1);
    CHECK_STR((char *)info + (gh_le32_get(info + 16) - 0x103000), "program smp=2");
    uint32_t list = gh_le32_get(info + 24) - 0x103000;
    CHECK_EQ(gh_le32_get(info + list), 0x104000);
    CHECK_EQ(gh_le32_get(info + list + 4), 0x104000 + sizeof module);
    CHECK_EQ(info[4096], 7);

    static const struct { unsigned at; uint32_t value; } damage[] = {
        { 24, 0x1ffff0 }, { 28, 0xfffffff0 }, { 44, 0xffff }, { 44, 0 }, { 52, 2 }, { 56, 0xfffff000 }, { 64, 0x1000 },
        { 68, 0x4000 }, { 68, 0xffffffff }, { 72, 0xffffffff }, { 18, 62 },
    };
    for (unsigned i = 0; i < GH_ARRAY_LEN(damage); i++) {
        good_multiboot();
        gh_le32_put(image + damage[i].at, damage[i].value);
        refused(&k, -EINVAL, "KernelInvalid");
    }
    /* Below 1 MiB: over the places of boot loaders, but neither over the BIOS's nor over our own option ROM's. */
    static const struct { uint32_t addr; bool fits; } low[] = { { 0x1000, true }, { 0x9a000, true }, { 0xfff, false }, { 0x9a001, false },
                                                                { 0xfffff, false } };
    for (unsigned i = 0; i < GH_ARRAY_LEN(low); i++) {
        good_multiboot();
        gh_le32_put(image + 64, low[i].addr);
        gh_le32_put(image + 24, low[i].addr + 0x10);
        if (!low[i].fits) {
            refused(&k, -EINVAL, "KernelInvalid");
            continue;
        }
        CHECK_EQ(gh_kernelboot_publish(fw, &k, NULL), 0);
        CHECK_EQ(item32(GH_FW_KERNEL_ADDR), low[i].addr);
        CHECK_EQ(item32(GH_FW_INITRD_ADDR), 0x100000);
    }
    /* Addresses in the header. */
    good_multiboot();
    uint8_t *h = image + 0x1000;
    gh_le32_put(h + 4, 0x10000);
    gh_le32_put(h + 8, -(0x1badb002u + 0x10000u));
    gh_le32_put(h + 12, 0x200010);            /* header is 16 bytes into what is loaded */
    gh_le32_put(h + 16, 0x200000);
    gh_le32_put(h + 20, 0x200100);
    gh_le32_put(h + 24, 0x200800);
    gh_le32_put(h + 28, 0x200040);
    CHECK_EQ(gh_kernelboot_publish(fw, &k, NULL), 0);
    CHECK_EQ(item32(GH_FW_KERNEL_SIZE), 0x800);
    CHECK_EQ(item32(GH_FW_KERNEL_ADDR), 0x200000);
    gh_le32_put(h + 20, 0x210000);            /* longer than the file */
    refused(&k, -EINVAL, "KernelInvalid");
    gh_le32_put(h + 20, 0x1ff000);
    refused(&k, -EINVAL, "KernelInvalid");
    gh_le32_put(h + 12, 0x300000);            /* would start before the file */
    refused(&k, -EINVAL, "KernelInvalid");
    gh_le32_put(h + 4, 0x10008);              /* a required feature that we do not have */
    gh_le32_put(h + 8, -(0x1badb002u + 0x10008u));
    refused(&k, -EINVAL, "KernelInvalid");
}

static void test_pcfw(void)
{
    struct gh_pcfw c = { .ram_below_4g = 3ull << 30, .ram_above_4g = 1ull << 30, .cpus = 2,
                         .boot_order = GH_KERNELBOOT_BOOT_PATH "\n", .boot_only_listed = true, .retry_ms = -1 };
    CHECK_EQ(gh_pcfw_publish(fw, &c, NULL), 0);
    size_t len;
    const uint8_t *e820 = gh_fw_cfg_data(fw, "etc/e820", &len);
    CHECK_EQ(len, 40);
    CHECK_EQ(gh_le64_get(e820 + 20), 1ull << 32);
    CHECK_EQ(gh_le64_get(e820 + 28), 1ull << 30);
    CHECK_STR((char *)gh_fw_cfg_data(fw, "bootorder", &len), GH_KERNELBOOT_BOOT_PATH "\nHALT");
    CHECK_EQ(item32(GH_FW_MAX_CPUS) & 0xffff, 2);
    CHECK_EQ(item32(GH_FW_RAM_SIZE), 0);      /* 4 GiB: only the upper half */
}

int main(void)
{
    b = fake_board_new();
    fake_add(b, "fw_cfg", "fw0", NULL);
    fw = fake_lookup_service(b, "fw_cfg");
    test_linux();
    test_multiboot();
    test_pcfw();
    fake_board_free(b);
    return check_result();
}
