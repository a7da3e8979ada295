/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Where a guest's screen stands in its widget: the one transform that both drawing and the pointer use. Pure.
 *
 * Units: the widget's logical pixels on one side, the guest's on the other. factor is monitor pixels per logical pixel.
 */
#pragma once
#include <stdbool.h>

struct gh_placement {
    double x, y;              /* upper left corner, on a whole monitor pixel */
    double scale;             /* logical pixels per guest pixel */
    int    width, height;     /* of the guest's screen */
};

/* 1:1 in monitor pixels where that fits, smaller where not; fill: also larger. false: nothing to place. */
bool gh_placement_make (struct gh_placement *ret, double own_width, double own_height, int width, int height, double factor, bool fill);
/* The guest's pixel under a point of the widget; the nearest one beside the screen. */
void gh_placement_to_guest (const struct gh_placement *p, double x, double y, int *ret_x, int *ret_y);
/* The whole monitor pixel, in logical pixels, at which a guest column or row begins: neighbours share their border, so no seam shows. */
double gh_placement_column (const struct gh_placement *p, int x, double factor);
double gh_placement_row (const struct gh_placement *p, int y, double factor);
