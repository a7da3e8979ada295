/* SPDX-License-Identifier: GPL-3.0-or-later */
/* screenshot, send-keys, type, console, display */
#include <errno.h>
#include <fcntl.h>
#include <gio/gunixfdlist.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "cli/ctl.h"

/* Written beside the target and renamed: no half picture under its name. */
static int copy_to(struct ctl *ctl, int fd, const char *path)
{
    g_autofree char *temporary = g_strconcat(path, ".part", NULL);
    char buffer[65536];
    ssize_t n;
    int out = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    if (out < 0)
        return ctl_error(ctl, "FileUnwritable", _("“%s” cannot be written: %s."), path, strerror(errno));
    while ((n = read(fd, buffer, sizeof buffer)) > 0)
        if (write(out, buffer, (size_t)n) != n) {
            n = -1;
            break;
        }
    if (close(out) < 0 || n < 0 || rename(temporary, path) < 0) {
        int code = errno;
        unlink(temporary);
        return ctl_error(ctl, "FileUnwritable", _("“%s” cannot be written: %s."), path, strerror(code));
    }
    return 0;
}

static int run_screenshot(struct ctl *ctl, int argc, char **argv)
{
    g_autoptr(GUnixFDList) fds = NULL;
    g_autoptr(GVariant) handle = NULL;
    GError *error = NULL;

    if (argc != 3)
        return ctl_usage("screenshot NAME FILE.png");
    g_autoptr(GhEngine1Machine) m = ctl_machine(ctl, argv[1]);
    if (!m)
        return 1;
    if (!gh_engine1_machine_call_screenshot_sync(m, NULL, &handle, &fds, NULL, &error))
        return ctl_fail(ctl, error);
    int fd = g_unix_fd_list_get(fds, 0, &error);
    if (fd < 0)
        return ctl_fail(ctl, error);
    int r = copy_to(ctl, fd, argv[2]);
    close(fd);
    return r;
}

static int run_send_keys(struct ctl *ctl, int argc, char **argv)
{
    GError *error = NULL;

    if (argc < 3)
        return ctl_usage("send-keys NAME KEY...    (such as ctrl+alt+delete, or enter)");
    g_autoptr(GhEngine1Machine) m = ctl_machine(ctl, argv[1]);
    if (!m)
        return 1;
    return gh_engine1_machine_call_send_keys_sync(m, (const char *const *)argv + 2, NULL, &error) ? 0 : ctl_fail(ctl, error);
}

static int run_type(struct ctl *ctl, int argc, char **argv)
{
    GError *error = NULL;

    if (argc != 3)
        return ctl_usage("type NAME TEXT");
    g_autoptr(GhEngine1Machine) m = ctl_machine(ctl, argv[1]);
    if (!m)
        return 1;
    g_autofree char *text = g_strcompress(argv[2]); /* "\n" is Enter */
    return gh_engine1_machine_call_type_text_sync(m, text, NULL, &error) ? 0 : ctl_fail(ctl, error);
}

static int connect_to(struct ctl *ctl, const char *path)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_strlcpy(a.sun_path, path, sizeof a.sun_path);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0)
        return fd;
    ctl_error(ctl, "ConsoleFailed", _("The console “%s” cannot be reached: %s."), path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

/* Ctrl+] leaves, as people know it from virsh and telnet. */
static void converse(int fd)
{
    enum { ESCAPE = 0x1d };
    struct pollfd p[2] = { { .fd = STDIN_FILENO, .events = POLLIN }, { .fd = fd, .events = POLLIN } };
    char buffer[4096];

    while (poll(p, 2, -1) > 0 || errno == EINTR) {
        if (p[0].revents) {
            ssize_t n = read(STDIN_FILENO, buffer, sizeof buffer);
            if (n <= 0)
                p[0].fd = -1;
            else if (memchr(buffer, ESCAPE, (size_t)n))
                break;
            else if (write(fd, buffer, (size_t)n) != n)
                break;
        }
        if (p[1].revents) {
            ssize_t n = read(fd, buffer, sizeof buffer);
            if (n <= 0 || write(STDOUT_FILENO, buffer, (size_t)n) != n)
                break;
        }
    }
}

static int run_console(struct ctl *ctl, int argc, char **argv)
{
    g_autofree char *path = NULL;
    struct termios saved, raw;
    GError *error = NULL;

    if (argc != 2)
        return ctl_usage("console NAME");
    g_autoptr(GhEngine1Machine) m = ctl_machine(ctl, argv[1]);
    if (!m)
        return 1;
    if (!gh_engine1_machine_call_open_console_sync(m, &path, NULL, &error))
        return ctl_fail(ctl, error);
    int fd = connect_to(ctl, path);
    if (fd < 0)
        return 1;
    gboolean tty = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &saved) == 0;
    if (tty) {
        fprintf(stderr, _("Connected to the serial console; Ctrl+] leaves.\n"));
        raw = saved;
        cfmakeraw(&raw);
        tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    converse(fd);
    if (tty)
        tcsetattr(STDIN_FILENO, TCSANOW, &saved);
    close(fd);
    return 0;
}

static int run_display(struct ctl *ctl, int argc, char **argv)
{
    g_autofree char *path = NULL;
    GError *error = NULL;

    if (argc != 2)
        return ctl_usage("display NAME");
    g_autoptr(GhEngine1Machine) m = ctl_machine(ctl, argv[1]);
    if (!m)
        return 1;
    if (!gh_engine1_machine_call_open_display_sync(m, &path, NULL, &error))
        return ctl_fail(ctl, error);
    printf("%s\n", path);
    return 0;
}

const struct ctl_command ctl_screen_commands[] = {
    { "screenshot", "NAME FILE.png", N_("save a picture of the screen"), run_screenshot, FALSE },
    { "send-keys", "NAME KEY...", N_("press keys, such as ctrl+alt+delete"), run_send_keys, FALSE },
    { "type", "NAME TEXT", N_("type text; \\n is Enter"), run_type, FALSE },
    { "console", "NAME", N_("talk to the serial console"), run_console, FALSE },
    { "display", "NAME", N_("print the path of the screen's RFB socket"), run_display, FALSE },
    { NULL, NULL, NULL, NULL, FALSE },
};
