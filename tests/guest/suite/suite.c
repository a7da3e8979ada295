/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The frame of the tests of a whole processor: command line, reports on COM1, events, other processors. */
#include "suite.h"

#define MAX_CPUS 16
static const struct { const char *name; void (*run)(void); } tests[] = {
    { "hypercall", test_hypercall }, { "msr", test_msr },       { "xsave", test_xsave },   { "debug", test_debug },
    { "syscall", test_syscall },     { "system", test_system }, { "emulator", test_emulator }, { "access", test_access },
    { "apic", test_apic },           { "ioapic", test_ioapic }, { "kvmclock", test_kvmclock }, { "sleep", test_sleep }, { "events", test_events },
};
struct gate { u16 low, selector; u8 ist, type; u16 mid; u32 high, zero; };
static struct gate idt[256];
static struct { u32 zero; u64 rsp[3], zero2, ist[7], zero3; u16 zero4, iomap; } __attribute__((packed)) tss[MAX_CPUS];
static u8 stacks[MAX_CPUS][2][8192] __attribute__((aligned(16)));
static unsigned failures, passes;
static volatile bool lock;
extern const u64 stubs[256];
extern const u8 trampoline[], trampoline_end[];
extern volatile u32 ap_count;
void (*volatile handler[256])(struct regs *r);
volatile u64 fixup, got_error, got_rip, got_flags, got_cr2, got_cs;
volatile int got;
static void (*volatile job[MAX_CPUS])(void);
static volatile unsigned ready = 1;

void *memcpy(void *to, const void *from, u64 n);
void *memset(void *to, int v, u64 n);
void suite_main(const char *command);
void suite_ap(unsigned index);
void suite_event(struct regs *r);

void *memcpy(void *to, const void *from, u64 n)
{
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
    return to;
}
void *memset(void *to, int v, u64 n)
{
    void *at = to;
    __asm__ volatile("rep stosb" : "+D"(at), "+c"(n) : "a"(v) : "memory");
    return to;
}
void set_memory(void *at, int value, u64 bytes) { memset(at, value, bytes); }

void print(const char *text)
{
    for (; *text; text++) {
        while (!(inb(0x3fd) & 0x20))
            ;
        outb(0x3f8, (u8)*text);
    }
}
void print_hex(u64 v)
{
    char text[20], *at = text + 19;
    *at = 0;
    do
        *--at = "0123456789abcdef"[v & 15];
    while (v >>= 4);
    print(at);
}
void report(bool ok, const char *what)
{
    while (__atomic_test_and_set(&lock, __ATOMIC_ACQUIRE))
        pause_();
    print(ok ? "PASS " : "FAIL ");
    print(what);
    print("\n");
    *(ok ? &passes : &failures) += 1;
    __atomic_clear(&lock, __ATOMIC_RELEASE);
}

void suite_event(struct regs *r)
{
    if (r->vector == 0x80) {
        r->rip = (u64)leave_user;
        r->cs = 8;
        r->ss = 0x10;
        r->rflags &= ~0x3300ul; /* level 0 again, and the level of I/O */
        return;
    }
    if (handler[r->vector]) {
        handler[r->vector](r);
        return;
    }
    if (fixup && r->vector < 32) {
        got = (int)r->vector;
        got_error = r->error;
        got_rip = r->rip;
        got_flags = r->rflags;
        got_cs = r->cs;
        got_cr2 = READ_CR(2);
        r->rip = fixup;
        fixup = 0;
        return;
    }
    print("FAIL unexpected vector ");
    print_hex(r->vector);
    print(" error ");
    print_hex(r->error);
    print(" at ");
    print_hex(r->rip);
    print(" cr2 ");
    print_hex(READ_CR(2));
    print("\n");
    outl(0xf4, 0x7f);
    for (;;)
        __asm__ volatile("cli; hlt");
}

void gate_segment(unsigned vector, u16 selector) { idt[vector].selector = selector; }

/* ---- Processors ------------------------------------------------------------------------------------------ */
static void load_tables(unsigned index)
{
    struct { u16 limit; u64 base; } __attribute__((packed)) p = { sizeof idt - 1, (u64)idt };
    u64 base = (u64)&tss[index];
    u64 *d = &gdt[8 + index * 2];

    tss[index].rsp[0] = (u64)stacks[index][0] + 8192;
    tss[index].ist[0] = (u64)stacks[index][1] + 8192;
    tss[index].iomap = sizeof tss[0];
    d[0] = 0x67 | (base & 0xffffff) << 16 | 0x89ul << 40 | (base >> 24 & 0xff) << 56;
    d[1] = base >> 32;
    __asm__ volatile("lidt %0; ltr %w1; mov %w2, %%ds; mov %w2, %%es; mov %w2, %%ss; mov %w3, %%fs; mov %w3, %%gs"
                     : : "m"(p), "r"(0x40 + index * 16), "r"(0x10), "r"(0) : "memory");
    wrmsr(0xc0000103, index);
    wrmsr(APIC_BASE, rdmsr(APIC_BASE) | EN);
    apic_write(APIC_SVR, 0x1ff);
}

unsigned processors(void) { return ready; }
unsigned this_cpu(void) { return (unsigned)rdmsr(0xc0000103); }

void suite_ap(unsigned index)
{
    load_tables(index);
    __atomic_fetch_add(&ready, 1, __ATOMIC_SEQ_CST);
    for (;;) {
        __asm__ volatile("sti" : : : "memory");
        while (!job[index])
            pause_();
        job[index]();
        job[index] = 0;
    }
}
void on_cpu_async(unsigned index, void (*fn)(void))
{
    while (job[index])
        pause_();
    job[index] = fn;
}
void on_cpu(unsigned index, void (*fn)(void))
{
    on_cpu_async(index, fn);
    while (job[index])
        pause_();
}

static void start_processors(void)
{
    u32 want = 5; /* the number of processors in fw_cfg */
    u16 port = 0x510;

    __asm__ volatile("outw %w0, %1; inc %1; xor %0, %0; inb %1, %b0" : "+a"(want), "+d"(port) : : "memory");
    if (want < 2)
        return;
    memcpy((void *)0x8000, trampoline, (u64)(trampoline_end - trampoline));
    apic_command(0xc4500, 0);
    for (u64 t = rdtsc(); rdtsc() - t < 10000000;)
        pause_();
    apic_command(0xc4608, 0);
    while (ready < want)
        pause_();
}

/* ---- Local APIC ------------------------------------------------------------------------------------------- */
bool apic_x2(void) { return rdmsr(APIC_BASE) & EXTD; }
u32 apic_read(unsigned reg) { return apic_x2() ? (u32)rdmsr(0x800 + reg) : *(volatile u32 *)(0xfee00000ul + reg * 16); }
void apic_write(unsigned reg, u32 v)
{
    if (apic_x2())
        wrmsr(0x800 + reg, v);
    else
        *(volatile u32 *)(0xfee00000ul + reg * 16) = v;
}
void apic_command(u32 low, u32 destination)
{
    if (apic_x2()) {
        wrmsr(0x830, low | (u64)destination << 32);
        return;
    }
    apic_write(APIC_ICR + 1, destination << 24);
    apic_write(APIC_ICR, low);
}
void apic_reset(void)
{
    u64 base = rdmsr(APIC_BASE) & ~(EN | EXTD);
    wrmsr(APIC_BASE, base);
    wrmsr(APIC_BASE, base | EN);
    apic_write(APIC_SVR, 0x1ff);
}
bool apic_enable_x2(void)
{
    if (!(cpuid(1, 0).c & 1u << 21))
        return false;
    wrmsr(APIC_BASE, rdmsr(APIC_BASE) | EN | EXTD);
    apic_write(APIC_SVR, 0x1ff);
    return true;
}

static bool wanted(const char *command, const char *name)
{
    if (!*command)
        return true;
    while (*command) {
        const char *n = name;
        while (*command == ' ')
            command++;
        while (*n && *n == *command) {
            n++;
            command++;
        }
        if (!*n && (!*command || *command == ' '))
            return true;
        while (*command && *command != ' ')
            command++;
    }
    return false;
}

void suite_main(const char *command)
{
    for (unsigned i = 0; i < 256; i++)
        idt[i] = (struct gate){ (u16)stubs[i], 8, 0, i == 0x80 || i == BP ? 0xee : 0x8e, (u16)(stubs[i] >> 16), (u32)(stubs[i] >> 32), 0 };
    load_tables(0);
    outb(0x21, 0xff);
    outb(0xa1, 0xff);
    start_processors();
    for (unsigned i = 0; i < sizeof tests / sizeof *tests; i++) {
        if (!wanted(command, tests[i].name))
            continue;
        print("TEST ");
        print(tests[i].name);
        print("\n");
        tests[i].run();
    }
    print("DONE ");
    print_hex(passes);
    print(" ");
    print_hex(failures);
    print("\n");
    outl(0xf4, failures != 0);
}
