/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Memory operands: linear address and the inline TLB probe. See mmu.h for the TLB. */
#include "engine/accel/soft/jit/gen.h"

_Static_assert(sizeof(struct soft_tlb_entry) == 32, "the probe has it as a constant");

bool jit_can_address(const struct jit_gen *g, const struct soft_insn *in)
{
    (void)g;
    return in->is_mem == SOFT_MEM_FLAT64 || in->is_mem == SOFT_MEM_RIP64 || in->is_mem == SOFT_MEM_SEG64 ||
           in->is_mem == SOFT_MEM_FLAT32;
}

/* R13 = rip_page + a constant that may be just too large for 32 bits. */
static void rip_relative(struct jit_gen *g, int64_t off)
{
    jit_load(g, JIT_A, JIT_ENV_OF(jit.rip_page));
    if (off != (int32_t)off) {
        int32_t half = (int32_t)(off / 2);
        jit_rm(g, 0x8d | O_W, JIT_A, JIT_A, half);
        off -= half;
    }
    if (off)
        jit_rm(g, 0x8d | O_W, JIT_A, JIT_A, (int32_t)off);
}

void jit_address(struct jit_gen *g, const struct soft_insn *in)
{
    uint32_t width = in->is_mem == SOFT_MEM_FLAT32 ? 0 : O_W;
    if (in->base == SOFT_RIP_REG) {
        rip_relative(g, (int64_t)g->off + in->len + in->disp);
    } else {
        unsigned base = JIT_NONE, index = JIT_NONE;
        if (in->base != SOFT_NO_REG)
            base = jit_use(g, in->base, JIT_A);
        if (in->index != SOFT_NO_REG)
            index = jit_use(g, in->index, JIT_B);
        if (base == JIT_NONE && index == JIT_NONE) { /* mov r13, disp */
            jit_rr(g, 0xc7 | width, 0, JIT_A);
            jit_e32(g, (uint32_t)in->disp);
        } else {
            jit_rx(g, 0x8d | width, JIT_A, base, index, in->scale, in->disp);
        }
    }
    if (in->is_mem == SOFT_MEM_SEG64) {
        jit_load(g, JIT_B, (int)offsetof(struct soft_cpu, seg) + in->seg * (int)sizeof(struct gh_segment) +
                           (int)offsetof(struct gh_segment, base) - SOFT_JIT_BIAS);
        jit_rx(g, 0x8d | O_W, JIT_A, JIT_A, JIT_B, 0, 0);
    }
}

void jit_way(struct jit_gen *g)
{
    jit_mov(g, JIT_B, JIT_A);
    jit_rr(g, 0xc1 | O_W, 5, JIT_B);                         /* shr r15, 7 */
    jit_e8(g, 7);
    jit_rr(g, 0x81, 4, JIT_B);                               /* and r15d, 1ffe0h */
    jit_e32(g, (SOFT_TLB_SIZE - 1) << 5);
    jit_env(g, 0x03 | O_W, JIT_B, JIT_ENV_OF(tlb));          /* add r15, [tlb] */
}

static int tag_of(bool write)
{
    return write ? (int)offsetof(struct soft_tlb_entry, tag_write) : (int)offsetof(struct soft_tlb_entry, tag_read);
}

/* Out of the way where R13 is above the limit: to the plain version, or to the handler. */
static void leave_above(struct jit_gen *g, unsigned limit, bool write, bool stack, bool bails)
{
    jit_rr(g, 0x81 | O_W, 7, JIT_A);                         /* cmp r13, 1000h - bytes */
    jit_e32(g, limit);
    uint8_t *jump = jit_jcc(g, CC_A);
    if (stack)
        g->refill[g->refill_count++] = (struct jit_refill){ jump, g->at, (uint16_t)limit, (uint8_t)g->index, write, bails };
    if (bails)
        g->bail[g->bail_count++] = (struct jit_bail){ stack ? NULL : jump, (uint8_t)g->index, (uint16_t)g->off };
    if (!bails || stack)
        jit_slow_at(g, stack ? NULL : jump);
}

/* R15 = way, R13 = linear - its tag. */
static void probe(struct jit_gen *g, bool write, bool stack)
{
    if (stack)
        jit_load(g, JIT_B, JIT_ENV_OF(jit.stack));
    else
        jit_way(g);
    jit_rm(g, 0x2b | O_W, JIT_A, JIT_B, tag_of(write));
}

static void lookup(struct jit_gen *g, unsigned bytes, bool write, bool stack, unsigned kind)
{
    const struct jit_access *a = &g->access[g->index][kind];
    if (g->plain || a->group < 0) {
        probe(g, write, stack);
        leave_above(g, 0x1000 - bytes, write, stack, false);
        jit_rm(g, 0x03 | O_W, JIT_A, JIT_B, (int)offsetof(struct soft_tlb_entry, page));
    } else {
        struct jit_group *k = &g->group[a->group];
        int slot = JIT_ENV_OF(jit.delta[0]) + a->group * 8;
        if (!k->ready) {
            k->ready = true;
            if (k->low != a->rel)
                jit_rm(g, 0x8d | O_W, JIT_A, JIT_A, k->low - a->rel);
            probe(g, k->write, stack);
            leave_above(g, 0x1000u - k->span, k->write, stack, true);
            /* The tag is not read again: another vCPU may have taken it away (soft_tlb_revoke_write) meanwhile. */
            jit_rm(g, 0x03 | O_W, JIT_A, JIT_B, (int)offsetof(struct soft_tlb_entry, page));
            jit_rm(g, 0x8d | O_W, JIT_B, a->base, a->disp + k->low - a->rel);
            jit_rr(g, 0x29 | O_W, JIT_B, JIT_A);             /* sub r13, r15 */
            jit_store(g, JIT_A, slot);
            jit_rx(g, 0x8d | O_W, JIT_A, a->base, JIT_A, 0, a->disp);
        } else {
            jit_env(g, 0x03 | O_W, JIT_A, slot);
        }
    }
    if (write)
        jit_log_store(g, bytes);
}

void jit_lookup(struct jit_gen *g, unsigned bytes, bool write)
{
    probe(g, write, false);
    leave_above(g, 0x1000 - bytes, write, false, false);
    jit_rm(g, 0x03 | O_W, JIT_A, JIT_B, (int)offsetof(struct soft_tlb_entry, page));
    if (write)
        jit_log_store(g, bytes);
}

void jit_lookup_stack(struct jit_gen *g, unsigned bytes, bool write) { lookup(g, bytes, write, true, 1); }

void jit_operand(struct jit_gen *g, const struct soft_insn *in, unsigned bytes, bool write)
{
    jit_flags_to_env(g);
    jit_address(g, in);
    lookup(g, bytes, write, in->base == GH_RSP && in->index == SOFT_NO_REG && in->is_mem != SOFT_MEM_SEG64, 0);
    g->flags = JIT_FLAGS_ENV;
}

void jit_check_lockable(struct jit_gen *g, unsigned bytes)
{
    if (bytes == 1)
        return;
    jit_rm(g, 0x8d | O_W, JIT_B, JIT_A, (int)bytes - 1);
    jit_rr(g, 0x31 | O_W, JIT_A, JIT_B);                     /* xor: which bits differ from the first byte's address */
    jit_rr(g, 0x83 | O_W, 7, JIT_B);
    jit_e8(g, 63);
    jit_slow_if(g, CC_A);
}
