/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "devices/storage/mmc.h"

#include <errno.h>

enum {                                    /* operation codes, MMC-5 */
    TEST_UNIT_READY = 0x00, REQUEST_SENSE = 0x03, INQUIRY = 0x12, MODE_SELECT_6 = 0x15, MODE_SENSE_6 = 0x1a,
    START_STOP_UNIT = 0x1b, PREVENT_ALLOW = 0x1e, READ_FORMAT_CAPACITIES = 0x23, READ_CAPACITY = 0x25,
    READ_10 = 0x28, SEEK_10 = 0x2b, VERIFY_10 = 0x2f, SYNCHRONIZE_CACHE = 0x35, READ_SUBCHANNEL = 0x42,
    READ_TOC = 0x43, GET_CONFIGURATION = 0x46, GET_EVENT_STATUS = 0x4a, STOP_PLAY = 0x4e, READ_DISC_INFO = 0x51,
    READ_TRACK_INFO = 0x52, MODE_SELECT_10 = 0x55, MODE_SENSE_10 = 0x5a, READ_12 = 0xa8, READ_DVD_STRUCTURE = 0xad,
    SET_CD_SPEED = 0xbb, MECHANISM_STATUS = 0xbd, READ_CD = 0xbe,
};
enum { NOT_READY = 2, MEDIUM_ERROR = 3, ILLEGAL_REQUEST = 5, UNIT_ATTENTION = 6 };
enum { EVENT_NONE, EVENT_EJECT_REQUEST, EVENT_NEW_MEDIA, EVENT_REMOVAL };
enum { PROFILE_CD_ROM = 0x08, PROFILE_DVD_ROM = 0x10 };
#define CD_MAX_SECTORS 450000u            /* more than any CD holds: then it is a DVD */
#define SPEED_KB 7056u                    /* 40x */

const struct gh_field gh_mmc_fields[] = {
    GH_FIELD(GH_T_U8, struct gh_mmc, key, 1),
    GH_FIELD(GH_T_U8, struct gh_mmc, asc, 1),
    GH_FIELD(GH_T_U8, struct gh_mmc, ascq, 1),
    GH_FIELD(GH_T_U8, struct gh_mmc, attention, 1),
    GH_FIELD(GH_T_U8, struct gh_mmc, event, 1),
    GH_FIELD(GH_T_U8, struct gh_mmc, locked, 1),
    { 0 },
};

static enum gh_mmc_status check(struct gh_mmc *m, uint8_t key, uint8_t asc, uint8_t ascq)
{
    m->key = key;
    m->asc = asc;
    m->ascq = ascq;
    return GH_MMC_CHECK;
}
static enum gh_mmc_status bad_field(struct gh_mmc *m) { return check(m, ILLEGAL_REQUEST, 0x24, 0x00); }

static enum gh_mmc_status data(struct gh_mmc_answer *ret, size_t have, size_t allowed)
{
    ret->bytes = have < allowed ? have : allowed;
    return GH_MMC_GOOD;
}

static uint32_t sectors_of(const struct gh_mmc *m)
{
    struct gh_block_info info;
    m->block->ops->info(m->block, &info);
    uint64_t n = info.medium ? info.bytes / GH_MMC_SECTOR : 0;
    return n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
}

/* Notes a change of the medium since the last command. */
static bool look_at_medium(struct gh_mmc *m)
{
    struct gh_block_info info;
    m->block->ops->info(m->block, &info);
    if (info.medium_generation != m->generation) {
        m->generation = info.medium_generation;
        m->attention = info.medium;
        m->event = info.medium ? EVENT_NEW_MEDIA : EVENT_REMOVAL;
    }
    return info.medium;
}

static void put_be24(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 16);
    p[1] = (uint8_t)(v >> 8);
    p[2] = (uint8_t)v;
}

/* An address of READ TOC: a block number, or minute, second, frame. */
static void put_address(uint8_t *p, bool msf, uint32_t lba)
{
    if (!msf) {
        gh_be32_put(p, lba);
        return;
    }
    lba += 150;
    p[0] = 0;
    p[1] = (uint8_t)(lba / 75 / 60);
    p[2] = (uint8_t)(lba / 75 % 60);
    p[3] = (uint8_t)(lba % 75);
}

static enum gh_mmc_status inquiry(struct gh_mmc *m, const uint8_t *cdb, uint8_t *buf, struct gh_mmc_answer *ret)
{
    if (cdb[1] & 1)
        return bad_field(m);              /* no vital product data pages */
    memset(buf, 0, 36);
    buf[0] = 0x05;
    buf[1] = 0x80;
    buf[3] = 0x21;
    buf[4] = 31;
    memcpy(buf + 8, "GASTHAUSDVD-ROM         1.0 ", 28);
    return data(ret, 36, cdb[4]);
}

static enum gh_mmc_status request_sense(struct gh_mmc *m, const uint8_t *cdb, uint8_t *buf, struct gh_mmc_answer *ret)
{
    memset(buf, 0, 18);
    buf[0] = 0x70;
    buf[2] = m->key;
    buf[7] = 10;
    buf[12] = m->asc;
    buf[13] = m->ascq;
    m->key = m->asc = m->ascq = 0;
    return data(ret, 18, cdb[4]);
}

static size_t mode_page(struct gh_mmc *m, uint8_t page, bool changeable, uint8_t *p)
{
    switch (page) {
    case 0x01:                            /* error recovery */
        memset(p, 0, 8);
        p[0] = 0x01;
        p[1] = 6;
        if (!changeable)
            p[3] = 5;
        return 8;
    case 0x2a:                            /* capabilities and mechanical status */
        memset(p, 0, 20);
        p[0] = 0x2a;
        p[1] = 18;
        if (changeable)
            return 20;
        p[2] = 0x3b;
        p[4] = 0x70;
        p[6] = (uint8_t)(0x29 | (m->locked ? 2 : 0));
        gh_be16_put(p + 8, SPEED_KB);
        gh_be16_put(p + 12, 512);
        gh_be16_put(p + 14, SPEED_KB);
        return 20;
    default:
        return 0;
    }
}

static enum gh_mmc_status mode_sense(struct gh_mmc *m, const uint8_t *cdb, uint8_t *buf, struct gh_mmc_answer *ret)
{
    bool ten = cdb[0] == MODE_SENSE_10;
    size_t head = ten ? 8 : 4, n = head;
    uint8_t page = cdb[2] & 0x3f, control = cdb[2] >> 6;
    if (control == 3)
        return check(m, ILLEGAL_REQUEST, 0x39, 0x00);   /* nothing is saved */
    memset(buf, 0, head);
    if (page == 0x3f) {
        n += mode_page(m, 0x01, control == 1, buf + n);
        n += mode_page(m, 0x2a, control == 1, buf + n);
    } else {
        n += mode_page(m, page, control == 1, buf + n);
        if (n == head)
            return bad_field(m);
    }
    uint8_t medium = sectors_of(m) ? 0x01 : 0x70;
    if (ten) {
        gh_be16_put(buf, (uint16_t)(n - 2));
        buf[2] = medium;
    } else {
        buf[0] = (uint8_t)(n - 1);
        buf[1] = medium;
    }
    return data(ret, n, ten ? gh_be16_get(cdb + 7) : cdb[4]);
}

static bool tray_open(const struct gh_mmc *m)
{
    struct gh_block_info info = { 0 };
    m->block->ops->info(m->block, &info);
    return info.tray_open;
}

/* Not present, and whether that is because the tray is open. */
static enum gh_mmc_status no_medium(struct gh_mmc *m) { return check(m, NOT_READY, 0x3a, tray_open(m) ? 0x02 : 0x00); }

static enum gh_mmc_status start_stop(struct gh_mmc *m, const uint8_t *cdb)
{
    bool start = cdb[4] & 1, load_eject = cdb[4] & 2;
    if (cdb[4] >> 4 || !load_eject)
        return GH_MMC_GOOD;               /* power conditions and the motor: nothing to do */
    if (!start && m->locked)
        return check(m, ILLEGAL_REQUEST, 0x53, 0x02);
    int r = m->block->ops->eject ? m->block->ops->eject(m->block, start) : -ENOTSUP;
    return r == -EBUSY ? check(m, ILLEGAL_REQUEST, 0x53, 0x02) : GH_MMC_GOOD;
}

static enum gh_mmc_status prevent_allow(struct gh_mmc *m, const uint8_t *cdb)
{
    m->locked = cdb[4] & 1;
    if (m->block->ops->lock)
        m->block->ops->lock(m->block, m->locked);
    return GH_MMC_GOOD;
}

static enum gh_mmc_status read_toc(struct gh_mmc *m, const uint8_t *cdb, uint8_t *buf, struct gh_mmc_answer *ret)
{
    bool msf = cdb[1] & 2;
    uint8_t format = cdb[2] & 0x0f, track = cdb[6];
    uint32_t leadout = sectors_of(m);
    uint8_t *p = buf + 4;
    if (!format)
        format = cdb[9] >> 6;             /* the older place, SFF-8020i */
    buf[2] = buf[3] = 1;
    switch (format) {
    case 0:
        if (track > 1 && track != 0xaa)
            return bad_field(m);
        if (track <= 1) {
            memcpy(p, (const uint8_t[]){ 0, 0x14, 1, 0 }, 4);
            put_address(p + 4, msf, 0);
            p += 8;
        }
        memcpy(p, (const uint8_t[]){ 0, 0x14, 0xaa, 0 }, 4);
        put_address(p + 4, msf, leadout);
        p += 8;
        break;
    case 1:
        memcpy(p, (const uint8_t[]){ 0, 0x14, 1, 0 }, 4);
        put_address(p + 4, msf, 0);
        p += 8;
        break;
    case 2: {
        static const uint8_t points[] = { 0xa0, 0xa1, 0xa2, 0x01 };
        for (unsigned i = 0; i < sizeof points; i++, p += 11) {
            memset(p, 0, 11);
            p[0] = 1;
            p[1] = 0x14;
            p[3] = points[i];
            if (points[i] == 0xa0 || points[i] == 0xa1) {
                p[8] = 1;
            } else {
                uint8_t a[4];
                put_address(a, true, points[i] == 0xa2 ? leadout : 0);
                memcpy(p + 8, a + 1, 3);
            }
        }
        break;
    }
    default:
        return bad_field(m);
    }
    gh_be16_put(buf, (uint16_t)(p - buf - 2));
    return data(ret, (size_t)(p - buf), gh_be16_get(cdb + 7));
}

static enum gh_mmc_status get_configuration(struct gh_mmc *m, const uint8_t *cdb, uint8_t *buf, struct gh_mmc_answer *ret)
{
    static const struct { uint16_t code; uint8_t flags, len, body[8]; } features[] = {
        { 0x0000, 0x03, 8, { 0, PROFILE_DVD_ROM, 0, 0, 0, PROFILE_CD_ROM, 0, 0 } },
        { 0x0001, 0x0b, 8, { 0, 0, 0, 2, 1, 0, 0, 0 } },          /* core: ATAPI */
        { 0x0003, 0x03, 4, { 0x29, 0, 0, 0 } },                    /* removable: tray, eject, lock */
        { 0x0010, 0x00, 8, { 0, 0, 8, 0, 0, 1, 1, 0 } },           /* random readable */
        { 0x001e, 0x08, 4, { 0, 0, 0, 0 } },                       /* CD read */
        { 0x001f, 0x00, 4, { 0, 0, 0, 0 } },                       /* DVD read */
    };
    uint8_t rt = cdb[1] & 3;
    uint16_t first = gh_be16_get(cdb + 2);
    uint32_t sectors = sectors_of(m);
    uint16_t profile = !sectors ? 0 : sectors > CD_MAX_SECTORS ? PROFILE_DVD_ROM : PROFILE_CD_ROM;
    uint8_t *p = buf + 8;
    if (rt == 3)
        return bad_field(m);
    memset(buf, 0, 8);
    gh_be16_put(buf + 6, profile);
    for (unsigned i = 0; i < GH_ARRAY_LEN(features); i++) {
        uint16_t code = features[i].code;
        bool current = features[i].flags & 1 || (code == 0x10 && profile) ||
                       (code == 0x1e && profile == PROFILE_CD_ROM) || (code == 0x1f && profile == PROFILE_DVD_ROM);
        if (rt == 2 ? code != first : code < first || (rt == 1 && !current))
            continue;
        gh_be16_put(p, code);
        p[2] = (uint8_t)((features[i].flags & ~1) | current);
        p[3] = features[i].len;
        memcpy(p + 4, features[i].body, features[i].len);
        if (code == 0) {
            p[4 + 2] = profile == PROFILE_DVD_ROM;
            p[4 + 6] = profile == PROFILE_CD_ROM;
        }
        p += 4 + features[i].len;
    }
    gh_be32_put(buf, (uint32_t)(p - buf - 4));
    return data(ret, (size_t)(p - buf), gh_be16_get(cdb + 7));
}

static enum gh_mmc_status get_event_status(struct gh_mmc *m, const uint8_t *cdb, uint8_t *buf, struct gh_mmc_answer *ret)
{
    bool media = cdb[4] & 0x10;
    if (!(cdb[1] & 1))
        return bad_field(m);              /* asynchronous reporting is not offered */
    memset(buf, 0, 8);
    buf[3] = 0x10;
    buf[2] = media ? 4 : 0x80;
    gh_be16_put(buf, media ? 6 : 2);
    if (media) {
        buf[4] = m->event;
        buf[5] = (sectors_of(m) ? 2 : 0) | tray_open(m);
        m->event = EVENT_NONE;
    }
    return data(ret, media ? 8 : 4, gh_be16_get(cdb + 7));
}

static enum gh_mmc_status read_disc_info(const uint8_t *cdb, uint8_t *buf, struct gh_mmc_answer *ret)
{
    if (cdb[1] & 7)
        return data(ret, 0, 0);
    memset(buf, 0, 34);
    gh_be16_put(buf, 32);
    buf[2] = 0x0e;                        /* finished disc, finished session */
    buf[3] = buf[4] = buf[5] = buf[6] = 1;
    buf[7] = 0x20;
    memset(buf + 16, 0xff, 8);
    return data(ret, 34, gh_be16_get(cdb + 7));
}

static enum gh_mmc_status read_track_info(struct gh_mmc *m, const uint8_t *cdb, uint8_t *buf, struct gh_mmc_answer *ret)
{
    memset(buf, 0, 36);
    gh_be16_put(buf, 34);
    buf[2] = buf[3] = 1;
    buf[5] = 4;
    buf[6] = 1;
    gh_be32_put(buf + 24, sectors_of(m));
    return data(ret, 36, gh_be16_get(cdb + 7));
}

static enum gh_mmc_status read_dvd_structure(struct gh_mmc *m, const uint8_t *cdb, uint8_t *buf, struct gh_mmc_answer *ret)
{
    uint32_t sectors = sectors_of(m);
    if (sectors <= CD_MAX_SECTORS)
        return check(m, ILLEGAL_REQUEST, 0x30, 0x02);   /* incompatible medium */
    memset(buf, 0, 4 + 2048);
    switch (cdb[7]) {
    case 0:
        gh_be16_put(buf, 2048 + 2);
        buf[4] = 0x01;
        buf[5] = 0x0f;
        buf[6] = 0x01;
        put_be24(buf + 9, 0x30000);
        put_be24(buf + 13, 0x30000 + sectors - 1);
        return data(ret, 4 + 2048, gh_be16_get(cdb + 8));
    case 1:
        gh_be16_put(buf, 4 + 2);
        return data(ret, 8, gh_be16_get(cdb + 8));
    default:
        return bad_field(m);
    }
}

static enum gh_mmc_status read_data(struct gh_mmc *m, uint32_t lba, uint32_t count, struct gh_mmc_answer *ret)
{
    if (!gh_range_in(lba, count, sectors_of(m)))
        return check(m, ILLEGAL_REQUEST, 0x21, 0x00);
    ret->offset = (uint64_t)lba * GH_MMC_SECTOR;
    ret->bytes = (uint64_t)count * GH_MMC_SECTOR;
    return count ? GH_MMC_READ : GH_MMC_GOOD;
}

/* Commands that answer although there is news or no medium. */
static bool always_answers(uint8_t op)
{
    return op == INQUIRY || op == REQUEST_SENSE || op == GET_CONFIGURATION || op == GET_EVENT_STATUS;
}
static bool needs_medium(uint8_t op)
{
    switch (op) {
    case TEST_UNIT_READY: case READ_CAPACITY: case READ_10: case READ_12: case READ_CD: case SEEK_10: case READ_TOC:
    case READ_DISC_INFO: case READ_TRACK_INFO: case READ_DVD_STRUCTURE: case VERIFY_10: case READ_SUBCHANNEL:
        return true;
    default:
        return false;
    }
}

enum gh_mmc_status gh_mmc_command(struct gh_mmc *m, const uint8_t cdb[12], uint8_t *buf, struct gh_mmc_answer *ret)
{
    *ret = (struct gh_mmc_answer){ 0 };
    bool medium = look_at_medium(m);
    if (cdb[0] != REQUEST_SENSE)
        m->key = m->asc = m->ascq = 0;
    if (m->attention && !always_answers(cdb[0])) {
        m->attention = 0;
        return check(m, UNIT_ATTENTION, 0x28, 0x00);
    }
    if (!medium && needs_medium(cdb[0]))
        return no_medium(m);
    switch (cdb[0]) {
    case TEST_UNIT_READY: case SYNCHRONIZE_CACHE: case SET_CD_SPEED: case STOP_PLAY: return GH_MMC_GOOD;
    case REQUEST_SENSE: return request_sense(m, cdb, buf, ret);
    case INQUIRY: return inquiry(m, cdb, buf, ret);
    case MODE_SENSE_6: case MODE_SENSE_10: return mode_sense(m, cdb, buf, ret);
    case MODE_SELECT_6: ret->bytes = cdb[4]; return ret->bytes ? GH_MMC_PARAMETERS : GH_MMC_GOOD;
    case MODE_SELECT_10:
        ret->bytes = gh_be16_get(cdb + 7);
        return ret->bytes > GH_MMC_BUFFER ? bad_field(m) : ret->bytes ? GH_MMC_PARAMETERS : GH_MMC_GOOD;
    case START_STOP_UNIT: return start_stop(m, cdb);
    case PREVENT_ALLOW: return prevent_allow(m, cdb);
    case READ_FORMAT_CAPACITIES:
        memset(buf, 0, 12);
        buf[3] = 8;
        gh_be32_put(buf + 4, medium ? sectors_of(m) : CD_MAX_SECTORS);
        buf[8] = medium ? 2 : 3;
        put_be24(buf + 9, GH_MMC_SECTOR);
        return data(ret, 12, gh_be16_get(cdb + 7));
    case READ_CAPACITY: {
        uint32_t n = sectors_of(m);
        gh_be32_put(buf, n ? n - 1 : 0);
        gh_be32_put(buf + 4, GH_MMC_SECTOR);
        return data(ret, 8, 8);
    }
    case READ_10: return read_data(m, gh_be32_get(cdb + 2), gh_be16_get(cdb + 7), ret);
    case READ_12: return read_data(m, gh_be32_get(cdb + 2), gh_be32_get(cdb + 6), ret);
    case READ_CD: {
        uint32_t count = (uint32_t)cdb[6] << 16 | (uint32_t)cdb[7] << 8 | cdb[8];
        uint8_t type = cdb[1] >> 2 & 7;
        if (type != 0 && type != 2)       /* any, or mode 1 */
            return check(m, ILLEGAL_REQUEST, 0x64, 0x00);
        if (!(cdb[9] & 0xf8) || !count)
            return GH_MMC_GOOD;
        return (cdb[9] & 0xf8) == 0x10 ? read_data(m, gh_be32_get(cdb + 2), count, ret) : bad_field(m);
    }
    case SEEK_10: case VERIFY_10: {
        enum gh_mmc_status s = read_data(m, gh_be32_get(cdb + 2), cdb[0] == SEEK_10 ? 1 : gh_be16_get(cdb + 7), ret);
        ret->bytes = 0;
        return s == GH_MMC_READ ? GH_MMC_GOOD : s;
    }
    case READ_SUBCHANNEL:
        memset(buf, 0, 4);
        buf[1] = 0x15;                    /* no audio status */
        return data(ret, 4, gh_be16_get(cdb + 7));
    case READ_TOC: return read_toc(m, cdb, buf, ret);
    case GET_CONFIGURATION: return get_configuration(m, cdb, buf, ret);
    case GET_EVENT_STATUS: return get_event_status(m, cdb, buf, ret);
    case READ_DISC_INFO: return read_disc_info(cdb, buf, ret);
    case READ_TRACK_INFO: return read_track_info(m, cdb, buf, ret);
    case READ_DVD_STRUCTURE: return read_dvd_structure(m, cdb, buf, ret);
    case MECHANISM_STATUS:
        memset(buf, 0, 8);
        buf[1] = tray_open(m) ? 0x10 : 0;
        return data(ret, 8, gh_be16_get(cdb + 8));
    default:
        return check(m, ILLEGAL_REQUEST, 0x20, 0x00);
    }
}

enum gh_mmc_status gh_mmc_parameters(struct gh_mmc *m, const uint8_t cdb[12], const uint8_t *params, size_t len)
{
    /* MODE SELECT: nothing here can be changed to an effect; a list too short for its header is wrong. */
    size_t head = cdb[0] == MODE_SELECT_10 ? 8 : 4;
    return len < head ? check(m, ILLEGAL_REQUEST, 0x1a, 0x00) : GH_MMC_GOOD;
}

void gh_mmc_failed(struct gh_mmc *m, int result)
{
    if (result == -ENOMEDIUM)
        no_medium(m);
    else
        check(m, MEDIUM_ERROR, 0x11, 0x00);
}

void gh_mmc_reset(struct gh_mmc *m)
{
    struct gh_block_info info;
    m->block->ops->info(m->block, &info);
    m->generation = info.medium_generation;
    m->key = m->asc = m->ascq = m->attention = m->event = m->locked = 0;
    if (m->block->ops->lock)
        m->block->ops->lock(m->block, false);
}

void gh_mmc_medium_event(struct gh_mmc *m, bool eject_request)
{
    look_at_medium(m);
    if (eject_request)
        m->event = EVENT_EJECT_REQUEST;
}
