/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The code that is there once for each vCPU, at the start of its buffer: ways in and out of translated
 * code. In translated code the host's RSP is aligned to 16; the frames of calls are below what the way in stored (flow.c).
 */
#include "engine/accel/soft/jit/gen.h"

#define MOST_FRAMES 2048u

static const uint8_t saved[] = { H_RBX, H_RBP, H_R12, H_R13, H_R14, H_R15 };

static void push_host(struct jit_gen *g, unsigned r)
{
    if (r & 8)
        jit_e8(g, 0x41);
    jit_e8(g, 0x50 | (r & 7));
}

static void pop_host(struct jit_gen *g, unsigned r)
{
    if (r & 8)
        jit_e8(g, 0x41);
    jit_e8(g, 0x58 | (r & 7));
}

static void host_rsp_add(struct jit_gen *g, int n)
{
    jit_rr(g, 0x83 | O_W, 0, H_RSP);
    jit_e8(g, (uint8_t)n);
}

/* All guest state goes to soft_cpu. R13 and R15 stay. */
static void store_state(struct jit_gen *g)
{
    jit_store_all(g);
    jit_env(g, 0x83, 7, JIT_ENV_OF(jit.x87_live));
    jit_e8(g, 0);
    uint8_t *no_x87 = jit_jcc(g, CC_E);
    push_host(g, JIT_A);
    push_host(g, JIT_B);
    jit_env(g, 0x83, 7, JIT_ENV_OF(jit.vec_live)); /* C code may use the vector registers */
    jit_e8(g, 0);
    uint8_t *no_vec = jit_jcc(g, CC_E);
    jit_call(g, g->jit->thunk_vec_save);
    jit_patch(no_vec, g->at);
    jit_call(g, g->jit->thunk_x87_save);
    pop_host(g, JIT_B);
    pop_host(g, JIT_A);
    jit_patch(no_x87, g->at);
    jit_env(g, 0x83, 7, JIT_ENV_OF(jit.vec_live));
    jit_e8(g, 0);
    uint8_t *skip = jit_jcc(g, CC_E);
    push_host(g, JIT_A);
    push_host(g, JIT_B);
    jit_call(g, g->jit->thunk_vec_save);
    pop_host(g, JIT_B);
    pop_host(g, JIT_A);
    jit_patch(skip, g->at);
}

/* Back to soft_jit_run, with RAX. */
static void epilogue(struct jit_gen *g)
{
    jit_load(g, H_RSP, JIT_ENV_OF(jit.frames));
    host_rsp_add(g, 16 + 8);
    for (unsigned i = sizeof saved; i--;)
        pop_host(g, saved[i]);
    jit_e8(g, 0xc3);
}

static void leave_null(struct jit_gen *g)
{
    jit_rr(g, 0x31, H_RAX, H_RAX);
    epilogue(g);
}

static void align(struct jit_gen *g)
{
    while ((uintptr_t)g->at & 15)
        jit_e8(g, 0xcc);
}

/* (struct soft_cpu *, const uint8_t *code) */
static void make_enter(struct jit_gen *g)
{
    g->jit->thunk_enter = g->at;
    for (unsigned i = 0; i < sizeof saved; i++)
        push_host(g, saved[i]);
    host_rsp_add(g, -8);
    jit_rm(g, 0x8d | O_W, JIT_ENV, H_RDI, SOFT_JIT_BIAS);
    jit_mov(g, JIT_B, H_RSI);
    /* What a return finds where no frame is. */
    jit_imm64(g, JIT_A, g->jit->nowhere);
    push_host(g, JIT_A);
    jit_imm64(g, JIT_A, (uintptr_t)(g->jit->rx + (g->jit->thunk_empty - g->jit->rw)));
    push_host(g, JIT_A);
    jit_store(g, H_RSP, JIT_ENV_OF(jit.frames));
    jit_rm(g, 0x8d | O_W, JIT_A, H_RSP, -(int)MOST_FRAMES * 16);
    jit_store(g, JIT_A, JIT_ENV_OF(jit.frames_end));
    jit_load_all(g);
    jit_rr(g, 0xff, 4, JIT_B);
}

/* A return with R13 = soft_jit.nowhere for its target: the run loop finds that it is not canonical. */
static void make_empty(struct jit_gen *g)
{
    g->jit->thunk_empty = g->at;
    jit_store(g, JIT_A, JIT_ENV_OF(rip));
    store_state(g);
    leave_null(g);
}

/* Called with R13 = block, R15 = what soft_jit_one wants. */
static void make_one(struct jit_gen *g)
{
    g->jit->thunk_one = g->at;
    store_state(g);
    jit_rm(g, 0x8d | O_W, H_RDI, JIT_ENV, -SOFT_JIT_BIAS);
    jit_mov(g, H_RSI, JIT_A);
    jit_rr(g, 0x89, JIT_B, H_RDX);
    host_rsp_add(g, -8);
    jit_imm64(g, H_RAX, (uintptr_t)soft_jit_one);
    jit_rr(g, 0xff, 2, H_RAX);
    host_rsp_add(g, 8);
    jit_rr(g, 0x83, 7, H_RAX);
    jit_e8(g, 1);
    uint8_t *leave = jit_jcc(g, CC_E), *reload = jit_jcc(g, CC_A);
    jit_load_all(g);
    jit_e8(g, 0xc3);
    jit_patch(reload, g->at);
    jit_rr(g, 0x83, 7, H_RAX);
    jit_e8(g, 2);
    uint8_t *next = jit_jcc(g, CC_A);
    jit_load_all(g);
    g->flags = JIT_FLAGS_ENV;
    jit_flags_to_host(g, JIT_A);
    jit_e8(g, 0xc3);
    jit_patch(next, g->at);
    host_rsp_add(g, 8);                      /* the return address */
    jit_rr(g, 0x83, 7, H_RAX);
    jit_e8(g, 4);
    uint8_t *keep = jit_jcc(g, CC_NE);
    jit_load(g, H_RSP, JIT_ENV_OF(jit.frames));
    jit_patch(keep, g->at);
    jit_load_all(g);
    jit_env(g, 0xff, 4, JIT_ENV_OF(jit.tmp[0]));
    jit_patch(leave, g->at);
    leave_null(g);
}

/* Jumped to with R15 = offset in the page: the block does not run. */
static void make_head(struct jit_gen *g)
{
    g->jit->thunk_head = g->at;
    jit_env(g, 0x03 | O_W, JIT_B, JIT_ENV_OF(jit.rip_page));
    jit_store(g, JIT_B, JIT_ENV_OF(rip));
    store_state(g);
    leave_null(g);
}

/* Leaves with R13 = the link's data. */
static void leave_link(struct jit_gen *g)
{
    jit_rm(g, 0x63 | O_W, JIT_B, JIT_A, (int)offsetof(struct soft_jit_link, target));
    jit_env(g, 0x03 | O_W, JIT_B, JIT_ENV_OF(jit.rip_page));
    jit_store(g, JIT_B, JIT_ENV_OF(rip));
    store_state(g);
    jit_mov(g, H_RAX, JIT_A);
    epilogue(g);
}

/* Called; the link's data is at the return address. */
static void make_link(struct jit_gen *g)
{
    g->jit->thunk_link = g->at;
    pop_host(g, JIT_A);
    leave_link(g);
}

/* Z: the page at linear address R13 may be executed and is that at host address [R15 + at]; R15 comes from and goes to
 * [env + keep]. Destroys R13. */
static void check_page(struct jit_gen *g, int keep, int at)
{
    jit_way_offset(g);
    jit_env(g, 0x03 | O_W, JIT_B, JIT_ENV_OF(tlb));
    jit_rm(g, 0x3b | O_W, JIT_A, JIT_B, (int)offsetof(struct soft_tlb_entry, tag_exec));
    uint8_t *other = jit_jcc(g, CC_NE);
    jit_rm(g, 0x03 | O_W, JIT_A, JIT_B, (int)offsetof(struct soft_tlb_entry, delta));
    jit_load(g, JIT_B, keep);
    jit_rm(g, 0x3b | O_W, JIT_A, JIT_B, at);
    jit_patch(other, g->at);
}

/* Called with R15 = a target of the right linear address with another salt. Z: code there is the same as then, its salt
 * is right now. Destroys R13 and, if not Z, R15. */
static void make_retarget(struct jit_gen *g)
{
    g->jit->thunk_retarget = g->at;
    jit_rm(g, 0x33 | O_W, JIT_A, JIT_B, (int)offsetof(struct soft_jit_target, salt));
    jit_rr(g, 0xc1 | O_W, 4, JIT_A);                         /* the key */
    jit_e8(g, 64 - 24);
    uint8_t *other = jit_jcc(g, CC_NE);
    jit_store(g, JIT_B, JIT_ENV_OF(jit.tmp[1]));
    jit_rm(g, 0x8b | O_W, JIT_A, JIT_B, (int)offsetof(struct soft_jit_target, linear));
    jit_rr(g, 0x81 | O_W, 4, JIT_A);
    jit_e32(g, ~0xfffu);
    check_page(g, JIT_ENV_OF(jit.tmp[1]), (int)offsetof(struct soft_jit_target, host));
    uint8_t *moved = jit_jcc(g, CC_NE);
    jit_rm(g, 0x8b | O_W, JIT_A, JIT_B, (int)offsetof(struct soft_jit_target, linear));
    jit_rr(g, 0xc1 | O_W, 7, JIT_A);
    jit_e8(g, 63);
    jit_rx(g, 0x8b | O_W, JIT_A, JIT_ENV, JIT_A, 3, JIT_ENV_OF(jit.salt_low));
    jit_rm(g, 0x89 | O_W, JIT_A, JIT_B, (int)offsetof(struct soft_jit_target, salt));
    jit_rr(g, 0x39, JIT_A, JIT_A);
    jit_patch(moved, g->at);
    jit_patch(other, g->at);
    jit_e8(g, 0xc3);
}

/* The same for a link across pages. One that was made for another mapping looks whether its target is the same here, and
 * then tries the table. */
static void make_cross(struct jit_gen *g)
{
    uint8_t *miss[2];
    g->jit->thunk_cross = g->at;
    pop_host(g, JIT_A);
    jit_rm(g, 0x80, 7, JIT_A, (int)offsetof(struct soft_jit_link, kind));
    jit_e8(g, JIT_LINK_CROSS);
    uint8_t *fresh = jit_jcc(g, CC_E);
    jit_store(g, JIT_A, JIT_ENV_OF(jit.tmp[0]));
    jit_rm(g, 0x63 | O_W, JIT_A, JIT_A, (int)offsetof(struct soft_jit_link, target));
    jit_env(g, 0x03 | O_W, JIT_A, JIT_ENV_OF(jit.rip_page));
    jit_store(g, JIT_A, JIT_ENV_OF(jit.tmp[1]));
    jit_rr(g, 0x81 | O_W, 4, JIT_A);
    jit_e32(g, ~0xfffu);
    check_page(g, JIT_ENV_OF(jit.tmp[0]), (int)offsetof(struct soft_jit_cross, host));
    uint8_t *moved = jit_jcc(g, CC_NE);
    jit_rm(g, 0x8b, JIT_B, JIT_B, (int)offsetof(struct soft_jit_cross, slot));
    jit_env(g, 0x03 | O_W, JIT_B, JIT_ENV_OF(jit.slots));
    jit_load(g, JIT_A, JIT_ENV_OF(jit.tmp[1]));
    jit_rr(g, 0x81 | O_W, 4, JIT_A);
    jit_e32(g, ~0xfffu);
    jit_store(g, JIT_A, JIT_ENV_OF(jit.rip_page));
    jit_rm(g, 0x89 | O_W, JIT_A, JIT_B, (int)offsetof(struct jit_slot, page));
    jit_rr(g, 0xc1 | O_W, 5, JIT_A);
    jit_e8(g, 63);
    jit_rx(g, 0x8b, JIT_A, JIT_ENV, JIT_A, 3, JIT_ENV_OF(tlb_gen));
    jit_rm(g, 0x89, JIT_A, JIT_B, (int)offsetof(struct jit_slot, gen));
    jit_load(g, JIT_B, JIT_ENV_OF(jit.tmp[0]));
    jit_rm(g, 0xff, 4, JIT_B, (int)offsetof(struct soft_jit_cross, code));
    jit_patch(moved, g->at);
    jit_load(g, JIT_A, JIT_ENV_OF(jit.tmp[1]));
    jit_indirect_find(g, miss);
    uint8_t *found = g->at;
    jit_indirect_go(g);
    jit_patch(miss[1], g->at);
    jit_call(g, g->jit->thunk_retarget);
    jit_patch(jit_jcc(g, CC_E), found);
    jit_patch(miss[0], g->at);
    jit_load(g, JIT_A, JIT_ENV_OF(jit.tmp[0]));
    jit_patch(fresh, g->at);
    leave_link(g);
}
_Static_assert(offsetof(struct soft_cpu, tlb_gen) + 8 == offsetof(struct soft_cpu, tlb_gen_high), "indexed by sign");

/* Jumped to with R13 = block, R15 = instruction. Where the block has its plain version, that is all. */
static void make_bail(struct jit_gen *g)
{
    g->jit->thunk_bail = g->at;
    jit_store(g, JIT_A, JIT_ENV_OF(jit.tmp[0]));
    jit_rm(g, 0x8b | O_W, JIT_A, JIT_A, (int)offsetof(struct soft_block, jit_plain));
    jit_rr(g, 0x85 | O_W, JIT_A, JIT_A);
    uint8_t *first = jit_jcc(g, CC_E);
    jit_rr(g, 0xc1, 5, JIT_B);
    jit_e8(g, 16);
    jit_rx(g, 0x8b, JIT_B, JIT_A, JIT_B, 2, 0);
    jit_imm64(g, JIT_A, (uintptr_t)&g->jit->count.bails);
    jit_rm(g, 0xff | O_W, 0, JIT_A, 0);
    jit_imm64(g, JIT_A, (uintptr_t)g->jit->rx);
    jit_rr(g, 0x01 | O_W, JIT_A, JIT_B);
    jit_rr(g, 0xff, 4, JIT_B);
    jit_patch(first, g->at);
    jit_load(g, JIT_A, JIT_ENV_OF(jit.tmp[0]));
    store_state(g);
    jit_rm(g, 0x8d | O_W, H_RDI, JIT_ENV, -SOFT_JIT_BIAS);
    jit_mov(g, H_RSI, JIT_A);
    jit_rr(g, 0x89, JIT_B, H_RDX);
    jit_imm64(g, H_RAX, (uintptr_t)soft_jit_bail);
    jit_rr(g, 0xff, 2, H_RAX);
    jit_rr(g, 0x85 | O_W, H_RAX, H_RAX);
    uint8_t *leave = jit_jcc(g, CC_E);
    jit_mov(g, JIT_B, H_RAX);
    jit_load_all(g);
    jit_rr(g, 0xff, 4, JIT_B);
    jit_patch(leave, g->at);
    leave_null(g);
}

static void make_spill(struct jit_gen *g)
{
    g->jit->thunk_spill = g->at;
    jit_spill(g);
    jit_e8(g, 0xc3);
}

/* Called with R13 = linear - tag of the way at R15: takes the right way, and the difference with that. Of a site:
 * R13 = linear, R15 = offset of the way. Should another vCPU have taken the tag meanwhile, it is an address that no tag
 * matches. */
static void make_refill(struct jit_gen *g, bool write, bool site)
{
    int tag = write ? (int)offsetof(struct soft_tlb_entry, tag_write) : (int)offsetof(struct soft_tlb_entry, tag_read);
    g->jit->thunk_refill[write][site] = g->at;
    jit_rm(g, 0x03 | O_W, JIT_A, JIT_B, tag);
    jit_way_offset(g);
    if (site) {
        jit_e8(g, 0xc3);
        return;
    }
    jit_env(g, 0x03 | O_W, JIT_B, JIT_ENV_OF(tlb));
    jit_store(g, JIT_B, JIT_ENV_OF(jit.stack));
    jit_rm(g, 0x2b | O_W, JIT_A, JIT_B, tag);
    jit_e8(g, 0xc3);
}

void jit_make_thunks(struct soft_cpu *cpu, struct soft_jit *j)
{
    struct jit_gen g = { .jit = j, .cpu = cpu, .at = j->rw };
    jit_simd_thunks(&g);
    jit_x87_thunks(&g);
    align(&g);
    make_empty(&g);
    align(&g);
    make_enter(&g);
    align(&g);
    make_one(&g);
    align(&g);
    make_head(&g);
    align(&g);
    jit_simd_enter_thunk(&g);
    align(&g);
    jit_x87_enter_thunk(&g);
    align(&g);
    make_link(&g);
    align(&g);
    make_retarget(&g);
    align(&g);
    make_cross(&g);
    align(&g);
    make_bail(&g);
    align(&g);
    make_spill(&g);
    align(&g);
    for (unsigned i = 0; i < 4; i++) {
        make_refill(&g, i & 1, i & 2);
        align(&g);
    }
    align(&g);
    j->first = j->used = (size_t)(g.at - j->rw);
    j->cold = j->cold_end = j->cold_low = j->slots = j->slots_end = j->size;
}
