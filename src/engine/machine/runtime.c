/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/machine/runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"

static int folder_failed(const char *path, int code, struct gh_error *err)
{
    return gh_error_set(err, -code, "RuntimeFolderFailed", "The folder “%s” for running machines cannot be used: %s. "
                        "Free space there, or set XDG_RUNTIME_DIR.", path, strerror(code));
}

/* Makes it if need be; what exists must be a folder of ours that nobody else may enter. */
static int private_folder(const char *path, struct gh_error *err)
{
    struct stat st;

    if (mkdir(path, 0700) && errno != EEXIST)
        return folder_failed(path, errno, err);
    if (lstat(path, &st))
        return folder_failed(path, errno, err);
    if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077))
        return gh_error_set(err, -EPERM, "RuntimeFolderUnsafe", "The folder “%s” must belong to you alone; remove it "
                            "and start again.", path);
    return 0;
}

static void random_uuid(char out[37])
{
    unsigned char b[16] = { 0 };
    ssize_t ignored = getrandom(b, sizeof b, 0);

    (void)ignored;
    b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
    snprintf(out, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2], b[3],
             b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

static bool uuid_valid(const char *uuid)
{
    return strlen(uuid) == 36 && strspn(uuid, "0123456789abcdefABCDEF-") == 36;
}

static int take_lock(struct gh_runtime *rt, struct gh_error *err)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

    rt->lock_fd = openat(rt->dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (rt->lock_fd < 0)
        return folder_failed(rt->path, errno, err);
    if (!fcntl(rt->lock_fd, F_OFD_SETLK, &lock))
        return 0;
    if (errno == EAGAIN || errno == EACCES)
        return gh_error_set(err, -EBUSY, "MachineRunning", "The machine “%s” runs already; use that one, or stop it "
                            "first.", rt->name[0] ? rt->name : rt->uuid);
    return folder_failed(rt->path, errno, err);
}

int gh_runtime_open(const char *uuid, const char *name, struct gh_runtime *rt, struct gh_error *err)
{
    const char *base = getenv("XDG_RUNTIME_DIR");
    int         r;

    *rt = (struct gh_runtime){ .dir_fd = -1, .lock_fd = -1, .temporary = !uuid[0] };
    if (uuid[0] && !uuid_valid(uuid))
        return gh_error_option(err, -EINVAL, "UuidInvalid", "uuid", "“%s” is not a UUID, such as "
                               "6ba7b810-9dad-41d1-80b4-00c04fd430c8.", uuid);
    if (uuid[0])
        snprintf(rt->uuid, sizeof rt->uuid, "%s", uuid);
    else
        random_uuid(rt->uuid);
    snprintf(rt->name, sizeof rt->name, "%s", name);
    int n = base && base[0] == '/' ? snprintf(rt->path, sizeof rt->path, "%s/gasthaus", base)
                                   : snprintf(rt->path, sizeof rt->path, "/tmp/gasthaus-%u", (unsigned)geteuid());
    if (n < 0 || (size_t)n >= sizeof rt->path - 40)
        return folder_failed(base, ENAMETOOLONG, err);
    r = private_folder(rt->path, err);
    if (!r) {
        snprintf(rt->path + n, sizeof rt->path - (size_t)n, "/%s", rt->uuid);
        r = private_folder(rt->path, err);
    }
    if (!r) {
        rt->dir_fd = open(rt->path, O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        r = rt->dir_fd < 0 ? folder_failed(rt->path, errno, err) : take_lock(rt, err);
    }
    if (r) {
        rt->temporary = false; /* not ours to remove */
        gh_runtime_close(rt);
    }
    return r;
}

/* ---- The status file ----------------------------------------------------------------------- */
static void read_line(const char *path, char *out, size_t size)
{
    FILE *f = fopen(path, "re");

    out[0] = '\0';
    if (f && fgets(out, (int)size, f))
        out[strcspn(out, "\n")] = '\0';
    if (f)
        fclose(f);
}

/* Field 22 of /proc/PID/stat: with the boot id it names a process for ever. */
static json_int_t start_time(void)
{
    char line[1024];

    read_line("/proc/self/stat", line, sizeof line);
    char *p = strrchr(line, ')'), *save = NULL;
    char *word = p ? strtok_r(p + 1, " ", &save) : NULL;
    for (unsigned i = 3; word && i < 22; i++)
        word = strtok_r(NULL, " ", &save);
    return word ? strtoll(word, NULL, 10) : 0;
}

static json_t *describe(const struct gh_runtime *rt)
{
    char boot[64];

    read_line("/proc/sys/kernel/random/boot_id", boot, sizeof boot);
    return json_pack("{s:i, s:s, s:I, s:I, s:I, s:s, s:s, s:s}", "schema", GH_RUNTIME_SCHEMA, "boot-id", boot, "pid",
                     (json_int_t)getpid(), "start-time", start_time(), "machine-pid", (json_int_t)rt->machine_pid,
                     "uuid", rt->uuid, "name", rt->name, "state", rt->state);
}

/* By rename, so that a reader sees the old one or the new one. */
static void write_status(struct gh_runtime *rt, json_t *status)
{
    gh_autofree char *text = status ? json_dumps(status, JSON_INDENT(1)) : NULL;
    gh_autoclose int fd = openat(rt->dir_fd, "status.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    size_t len = text ? strlen(text) : 0;

    json_decref(status);
    if (fd < 0 || !len || write(fd, text, len) != (ssize_t)len || renameat(rt->dir_fd, "status.new", rt->dir_fd, "status"))
        gh_log(GH_LOG_WARN, "the status of the machine cannot be written to “%s”: %s", rt->path, strerror(errno));
}

void gh_runtime_state(struct gh_runtime *rt, const char *state)
{
    if (rt->dir_fd < 0)
        return;
    snprintf(rt->state, sizeof rt->state, "%s", state);
    write_status(rt, describe(rt));
}

void gh_runtime_ended(struct gh_runtime *rt, int exit_status, int signal_number, const struct gh_error *why)
{
    if (rt->dir_fd < 0)
        return;
    snprintf(rt->state, sizeof rt->state, "ended");
    json_t *status = describe(rt);
    if (signal_number)
        json_object_set_new(status, "signal", json_integer(signal_number));
    else
        json_object_set_new(status, "exit-status", json_integer(exit_status));
    if (gh_error_is_set(why)) {
        json_object_set_new(status, "error", json_string(why->id));
        json_object_set_new(status, "text", json_string(why->text));
        json_object_set_new(status, "message", json_string(why->message));
    }
    write_status(rt, status);
}

void gh_runtime_close(struct gh_runtime *rt)
{
    if (rt->dir_fd >= 0 && rt->temporary) {
        unlinkat(rt->dir_fd, "status", 0);
        unlinkat(rt->dir_fd, "control", 0);
        unlinkat(rt->dir_fd, "lock", 0);
        rmdir(rt->path);
    }
    if (rt->lock_fd >= 0)
        close(rt->lock_fd);
    if (rt->dir_fd >= 0)
        close(rt->dir_fd);
    rt->lock_fd = rt->dir_fd = -1;
}
