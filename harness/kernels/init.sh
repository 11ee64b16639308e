#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# PID 1 of the guest: mounts, modules, network, sshd, and one line that says so.
#
# What a waiting program reads on the console is written through /dev/kmsg: whole lines that the
# kernel's own messages cannot cut in two, with the guest's clock in front.
#   harness: ready RELEASE      sshd listens
#   harness: failed REASON      it never will

export PATH=/usr/sbin:/usr/bin:/sbin:/bin

say() { echo "<2>harness: $*" > /dev/kmsg; }

/bin/busybox mount -t proc proc /proc
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
mount -t sysfs sys /sys
mkdir -p /dev/pts /dev/shm
mount -t devpts -o mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t tmpfs -o mode=1777 tmp /tmp
# Not there with debugfs=off on the command line.
mount -t debugfs debug /sys/kernel/debug 2> /dev/null
mount -t tracefs trace /sys/kernel/tracing

while read -r module options; do
	# shellcheck disable=SC2086  # options are words
	insmod "/lib/modules/$module.ko" $options || say "cannot load module $module"
done < /etc/modules

# What the guest suite finds: swap, huge pages, and no thread of the kernel that moves, merges or
# collapses pages by itself, since each of that is a fault that no scenario asked for.
set_to() { [ ! -w "$1" ] || echo "$2" > "$1"; } 2> /dev/null

if [ -b /dev/ram0 ]; then
	mkswap /dev/ram0 > /dev/null && swapon /dev/ram0
fi
for pool in /sys/kernel/mm/hugepages/hugepages-*; do
	kib=${pool##*-}
	case ${kib%kB} in
	64) pages=32 ;;
	2048) pages=24 ;;
	32768) pages=3 ;;
	*) continue ;;	# 1G: from the command line
	esac
	set_to "$pool/nr_hugepages" "$pages"
done
thp=/sys/kernel/mm/transparent_hugepage
set_to $thp/enabled always
set_to $thp/defrag always
set_to $thp/shmem_enabled never
set_to $thp/khugepaged/defrag 0
set_to $thp/khugepaged/max_ptes_none 0
set_to $thp/khugepaged/max_ptes_swap 0
set_to $thp/khugepaged/max_ptes_shared 0
set_to $thp/khugepaged/pages_to_scan 1
set_to $thp/khugepaged/alloc_sleep_millisecs 4000000000
set_to $thp/khugepaged/scan_sleep_millisecs 4000000000
set_to /sys/kernel/mm/ksm/run 0
set_to /proc/sys/kernel/numa_balancing 0
set_to /proc/sys/vm/compaction_proactiveness 0
# It takes the access flag from pages as it samples them, those of guests too.
set_to /sys/module/damon_stat/parameters/enabled N
# Else kswapd runs, and ages what guests map, when free memory is plentiful but fragmented.
set_to /proc/sys/vm/watermark_boost_factor 0

hostname guest
ip link set lo up
if ! ip link set eth0 up; then
	say "failed no network interface eth0: the kernel has no virtio-net, or QEMU no device"
elif ! { ip addr add 10.0.2.15/24 dev eth0 && ip route add default via 10.0.2.2; }; then
	say "failed the network address cannot be set"
elif ! dropbear -s -E -r /etc/dropbear/host_key 2> /var/log/dropbear; then
	say "failed sshd does not start: $(tail -n 1 /var/log/dropbear)"
else
	say "ready $(uname -r)"
fi

# A shell that waits also reaps what is orphaned.
while :; do
	sleep 3600
done
