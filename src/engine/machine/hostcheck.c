/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/machine/hostcheck.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/machine/accel_choice.h"

static void cpu_name(char *out, size_t size)
{
    char line[512];
    FILE *f = fopen("/proc/cpuinfo", "re");

    snprintf(out, size, "unknown");
    while (f && fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) || !colon)
            continue;
        snprintf(out, size, "%s", colon + 2);
        out[strcspn(out, "\n")] = 0;
        break;
    }
    if (f)
        fclose(f);
}

static json_t *probe_all(void)
{
    json_t *list = json_array();

    for (const struct gh_accel_class *const *a = gh_accel_all; *a; a++) {
        struct gh_accel_caps caps = { 0 };
        struct gh_error err = { 0 };
        int r = (*a)->probe ? (*a)->probe(-1, &caps, &err) : 0;
        json_array_append_new(list, json_pack("{s:s, s:s, s:b, s:s, s:s, s:f}", "name", (*a)->name, "summary", (*a)->summary,
                              "usable", r == 0, "error", r ? err.id : "", "detail", r ? err.text : caps.detail, "ring0-mips", caps.ring0_mips));
    }
    return list;
}

void gh_hostcheck_print(bool json)
{
    struct gh_accel_choice choice;
    struct gh_error err = { 0 };
    char cpu[256];

    cpu_name(cpu, sizeof cpu);
    int r = gh_accel_choose("auto", -1, &choice, &err);
    json_t *report = json_pack("{s:s, s:i, s:I, s:s, s:s, s:o}", "cpu", cpu, "cpus", (int)sysconf(_SC_NPROCESSORS_ONLN), "memory-bytes",
                               (json_int_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE), "chosen", r ? "" : choice.accel->name,
                               "why", r ? err.text : choice.why, "accelerators", probe_all());
    if (json) {
        json_dumpf(report, stdout, JSON_INDENT(2));
        putchar('\n');
    } else {
        size_t i;
        json_t *a;
        printf("Processor   %s, %ld CPUs\n", cpu, sysconf(_SC_NPROCESSORS_ONLN));
        printf("Chosen      %s\n            %s\n", json_string_value(json_object_get(report, "chosen")), json_string_value(json_object_get(report, "why")));
        json_array_foreach(json_object_get(report, "accelerators"), i, a)
            printf("%-11s %s: %s\n", json_string_value(json_object_get(a, "name")), json_is_true(json_object_get(a, "usable")) ? "usable" : "not usable",
                   json_string_value(json_object_get(a, "detail")));
    }
    json_decref(report);
    if (r == 0 && choice.fd >= 0)
        close(choice.fd);
}
