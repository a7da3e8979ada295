/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The kernels: each does `count` iterations of one thing a processor does; results go to a volatile, so that
 * the compiler keeps the work. */
#pragma once

struct kernel { const char *name, *unit; void (*run)(unsigned long count); };
extern const struct kernel kernels[];       /* ends with a NULL name */
extern volatile unsigned long sink;

void mkdir_or_die(const char *path);

/* compute.c */
void k_alu(unsigned long), k_sieve(unsigned long), k_chase(unsigned long), k_sha256(unsigned long), k_qsort(unsigned long),
     k_fib(unsigned long), k_icall(unsigned long), k_hash(unsigned long), k_token(unsigned long), k_strings(unsigned long);
/* vector.c */
void k_double(unsigned long), k_float(unsigned long), k_x87(unsigned long), k_movsb(unsigned long), k_stosq(unsigned long),
     k_memcpy(unsigned long);
/* system.c */
void k_smc(unsigned long), k_xadd(unsigned long), k_getppid(unsigned long), k_fault(unsigned long), k_pipe(unsigned long),
     k_fork(unsigned long), k_exec(unsigned long), k_out(unsigned long);
