/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The micro-kernels of bench/cpu: one static program, a process on the host or the first process of a guest.
 *
 * Reads lines from standard input and answers on standard output:
 *     list            one "KERNEL name unit" line for each, then "OK"
 *     run NAME COUNT  runs COUNT iterations, then "DONE name cpu-nanoseconds" (of itself and its children)
 *     facts           what the kernel says of the processor, then "OK"
 *     quit
 * Who measures is the other side: it reads the emulator's CPU time before it sends a line and after the answer.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "kernels.h"

static long long cpu_ns(void)
{
    struct timespec t;
    struct rusage children;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    getrusage(RUSAGE_CHILDREN, &children);
    return t.tv_sec * 1000000000ll + t.tv_nsec +
           (children.ru_utime.tv_sec + children.ru_stime.tv_sec) * 1000000000ll +
           (children.ru_utime.tv_usec + children.ru_stime.tv_usec) * 1000ll;
}

static void print_file(const char *label, const char *path)
{
    char line[256];
    FILE *f = fopen(path, "r");

    if (f && fgets(line, sizeof line, f))
        printf("FACT %s %s%s", label, line, strchr(line, '\n') ? "" : "\n");
    if (f)
        fclose(f);
}

static void facts(void)
{
    static const char folder[] = "/sys/devices/system/cpu/vulnerabilities";
    char path[512], line[4096];
    struct dirent **names;
    int n = scandir(folder, &names, NULL, alphasort);

    for (int i = 0; i < n; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]->d_name);
        if (names[i]->d_name[0] != '.')
            print_file(names[i]->d_name, path);
        free(names[i]);
    }
    if (n >= 0)
        free(names);
    FILE *f = fopen("/proc/cpuinfo", "r");
    while (f && fgets(line, sizeof line, f) && line[0] != '\n')
        if (!strncmp(line, "flags", 5) || !strncmp(line, "model name", 10))
            printf("FACT %s", line);
    if (f)
        fclose(f);
}

static void run(const char *name, unsigned long count)
{
    for (const struct kernel *k = kernels; k->name; k++) {
        if (strcmp(k->name, name))
            continue;
        long long before = cpu_ns();
        k->run(count);
        printf("DONE %s %lld\n", name, cpu_ns() - before);
        return;
    }
    printf("UNKNOWN %s\n", name);
}

static void first_process(void)
{
    struct termios t;

    mount("proc", "/proc", "proc", 0, "");
    mount("sys", "/sys", "sysfs", 0, "");
    if (tcgetattr(0, &t) == 0) {
        t.c_lflag &= ~(tcflag_t)(ECHO | ISIG);
        t.c_oflag &= ~(tcflag_t)OPOST;
        tcsetattr(0, TCSANOW, &t);
    }
}

int main(int argc, char **argv)
{
    char line[128], name[64];
    unsigned long count;

    if (argc > 1 && !strcmp(argv[1], "exit"))
        return 0;
    if (getpid() == 1) {
        mkdir_or_die("/proc");
        mkdir_or_die("/sys");
        first_process();
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("READY\n");
    while (fgets(line, sizeof line, stdin)) {
        if (!strncmp(line, "quit", 4))
            break;
        if (!strncmp(line, "list", 4)) {
            for (const struct kernel *k = kernels; k->name; k++)
                printf("KERNEL %s %s\n", k->name, k->unit);
            printf("OK\n");
        } else if (!strncmp(line, "facts", 5)) {
            facts();
            printf("OK\n");
        } else if (sscanf(line, "run %63s %lu", name, &count) == 2) {
            run(name, count);
        }
    }
    if (getpid() == 1)
        reboot(RB_POWER_OFF);
    return 0;
}
