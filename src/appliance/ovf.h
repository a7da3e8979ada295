/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Inside the OVF reader: what its parts share. Everything belongs to one gh_read_ovf call. */
#pragma once
#include <libxml/tree.h>

#include "appliance/package.h"

enum { GH_OVF_FILES_MAX = 64 };
struct gh_ovf_file { char id[128], href[1025], compression[24]; uint64_t chunk, bytes; };
struct gh_ovf_disk { char id[256], file[256], format[128], interface[24]; uint64_t bytes, populated; bool child; };
struct gh_ovf {
    struct gh_package *p;
    struct gh_appliance *a;
    struct gh_ovf_file file[GH_OVF_FILES_MAX]; unsigned files;
    struct gh_ovf_disk disk[GH_OVF_FILES_MAX]; unsigned disks;
    char option[128];                     /* the deployment option that is taken; empty: there are none */
    bool hardware;
    bool ours;                            /* written by this program: says more than OVF can */
};
/* vbox.c: what a VirtualBox machine has and ours will not. */
void gh_vbox_note_lost(struct gh_appliance *a, xmlNodePtr hardware);
void gh_vbox_boot_order(struct gh_appliance *a, xmlNodePtr hardware);
/* ovf_items.c: one VirtualHardwareSection. */
int gh_ovf_hardware(struct gh_ovf *o, xmlNodePtr section, struct gh_error *err);
/* Bytes of a CIM or oVirt unit. */
uint64_t gh_ovf_unit(const char *text, uint64_t fallback);
