/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Sits between the disk library and its files: records what is done, lets one call fail, and breaks one rule when it is told to. */
#include <unistd.h>

#include "base/bytes.h"
#include "crash-medium.h"
#include "crash.h"

enum plant plant;
struct shim shim;

static uint64_t second_from, second_to;        /* VMDK: where its second tables lie */

void find_second_tables(int fd)
{
    uint8_t head[SECTOR];
    CHECK_FATAL(pread(fd, head, sizeof head, 0) == sizeof head);
    second_from = gh_le64_get(head + 48) * SECTOR;
    second_to = gh_le64_get(head + 56) * SECTOR;
    if (second_to < second_from)
        second_to = gh_le64_get(head + 64) * SECTOR;
}

static int before(struct gh_file_hook *self, const struct gh_file_event *ev)
{
    if (plant == PLANT_POINTER_IN_MEMORY && ev->op == GH_FILE_WRITE && ev->bytes % SECTOR)
        return 1;
    if (plant == PLANT_ONE_TABLE && ev->op == GH_FILE_WRITE && ev->bytes == 4 && ev->offset >= second_from && ev->offset < second_to)
        return 1;
    if (plant == PLANT_NO_FOOTER && ev->op == GH_FILE_WRITE && ev->bytes == SECTOR && ev->offset && !memcmp(ev->iov->iov_base, "conectix", 8))
        return 1;
    bool counts = shim.fail_memory ? ev->op == GH_FILE_ALLOC_MEMORY : ev->op != GH_FILE_ALLOC_MEMORY && ev->op != GH_FILE_READ;
    if (!shim.countdown || !counts || --shim.countdown)
        return 0;
    if (plant == PLANT_BELIEVED_WRITE)
        return ev->op == GH_FILE_WRITE;
    if (ev->op == GH_FILE_FLUSH)
        shim.failed_flush = true;
    return shim.fail_code;
}

static void after(struct gh_file_hook *self, const struct gh_file_event *ev)
{
    if (tracing && ev->file && ev->op == GH_FILE_TRUNCATE)
        note_shorter(ev->bytes);
    else if (tracing && ev->file && (ev->op == GH_FILE_WRITE || ev->op == GH_FILE_ZERO || ev->op == GH_FILE_PUNCH))
        note_dirty(ev->offset, ev->bytes);
    if (!shim.recording || ev->op == GH_FILE_READ || ev->op == GH_FILE_ALLOC_MEMORY || !ev->file || !strcmp(ev->file->label, "parent"))
        return;
    if (shim.record_count == shim.record_room) {
        shim.record_room = shim.record_room ? shim.record_room * 2 : 4096;
        shim.records = realloc(shim.records, shim.record_room * sizeof *shim.records);
        CHECK_FATAL(shim.records);
    }
    struct record *r = &shim.records[shim.record_count++];
    *r = (struct record){ ev->op, ev->offset, ev->bytes, NULL, shim.in_guest_flush, shim.current_op };
    if (ev->op == GH_FILE_WRITE) {
        uint64_t done = 0;
        r->data = malloc(ev->bytes);
        for (unsigned i = 0; done < ev->bytes; i++) {
            uint64_t n = ev->iov[i].iov_len < ev->bytes - done ? ev->iov[i].iov_len : ev->bytes - done;
            memcpy(r->data + done, ev->iov[i].iov_base, n);
            done += n;
        }
    }
}

struct gh_file_hook hook = { before, after };
