/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * x87 instructions are copied while the guest's x87 state is in the host's unit: from a block's first one
 * until C code is called. As with vectors, a guest with an exception unmasked or pending has its
 * instructions run by the handlers, so the host never takes one; control instructions are the
 * handlers' too. The instruction pointer is kept as a page and an offset, one store an instruction.
 */
#include "engine/accel/soft/jit/gen.h"
#include "engine/accel/soft/fpu.h"

#define NOTHING_RUN UINT32_MAX

static int load(struct soft_cpu *cpu)
{
    struct soft_x87_image image;
    if ((cpu->x87.fcw & X87_EXCEPTIONS) != X87_EXCEPTIONS || (cpu->x87.fsw & X87_ES)) {
        cpu->jit.vec_refused = 1;
        return 1;
    }
    soft_x87_to_image(cpu, &image);
    __asm__ volatile("frstor %0" : : "m"(image));
    cpu->jit.x87_last = NOTHING_RUN;
    cpu->jit.x87_live = 1;
    return 0;
}

static void save(struct soft_cpu *cpu)
{
    struct soft_x87_image image;
    __asm__ volatile("fnsave %0" : "=m"(image)); /* which also gives C code an empty unit */
    soft_x87_from_image(cpu, &image);
    cpu->jit.x87_live = 0;
    if (cpu->jit.x87_last == NOTHING_RUN)
        return;
    cpu->x87.fip = cpu->jit.x87_page + cpu->jit.x87_last;
    cpu->x87.fcs = 0;
}

/* The guest's registers are in the host's from here on. May have stored the vector registers. */
static void enter(struct jit_gen *g)
{
    if (g->x87)
        return;
    jit_flags_to_env(g);
    jit_load(g, JIT_B, JIT_ENV_OF(jit.rip_page));
    jit_store(g, JIT_B, JIT_ENV_OF(jit.x87_page));
    jit_env(g, 0x83, 7, JIT_ENV_OF(jit.x87_live));
    jit_e8(g, 0);
    jit_e8(g, 0x75);
    uint8_t *skip = g->at++;
    jit_e8(g, 0x41);
    jit_e8(g, 0xbf);
    jit_e32(g, g->off);
    jit_call(g, g->jit->thunk_x87_enter);
    *skip = (uint8_t)(g->at - (skip + 1));
    g->flags = JIT_FLAGS_ENV;
    g->x87 = true;
    g->vec = false;
}

bool jit_x87(struct jit_gen *g, const struct soft_insn *in)
{
    unsigned esc = in->imm2;
    if (g->jit->no_simd || g->b->key & (SOFT_KEY_TS | SOFT_KEY_EM))
        return false;
    if (esc == 0x9b) {                       /* nothing can be pending */
        enter(g);
        return true;
    }
    bool stores_status = esc == 0xdf && in->modrm == 0xe0; /* FNSTSW AX; the host's AX is the guest's */
    unsigned memory = in->is_mem ? soft_x87_memory_form(esc, in->modrm >> 3 & 7) : 0;
    if (in->is_mem ? !memory || !jit_can_address(g, in) : !stores_status && !soft_x87_register_form(esc, in->modrm))
        return false;
    enter(g);
    if (in->is_mem) {
        jit_operand(g, in, memory & 0x7f, memory & 0x80);
        jit_mem(g, esc, in->modrm >> 3 & 7);
    } else {
        if (in->flags & (SOFT_F_RF | SOFT_F_WF))
            jit_flags_to_host(g, JIT_B);
        jit_e8(g, esc);
        jit_e8(g, in->modrm);
        if (in->flags & SOFT_F_WF)
            g->flags = JIT_FLAGS_HOST;
    }
    if (!stores_status) {
        jit_env(g, 0xc7, 0, JIT_ENV_OF(jit.x87_last));
        jit_e32(g, g->off);
    }
    return true;
}

/* ---- Thunks -------------------------------------------------------------------------------------------------- */
/* fn(cpu) on an aligned stack. Destroys what C functions may, R13 not. */
static void call_c(struct jit_gen *g, uintptr_t fn)
{
    jit_mov(g, JIT_A, H_RSP);
    jit_rr(g, 0x83 | O_W, 4, H_RSP);         /* and rsp, -16 */
    jit_e8(g, 0xf0);
    jit_rm(g, 0x8d | O_W, H_RDI, JIT_ENV, -SOFT_JIT_BIAS);
    jit_imm64(g, H_RAX, fn);
    jit_rr(g, 0xff, 2, H_RAX);
    jit_mov(g, H_RSP, JIT_A);
}

/* load: C code's own registers are free here; the guest's are in soft_cpu. save: likewise. */
void jit_x87_thunks(struct jit_gen *g)
{
    g->jit->thunk_x87_save = g->at;
    call_c(g, (uintptr_t)save);
    jit_e8(g, 0xc3);
    g->jit->thunk_x87_load = g->at;
    jit_store_all(g);
    call_c(g, (uintptr_t)load);
    jit_load_all(g);
    jit_e8(g, 0xc3);
}

/* Called with R15 = offset in the page. Loads, or leaves the block there. */
void jit_x87_enter_thunk(struct jit_gen *g)
{
    g->jit->thunk_x87_enter = g->at;
    jit_store_all(g);
    jit_env(g, 0x83, 7, JIT_ENV_OF(jit.vec_live));
    jit_e8(g, 0);
    uint8_t *skip = jit_jcc(g, CC_E);
    jit_call(g, g->jit->thunk_vec_save);
    jit_patch(skip, g->at);
    call_c(g, (uintptr_t)load);
    jit_rr(g, 0x85, H_RAX, H_RAX);
    jit_load_all(g);                         /* does not change the flags */
    uint8_t *refuse = jit_jcc(g, CC_NE);
    jit_e8(g, 0xc3);
    jit_patch(refuse, g->at);
    jit_rr(g, 0x83 | O_W, 0, H_RSP);         /* the return address */
    jit_e8(g, 8);
    jit_jmp(g, g->jit->thunk_head);
}
