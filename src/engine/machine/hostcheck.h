/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What this computer can run machines on, what `auto` chooses and why, and the fix for what is missing. */
#pragma once
#include <stdbool.h>

void gh_hostcheck_print(bool json);
