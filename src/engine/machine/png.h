/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Pictures of the screen as PNG files (W3C PNG, 8-bit RGB). Pure apart from writing to fd; any thread.
 * pixels are XRGB8888 in host order, stride_bytes a line.
 */
#pragma once
#include <stdint.h>

#include "base/error.h"

int gh_png_write(int fd, const uint32_t *pixels, uint32_t width, uint32_t height, uint32_t stride_bytes,
                 struct gh_error *err);
/* Shrinks by averaging so that the result fits into max_width x max_height, keeping the proportions; never
 * grows. Returns malloc'd pixels without padding, NULL: out of memory. */
uint32_t *gh_picture_shrink(const uint32_t *pixels, uint32_t width, uint32_t height, uint32_t stride_bytes,
                            uint32_t max_width, uint32_t max_height, uint32_t *ret_width, uint32_t *ret_height);
