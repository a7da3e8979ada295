#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# gasthaus-test: long 1200
#
# The whole product on KVM where the computer at hand cannot: a Debian host with AMD-V and kvm-amd, emulated
# by QEMU, whose initramfs holds gasthaus-vm. In it
#   1. the kvm accelerator's own test runs against real nested paging,
#   2. gasthaus-vm boots Debian's kernel through KVM to a marker, sandboxed, with one and two processors, and
#      ends with status 0,
#   3. --accel auto chooses kvm there,
#   4. a guest on KVM writes and reads a disk on each bus, and the host finds in the image what it wrote,
#   5. a guest on KVM gets an address from the NAT with each network card, and moves data both ways.
# The verdict is the host's serial output; a marker is printed only after the step before it was checked.
set -uo pipefail
top=${GH_TOP:-$(cd "$(dirname "$0")/../.." && pwd)}
build=${GH_BUILD:-$top/build}
out=${GH_OUT:-$build/test-output}
log=$out/kvm-in-emulated-host.serial
cpu=${GH_HOST_CPU:-EPYC}
mkdir -p "$out"

skip() { echo "skipped: $*"; exit 77; }
for program in qemu-system-x86_64 busybox cpio; do
    command -v $program >/dev/null || skip "$program is not installed"
done
vm=$build/src/engine/machine/gasthaus-vm
[ -x "$vm" ] || { echo "FAILED: $vm is not built"; exit 1; }
host=$("$top/tools/guest-image" kvm-host) || { echo "FAILED: tools/guest-image kvm-host"; exit 1; }
guest=$("$top/tools/guest-image" linux) || { echo "FAILED: tools/guest-image linux"; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
mkdir -p "$root"/{bin,dev,proc,sys,run,tmp,m,g,usr/share/seabios}
cp "$(command -v busybox)" "$root/bin/busybox"
ln -s busybox "$root/bin/sh"
cp "$host"/*.ko "$root/m/"
cp "$guest/vmlinuz" "$guest/initrd.gz" "$root/g/"
cp -L /usr/share/seabios/bios-256k.bin /usr/share/seabios/vgabios-stdvga.bin "$root/usr/share/seabios/"
for program in "$vm" "$build/tests/guest/test-kvm" "$build/src/engine/backend/gasthaus-backend"; do
    cp "$program" "$root/bin/"
    strip "$root/bin/$(basename "$program")" 2>/dev/null
    ldd "$program" | grep -o '/[^ ]*' | while read -r lib; do
        mkdir -p "$root$(dirname "$lib")"
        cp -Ln "$lib" "$root$lib"
    done
done

cat > "$root/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin XDG_RUNTIME_DIR=/run
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
chmod 700 /run
for m in irqbypass kvm ccp kvm-amd; do insmod /m/$m.ko; done
[ -c /dev/kvm ] && echo HOST-KVM-THERE
test-kvm && echo HOST-ACCEL-TEST-PASSED
boot() {
    timeout -s INT 150 gasthaus-vm --name inner --memory 160M --serial stdio --no-reboot --kernel /g/vmlinuz --initrd /g/initrd.gz \
        --append "console=ttyS0 quiet gh.test=boot" "$@" < /dev/null > /tmp/out 2>&1
    status=$?
    sed 's/^/inner| /' /tmp/out | tail -25
    [ $status = 0 ] && grep -q GUEST-READY /tmp/out
}
boot --accel kvm && echo HOST-KVM-BOOT-PASSED
boot --accel kvm --cpus 2 --append "console=ttyS0 gh.test=boot" && grep -q 'Brought up 1 node, 2 CPUs' /tmp/out &&
    echo HOST-KVM-SMP-PASSED
GH_LOG=info boot --accel auto && grep -q 'KVM runs guest' /tmp/out && echo HOST-AUTO-CHOSE-KVM
for bus in ide ahci nvme virtio; do
    rm -f /tmp/disk.raw; truncate -s 64M /tmp/disk.raw
    boot --accel kvm --disk /tmp/disk.raw,format=raw,bus=$bus --append "console=ttyS0 quiet gh.test=disk" &&
        grep -q "GUEST-DISK .* $(dd if=/tmp/disk.raw bs=1M skip=8 count=16 2>/dev/null | md5sum)" /tmp/out &&
        echo "HOST-KVM-DISK-$bus-PASSED"
done
ip link set lo up
mkdir -p /srv; dd if=/dev/urandom of=/srv/data bs=1M count=4 2>/dev/null
sum=$(md5sum < /srv/data | cut -d' ' -f1)
httpd -h /srv -p 127.0.0.1:8080
for card in virtio-net e1000; do
    rm -f /tmp/back; sleep 600 | nc -l -p 8081 > /tmp/back & n=$! # an open input: nc would send an end
    boot --accel kvm --net nat,model=$card,host-loopback --append "console=ttyS0 quiet gh.test=net" &&
        grep -q 'GUEST-ADDRESS 10.0.2.15' /tmp/out && grep -q "GUEST-GOT $sum" /tmp/out && sleep 1 &&
        [ "$(md5sum < /tmp/back | cut -d' ' -f1)" = "$sum" ] && echo "HOST-KVM-NET-$card-PASSED"
    kill $n 2>/dev/null
done
dmesg | grep -E 'BUG:|Oops|WARNING: CPU|general protection' && echo HOST-KERNEL-COMPLAINED
echo "HOST-END $(cut -d' ' -f1 /proc/uptime)"
sync; sleep 1; poweroff -f
INIT
chmod 755 "$root/init"
(cd "$root" && find . | cpio -o -H newc --owner 0:0 --quiet | gzip -1) > "$work/initrd.gz"

# idle=poll: QEMU's emulated AMD-V now and then never wakes a host that halted (seen: the emulator at no CPU
# time at all while the host's shell slept). A host that falls silent before HOST-END says nothing about us
# and is started once more; what failed inside a host that reached its end stays failed.
for attempt in 1 2; do
    rm -f "$log"
    echo "+ qemu-system-x86_64 -accel tcg -cpu $cpu: host with kvm-amd, output in $log"
    nice timeout "${GH_HOST_TIMEOUT:-580}" qemu-system-x86_64 -machine pc -accel tcg -cpu "$cpu" -smp 1 -m 1024 -nodefaults \
        -display none -serial "file:$log" -no-reboot -kernel "$host/vmlinuz" -initrd "$work/initrd.gz" \
        -append "console=ttyS0 quiet panic=-1 random.trust_cpu=on idle=poll" < /dev/null
    grep -aq HOST-END "$log" && break
    echo "the emulated host fell silent in attempt $attempt"
done

status=0
for marker in HOST-KVM-THERE HOST-ACCEL-TEST-PASSED HOST-KVM-BOOT-PASSED HOST-KVM-SMP-PASSED HOST-AUTO-CHOSE-KVM \
    HOST-KVM-DISK-ide-PASSED HOST-KVM-DISK-ahci-PASSED HOST-KVM-DISK-nvme-PASSED HOST-KVM-DISK-virtio-PASSED \
    HOST-KVM-NET-virtio-net-PASSED HOST-KVM-NET-e1000-PASSED HOST-END; do
    if grep -aq "$marker" "$log"; then echo "ok: $marker"; else echo "FAILED: no $marker"; status=1; fi
done
if grep -aq HOST-KERNEL-COMPLAINED "$log"; then echo "FAILED: the host's kernel complained"; status=1; fi
[ $status = 0 ] || tail -n 60 "$log"
exit $status
