/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the host cannot be asked for in user mode: availability faults by CR0, CR4 and XCR0, the layouts
 * of x87 environments, FXSAVE and XSAVE in every mode, deferred exceptions, FERR#. */
#include <setjmp.h>

#include "check.h"
#include "engine/accel/soft/fpu.h"
#include "engine/accel/soft/handlers.h"
#include "harness.h"

#define CODE 0x8000u
#define DATA 0x9000u

static struct harness h;
static unsigned ferr_rises, ferr_falls;

static void on_ferr(void *opaque, unsigned vcpu, bool level)
{
    *(level ? &ferr_rises : &ferr_falls) += 1;
}

/* Runs one instruction with RBX = DATA; its vector, -1 for none, -2 to run it again. */
static int exec(unsigned n, const uint8_t *bytes)
{
    struct soft_insn in;
    switch (setjmp(h.cpu->fault_jump)) {
    case SOFT_JUMP_FAULT: return h.cpu->fault.vector;
    case SOFT_JUMP_AGAIN: return -2;
    default: break;
    }
    h.cpu->delivering = -1;
    h.cpu->rip = CODE;
    h.cpu->gpr[GH_RBX] = DATA;
    if (!soft_decode(h.cpu->state_key, bytes, n, &in))
        return -3;
    soft_insn_run(h.cpu, &in);
    return -1;
}
#define EXEC(...) exec(sizeof((uint8_t[]){__VA_ARGS__}), (const uint8_t[]){__VA_ARGS__})
#define FLD1    0xd9, 0xe8
#define FLDZ    0xd9, 0xee
#define FDIVP   0xde, 0xf9
#define FWAIT   0x9b
#define FNINIT  0xdb, 0xe3
#define FNCLEX  0xdb, 0xe2
#define ADDPS   0x0f, 0x58, 0xc1
#define DIVPS   0x0f, 0x5e, 0xc1
#define PADDB_Q 0x0f, 0xfc, 0xc1
#define VADDPS  0xc5, 0xf8, 0x58, 0xc1

static void set_cr(uint64_t cr0_set, uint64_t cr0_clear, uint64_t cr4_set, uint64_t cr4_clear)
{
    h.cpu->cr0 = (h.cpu->cr0 | cr0_set) & ~cr0_clear;
    h.cpu->cr4 = (h.cpu->cr4 | cr4_set) & ~cr4_clear;
    soft_update_mode(h.cpu);
}

static void availability(void)
{
    CHECK_EQ(EXEC(FNINIT), -1);
    set_cr(CR0_TS, 0, 0, 0);
    CHECK_EQ(EXEC(FLD1), SOFT_NM);
    CHECK_EQ(EXEC(ADDPS), SOFT_NM);
    CHECK_EQ(EXEC(PADDB_Q), SOFT_NM);
    CHECK_EQ(EXEC(VADDPS), SOFT_NM);
    CHECK_EQ(EXEC(0x0f, 0xae, 0x03), SOFT_NM);  /* FXSAVE */
    CHECK_EQ(EXEC(0x0f, 0xae, 0x23), SOFT_NM);  /* XSAVE */
    CHECK_EQ(EXEC(FWAIT), SOFT_NM);             /* MP is set */
    set_cr(0, CR0_MP, 0, 0);
    CHECK_EQ(EXEC(FWAIT), -1);
    set_cr(CR0_EM | CR0_MP, CR0_TS, 0, 0);
    CHECK_EQ(EXEC(FLD1), SOFT_NM);
    CHECK_EQ(EXEC(ADDPS), SOFT_UD);
    CHECK_EQ(EXEC(PADDB_Q), SOFT_UD);
    CHECK_EQ(EXEC(FWAIT), -1);
    set_cr(0, CR0_EM, 0, CR4_OSFXSR);
    CHECK_EQ(EXEC(ADDPS), SOFT_UD);
    CHECK_EQ(EXEC(PADDB_Q), -1);
    CHECK_EQ(EXEC(0x0f, 0xae, 0x13), SOFT_UD);  /* LDMXCSR */
    set_cr(0, 0, CR4_OSFXSR, CR4_OSXSAVE);
    CHECK_EQ(EXEC(VADDPS), SOFT_UD);
    CHECK_EQ(EXEC(0x0f, 0xae, 0x23), SOFT_UD);
    CHECK_EQ(EXEC(ADDPS), -1);
    set_cr(0, 0, CR4_OSXSAVE, 0);
    h.cpu->xcr0 = 3;
    soft_update_mode(h.cpu);
    CHECK_EQ(EXEC(VADDPS), SOFT_UD);
    h.cpu->xcr0 = 7;
    soft_update_mode(h.cpu);
    CHECK_EQ(EXEC(VADDPS), -1);
}

static void simd_exceptions(void)
{
    h.cpu->mxcsr = 0x1f80 & ~0x200u; /* division by zero unmasked */
    memset(&h.cpu->ymm[0], 0, 32);
    memset(&h.cpu->ymm[1], 0, 32);
    const uint32_t one = 0x3f800000;
    for (unsigned i = 0; i < 4; i++)
        memcpy((uint32_t *)&h.cpu->ymm[0] + i, &one, 4);
    CHECK_EQ(EXEC(DIVPS), SOFT_XM);
    CHECK_EQ(h.cpu->mxcsr & 0x3f, 4);
    CHECK_EQ(*(uint32_t *)&h.cpu->ymm[0], one); /* not written */
    set_cr(0, 0, 0, CR4_OSXMMEXCPT);
    CHECK_EQ(EXEC(DIVPS), SOFT_UD);
    set_cr(0, 0, CR4_OSXMMEXCPT, 0);
    h.cpu->mxcsr = 0x1f80;
    CHECK_EQ(EXEC(DIVPS), -1);
    CHECK_EQ(*(uint32_t *)&h.cpu->ymm[0], 0x7f800000);
    uint32_t bad = 0x10000;
    memcpy(h.ram + DATA, &bad, 4);
    CHECK_EQ(EXEC(0x0f, 0xae, 0x13), SOFT_GP); /* LDMXCSR of reserved bits */
}

static void deferred(void)
{
    CHECK_EQ(EXEC(FNINIT), -1);
    h.cpu->x87.fcw = 0x37b; /* zero divide unmasked */
    CHECK_EQ(EXEC(FLD1), -1);
    CHECK_EQ(EXEC(FLDZ), -1);
    CHECK_EQ(EXEC(FDIVP), -1);                  /* the exception is only noted */
    CHECK_EQ(h.cpu->x87.fsw & 0x80ff, 0x8084);
    CHECK_EQ(EXEC(FWAIT), SOFT_MF);
    CHECK_EQ(EXEC(FLD1), SOFT_MF);
    CHECK_EQ(EXEC(PADDB_Q), SOFT_MF);
    CHECK_EQ(EXEC(0xdf, 0xe0), -1);             /* FNSTSW AX does not wait */
    CHECK_EQ(h.cpu->gpr[GH_RAX] & 0x80ff, 0x8084);

    set_cr(0, CR0_NE, 0, 0);
    CHECK_EQ(EXEC(FWAIT), -1);                  /* nobody listens to FERR#: ignored */
    h.cpu->vm->env.ferr = on_ferr;
    CHECK_EQ(EXEC(FLD1), -2);
    CHECK_EQ(ferr_rises, 1);
    CHECK_EQ(EXEC(FNCLEX), -1);
    CHECK_EQ(ferr_falls, 1);
    CHECK_EQ(EXEC(FLD1), -1);
    h.cpu->vm->env.ferr = NULL;
    set_cr(CR0_NE, 0, 0, 0);
    CHECK_EQ(EXEC(FNINIT), -1);
}

static uint32_t at32(unsigned offset) { uint32_t v; memcpy(&v, h.ram + DATA + offset, 4); return v; }
static uint16_t at16(unsigned offset) { uint16_t v; memcpy(&v, h.ram + DATA + offset, 2); return v; }

static void environments(void)
{
    h.cpu->x87.fcw = 0x1372;
    h.cpu->x87.fsw = 0x3800;
    h.cpu->x87.ftw_abridged = 0x80;
    memset(h.cpu->x87.reg[7], 0, 16); /* a zero: tag 1 */
    h.cpu->x87.fip = 0x12345678;
    h.cpu->x87.fdp = 0x9abcdef0;
    h.cpu->x87.fop = 0x2a5;
    memset(h.ram + DATA, 0xee, 128);
    CHECK_EQ(EXEC(0xd9, 0x33), -1); /* FNSTENV, 32-bit protected */
    CHECK_EQ(at32(0), 0xffff1372u);
    CHECK_EQ(at32(4), 0xffff3800u);
    CHECK_EQ(at32(8), 0xffff7fffu);
    CHECK_EQ(at32(12), 0x12345678);
    CHECK_EQ(at32(16), 0x2a5u << 16);
    CHECK_EQ(at32(20), 0x9abcdef0u);
    CHECK_EQ(at32(24), 0xffff0000u);
    CHECK_EQ(h.ram[DATA + 28], 0xee);
    CHECK_EQ(h.cpu->x87.fcw & 0x3f, 0x3f); /* all masked now */

    memset(h.ram + DATA, 0xee, 128);
    CHECK_EQ(EXEC(0x66, 0xd9, 0x33), -1); /* 16-bit protected */
    CHECK_EQ(at16(6), 0x5678);
    CHECK_EQ(at16(8), 0);
    CHECK_EQ(at16(10), 0xdef0);
    CHECK_EQ(h.ram[DATA + 14], 0xee);

    /* Real mode: linear pointers in pieces, the opcode beside them. */
    static struct soft_cpu saved;
    saved = *h.cpu;
    h.cpu->cr0 &= ~(CR0_PE | CR0_PG);
    h.cpu->long_mode = false;
    h.cpu->seg[GH_CS].attr = 0x9b;
    for (unsigned i = GH_ES; i <= GH_GS; i++)
        h.cpu->seg[i].limit = 0xffff;
    soft_tlb_flush(h.cpu, true);
    soft_update_mode(h.cpu);
    CHECK_EQ(h.cpu->code_mode, 16);
    memset(h.ram + DATA, 0xee, 128);
    CHECK_EQ(EXEC(0xd9, 0x37), -1); /* FNSTENV [BX] */
    CHECK_EQ(at16(6), 0x5678);
    CHECK_EQ(at16(8), 0x42a5);      /* FIP 16-19, opcode */
    CHECK_EQ(at16(10), 0xdef0);
    CHECK_EQ(at16(12), 0xc000);
    memset(h.ram + DATA, 0xee, 128);
    CHECK_EQ(EXEC(0x66, 0xd9, 0x37), -1);
    CHECK_EQ(at16(12), 0x5678);
    CHECK_EQ(at32(16), 0x12340000u >> 4 | 0x2a5);
    CHECK_EQ(at32(24), 0x9abc0000u >> 4);
    h.cpu->x87.fip = h.cpu->x87.fdp = h.cpu->x87.fop = 0;
    CHECK_EQ(EXEC(0x66, 0xd9, 0x27), -1); /* FLDENV */
    CHECK_EQ(h.cpu->x87.fip, 0x12345678);
    CHECK_EQ(h.cpu->x87.fdp, 0x9abcdef0);
    CHECK_EQ(h.cpu->x87.fop, 0x2a5);
    *h.cpu = saved;
    soft_tlb_flush(h.cpu, true);
    soft_update_mode(h.cpu);
}

static void fxsave(void)
{
    memset(h.ram + DATA, 0xee, 512);
    for (unsigned i = 0; i < 16; i++)
        memset(&h.cpu->ymm[i], (int)i + 1, 32);
    h.cpu->mxcsr = 0x1fa0;
    CHECK_EQ(EXEC(0x0f, 0xae, 0x43, 0x08), SOFT_GP); /* not aligned */
    CHECK_EQ(EXEC(0x48, 0x0f, 0xae, 0x03), -1);
    CHECK_EQ(at32(24), 0x1fa0);
    CHECK_EQ(at32(28), 0xffff);
    CHECK_EQ(h.ram[DATA + 160 + 15 * 16], 16);
    CHECK_EQ(h.ram[DATA + 416], 0xee);      /* software's bytes */
    h.cpu->mxcsr = 0x1f80;
    memset(h.cpu->ymm, 0, sizeof h.cpu->ymm);
    CHECK_EQ(EXEC(0x48, 0x0f, 0xae, 0x0b), -1);
    CHECK_EQ(h.cpu->mxcsr, 0x1fa0);
    CHECK_EQ(h.cpu->ymm[15].q[0], 0x1010101010101010);
    CHECK_EQ(h.cpu->ymm[15].q[2], 0);
    h.ram[DATA + 26] = 1;                   /* a reserved MXCSR bit */
    h.cpu->ymm[3].q[0] = 77;
    CHECK_EQ(EXEC(0x0f, 0xae, 0x0b), SOFT_GP);
    CHECK_EQ(h.cpu->ymm[3].q[0], 77);
}

static void xsave(void)
{
    uint64_t header[2];
    CHECK_EQ(EXEC(FNINIT), -1);
    memset(h.cpu->x87.reg, 0, sizeof h.cpu->x87.reg);
    memset(h.cpu->ymm, 0, sizeof h.cpu->ymm);
    h.cpu->mxcsr = 0x1f80;
    h.cpu->ymm[2].q[3] = 0x1234;            /* only AVX in use */
    memset(h.ram + DATA, 0, 1024);
    h.cpu->gpr[GH_RAX] = 7;
    h.cpu->gpr[GH_RDX] = 0;
    CHECK_EQ(EXEC(0x0f, 0xae, 0x63, 0x20), SOFT_GP); /* XSAVE, not aligned */
    CHECK_EQ(EXEC(0x0f, 0xc7, 0x23), -1);   /* XSAVEC */
    memcpy(header, h.ram + DATA + 512, 16);
    CHECK_EQ(header[0], 4);
    CHECK_EQ(header[1], (1ull << 63) | 7);
    CHECK_EQ(at32(576 + 2 * 16 + 8), 0x1234);
    h.cpu->ymm[2].q[3] = 0;
    h.cpu->ymm[5].q[0] = 99;                /* must be initialised by the restore */
    h.cpu->x87.fcw = 0x27f;
    CHECK_EQ(EXEC(0x0f, 0xae, 0x2b), -1);   /* XRSTOR */
    CHECK_EQ(h.cpu->ymm[2].q[3], 0x1234);
    CHECK_EQ(h.cpu->ymm[5].q[0], 0);
    CHECK_EQ(h.cpu->x87.fcw, 0x37f);

    header[0] = 8;                          /* a component that XCR0 does not have */
    memcpy(h.ram + DATA + 512, header, 8);
    CHECK_EQ(EXEC(0x0f, 0xae, 0x2b), SOFT_GP);
    header[0] = 0;
    header[1] = 1;                          /* standard form: must be zero */
    memcpy(h.ram + DATA + 512, header, 16);
    CHECK_EQ(EXEC(0x0f, 0xae, 0x2b), SOFT_GP);

    /* The accelerator's form carries everything over. */
    uint8_t area[GH_XSAVE_SIZE];
    struct soft_ymm five = {{1, 2, 3, 4}};
    h.cpu->ymm[5] = five;
    h.cpu->x87.fsw = 0x1800;
    soft_fpu_get(h.cpu, area);
    memset(h.cpu->ymm, 0xff, sizeof h.cpu->ymm);
    soft_x87_init(h.cpu);
    CHECK_EQ(soft_fpu_set(h.cpu, area), 0);
    CHECK(!memcmp(&h.cpu->ymm[5], &five, sizeof five));
    CHECK_EQ(h.cpu->x87.fsw, 0x1800);
    area[26] = 1;
    CHECK(soft_fpu_set(h.cpu, area) < 0);
}

int main(void)
{
    harness_init(&h, 4 << 20, NULL);
    harness_long_mode(&h, 0x100000, 0);
    availability();
    simd_exceptions();
    deferred();
    environments();
    fxsave();
    xsave();
    harness_fini(&h);
    return check_result();
}
