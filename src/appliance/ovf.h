/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Inside the OVF reader: what its parts share. Everything belongs to one gh_read_ovf call. */
#pragma once
#include <libxml/tree.h>

#include "appliance/package.h"

enum { GH_OVF_FILES_MAX = 64 };
struct gh_ovf_file { char id[128], href[1025], compression[24]; uint64_t chunk; };
struct gh_ovf_disk { char id[256], file[256], format[128]; uint64_t bytes, populated; bool child; };
struct gh_ovf {
    struct gh_package *p;
    struct gh_appliance *a;
    struct gh_ovf_file file[GH_OVF_FILES_MAX]; unsigned files;
    struct gh_ovf_disk disk[GH_OVF_FILES_MAX]; unsigned disks;
    bool hardware;
};
/* ovf_items.c: one VirtualHardwareSection. */
int gh_ovf_hardware(struct gh_ovf *o, xmlNodePtr section, struct gh_error *err);
/* Bytes of a CIM or oVirt unit. */
uint64_t gh_ovf_unit(const char *text, uint64_t fallback);
