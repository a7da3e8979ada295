/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Runs a flat binary on the software CPU: loaded at 0x10000, started in real mode at 1000:0000 with
 * SS:SP 0:f000. Prints what it wrote to port 0xe9; exit status is what it wrote to port 0xf4.
 *     metal FILE [BLOCKS]
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "harness.h"

int main(int argc, char **argv)
{
    static struct harness h;
    if (argc < 2)
        return 2;
    FILE *f = fopen(argv[1], "rb");
    if (!f) {
        perror(argv[1]);
        return 2;
    }
    harness_init(&h, 64u << 20, "x86-64-v3");
    h.real_time = true;
    size_t n = fread(h.ram + 0x10000, 1, 0x80000, f);
    fclose(f);
    h.cpu->seg[GH_CS].selector = 0x1000;
    h.cpu->seg[GH_CS].base = 0x10000;
    h.cpu->rip = 0;
    h.cpu->gpr[GH_RSP] = 0xf000;
    soft_update_mode(h.cpu);
    struct timespec a, b;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
    harness_run(&h, argc > 2 ? strtoull(argv[2], NULL, 0) : 1ull << 30);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
    double s = (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) * 1e-9;
    fputs(h.text, stdout);
    printf("%zu bytes, %.1f million instructions, %.3f s, %.0f MIPS\n", n, (double)h.cpu->insn_count * 1e-6, s,
           (double)h.cpu->insn_count * 1e-6 / s);
    if (!h.exited) {
        printf("no exit: rip %#llx run state %d vector %d error %#x cr2 %#llx\n", (unsigned long long)h.cpu->rip,
               h.cpu->run_state, h.cpu->fault.vector, h.cpu->fault.error, (unsigned long long)h.cpu->cr2);
        return 3;
    }
    int value = (int)h.exit_value;
    harness_fini(&h);
    return value;
}
