# SPDX-License-Identifier: GPL-3.0-or-later
"""OVF descriptions in the spelling of the programs that write them: see foreign.py."""
import os

STREAM = "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"
CAP = 4 << 20
CIM = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/"
PLAIN = (f'xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" xmlns:cim="http://schemas.dmtf.org/wbem/wscim/1/common" '
         f'xmlns:rasd="{CIM}CIM_ResourceAllocationSettingData" xmlns:vssd="{CIM}CIM_VirtualSystemSettingData" xmlns:vmw="http://www.vmware.com/schema/ovf" '
         f'xmlns:vbox="http://www.virtualbox.org/ovf/machine" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"')
VBOX2 = (f'xmlns="http://schemas.dmtf.org/ovf/envelope/2" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/2" xmlns:rasd="{CIM}CIM_ResourceAllocationSettingData" '
         f'xmlns:vssd="{CIM}CIM_VirtualSystemSettingData" xmlns:vbox="http://www.virtualbox.org/ovf/machine" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
         f'xmlns:epasd="{CIM}CIM_EthernetPortAllocationSettingData.xsd" xmlns:sasd="{CIM}CIM_StorageAllocationSettingData.xsd"')


def item(tag="Item", prefix="rasd", attr="", inside="", **fields):
    body = "".join(f"<{prefix}:{k}>{v}</{prefix}:{k}>" for k, v in sorted(fields.items()))
    return f"      <{tag}{attr}>{body}{inside}</{tag}>\n"


def cpu(n, **more):
    return item(AllocationUnits="hertz * 10^6", Description="Number of Virtual CPUs", ElementName=f"{n} virtual CPU(s)", InstanceID=1, ResourceType=3, VirtualQuantity=n, **more)


def memory(mib, units="byte * 2^20", **more):
    return item(AllocationUnits=units, Description="Memory Size", ElementName=f"{mib}MB of memory", InstanceID=2, ResourceType=4, VirtualQuantity=mib, **more)


def envelope(systems, files=(("d1.vmdk", "file1", ""),), disks=(("vmdisk1", "file1", ""),), ns=PLAIN, more="", size=f'ovf:capacity="{CAP}" ovf:capacityAllocationUnits="byte"'):
    refs = "".join(f'    <File ovf:href="{h}" ovf:id="{i}" ovf:size="1000"{x}/>\n' for h, i, x in files)
    dsk = "".join(f'    <Disk {size} ovf:diskId="{d}" ovf:fileRef="{f}" ovf:format="{STREAM}" ovf:populatedSize="65536"{x}/>\n' for d, f, x in disks)
    return (f'<?xml version="1.0" encoding="UTF-8"?>\n<Envelope {ns}>\n  <References>\n{refs}  </References>\n  <DiskSection>\n    <Info>Virtual disk information</Info>\n'
            f'{dsk}  </DiskSection>\n  <NetworkSection>\n    <Info>The list of logical networks</Info>\n    <Network ovf:name="VM Network"><Description>The VM Network network</Description></Network>\n'
            f'  </NetworkSection>\n{more}{systems}</Envelope>\n')


def system(items, name="guest", os='ovf:id="96" vmw:osType="debian11_64Guest"', kind="vmx-14", description="Debian GNU/Linux 11 (64-bit)", after="", tail="", extra=""):
    text = f"      <Description>{description}</Description>\n" if description else ""
    return (f'  <VirtualSystem ovf:id="{name}">\n    <Info>A virtual machine</Info>\n    <Name>{name}</Name>\n    <OperatingSystemSection {os}>\n'
            f'      <Info>The kind of installed guest operating system</Info>\n{text}    </OperatingSystemSection>\n    <VirtualHardwareSection{extra}>\n'
            f'      <Info>Virtual hardware requirements</Info>\n      <System><vssd:ElementName>Virtual Hardware Family</vssd:ElementName><vssd:InstanceID>0</vssd:InstanceID>'
            f'<vssd:VirtualSystemIdentifier>{name}</vssd:VirtualSystemIdentifier><vssd:VirtualSystemType>{kind}</vssd:VirtualSystemType></System>\n'
            f'{items}{after}    </VirtualHardwareSection>\n{tail}  </VirtualSystem>\n')


def scsi(sub, i=3):
    return item(Address=0, Description="SCSI Controller", ElementName="SCSI Controller 0", InstanceID=i, ResourceSubType=sub, ResourceType=6)


def disk(i=10, parent=3, at=0, host="ovf:/disk/vmdisk1", kind=17, **more):
    return item(AddressOnParent=at, ElementName=f"Hard disk {i - 9}", HostResource=host, InstanceID=i, Parent=parent, ResourceType=kind, **more)


def nic(sub, i=20, connection="VM Network", attr="", **more):
    return item(attr=attr, AddressOnParent=7 + i - 20, AutomaticAllocation="true", Connection=connection, ElementName=f"Ethernet {i - 19}", InstanceID=i, ResourceSubType=sub,
                ResourceType=10, **more)


VBOX_MACHINE = '''    <vbox:Machine ovf:required="false" version="1.16-linux" uuid="{8d7a2c41-5b7e-4b63-9d7a-0f3c14b7f6a1}" name="kali" OSType="Debian_64" snapshotFolder="Snapshots" lastStateChange="2018-04-10T09:00:00Z">
      <ovf:Info>Complete VirtualBox machine configuration in VirtualBox format</ovf:Info>
      <Hardware>
        <CPU count="2"><PAE enabled="true"/><LongMode enabled="true"/></CPU>
        <Memory RAMSize="2048"/>
        <Boot>
          <Order position="1" device="Floppy"/><Order position="2" device="DVD"/><Order position="3" device="HardDisk"/><Order position="4" device="None"/>
        </Boot>
        <Display VRAMSize="128"/>
        <BIOS><IOAPIC enabled="true"/></BIOS>
        <USB><Controllers><Controller name="OHCI" type="OHCI"/></Controllers></USB>
        <Network>
          <Adapter slot="0" enabled="true" MACAddress="0800271B5AC3" type="82540EM"><NAT/></Adapter>
          <Adapter slot="1" enabled="true" MACAddress="08002744CC01" cable="false" type="virtio"><InternalNetwork name="lab"/></Adapter>
          <Adapter slot="2" enabled="false" MACAddress="080027FFFFFF" type="82540EM"/>
        </Network>
        <AudioAdapter codec="AD1980" driver="Pulse" enabled="true"/>
        <RTC localOrUTC="UTC"/>
      </Hardware>
      <StorageControllers>
        <StorageController name="SATA" type="AHCI" PortCount="1" useHostIOCache="false" Bootable="true">
          <AttachedDevice type="HardDisk" hotpluggable="false" port="0" device="0"><Image uuid="{5a4d1b1a-1111-4e0c-8f0a-3d9b0c8b7a66}"/></AttachedDevice>
        </StorageController>
      </StorageControllers>
    </vbox:Machine>
'''


def virtualbox5():
    items = (cpu(2) + memory(2048, "MegaBytes")
             + item(Address=0, Caption="ideController0", Description="IDE Controller", ElementName="ideController0", InstanceID=3, ResourceSubType="PIIX4", ResourceType=5)
             + item(Address=1, Caption="ideController1", Description="IDE Controller", ElementName="ideController1", InstanceID=4, ResourceSubType="PIIX4", ResourceType=5)
             + item(Address=0, Caption="sataController0", Description="SATA Controller", ElementName="sataController0", InstanceID=5, ResourceSubType="AHCI", ResourceType=20)
             + item(Address=0, Caption="usb", Description="USB Controller", ElementName="usb", InstanceID=6, ResourceType=23)
             + item(AddressOnParent=3, AutomaticAllocation="false", Caption="sound", Description="Sound Card", ElementName="sound", InstanceID=7, ResourceSubType="ensoniq1371", ResourceType=35)
             + item(AddressOnParent=0, AutomaticAllocation="true", Caption="cdrom1", Description="CD-ROM Drive", ElementName="cdrom1", InstanceID=8, Parent=4, ResourceType=15)
             + item(AddressOnParent=0, Caption="disk1", Description="Disk Image", ElementName="disk1", HostResource="/disk/vmdisk1", InstanceID=9, Parent=5, ResourceType=17)
             + item(AutomaticAllocation="true", Caption="Ethernet adapter on 'NAT'", Connection="NAT", ElementName="Ethernet adapter on 'NAT'", InstanceID=10, ResourceSubType="E1000", ResourceType=10)
             + item(AutomaticAllocation="true", Caption="Ethernet adapter on 'Internal'", Connection="Internal", ElementName="Ethernet adapter on 'Internal'", InstanceID=11, ResourceSubType="VirtioNet", ResourceType=10))
    return envelope(system(items, "kali", 'ovf:id="96"', "virtualbox-2.2", "Debian_64", tail=VBOX_MACHINE), size=f'ovf:capacity="{CAP}"')


def virtualbox7():
    store = dict(tag="StorageItem", prefix="sasd")
    items = (cpu(4) + memory(4096)
             + item(Address=0, Caption="nvmeController0", ElementName="nvmeController0", InstanceID=3, ResourceSubType="NVMe", ResourceType=20, Description="NVMe Controller")
             + item(Address=0, Caption="sataController0", ElementName="sataController0", InstanceID=4, ResourceSubType="AHCI", ResourceType=20)
             + item(**store, AddressOnParent=0, Caption="disk1", ElementName="disk1", HostResource="/disk/vmdisk1", InstanceID=5, Parent=3, ResourceType=17)
             + item(**store, AddressOnParent=1, AutomaticAllocation="true", Caption="cdrom1", ElementName="cdrom1", HostResource="/file/file2", InstanceID=6, Parent=4, ResourceType=15)
             + item(tag="EthernetPortItem", prefix="epasd", AutomaticAllocation="true", Caption="Ethernet adapter on 'Bridged'", Connection="Bridged", ElementName="x", InstanceID=7,
                    ResourceSubType="E1000", ResourceType=10, Address="08:00:27:aa:bb:cc"))
    machine = '''    <vbox:Machine ovf:required="false" version="1.19-windows" uuid="{0}" name="w11" OSType="Windows11_64"><ovf:Info>x</ovf:Info><Hardware>
      <Firmware type="EFI"/><TrustedPlatformModule type="v2_0" location=""/><BIOS><NVRAM path="w11.nvram"/></BIOS><RTC localOrUTC="local"/></Hardware></vbox:Machine>\n'''
    return envelope(system(items, "w11", 'ovf:id="120"', "virtualbox-2.2", "Windows11_64", tail=machine), ns=VBOX2 + ' xmlns:vmw="u"',
                    files=(("d1.vmdk", "file1", ""), ("setup.iso", "file2", ""), ("w11.nvram", "file3", "")))


def workstation():
    items = (cpu(2) + memory(4096)
             + item(Address=0, ElementName="nvmeController0", InstanceID=3, ResourceSubType="vmware.nvme.controller", ResourceType=20)
             + item(Address=0, ElementName="SATA Controller", InstanceID=4, ResourceSubType="vmware.sata.ahci", ResourceType=20)
             + disk() + item(attr=' ovf:required="false"', AddressOnParent=1, AutomaticAllocation="false", ElementName="CD/DVD Drive 1", InstanceID=12, Parent=4,
                             ResourceSubType="vmware.cdrom.remotepassthrough", ResourceType=15)
             + nic("E1000e", connection="nat") + item(attr=' ovf:required="false"', ElementName="USB Controller (XHCI)", InstanceID=30, ResourceSubType="vmware.usb.xhci", ResourceType=23)
             + item(attr=' ovf:required="false"', ElementName="Video card", InstanceID=31, ResourceType=24))
    conf = ('      <vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="efi"/>\n      <vmw:Config ovf:required="false" vmw:key="bootOptions.efiSecureBootEnabled" vmw:value="true"/>\n'
            '      <vmw:ExtraConfig ovf:required="false" vmw:key="nvram" vmw:value="ovf:/file/file2"/>\n      <vmw:ExtraConfig ovf:required="false" vmw:key="virtualHW.productCompatibility" vmw:value="hosted"/>\n')
    return envelope(system(items, "Ubuntu 64-bit", 'ovf:id="94" vmw:osType="ubuntu64Guest"', "vmx-20", "Ubuntu_64", conf), files=(("d1.vmdk", "file1", ""), ("u.nvram", "file2", "")))


def esxi():
    items = (cpu(8, ) + memory(16384) + scsi("VirtualSCSI") + item(Address=1, ElementName="VirtualIDEController 1", InstanceID=4, ResourceType=5)
             + disk(11, 3, 1, "ovf:/disk/vmdisk2") + disk(10, 3, 0, "ovf:/disk/vmdisk1")
             + nic("VmxNet3", 20) + nic("VmxNet3", 21, "DMZ (vlan 40)")
             + item(attr=' ovf:required="false"', AutomaticAllocation="false", ElementName="VirtualVMCIDevice", InstanceID=40, ResourceSubType="vmware.vmci", ResourceType=1)
             + item(attr=' ovf:required="false"', AddressOnParent=0, AutomaticAllocation="false", Description="Floppy Drive", ElementName="Floppy 1", InstanceID=41,
                    ResourceSubType="vmware.floppy.remotedevice", ResourceType=14))
    boot = '''    <vmw:BootOrderSection vmw:instanceId="10" vmw:type="disk"><Info>Virtual hardware device boot order</Info></vmw:BootOrderSection>
    <ProductSection ovf:required="false"><Info>x</Info><Product>Vendor Appliance</Product></ProductSection>\n'''
    return envelope(system(items, "db01", kind="vmx-19", tail=boot), files=(("d1.vmdk", "file1", ""), ("d2.vmdk", "file2", "")), disks=(("vmdisk1", "file1", ""), ("vmdisk2", "file2", "")))


def profiles():
    """A vendor's appliance with deployment options: what is marked for one is only there with it."""
    options = '''  <DeploymentOptionSection><Info>Configuration Profiles</Info>
    <Configuration ovf:id="small"><Label>Small</Label><Description>x</Description></Configuration>
    <Configuration ovf:id="medium" ovf:default="true"><Label>Medium</Label><Description>x</Description></Configuration>
    <Configuration ovf:id="large"><Label>Large</Label><Description>x</Description></Configuration>
  </DeploymentOptionSection>\n'''
    def with_conf(conf, text):
        return text.replace("<Item>", f'<Item ovf:configuration="{conf}">', 1)
    items = (cpu(1) + with_conf("medium", cpu(2)) + with_conf("large", cpu(8)) + memory(1024) + with_conf("small medium", memory(3072)) + with_conf("large", memory(32768))
             + item(attr=' ovf:bound="min"', AllocationUnits="byte * 2^20", InstanceID=2, ResourceType=4, VirtualQuantity=512, ElementName="least")
             + item(attr=' ovf:bound="max"', AllocationUnits="byte * 2^20", InstanceID=2, ResourceType=4, VirtualQuantity=65536, ElementName="most")
             + scsi("lsilogic") + disk() + nic("VMXNET3 E1000", 20) + nic("VMXNET3 virtio", 21, attr=' ovf:configuration="large"'))
    return envelope(system(items, "router", 'ovf:id="100" vmw:osType="other3xLinux64Guest"', "vmx-10 vmx-11 vmx-13", "Vendor OS"), more=options)


def xenserver():
    ns = PLAIN + ' ovf:version="1.0.0" xml:lang="en-US" xmlns:xenovf="http://schemas.citrix.com/ovf/envelope/1"'
    items = (item(ElementName="1 virtual CPU(s)", Description="Number of virtual CPUs", InstanceID=1, ResourceType=3, VirtualQuantity=2, AllocationUnits="count")
             + item(AllocationUnits="byte * 2^20", ElementName="1024 MB of memory", InstanceID=2, ResourceType=4, VirtualQuantity=1024)
             + item(Address="5a:87:2e:10:44:71", AddressOnParent=0, Connection="Network 0", Description="", ElementName="Ethernet Port 0", InstanceID=3, ResourceSubType="PV", ResourceType=10)
             + item(Address="xenbus", AddressOnParent=0, Connection="device=0,bootable=true,mode=RW,vdi=d1.vhd", Description="root", ElementName="Storage Extent 0",
                    HostResource="ovf:/disk/vmdisk1", InstanceID=4, ResourceSubType="Disk", ResourceType=19)
             + item(AddressOnParent=3, ElementName="CD-ROM 0", InstanceID=5, ResourceType=16))
    return envelope(system(items, "xs-web", 'ovf:id="36"', "hvm-3.0-unknown", "CentOS 7 (64-bit)"), ns=ns, files=(("d1.vhd", "file1", ""),))


def ovirt():
    return f'''<?xml version="1.0" encoding="UTF-8"?><ovf:Envelope xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1/" xmlns:rasd="{CIM}CIM_ResourceAllocationSettingData" xmlns:vssd="{CIM}CIM_VirtualSystemSettingData" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" ovf:version="4.3.0.0">
<References><File ovf:href="1f1b6b0e/7a0b" ovf:id="7a0b" ovf:size="1000" ovf:description="Active VM" ovf:disk_storage_type="IMAGE"/><File ovf:href="2f1b6b0e/8a0b" ovf:id="8a0b" ovf:size="1000"/><Nic ovf:id="9b6c"/></References>
<NetworkSection><Info>List of networks</Info><Network ovf:name="ovirtmgmt"/></NetworkSection>
<Section xsi:type="ovf:DiskSection_Type"><Info>List of Virtual Disks</Info>
<Disk ovf:diskId="1f1b6b0e" ovf:size="1" ovf:actual_size="1" ovf:vm_snapshot_id="aa" ovf:parentRef="" ovf:fileRef="1f1b6b0e/7a0b" ovf:format="http://www.gnome.org/~markmc/qcow-image-format.html" ovf:volume-format="COW" ovf:volume-type="Sparse" ovf:disk-interface="VirtIO_SCSI" ovf:boot="true" ovf:pass-discard="false" ovf:disk-alias="web_Disk1"/>
<Disk ovf:diskId="2f1b6b0e" ovf:size="1" ovf:parentRef="" ovf:fileRef="2f1b6b0e/8a0b" ovf:format="http://www.vmware.com/specifications/vmdk.html#sparse" ovf:volume-format="RAW" ovf:disk-interface="IDE" ovf:boot="false"/></Section>
<Content ovf:id="out" xsi:type="ovf:VirtualSystem_Type"><Name>web-rhv</Name><Description>a web server</Description><Comment/><CreationDate>2021/03/01 10:00:00</CreationDate><ExportDate>2021/04/01 10:00:00</ExportDate><DeleteProtected>false</DeleteProtected><TimeZone>Etc/GMT</TimeZone><DefaultBootSequence>0</DefaultBootSequence><Generation>5</Generation><ClusterCompatibilityVersion>4.3</ClusterCompatibilityVersion><VmType>1</VmType><DefaultDisplayType>2</DefaultDisplayType><CustomCpuName/><BiosType>3</BiosType><UseHostCpu>false</UseHostCpu><Origin>3</Origin>
<Section ovf:id="bb" ovf:required="false" xsi:type="ovf:OperatingSystemSection_Type"><Info>Guest Operating System</Info><Description>rhel_8x64</Description></Section>
<Section xsi:type="ovf:VirtualHardwareSection_Type"><Info>4 CPU, 2048 Memory</Info><System><vssd:VirtualSystemType>ENGINE 4.3.0.0</vssd:VirtualSystemType></System>
<Item><rasd:Caption>4 virtual cpu</rasd:Caption><rasd:Description>Number of virtual CPU</rasd:Description><rasd:InstanceId>1</rasd:InstanceId><rasd:ResourceType>3</rasd:ResourceType><rasd:num_of_sockets>2</rasd:num_of_sockets><rasd:cpu_per_socket>2</rasd:cpu_per_socket><rasd:threads_per_cpu>1</rasd:threads_per_cpu><rasd:max_num_of_vcpus>16</rasd:max_num_of_vcpus><rasd:VirtualQuantity>4</rasd:VirtualQuantity></Item>
<Item><rasd:Caption>2048 MB of memory</rasd:Caption><rasd:InstanceId>2</rasd:InstanceId><rasd:ResourceType>4</rasd:ResourceType><rasd:AllocationUnits>MegaBytes</rasd:AllocationUnits><rasd:VirtualQuantity>2048</rasd:VirtualQuantity></Item>
<Item><rasd:Caption>web_Disk1</rasd:Caption><rasd:InstanceId>7a0b</rasd:InstanceId><rasd:ResourceType>17</rasd:ResourceType><rasd:HostResource>1f1b6b0e/7a0b</rasd:HostResource><rasd:Parent>00000000-0000-0000-0000-000000000000</rasd:Parent><rasd:Template>00000000-0000-0000-0000-000000000000</rasd:Template><Type>disk</Type><Device>disk</Device><BootOrder>1</BootOrder><IsPlugged>true</IsPlugged></Item>
<Item><rasd:Caption>web_Disk2</rasd:Caption><rasd:InstanceId>8a0b</rasd:InstanceId><rasd:ResourceType>17</rasd:ResourceType><rasd:HostResource>2f1b6b0e/8a0b</rasd:HostResource><rasd:Parent>00000000-0000-0000-0000-000000000000</rasd:Parent><Type>disk</Type><Device>disk</Device></Item>
<Item><rasd:Caption>Ethernet adapter on ovirtmgmt</rasd:Caption><rasd:InstanceId>9b6c</rasd:InstanceId><rasd:ResourceType>10</rasd:ResourceType><rasd:OtherResourceType>ovirtmgmt</rasd:OtherResourceType><rasd:ResourceSubType>3</rasd:ResourceSubType><rasd:Connection>ovirtmgmt</rasd:Connection><rasd:Linked>true</rasd:Linked><rasd:Name>nic1</rasd:Name><rasd:ElementName>nic1</rasd:ElementName><rasd:MACAddress>56:6f:1a:2b:00:07</rasd:MACAddress><rasd:speed>10000</rasd:speed></Item>
<Item><rasd:Caption>USB Controller</rasd:Caption><rasd:InstanceId>3</rasd:InstanceId><rasd:ResourceType>23</rasd:ResourceType><rasd:UsbPolicy>DISABLED</rasd:UsbPolicy></Item>
<Item><rasd:Caption>Graphical Controller</rasd:Caption><rasd:InstanceId>bd</rasd:InstanceId><rasd:ResourceType>20</rasd:ResourceType><rasd:VirtualQuantity>1</rasd:VirtualQuantity><Type>video</Type><Device>qxl</Device></Item>
<Item><rasd:Caption>CDROM</rasd:Caption><rasd:InstanceId>ce</rasd:InstanceId><rasd:ResourceType>15</rasd:ResourceType><Type>disk</Type><Device>cdrom</Device></Item>
<Item><rasd:ResourceType>0</rasd:ResourceType><rasd:InstanceId>cf</rasd:InstanceId><Type>channel</Type><Device>unix</Device></Item></Section>
<Section xsi:type="ovf:SnapshotsSection_Type"><Snapshot ovf:id="aa"><Type>ACTIVE</Type></Snapshot></Section></Content></ovf:Envelope>
'''


def v09():
    return f'''<?xml version="1.0" encoding="utf-8"?>
<ovf:Envelope xmlns:ovf="http://www.vmware.com/schema/ovf/1/envelope" xmlns:rasd="{CIM}CIM_ResourceAllocationSettingData" xmlns:vmw="http://www.vmware.com/schema/ovf" xmlns:vssd="{CIM}CIM_VirtualSystemSettingData" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" ovf:version="0.9">
  <ovf:References><ovf:File ovf:href="d1.vmdk" ovf:id="file1" ovf:size="1000"/></ovf:References>
  <ovf:Section xsi:type="ovf:DiskSection_Type"><ovf:Info>x</ovf:Info><ovf:Disk ovf:capacity="{CAP}" ovf:diskId="vmdisk1" ovf:fileRef="file1" ovf:format="http://www.vmware.com/specifications/vmdk.html#sparse"/></ovf:Section>
  <ovf:Content ovf:id="old" xsi:type="ovf:VirtualSystem_Type"><ovf:Info>A virtual machine</ovf:Info>
    <ovf:Section ovf:id="107" vmw:osType="other26xLinux64Guest" xsi:type="ovf:OperatingSystemSection_Type"><ovf:Info>x</ovf:Info></ovf:Section>
    <ovf:Section xsi:type="ovf:VirtualHardwareSection_Type"><ovf:Info>x</ovf:Info>
      <ovf:System><vssd:InstanceId>0</vssd:InstanceId><vssd:VirtualSystemIdentifier>old</vssd:VirtualSystemIdentifier><vssd:VirtualSystemType>vmx-04</vssd:VirtualSystemType></ovf:System>
      <ovf:Item><rasd:Caption>1 virtual CPU(s)</rasd:Caption><rasd:InstanceId>1</rasd:InstanceId><rasd:ResourceType>3</rasd:ResourceType><rasd:AllocationUnits>MegaHertz</rasd:AllocationUnits><rasd:VirtualQuantity>1</rasd:VirtualQuantity></ovf:Item>
      <ovf:Item><rasd:Caption>512MB of memory</rasd:Caption><rasd:InstanceId>2</rasd:InstanceId><rasd:ResourceType>4</rasd:ResourceType><rasd:AllocationUnits>MegaBytes</rasd:AllocationUnits><rasd:VirtualQuantity>512</rasd:VirtualQuantity></ovf:Item>
      <ovf:Item><rasd:Caption>scsiController0</rasd:Caption><rasd:InstanceId>4</rasd:InstanceId><rasd:ResourceType>6</rasd:ResourceType><rasd:ResourceSubType>buslogic</rasd:ResourceSubType><rasd:Address>0</rasd:Address></ovf:Item>
      <ovf:Item><rasd:Caption>disk1</rasd:Caption><rasd:InstanceId>7</rasd:InstanceId><rasd:ResourceType>17</rasd:ResourceType><rasd:HostResource>/disk/vmdisk1</rasd:HostResource><rasd:Parent>4</rasd:Parent><rasd:AddressOnParent>0</rasd:AddressOnParent></ovf:Item>
      <ovf:Item><rasd:Caption>ethernet0</rasd:Caption><rasd:InstanceId>8</rasd:InstanceId><rasd:ResourceType>10</rasd:ResourceType><rasd:ResourceSubType>PCNet32</rasd:ResourceSubType><rasd:Connection>bridged</rasd:Connection></ovf:Item>
    </ovf:Section>
    <ovf:Section ovf:required="false" xsi:type="ovf:AnnotationSection_Type"><ovf:Info>x</ovf:Info><ovf:Annotation>made in 2008</ovf:Annotation></ovf:Section>
    <ovf:Section ovf:required="false" xsi:type="ovf:EulaSection_Type"><ovf:Info>x</ovf:Info><ovf:License>Sign here</ovf:License></ovf:Section>
  </ovf:Content>
</ovf:Envelope>
'''


def aws():
    items = (cpu(1) + memory(1740) + scsi("lsilogic") + disk() + item(Address=0, ElementName="IDE Controller 0", InstanceID=5, ResourceType=5)
             + item(AutomaticAllocation="true", AddressOnParent=2, Connection="VM Network", ElementName="ethernet0", InstanceID=21, ResourceSubType="E1000", ResourceType=10))
    return envelope(system(items, "export-i-0abc1234", 'ovf:id="80" vmw:osType="rhel6_64Guest"', "vmx-07 vmx-08", "Red Hat Enterprise Linux 8 (64-bit)"))


def plain_items(**how):
    return cpu(2) + memory(how.pop("memory", 1), "byte * 2^30") + scsi("lsilogic") + disk() + nic("E1000")


DISK = [("disk", "ahci", "there")]


def cases():
    d1 = {"d1.vmdk": "vmdk,subformat=streamOptimized"}
    both = d1 | {"d2.vmdk": "vmdk,subformat=streamOptimized"}
    c = []

    def add(label, text, files, want, **more):
        c.append(dict(label="OVF " + label, name="a.ovf", text=text, files=files, want=want, **more))

    add("VirtualBox 5.2", virtualbox5(), d1, dict(
        name="kali", dialect="VirtualBox", memory_bytes=2 << 30, cpus=2, firmware="bios", clock_base="utc", boot_order="adc", os_id="http://debian.org/debian/12",
        media=[("cdrom", "ide", "empty"), ("disk", "ahci", "there")], dropped=["sound card", "USB"],
        nets=[("e1000", "nat", "08:00:27:1b:5a:c3", True), ("virtio-net", "internal", "08:00:27:44:cc:01", False)]))
    add("VirtualBox 7, 2.0, NVMe, EFI, TPM, medium", virtualbox7(), d1 | {"setup.iso": b"\0" * 32768 + b"\1CD001" + b"\0" * 4090, "w11.nvram": b"nv"}, dict(
        name="w11", firmware="uefi", clock_base="local", os_id="http://microsoft.com/win/11", memory_bytes=4 << 30, cpus=4, dropped=["TPM"], changed=["Bridged"],
        media=[("disk", "nvme", "there"), ("cdrom", "ide", "there")], nets=[("e1000", "nat", "08:00:27:aa:bb:cc", True)]))
    add("Workstation 17, NVMe, Secure Boot", workstation(), d1 | {"u.nvram": b"nv"}, dict(
        dialect="VMware", firmware="uefi", dropped=["Secure Boot", "USB"], changed=["E1000e"], media=[("disk", "nvme", "there"), ("cdrom", "ide", "empty")],
        nets=[("e1000", "nat", "", True)], os_id="http://ubuntu.com/ubuntu/22.04"))
    add("ESXi 7, two disks out of order", esxi(), both, dict(memory_bytes=16 << 30, cpus=8, changed=["VirtualSCSI", "VmxNet3", "VM Network", "DMZ (vlan 40)"], dropped=["Product"],
        media=[("disk", "ahci", "there")] * 2 + [("floppy", "fdc", "empty")], nets=[("e1000", "nat", "", True)] * 2))
    add("deployment options", profiles(), d1, dict(cpus=2, memory_bytes=3 << 30, media=DISK, nets=[("e1000", "nat", "", True)], changed=["medium"]))
    add("XenServer", xenserver(), {"d1.vhd": "vpc,force_size=on"}, dict(memory_bytes=1 << 30, cpus=2, os_id="http://centos.org/centos/7.0", media=[("disk", "ide", "there"), ("cdrom", "ide", "empty")],
        nets=[("e1000", "nat", "5a:87:2e:10:44:71", True)]))
    add("oVirt 4.3", ovirt(), {"1f1b6b0e/7a0b": "qcow2", "2f1b6b0e/8a0b": "raw"}, dict(dialect="oVirt", name="web-rhv", memory_bytes=2 << 30, cpus=4, firmware="uefi", os_id="http://redhat.com/rhel/8.0",
        media=[("disk", "virtio", "there"), ("disk", "ide", "there"), ("cdrom", "ide", "empty")], nets=[("virtio-net", "nat", "56:6f:1a:2b:00:07", True)], description="a web server"))
    add("0.9", v09(), {"d1.vmdk": "vmdk,subformat=monolithicSparse"}, dict(name="old", memory_bytes=512 << 20, description="made in 2008", warning=["licence"], changed=["buslogic", "PCNet32"],
        media=DISK, os_id="http://libosinfo.org/linux/2018"))
    add("AWS", aws(), d1, dict(memory_bytes=1740 << 20, cpus=1, media=DISK, os_id="http://redhat.com/rhel/8.0"))
    for fmt in ("qcow2", "vdi", "vhdx", "raw"):
        add(f"with a {fmt} disk", envelope(system(plain_items()), files=((f"d1.{fmt}", "file1", ""),)), {f"d1.{fmt}": fmt}, dict(memory_bytes=1 << 30, media=DISK))
    add("capacity in GB", envelope(system(plain_items()), size='ovf:capacity="1" ovf:capacityAllocationUnits="byte * 2^30"'), d1,
        dict(media=DISK, warning=["its description says 1073741824"]))
    add("gzip'ed disk", envelope(system(plain_items()), files=(("d1.vmdk.gz", "file1", ' ovf:compression="gzip"'),)), {"d1.vmdk.gz": "gz"}, dict(media=DISK))
    add("gzip'ed disk that does not say so", envelope(system(plain_items()), files=(("d1.vmdk.gz", "file1", ""),)), {"d1.vmdk.gz": "gz"}, dict(media=DISK))
    def pieces(folder):
        size = sum(os.path.getsize(f"{folder}/{n}") for n in os.listdir(folder))
        return envelope(system(plain_items()), files=(("d1.vmdk", "file1", ' ovf:chunkSize="20000"'),)).replace('ovf:size="1000"', f'ovf:size="{size}"')

    add("disk in pieces", pieces, {"d1.vmdk": "chunks 20000"}, dict(media=DISK, kept=["d1.vmdk"]))
    add("disk in pieces that all are missing", envelope(system(plain_items()), files=(("d1.vmdk", "file1", ' ovf:chunkSize="20000"'),)), {}, dict(media=[("disk", "ahci", "missing")],
        blocker="disk is missing", warning=["d1.vmdk” is missing"]))
    add("disk in pieces, without its size", envelope(system(plain_items()), files=(("d1.vmdk", "file1", ' ovf:chunkSize="20000"'),)).replace('ovf:size="1000"', ""), {"d1.vmdk": "chunks 20000"}, dict(media=DISK))
    add("disk in pieces, one is missing", pieces, {"d1.vmdk": "chunks 20000"}, {}, prepare=lambda d, raw, tool: os.unlink(f"{d}/d1.vmdk.000000001"), error="ApplianceDamaged")
    add("one disk missing", envelope(system(cpu(1) + memory(1024) + scsi("lsilogic") + disk() + disk(11, 3, 1, "ovf:/disk/vmdisk2")), files=(("d1.vmdk", "file1", ""), ("d2.vmdk", "file2", "")),
        disks=(("vmdisk1", "file1", ""), ("vmdisk2", "file2", ""))), d1, dict(media=[("disk", "ahci", "there"), ("disk", "ahci", "missing")], warning=["d2.vmdk” is missing"]))
    add("name with umlauts and a slash", envelope(system(plain_items(), "Büro/Rechner „1“ &amp; Söhne")), d1, dict(name="Büro_Rechner „1“ & Söhne", media=DISK))
    add("very long name", envelope(system(plain_items(), "ä" * 400)), d1, dict(name="ä" * 63, media=DISK))
    add("file names with spaces and umlauts, percent-encoded", envelope(system(plain_items()), files=(("Gr%C3%B6%C3%9Fe%201.vmdk", "file1", ""),)), {"Größe 1.vmdk": d1["d1.vmdk"]}, dict(media=DISK))
    return c
