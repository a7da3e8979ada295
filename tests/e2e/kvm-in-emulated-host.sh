#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# gasthaus-test: long 1800
#
# The whole product on KVM where the computer at hand cannot: a Debian host with AMD-V and kvm-amd, emulated
# by QEMU, whose initramfs holds gasthaus-vm. In it
#   1. the kvm accelerator's own test runs against real nested paging,
#   2. gasthaus-vm boots Debian's kernel through KVM to a marker, sandboxed, with one and two processors, and
#      ends with status 0,
#   3. --accel auto chooses kvm there,
#   4. a guest on KVM writes and reads a disk on each bus, and the host finds in the image what it wrote,
#   5. a guest on KVM gets an address from the NAT with each network card, and moves data both ways.
# With arguments, only these parts in this order, as often as they are named:
#   accel boot smp auto ide ahci nvme virtio virtio-net e1000
# The verdict is the host's serial output; a marker is printed only after the step before it was checked.
set -uo pipefail
top=${GH_TOP:-$(cd "$(dirname "$0")/../.." && pwd)}
build=${GH_BUILD:-$top/build}
out=${GH_OUT:-$build/test-output}
log=$out/kvm-in-emulated-host.serial
cpu=${GH_HOST_CPU:-EPYC}
parts=("$@")
[ $# -gt 0 ] || parts=(accel boot smp auto ide ahci nvme virtio virtio-net e1000)
mkdir -p "$out"

skip() { echo "skipped: $*"; exit 77; }
for program in qemu-system-x86_64 busybox cpio taskset; do
    command -v $program >/dev/null || skip "$program is not installed"
done
vm=$build/src/engine/machine/gasthaus-vm
[ -x "$vm" ] || { echo "FAILED: $vm is not built"; exit 1; }
host=$("$top/tools/guest-image" kvm-host) || { echo "FAILED: tools/guest-image kvm-host"; exit 1; }
guest=$("$top/tools/guest-image" linux) || { echo "FAILED: tools/guest-image linux"; exit 1; }

work=$(mktemp -d)
qemu=
trap '[ -z "$qemu" ] || kill $qemu 2>/dev/null; rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
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
# A guest that is still there after 480 s is stuck: where its threads stand is the host's half of an answer.
watch_over() {
    sleep 480
    for t in /proc/[0-9]*/task/*; do
        case $(readlink ${t%/task/*}/exe) in
        */gasthaus-*) echo "stuck| $(cat $t/comm): $(grep State $t/status) $(cat $t/wchan) $(cat $t/syscall)"
            sed 's/^/stuck|     /' $t/stack ;;
        esac
    done
}
boot() {
    watch_over & watcher=$!
    timeout -s INT 600 gasthaus-vm --name inner --memory 160M --serial stdio --no-reboot --kernel /g/vmlinuz --initrd /g/initrd.gz \
        --append "console=ttyS0 quiet gh.test=boot" "$@" < /dev/null > /tmp/out 2>&1
    status=$?
    kill $watcher
    sed 's/^/inner| /' /tmp/out | tail -25
    [ $status = 0 ] && grep -q GUEST-READY /tmp/out
}
disk() { # by bus
    rm -f /tmp/disk.raw; truncate -s 64M /tmp/disk.raw
    boot --accel kvm --disk /tmp/disk.raw,format=raw,bus=$1 --append "console=ttyS0 quiet gh.test=disk" &&
        grep -q "GUEST-DISK .* $(dd if=/tmp/disk.raw bs=1M skip=8 count=16 2>/dev/null | md5sum)" /tmp/out
}
net() { # by card
    rm -f /tmp/back; sleep 600 | nc -l -p 8081 > /tmp/back & listener=$! # an open input: nc would send an end
    boot --accel kvm --net nat,model=$1,host-loopback --append "console=ttyS0 quiet gh.test=net" &&
        grep -q 'GUEST-ADDRESS 10.0.2.15' /tmp/out && grep -q "GUEST-GOT $sum" /tmp/out && sleep 1 &&
        [ "$(md5sum < /tmp/back | cut -d' ' -f1)" = "$sum" ]
    r=$?
    kill $listener 2>/dev/null
    return $r
}
part() {
    case $1 in
    accel) test-kvm ;;
    boot) boot --accel kvm ;;
    smp) boot --accel kvm --cpus 2 --append "console=ttyS0 gh.test=boot" && grep -q 'Brought up 1 node, 2 CPUs' /tmp/out ;;
    auto) GH_LOG=info boot --accel auto && grep -q 'KVM runs guest' /tmp/out ;;
    ide|ahci|nvme|virtio) disk $1 ;;
    virtio-net|e1000) net $1 ;;
    *) false ;;
    esac
}
ip link set lo up
mkdir -p /srv; dd if=/dev/urandom of=/srv/data bs=1M count=4 2>/dev/null
sum=$(md5sum < /srv/data | cut -d' ' -f1)
httpd -h /srv -p 127.0.0.1:8080
n=0
for p in $(cat /parts); do
    n=$((n + 1))
    part $p && echo "HOST-PART-$n-$p-PASSED $(cut -d' ' -f1 /proc/uptime)"
done
dmesg | grep -E 'BUG:|Oops|WARNING: CPU|general protection' && echo HOST-KERNEL-COMPLAINED
echo "HOST-END $(cut -d' ' -f1 /proc/uptime)"
sync; sleep 1; poweroff -f
INIT
chmod 755 "$root/init"
echo "${parts[*]}" > "$root/parts"
(cd "$root" && find . | cpio -o -H newc --owner 0:0 --quiet | gzip -1) > "$work/initrd.gz"

# On one processor of ours, because QEMU 7.2 loses interrupts of a processor that runs nested guests: its VMRUN and
# #VMEXIT change the word of pending interrupts (cs->interrupt_request in target/i386/tcg/sysemu/svm_helper.c) without
# the lock under which the timer's thread sets the local APIC's bit in it. The emulated host then waits for ever for
# its only timer interrupt, which stands in the APIC's IRR; any other interrupt, as by the monitor's "sendkey a",
# wakes it. Each change is one instruction: threads that share a processor cannot come in between. (-icount has no
# such threads either, but a guest with two processors that wait for each other by PAUSE takes minutes with it.)
allowed=$(taskset -pc $$)
rm -f "$log"
echo "+ qemu-system-x86_64 -accel tcg -cpu $cpu: host with kvm-amd, output in $log"
nice taskset -c "${allowed##*[ ,-]}" qemu-system-x86_64 -machine pc -accel tcg -cpu "$cpu" -smp 1 -m 1024 -nodefaults \
    -display none -serial "file:$log" -no-reboot -kernel "$host/vmlinuz" -initrd "$work/initrd.gz" \
    -append "console=ttyS0 quiet panic=-1 random.trust_cpu=on nowatchdog no_timer_check" < /dev/null &
qemu=$!
# On a busy machine QEMU itself stands still: longer than a "soft lockup" takes, or than the timer is tried for at the start.
# The last line counts, not how the host powers off: ten seconds for that, then it is pulled.
ends=$((SECONDS + ${GH_HOST_TIMEOUT:-1700}))
while kill -0 $qemu 2>/dev/null && [ $SECONDS -lt $ends ]; do
    grep -aq HOST-END "$log" 2>/dev/null && [ $((SECONDS + 10)) -lt $ends ] && ends=$((SECONDS + 10))
    sleep 0.5
done
kill $qemu 2>/dev/null && echo "the emulated host was still there and was ended"
wait $qemu
qemu=

status=0
n=0
markers=HOST-KVM-THERE
for part in "${parts[@]}"; do
    n=$((n + 1))
    markers+=" HOST-PART-$n-$part-PASSED"
done
for marker in $markers HOST-END; do
    if grep -aq "$marker" "$log"; then echo "ok: $marker"; else echo "FAILED: no $marker"; status=1; fi
done
if grep -aq HOST-KERNEL-COMPLAINED "$log"; then echo "FAILED: the host's kernel complained"; status=1; fi
[ $status = 0 ] || tail -n 60 "$log"
exit $status
