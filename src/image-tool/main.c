/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * gasthaus-image: everything that can be done with a disk image, from a shell or for the daemon.
 * Exit status: 0 done, 1 failed or (compare, check) different or damaged, 2 wrong use.
 */
#include "image-tool/sandbox.h"
#include "disk/file.h"
#include "image-tool/tool.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <libintl.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct { const char *name; int (*run)(struct tool *); const char *args, *help; } commands[] = {
    { "create", tool_create, "FILE SIZE", "make an empty disk (SIZE: 20G, 512M, bytes)" },
    { "info", tool_info, "FILE", "show format, sizes, parent" },
    { "convert", tool_convert, "IN OUT", "copy into another format" },
    { "check", tool_check, "FILE", "look for damage; --repair mends it" },
    { "resize", tool_resize, "FILE SIZE", "change the size (+10G: grow by)" },
    { "compact", tool_compact, "FILE", "rewrite without unused space, verified before it replaces the old one" },
    { "compare", tool_compare, "A B", "compare what two images read as" },
    { "map", tool_map, "FILE", "list which parts hold data" },
    { "rebase", tool_rebase, "FILE", "put FILE on --parent P, or on nothing with --flatten; or --accept-parent" },
    { "commit", tool_commit, "FILE", "merge FILE into its parent" },
    { "hash", tool_hash, "FILE", "a number for what the image reads as, the same in every format" },
    { "inspect", tool_inspect, "FILE", "say what a machine of another program becomes here" },
    { "import", tool_import, "FILE FOLDER", "bring such a machine's disks into FOLDER; prints the machine" },
    { "survey", tool_survey, "", "look at many images; their paths come as JSON on standard input" },
    { "export", tool_export, "OUT", "write OUT.ova or OUT.ovf; the machine comes as JSON on standard input" },
};

static volatile sig_atomic_t stop;
static void on_signal(int sig) { stop = 1; }

bool tool_progress(void *opaque, uint64_t done, uint64_t total)
{
    struct tool *t = opaque;
    int percent = total ? (int)(done * 100 / total) : 100;
    if (t->progress && percent != t->last_percent) {
        if (t->json)
            fprintf(stderr, "{\"done\": %llu, \"total\": %llu}\n", (unsigned long long)done, (unsigned long long)total);
        else
            fprintf(stderr, "\r%3d %%%s", percent, percent == 100 ? "\n" : "");
    }
    t->last_percent = percent;
    return !stop;
}

/* Bytes of the character at s, if it is one. */
static size_t character(const char *s)
{
    for (size_t n = 1; n <= 4 && s[n - 1]; n++) {
        json_t *j = json_stringn(s, n);
        json_decref(j);
        if (j)
            return n;
    }
    return 0;
}

json_t *tool_text(const char *text)
{
    json_t *j = json_string(text);
    if (j)
        return j;
    char *whole = malloc(strlen(text) * 3 + 1), *p = whole;
    for (; whole && *text; p += 3) {
        size_t n = character(text);
        memcpy(p, n ? text : "\xef\xbf\xbd", n ? n : 3);
        p -= n ? 3 - n : 0;
        text += n ? n : 1;
    }
    j = whole ? json_stringn(whole, (size_t)(p - whole)) : NULL;
    free(whole);
    return j ? j : json_string("");
}

int tool_fail(struct tool *t, const struct gh_error *err)
{
    if (t->json) {
        json_t *j = json_pack("{s:{s:s, s:o, s:o}}", "error", "id", err->id, "text", tool_text(err->text), "message", tool_text(err->message));
        json_dumpf(j, stdout, 0);
        putchar('\n');
        json_decref(j);
    } else {
        fprintf(stderr, "gasthaus-image: %s [%s]\n", err->text, err->id);
    }
    return 1;
}

void tool_note(struct tool *t, const struct gh_error *note)
{
    if (t->json) {
        json_t *j = json_pack("{s:{s:s, s:o, s:o}}", "note", "id", note->id, "text", tool_text(note->text), "message", tool_text(note->message));
        json_dumpf(j, stderr, 0);
        fputc('\n', stderr);
        json_decref(j);
    } else {
        fprintf(stderr, "gasthaus-image: %s [%s]\n", note->text, note->id);
    }
}

static void usage(FILE *to)
{
    fprintf(to, "Usage: gasthaus-image COMMAND [OPTIONS] FILE...\n\nCommands:\n");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        fprintf(to, "  %-8s %-10s %s\n", commands[i].name, commands[i].args, commands[i].help);
    fprintf(to, "\nFormats:\n");
    for (const struct gh_image_format *f = gh_image_formats(); f->name; f++) {
        fprintf(to, "  %-6s %s%s", f->name, f->summary, f->variants ? " (" : "");
        for (const char *const *v = f->variants; v && *v; v++)
            fprintf(to, "%s%s", *v, v[1] ? ", " : ")");
        fprintf(to, "%s\n", f->can_write ? "" : " [read only]");
    }
    fprintf(to, "\nOptions:\n"
                "  -f, --from FORMAT    format of the (first) file; probed if not given\n"
                "  -t, --to FORMAT      format to make (create, convert)\n"
                "      --variant NAME   as listed above; the first is the default\n"
                "      --cluster SIZE   size of a cluster, block or grain\n"
                "      --compression X  zlib or zstd (qcow2)\n"
                "      --parent FILE    the new disk builds on FILE (create), or moves onto it (rebase)\n"
                "      --parent-format FORMAT\n"
                "      --flatten        rebase: needs no parent any more\n"
                "      --accept-parent  rebase: the parent was changed, and is right as it is now\n"
                "      --unsafe         rebase: only the reference changes, the content is the same\n"
                "      --repair         check: mend what can be mended\n"
                "      --verify         convert: compare the result before it takes its place\n"
                "      --plain          hash: SHA-256 of all bytes in a row, as of a raw image\n"
                "      --size SIZE      convert: the copy has another size\n"
                "      --shrink         resize, convert --size: allow a smaller size\n"
                "      --allow FOLDER   references may lead there too\n"
                "      --system N       inspect, import: which machine of an appliance that has several, from 0\n"
                "      --snapshot NAME  inspect, import: the machine as it was then (.vbox, .vmx)\n"
                "      --in-place       inspect, import: disks that can stay where they are stay\n"
                "      --ovf 1|2        export: version of the description\n"
                "      --force          overwrite existing files\n"
                "      --json           machine-readable output\n"
                "  -p, --progress       progress on standard error\n"
                "  -h, --help, --version\n");
}

/* Digits, with a unit also a fraction: nothing else that strtod would take. */
bool tool_size(const char *text, uint64_t *ret)
{
    static const char units[] = "KMGT";
    size_t whole = strspn(text, "0123456789"), point = text[whole] == '.', rest = point ? strspn(text + whole + 1, "0123456789") : 0;
    const char *end = text + whole + point + rest, *u = *end ? strchr(units, *end & ~0x20) : NULL;
    unsigned shift = u ? (unsigned)(u - units + 1) * 10 : 0;
    if (u)
        end++;
    if (u && *end == 'i')
        end++;
    if (*end == 'B' || *end == 'b')
        end++;
    if (!whole + !rest > 1 || (point && (!u || !rest)) || *end)
        return false;
    errno = 0;
    double v = strtod(text, NULL) * (double)(1ull << shift);
    *ret = shift ? 0 : strtoull(text, NULL, 10);
    if (errno || v > 1.8e19)
        return false;
    if (shift)
        *ret = (uint64_t)v;
    return true;
}

/* Nothing here needs to grow beyond its tables; a hostile image shall not take the host's memory. */
static void confine(void)
{
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#ifndef GH_SANITIZE
    struct rlimit memory = { 2ull << 30, 2ull << 30 };
    setrlimit(RLIMIT_AS, &memory);
#endif
    struct rlimit none = { 0, 0 };
    setrlimit(RLIMIT_CORE, &none);
}

/* The folder a file is in, or will be; a device is its own. A tree of VirtualBox's has its parents above "Snapshots". */
static const char *place_of(const char *file, bool above)
{
    static char places[5][PATH_MAX];           /* as many as enclose asks for */
    static unsigned used;
    char *path = places[used++];
    struct stat st;

    if (!realpath(file, path))
        snprintf(path, PATH_MAX, "%s", file);
    if (stat(path, &st) || !S_ISBLK(st.st_mode)) {
        char *slash = strrchr(path, '/');
        if (slash)
            slash[slash == path] = 0;
        else
            snprintf(path, PATH_MAX, ".");
        size_t n = strlen(path);
        if (above && n > 10 && !strcmp(path + n - 10, "/Snapshots"))
            path[n - 10] = 0;
    }
    return path;
}

/* Nothing is opened before: what a hostile image could do is bounded by what its user named. */
static int enclose(struct tool *t, const char *name, struct gh_error *err)
{
    static const char *const writers[] = { "create", "resize", "compact", "rebase", "commit", NULL };
    const char *readable[5] = { NULL }, *writable[5] = { NULL };
    bool writes = t->repair && !strcmp(name, "check");
    unsigned r = 0, w = 0;

    gh_file_lock_witness(t->arg[0]);
    if (t->arg[1] && (!strcmp(name, "convert") || !strcmp(name, "compare")))
        gh_file_lock_witness(t->arg[1]);
    for (unsigned i = 0; writers[i]; i++)
        writes |= !strcmp(writers[i], name);
    if (writes)
        writable[w++] = place_of(t->arg[0], true);
    else
        readable[r++] = place_of(t->arg[0], true);
    if (!strcmp(name, "convert"))
        writable[w++] = place_of(t->arg[1], false);
    else if (!strcmp(name, "compare"))
        readable[r++] = place_of(t->arg[1], true);
    if (t->parent) { /* relative to the image */
        char path[PATH_MAX];
        const char *slash = strrchr(t->arg[0], '/');
        int n = t->parent[0] == '/' || !slash ? 0 : (int)(slash + 1 - t->arg[0]);
        if (snprintf(path, sizeof path, "%.*s%s", n, t->arg[0], t->parent) < (int)sizeof path) {
            gh_file_lock_witness(path);
            readable[r++] = place_of(path, true);
        }
    }
    if (t->allow)
        (writes ? writable : readable)[writes ? w++ : r++] = t->allow;
    return tool_sandbox(readable, writable, err);
}

enum { O_VARIANT = 256, O_CLUSTER, O_COMPRESSION, O_PARENT, O_PARENT_FORMAT, O_FLATTEN, O_UNSAFE, O_REPAIR, O_SHRINK,
       O_ALLOW, O_FORCE, O_JSON, O_IN_PLACE, O_OVF, O_VERSION, O_PLAIN, O_VERIFY, O_SYSTEM, O_ACCEPT_PARENT, O_SNAPSHOT, O_SIZE };

int main(int argc, char **argv)
{
    static const struct option options[] = {
        { "from", 1, NULL, 'f' }, { "to", 1, NULL, 't' }, { "format", 1, NULL, 't' }, { "variant", 1, NULL, O_VARIANT },
        { "cluster", 1, NULL, O_CLUSTER }, { "compression", 1, NULL, O_COMPRESSION }, { "parent", 1, NULL, O_PARENT },
        { "parent-format", 1, NULL, O_PARENT_FORMAT }, { "flatten", 0, NULL, O_FLATTEN }, { "unsafe", 0, NULL, O_UNSAFE },
        { "repair", 0, NULL, O_REPAIR }, { "shrink", 0, NULL, O_SHRINK }, { "allow", 1, NULL, O_ALLOW },
        { "in-place", 0, NULL, O_IN_PLACE }, { "ovf", 1, NULL, O_OVF }, { "system", 1, NULL, O_SYSTEM }, { "force", 0, NULL, O_FORCE }, { "json", 0, NULL, O_JSON },
        { "progress", 0, NULL, 'p' }, { "help", 0, NULL, 'h' }, { "plain", 0, NULL, O_PLAIN }, { "verify", 0, NULL, O_VERIFY },
        { "version", 0, NULL, O_VERSION }, { "snapshot", 1, NULL, O_SNAPSHOT }, { "accept-parent", 0, NULL, O_ACCEPT_PARENT },
        { "size", 1, NULL, O_SIZE }, { 0 },
    };
    struct tool t = { .last_percent = -1 };
    int c;
    while ((c = getopt_long(argc, argv, "f:t:ph", options, NULL)) != -1)
        switch (c) {
        case 'f': t.from = optarg; break;
        case 't': t.to = optarg; break;
        case 'p': t.progress = true; break;
        case O_VARIANT: t.variant = optarg; break;
        case O_CLUSTER:
            if (!tool_size(optarg, &t.cluster)) {
                fprintf(stderr, "gasthaus-image: “%s” is not a size\n", optarg);
                return 2;
            }
            break;
        case O_COMPRESSION: t.compression = optarg; break;
        case O_PARENT: t.parent = optarg; break;
        case O_PARENT_FORMAT: t.parent_format = optarg; break;
        case O_FLATTEN: t.flatten = true; break;
        case O_ACCEPT_PARENT: t.accept_parent = true; break;
        case O_SIZE: t.size = optarg; break;
        case O_SNAPSHOT: t.snapshot = optarg; break;
        case O_UNSAFE: t.unsafe = true; break;
        case O_REPAIR: t.repair = true; break;
        case O_SHRINK: t.shrink = true; break;
        case O_ALLOW: t.allow = optarg; break;
        case O_FORCE: t.force = true; break;
        case O_IN_PLACE: t.in_place = true; break;
        case O_PLAIN: t.plain = true; break;
        case O_VERIFY: t.verify = true; break;
        case O_OVF: t.ovf = (unsigned)strtoul(optarg, NULL, 10); break;
        case O_SYSTEM: t.system = (unsigned)strtoul(optarg, NULL, 10); break;
        case O_JSON: t.json = true; break;
        case O_VERSION: puts("gasthaus-image " GH_VERSION); return 0;
        case 'h': usage(stdout); return 0;
        default: return 2;
        }
    if (optind >= argc) {
        usage(stderr);
        return 2;
    }
    /* Numbers keep the C locale: sizes are read from the command line. */
    setlocale(LC_CTYPE, "");
    setlocale(LC_MESSAGES, "");
    const char *catalogues = getenv("GASTHAUS_LOCALEDIR");
    bindtextdomain("gasthaus", catalogues ? catalogues : GH_LOCALEDIR);
    bind_textdomain_codeset("gasthaus", "UTF-8");
    (void)dgettext("gasthaus", "Kept:"); /* loads the catalogue before the sandbox closes */
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    signal(SIGXFSZ, SIG_IGN);
    confine();
    const char *name = argv[optind++];
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(name, commands[i].name))
            continue;
        unsigned want = strchr(commands[i].args, ' ') ? 2 : commands[i].args[0] != 0;
        if ((unsigned)(argc - optind) != want) {
            fprintf(stderr, "Usage: gasthaus-image %s [OPTIONS] %s\n", name, commands[i].args);
            return 2;
        }
        t.arg[0] = want ? argv[optind] : NULL;
        t.arg[1] = want == 2 ? argv[optind + 1] : NULL;
        struct gh_error err = { 0 };
        /* The commands for whole machines know better themselves what they need. */
        bool own = !want || !strcmp(name, "inspect") || !strcmp(name, "import") || !strcmp(name, "export");
        int r = !own && enclose(&t, name, &err) < 0 ? tool_fail(&t, &err) : commands[i].run(&t);
        if (fflush(stdout) || ferror(stdout)) {
            fprintf(stderr, "gasthaus-image: what was to be said could not be written: %s\n", strerror(errno));
            r = 1;
        }
        return r;
    }
    fprintf(stderr, "gasthaus-image: there is no command “%s”; --help lists them\n", name);
    return 2;
}
