/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "engine/backend/backend.h"

static const struct { const char *name, *summary; int (*run)(int argc, char **argv); } kinds[] = {
#define GH_BACKEND(name, summary) { #name, summary, gh_backend_##name##_main },
#include "engine/backend/kinds.def"
#undef GH_BACKEND
};

int main(int argc, char **argv)
{
    gh_log_init("gasthaus-backend");
    if (argc >= 2)
        for (unsigned i = 0; i < GH_ARRAY_LEN(kinds); i++)
            if (!strcmp(argv[1], kinds[i].name))
                return kinds[i].run(argc - 1, argv + 1);
    fprintf(stderr, "Usage: gasthaus-backend KIND [OPTION...]\n"
                    "Started by gasthaus-vm, not by hand. The kinds are:\n");
    for (unsigned i = 0; i < GH_ARRAY_LEN(kinds); i++)
        fprintf(stderr, "  %-8s %s\n", kinds[i].name, kinds[i].summary);
    return argc >= 2 && !strcmp(argv[1], "--help") ? 0 : 2;
}
