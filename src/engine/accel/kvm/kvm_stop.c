/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A guest CPU that cannot go on: the sentence for a person, and in the log what a report of it needs. On the vCPU's thread,
 * which is in the guest: the memory slots stay as they are meanwhile.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/bytes.h"
#include "base/log.h"
#include "engine/accel/kvm/kvm_int.h"

/* Linux 6.8 has it; older headers do not. */
enum { EXIT_MEMORY_FAULT = 39 };
struct memory_fault { uint64_t flags, gpa, size; };

enum { CODE_BYTES = 15 };              /* the longest instruction */

static unsigned code_at(struct gh_vcpu *v, uint64_t linear, uint8_t *ret)
{
    unsigned n = 0;

    for (; n < CODE_BYTES; n++) {
        struct kvm_translation t = { .linear_address = linear + n };
        if (ioctl(v->fd, KVM_TRANSLATE, &t) || !t.valid)
            break;
        const uint8_t *host = kvm_slot_host(v->vm, t.physical_address);
        if (!host)
            break;
        ret[n] = *host;
    }
    return n;
}

/* Logs registers and code; returns RIP for the sentence. Code is not read where memory itself is what failed. */
static uint64_t log_place(struct gh_vcpu *v, bool with_code)
{
    struct kvm_regs r = { 0 };
    struct kvm_sregs s = { 0 };
    uint8_t code[CODE_BYTES];
    char words[CODE_BYTES * 3 + 1] = "";

    if (ioctl(v->fd, KVM_GET_REGS, &r) || ioctl(v->fd, KVM_GET_SREGS, &s))
        return 0;
    unsigned n = with_code ? code_at(v, s.cs.base + r.rip, code) : 0;
    for (unsigned i = 0; i < n; i++)
        snprintf(words + i * 3, 4, " %02x", code[i]);
    gh_log(GH_LOG_WARN, "CPU %u at %04x:%llx:%s, RFLAGS %llx CR0 %llx CR2 %llx CR3 %llx CR4 %llx EFER %llx", v->index,
           s.cs.selector, (unsigned long long)r.rip, n ? words : " (no code)", (unsigned long long)r.rflags,
           (unsigned long long)s.cr0, (unsigned long long)s.cr2, (unsigned long long)s.cr3, (unsigned long long)s.cr4,
           (unsigned long long)s.efer);
    gh_log(GH_LOG_WARN, "RAX %llx RCX %llx RDX %llx RBX %llx RSP %llx RBP %llx RSI %llx RDI %llx", (unsigned long long)r.rax,
           (unsigned long long)r.rcx, (unsigned long long)r.rdx, (unsigned long long)r.rbx, (unsigned long long)r.rsp,
           (unsigned long long)r.rbp, (unsigned long long)r.rsi, (unsigned long long)r.rdi);
    return r.rip;
}

void kvm_stop_entry(struct gh_vcpu *v, struct gh_exit *ret)
{
    ret->reason = GH_EXIT_ERROR;
    gh_error_set(&ret->error, -EIO, "KvmEntryFailed", "The guest CPU %u stopped: the processor refused to "
                 "enter the guest (reason %#llx) at %#llx. Reset the machine, or choose the accelerator soft.",
                 v->index, (unsigned long long)v->run->fail_entry.hardware_entry_failure_reason,
                 (unsigned long long)log_place(v, true));
}

void kvm_stop_internal(struct gh_vcpu *v, struct gh_exit *ret)
{
    static const char *const whys[] = {
        [KVM_INTERNAL_ERROR_EMULATION] = GH_WORD("KVM cannot emulate an instruction"),
        [KVM_INTERNAL_ERROR_SIMUL_EX] = GH_WORD("KVM met two exceptions at once"),
        [KVM_INTERNAL_ERROR_DELIVERY_EV] = GH_WORD("KVM could not deliver an interrupt or exception"),
        [KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON] = GH_WORD("the processor left the guest for a reason that KVM does not know"),
    };
    unsigned n = v->run->internal.suberror;
    const char *why = n < GH_ARRAY_LEN(whys) && whys[n] ? whys[n] : GH_WORD("KVM reports an internal error");
    char data[17 * 16 + 1] = "";

    /* Newer kernels put the instruction's bytes among these words. */
    for (unsigned i = 0; i < v->run->internal.ndata && i < 16; i++)
        snprintf(data + strlen(data), sizeof data - strlen(data), " %llx", (unsigned long long)v->run->internal.data[i]);
    gh_log(GH_LOG_WARN, "KVM's internal error %u comes with the words%s", n, data[0] ? data : " (none)");
    ret->reason = GH_EXIT_ERROR;
    gh_error_set(&ret->error, -EIO, "KvmInternalError", "The guest CPU %u stopped: %s (%u) at %#llx. Reset "
                 "the machine, or choose the accelerator soft.", v->index, why, n, (unsigned long long)log_place(v, true));
}

void kvm_stop_unknown(struct gh_vcpu *v, struct gh_exit *ret)
{
    unsigned reason = v->run->exit_reason;

    if (reason == KVM_EXIT_UNKNOWN)
        gh_log(GH_LOG_WARN, "the processor's reason for leaving the guest is %#llx",
               (unsigned long long)v->run->hw.hardware_exit_reason);
    ret->reason = GH_EXIT_ERROR;
    gh_error_set(&ret->error, -EIO, "KvmUnknownExit", "The guest CPU %u stopped: KVM left the guest for "
                 "reason %u, which is not handled, at %#llx. Reset the machine.", v->index, reason,
                 (unsigned long long)log_place(v, true));
}

/* KVM_RUN itself failed. */
void kvm_stop_failed(struct gh_vcpu *v, int error_number, struct gh_exit *ret)
{
    unsigned long long rip = log_place(v, error_number != EFAULT && error_number != EHWPOISON);
    struct memory_fault fault;

    ret->reason = GH_EXIT_ERROR;
    switch (error_number) {
    case EFAULT:
        if (v->run->exit_reason == EXIT_MEMORY_FAULT) {
            memcpy(&fault, v->run->padding, sizeof fault);
            gh_log(GH_LOG_WARN, "KVM had no memory at guest address %#llx, %llu bytes", (unsigned long long)fault.gpa,
                   (unsigned long long)fault.size);
        }
        gh_error_set(&ret->error, -EFAULT, "KvmMemoryFault", "The guest CPU %u stopped at %#llx: the host could not provide a "
                     "page of the machine's memory. Close programs or give the machine less memory, then reset it.",
                     v->index, rip);
        break;
    case EHWPOISON:
        gh_error_set(&ret->error, -EHWPOISON, "KvmMemoryBroken", "The guest CPU %u stopped at %#llx: a page of the host's "
                     "memory is broken. Switch the machine off, and test this computer's memory.", v->index, rip);
        break;
    case EIO:
        gh_error_set(&ret->error, -EIO, "KvmGaveUp", "The guest CPU %u stopped at %#llx: KVM gave this machine up after an "
                     "error of its own. Switch the machine off and start it again; 'dmesg' has the kernel's reason.",
                     v->index, rip);
        break;
    default:
        kvm_fail(&ret->error, error_number, "run the guest");
    }
}
