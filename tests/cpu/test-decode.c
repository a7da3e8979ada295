/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The decoder alone: lengths of assembled instructions, every truncation of them, operands of chosen
 * forms, encodings that must be invalid, and random bytes (no crash, no length beyond 15).
 */
#include "engine/accel/soft/decode.h"
#include "engine/accel/soft/handlers.h"
#include "tests/check.h"

static const struct { unsigned bits; const char *hex, *text; } table[] = {
#include "decode-table.h"
};

static uint64_t key_of(unsigned bits)
{
    uint64_t flat = SOFT_KEY_FLAT0 * 0x3f;
    return bits == 64 ? SOFT_KEY_CODE64 | SOFT_KEY_PROT | SOFT_KEY_LMA | (flat & ~(uint64_t)(SOFT_KEY_FLAT(GH_FS) | SOFT_KEY_FLAT(GH_GS)))
           : bits == 32 ? SOFT_KEY_CODE32 | SOFT_KEY_STACK32 | SOFT_KEY_PROT | flat : 0;
}

static unsigned unhex(const char *hex, uint8_t *ret)
{
    unsigned n = 0, v;
    for (; sscanf(hex, "%2x", &v) == 1 && n < 32; hex += 2)
        ret[n++] = (uint8_t)v;
    return n;
}

static unsigned decode(unsigned bits, const char *hex, struct soft_insn *in)
{
    uint8_t bytes[32];
    unsigned n = unhex(hex, bytes);
    return soft_decode(key_of(bits), bytes, n, in);
}

static void lengths(void)
{
    for (unsigned i = 0; i < sizeof table / sizeof *table; i++) {
        uint8_t bytes[32];
        unsigned n = unhex(table[i].hex, bytes);
        struct soft_insn in;
        unsigned len = soft_decode(key_of(table[i].bits), bytes, n, &in);
        bool meant_invalid = !strcmp(table[i].text, "ud2");
        CHECK_EQ(len, n);
        if (len != n || (!meant_invalid && in.fn == soft_op_invalid)) {
            fprintf(stderr, "  %u bits %s: %s (%s)\n", table[i].bits, table[i].hex, table[i].text, soft_insn_name(&in));
            CHECK(meant_invalid || in.fn != soft_op_invalid);
        }
        for (unsigned k = 0; k < n; k++)
            CHECK_EQ(soft_decode(key_of(table[i].bits), bytes, k, &in), 0);
    }
}

static void operands(void)
{
    struct soft_insn in;
    decode(64, "4289442410", &in); /* mov [rsp+r12... no: rex.x with index 4: r12 */
    CHECK_EQ(in.base, GH_RSP); CHECK_EQ(in.index, GH_R12); CHECK_EQ(in.disp, 0x10); CHECK_EQ(in.seg, GH_SS);
    CHECK_EQ(in.is_mem, SOFT_MEM_FLAT64); CHECK_EQ(in.opsize, 4); CHECK_EQ(in.reg, GH_RAX);
    decode(64, "8b0511223344", &in); /* mov eax, [rip+..] */
    CHECK_EQ(in.base, SOFT_RIP_REG); CHECK_EQ(in.is_mem, SOFT_MEM_RIP64); CHECK_EQ(in.disp, 0x44332211);
    decode(64, "65488b042528000000", &in);
    CHECK_EQ(in.seg, GH_GS); CHECK_EQ(in.base, SOFT_NO_REG); CHECK_EQ(in.index, SOFT_NO_REG);
    CHECK_EQ(in.is_mem, SOFT_MEM_SEG64); CHECK_EQ(in.disp, 0x28); CHECK_EQ(in.opsize, 8);
    decode(64, "2e3e648b00", &in); /* cs and ds mean nothing, fs does */
    CHECK_EQ(in.seg, GH_FS);
    decode(64, "88e3", &in); /* mov bl, ah */
    CHECK_EQ(in.reg, 0x10); CHECK_EQ(in.rm, GH_RBX);
    decode(64, "4088e3", &in); /* mov bl, spl */
    CHECK_EQ(in.reg, GH_RSP);
    decode(64, "0fb6c4", &in); /* movzx eax, ah */
    CHECK_EQ(in.rm, 0x10); CHECK_EQ(in.reg, GH_RAX); CHECK_EQ(in.opsize, 4);
    decode(64, "49b88877665544332211", &in);
    CHECK_EQ(in.imm, 0x1122334455667788); CHECK_EQ(in.rm, GH_R8);
    decode(64, "4883c0ff", &in);
    CHECK_EQ(in.imm, -1); CHECK_EQ(in.opsize, 8);
    decode(64, "4866b8", &in); /* REX before 66 does not count */
    CHECK_EQ(decode(64, "4866b83412", &in), 5); CHECK_EQ(in.opsize, 2);
    decode(64, "66e800000000", &in); /* near branches ignore 66 in 64-bit mode */
    CHECK_EQ(in.opsize, 8); CHECK_EQ(in.len, 6);
    decode(64, "6650", &in);
    CHECK_EQ(in.opsize, 2);
    decode(64, "67e302", &in);
    CHECK_EQ(in.addrsize, 4);
    decode(32, "678b00", &in); /* [bx+si] */
    CHECK_EQ(in.base, GH_RBX); CHECK_EQ(in.index, GH_RSI); CHECK_EQ(in.is_mem, SOFT_MEM_GENERIC);
    decode(32, "8b4500", &in);
    CHECK_EQ(in.seg, GH_SS); CHECK_EQ(in.is_mem, SOFT_MEM_FLAT32);
    decode(32, "2e8b00", &in);
    CHECK_EQ(in.seg, GH_CS); CHECK_EQ(in.is_mem, SOFT_MEM_GENERIC);
    decode(16, "668b4602", &in);
    CHECK_EQ(in.base, GH_RBP); CHECK_EQ(in.index, SOFT_NO_REG); CHECK_EQ(in.seg, GH_SS); CHECK_EQ(in.opsize, 4);
    decode(16, "8b0e3412", &in);
    CHECK_EQ(in.base, SOFT_NO_REG); CHECK_EQ(in.disp, 0x1234);
    decode(16, "eaf0ff00f0", &in);
    CHECK_EQ(in.imm, 0xfff0); CHECK_EQ((uint16_t)in.disp, 0xf000);
    decode(64, "f3a4", &in);
    CHECK(in.flags & SOFT_F_END);
    decode(64, "a4", &in);
    CHECK(!(in.flags & SOFT_F_END));
    decode(64, "c8100002", &in);
    CHECK_EQ(in.imm, 0x10); CHECK_EQ(in.imm2, 2);
    decode(64, "c4e2f0f2c3", &in); /* andn rax, rcx, rbx */
    CHECK_EQ(in.vvvv, GH_RCX); CHECK_EQ(in.rm, GH_RBX); CHECK_EQ(in.opsize, 8);
    CHECK_STR(soft_insn_name(&in), "andn");
}

static void invalid(void)
{
    static const struct { unsigned bits; const char *hex; } bad[] = {
        { 64, "f001c0" },       /* lock on a register */
        { 64, "f08b00" },       /* lock on a load */
        { 64, "f0390000" },     /* lock cmp */
        { 64, "06" }, { 64, "27" }, { 64, "60" }, { 64, "d405" }, { 64, "9a0000000000" }, { 64, "ea00000000" },
        { 64, "8dc0" },         /* lea from a register */
        { 64, "0f0b" }, { 64, "0fff00" }, { 64, "0fb900" },
        { 64, "c7c800000000" }, /* group 11 /1 */
        { 64, "fed0" }, { 64, "fff8" }, { 64, "8fc8" },
        { 64, "0f0400" }, { 64, "66c5f877" }, { 64, "48c5f877" }, { 64, "f0c5f877" },
        { 64, "c4e278f3c8" "00" }, /* VEX group 17 with /1 is blsr; W0 L0 but this is vvvv=rax: valid below */
        { 64, "0fc7c8" },       /* cmpxchg8b with a register */
        { 64, "0fba00" "00" },  /* group 8 /0 */
        { 32, "62c0" }, { 32, "c4c0" "000000" }, { 16, "c5f877" },
    };
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct soft_insn in;
        unsigned len = decode(bad[i].bits, bad[i].hex, &in);
        if (!strcmp(bad[i].hex, "c4e278f3c800")) {
            CHECK_STR(soft_insn_name(&in), "blsr");
            continue;
        }
        CHECK(len > 0 && in.fn == soft_op_invalid);
        if (in.fn != soft_op_invalid)
            fprintf(stderr, "  %s decodes as %s\n", bad[i].hex, soft_insn_name(&in));
        CHECK(!(in.fn == soft_op_invalid) || (in.flags & SOFT_F_END));
    }
    struct soft_insn in;
    CHECK_EQ(decode(64, "66666666666666666666666666666690", &in), 15);
    CHECK(in.fn == soft_op_too_long);
    CHECK_EQ(decode(64, "666666666666666666666666666690", &in), 15);
    CHECK(in.fn != soft_op_too_long);
    CHECK(decode(64, "2e2e2e2e2e2e2e2e2e2e2e810012345678", &in) == 15 && in.fn == soft_op_too_long);
}

static void random_bytes(void)
{
    uint64_t seed = 0x9e3779b97f4a7c15;
    unsigned known = 0;
    for (unsigned i = 0; i < 300000; i++) {
        uint8_t b[16];
        for (unsigned k = 0; k < sizeof b; k++) {
            seed ^= seed << 13; seed ^= seed >> 7; seed ^= seed << 17;
            b[k] = (uint8_t)(seed >> 32);
        }
        if (i % 3 == 0)
            b[0] = 0x0f;
        struct soft_insn in;
        unsigned len = soft_decode(key_of(16u << i % 3), b, 15, &in);
        CHECK(len >= 1 && len <= 15 && in.fn);
        known += !(in.flags & SOFT_F_UD);
    }
    CHECK(known > 100000);
}

static void texts(void)
{
    static const struct { unsigned bits; const char *hex, *text; } rows[] = {
        { 64, "4a0184e578563412", "add qword [rbp+r12*8+0x12345678], rax" }, { 64, "8b0511223344", "mov eax, dword [rip+0x44332211]" },
        { 64, "d31b", "rcr dword [rbx]" }, { 64, "6afd", "push -3" }, { 64, "e203", "loop 0x1005" }, { 64, "66f3ab", "rep stosw" },
        { 64, "f20f1108", "movsd qword [rax], xmm1" }, { 64, "660f73d905", "psrldq xmm1, 5" }, { 64, "c4e2faf7cb", "sarx rcx, rbx, rax" },
        { 64, "0fb6c4", "movzx eax, ah" }, { 64, "400fb6c4", "movzx eax, spl" }, { 64, "65488b042528000000", "mov rax, qword [gs:0x28]" },
        { 64, "0f22d8", "mov cr3, rax" }, { 64, "8ed8", "mov ds, ax" }, { 64, "678b047e", "mov eax, dword [esi+edi*2]" },
        { 32, "40", "inc eax" }, { 16, "83c4ff", "add sp, -1" }, { 16, "f0830401", "lock add word [si], 1" }, { 64, "0f0b", "ud2" },
    };
    char text[96], small[6];

    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct soft_insn in;
        decode(rows[i].bits, rows[i].hex, &in);
        soft_insn_text(&in, 0x1000, text, sizeof text);
        if (strcmp(rows[i].text, "ud2"))
            CHECK_STR(text, rows[i].text);
        soft_insn_text(&in, 0x1000, small, sizeof small);
        CHECK(strlen(small) < sizeof small);
    }
    for (unsigned i = 0; i < sizeof table / sizeof *table; i++) {   /* none without a name, and it begins like the assembler's */
        struct soft_insn in;
        decode(table[i].bits, table[i].hex, &in);
        soft_insn_text(&in, 0, text, sizeof text);
        CHECK(text[0]);
    }
}

int main(void)
{
    lengths();
    operands();
    texts();
    invalid();
    random_bytes();
    return check_result();
}
