#!/bin/sh
# A machine that leaves no trace: a root that lies over that of this one, processes and a network of its own, and beside
# it what answers at 169.254.169.254. Arguments: a folder for it, programs that it has besides, and folders to be seen in it.
set -eu
room=$1 layer=$2
shift 2

unshare --net sleep infinity &
metadata=$!
while [ "$(readlink /proc/self/ns/net)" = "$(readlink "/proc/$metadata/ns/net")" ]; do sleep 0.01; done
there() { nsenter --target "$metadata" --net "$@"; }
ip link set lo up
ip link add eth0 type veth peer name eth0 netns "$metadata"
ip address add 10.0.0.7/24 dev eth0
ip link set eth0 up
ip route add 169.254.169.254 dev eth0
there ip address add 169.254.169.254/32 dev eth0
there ip link set eth0 up
there ip route add 10.0.0.0/24 dev eth0
there python3 "$room/metadata.py" > "$room/metadata.log" 2>&1 &

mkdir "$room/disk" "$room/root"
mount -t tmpfs tmpfs "$room/disk"
mkdir "$room/disk/new" "$room/disk/work"
cp -a "$layer/." "$room/disk/new"
mount -t overlay overlay -o "lowerdir=/,upperdir=$room/disk/new,workdir=$room/disk/work" "$room/root"
mount -t proc proc "$room/root/proc"
mount --rbind /dev "$room/root/dev"
mount -t tmpfs tmpfs "$room/root/run"
mount -t tmpfs -o mode=1777 tmpfs "$room/root/tmp"
for folder do
  mkdir -p "$room/root$folder"
  mount --bind "$folder" "$room/root$folder"
  mount -o remount,bind,ro "$room/root$folder"
done
touch "$room/ready"
exec sleep infinity
