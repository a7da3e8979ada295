/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "devices/display/edid.h"

#include <string.h>

#include "base/bytes.h"

enum { DPI = 96, REFRESH = 60 };

static uint32_t clamp(uint32_t v, uint32_t low, uint32_t high) { return v < low ? low : v > high ? high : v; }

/* Reduced blanking as CVT has it: 160 dots and at least 460 us. */
static void detailed_timing(uint8_t *d, uint32_t width, uint32_t height)
{
    uint32_t h_blank = 160, h_front = 48, h_sync = 32, v_front = 3, v_sync = 5;
    uint32_t v_blank = clamp(height * 29 / 1000 + 1, 14, 200);
    uint64_t clock = (uint64_t)(width + h_blank) * (height + v_blank) * REFRESH / 10000;
    uint32_t mm_w = clamp(width * 254 / (DPI * 10), 1, 4095), mm_h = clamp(height * 254 / (DPI * 10), 1, 4095);

    gh_le16_put(d, (uint16_t)(clock > 0xffff ? 0xffff : clock));
    d[2] = (uint8_t)width;
    d[3] = (uint8_t)h_blank;
    d[4] = (uint8_t)((width >> 8) << 4 | h_blank >> 8);
    d[5] = (uint8_t)height;
    d[6] = (uint8_t)v_blank;
    d[7] = (uint8_t)((height >> 8) << 4 | v_blank >> 8);
    d[8] = (uint8_t)h_front;
    d[9] = (uint8_t)h_sync;
    d[10] = (uint8_t)(v_front << 4 | v_sync);
    d[12] = (uint8_t)mm_w;
    d[13] = (uint8_t)mm_h;
    d[14] = (uint8_t)((mm_w >> 8) << 4 | mm_h >> 8);
    d[17] = 0x1a;                                /* digital separate sync, positive horizontal */
}

static void standard_timing(uint8_t *p, uint32_t width, uint8_t aspect)
{
    p[0] = (uint8_t)(width / 8 - 31);
    p[1] = (uint8_t)(aspect << 6 | (REFRESH - 60));
}

static void text_descriptor(uint8_t *d, uint8_t tag, const char *text)
{
    size_t n = strlen(text);

    d[3] = tag;
    memset(d + 5, ' ', 13);
    memcpy(d + 5, text, n > 13 ? 13 : n);
    if (n < 13)
        d[5 + n] = '\n';
}

void gh_edid_build(uint8_t ret[GH_EDID_BYTES], uint32_t width, uint32_t height, const char *name)
{
    static const uint8_t header[8] = { 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00 };
    static const uint8_t srgb[10] = { 0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54 };
    static const struct { uint16_t width; uint8_t aspect; } standard[8] = { /* 0 16:10, 1 4:3, 2 5:4, 3 16:9 */
        { 1920, 3 }, { 1680, 0 }, { 1600, 3 }, { 1440, 0 }, { 1280, 2 }, { 1280, 0 }, { 1152, 1 }, { 1024, 1 },
    };

    width = clamp(width, 64, GH_EDID_MAX_SIZE);
    height = clamp(height, 64, GH_EDID_MAX_SIZE);
    memset(ret, 0, GH_EDID_BYTES);
    memcpy(ret, header, sizeof header);
    gh_be16_put(ret + 8, ('G' - '@') << 10 | ('H' - '@') << 5 | ('S' - '@'));
    gh_le16_put(ret + 10, 1);
    ret[16] = 1;                                 /* week */
    ret[17] = 2024 - 1990;
    ret[18] = 1;
    ret[19] = 4;
    ret[20] = 0xa5;                              /* digital, 8 bits a colour, DisplayPort */
    ret[21] = (uint8_t)clamp(width * 254 / (DPI * 100), 1, 255);
    ret[22] = (uint8_t)clamp(height * 254 / (DPI * 100), 1, 255);
    ret[23] = 120;                               /* gamma 2.2 */
    ret[24] = 0x06;                              /* sRGB, preferred timing is native */
    memcpy(ret + 25, srgb, sizeof srgb);
    ret[35] = 0x21;                              /* 640x480, 800x600 at 60 Hz */
    ret[36] = 0x08;                              /* 1024x768 at 60 Hz */
    for (unsigned i = 0; i < GH_ARRAY_LEN(standard); i++)
        standard_timing(ret + 38 + 2 * i, standard[i].width, standard[i].aspect);
    detailed_timing(ret + 54, width, height);
    text_descriptor(ret + 72, 0xfc, name);
    uint8_t *limits = ret + 90;                  /* range limits: 50-125 Hz, 30-160 kHz, any clock */
    limits[3] = 0xfd;
    limits[5] = 50;
    limits[6] = 125;
    limits[7] = 30;
    limits[8] = 160;
    limits[9] = 255;
    limits[10] = 0x01;
    ret[108 + 3] = 0x10;                         /* unused */
    uint8_t sum = 0;
    for (unsigned i = 0; i < GH_EDID_BYTES - 1; i++)
        sum += ret[i];
    ret[127] = (uint8_t)-sum;
}
