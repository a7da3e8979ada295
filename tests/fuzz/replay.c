/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Runs a fuzz target without libFuzzer: over the files that are named, and over inputs of a seeded
 * generator, so that every build compiles and exercises the targets. Arguments: [-n INPUTS] [FILE|FOLDER]...
 */
#include <dirent.h>
#include <stdio.h>

#include "fuzz.h"

static uint64_t random_state = 1;

static uint32_t roll(uint32_t below)
{
    random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(random_state >> 33) % below;
}

static int run_file(const char *path)
{
    static uint8_t data[1 << 20];
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        return 1;
    }
    size_t n = fread(data, 1, sizeof data, f);
    fclose(f);
    LLVMFuzzerTestOneInput(data, n);
    return 0;
}

/* A corpus; a file that is no folder is run itself. */
static int run_path(const char *path, unsigned *runs)
{
    DIR *folder = opendir(path);
    struct dirent *e;
    int bad = 0;
    if (!folder) {
        ++*runs;
        return run_file(path);
    }
    while ((e = readdir(folder))) {
        char name[4096];
        if (e->d_name[0] == '.')
            continue;
        snprintf(name, sizeof name, "%s/%s", path, e->d_name);
        bad |= run_file(name);
        ++*runs;
    }
    closedir(folder);
    return bad;
}

int main(int argc, char **argv)
{
    static uint8_t data[2048];
    unsigned inputs = 3000, runs = 0;
    int bad = 0;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "-n") && i + 1 < argc) {
            inputs = (unsigned)strtoul(argv[++i], NULL, 10);
            continue;
        }
        bad |= run_path(argv[i], &runs);
    }
    for (unsigned i = 0; i < inputs; i++, runs++) {
        size_t n = roll(sizeof data);
        for (size_t k = 0; k < n; k++)
            data[k] = (uint8_t)(roll(3) ? roll(256) : roll(16));
        LLVMFuzzerTestOneInput(data, n);
    }
    printf("%u inputs\n", runs);
    return bad || !runs;
}
