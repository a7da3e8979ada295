# SPDX-License-Identifier: GPL-3.0-or-later
"""A Debian guest that compiles C files when it is told to; the same tree serves natively, by chroot."""
import os
import random
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from benchlib import debian_tree, guest, initramfs, joined_initrd  # noqa: E402

PACKAGES = "gcc,libc6-dev,busybox-static"
MEMORY = 1024
IMAGE_MIB = 700

# Waits for "build JOBS", answers "DONE JOBS".
SERVE = r"""#!/bin/busybox sh
export PATH=/usr/bin:/bin LC_ALL=C
cd /bench
echo READY
while read word jobs; do
    [ "$word" = build ] || exit
    rm -f /tmp/*.o
    ls *.c | busybox xargs -P $jobs -n 1 /bench/one
    n=$(ls /tmp/*.o | busybox wc -l)
    [ $n = $(ls *.c | busybox wc -l) ] || echo "WRONG only $n objects"
    echo "DONE $jobs"
done
"""
ONE = "#!/bin/busybox sh\nexec gcc -O2 -c -o /tmp/${1%.c}.o $1\n"
# The guest's first process: the modules a virtio disk needs, the tree, and on.
INIT = r"""#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /mnt
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
for m in virtio_pci virtio_blk crc32c_generic ext4; do /bin/busybox modprobe $m; done
/bin/busybox mount -t ext4 -o ro /dev/vda /mnt || echo "WRONG no disk"
/bin/busybox mount -t tmpfs tmp /mnt/tmp
/bin/busybox mount -t proc proc /mnt/proc
/bin/busybox stty -echo -F /dev/console
exec /bin/busybox chroot /mnt /bench/serve < /dev/console > /dev/console 2>&1
"""


def source(number):
    """About 900 lines of plain C, always the same."""
    r = random.Random(number)
    names = [f"item{i}" for i in range(12)]
    out = ["#include <stdio.h>", "#include <stdlib.h>", "#include <string.h>", "#include <stdint.h>", "#include <math.h>", "",
           "struct node { struct node *next, *child; char name[32]; int64_t value; double weight; unsigned flags; };",
           "struct table { struct node **bucket; size_t buckets, used; uint64_t seed; };", ""]
    for i in range(30):
        out += [f"static uint32_t mix{i}(uint32_t a, uint32_t b)", "{"]
        for _ in range(8):
            out.append(f"    a = (a {r.choice('+-^|&*')} (b {r.choice(['<<', '>>'])} {r.randrange(1, 31)})) {r.choice('+^-')} {r.randrange(1 << 32)}u;")
        out += [f"    return a {r.choice('+^')} b;", "}", ""]
        out += [f"int walk{i}(struct table *t, const char *key, double scale)", "{",
                f"    uint32_t h = mix{i}((uint32_t)strlen(key), {r.randrange(1 << 30)}u);", "    int found = 0;",
                "    for (struct node *n = t->bucket[h % t->buckets]; n; n = n->next) {",
                "        if (strcmp(n->name, key) == 0) {", "            n->value += (int64_t)h;", f"            n->weight = n->weight * scale + {r.random():.6f};",
                "            found++;", "        } else if (n->child && n->child->flags & 1u << (h & 31)) {",
                "            n->child->value ^= n->value;", "        }", "    }", "    switch (h & 15) {"]
        for c in range(12):
            out += [f"    case {c}:", f"        t->seed = t->seed * {r.randrange(3, 1 << 31) | 1}u + {r.randrange(1 << 31)}u;",
                    f"        printf(\"{r.choice(names)} %d %llu\\n\", found, (unsigned long long)t->seed);", "        break;"]
        out += ["    default:", "        t->used += found;", "    }", "    return found;", "}", ""]
    out += ["int main_%d(int argc, char **argv)" % number, "{", "    struct table t = { calloc(64, sizeof(struct node *)), 64, 0, 1 };", "    int n = 0;"]
    out += [f"    n += walk{i}(&t, argv[argc > {i} ? {i} : 0], sqrt((double)argc));" for i in range(30)]
    return "\n".join(out + ["    free(t.bucket);", "    return n;", "}", ""])


def tree(files):
    """With that many files; its root, and disk.img of it."""
    sources = {f"bench/f{i}.c": source(i) for i in range(files)}
    return debian_tree("compile", PACKAGES, {**sources, "bench/serve": SERVE, "bench/one": ONE}, IMAGE_MIB)


def boot_files(temp):
    """Kernel, initial RAM disk, command line."""
    g = guest("linux")
    extra = initramfs(f"{temp}/extra", {"bench-init": (0o755, INIT.encode())})
    return f"{g}/vmlinuz", joined_initrd(f"{temp}/initrd", f"{g}/initrd.gz", extra), "console=ttyS0 quiet rdinit=/bench-init"
