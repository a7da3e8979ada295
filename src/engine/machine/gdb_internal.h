/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the files of the debugger's server share: gdb.c packets, gdb_run.c stops and steps, gdb_regs.c registers, gdb_mem.c memory. */
#pragma once
#include "engine/machine/gdb.h"
#include "engine/machine/machine_internal.h"

enum { GDB_PACKET = 0x4000 };              /* bytes of a packet's body, as PacketSize says */

/* A reply under construction; what does not fit is dropped and `full` set. */
struct gdb_out { char *data; size_t used, size; bool full; };

struct gh_gdb {
    struct gh_loop *loop;
    struct gh_machine *machine;
    int listen_fd, fd;                     /* fd: the client, -1 without */
    struct gh_loop_source *listener, *client;
    char in[GDB_PACKET + 8];
    size_t in_used;
    char *pending;                         /* output that the socket did not take */
    size_t pending_used, pending_size;
    bool no_ack, running, ended, physical; /* physical: m and M take physical addresses */
    bool error_text;                       /* the client understands E.text */
    unsigned thread;                       /* of g, m and the like: vCPU index */
    char stop[96];                         /* the last stop reply */
    struct gh_debug debug;
    struct { bool valid; unsigned vcpu; uint8_t kind; uint64_t address; } hit; /* machine lock */
};

void gdb_put(struct gdb_out *o, const char *text);
void gdb_putf(struct gdb_out *o, const char *fmt, ...) GH_PRINTF(2, 3);
void gdb_put_hex(struct gdb_out *o, const void *bytes, size_t len);
void gdb_send(struct gh_gdb *g, const char *body, size_t len);
int  gdb_hex_digit(char c);                /* -1: none */
/* A number in hexadecimal; *p moves behind it. false: no digit. */
bool gdb_number(const char **p, uint64_t *ret);
/* Pairs of digits; how many bytes. */
size_t gdb_bytes(const char *p, uint8_t *ret, size_t max);

/* gdb_regs.c. false: no such register, or it cannot be read or written. */
const char *gdb_target_xml(void);
unsigned gdb_register_count(void);
bool gdb_state(struct gh_gdb *g, unsigned vcpu, unsigned groups, struct gh_cpu_state *ret);
bool gdb_read_register(const struct gh_cpu_state *s, unsigned number, struct gdb_out *o);
bool gdb_write_register(struct gh_gdb *g, unsigned vcpu, unsigned number, const uint8_t *value, size_t len);
/* Those of a g packet, in order. */
bool gdb_write_registers(struct gh_gdb *g, unsigned vcpu, const char *hex);
enum { GDB_GROUPS = GH_CPU_REGS | GH_CPU_SREGS | GH_CPU_DEBUG | GH_CPU_FPU | GH_CPU_MSRS };

/* gdb_mem.c. How many bytes could be read or written. */
size_t gdb_read_memory(struct gh_gdb *g, uint64_t address, uint8_t *ret, size_t len);
size_t gdb_write_memory(struct gh_gdb *g, uint64_t address, const uint8_t *data, size_t len);
/* false: not mapped. */
bool gdb_walk(struct gh_gdb *g, const struct gh_cpu_state *s, uint64_t linear, uint64_t *ret_gpa);

/* gdb_run.c */
void gdb_attach(struct gh_gdb *g);
void gdb_detach(struct gh_gdb *g);
void gdb_interrupt(struct gh_gdb *g);
void gdb_continue(struct gh_gdb *g, const char *actions); /* vCont's */
/* Z and z. 0, or a negative errno: -EOPNOTSUPP where the kind is not known. */
int  gdb_point(struct gh_gdb *g, bool add, unsigned type, uint64_t address, unsigned length, struct gh_error *err);
