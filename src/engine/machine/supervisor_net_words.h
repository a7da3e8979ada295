/* SPDX-License-Identifier: GPL-3.0-or-later */
/* supervisor_net_words.c: argument lists, ending with NULL. What finds no room is left out. Pure. */
#pragma once
#include "engine/machine/launch.h"
#include "engine/machine/supervisor_net.h"

enum { GH_WORDS = 112 };
struct gh_words { char *word[GH_WORDS]; unsigned count; char text[8192]; size_t used; };

/* gasthaus-backend net: frames on 3, control on 4. */
void gh_words_nat(struct gh_words *w, const struct gh_launch_net *cfg, const char *machine, const struct gh_resolv_state *state);
/* passt: frames on 3. */
void gh_words_passt(struct gh_words *w, const struct gh_launch_net *cfg);
