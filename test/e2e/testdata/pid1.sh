# Boots systemd as process 1 of a throw-away system: pid1.sh ROOT CGROUP. It runs
# in new namespaces for processes, mounts, network, host name and IPC, and belongs
# to them: what it mounts is gone with it. /usr is this machine's, read-only; all
# else is made here. Capabilities that reach beyond namespaces are dropped.
set -eu
if [ "${3-}" != inside ]; then
	echo 0 >"$2/cgroup.procs"
	exec unshare --cgroup sh "$0" "$1" "$2" inside
fi
root=$1
mount --make-rprivate /
mount --bind "$root" "$root"
cd "$root"
mkdir -p usr proc sys dev run tmp var/lib var/tmp srv root home old
for link in bin sbin lib lib64; do
	if [ -L /$link ]; then
		cp -P /$link $link
	elif [ -d /$link ]; then
		mkdir $link
		mount --rbind /$link $link
	fi
done
[ ! -d /etc/alternatives ] || cp -a /etc/alternatives etc/ # Debian's awk is a link there
mount --bind /usr usr
mount -o remount,bind,ro usr
# Only what is asked for starts: nothing of this machine's packages.
for wants in usr/lib/systemd/system/*.wants; do
	mount -t tmpfs -o mode=755 none "$wants"
done
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 none dev
for device in null zero full random urandom tty; do
	: >dev/$device
	mount --bind /dev/$device dev/$device
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount -t tmpfs -o mode=755 none run
mount -t tmpfs -o mode=1777 none tmp
ip link set lo up
pivot_root . old
umount -l old
rmdir old
exec env -i container=certd-test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
	/usr/bin/setpriv --bounding-set=-sys_time,-sys_module,-sys_rawio,-sys_boot,-wake_alarm,-syslog \
	/usr/lib/systemd/systemd --unit=basic.target --log-target=console --show-status=no </dev/null
