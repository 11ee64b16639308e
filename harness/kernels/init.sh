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
mount -t debugfs debug /sys/kernel/debug
mount -t tracefs trace /sys/kernel/tracing

while read -r module; do
	insmod "/lib/modules/$module.ko" || say "cannot load module $module"
done < /etc/modules

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
