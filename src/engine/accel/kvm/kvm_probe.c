/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "engine/accel/kvm/kvm_int.h"

#define DEVICE "/dev/kvm"

/* Does the processor have what the module needs? Decides which of two fixes a person gets. */
static bool cpu_has_virtualization(void)
{
    FILE *f = fopen("/proc/cpuinfo", "re");
    char  line[4096];
    bool  has = false;

    while (f && !has && fgets(line, sizeof line, f))
        has = !strncmp(line, "flags", 5) && (strstr(line, " vmx") || strstr(line, " svm"));
    if (f)
        fclose(f);
    return has;
}

int kvm_fail(struct gh_error *err, int error_number, const char *what)
{
    switch (error_number) {
    case EACCES:
    case EPERM:
        return gh_error_set(err, -error_number, "KvmNoPermission",
                            "KVM could not %s: no permission on /dev/kvm. Add yourself to the group kvm "
                            "with 'sudo usermod -aG kvm $USER' and log in again.", what);
    case EBUSY:
        return gh_error_set(err, -EBUSY, "KvmBusy",
                            "KVM could not %s: another hypervisor uses the processor's virtualization. "
                            "Stop its machines (VirtualBox, VMware) and unload its module, then try again.",
                            what);
    case ENOMEM:
        return gh_error_set(err, -ENOMEM, "KvmNoMemory",
                            "KVM could not %s: the host has no memory left. Close programs or give the "
                            "machine less memory.", what);
    default:
        return gh_error_set(err, -error_number, "KvmFailed",
                            "KVM could not %s: %s. Look at 'dmesg' for the kernel's reason, or choose the "
                            "accelerator soft.", what, strerror(error_number));
    }
}

int kvm_open_device(struct gh_error *err)
{
    int fd = open(DEVICE, O_RDWR | O_CLOEXEC);

    if (fd >= 0)
        return fd;
    if (errno == ENOENT || errno == ENODEV || errno == ENXIO) {
        if (cpu_has_virtualization())
            return gh_error_set(err, -errno, "KvmNotLoaded",
                                "/dev/kvm is missing although the processor can virtualize: load the module "
                                "with 'sudo modprobe kvm_intel' or 'sudo modprobe kvm_amd'.");
        return gh_error_set(err, -errno, "KvmNotAvailable",
                            "/dev/kvm is missing and the processor shows no VT-x or AMD-V: turn "
                            "virtualization on in the computer's firmware settings, if it is offered there.");
    }
    return kvm_fail(err, errno, "open its device");
}

int kvm_check_api(int fd, struct gh_error *err)
{
    static const struct { int cap; const char *name; } needed[] = {
        { KVM_CAP_USER_MEMORY, "user memory" }, { KVM_CAP_SPLIT_IRQCHIP, "split interrupt chips" },
        { KVM_CAP_SIGNAL_MSI, "MSI" },          { KVM_CAP_READONLY_MEM, "read-only memory" },
        { KVM_CAP_IMMEDIATE_EXIT, "immediate exit" }, { KVM_CAP_EXT_CPUID, "CPUID" },
        { KVM_CAP_XSAVE, "XSAVE" },             { KVM_CAP_VCPU_EVENTS, "vCPU events" },
        { KVM_CAP_MP_STATE, "processor states" }, { KVM_CAP_IRQ_ROUTING, "interrupt routes" },
        { KVM_CAP_DEBUGREGS, "debug registers" }, { KVM_CAP_SET_IDENTITY_MAP_ADDR, "a place for its identity map" },
    };
    int version = ioctl(fd, KVM_GET_API_VERSION, 0);

    if (version < 0)
        return kvm_fail(err, errno, "tell its version");
    if (version != KVM_API_VERSION)
        return gh_error_set(err, -ENOTSUP, "KvmTooOld", "KVM speaks version %d of its interface, not %d; "
                            "a current kernel is needed.", version, KVM_API_VERSION);
    for (unsigned i = 0; i < sizeof needed / sizeof needed[0]; i++)
        if (ioctl(fd, KVM_CHECK_EXTENSION, needed[i].cap) <= 0)
            return gh_error_set(err, -ENOTSUP, "KvmTooOld", "This kernel's KVM lacks %s; a current kernel "
                                "is needed.", needed[i].name);
    return 0;
}

/* ---- A scratch guest: long mode, ring 0, "dec ecx; jnz; hlt" ------------------------------- */
enum { SCRATCH_BYTES = 0x5000, CODE = 0x0000, PML4 = 0x1000, PDPT = 0x2000, PD = 0x3000 };

struct scratch {
    int vm_fd, vcpu_fd;
    uint8_t *ram;
    struct kvm_run *run;
    size_t run_bytes;
};

static void scratch_fini(struct scratch *s)
{
    if (s->run)
        munmap(s->run, s->run_bytes);
    if (s->vcpu_fd >= 0)
        close(s->vcpu_fd);
    if (s->vm_fd >= 0)
        close(s->vm_fd);
    if (s->ram)
        munmap(s->ram, SCRATCH_BYTES);
}

static int scratch_long_mode(struct scratch *s)
{
    struct kvm_sregs sregs;
    struct kvm_segment code = { .limit = 0xffffffff, .selector = 8, .type = 11, .present = 1, .s = 1,
                                .l = 1, .g = 1 };
    struct kvm_segment data = { .limit = 0xffffffff, .selector = 16, .type = 3, .present = 1, .s = 1,
                                .db = 1, .g = 1 };

    if (ioctl(s->vcpu_fd, KVM_GET_SREGS, &sregs))
        return -errno;
    sregs.cs = code;
    sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
    sregs.cr3 = PML4;
    sregs.cr4 |= 0x20;                    /* PAE */
    sregs.efer |= 0x500;                  /* LME, LMA */
    sregs.cr0 |= 0x80000011;              /* PG, ET, PE */
    return ioctl(s->vcpu_fd, KVM_SET_SREGS, &sregs) ? -errno : 0;
}

static int scratch_init(struct scratch *s, int fd, struct gh_error *err)
{
    static const uint8_t loop[] = { 0xff, 0xc9, 0x75, 0xfc, 0xf4, 0xeb, 0xfd };

    *s = (struct scratch){ .vm_fd = -1, .vcpu_fd = -1 };
    s->vm_fd = ioctl(fd, KVM_CREATE_VM, 0);
    if (s->vm_fd < 0)
        return kvm_fail(err, errno, "create a virtual machine");
    s->ram = mmap(NULL, SCRATCH_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (s->ram == MAP_FAILED) {
        s->ram = NULL;
        return kvm_fail(err, errno, "map memory");
    }
    memcpy(s->ram + CODE, loop, sizeof loop);
    *(uint64_t *)(s->ram + PML4) = PDPT | 3;
    *(uint64_t *)(s->ram + PDPT) = PD | 3;
    *(uint64_t *)(s->ram + PD) = 0x83;    /* the first 2 MiB */
    struct kvm_userspace_memory_region region = { .memory_size = SCRATCH_BYTES,
                                                  .userspace_addr = (uintptr_t)s->ram };
    if (ioctl(s->vm_fd, KVM_SET_TSS_ADDR, 0xfffbd000ul) ||
        ioctl(s->vm_fd, KVM_SET_USER_MEMORY_REGION, &region))
        return kvm_fail(err, errno, "set up guest memory");
    s->vcpu_fd = ioctl(s->vm_fd, KVM_CREATE_VCPU, 0);
    if (s->vcpu_fd < 0)
        return kvm_fail(err, errno, "create a processor");
    s->run_bytes = (size_t)ioctl(fd, KVM_GET_VCPU_MMAP_SIZE, 0);
    s->run = mmap(NULL, s->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, s->vcpu_fd, 0);
    if (s->run == MAP_FAILED) {
        s->run = NULL;
        return kvm_fail(err, errno, "map a processor's page");
    }
    int r = scratch_long_mode(s);
    return r ? kvm_fail(err, -r, "set up a processor") : 0;
}

/* Nanoseconds for that many rounds, 0 on failure. */
static uint64_t scratch_loop(struct scratch *s, uint32_t rounds, struct gh_error *err)
{
    struct kvm_regs regs = { .rip = CODE, .rcx = rounds, .rflags = 2, .rsp = 0x800 };
    struct timespec a, b;

    if (ioctl(s->vcpu_fd, KVM_SET_REGS, &regs)) {
        kvm_fail(err, errno, "set up a processor");
        return 0;
    }
    clock_gettime(CLOCK_MONOTONIC, &a);
    do {
        if (ioctl(s->vcpu_fd, KVM_RUN, 0) && errno != EINTR && errno != EAGAIN) {
            kvm_fail(err, errno, "run a guest");
            return 0;
        }
    } while (s->run->exit_reason == KVM_EXIT_INTR);
    clock_gettime(CLOCK_MONOTONIC, &b);
    if (s->run->exit_reason != KVM_EXIT_HLT) {
        gh_error_set(err, -EIO, "KvmGuestFailed", "KVM could not run a test guest of two instructions (exit "
                     "%u); choose the accelerator soft.", s->run->exit_reason);
        return 0;
    }
    uint64_t ns = (uint64_t)(b.tv_sec - a.tv_sec) * 1000000000u + (uint64_t)(b.tv_nsec - a.tv_nsec);
    return ns ? ns : 1;
}

int kvm_probe(int fd, struct gh_accel_caps *ret, struct gh_error *err)
{
    gh_autoclose int own = -1;
    struct scratch s;

    memset(ret, 0, sizeof *ret);
    if (fd < 0) {
        own = fd = kvm_open_device(err);
        if (fd < 0)
            return fd;
    }
    int r = kvm_check_api(fd, err);
    if (r)
        return r;
    r = scratch_init(&s, fd, err);
    if (r) {
        scratch_fini(&s);
        return r;
    }
    /* Short first: a host that emulates ring 0 needs tens of milliseconds for what others do in 10 us. */
    uint32_t rounds = 10000;
    uint64_t ns = scratch_loop(&s, 100, err) ? scratch_loop(&s, rounds, err) : 0;
    if (ns && ns < 2000000) {
        rounds *= 100;
        ns = scratch_loop(&s, rounds, err);
    }
    int khz = ioctl(s.vcpu_fd, KVM_GET_TSC_KHZ, 0);
    scratch_fini(&s);
    if (!ns)
        return err ? err->code : -EIO;
    ret->ring0_mips = 2.0 * rounds * 1000.0 / (double)ns;
    ret->tsc_hz = khz > 0 ? (uint64_t)khz * 1000 : 0;
    ret->irqfd = ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_IRQFD) > 0;
    ret->ioeventfd = ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_IOEVENTFD) > 0;
    ret->lapic_in_accel = ret->dirty_log = true;
    int most = ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);
    ret->max_vcpus = most > KVM_VCPU_MAX ? KVM_VCPU_MAX : most > 0 ? (unsigned)most : 1;
    if (ret->ring0_mips < 50)
        snprintf(ret->detail, sizeof ret->detail, "KVM is there but this host emulates guest kernels "
                 "(%.1f million instructions a second), so the software CPU is faster.", ret->ring0_mips);
    else
        snprintf(ret->detail, sizeof ret->detail, "KVM runs guest kernels at full speed (%.0f million "
                 "instructions a second measured).", ret->ring0_mips);
    return 0;
}
