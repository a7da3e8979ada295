/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Report lines are read by people: translated in the importing process, whose catalogue is opened before the sandbox closes. */
#pragma once
#include <libintl.h>

#define _(s) dgettext("gasthaus", s)
#define N_(s) s
