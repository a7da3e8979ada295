/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The file that is imported, with what lies beside it: opened once, recognised by content, its
 * description read whole. References lead to members of the archive, to plain files in the file's own
 * folder (or below), or in one folder the user granted; everything else is refused.
 */
#pragma once
#include <limits.h>

#include "appliance/appliance.h"
#include "appliance/tar.h"

enum gh_package_kind {
    GH_PACKAGE_OVA, GH_PACKAGE_OVF, GH_PACKAGE_VBOX, GH_PACKAGE_VMX, GH_PACKAGE_LIBVIRT, GH_PACKAGE_XEN, GH_PACKAGE_QUICKEMU,
    GH_PACKAGE_DISK,
};
struct gh_package {
    enum gh_package_kind kind;
    char     path[PATH_MAX], folder[PATH_MAX];  /* real */
    char     allow[PATH_MAX];                    /* granted folder, real; or empty */
    char     stem[256];                          /* base name without its ending */
    char     format[12];                         /* GH_PACKAGE_DISK */
    int      fd;
    uint64_t bytes;
    int64_t  seen_ns;                            /* when it was changed last, as it was opened */
    struct gh_tar tar;                           /* OVA */
    const struct gh_tar_member *description;     /* OVA */
    char    *text;                               /* the description, NUL-terminated; NULL: a disk */
    size_t   text_bytes;
};

/* Opens and recognises; allow may be NULL. Errors: ImportFormatUnknown, ImportIsCdImage, FileNotFound, ... */
int  gh_package_open(struct gh_package *p, const char *path, const char *allow, struct gh_error *err);
/* The same for a description in memory, for fuzzing: nothing is opened. text is copied. */
int  gh_package_from_text(struct gh_package *p, const char *name, const char *text, size_t bytes, struct gh_error *err);
void gh_package_close(struct gh_package *p);
const char *gh_package_kind_name(enum gh_package_kind kind);
/* The real path of a reference: 0; -ENOENT without a message when nothing is there; else DiskReferenceRefused. */
int  gh_package_resolve(const struct gh_package *p, const char *reference, char ret[PATH_MAX], struct gh_error *err);
/* A reference of an OVF: a simple name, or a relative path without "..". */
bool gh_package_name_is_plain(const char *reference);

/* Readers: from p->text into a. */
int  gh_read_ovf(struct gh_package *p, struct gh_appliance *a, struct gh_error *err);
int  gh_read_vbox(struct gh_package *p, struct gh_appliance *a, struct gh_error *err);
int  gh_read_vmx(struct gh_package *p, struct gh_appliance *a, struct gh_error *err);
int  gh_read_libvirt(struct gh_package *p, struct gh_appliance *a, struct gh_error *err);
int  gh_read_xen(struct gh_package *p, struct gh_appliance *a, struct gh_error *err);
int  gh_read_quickemu(struct gh_package *p, struct gh_appliance *a, struct gh_error *err);
/* disk.c: a bare image; looks at its first sectors. */
int  gh_read_bare_disk(struct gh_package *p, struct gh_appliance *a, struct gh_error *err);
/* By p->kind. */
int  gh_read_description(struct gh_package *p, struct gh_appliance *a, struct gh_error *err);

/* manifest.c: the checksums beside an OVF or in an OVA. 0: right, or there are none (*ret_found false). What they do not cover, and what
 * they name in vain, is noted in a (may be NULL). Errors: ManifestMismatch, ManifestInvalid. progress may be NULL; false from it cancels. */
int  gh_manifest_check(struct gh_package *p, struct gh_appliance *a, bool *ret_found, bool (*progress)(void *, uint64_t, uint64_t), void *opaque,
                       struct gh_error *err);
/* Is there one, and how many bytes would be read to check it? A signature beside it is noted in a. */
bool gh_manifest_find(struct gh_package *p, struct gh_appliance *a, uint64_t *ret_bytes);
