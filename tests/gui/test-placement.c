/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The transform between a widget and a guest's screen, at the desktops' scales. */
#include <math.h>

#include "check.h"
#include "gui/display/gh-placement.h"

static const double factors[] = { 1, 1.25, 1.5, 1.75, 2 };

static bool whole(double logical, double factor) { return fabs(logical * factor - round(logical * factor)) < 1e-6; }

/* With room enough one guest pixel is one monitor pixel, on whole ones. */
static void test_sharp(void)
{
    for (unsigned i = 0; i < sizeof factors / sizeof factors[0]; i++) {
        double f = factors[i];
        struct gh_placement p;
        CHECK(gh_placement_make(&p, 1001, 703, 720, 400, f, false));
        CHECK(fabs(p.scale * f - 1) < 1e-9);
        CHECK(whole(p.x, f) && whole(p.y, f));
        for (int x = 0; x < 720; x += 131)
            CHECK(fabs((gh_placement_column(&p, x + 1, f) - gh_placement_column(&p, x, f)) * f - 1) < 1e-6);
    }
}

/* Every guest pixel's middle leads back to it, whatever the scale; so does a click. */
static void test_there_and_back(void)
{
    static const double sizes[][2] = { { 1001, 703 }, { 720, 400 }, { 311, 222 }, { 2560, 1440 } };

    for (unsigned i = 0; i < sizeof factors / sizeof factors[0]; i++)
        for (unsigned s = 0; s < 4; s++)
            for (int fill = 0; fill < 2; fill++) {
                struct gh_placement p;
                CHECK(gh_placement_make(&p, sizes[s][0], sizes[s][1], 720, 400, factors[i], fill));
                CHECK(p.x >= -1e-9 && p.y >= -1e-9);
                CHECK(p.x + 720 * p.scale <= sizes[s][0] + 1e-6 && p.y + 400 * p.scale <= sizes[s][1] + 1e-6);
                for (int x = 0; x < 720; x += 7)
                    for (int y = 0; y < 400; y += 13) {
                        int gx, gy;
                        gh_placement_to_guest(&p, p.x + (x + 0.5) * p.scale, p.y + (y + 0.5) * p.scale, &gx, &gy);
                        CHECK_EQ(gx, x);
                        CHECK_EQ(gy, y);
                    }
            }
}

/* Neighbours meet: no seam, no overlap, nothing off the monitor's pixels. */
static void test_no_seams(void)
{
    struct gh_placement p;

    CHECK(gh_placement_make(&p, 777, 555, 1920, 1080, 1.25, false));
    for (int x = 0; x <= 1920; x += 128)
        CHECK(whole(gh_placement_column(&p, x, 1.25), 1.25));
    for (int y = 0; y < 1080; y += 128)
        CHECK(gh_placement_row(&p, y + 128, 1.25) > gh_placement_row(&p, y, 1.25));
}

/* Beside the screen the nearest pixel counts; nothing to place is said. */
static void test_edges(void)
{
    struct gh_placement p;
    int x, y;

    CHECK(gh_placement_make(&p, 1000, 700, 720, 400, 1, false));
    gh_placement_to_guest(&p, -50, 699, &x, &y);
    CHECK_EQ(x, 0);
    CHECK_EQ(y, 399);
    gh_placement_to_guest(&p, 1e9, -1e9, &x, &y);
    CHECK_EQ(x, 719);
    CHECK_EQ(y, 0);
    CHECK(!gh_placement_make(&p, 1000, 700, 0, 0, 1, false));
    CHECK(!gh_placement_make(&p, 0, 700, 720, 400, 1, false));
    CHECK(!gh_placement_make(&p, 1000, 700, 720, 400, 0, true));
    CHECK(gh_placement_make(&p, 1440, 1000, 720, 400, 1, true) && fabs(p.scale - 2) < 1e-9);
}

int main(void)
{
    test_sharp();
    test_there_and_back();
    test_no_seams();
    test_edges();
    return check_result();
}
