#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files made to harm: 40 appliances, 30 references, 10 bombs, 200 truncated images. Each is refused with its message id,
within bounded memory and time, and nothing is written anywhere or read outside of its folder."""
import gzip
import io
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import samples as s  # noqa: E402
import checks  # noqa: E402
from checks import check  # noqa: E402

TOOL = sys.argv[1]
SANITIZED = b"__asan_init" in open(TOOL, "rb").read()
worst_kib, worst_s = 0, 0.0
TOP = tempfile.mkdtemp(prefix="gh-hostile-")
OUTSIDE = f"{TOP}/outside"
os.mkdir(OUTSIDE)
SECRET = f"{OUTSIDE}/secret.raw"
s.raw_disk(SECRET, mib=4, seed=99)


def tree(folder):
    return sorted((os.path.join(d, n), os.lstat(os.path.join(d, n)).st_size, os.lstat(os.path.join(d, n)).st_mtime_ns)
                  for d, _, names in os.walk(folder) for n in names)


STRACE = shutil.which("strace") if not SANITIZED else None


def run(*args, trace=None):
    """Exit status, what it printed, its peak memory, its time."""
    global worst_kib, worst_s
    start = time.time()
    # For a child's own peak: the maximum over all children only grows, so each runs below a shell of its own.
    code = "import resource,subprocess,sys; p=subprocess.run(sys.argv[1:]); " \
           "sys.stderr.write('\\nPEAK %d' % resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(p.returncode if p.returncode>=0 else 100-p.returncode)"
    command = [STRACE, "-f", "-qq", "-e", "trace=open,openat,creat,connect,socket,execve", "-o", trace] if trace and STRACE else []
    p = subprocess.run([sys.executable, "-c", code, *command, TOOL, "--json", *args], capture_output=True, text=True, timeout=180,
                       env=dict(os.environ, LC_ALL="C.UTF-8"))
    text, _, peak = p.stderr.rpartition("\nPEAK ")
    worst_kib = max(worst_kib, int(peak))
    worst_s = max(worst_s, time.time() - start)
    return p.returncode, p.stdout, text, int(peak)


def opens_outside(trace, allowed):
    bad = []
    for line in open(trace, errors="replace"):
        if '"' not in line or "ENOENT" in line or "EACCES" in line or "EPERM" in line:
            continue
        path = line.split('"')[1]
        after = line.rsplit("=", 1)[-1].strip()
        if "open" not in line or after.startswith("-1"):
            if "connect(" in line or "socket(" in line:
                bad.append(line.strip())
            continue
        if path.startswith(("/lib", "/usr/lib", "/usr/share/locale", "/etc/ld.so", "/usr/share/zoneinfo", "/proc/self", "/sys/", "/dev/null")) or "locale" in path:
            continue
        if path.startswith("/") and not path.startswith(allowed):
            bad.append(path)
    return bad


def refused(label, path, ids, verb="import", outside=None, memory_mib=200):
    folder = os.path.dirname(path)
    out = tempfile.mkdtemp(prefix="out-", dir=TOP)
    before, secret = tree(folder), tree(OUTSIDE)
    trace = f"{TOP}/trace"
    code, text, err, peak = run(verb, path, *([out] if verb == "import" else []), trace=trace)
    try:
        got = json.loads(text)["error"]["id"]
        sentence = json.loads(text)["error"]["text"]
    except (ValueError, KeyError, TypeError):
        got, sentence = None, text[:200]
    check(code == 1 and got in ids, f"{label}: status {code}, id {got} (wanted {ids}): {sentence} {err[-300:]}")
    check(os.listdir(out) == [], f"{label}: left {os.listdir(out)}")
    check(tree(folder) == before and tree(OUTSIDE) == secret, f"{label}: something was written")
    check(SANITIZED or peak < memory_mib << 10, f"{label}: {peak >> 10} MiB of memory")
    if STRACE:
        bad = opens_outside(trace, (folder, out, outside or folder))
        check(not bad, f"{label}: opened {bad[:3]}")
    shutil.rmtree(out)


def fresh(name):
    d = f"{TOP}/{name}"
    os.makedirs(d, exist_ok=True)
    return d


raw = s.raw_disk(f"{TOP}/good.raw", mib=4)
VMDK = s.read(s.stream_vmdk(raw, f"{TOP}/good.vmdk"))
OVF = s.ovf_virtualbox(capacity=4 << 20).encode()
NAME = "web-disk001.vmdk"


def tar_bytes(files, fmt=tarfile.USTAR_FORMAT):
    b = io.BytesIO()
    with tarfile.open(fileobj=b, mode="w", format=fmt) as t:
        for entry in files:
            info = tarfile.TarInfo(entry[0])
            data = entry[1] if len(entry) > 1 else b""
            info.size = len(data)
            for k, v in (entry[2] if len(entry) > 2 else {}).items():
                setattr(info, k, v)
            if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
                info.size = 0
            t.addfile(info, io.BytesIO(data) if info.size else None)
    return b.getvalue()


def patched(data, at, new):
    data = bytearray(data)
    data[at:at + len(new)] = new
    data[148:156] = b"        "
    data[148:156] = b"%06o\0 " % sum(data[:512])
    return bytes(data)


# ---- 40 appliances ---------------------------------------------------------------------------------------------------
MEMBER, DAMAGED, REF, TOO_LARGE, XML = ["ApplianceMemberRefused"], ["ApplianceDamaged"], ["DiskReferenceRefused"], ["ApplianceTooLarge"], ["XmlRefused"]
good = tar_bytes([("a.ovf", OVF), (NAME, VMDK)])


def variant(old, new, count=1):
    assert old.encode() in OVF, old
    return tar_bytes([("a.ovf", OVF.replace(old.encode(), new.encode(), count)), (NAME, VMDK)])


def with_mf(text):
    return tar_bytes([("a.ovf", OVF), ("a.mf", text.encode()), (NAME, VMDK)])


LINK = {"type": tarfile.SYMTYPE, "linkname": SECRET}
appliances = [
    ("a member above its folder", tar_bytes([("a.ovf", OVF), ("../evil", b"x"), (NAME, VMDK)]), MEMBER),
    ("an absolute member", tar_bytes([("a.ovf", OVF), ("/tmp/evil", b"x"), (NAME, VMDK)]), MEMBER),
    ("a member in a folder", tar_bytes([("a.ovf", OVF), ("x/../../evil", b"x"), (NAME, VMDK)]), MEMBER),
    ("a symbolic link as disk", tar_bytes([("a.ovf", OVF), (NAME, b"", LINK)]), MEMBER),
    ("a hard link", tar_bytes([("a.ovf", OVF), (NAME, b"", {"type": tarfile.LNKTYPE, "linkname": SECRET})]), MEMBER),
    ("a device", tar_bytes([("a.ovf", OVF), (NAME, b"", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 5})]), MEMBER),
    ("a block device", tar_bytes([("a.ovf", OVF), (NAME, b"", {"type": tarfile.BLKTYPE})]), MEMBER),
    ("a pipe", tar_bytes([("a.ovf", OVF), (NAME, b"", {"type": tarfile.FIFOTYPE})]), MEMBER),
    ("a folder", tar_bytes([("a.ovf", OVF), ("d", b"", {"type": tarfile.DIRTYPE}), (NAME, VMDK)]), MEMBER),
    ("a member twice", tar_bytes([("a.ovf", OVF), (NAME, VMDK), (NAME, VMDK)]), MEMBER),
    ("two descriptions", tar_bytes([("a.ovf", OVF), ("b.ovf", OVF), (NAME, VMDK)]), DAMAGED),
    ("no description", tar_bytes([(NAME, VMDK)]), DAMAGED),
    ("a control character in a name", tar_bytes([("a.ovf", OVF), ("ev\x1bil", b"x"), (NAME, VMDK)]), MEMBER),
    ("a backslash path", tar_bytes([("a.ovf", OVF), ("..\\evil", b"x"), (NAME, VMDK)]), MEMBER),
    ("a sparse member", tar_bytes([("a.ovf", OVF), (NAME, VMDK, {"type": b"S"})]), MEMBER + DAMAGED),
    ("100 members", tar_bytes([("a.ovf", OVF)] + [(f"m{i}", b"x") for i in range(100)]), TOO_LARGE),
    ("a member longer than the archive", patched(good, 124, b"77777777777\0"), DAMAGED),
    ("a size of 2^63", patched(good, 124, b"\x80" + bytes(3) + b"\x80" + bytes(7)), DAMAGED),
    ("a negative size", patched(good, 124, b"\xff" * 12), DAMAGED),
    ("a size that is no number", patched(good, 124, b"banana\0\0\0\0\0\0"), DAMAGED),
    ("a wrong header sum behind the first", good[:512 + (len(OVF) + 511) // 512 * 512] + b"\xff" + good[513 + (len(OVF) + 511) // 512 * 512:], DAMAGED),
    ("a pax path out of the folder", tar_bytes([("a.ovf", OVF), ("../" * 40 + "e" * 120, b"x"), (NAME, VMDK)], tarfile.PAX_FORMAT), MEMBER),
    ("a GNU long name out of the folder", tar_bytes([("a.ovf", OVF), ("../" * 40 + "e" * 120, b"x"), (NAME, VMDK)], tarfile.GNU_FORMAT), MEMBER),
    ("a wrong digest", with_mf(f"SHA256({NAME})= " + "0" * 64 + "\n"), ["ManifestMismatch"]),
    ("an unknown digest", with_mf(f"MD5({NAME})= " + "0" * 32 + "\n"), ["ManifestInvalid"]),
    ("a short digest", with_mf(f"SHA256({NAME})= 00\n"), ["ManifestInvalid"]),
    ("a manifest that is no text", with_mf("SHA1(x)= \0"), ["ManifestInvalid"]),
    ("a manifest of a million lines", with_mf("SHA1(x)= " + "0" * 40 + "\n" + "SHA1(y)= " + "0" * 40 + "\n" * 1 + ("SHA1(z)= " + "0" * 40 + "\n") * 5000), ["ManifestInvalid"]),
    ("an external entity", variant('<?xml version="1.0"?>', f'<?xml version="1.0"?><!DOCTYPE e [<!ENTITY x SYSTEM "file://{SECRET}">]>'), XML),
    ("a parameter entity", variant('<?xml version="1.0"?>', '<?xml version="1.0"?><!DOCTYPE e [<!ENTITY % x SYSTEM "http://127.0.0.1:1/"> %x;]>'), XML),
    ("an external document type", variant('<?xml version="1.0"?>', f'<?xml version="1.0"?><!DOCTYPE e SYSTEM "{SECRET}">'), XML),
    ("XML that breaks off", tar_bytes([("a.ovf", OVF[:len(OVF) // 2]), (NAME, VMDK)]), ["XmlInvalid"]),
    ("another root", variant("<Envelope ", "<Envelope2 ").replace(b"</Envelope>", b"</Envelope2>", 0), ["XmlInvalid", "ApplianceDamaged"]),
    ("no hardware", tar_bytes([("a.ovf", b'<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1"><VirtualSystem><Info/></VirtualSystem></Envelope>')]), DAMAGED),
    ("no machine", tar_bytes([("a.ovf", b"<Envelope/>")]), DAMAGED),
    ("a disk that is not listed", variant("/disk/vmdisk1", "/disk/other"), DAMAGED),
    ("a file listed twice", variant("<References>", f'<References><File ovf:id="f0" ovf:href="{NAME}"/>'), DAMAGED),
    ("a disk of 2^62 bytes", variant('ovf:capacity="4194304"', f'ovf:capacity="{1 << 62}"'), ["DiskTooLarge"]),
    ("an unknown compression", variant(f'ovf:href="{NAME}"', f'ovf:href="{NAME}" ovf:compression="lzma"'), ["ApplianceUnsupported"]),
    ("a disk that is damaged", tar_bytes([("a.ovf", OVF), (NAME, VMDK[:2000])]), ["DiskDamaged"]),
]
assert len(appliances) == 40
d = fresh("appliances")
for n, (label, data, ids) in enumerate(appliances):
    sub = fresh(f"appliances/{n:02}")
    with open(f"{sub}/a.ova", "wb") as f:
        f.write(data)
    refused(f"appliance: {label}", f"{sub}/a.ova", ids)
    shutil.rmtree(sub)

# ---- 30 references ---------------------------------------------------------------------------------------------------
REFUSED = ["DiskReferenceRefused", "DiskParentMissing"]
number = 0


def reference(label, name, text, ids=None, prepare=None, mode="w"):
    global number
    number += 1
    sub = fresh(f"references/{number:02}")
    if prepare:
        prepare(sub)
    with open(f"{sub}/{name}", mode) as f:
        f.write(text)
    refused(f"reference: {label}", f"{sub}/{name}", ids or ["DiskReferenceRefused"])


REL = os.path.relpath(SECRET, f"{TOP}/references/00")
for label, href in (("an absolute href", SECRET), ("an href above", REL), ("an href with a host", "http://169.254.169.254/latest/meta-data"),
                    ("an href by https", "https://example.org/a.vmdk"), ("an href with file:", f"file://{SECRET}"), ("an href in dots", "./../x/../" + REL)):
    reference(label, "a.ovf", s.ovf_virtualbox(href))


def ova_with(label, disk, ids=None, name=NAME):
    reference(label, "a.ova", tar_bytes([("a.ovf", s.ovf_virtualbox(name, capacity=4 << 20).encode()), (name, disk)]), ids, mode="wb")


def qcow2(backing=None, fmt="raw", data_file=None):
    path = f"{TOP}/ref.qcow2"
    s.run("qemu-img", "create", "-q", "-f", "qcow2", *(["-o", f"data_file={TOP}/ref.data"] if data_file else []), path, "4M")
    if backing:
        s.run("qemu-img", "rebase", "-u", "-F", fmt, "-b", backing, path)
    if data_file:
        s.run("qemu-img", "amend", "-f", "qcow2", "-o", f"data_file={data_file}", path) if False else None
    return s.read(path)


def flat_vmdk(extent, kind="FLAT"):
    return (f'# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\ncreateType="monolithicFlat"\nRW 8192 {kind} "{extent}" 0\n'
            'ddb.adapterType = "ide"\n')


ova_with("a qcow2 in an OVA with a backing file", qcow2(SECRET))
ova_with("a qcow2 with json:", qcow2('json:{"driver":"file","filename":"%s"}' % SECRET))
ova_with("a qcow2 with nbd:", qcow2("nbd:127.0.0.1:10809"))
ova_with("a qcow2 with an external data file", qcow2(data_file="x"), ["DiskReferenceRefused", "DiskUnsupported", "DiskFormatUnsupported"])
ova_with("a VMDK whose extent is elsewhere", flat_vmdk(SECRET).encode())
ova_with("a VMDK whose extent is above", flat_vmdk(REL).encode())
ova_with("a VMDK whose extent is a device", flat_vmdk("/dev/mem").encode())


def bare(label, name, text, ids=None, prepare=None):
    reference(label, name, text, ids, prepare, mode="wb" if isinstance(text, bytes) else "w")


bare("a bare VMDK with an extent outside", "d.vmdk", flat_vmdk(SECRET))
bare("a bare VMDK with an extent above", "d.vmdk", flat_vmdk(REL))
bare("a bare VMDK through a link", "d.vmdk", flat_vmdk("link-flat.vmdk"), prepare=lambda d: os.symlink(SECRET, f"{d}/link-flat.vmdk"))
bare("a bare VMDK through a linked folder", "d.vmdk", flat_vmdk("sub/secret.raw"), prepare=lambda d: os.symlink(OUTSIDE, f"{d}/sub"))
bare("a bare VMDK on /etc/shadow", "d.vmdk", flat_vmdk("/etc/shadow"))
bare("a bare VMDK on /proc", "d.vmdk", flat_vmdk("/proc/self/environ"))
bare("a bare qcow2 with a backing file outside", "d.qcow2", qcow2(SECRET))
bare("a bare qcow2 with a backing file above", "d.qcow2", qcow2(REL))
bare("a bare qcow2 with a backing file on /dev", "d.qcow2", qcow2("/dev/zero"))
bare("a bare qcow2 with a backing URL", "d.qcow2", qcow2("https://example.org/x.qcow2"))

VMX = 'config.version = "8"\nvirtualHW.version = "8"\ndisplayName = "x"\nmemsize = "64"\nide0:0.present = "TRUE"\nide0:0.fileName = "%s"\n'
reference("a .vmx with a disk outside", "a.vmx", VMX % SECRET)
reference("a .vmx with a disk above", "a.vmx", VMX % REL)
VBOX = ('<VirtualBox xmlns="http://www.virtualbox.org/"><Machine name="x" uuid="{0}"><MediaRegistry><HardDisks><HardDisk uuid="{11111111-0000-4000-8000-000000000001}" '
        'location="%s" format="VDI"/></HardDisks></MediaRegistry><Hardware><Memory RAMSize="64"/><StorageControllers><StorageController type="PIIX4">'
        '<AttachedDevice type="HardDisk"><Image uuid="{11111111-0000-4000-8000-000000000001}"/></AttachedDevice></StorageController></StorageControllers></Hardware></Machine></VirtualBox>')
reference("a .vbox with a disk outside", "a.vbox", VBOX % SECRET)
reference("a .vbox with a disk above", "a.vbox", VBOX % REL)
DOMAIN = "<domain type='kvm'><name>x</name><memory>65536</memory><devices><disk type='file' device='disk'><source file='%s'/><target dev='vda' bus='virtio'/></disk></devices></domain>"
reference("a libvirt machine with a disk outside", "a.xml", DOMAIN % SECRET)
reference("a Xen machine with a disk outside", "a.cfg", f"name = 'x'\nmemory = 64\ndisk = [ 'phy:{SECRET},hda,w' ]\n")
reference("a Quickemu machine with a disk above", "a.conf", f'guest_os="linux"\ndisk_img="{REL}"\n')
assert number == 30, number

# ---- 10 bombs ------------------------------------------------------------------------------------------------------------
number = 0


def bomb(label, name, data, ids, verb="import"):
    global number
    number += 1
    sub = fresh(f"bombs/{number:02}")
    with open(f"{sub}/{name}", "wb") as f:
        f.write(data)
    refused(f"bomb: {label}", f"{sub}/{name}", ids, verb)
    shutil.rmtree(sub)


laughs = '<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "' + "ha" * 50 + '">' + "".join(
    f'<!ENTITY {chr(98 + i)} "{("&" + chr(97 + i) + ";") * 10}">' for i in range(12)) + "]><Envelope>&m;</Envelope>"
bomb("a billion laughs", "a.ovf", laughs.encode(), XML)
bomb("100,000 elements in each other", "a.ovf", b"<Envelope>" + b"<x>" * 100000 + b"</x>" * 100000 + b"</Envelope>", XML)
bomb("a description of 64 MiB", "a.ova", tar_bytes([("a.ovf", b"<Envelope>" + b" " * (64 << 20) + b"</Envelope>")]), XML)
bomb("a gzip'ed disk of 8 GiB that claims 4 MiB", "a.ova", tar_bytes([("a.ovf", s.ovf_virtualbox("d.gz", capacity=4 << 20, compression="gzip").encode()),
     ("d.gz", gzip.compress(bytes(64 << 20)) * 128)]), TOO_LARGE)
header = bytearray(VMDK[:512])
header[12:20] = struct.pack("<Q", 1 << 54)
bomb("a VMDK of 2^63 bytes", "d.vmdk", bytes(header) + VMDK[512:], ["DiskDamaged", "DiskTooLarge", "OutOfMemory"])
q = bytearray(qcow2())
q[24:32] = struct.pack(">Q", 1 << 62)
bomb("a qcow2 of 2^62 bytes", "d.qcow2", bytes(q), ["DiskTooLarge", "DiskDamaged"])
q = bytearray(qcow2())
q[36:40] = struct.pack(">I", 0xffffffff)
bomb("a qcow2 with four billion tables", "d.qcow2", bytes(q), ["DiskDamaged", "DiskTooLarge", "OutOfMemory"])
# Every cluster of 16 TiB is the same compressed one: 16 TiB from a few MiB.
s.run("qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=2M", f"{TOP}/same.qcow2", "16T")
with open(f"{TOP}/same.qcow2", "r+b") as f:
    f.seek(0)
    h = f.read(72)
    l1, = struct.unpack(">Q", h[40:48])
    l1_size, = struct.unpack(">I", h[36:40])
    f.seek(0, 2)
    l2 = (f.tell() + (2 << 20) - 1) // (2 << 20) * (2 << 20)
    import zlib
    z = zlib.compressobj(9, zlib.DEFLATED, -12)
    packed = z.compress(b"A" * (2 << 20)) + z.flush()
    at = l2 + (2 << 20)
    entry = 1 << 62 | ((len(packed) + 511) // 512) << (62 - 13) | at
    f.seek(l2)
    f.write(struct.pack(">Q", entry) * (1 << 18))
    f.seek(at)
    f.write(packed + bytes(-len(packed) % 512 + 512))
    f.seek(l1)
    f.write(struct.pack(">Q", 1 << 63 | l2) * l1_size)
bomb("a qcow2 of one cluster 8 million times", "d.qcow2", s.read(f"{TOP}/same.qcow2"), ["NoSpace", "DiskDamaged"])
bomb("a manifest of 32 MiB", "a.ova", tar_bytes([("a.ovf", OVF), ("a.mf", b"#" * (32 << 20)), (NAME, VMDK)]), ["ManifestInvalid"])
bomb("10,000 drives", "a.ovf", s.ovf_virtualbox("d.vmdk").replace("</VirtualHardwareSection>", "<Item><x:ResourceType xmlns:x='u'>15</x:ResourceType></Item>" * 10000 +
     "</VirtualHardwareSection>").encode(), TOO_LARGE)
assert number == 10

# ---- 200 truncated images ---------------------------------------------------------------------------------------------------
r = random.Random(7)
formats = {"vmdk": [], "qcow2": [], "vdi": [], "vhd": [], "vhdx": []}
count = 0
sub = fresh("truncated")
for fmt in formats:
    s.run("qemu-img", "convert", "-f", "raw", "-O", {"vhd": "vpc"}.get(fmt, fmt), raw, f"{TOP}/whole.{fmt}")
    data = s.read(f"{TOP}/whole.{fmt}")
    for k in range(40):
        # Inside the structures, where something must be missed; 40 places each.
        n = r.randrange(1, min(len(data) - 1, 4096)) if k % 2 else r.randrange(600, max(601, min(len(data) - 1, 60000)))
        path = f"{sub}/t.{fmt}"
        with open(path, "wb") as f:
            f.write(data[:n])
        before = tree(sub)
        out = tempfile.mkdtemp(prefix="out-", dir=TOP)
        code, text, err, peak = run("import", path, out)
        count += 1
        try:
            ok = code == 1 and json.loads(text)["error"]["id"] and os.listdir(out) == []
        except (ValueError, KeyError, TypeError):
            ok = False
        check(ok and tree(sub) == before and (SANITIZED or peak < 200 << 10), f"{fmt} cut at {n}: status {code}: {text[:200]} {err[-200:]}")
        formats[fmt].append(code)
        shutil.rmtree(out)
        os.unlink(path)
check(count == 200, f"{count} truncated images")
for fmt, codes in formats.items():
    check(all(c == 1 for c in codes), f"{fmt}: {sum(1 for c in codes if c == 1)} of 40 cuts were refused")

shutil.rmtree(TOP)
checks.end(f"most memory {worst_kib >> 10} MiB, longest {worst_s:.1f} s{'' if STRACE else '; without strace'}",
           f"truncated refused: { {f: sum(1 for c in v if c == 1) for f, v in formats.items()} }")
