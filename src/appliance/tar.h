/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * An OVA's tar archive (POSIX ustar, with the size and name extensions of pax and GNU), read strictly:
 * every member is a plain file with a simple name, once; nothing lies outside the file. Nothing is
 * extracted: members are ranges of the archive.
 *
 * Thread: any; pure but for reading fd. Errors: ApplianceDamaged, ApplianceMemberRefused, ApplianceTooLarge.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { GH_TAR_MEMBERS_MAX = 64, GH_TAR_BLOCK = 512 };
struct gh_tar_member { char name[256]; uint64_t at, bytes; };
struct gh_tar { struct gh_tar_member member[GH_TAR_MEMBERS_MAX]; unsigned count; };

bool gh_tar_probe(const uint8_t *head, size_t len);
int  gh_tar_read(int fd, const char *label, struct gh_tar *ret, struct gh_error *err);
const struct gh_tar_member *gh_tar_find(const struct gh_tar *tar, const char *name);
/* A header block of a plain file for writing; -ENAMETOOLONG above 99 bytes of name. */
int  gh_tar_header(uint8_t block[GH_TAR_BLOCK], const char *name, uint64_t bytes, int64_t mtime);
