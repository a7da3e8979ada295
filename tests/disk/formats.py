#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what qemu-img made and lets qemu-img read what we made, for every format and variant.

formats.py GASTHAUS_IMAGE [--count N] [--seed S] [--only FORMAT]
Each round makes a disk of patterned data (sparse, fragmented), so that a misplaced cluster shows.
"""
import argparse, json, os, random, shutil, subprocess, sys, tempfile

ap = argparse.ArgumentParser()
ap.add_argument('tool')
ap.add_argument('--count', type=int, default=1)
ap.add_argument('--seed', type=int, default=1)
ap.add_argument('--only')
args = ap.parse_args()
if os.environ.get('GH_ALL'):
    args.count = max(args.count, 34)              # ./test --all: more than 2,000 images
if not shutil.which('qemu-img'):
    print('skipped: qemu-img is not installed')
    sys.exit(77)
rnd = random.Random(args.seed)
passed = failed = images = 0                     # images: disks that were read, or written, and compared; one a check


def run(*cmd, ok=True):
    p = subprocess.run(cmd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
    if ok and p.returncode:
        raise RuntimeError(f"{' '.join(cmd)}: {p.returncode}: {p.stdout[-500:]}")
    return p


def check(name, fn, image=True):
    global passed, failed, images
    try:
        fn()
        passed += 1
        images += image
    except Exception as e:
        failed += 1
        print(f'FAILED {name}: {e}')


def pattern(path, size):
    """Runs of marked sectors at random places, in random order of writing."""
    with open(path, 'wb') as f:
        f.truncate(size)
        for _ in range(rnd.randint(1, 60)):
            n = rnd.choice([1, 3, 8, 64, 128, 300, 2100]) * 512
            off = rnd.randrange(0, size // 512) * 512
            n = min(n, size - off)
            kind = rnd.random()
            if kind < 0.1:
                data = bytes(n)
            elif kind < 0.4:
                data = bytes([rnd.randrange(1, 256)]) * n
            else:
                data = rnd.randbytes(n)
            f.seek(off)
            f.write(data)


# our name, qemu's name, qemu-img -o options; size must be one the format can express exactly
READ = [
    ('raw', 'raw', ''), ('qcow2', 'qcow2', 'compat=0.10'), ('qcow2', 'qcow2', 'compat=1.1'),
    ('qcow2', 'qcow2', 'compat=1.1,cluster_size=512'), ('qcow2', 'qcow2', 'compat=1.1,cluster_size=2M'),
    ('qcow2', 'qcow2', 'extended_l2=on,cluster_size=128k'), ('qcow2', 'qcow2', 'refcount_bits=1'),
    ('qcow2', 'qcow2', 'refcount_bits=64,lazy_refcounts=on'), ('qcow2', 'qcow2', 'preallocation=metadata'),
    ('qcow2', 'qcow2', 'preallocation=falloc,cluster_size=4k'), ('qcow2', 'qcow2', 'preallocation=full'),
    ('qcow2', 'qcow2', 'compress:zlib'), ('qcow2', 'qcow2', 'compress:zstd'), ('qcow2', 'qcow2', 'compress:zlib,cluster_size=4k'),
    ('vdi', 'vdi', ''), ('vdi', 'vdi', 'static=on'),
    ('vmdk', 'vmdk', 'subformat=monolithicSparse'), ('vmdk', 'vmdk', 'subformat=monolithicFlat'),
    ('vmdk', 'vmdk', 'subformat=twoGbMaxExtentSparse'), ('vmdk', 'vmdk', 'subformat=twoGbMaxExtentFlat'),
    ('vmdk', 'vmdk', 'subformat=streamOptimized'), ('vmdk', 'vmdk', 'zeroed_grain=on'), ('vmdk', 'vmdk', 'compat6=on,adapter_type=lsilogic'),
    ('vhd', 'vpc', 'subformat=dynamic,force_size=on'), ('vhd', 'vpc', 'subformat=fixed,force_size=on'),
    ('vhdx', 'vhdx', 'subformat=dynamic'), ('vhdx', 'vhdx', 'subformat=fixed'), ('vhdx', 'vhdx', 'block_size=1M,log_size=2M'), ('vhdx', 'vhdx', 'block_state_zero=off'),
    ('qed', 'qed', ''), ('qed', 'qed', 'cluster_size=16k,table_size=2'), ('hdd', 'parallels', ''), ('hdd', 'parallels', 'cluster_size=64k'),
]
# Written to by qemu-io all over, so that the file's order is not the disk's; several files deep where QEMU can.
FRAGMENTED = [
    ('qcow2', 'qcow2', 'cluster_size=4k', 3), ('qcow2', 'qcow2', '', 4), ('qcow2', 'qcow2', 'compat=0.10', 3), ('qcow2', 'qcow2', 'extended_l2=on', 3),
    ('qcow2', 'qcow2', 'refcount_bits=1,cluster_size=512', 1), ('vdi', 'vdi', '', 1), ('vmdk', 'vmdk', '', 3), ('vmdk', 'vmdk', 'subformat=twoGbMaxExtentSparse', 2),
    ('vhd', 'vpc', 'force_size=on', 1), ('vhdx', 'vhdx', 'block_size=1M', 1), ('qed', 'qed', '', 3), ('hdd', 'parallels', 'cluster_size=64k', 1),
]
# our name, options of ours, qemu's name
WRITE = [
    ('raw', [], 'raw'), ('raw', ['--variant', 'fixed'], 'raw'), ('qcow2', [], 'qcow2'),
    ('qcow2', ['--cluster', '4096'], 'qcow2'), ('qcow2', ['--cluster', '512'], 'qcow2'),
    ('qcow2', ['--compression', 'zlib'], 'qcow2'), ('qcow2', ['--compression', 'zstd', '--cluster', '4096'], 'qcow2'),
    ('vdi', [], 'vdi'), ('vdi', ['--variant', 'fixed'], 'vdi'),
    ('vmdk', [], 'vmdk'), ('vmdk', ['--variant', 'monolithic-flat'], 'vmdk'),
    ('vmdk', ['--variant', 'split-sparse'], 'vmdk'), ('vmdk', ['--variant', 'split-flat'], 'vmdk'),
    ('vmdk', ['--variant', 'stream-optimized'], 'vmdk'),
    ('vhd', [], 'vpc'), ('vhd', ['--variant', 'fixed'], 'vpc'), ('vhdx', [], 'vhdx'),
]
formats = [line.split()[0] for line in run(args.tool, '--help').stdout.split('Formats:')[1].split('Options:')[0].splitlines() if line.strip()]
absent = {f[0] for f in READ + FRAGMENTED} - set(formats)
if absent:
    print(f'gasthaus-image does not know {absent}')
    sys.exit(1)


def round_of(folder, index):
    size = rnd.choice([1, 3, 7, 33, 70]) * 1048576 + rnd.choice([0, 0, 512, 65536])
    raw = f'{folder}/p.raw'
    pattern(raw, size)

    def read(ours, theirs, options):
        src = f'{folder}/r.{ours}'
        cmd = ['qemu-img', 'convert', '-f', 'raw', '-O', theirs]
        if options.startswith('compress:'):
            cmd += ['-c', '-o', 'compression_type=' + options[9:]]  # further options follow it
        elif options:
            cmd += ['-o', options]
        run(*cmd, raw, src)
        info = json.loads(run(args.tool, 'info', '--json', src).stdout)
        if info['format'] != ours:
            raise RuntimeError(f"probed as {info['format']}")
        run(args.tool, 'compare', raw, src)
        run(args.tool, 'check', src)
        run(args.tool, 'convert', src, f'{folder}/r.out', '--to', 'raw', '--force')
        run('cmp', '-n', str(size), raw, f'{folder}/r.out')

    def write(ours, options, theirs):
        dst = f'{folder}/w.{ours}'
        run(args.tool, 'convert', raw, dst, '--to', ours, *options, '--force')
        if theirs not in ('raw', 'vpc') and not (theirs == 'vmdk' and 'flat' in ' '.join(options)):
            run('qemu-img', 'check', '-f', theirs, dst)
        # VHD states its exact size apart from its geometry; qemu is told to trust it.
        spec = [f'--image-opts', f'driver=raw,file.driver=file,file.filename={raw}', f'driver={theirs},file.driver=file,file.filename={dst}' + (',force_size_calc=current_size' if theirs == 'vpc' else '')]
        run('qemu-img', 'compare', *spec)
        run(args.tool, 'check', dst)
        run(args.tool, 'compare', raw, dst)
        if 'stream-optimized' in options or theirs in ('raw',):
            return
        # Writing into an image that exists: qemu-io and we, in turns, same changes to the raw copy.
        if theirs in ('qcow2', 'vdi', 'vmdk', 'vhdx', 'vpc') and 'flat' not in ' '.join(options):
            shutil.copy(raw, f'{folder}/w.raw')
            off = rnd.randrange(0, size // 4096) * 4096
            n = min(200 * 1024, size - off)
            for image, fmt, extra in ((dst, theirs, 'force_size_calc=current_size' if theirs == 'vpc' else ''), (f'{folder}/w.raw', 'raw', '')):
                opts = f'driver={fmt},file.driver=file,file.filename={image}' + (',' + extra if extra else '')
                run('qemu-io', '--image-opts', '-c', f'write -P 77 {off} {n}', opts)
            run(args.tool, 'compare', f'{folder}/w.raw', dst)
            run(args.tool, 'check', dst)

    def fragmented(ours, theirs, options, deep):
        want, below = bytearray(size), None
        opts = 'force_size_calc=current_size,' if theirs == 'vpc' else ''
        for level in range(deep):
            name = f'f{level}.{ours}'
            cmd = ['qemu-img', 'create', '-q', '-f', theirs, *(['-o', options] if options else []), *(['-b', below, '-F', theirs] if below else []), f'{folder}/{name}', str(size)]
            run(*cmd)
            io = []
            for _ in range(rnd.randint(5, 60)):
                off = rnd.randrange(0, size // 512) * 512
                n = min(rnd.choice([512, 4096, 4608, 65536, 70144, 400 * 1024]), size - off)
                byte = rnd.randrange(1, 256)
                # Zeros over a chain of QED files QEMU itself reads back as something else.
                zero = rnd.random() < 0.25 and theirs not in ('parallels', 'vpc', 'qed')
                io += ['-c', f'write -z {off} {n}' if zero else f'write -P {byte} {off} {n}']
                want[off:off + n] = bytes(n) if zero else bytes([byte]) * n
                if theirs == 'qcow2' and rnd.random() < 0.05:
                    io += ['-c', f'discard {off // 65536 * 65536} 65536'] if not below and level == 0 and off // 65536 * 65536 + 65536 <= size else []
                    if io[-1].startswith('discard'):
                        want[off // 65536 * 65536:off // 65536 * 65536 + 65536] = bytes(65536)
            run('qemu-io', *io, '--image-opts', f'driver={theirs},{opts}file.driver=file,file.filename={folder}/{name}')
            if theirs == 'qcow2' and 'refcount_bits=1,' not in options and rnd.random() < 0.3:
                run('qemu-img', 'snapshot', '-c', 'kept', f'{folder}/{name}')
                run('qemu-io', '-f', 'qcow2', '-c', f'write -P 9 0 {min(100 * 1024, size)}', f'{folder}/{name}')
                want[0:min(100 * 1024, size)] = b'\x09' * min(100 * 1024, size)
            below = name
        with open(f'{folder}/f.raw', 'wb') as f:
            f.write(want)
        top = f'{folder}/{below}'
        run(args.tool, 'compare', f'{folder}/f.raw', top, '--from', 'raw', '--to', ours)
        hashes = [run(args.tool, 'hash', name, '--from', fmt).stdout.split()[0] for name, fmt in ((f'{folder}/f.raw', 'raw'), (top, ours))]
        if hashes[0] != hashes[1]:
            raise RuntimeError(f'hash {hashes}')
        run(args.tool, 'check', top, '--from', ours)
        run(args.tool, 'convert', top, f'{folder}/f.out', '--from', ours, '--to', 'raw', '--force')
        run('cmp', f'{folder}/f.raw', f'{folder}/f.out')

    for f in FRAGMENTED:
        if (not args.only or args.only == f[0]):
            check(f'fragmented {f} round {index} size {size}', lambda: fragmented(*f))
    for r in READ:
        if (not args.only or args.only == r[0]):
            check(f'read {r} round {index} size {size}', lambda: read(*r))
    for w in WRITE:
        if (not args.only or args.only == w[0]):
            check(f'write {w[:2]} round {index} size {size}', lambda: write(*w))

    def chain():
        run('qemu-img', 'create', '-f', 'qcow2', '-F', 'raw', '-b', 'p.raw', f'{folder}/c1.qcow2')
        off = rnd.randrange(0, size // 512) * 512
        n = min(rnd.choice([512, 70000 // 512 * 512, 262144]), size - off)
        run('qemu-io', '-f', 'qcow2', '-c', f'write -P 5 {off} {n}', f'{folder}/c1.qcow2')
        run(args.tool, 'create', f'{folder}/c2.qcow2', str(size), '--to', 'qcow2', '--parent', 'c1.qcow2', '--force')
        run('qemu-img', 'check', f'{folder}/c2.qcow2')
        run('qemu-io', '-f', 'qcow2', '-c', f'write -z {off // 2 // 512 * 512} {min(size // 3 // 512 * 512, 400000 // 512 * 512)}', f'{folder}/c2.qcow2')
        run(args.tool, 'convert', f'{folder}/c2.qcow2', f'{folder}/c.out', '--to', 'raw', '--force')
        run('qemu-img', 'compare', '-f', 'qcow2', '-F', 'raw', f'{folder}/c2.qcow2', f'{folder}/c.out')
        run(args.tool, 'rebase', f'{folder}/c2.qcow2', '--parent', 'p.raw')
        run('qemu-img', 'check', f'{folder}/c2.qcow2')
        run('qemu-img', 'compare', '-f', 'qcow2', '-F', 'raw', f'{folder}/c2.qcow2', f'{folder}/c.out')
        shutil.copy(raw, f'{folder}/keep.raw')
        run(args.tool, 'commit', f'{folder}/c2.qcow2')
        run('cmp', raw, f'{folder}/c.out')
        shutil.move(f'{folder}/keep.raw', raw)

    def sizes():
        img = f'{folder}/s.qcow2'
        run('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', raw, img)
        run(args.tool, 'resize', img, '+40G')
        run('qemu-img', 'check', img)
        if run(args.tool, 'resize', img, str(size), ok=False).returncode != 1:
            raise RuntimeError('shrinking without --shrink was accepted')
        run(args.tool, 'resize', img, str(size), '--shrink')
        run('qemu-img', 'check', img)
        run('qemu-img', 'compare', '-f', 'qcow2', '-F', 'raw', img, raw)
        run(args.tool, 'compact', img)
        run('qemu-img', 'check', img)
        run('qemu-img', 'compare', '-f', 'qcow2', '-F', 'raw', img, raw)
        if run(args.tool, 'convert', raw, img, '--to', 'qcow2', ok=False).returncode != 1:
            raise RuntimeError('an existing file was overwritten without --force')

    if not args.only or args.only == 'qcow2':
        check(f'chain round {index}', chain, image=False)
        check(f'sizes round {index}', sizes, image=False)


with tempfile.TemporaryDirectory(prefix='gh-formats-', dir=os.environ.get('TMPDIR', '/tmp')) as folder:
    for i in range(args.count):
        round_of(folder, i)
        for name in os.listdir(folder):
            os.unlink(f'{folder}/{name}')
print(f'{passed} passed, {failed} failed; {images} images')
enough = images >= 2000 or not os.environ.get('GH_ALL')
if not enough:
    print('FAILED: ./test --all promises 2,000')
sys.exit(1 if failed or not passed or not enough else 0)
