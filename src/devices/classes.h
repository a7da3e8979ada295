/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Declarations of all device classes; the list is classes.def. Constant data, any thread. */
#pragma once
#include "devices/device.h"

#define GH_CLASS(name) extern const struct gh_device_class gh_class_##name;
#include "devices/classes.def"
#undef GH_CLASS
