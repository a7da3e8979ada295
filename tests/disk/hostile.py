#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images that want to do harm: references out of the folder, truncation, flipped bytes, bombs, confused
formats; and images no tool here makes (DMG, a VHDX with a log). hostile.py GASTHAUS_IMAGE [--count N]"""
import time, base64, json, os, random, re, resource, shutil, struct, subprocess, sys, tempfile, zlib

tool = sys.argv[1]
count = int(sys.argv[sys.argv.index('--count') + 1]) if '--count' in sys.argv else 12
if os.environ.get('GH_ALL'):
    count = max(count, 60)                        # ./test --all
rnd = random.Random(5)
passed = failed = 0
have_qemu = bool(shutil.which('qemu-img'))


def run(*cmd, timeout=200, memory=None):
    memory = None if os.environ.get('GH_SANITIZED') else memory  # the sanitizer maps terabytes
    limit = (lambda: resource.setrlimit(resource.RLIMIT_AS, (memory, memory))) if memory else None
    return subprocess.run(cmd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout, preexec_fn=limit)


def check(name, ok, why=''):
    global passed, failed
    if ok:
        passed += 1
    else:
        failed += 1
        print(f'FAILED {name} {why}')


def error_id(*args):
    p = run(tool, *args, '--json')
    try:
        return json.loads(p.stdout)['error']['id'] if p.returncode == 1 else f'status {p.returncode}'
    except (ValueError, KeyError, TypeError):
        return f'status {p.returncode}: {p.stdout[:200]}'


def survives(name, *args):
    """Whatever the answer: no signal, no sanitizer report, no hang, bounded memory."""
    try:
        p = run(tool, *args, memory=3 << 30)
        check(name, p.returncode in (0, 1) and b'Sanitizer' not in p.stdout, f'{p.returncode} {p.stdout[-300:]}')
    except subprocess.TimeoutExpired:
        check(name, False, 'took more than 200 s')


def crc32c(data):
    c = 0xffffffff
    for b in data:
        c ^= b
        for _ in range(8):
            c = c >> 1 ^ 0x82f63b78 if c & 1 else c >> 1
    return c ^ 0xffffffff


def references(d):
    secret = f'{d}/secret'
    open(secret, 'wb').write(b'host secret' * 100)
    os.mkdir(f'{d}/in')
    os.symlink(secret, f'{d}/in/link')
    for name in ('/etc/passwd', '../secret', 'link', 'json:{"driver":"file","filename":"/etc/passwd"}', 'nbd://127.0.0.1/x',
                 'file:/etc/passwd', '/proc/self/fd/0', '', '/dev/zero', '../in/../secret', './../secret'):
        img = f'{d}/in/r.qcow2'
        shutil.rmtree(img, ignore_errors=True)
        run(tool, 'create', img, '1M', '--to', 'qcow2', '--force')
        data = bytearray(open(img, 'rb').read())
        raw = name.encode()
        data[400:400 + len(raw)] = raw
        struct.pack_into('>QI', data, 8, 400, len(raw) or 1)
        open(img, 'wb').write(data)
        got = error_id('convert', img, f'{d}/in/out', '--to', 'raw')
        check(f'reference {name!r}', got in ('DiskReferenceRefused', 'DiskParentMissing'), got)
        check('nothing was written', not os.path.exists(f'{d}/in/out'))
    for name in ('/etc/passwd', '../secret', 'link'):
        open(f'{d}/in/r.vmdk', 'w').write('# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType="monolithicFlat"\n'
                                          f'RW 1 FLAT "{name}" 0\n')
        got = error_id('convert', f'{d}/in/r.vmdk', f'{d}/in/out', '--to', 'raw')
        check(f'extent {name!r}', got == 'DiskReferenceRefused', got)
    run(tool, 'create', f'{d}/in/loop.qcow2', '1M', '--to', 'qcow2')
    data = bytearray(open(f'{d}/in/loop.qcow2', 'rb').read())
    data[400:410] = b'loop.qcow2'
    struct.pack_into('>QI', data, 8, 400, 10)
    open(f'{d}/in/loop.qcow2', 'wb').write(data)
    check('a loop', error_id('map', f'{d}/in/loop.qcow2') == 'DiskChainTooLong')


def confusion(d):
    """A raw disk whose guest wrote another format's head stays raw when it is recorded as raw."""
    run(tool, 'create', f'{d}/q', '64K', '--to', 'qcow2')
    data = open(f'{d}/q', 'rb').read()
    data += bytes(-len(data) % 512)
    open(f'{d}/raw.img', 'wb').write(data)
    run(tool, 'convert', f'{d}/raw.img', f'{d}/copy.img', '--from', 'raw', '--to', 'raw')
    check('raw stays raw', open(f'{d}/copy.img', 'rb').read() == data)


def samples(d):
    list_of = []
    open(f'{d}/p.raw', 'wb').write(rnd.randbytes(300000) + bytes(3 << 20))
    os.truncate(f'{d}/p.raw', 4 << 20)
    for fmt, extra in (('qcow2', []), ('vdi', []), ('vmdk', []), ('vmdk', ['--variant', 'stream-optimized']), ('vhd', []), ('vhdx', [])):
        name = f'{d}/s{len(list_of)}.{fmt}'
        run(tool, 'convert', f'{d}/p.raw', name, '--to', fmt, *extra)
        list_of.append((fmt, name))
    if have_qemu:
        for fmt, q, o in (('qed', 'qed', []), ('hdd', 'parallels', []), ('qcow2', 'qcow2', ['-c'])):
            name = f'{d}/s{len(list_of)}.{fmt}'
            run('qemu-img', 'convert', '-O', q, *o, f'{d}/p.raw', name)
            list_of.append((fmt, name))
    list_of.append(('dmg', make_dmg(d)))
    return list_of


def make_dmg(d):
    """Zeros, raw and zlib chunks; also the positive test of the format."""
    parts, table, at, sector = [], b'', 0, 0
    content = b''
    for kind in ('raw', 'zlib', 'zero', 'zlib', 'raw'):
        n = 64
        data = bytes(n * 512) if kind == 'zero' else rnd.randbytes(1000) * 40
        data = data[:n * 512].ljust(n * 512, b'\0')
        packed = zlib.compress(data) if kind == 'zlib' else data if kind == 'raw' else b''
        table += struct.pack('>IIQQQQ', {'raw': 1, 'zlib': 0x80000005, 'zero': 0}[kind], 0, sector, n, at, len(packed))
        parts.append(packed)
        at += len(packed)
        sector += n
        content += data
    table += struct.pack('>IIQQQQ', 0xffffffff, 0, sector, 0, at, 0)
    mish = struct.pack('>4sIQQQII', b'mish', 1, 0, sector, 0, 0, 0).ljust(200, b'\0') + struct.pack('>I', 6) + table
    xml = (b'<?xml version="1.0"?><plist><dict><key>resource-fork</key><dict><key>blkx</key><array><dict><key>Data</key><data>\n'
           + base64.b64encode(mish) + b'\n</data></dict></array></dict></dict></plist>')
    koly = bytearray(512)
    struct.pack_into('>4sII', koly, 0, b'koly', 4, 512)
    struct.pack_into('>QQ', koly, 0x18, 0, at)
    struct.pack_into('>QQ', koly, 0xd8, at, len(xml))
    struct.pack_into('>IQ', koly, 0x1e8, 1, sector)
    open(f'{d}/a.dmg', 'wb').write(b''.join(parts) + xml + koly)
    open(f'{d}/dmg.raw', 'wb').write(content)
    check('dmg reads right', run(tool, 'compare', f'{d}/a.dmg', f'{d}/dmg.raw').returncode == 0)
    if have_qemu:
        p = run('qemu-img', 'compare', '-f', 'dmg', '-F', 'raw', f'{d}/a.dmg', f'{d}/dmg.raw')
        check('qemu agrees on the dmg', p.returncode == 0, p.stdout)
    return f'{d}/a.dmg'


def vhdx_log(d):
    """A pending log entry that links a block: read-only it counts in memory, writable it is replayed."""
    run(tool, 'create', f'{d}/l.vhdx', '32M', '--to', 'vhdx')
    f = bytearray(open(f'{d}/l.vhdx', 'rb').read())
    end = len(f)
    guid = rnd.randbytes(16)
    page = bytearray(f[3 << 20:(3 << 20) + 4096])
    struct.pack_into('<Q', page, 0, end | 6)
    f += b'\x5a' * (8 << 20)
    seq = 7
    entry = bytearray(8192)
    struct.pack_into('<4sIIIQII', entry, 0, b'loge', 0, 8192, 0, seq, 1, 0)
    entry[32:48] = guid
    struct.pack_into('<QQ', entry, 48, len(f), len(f))
    struct.pack_into('<4s4s8sQQ', entry, 64, b'desc', bytes(page[4092:]), bytes(page[:8]), 3 << 20, seq)
    struct.pack_into('<4sI', entry, 4096, b'data', seq >> 32)
    entry[4104:8188] = page[8:4092]
    struct.pack_into('<I', entry, 8188, seq & 0xffffffff)
    struct.pack_into('<I', entry, 4, crc32c(entry))
    f[1 << 20:(1 << 20) + 8192] = entry
    for at in (65536, 131072):
        f[at + 48:at + 64] = guid
        struct.pack_into('<I', f, at + 4, 0)
        struct.pack_into('<I', f, at + 4, crc32c(f[at:at + 4096]))
    open(f'{d}/l.vhdx', 'wb').write(f)
    open(f'{d}/l.raw', 'wb').write(b'\x5a' * (8 << 20))
    os.truncate(f'{d}/l.raw', 32 << 20)
    before = open(f'{d}/l.vhdx', 'rb').read()
    p = run(tool, 'compare', f'{d}/l.vhdx', f'{d}/l.raw')
    check('the log counts when reading', p.returncode == 0, p.stdout)
    check('reading changes nothing', open(f'{d}/l.vhdx', 'rb').read() == before)
    p = run(tool, 'check', '--repair', f'{d}/l.vhdx')
    check('the log is replayed', p.returncode == 0 and open(f'{d}/l.vhdx', 'rb').read(65536 + 64)[-16:] == bytes(16), p.stdout)
    if have_qemu:
        p = run('qemu-img', 'compare', '-f', 'vhdx', '-F', 'raw', f'{d}/l.vhdx', f'{d}/l.raw')
        check('qemu reads the replayed image', p.returncode == 0, p.stdout)


def vhdx_log_bombs(d):
    """Logs that would be summed, or written, for hours: entries that overlap, and the same zeros over and over."""
    run(tool, 'create', f'{d}/b.vhdx', '32M', '--to', 'vhdx')
    plain = open(f'{d}/b.vhdx', 'rb').read()
    plain += bytes(-len(plain) % (1 << 20))
    guid = rnd.randbytes(16)

    def write(name, ring):
        f = bytearray(plain + ring)
        for at in (65536, 131072):
            f[at + 48:at + 64] = guid
            struct.pack_into('<IQ', f, at + 68, len(ring), len(plain))
            struct.pack_into('<I', f, at + 4, 0)
            struct.pack_into('<I', f, at + 4, crc32c(f[at:at + 4096]))
        open(f'{d}/{name}.vhdx', 'wb').write(f)
        began = time.monotonic()
        p = run(tool, 'map', f'{d}/{name}.vhdx')
        check(f'{name} ends', p.returncode in (0, 1) and time.monotonic() - began < 60, f'{p.returncode} {time.monotonic() - began} {p.stdout}')

    page = bytearray(4096)
    struct.pack_into('<4sIIIQII', page, 0, b'loge', 1, 64 << 20, 0, 7, 1, 0)
    page[32:48] = guid
    write('overlapping-log', bytes(page) * (64 << 8))
    count = 4000
    entry = bytearray(4096 * 32)
    struct.pack_into('<4sIIIQII', entry, 0, b'loge', 0, len(entry), 0, 7, count, 0)
    entry[32:48] = guid
    for i in range(count):
        struct.pack_into('<4sIQQQ', entry, 64 + i * 32, b'zero', 0, 256 << 20, 4 << 20, 7)
    struct.pack_into('<I', entry, 4, crc32c(entry))
    write('zeroing-log', bytes(entry).ljust(1 << 20, b'\0'))


def vdi_tree(d):
    """A VirtualBox tree: the child names its parent by UUID, from a folder Snapshots."""
    os.makedirs(f'{d}/vm/Snapshots')
    run(tool, 'convert', f'{d}/p.raw', f'{d}/vm/base.vdi', '--to', 'vdi')
    p = run(tool, 'create', f'{d}/vm/child.vdi', '4M', '--to', 'vdi', '--parent', 'base.vdi')
    check('a VDI child is made', p.returncode == 0, p.stdout)
    shutil.move(f'{d}/vm/child.vdi', f'{d}/vm/Snapshots/child.vdi')
    p = run(tool, 'compare', f'{d}/vm/Snapshots/child.vdi', f'{d}/p.raw')
    check('the VDI child finds its parent', p.returncode == 0, p.stdout)
    run(tool, 'resize', f'{d}/vm/base.vdi', '8M')
    got = error_id('compare', f'{d}/vm/Snapshots/child.vdi', f'{d}/p.raw')
    check('a changed parent is refused', got == 'DiskParentChanged', got)
    p = run(tool, 'compare', f'{d}/vm/Snapshots/child.vdi', f'{d}/p.raw')
    said = p.stdout.decode()
    check('by names and times', 'base.vdi' in said and 'child.vdi' in said and len(re.findall(r'\(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\)', said)) == 2, said)
    os.unlink(f'{d}/vm/base.vdi')
    got = error_id('compare', f'{d}/vm/Snapshots/child.vdi', f'{d}/p.raw')
    check('a missing parent is refused', got == 'DiskParentMissing', got)


def bombs(d):
    for fmt in ('qcow2', 'vdi', 'vhdx', 'vmdk', 'raw'):
        p = run(tool, 'create', f'{d}/big.{fmt}', '30T', '--to', fmt, '--force', *(['--cluster', '2M'] if fmt == 'qcow2' else []))
        if p.returncode == 0:
            q = run(tool, 'info', '--json', f'{d}/big.{fmt}', memory=1 << 30)
            check(f'30 TiB {fmt} opens', q.returncode == 0 and json.loads(q.stdout)['bytes'] == 30 << 40, q.stdout)
            os.unlink(f'{d}/big.{fmt}')
        else:
            check(f'30 TiB {fmt} is refused with a sentence', b'[Disk' in p.stdout, p.stdout)
    check('65 TiB', error_id('create', f'{d}/x', '65T') == 'DiskSizeInvalid')
    run(tool, 'create', f'{d}/l1.qcow2', '1M', '--to', 'qcow2')
    f = bytearray(open(f'{d}/l1.qcow2', 'rb').read())
    struct.pack_into('>Q', f, 24, 1 << 60)
    struct.pack_into('>I', f, 36, 0xffffffff)
    open(f'{d}/l1.qcow2', 'wb').write(f)
    check('a table of 32 GiB', error_id('info', f'{d}/l1.qcow2') in ('DiskTooLarge', 'DiskDamaged'))


def qed_beyond(d):
    """A disk of one sector more than its tables hold was read beyond their end (found by the fuzzer)."""
    cluster = 4096
    holds = (cluster // 8) ** 2 * cluster            # one cluster of L1 entries, tables of one cluster each
    for bytes_, want in ((holds + 512, 'DiskDamaged'), (holds + cluster * cluster // 8, 'DiskDamaged'), (holds, None)):
        head = struct.pack('<4sIIIQQQQQ', b'QED\0', cluster, 1, 1, 0, 0, 0, cluster, bytes_)
        open(f'{d}/beyond.qed', 'wb').write(head.ljust(cluster, b'\0') + bytes(cluster))
        for command in ('map', 'hash'):
            got = error_id(command, f'{d}/beyond.qed', '--from', 'qed')
            check(f'{command} of a qed of {bytes_} bytes', got == (want or 'status 0') or (not want and got.startswith('status 0')), got)


def mangled(d, list_of):
    for fmt, name in list_of:
        data = open(name, 'rb').read()
        m = f'{d}/m.{fmt}'
        for i in range(count):
            cut = rnd.choice([0, 1, 63, 511, 512, 513, 4096, 65535, 65536, len(data) // 2, len(data) - 1, rnd.randrange(len(data))])
            open(m, 'wb').write(data[:cut])
            survives(f'{fmt} cut at {cut}', 'convert', m, f'{d}/m.out', '--from', fmt, '--to', 'raw', '--force')
            f = bytearray(data)
            heads = [0, 512, 1536, 4096, 65536, 131072, 196608, 1 << 20, 2 << 20, (2 << 20) + 65536, 3 << 20, len(f) - 512, len(f) - 1024]
            for _ in range(rnd.randint(1, 4)):
                at = rnd.choice(heads) + rnd.choice([rnd.randrange(128), rnd.randrange(512)])
                if at + 8 < len(f):
                    f[at:at + rnd.choice([1, 4, 8])] = rnd.choice([b'\xff' * 8, bytes(8), rnd.randbytes(8)])[:rnd.choice([1, 4, 8])]
            open(m, 'wb').write(f[:len(data)])
            survives(f'{fmt} mangled {i}', 'convert', m, f'{d}/m.out', '--from', fmt, '--to', 'raw', '--force')
            survives(f'{fmt} mangled check {i}', 'check', '--repair', m, '--from', fmt)
            for left in ('m.out', 'm.out.part'):
                if os.path.exists(f'{d}/{left}'):
                    os.unlink(f'{d}/{left}')


with tempfile.TemporaryDirectory(prefix='gh-hostile-', dir=os.environ.get('TMPDIR', '/tmp')) as d:
    references(d)
    confusion(d)
    everything = samples(d)
    vhdx_log(d)
    vhdx_log_bombs(d)
    vdi_tree(d)
    bombs(d)
    qed_beyond(d)
    mangled(d, everything)
print(f'{passed} passed, {failed} failed')
sys.exit(1 if failed or not passed else 0)
