/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * vCPU state between the kernel's structs and ours. Order of setting matters: system registers before
 * the APIC (its base and mode), the APIC before the MSRs (TSC deadline needs the timer's mode), events
 * and the run state last.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/bytes.h"
#include "base/log.h"
#include "engine/accel/kvm/kvm_int.h"

/* What a saved vCPU carries, as far as this kernel lists it. The TSC stands first. */
static const uint32_t carried_msrs[] = {
    0x10,                                          /* TSC */
    0x174, 0x175, 0x176,                           /* SYSENTER */
    0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084,/* STAR LSTAR CSTAR FMASK */
    0xc0000102, 0xc0000103,                        /* KERNEL_GS_BASE, TSC_AUX */
    0x277,                                         /* PAT */
    0x2ff, 0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f, /* MTRRs */
    0x200, 0x201, 0x202, 0x203, 0x204, 0x205, 0x206, 0x207,
    0x208, 0x209, 0x20a, 0x20b, 0x20c, 0x20d, 0x20e, 0x20f,
    0x3b, 0x48, 0x6e0, 0x1a0, 0x17a,               /* TSC_ADJUST SPEC_CTRL TSC_DEADLINE MISC_ENABLE MCG_STATUS */
    0x1d9, 0xda0, 0xc001011f,                      /* DEBUGCTL XSS VIRT_SPEC_CTRL */
    0x4b564d00, 0x4b564d01, 0x4b564d02, 0x4b564d03, 0x4b564d04, 0x4b564d05, 0x4b564d06, /* KVM's own */
    0x40000000, 0x40000001, 0x40000021, 0x40000073, /* Hyper-V's: OS identity, hypercall page, reference TSC, VP assist page */
};
_Static_assert(sizeof carried_msrs / sizeof carried_msrs[0] <= GH_MSR_MAX, "struct gh_cpu_state is too small");

int kvm_msr_list_read(int kvm_fd, bool hyperv, struct kvm_carried *ret, struct gh_error *err)
{
    enum { ROOM = 1024 };
    struct { struct kvm_msr_list_head { uint32_t n; } head; uint32_t index[ROOM]; } list = { .head = { ROOM } };

    ret->count = 0;
    if (ioctl(kvm_fd, KVM_GET_MSR_INDEX_LIST, &list))
        return kvm_fail(err, errno, "list its registers");
    for (unsigned i = 0; i < GH_ARRAY_LEN(carried_msrs); i++)
        for (unsigned k = 0; k < list.head.n && k < ROOM; k++)
            if (list.index[k] == carried_msrs[i] && (hyperv || !kvm_hyperv_msr(carried_msrs[i]))) {
                ret->index[ret->count++] = carried_msrs[i];
                break;
            }
    return 0;
}

/* struct kvm_msrs with a place for its entries. */
struct msr_buffer {
    uint32_t nmsrs, pad;
    struct kvm_msr_entry entry[GH_MSR_MAX];
};
_Static_assert(offsetof(struct msr_buffer, entry) == sizeof(struct kvm_msrs), "the kernel's layout");

/* The kernel stops at the first register it refuses: some are listed but not there for this CPU model. */
static int get_msrs(struct gh_vcpu *v, struct gh_cpu_state *s)
{
    s->msr_count = 0;
    for (unsigned at = 0; at < v->vm->msrs.count;) {
        struct msr_buffer b = { .nmsrs = v->vm->msrs.count - at };
        for (unsigned i = 0; i < b.nmsrs; i++)
            b.entry[i].index = v->vm->msrs.index[at + i];
        int n = ioctl(v->fd, KVM_GET_MSRS, &b);
        if (n < 0)
            return -errno;
        for (int i = 0; i < n; i++)
            s->msr[s->msr_count++] = (struct gh_msr){ b.entry[i].index, b.entry[i].data };
        at += (unsigned)n + 1;
    }
    return 0;
}

static bool listed(const struct gh_vcpu *v, uint32_t index)
{
    for (unsigned i = 0; i < v->vm->msrs.count; i++)
        if (v->vm->msrs.index[i] == index)
            return true;
    return false;
}

static int set_msrs(struct gh_vcpu *v, const struct gh_cpu_state *s, bool with_tsc)
{
    struct gh_msr wanted[GH_MSR_MAX];
    unsigned count = 0;

    for (unsigned i = 0; i < s->msr_count && i < GH_MSR_MAX; i++)
        if (listed(v, s->msr[i].index) && (with_tsc || (s->msr[i].index != 0x10 && s->msr[i].index != 0x3b)))
            wanted[count++] = s->msr[i];
    for (unsigned at = 0; at < count;) {
        struct msr_buffer b = { .nmsrs = count - at };
        for (unsigned i = 0; i < b.nmsrs; i++)
            b.entry[i] = (struct kvm_msr_entry){ .index = wanted[at + i].index, .data = wanted[at + i].value };
        int n = ioctl(v->fd, KVM_SET_MSRS, &b);
        if (n < 0)
            return -errno;
        at += (unsigned)n;
        if (at < count) {
            gh_log(GH_LOG_DEBUG, "kvm refuses MSR %#x = %#llx", wanted[at].index,
                   (unsigned long long)wanted[at].value);
            at++;
        }
    }
    return 0;
}

/* ---- Segments and system registers ------------------------------------------------------------- */
static struct gh_segment segment_in(const struct kvm_segment *k)
{
    return (struct gh_segment){ .base = k->base, .limit = k->limit, .selector = k->selector,
        .attr = (uint16_t)((k->type & 15) | (k->s ? GH_SEG_S : 0) | (k->dpl & 3) << 5 |
                (k->present ? GH_SEG_P : 0) | (k->avl ? GH_SEG_AVL : 0) | (k->l ? GH_SEG_L : 0) |
                (k->db ? GH_SEG_DB : 0) | (k->g ? GH_SEG_G : 0) | (k->unusable ? GH_SEG_UNUSABLE : 0)) };
}

static struct kvm_segment segment_out(const struct gh_segment *g)
{
    return (struct kvm_segment){ .base = g->base, .limit = g->limit, .selector = g->selector,
        .type = GH_SEG_TYPE(g->attr), .s = !!(g->attr & GH_SEG_S), .dpl = GH_SEG_DPL(g->attr),
        .present = !!(g->attr & GH_SEG_P), .avl = !!(g->attr & GH_SEG_AVL), .l = !!(g->attr & GH_SEG_L),
        .db = !!(g->attr & GH_SEG_DB), .g = !!(g->attr & GH_SEG_G),
        .unusable = !!(g->attr & GH_SEG_UNUSABLE) };
}

static const size_t segment_place[GH_SEG_COUNT] = {
    [GH_ES] = offsetof(struct kvm_sregs, es), [GH_CS] = offsetof(struct kvm_sregs, cs),
    [GH_SS] = offsetof(struct kvm_sregs, ss), [GH_DS] = offsetof(struct kvm_sregs, ds),
    [GH_FS] = offsetof(struct kvm_sregs, fs), [GH_GS] = offsetof(struct kvm_sregs, gs),
    [GH_TR] = offsetof(struct kvm_sregs, tr), [GH_LDTR] = offsetof(struct kvm_sregs, ldt),
};

static int get_sregs(struct gh_vcpu *v, struct gh_cpu_state *s)
{
    struct kvm_sregs k;

    if (ioctl(v->fd, KVM_GET_SREGS, &k))
        return -errno;
    for (unsigned i = 0; i < GH_SEG_COUNT; i++)
        s->seg[i] = segment_in((const struct kvm_segment *)((const char *)&k + segment_place[i]));
    s->gdt = (struct gh_table){ k.gdt.base, k.gdt.limit };
    s->idt = (struct gh_table){ k.idt.base, k.idt.limit };
    s->cr0 = k.cr0;
    s->cr2 = k.cr2;
    s->cr3 = k.cr3;
    s->cr4 = k.cr4;
    s->cr8 = k.cr8;
    s->efer = k.efer;
    s->apic_base = k.apic_base;
    return 0;
}

static int set_sregs(struct gh_vcpu *v, const struct gh_cpu_state *s)
{
    struct kvm_sregs k;

    /* The bitmap of injected interrupts stays as it is: events carry it. */
    if (ioctl(v->fd, KVM_GET_SREGS, &k))
        return -errno;
    memset(k.interrupt_bitmap, 0, sizeof k.interrupt_bitmap);
    for (unsigned i = 0; i < GH_SEG_COUNT; i++)
        *(struct kvm_segment *)((char *)&k + segment_place[i]) = segment_out(&s->seg[i]);
    k.gdt = (struct kvm_dtable){ .base = s->gdt.base, .limit = s->gdt.limit };
    k.idt = (struct kvm_dtable){ .base = s->idt.base, .limit = s->idt.limit };
    k.cr0 = s->cr0;
    k.cr2 = s->cr2;
    k.cr3 = s->cr3;
    k.cr4 = s->cr4;
    k.cr8 = s->cr8;
    k.efer = s->efer;
    k.apic_base = s->apic_base;
    return ioctl(v->fd, KVM_SET_SREGS, &k) ? -errno : 0;
}

static int get_regs(struct gh_vcpu *v, struct gh_cpu_state *s)
{
    struct kvm_regs k;

    if (ioctl(v->fd, KVM_GET_REGS, &k))
        return -errno;
    const uint64_t gpr[16] = { k.rax, k.rcx, k.rdx, k.rbx, k.rsp, k.rbp, k.rsi, k.rdi,
                               k.r8, k.r9, k.r10, k.r11, k.r12, k.r13, k.r14, k.r15 };
    memcpy(s->gpr, gpr, sizeof gpr);
    s->rip = k.rip;
    s->rflags = k.rflags;
    return 0;
}

static int set_regs(struct gh_vcpu *v, const struct gh_cpu_state *s)
{
    const uint64_t *g = s->gpr;
    struct kvm_regs k = { .rax = g[GH_RAX], .rcx = g[GH_RCX], .rdx = g[GH_RDX], .rbx = g[GH_RBX],
                          .rsp = g[GH_RSP], .rbp = g[GH_RBP], .rsi = g[GH_RSI], .rdi = g[GH_RDI],
                          .r8 = g[8], .r9 = g[9], .r10 = g[10], .r11 = g[11], .r12 = g[12], .r13 = g[13],
                          .r14 = g[14], .r15 = g[15], .rip = s->rip, .rflags = s->rflags };
    return ioctl(v->fd, KVM_SET_REGS, &k) ? -errno : 0;
}

/* ---- Debug registers, extended state ------------------------------------------------------------- */
static int get_debug(struct gh_vcpu *v, struct gh_cpu_state *s)
{
    struct kvm_debugregs k;

    if (ioctl(v->fd, KVM_GET_DEBUGREGS, &k))
        return -errno;
    for (unsigned i = 0; i < 4; i++)
        s->dr[i] = k.db[i];
    s->dr6 = k.dr6;
    s->dr7 = k.dr7;
    return 0;
}

static int set_debug(struct gh_vcpu *v, const struct gh_cpu_state *s)
{
    struct kvm_debugregs k = { .db = { s->dr[0], s->dr[1], s->dr[2], s->dr[3] }, .dr6 = s->dr6,
                               .dr7 = s->dr7 };
    return ioctl(v->fd, KVM_SET_DEBUGREGS, &k) ? -errno : 0;
}

_Static_assert(GH_XSAVE_SIZE <= sizeof(struct kvm_xsave), "the kernel's area holds ours");

static int get_fpu(struct gh_vcpu *v, struct gh_cpu_state *s)
{
    struct kvm_xsave area;
    struct kvm_xcrs  x = { 0 };

    if (ioctl(v->fd, KVM_GET_XSAVE, &area))
        return -errno;
    memcpy(s->xsave, &area, GH_XSAVE_SIZE);
    s->xcr0 = 1;
    if (!ioctl(v->fd, KVM_GET_XCRS, &x))
        for (unsigned i = 0; i < x.nr_xcrs && i < KVM_MAX_XCRS; i++)
            if (x.xcrs[i].xcr == 0)
                s->xcr0 = x.xcrs[i].value;
    return 0;
}

static int set_fpu(struct gh_vcpu *v, const struct gh_cpu_state *s)
{
    struct kvm_xsave area = { 0 };
    struct kvm_xcrs  x = { .nr_xcrs = 1, .xcrs = { { .xcr = 0, .value = s->xcr0 } } };

    memcpy(&area, s->xsave, GH_XSAVE_SIZE);
    /* A processor without XSAVE has no XCR0 to set; 1 is then the only value and needs no call. */
    if (ioctl(v->fd, KVM_SET_XCRS, &x) && s->xcr0 != 1)
        return -errno;
    return ioctl(v->fd, KVM_SET_XSAVE, &area) ? -errno : 0;
}

/* ---- Local APIC, events, run state --------------------------------------------------------------- */
static int get_lapic(struct gh_vcpu *v, struct gh_cpu_state *s)
{
    struct kvm_lapic_state k;

    if (ioctl(v->fd, KVM_GET_LAPIC, &k))
        return -errno;
    memcpy(s->lapic, k.regs, sizeof s->lapic);
    return 0;
}

static int set_lapic(struct gh_vcpu *v, const struct gh_cpu_state *s)
{
    struct kvm_lapic_state k;

    memcpy(k.regs, s->lapic, sizeof k.regs);
    return ioctl(v->fd, KVM_SET_LAPIC, &k) ? -errno : 0;
}

static int get_events(struct gh_vcpu *v, struct gh_cpu_state *s)
{
    struct kvm_vcpu_events e = { 0 };
    struct kvm_mp_state    mp;

    if (ioctl(v->fd, KVM_GET_VCPU_EVENTS, &e) || ioctl(v->fd, KVM_GET_MP_STATE, &mp))
        return -errno;
    s->exception_pending = e.exception.injected;
    s->exception_has_error = e.exception.has_error_code;
    s->exception_vector = e.exception.nr;
    s->exception_error = e.exception.error_code;
    s->interrupt_injected = e.interrupt.injected && !e.interrupt.soft;
    s->interrupt_vector = e.interrupt.nr;
    s->int_shadow = e.interrupt.shadow != 0;
    s->nmi_blocked = e.nmi.masked;
    s->nmi_pending = e.nmi.pending || e.nmi.injected || atomic_load(&v->nmi);
    s->sipi_vector = (uint8_t)e.sipi_vector;
    switch (mp.mp_state) {
    case KVM_MP_STATE_HALTED:        s->run_state = GH_RUN_HALTED; break;
    case KVM_MP_STATE_UNINITIALIZED:
    case KVM_MP_STATE_INIT_RECEIVED: s->run_state = GH_RUN_WAIT_SIPI; break;
    default:                         s->run_state = GH_RUN_RUNNABLE; break;
    }
    return 0;
}

static int set_events(struct gh_vcpu *v, const struct gh_cpu_state *s)
{
    struct kvm_vcpu_events e = {
        .exception = { .injected = s->exception_pending, .nr = s->exception_vector,
                       .has_error_code = s->exception_has_error, .error_code = s->exception_error },
        .interrupt = { .injected = s->interrupt_injected, .nr = s->interrupt_vector,
                       .shadow = s->int_shadow ? KVM_X86_SHADOW_INT_MOV_SS | KVM_X86_SHADOW_INT_STI : 0 },
        .nmi = { .pending = s->nmi_pending, .masked = s->nmi_blocked },
        .sipi_vector = s->sipi_vector,
        .flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW | KVM_VCPUEVENT_VALID_SIPI_VECTOR,
    };
    struct kvm_mp_state mp = { .mp_state = s->run_state == GH_RUN_HALTED      ? KVM_MP_STATE_HALTED
                                           : s->run_state == GH_RUN_WAIT_SIPI ? KVM_MP_STATE_INIT_RECEIVED
                                                                              : KVM_MP_STATE_RUNNABLE };

    if (s->interrupt_injected) /* the kernel takes a shadow and an interrupt together badly */
        e.interrupt.shadow = 0;
    atomic_store(&v->nmi, false);
    v->extint_given = v->io_pending = false;
    v->run->ready_for_interrupt_injection = 0;
    return ioctl(v->fd, KVM_SET_VCPU_EVENTS, &e) || ioctl(v->fd, KVM_SET_MP_STATE, &mp) ? -errno : 0;
}

/* ---- All groups ------------------------------------------------------------------------------------ */
int kvm_get_state(struct gh_vcpu *v, unsigned groups, struct gh_cpu_state *ret, struct gh_error *err)
{
    static const struct { unsigned group; const char *what; int (*get)(struct gh_vcpu *, struct gh_cpu_state *); }
    steps[] = {
        { GH_CPU_REGS, "read registers", get_regs },
        { GH_CPU_SREGS, "read system registers", get_sregs },
        { GH_CPU_DEBUG, "read debug registers", get_debug },
        { GH_CPU_FPU, "read floating point registers", get_fpu },
        { GH_CPU_LAPIC, "read a local APIC", get_lapic },
        { GH_CPU_MSRS, "read model-specific registers", get_msrs },
        { GH_CPU_EVENTS, "read pending events", get_events },
    };

    for (unsigned i = 0; i < GH_ARRAY_LEN(steps); i++)
        if (groups & steps[i].group) {
            int r = steps[i].get(v, ret);
            if (r)
                return kvm_fail(err, -r, steps[i].what);
        }
    return 0;
}

static int set_all_msrs(struct gh_vcpu *v, const struct gh_cpu_state *s) { return set_msrs(v, s, true); }
static int set_msrs_but_tsc(struct gh_vcpu *v, const struct gh_cpu_state *s) { return set_msrs(v, s, false); }

static int set_groups(struct gh_vcpu *v, unsigned groups, const struct gh_cpu_state *s,
                      int (*msrs)(struct gh_vcpu *, const struct gh_cpu_state *), struct gh_error *err)
{
    const struct { unsigned group; const char *what; int (*set)(struct gh_vcpu *, const struct gh_cpu_state *); }
    steps[] = {
        { GH_CPU_SREGS, "set system registers", set_sregs },
        { GH_CPU_REGS, "set registers", set_regs },
        { GH_CPU_FPU, "set floating point registers", set_fpu },
        { GH_CPU_LAPIC, "set a local APIC", set_lapic },
        { GH_CPU_MSRS, "set model-specific registers", msrs },
        { GH_CPU_DEBUG, "set debug registers", set_debug },
        { GH_CPU_EVENTS, "set pending events", set_events },
    };

    for (unsigned i = 0; i < GH_ARRAY_LEN(steps); i++)
        if (groups & steps[i].group) {
            int r = steps[i].set(v, s);
            if (r)
                return kvm_fail(err, -r, steps[i].what);
        }
    return 0;
}

int kvm_set_state(struct gh_vcpu *v, unsigned groups, const struct gh_cpu_state *s, struct gh_error *err)
{
    return set_groups(v, groups, s, set_all_msrs, err);
}

/* The TSC runs on through a reset, as it does on hardware after INIT; processors stay in step. The INTR
 * pin stays as it is: the 8259 drives it, and tells only changes. */
void kvm_reset(struct gh_vcpu *v)
{
    struct gh_error err = { 0 };

    if (set_groups(v, GH_CPU_ALL, v->power_on, set_msrs_but_tsc, &err))
        gh_log(GH_LOG_DEBUG, "%s", err.text);
}
