# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines of other programs, made in the structure of real files: each function returns the path to import."""
import gzip
import hashlib
import io
import os
import random
import subprocess
import tarfile

GIB = 1 << 30


def run(*args):
    subprocess.run([str(a) for a in args], check=True, stdout=subprocess.DEVNULL)


def raw_disk(path, mib=8, seed=1, boot=True):
    """A little disk with an MBR, a Linux partition and scattered data."""
    r = random.Random(seed)
    data = bytearray(mib << 20)
    for _ in range(12):
        at = r.randrange(64, mib * 256) * 4096 % (len(data) - 65536)
        data[at:at + 40000] = r.randbytes(40000)
    data[0:446] = bytes(446)
    if boot:
        data[0:4] = b"\xfa\x31\xc0\xf4"
    data[446:462] = bytes([0x80, 1, 1, 0, 0x83, 254, 255, 255]) + (2048).to_bytes(4, "little") + ((mib << 11) - 2048).to_bytes(4, "little")
    data[462:510] = bytes(48)
    data[510:512] = b"\x55\xaa"
    data[2048 * 512 + 1080:2048 * 512 + 1082] = b"\x53\xef"
    with open(path, "wb") as f:
        f.write(data)
    return path


def content(image, path, fmt=None):
    """sha256 of what the image reads as, by qemu-img."""
    run("qemu-img", "convert", *(["-f", fmt] if fmt else []), "-O", "raw", path, path + ".as-raw")
    h = hashlib.sha256(open(path + ".as-raw", "rb").read()).hexdigest()
    os.unlink(path + ".as-raw")
    return h


def stream_vmdk(raw, path):
    run("qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", raw, path)
    return path


NS = {1: 'xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"',
      2: 'xmlns="http://schemas.dmtf.org/ovf/envelope/2" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/2"'}
CIM = ('xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData" '
       'xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData" '
       'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"')
STREAM = "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"


def item(tag="Item", prefix="rasd", **fields):
    return f"<{tag}>" + "".join(f"<{prefix}:{k}>{v}</{prefix}:{k}>" for k, v in sorted(fields.items())) + f"</{tag}>"


def ovf_virtualbox(disk="web-disk001.vmdk", name="web", version=1, capacity=8 << 20, extra_files="", compression="", firmware="BIOS",
                   memory="1024", sub="AHCI", size=None):
    storage, port = ("Item", "rasd"), ("Item", "rasd")
    if version == 2:
        storage, port = ("StorageItem", "sasd"), ("EthernetPortItem", "epasd")
    return f"""<?xml version="1.0"?>
<Envelope ovf:version="{version}.0" xml:lang="en-US" {NS[version]} {CIM} xmlns:vbox="http://www.virtualbox.org/ovf/machine"
 xmlns:sasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_StorageAllocationSettingData.xsd"
 xmlns:epasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_EthernetPortAllocationSettingData.xsd">
 <References><File ovf:id="file1" ovf:href="{disk}"{f' ovf:compression="{compression}"' if compression else ''}
  {f'ovf:size="{size}"' if size else ''}/>{extra_files}</References>
 <DiskSection><Info>Virtual disks</Info>
  <Disk ovf:capacity="{capacity}" ovf:diskId="vmdisk1" ovf:fileRef="file1" ovf:format="{STREAM}"
   vbox:uuid="7f1f6b39-8d6f-4d1c-9a6a-0a2f6d1f3c11"/></DiskSection>
 <NetworkSection><Info>Networks</Info><Network ovf:name="NAT"/></NetworkSection>
 <VirtualSystem ovf:id="{name}"><Info>A virtual machine</Info>
  <ProductSection><Info>Product</Info><Product>P</Product></ProductSection>
  <AnnotationSection><Info>Notes</Info><Annotation>Two lines
of notes</Annotation></AnnotationSection>
  <EulaSection><Info>Licence</Info><License>Be kind.</License></EulaSection>
  <OperatingSystemSection ovf:id="96"><Info>OS</Info><Description>Debian_64</Description>
   <vbox:OSType ovf:required="false">Debian12_64</vbox:OSType></OperatingSystemSection>
  <VirtualHardwareSection><Info>Hardware</Info>
   <System><vssd:ElementName>Virtual Hardware Family</vssd:ElementName><vssd:InstanceID>0</vssd:InstanceID>
    <vssd:VirtualSystemIdentifier>{name}</vssd:VirtualSystemIdentifier><vssd:VirtualSystemType>virtualbox-2.2</vssd:VirtualSystemType></System>
   {item(ElementName="2 virtual CPU", InstanceID=1, ResourceType=3, VirtualQuantity=2)}
   {item(AllocationUnits="MegaBytes", ElementName="memory", InstanceID=2, ResourceType=4, VirtualQuantity=memory)}
   {item(Address=0, ElementName="ideController0", InstanceID=3, ResourceSubType="PIIX4", ResourceType=5)}
   {item(Address=0, ElementName="sataController0", InstanceID=5, ResourceSubType=sub, ResourceType=20)}
   {item(*storage, AddressOnParent=0, ElementName="disk1", HostResource="/disk/vmdisk1", InstanceID=8, Parent=5, ResourceType=17)}
   {item(*storage, AddressOnParent=1, AutomaticAllocation="true", ElementName="cdrom1", InstanceID=9, Parent=3, ResourceType=15)}
   {item(*port, AutomaticAllocation="true", Connection="NAT", ElementName="Ethernet adapter on 'NAT'", InstanceID=10, ResourceSubType="E1000", ResourceType=10)}
   {item(ElementName="usb", InstanceID=6, ResourceType=23)}{item(ElementName="sound", InstanceID=7, ResourceSubType="ensoniq1371", ResourceType=35)}
  </VirtualHardwareSection>
  <vbox:Machine ovf:required="false" version="1.19-linux" uuid="{{0f6b9f0e-6a0c-4a83-8a7f-3a2f0f8f0c01}}" name="{name}" OSType="Debian12_64">
   <Hardware><CPU count="2"/><Memory RAMSize="1024"/><Firmware type="{firmware}"/><RTC localOrUTC="UTC"/></Hardware></vbox:Machine>
 </VirtualSystem></Envelope>"""


def ovf_vmware(disk="app-disk1.vmdk", name="App server", capacity=8, firmware="bios", extra=""):
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<Envelope vmw:buildId="build-3000241" {NS[1]} {CIM} xmlns:cim="http://schemas.dmtf.org/wbem/wscim/1/common" xmlns:vmw="http://www.vmware.com/schema/ovf">
 <References><File ovf:href="{disk}" ovf:id="file1"/></References>
 <DiskSection><Info>Virtual disk information</Info>
  <Disk ovf:capacity="{capacity}" ovf:capacityAllocationUnits="byte * 2^20" ovf:diskId="vmdisk1" ovf:fileRef="file1" ovf:format="{STREAM}" ovf:populatedSize="1048576"/></DiskSection>
 <NetworkSection><Info>Networks</Info><Network ovf:name="VM Network"><Description>The VM Network</Description></Network></NetworkSection>
 <VirtualSystem ovf:id="vm"><Info>A virtual machine</Info><Name>{name}</Name>
  <OperatingSystemSection ovf:id="94" vmw:osType="ubuntu64Guest"><Info>OS</Info></OperatingSystemSection>
  <VirtualHardwareSection ovf:transport="com.vmware.guestInfo"><Info>Virtual hardware requirements</Info>
   <System><vssd:ElementName>Virtual Hardware Family</vssd:ElementName><vssd:InstanceID>0</vssd:InstanceID>
    <vssd:VirtualSystemIdentifier>{name}</vssd:VirtualSystemIdentifier><vssd:VirtualSystemType>vmx-10</vssd:VirtualSystemType></System>
   {item(AllocationUnits="hertz * 10^6", Description="Number of Virtual CPUs", ElementName="4 virtual CPU(s)", InstanceID=1, ResourceType=3, VirtualQuantity=4)}
   {item(AllocationUnits="byte * 2^20", ElementName="2048MB of memory", InstanceID=2, ResourceType=4, VirtualQuantity=2048)}
   {item(Address=0, ElementName="SCSI Controller 0", InstanceID=3, ResourceSubType="VirtualSCSI", ResourceType=6)}
   {item(AddressOnParent=0, ElementName="Hard Disk 1", HostResource="ovf:/disk/vmdisk1", InstanceID=7, Parent=3, ResourceType=17)}
   {item(AddressOnParent=7, Connection="VM Network", ElementName="Ethernet 1", InstanceID=8, ResourceSubType="VmxNet3", ResourceType=10)}
   <vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="{firmware}"/>
   <vmw:ExtraConfig ovf:required="false" vmw:key="virtualHW.productCompatibility" vmw:value="hosted"/>{extra}
  </VirtualHardwareSection></VirtualSystem></Envelope>"""


def ovf_ovirt(disk="images/5b1f/0c9e", name="rhv guest"):
    return f"""<?xml version='1.0' encoding='utf-8'?>
<ovf:Envelope xmlns:rasd='http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData'
 xmlns:vssd='http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData' xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance'
 xmlns:ovf='http://schemas.dmtf.org/ovf/envelope/1/' ovf:version='0.9'>
 <References><File ovf:href='{disk}' ovf:id='0c9e' ovf:size='1048576' ovf:description='Generated'/></References>
 <Section xsi:type='ovf:NetworkSection_Type'><Info>List of networks</Info><Network ovf:name='Network 1'/></Section>
 <Section xsi:type='ovf:DiskSection_Type'><Info>List of Virtual Disks</Info>
  <Disk ovf:diskId='0c9e' ovf:size='1' ovf:fileRef='{disk}' ovf:parentRef='' ovf:vm_snapshot_id='x' ovf:volume-type='Sparse' ovf:volume-format='COW' ovf:disk-interface='VirtIO' ovf:boot='True'/></Section>
 <Content ovf:id='out' xsi:type='ovf:VirtualSystem_Type'><Name>{name}</Name><TemplateId>0</TemplateId><IsStateless>False</IsStateless>
  <Section ovf:id='s' ovf:required='false' xsi:type='ovf:OperatingSystemSection_Type'><Info>Guest Operating System</Info><Description>rhel_8x64</Description></Section>
  <Section xsi:type='ovf:VirtualHardwareSection_Type'><Info>2 CPU, 3072 Memory</Info>
   <Item><rasd:Caption>2 virtual cpu</rasd:Caption><rasd:InstanceId>1</rasd:InstanceId><rasd:ResourceType>3</rasd:ResourceType><rasd:num_of_sockets>2</rasd:num_of_sockets><rasd:cpu_per_socket>1</rasd:cpu_per_socket></Item>
   <Item><rasd:Caption>3072 MB of memory</rasd:Caption><rasd:InstanceId>2</rasd:InstanceId><rasd:ResourceType>4</rasd:ResourceType><rasd:AllocationUnits>MegaBytes</rasd:AllocationUnits><rasd:VirtualQuantity>3072</rasd:VirtualQuantity></Item>
   <Item><rasd:Caption>Drive 1</rasd:Caption><rasd:InstanceId>0c9e</rasd:InstanceId><rasd:ResourceType>17</rasd:ResourceType><rasd:HostResource>{disk}</rasd:HostResource><rasd:Parent>0</rasd:Parent></Item>
   <Item><rasd:Caption>Ethernet adapter on ovirtmgmt</rasd:Caption><rasd:InstanceId>3</rasd:InstanceId><rasd:ResourceType>10</rasd:ResourceType><rasd:ResourceSubType>3</rasd:ResourceSubType><rasd:Connection>ovirtmgmt</rasd:Connection><rasd:MACAddress>00:1a:4a:16:01:51</rasd:MACAddress></Item>
  </Section></Content></ovf:Envelope>"""


def digest(files, kind="SHA256", style="{k}({n})= {d}\n"):
    return "".join(style.format(k=kind, n=n, d=hashlib.new(kind.lower(), d).hexdigest()) for n, d in files)


def pack(path, files, fmt=tarfile.USTAR_FORMAT):
    with tarfile.open(path, "w", format=fmt) as t:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            t.addfile(info, io.BytesIO(data))
    return path


def read(path):
    with open(path, "rb") as f:
        return f.read()


def ova(folder, kind="virtualbox", version=1, sha="SHA256", name=None, packed=False, **how):
    raw = raw_disk(f"{folder}/source.raw", seed=how.pop("seed", 1))
    disk = {"virtualbox": "web-disk001.vmdk", "vmware": "app-disk1.vmdk"}[kind]
    vmdk = read(stream_vmdk(raw, f"{folder}/{disk}"))
    if packed:
        disk, vmdk = disk + ".gz", gzip.compress(vmdk)
        how["compression"] = "gzip"
    text = (ovf_virtualbox(disk, version=version, **how) if kind == "virtualbox" else ovf_vmware(disk, **how)).encode()
    base = name or kind
    files = [(f"{base}.ovf", text), (disk, vmdk)]
    if not sha:
        return pack(f"{folder}/{base}.ova", files), raw
    mf = digest(files, sha, "{k} ({n}) = {d}\n" if kind == "virtualbox" else "{k}({n})= {d}\n").encode()
    # VirtualBox puts the manifest last, VMware second.
    files.insert(1 if kind == "vmware" else 2, (f"{base}.mf", mf))
    return pack(f"{folder}/{base}.ova", files), raw


def ovirt(folder):
    raw = raw_disk(f"{folder}/source.raw", seed=3)
    os.makedirs(f"{folder}/export/images/5b1f")
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, f"{folder}/export/images/5b1f/0c9e")
    with open(f"{folder}/export/guest.ovf", "w") as f:
        f.write(ovf_ovirt())
    return f"{folder}/export/guest.ovf", raw


def vbox(folder, tool):
    """A machine with a snapshot: the current state lies in a differencing disk named by UUID alone."""
    top = f"{folder}/Win Machine"
    os.makedirs(f"{top}/Snapshots")
    base = raw_disk(f"{folder}/base.raw", seed=4)
    run(tool, "convert", base, f"{top}/Win Machine.vdi", "--to", "vdi")
    child = f"{top}/Snapshots/{{c1}}.vdi"
    run(tool, "create", child, "0", "--to", "vdi", "--parent", "../Win Machine.vdi", "--parent-format", "vdi", "--allow", top)
    import json
    info = [json.loads(subprocess.run([tool, "info", "--json", p], capture_output=True, text=True, check=True).stdout)["uuid"]
            for p in (f"{top}/Win Machine.vdi", child)]
    # What the guest wrote after the snapshot.
    raw = f"{folder}/now.raw"
    data = bytearray(read(base))
    data[3 << 20:(3 << 20) + 65536] = b"\x55" * 65536
    with open(raw, "wb") as f:
        f.write(data)
    os.rename(child, f"{top}/Snapshots/{{{info[1]}}}.vdi")
    child = f"{top}/Snapshots/{{{info[1]}}}.vdi"
    write_into(tool, child, "write -P 0x55 3M 64k", top)
    with open(f"{top}/Win Machine.vbox", "w") as f:
        f.write(f"""<?xml version="1.0"?>
<!-- ** DO NOT EDIT THIS FILE. -->
<VirtualBox xmlns="http://www.virtualbox.org/" version="1.19-linux">
 <Machine uuid="{{1d0c4a8e-0000-4000-8000-000000000001}}" name="Win Machine" OSType="Windows10_64" currentSnapshot="{{22222222-0000-4000-8000-000000000001}}" snapshotFolder="Snapshots">
  <Description>made for a test &amp; more</Description>
  <MediaRegistry><HardDisks>
   <HardDisk uuid="{{{info[0]}}}" location="Win Machine.vdi" format="VDI" type="Normal">
    <HardDisk uuid="{{{info[1]}}}" location="Snapshots/{{{info[1]}}}.vdi" format="VDI"/></HardDisk>
  </HardDisks><DVDImages><Image uuid="{{33333333-0000-4000-8000-000000000001}}" location="tools.iso"/></DVDImages></MediaRegistry>
  <Hardware><CPU count="3"><PAE enabled="false"/></CPU><Memory RAMSize="2048"/><Firmware type="EFI64"/>
   <Boot><Order position="1" device="DVD"/><Order position="2" device="HardDisk"/><Order position="3" device="None"/></Boot>
   <Display VRAMSize="128" accelerate3D="true"/><RTC localOrUTC="local"/>
   <Network><Adapter slot="0" enabled="true" MACAddress="080027A1B2C3" type="82540EM"><NAT><Forwarding name="ssh" proto="1" hostport="2222" guestport="22"/></NAT></Adapter>
    <Adapter slot="1" enabled="true" MACAddress="080027A1B2C4" type="virtio" cable="false"><InternalNetwork name="lab"/></Adapter>
    <Adapter slot="2" enabled="false" MACAddress="080027A1B2C5"/></Network>
   <AudioAdapter controller="HDA" enabled="true"/><SharedFolders><SharedFolder name="x" hostPath="/home"/></SharedFolders>
   <StorageControllers><StorageController name="SATA" type="AHCI" PortCount="2"><AttachedDevice type="HardDisk" port="0" device="0"><Image uuid="{{{info[1]}}}"/></AttachedDevice>
    <AttachedDevice passthrough="false" type="DVD" port="1" device="0"><Image uuid="{{33333333-0000-4000-8000-000000000001}}"/></AttachedDevice></StorageController></StorageControllers>
  </Hardware>
  <Snapshot uuid="{{22222222-0000-4000-8000-000000000001}}" name="Before the update" timeStamp="2024-01-01T00:00:00Z" stateFile="Snapshots/then.sav"><Hardware><CPU count="1"/><Memory RAMSize="1024"/>
   <StorageControllers><StorageController name="IDE" type="PIIX4"><AttachedDevice type="HardDisk" port="0" device="0"><Image uuid="{{{info[0]}}}"/></AttachedDevice></StorageController></StorageControllers></Hardware>
   <Snapshots><Snapshot uuid="{{22222222-0000-4000-8000-000000000002}}" name="Inner" timeStamp="2024-01-02T00:00:00Z"><Hardware/></Snapshot></Snapshots></Snapshot>
 </Machine></VirtualBox>""")
    return f"{top}/Win Machine.vbox", raw


def write_into(tool, image, command, allow):
    """Writes into an image by our own tool: what qemu-io writes into a child of it is merged into it."""
    patch = f"{allow}/patch.qcow2"
    run("qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=4096", patch, str(8 << 20))
    run("qemu-io", "-f", "qcow2", "-c", command, patch)
    run("qemu-img", "rebase", "-u", "-f", "qcow2", "-F", "vdi", "-b", os.path.relpath(image, allow), patch)
    run(tool, "commit", patch, "--allow", allow)
    os.unlink(patch)


def vmx(folder):
    """With a snapshot: the .vmx names the child, which names its parent; the parent is split into pieces."""
    top = f"{folder}/Old Linux.vmwarevm"
    os.makedirs(top)
    base = raw_disk(f"{folder}/base.raw", seed=5)
    run("qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=twoGbMaxExtentSparse", base, f"{top}/Old Linux.vmdk")
    run("qemu-img", "create", "-q", "-f", "vmdk", "-F", "vmdk", "-b", "Old Linux.vmdk", f"{top}/Old Linux-000001.vmdk")
    run("qemu-io", "-f", "vmdk", "-c", "write -P 0x77 4M 64k", f"{top}/Old Linux-000001.vmdk")
    raw = f"{folder}/now.raw"
    data = bytearray(read(base))
    data[4 << 20:(4 << 20) + 65536] = b"\x77" * 65536
    with open(raw, "wb") as f:
        f.write(data)
    with open(f"{top}/Old Linux.vmsd", "w") as f:
        f.write('.encoding = "UTF-8"\nsnapshot.lastUID = "1"\nsnapshot.numSnapshots = "1"\nsnapshot0.uid = "1"\nsnapshot0.displayName = "Clean |22install|22"\n'
                'snapshot0.numDisks = "1"\nsnapshot0.disk0.fileName = "Old Linux.vmdk"\nsnapshot0.disk0.node = "scsi0:0"\n')
    with open(f"{top}/Old Linux.vmx", "w") as f:
        f.write('''.encoding = "UTF-8"
config.version = "8"
virtualHW.version = "19"
displayName = "Old Linux"
annotation = "first|0Asecond"
guestOS = "debian10-64"
memsize = "768"
numvcpus = "2"
firmware = "bios"
scsi0.present = "TRUE"
scsi0.virtualDev = "lsilogic"
scsi0:0.present = "TRUE"
scsi0:0.fileName = "Old Linux-000001.vmdk"
ide1:0.present = "TRUE"
ide1:0.deviceType = "cdrom-raw"
ide1:0.fileName = "auto detect"
ethernet0.present = "TRUE"
ethernet0.connectionType = "bridged"
ethernet0.virtualDev = "vmxnet3"
ethernet0.addressType = "generated"
ethernet0.generatedAddress = "00:0c:29:aa:bb:cc"
sound.present = "TRUE"
usb.present = "TRUE"
floppy0.present = "FALSE"
''')
    return f"{top}/Old Linux.vmx", raw


def libvirt(folder):
    os.makedirs(f"{folder}/vm/images")
    raw = raw_disk(f"{folder}/source.raw", seed=6)
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, f"{folder}/vm/images/base.qcow2")
    run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", "base.qcow2", f"{folder}/vm/images/top.qcow2")
    open(f"{folder}/vm/seed.iso", "wb").write(bytes(32768) + b"\x01CD001" + bytes(4090))
    with open(f"{folder}/vm/guest.xml", "w") as f:
        f.write(f"""<!-- WARNING: this file is made by virsh -->
<domain type='kvm'><name>guest-1</name><title>Guest One</title><uuid>c7a5fdbd-cdaf-9455-926a-d65c16db1809</uuid>
 <metadata><libosinfo:libosinfo xmlns:libosinfo="http://libosinfo.org/xmlns/libvirt/domain/1.0"><libosinfo:os id="http://ubuntu.com/ubuntu/22.04"/></libosinfo:libosinfo></metadata>
 <memory unit='KiB'>1572864</memory><currentMemory unit='KiB'>1572864</currentMemory><vcpu placement='static'>2</vcpu>
 <os firmware='efi'><type arch='x86_64' machine='pc-q35-7.2'>hvm</type><boot dev='hd'/><boot dev='cdrom'/></os><clock offset='utc'/>
 <devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
  <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{folder}/vm/images/top.qcow2'/><target dev='vda' bus='virtio'/></disk>
  <disk type='file' device='cdrom'><driver name='qemu' type='raw'/><source file='{folder}/vm/seed.iso'/><target dev='sda' bus='sata'/><readonly/></disk>
  <interface type='network'><mac address='52:54:00:6b:3c:58'/><source network='default'/><model type='virtio'/></interface>
  <interface type='bridge'><mac address='52:54:00:6b:3c:59'/><source bridge='br0'/><model type='rtl8139'/></interface>
  <tpm model='tpm-crb'><backend type='emulator'/></tpm><sound model='ich9'/></devices></domain>""")
    return f"{folder}/vm/guest.xml", raw


def xen(folder):
    os.makedirs(f"{folder}/xen")
    raw = raw_disk(f"{folder}/xen/disk.img", seed=7)
    with open(f"{folder}/xen/guest.cfg", "w") as f:
        f.write(f"""# kernel = "/not/this"
name = "xen guest"
builder = 'hvm'
memory = 512
vcpus = 2
disk = [ 'file:{folder}/xen/disk.img,hda,w',
         'format=raw, vdev=hdc, access=ro, devtype=cdrom, target=' ]
vif = [ 'mac=00:16:3e:11:22:33, bridge=xenbr0, model=e1000' ]
boot = "cd"
localtime = 1
""")
    return f"{folder}/xen/guest.cfg", raw


def quickemu(folder):
    os.makedirs(f"{folder}/debian-12")
    raw = raw_disk(f"{folder}/source.raw", seed=8)
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, f"{folder}/debian-12/disk.qcow2")
    with open(f"{folder}/debian-12.conf", "w") as f:
        f.write('''#!/usr/bin/quickemu --vm
guest_os="linux"
disk_img="debian-12/disk.qcow2"
iso="debian-12/missing.iso"
ram="3G"
cpu_cores="2"
boot="legacy"
port_forwards=("8080:80" "2222:22")
public_dir="$(xdg-user-dir PUBLICSHARE)"
''')
    return f"{folder}/debian-12.conf", raw


def bare(folder, fmt="vdi"):
    raw = raw_disk(f"{folder}/source.raw", seed=9)
    path = f"{folder}/debian-server.{fmt}"
    run("qemu-img", "convert", "-f", "raw", "-O", {"vhd": "vpc"}.get(fmt, fmt), raw, path)
    return path, raw


def multi(folder):
    """Three machines in a collection inside another one, each with a disk of its own; two want the same name."""
    raws = [raw_disk(f"{folder}/m{i}.raw", seed=40 + i) for i in range(3)]
    files = [(f"d{i}.vmdk", read(stream_vmdk(raw, f"{folder}/d{i}.vmdk"))) for i, raw in enumerate(raws)]
    def system(i, name, memory):
        return f"""<VirtualSystem ovf:id="{name}"><Info>A machine</Info><Name>{name}</Name><VirtualHardwareSection><Info>Hardware</Info>
   {item(ElementName="1 CPU", InstanceID=1, ResourceType=3, VirtualQuantity=1)}
   {item(AllocationUnits="byte * 2^20", ElementName="memory", InstanceID=2, ResourceType=4, VirtualQuantity=memory)}
   {item(Address=0, ElementName="sata", InstanceID=5, ResourceSubType="AHCI", ResourceType=20)}
   {item(AddressOnParent=0, ElementName="disk", HostResource=f"ovf:/disk/disk{i}", InstanceID=8, Parent=5, ResourceType=17)}
  </VirtualHardwareSection></VirtualSystem>"""
    text = f"""<?xml version="1.0"?>
<Envelope ovf:version="1.0" {NS[1]} {CIM}>
 <References>{"".join(f'<File ovf:id="file{i}" ovf:href="d{i}.vmdk"/>' for i in range(3))}</References>
 <DiskSection><Info>Disks</Info>{"".join(f'<Disk ovf:capacity="{8 << 20}" ovf:diskId="disk{i}" ovf:fileRef="file{i}" ovf:format="{STREAM}"/>' for i in range(3))}</DiskSection>
 <VirtualSystemCollection ovf:id="all"><Info>All</Info>
  <StartupSection><Info>Order</Info><Item ovf:id="front" ovf:order="1"/></StartupSection>
  {system(0, "front", 512)}
  <VirtualSystemCollection ovf:id="inner"><Info>Inner</Info>{system(1, "store", 1024)}{system(2, "front-2", 256)}</VirtualSystemCollection>
 </VirtualSystemCollection></Envelope>"""
    pack(f"{folder}/three.ova", [("three.ovf", text.encode()), *files])
    return f"{folder}/three.ova", raws
