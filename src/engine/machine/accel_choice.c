/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/machine/accel_choice.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Hardware virtualization runs ring 0 at hundreds of millions of instructions a second even where it
 * is nested; an emulating kernel at about one. Our own CPU lies between. */
static const double KVM_WORTH_MIPS = 30.0;

static int take(const struct gh_accel_class *accel, int fd, struct gh_accel_choice *ret, struct gh_error *err)
{
    ret->accel = accel;
    ret->fd = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : accel->open_device ? accel->open_device(err) : -1;
    return ret->fd < 0 && gh_error_is_set(err) ? err->code : 0;
}

int gh_accel_choose(const char *name, int kvm_fd, struct gh_accel_choice *ret, struct gh_error *err)
{
    struct gh_accel_caps caps = { 0 };
    struct gh_error why = { 0 };

    *ret = (struct gh_accel_choice){ .fd = -1 };
    if (strcmp(name, "auto")) {
        const struct gh_accel_class *accel = gh_accel_find(name);
        if (!accel)
            return gh_error_option(err, -ENODEV, "AcceleratorUnknown", "accel", "The accelerator “%s” is not built in; use auto, kvm or soft.", name);
        int fd = strcmp(name, "kvm") ? -1 : kvm_fd;
        int r = accel->probe ? accel->probe(fd, &caps, err) : 0;
        if (r == 0)
            r = take(accel, fd, ret, err);
        snprintf(ret->why, sizeof ret->why, "%s, as asked for. %s", accel->name, caps.detail);
        return r;
    }
    const struct gh_accel_class *kvm = gh_accel_find("kvm"), *soft = gh_accel_find("soft");
    if (kvm && kvm->probe(kvm_fd, &caps, &why) == 0) {
        if (caps.ring0_mips >= KVM_WORTH_MIPS || !soft) {
            snprintf(ret->why, sizeof ret->why, "KVM runs guest code at full speed here (%.0f million instructions a second measured).", caps.ring0_mips);
            return take(kvm, kvm_fd, ret, err);
        }
        snprintf(ret->why, sizeof ret->why, "Software CPU: this computer's /dev/kvm emulates guest kernels (%.1f million instructions a "
                 "second measured), which is slower than the software CPU.", caps.ring0_mips);
    } else {
        snprintf(ret->why, sizeof ret->why, "Software CPU: %s", why.text[0] ? why.text : "KVM is not built in.");
    }
    return soft ? take(soft, -1, ret, err) : gh_error_set(err, -ENODEV, "NoAccelerator", "%s", ret->why);
}
