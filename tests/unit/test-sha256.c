/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "../check.h"
#include "base/sha256.c" /* both ways of it, whatever this processor has */

#include <stdlib.h>

static void one(const char *data, size_t len, size_t step, const char *want)
{
    struct gh_sha256 s;
    uint8_t digest[GH_SHA256_BYTES];
    char text[GH_SHA256_TEXT];

    gh_sha256_begin(&s);
    for (size_t at = 0; at < len; at += step)
        gh_sha256_add(&s, data + at, step < len - at ? step : len - at);
    gh_sha256_end(&s, digest);
    gh_sha256_text(digest, text);
    CHECK_STR(text, want);
}

int main(void)
{
    static const char two[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    char *million = malloc(1000000);

    CHECK_FATAL(million);
    memset(million, 'a', 1000000);
    /* The examples of FIPS 180-2. */
    one("", 0, 1, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    one("abc", 3, 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    static const size_t steps[] = { 1, 3, 55, 56, 63, 64, 65, 128, 1000, 1000000 };
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        one(two, sizeof two - 1, steps[i], "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
        one(million, 1000000, steps[i], "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    }
    uint32_t fast[8] = { 1, 2, 3 }, plain[8] = { 1, 2, 3 };
    for (unsigned i = 0; i < 1000000; i++)
        million[i] = (char)(i * 2654435761u >> 24);
    blocks(fast, (uint8_t *)million, 1000000 / BLOCK);
    blocks_plain(plain, (uint8_t *)million, 1000000 / BLOCK);
    CHECK(!memcmp(fast, plain, sizeof fast));
    free(million);
    return check_result();
}
