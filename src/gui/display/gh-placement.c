/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "gui/display/gh-placement.h"

#include <math.h>

bool gh_placement_make (struct gh_placement *ret, double own_width, double own_height, int width, int height, double factor, bool fill)
{
    if (width < 1 || height < 1 || own_width <= 0 || own_height <= 0 || factor <= 0)
        return false;
    double scale = fmin (own_width / width, own_height / height);
    if (!fill)
        scale = fmin (scale, 1 / factor);
    *ret = (struct gh_placement){
        .x = floor ((own_width - width * scale) / 2 * factor) / factor,
        .y = floor ((own_height - height * scale) / 2 * factor) / factor,
        .scale = scale, .width = width, .height = height,
    };
    return true;
}

static int to_pixel (double at, double origin, double scale, int size)
{
    double pixel = floor ((at - origin) / scale);

    return pixel < 0 ? 0 : pixel >= size ? size - 1 : (int) pixel;
}

void gh_placement_to_guest (const struct gh_placement *p, double x, double y, int *ret_x, int *ret_y)
{
    *ret_x = to_pixel (x, p->x, p->scale, p->width);
    *ret_y = to_pixel (y, p->y, p->scale, p->height);
}

static double border (double origin, double scale, int at, double factor) { return round ((origin + at * scale) * factor) / factor; }

double gh_placement_column (const struct gh_placement *p, int x, double factor) { return border (p->x, p->scale, x, factor); }
double gh_placement_row (const struct gh_placement *p, int y, double factor) { return border (p->y, p->scale, y, factor); }
