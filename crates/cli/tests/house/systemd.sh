#!/bin/sh
# systemd as the first process of namespaces of its own, in control groups of its own. It runs on the files of this machine,
# with a `/run` and an `/etc` that are gone with it. Arguments: a folder for it, a name for the control groups.
set -eu
room=$1 name=$2
if [ "${3-}" != inside ]; then
  while read -r _ folder type _; do
    case $type in
      cgroup | cgroup2)
        mkdir "$folder/$name"
        # No process may enter a set of no processors.
        for file in cpuset.cpus cpuset.mems; do
          [ ! -f "$folder/$file" ] || [ "$type" = cgroup2 ] || cat "$folder/$file" > "$folder/$name/$file"
        done
        echo $$ > "$folder/$name/cgroup.procs"
        ;;
    esac
  done < /proc/mounts
  exec unshare --mount --pid --fork --kill-child=KILL --uts --ipc --cgroup --mount-proc sh "$0" "$room" "$name" inside
fi
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mkdir "$room/disk"
mount -t tmpfs tmpfs "$room/disk"
mkdir "$room/disk/new" "$room/disk/work"
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$room/disk/new,workdir=$room/disk/work" /etc
# What it would set there is the machine's.
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
mount -t tmpfs tmpfs /sys/fs/cgroup
mkdir -p /run/systemd/system
cp "$room"/*.service "$room/rowhouse-test.target" /run/systemd/system
touch "$room/ready"
exec env -i container=lxc PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  /lib/systemd/systemd --system --unit=rowhouse-test.target --log-target=null --show-status=0
