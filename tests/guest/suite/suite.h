/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the tests of a whole processor share: reports, exceptions, processors, the local APIC. Freestanding. */
#pragma once
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;
typedef _Bool bool;
#define true 1
#define false 0

struct regs { u64 r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax, vector, error, rip, cs, rflags, rsp, ss; };
enum { DE, DB, NMI, BP, OF, BR, UD, NM, DF, TS = 10, NP, SS, GP, PF, MF = 16, AC };

void report(bool ok, const char *what);
void print(const char *text);
void print_hex(u64 v);
void set_memory(void *at, int value, u64 bytes);

/* Exceptions and interrupts: a handler, or the fixup that TRY sets. */
extern void (*volatile handler[256])(struct regs *r);
extern volatile u64 fixup;
extern volatile int got;                   /* vector of the last exception under TRY, -1: none */
extern volatile u64 got_error, got_rip, got_flags, got_cr2, got_cs;
/* Runs an instruction that may fault; the vector, or -1. */
#define TRY(insn, ...)                                                                                         \
    ({ __asm__ volatile("movl $-1, got\n\tmovq $2f, fixup\n\t1: " insn "\n\t2: movq $0, fixup" __VA_ARGS__); got; })

u64 in_user(u64 (*fn)(void), u64 flags);
void leave_user(void);
extern u64 pml4[512], gdt[];

void gate_segment(unsigned vector, u16 selector);

unsigned processors(void);
void on_cpu_async(unsigned index, void (*fn)(void));
void on_cpu(unsigned index, void (*fn)(void));
unsigned this_cpu(void);

static inline void outb(u16 port, u8 v) { __asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port) : "memory"); }
static inline void outl(u16 port, u32 v) { __asm__ volatile("outl %0, %1" : : "a"(v), "Nd"(port) : "memory"); }
static inline void outw(u16 port, u16 v) { __asm__ volatile("outw %0, %1" : : "a"(v), "Nd"(port) : "memory"); }
static inline u8 inb(u16 port) { u8 v; __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port) : "memory"); return v; }
static inline u64 rdtsc(void) { u32 a, d; __asm__ volatile("rdtsc" : "=a"(a), "=d"(d)); return a | (u64)d << 32; }
static inline u64 rdmsr(u32 m) { u32 a, d; __asm__ volatile("rdmsr" : "=a"(a), "=d"(d) : "c"(m) : "memory"); return a | (u64)d << 32; }
static inline void wrmsr(u32 m, u64 v) { __asm__ volatile("wrmsr" : : "a"((u32)v), "d"((u32)(v >> 32)), "c"(m) : "memory"); }
static inline void pause_(void) { __asm__ volatile("pause" : : : "memory"); }
struct cpuid { u32 a, b, c, d; };
static inline struct cpuid cpuid(u32 leaf, u32 sub)
{
    struct cpuid r;
    __asm__ volatile("cpuid" : "=a"(r.a), "=b"(r.b), "=c"(r.c), "=d"(r.d) : "a"(leaf), "c"(sub));
    return r;
}
#define READ_CR(n) ({ u64 v_; __asm__ volatile("mov %%cr" #n ", %0" : "=r"(v_) : : "memory"); v_; })
#define WRITE_CR(n, v) __asm__ volatile("mov %0, %%cr" #n : : "r"((u64)(v)) : "memory")
static inline int try_rdmsr(u32 m, u64 *v)
{
    u32 a = 0, d = 0;
    int r = TRY("rdmsr", : "+a"(a), "+d"(d) : "c"(m) : "memory");
    *v = a | (u64)d << 32;
    return r;
}
static inline int try_wrmsr(u32 m, u64 v) { return TRY("wrmsr", : : "a"((u32)v), "d"((u32)(v >> 32)), "c"(m) : "memory"); }
static inline int try_cr4(u64 v) { return TRY("mov %0, %%cr4", : : "r"(v) : "memory"); }
static inline int try_cr3(u64 v) { return TRY("mov %0, %%cr3", : : "r"(v) : "memory"); }

/* The local APIC of this processor, by memory or MSR. */
enum { APIC_ID = 2, APIC_VERSION = 3, APIC_TPR = 8, APIC_EOI = 0xb, APIC_SVR = 0xf, APIC_TMR = 0x18, APIC_ICR = 0x30, APIC_LVT_TIMER = 0x32,
       APIC_TMICT = 0x38, APIC_TMCCT = 0x39, APIC_TDCR = 0x3e };
bool apic_x2(void);
u32 apic_read(unsigned reg);
void apic_write(unsigned reg, u32 v);
void apic_command(u32 low, u32 destination);
void apic_reset(void);                     /* off and on: xAPIC */
bool apic_enable_x2(void);
#define APIC_BASE 0x1b
#define EN (1ul << 11)
#define EXTD (1ul << 10)

/* suite_*.c */
void test_hypercall(void);
void test_msr(void);
void test_xsave(void);
void test_debug(void);
void test_syscall(void);
void test_system(void);
void test_kvmclock(void);
void test_emulator(void);
void test_access(void);
void test_apic(void);
void test_ioapic(void);
void test_events(void);
void test_sleep(void);
