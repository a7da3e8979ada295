/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Orders that are kept in single moments: VHDX's log is emptied when what it says is durable, and a draft takes its name
 * when its files are. Each is also broken on purpose, and must then be found.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../check.h"
#include "base/bytes.h"
#include "disk/draft.h"
#include "disk/driver.h"
#include "disk/ops.h"
#include "disk/vhdx.h"

enum { SECTOR = 512, BLOCK = VHDX_MIB, VARIANTS = 24, RECORDS = 64, FILES = 16, FULLY = 6 };

static bool broken;                            /* flushes do nothing */
static uint32_t seed = 1;
static uint32_t rnd(uint32_t n)
{
    seed = seed * 1664525 + 1013904223;
    return (seed >> 8) % n;
}

/* ---- VHDX's log --------------------------------------------------------------------------------------------- */
struct record { bool flush; uint64_t offset, bytes; uint8_t *data; };
static struct record records[RECORDS];
static unsigned record_count;

static void note_record(struct gh_file_hook *self, const struct gh_file_event *ev)
{
    if (ev->op != GH_FILE_WRITE && ev->op != GH_FILE_FLUSH)
        return;
    CHECK_FATAL(record_count < RECORDS);
    struct record *r = &records[record_count++];
    *r = (struct record){ ev->op == GH_FILE_FLUSH, ev->offset, ev->bytes, NULL };
    if (!r->flush) {
        CHECK_FATAL(ev->iov_count == 1 && (r->data = malloc(ev->bytes)));
        memcpy(r->data, ev->iov->iov_base, ev->bytes);
    }
}

static struct gh_image *open_vhdx(int fd, bool writable, struct gh_error *err)
{
    return gh_image_open(&(struct gh_image_spec){ .format = "vhdx", .label = "log", .fd = fcntl(fd, F_DUPFD_CLOEXEC, 3), .writable = writable,
                                                  .unlocked = true }, err);
}

static void put_page(int fd, uint64_t at, const uint8_t *page)
{
    CHECK_FATAL(pwrite(fd, page, VHDX_PAGE, (off_t)at) == VHDX_PAGE);
}

/* An image whose log says that block 1 lies at the file's end; block 0 is there already. */
static int with_log(void)
{
    struct gh_error err = { 0 };
    struct stat st;
    uint8_t *block = malloc(BLOCK), bat[VHDX_PAGE], head[2][VHDX_PAGE], entry[2 * VHDX_PAGE] = { 0 };
    int fd = memfd_create("log", MFD_CLOEXEC);
    CHECK_FATAL(fd >= 0 && block);
    struct gh_image_create how = { .format = "vhdx", .bytes = 8 * BLOCK, .cluster_bytes = BLOCK };
    CHECK_FATAL(!gh_image_create(fcntl(fd, F_DUPFD_CLOEXEC, 3), "log", &how, &err));
    struct gh_image *img = open_vhdx(fd, true, &err);
    memset(block, 0x33, BLOCK);
    CHECK_FATAL(img && !gh_image_write(img, 0, block, BLOCK) && !gh_image_close(img) && !fstat(fd, &st));
    uint64_t place = gh_round_up((uint64_t)st.st_size, BLOCK), bat_at = 3 * VHDX_MIB, log_at = VHDX_MIB, seq = 7;
    memset(block, 0x77, BLOCK);
    CHECK_FATAL(pwrite(fd, block, BLOCK, (off_t)place) == BLOCK && pread(fd, bat, sizeof bat, (off_t)bat_at) == sizeof bat);
    gh_le64_put(bat + 8, place | FULLY);
    /* The newer header gets a successor that names the log. */
    for (unsigned i = 0; i < 2; i++)
        CHECK_FATAL(pread(fd, head[i], VHDX_PAGE, (1 + i) * (off_t)VHDX_KIB64) == VHDX_PAGE);
    unsigned newer = gh_le64_get(head[1] + 8) > gh_le64_get(head[0] + 8);
    gh_le64_put(head[newer] + 8, gh_le64_get(head[newer] + 8) + 1);
    memset(head[newer] + 48, 0x5a, 16);
    gh_le32_put(head[newer] + 4, vhdx_crc32c(head[newer], VHDX_PAGE, 4));
    put_page(fd, (1 + !newer) * (uint64_t)VHDX_KIB64, head[newer]);
    memcpy(entry, "loge", 4);
    gh_le32_put(entry + 8, sizeof entry);
    gh_le64_put(entry + 16, seq);
    gh_le32_put(entry + 24, 1);
    memset(entry + 32, 0x5a, 16);
    gh_le64_put(entry + 48, place + BLOCK);
    gh_le64_put(entry + 56, place + BLOCK);
    memcpy(entry + 64, "desc", 4);
    memcpy(entry + 68, bat + 4092, 4);
    memcpy(entry + 72, bat, 8);
    gh_le64_put(entry + 80, bat_at);
    gh_le64_put(entry + 88, seq);
    memcpy(entry + VHDX_PAGE, "data", 4);
    memcpy(entry + VHDX_PAGE + 8, bat + 8, 4084);
    gh_le32_put(entry + VHDX_PAGE + 4092, (uint32_t)seq);
    gh_le32_put(entry + 4, vhdx_crc32c(entry, sizeof entry, 4));
    put_page(fd, log_at, entry);
    put_page(fd, log_at + VHDX_PAGE, entry + VHDX_PAGE);
    free(block);
    return fd;
}

static bool all_are(struct gh_image *img, uint64_t off, uint8_t byte)
{
    static uint8_t buf[BLOCK];
    return !gh_image_read(img, off, buf, BLOCK) && buf[0] == byte && !memcmp(buf, buf + 1, BLOCK - 1);
}

/* After n calls the power goes: what was not flushed is there in part. */
static bool survives(const uint8_t *base, size_t bytes, unsigned n)
{
    struct gh_error err = { 0 };
    unsigned durable = 0;
    uint8_t *now = malloc(bytes);
    CHECK_FATAL(now);
    memcpy(now, base, bytes);
    for (unsigned i = 0; i < n && !broken; i++)
        if (records[i].flush)
            durable = i;
    for (unsigned i = 0; i < n; i++)
        for (uint64_t at = 0; !records[i].flush && at < records[i].bytes; at += SECTOR)
            if (i < durable || rnd(2))
                memcpy(now + records[i].offset + at, records[i].data + at, gh_min_u64(SECTOR, records[i].bytes - at));
    int fd = memfd_create("crash", MFD_CLOEXEC);
    CHECK_FATAL(fd >= 0 && write(fd, now, bytes) == (ssize_t)bytes);
    struct gh_image *img = open_vhdx(fd, true, &err);
    bool ok = img && all_are(img, 0, 0x33) && all_are(img, BLOCK, 0x77);
    gh_image_close(img);
    close(fd);
    free(now);
    return ok;
}

static void test_log(void)
{
    static struct gh_file_hook hook = { NULL, note_record };
    struct gh_error err = { 0 };
    struct stat st;
    int fd = with_log();
    unsigned lost = 0;
    CHECK_FATAL(!fstat(fd, &st));
    size_t bytes = (size_t)st.st_size;
    uint8_t *base = malloc(bytes);
    CHECK_FATAL(base && pread(fd, base, bytes, 0) == (ssize_t)bytes);
    struct gh_image *img = open_vhdx(fd, false, &err); /* into memory only */
    CHECK(img && all_are(img, BLOCK, 0x77));
    gh_image_close(img);
    gh_file_set_hook(&hook);
    img = open_vhdx(fd, true, &err);
    gh_file_set_hook(NULL);
    CHECK(img && all_are(img, 0, 0x33) && all_are(img, BLOCK, 0x77));
    CHECK_EQ(gh_image_close(img), 0);
    CHECK(record_count >= 4);
    for (unsigned n = 0; n <= record_count; n++)
        for (unsigned i = 0; i < VARIANTS; i++)
            lost += !survives(base, bytes, n);
    CHECK_EQ(lost, 0);
    broken = true;
    for (unsigned n = 0; n <= record_count; n++)
        for (unsigned i = 0; i < VARIANTS; i++)
            lost += !survives(base, bytes, n);
    broken = false;
    printf("planted, a log emptied before its pages are durable: %u of %u images damaged\n", lost, (record_count + 1) * VARIANTS);
    CHECK(lost > 0);
    for (unsigned i = 0; i < record_count; i++)
        free(records[i].data);
    free(base);
    close(fd);
}

/* ---- Drafts ------------------------------------------------------------------------------------------------- */
static struct { ino_t inode; bool dirty; } files[FILES];
static unsigned file_count, early;

static int skip_flush(struct gh_file_hook *self, const struct gh_file_event *ev)
{ return broken && ev->op == GH_FILE_FLUSH; }

static void note_order(struct gh_file_hook *self, const struct gh_file_event *ev)
{
    struct stat st;
    unsigned i = 0;
    if (ev->op == GH_FILE_RENAME)
        for (unsigned k = 0; k < file_count; k++)
            early += files[k].dirty;
    if (!ev->file || ev->op == GH_FILE_READ || (ev->op == GH_FILE_FLUSH && broken))
        return;
    CHECK_FATAL(!fstat(ev->file->fd, &st));
    while (i < file_count && files[i].inode != st.st_ino)
        i++;
    CHECK_FATAL(i < FILES);
    file_count += i == file_count;
    files[i].inode = st.st_ino;
    files[i].dirty = ev->op != GH_FILE_FLUSH;
}

static unsigned publish(const char *path, const char *format, const char *variant, uint64_t bytes)
{
    static struct gh_file_hook hook = { skip_flush, note_order };
    struct gh_error err = { 0 };
    static uint8_t data[100000];
    memset(data, 0x11, sizeof data);
    file_count = early = 0;
    gh_file_set_hook(&hook);
    struct gh_image_create how = { .format = format, .variant = variant, .bytes = bytes };
    struct gh_image_draft *d = gh_image_draft_new(path, &how, GH_DRAFT_OVER, &err);
    struct gh_image *img = d ? gh_image_draft_open(d, true, NULL, &err) : NULL;
    CHECK_FATAL(img);
    CHECK(!gh_image_write(img, 5000, data, sizeof data) && !gh_image_write(img, bytes - sizeof data, data, sizeof data));
    CHECK_EQ(gh_image_close(img), 0);
    CHECK_EQ(gh_image_draft_publish(d, &err), 0);
    gh_file_set_hook(NULL);
    CHECK(!access(path, F_OK));
    return early;
}

/* Workers place and write side by side, past the host's cache: nothing is lost at odd places, and the file ends where it should. */
static void test_copies(void)
{
    static const struct { const char *format, *variant; uint64_t most; } kinds[] = {
        { "raw", NULL, 0 }, { "qcow2", NULL, 2 << 20 }, { "vdi", NULL, 10 << 20 }, { "vhd", NULL, 8 << 20 }, { "vhd", "fixed", 512 },
        { "vhdx", NULL, 48 << 20 }, { "vmdk", NULL, 2 << 20 },
    };
    enum { DISK = (24 << 20) + 512 * 5 };
    char folder[] = "/var/tmp/gh-order-XXXXXX", from[64], to[64];
    CHECK_FATAL(mkdtemp(folder));
    snprintf(from, sizeof from, "%s/from", folder);
    int fd = open(from, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    CHECK_FATAL(fd >= 0 && !ftruncate(fd, DISK));
    static uint8_t data[900000];
    for (uint64_t at = 0, n = 1; at + n < DISK; at += n * 3, n = (n * 7 + 513) % sizeof data + 1) {
        memset(data, (int)(at % 255 + 1), n);
        CHECK_FATAL(pwrite(fd, data, n, (off_t)at) == (ssize_t)n);
    }
    CHECK_FATAL(pwrite(fd, data, 700, DISK - 700) == 700);
    for (unsigned i = 0; i < GH_ARRAY_LEN(kinds); i++) {
        struct gh_error err = { 0 };
        struct stat st;
        uint64_t at;
        struct gh_image *src = gh_image_open(&(struct gh_image_spec){ .format = "raw", .label = "from", .fd = dup(fd), .unlocked = true }, &err);
        struct gh_image_create how = { .format = kinds[i].format, .variant = kinds[i].variant, .bytes = DISK };
        snprintf(to, sizeof to, "%s/to%u", folder, i);
        struct gh_image_draft *d = gh_image_draft_new(to, &how, GH_DRAFT_NEW, &err);
        struct gh_image *dst = d ? gh_image_draft_open(d, true, NULL, &err) : NULL;
        CHECK_FATAL(src && dst);
        CHECK_EQ(gh_image_copy(src, dst, true, NULL, &err), 0);
        CHECK_EQ(gh_image_compare(src, dst, &at, NULL, &err), 0);
        CHECK_EQ(gh_image_close(dst), 0);
        dst = gh_image_draft_open(d, false, NULL, &err);
        CHECK_FATAL(dst);
        CHECK_EQ(gh_image_compare(src, dst, &at, NULL, &err), 0);
        gh_image_close(dst);
        gh_image_close(src);
        CHECK_EQ(gh_image_draft_publish(d, &err), 0);
        CHECK(!stat(to, &st) && (uint64_t)st.st_size <= DISK + kinds[i].most);
        unlink(to);
    }
    close(fd);
    unlink(from);
    rmdir(folder);
}

static void test_drafts(void)
{
    static const struct { const char *format, *variant; uint64_t bytes; } kinds[] = {
        { "raw", NULL, 8 << 20 }, { "qcow2", NULL, 8 << 20 }, { "vdi", NULL, 8 << 20 }, { "vhd", NULL, 8 << 20 }, { "vhdx", NULL, 8 << 20 },
        { "vmdk", NULL, 8 << 20 }, { "vmdk", "split-sparse", 5ull << 30 },
    };
    char folder[] = "/tmp/gh-order-XXXXXX", path[64], clean[128];
    CHECK_FATAL(mkdtemp(folder));
    for (unsigned i = 0; i < GH_ARRAY_LEN(kinds); i++)
        for (unsigned again = 0; again < 2; again++) { /* the second time over the first one */
            snprintf(path, sizeof path, "%s/disk%u.vmdk", folder, i);
            CHECK_EQ(publish(path, kinds[i].format, kinds[i].variant, kinds[i].bytes), 0);
        }
    broken = true;
    unsigned found = publish(path, "vmdk", "split-sparse", 5ull << 30);
    broken = false;
    printf("planted, a name given before its files are durable: %u found\n", found);
    CHECK(found > 0);
    snprintf(clean, sizeof clean, "rm -r %s", folder);
    CHECK_EQ(system(clean), 0);
}

int main(void)
{
    test_log();
    test_copies();
    test_drafts();
    return check_result();
}
