/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A machine's network cards and what they are connected to. */
#pragma once
#include <adwaita.h>

#include "gui/engine/gh-machine.h"

#define GH_TYPE_NETWORK_GROUP (gh_network_group_get_type ())
G_DECLARE_FINAL_TYPE (GhNetworkGroup, gh_network_group, GH, NETWORK_GROUP, AdwPreferencesGroup)

void gh_network_group_set_machine (GhNetworkGroup *self, GhMachine *machine); /* NULL: none */
