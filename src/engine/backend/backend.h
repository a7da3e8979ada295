/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * gasthaus-backend KIND: the small sandboxed children of a machine. Each kind is one function
 * that gets its own arguments (argv[0] is the kind), runs until its machine goes away, and returns the
 * exit status. Descriptors are inherited and named by number.
 */
#pragma once

/* One line a kind in kinds.def: GH_BACKEND(name, "what it is"). */
#define GH_BACKEND(name, summary) int gh_backend_##name##_main(int argc, char **argv);
#include "engine/backend/kinds.def"
#undef GH_BACKEND
