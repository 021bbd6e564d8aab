#!/bin/sh
# Installs, upgrades, removes and purges the package in a throw-away root, as
# dpkg does it, maintainer scripts included. Root only: dpkg calls chroot.
# `build/deb-test.sh FILE.deb` tests that one; without, it is built first.
# shellcheck disable=SC2317 # is calls the functions
set -eu
cd "$(dirname "$0")/.."

# count PASSED FAILED SKIPPED: for test.sh, which adds up.
count() { [ -z "${RESULTS-}" ] || echo "$@" >>"$RESULTS"; }

if [ "$(id -u)" != 0 ] || ! command -v dpkg >/dev/null; then
	echo "skip  package: takes dpkg, and root to chroot"
	count 0 0 1
	exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
deb=${1-}
maintainer=
if [ -z "$deb" ]; then
	maintainer='Jo Doe <jo@example.com>'
	deb=$(OUT=$work MAINTAINER=$maintainer build/deb.sh) || {
		echo "FAIL  package: cannot be built"
		count 0 1 0
		exit 1
	}
fi
root=$work/root
failed=0

# is TEXT COMMAND...: the command must succeed.
is() {
	text=$1
	shift
	if "$@" >"$work/said" 2>&1; then
		echo "ok    $text"
		count 1 0 0
	else
		cat "$work/said"
		echo "FAIL  $text"
		count 0 1 0
		failed=1
	fi
}
not() { ! "$@"; }
file() { [ -f "$root$1" ]; }
inside() { chroot "$root" "$@"; }
says() { grep -q -- "$1" "$2"; }
pkg() { dpkg --root="$root" --log=/dev/null --force-unsafe-io "$@" >"$work/dpkg" 2>&1 || { cat "$work/dpkg"; return 1; }; }

# A root with a shell and what the scripts call. systemctl only writes down what
# it is told: nothing of the machine is touched.
mkdir -p "$root/bin" "$root/dev" "$root/etc" "$root/tmp" "$root/run/systemd/system" "$root/var/lib/dpkg/info" "$root/var/lib/dpkg/updates"
: >"$root/dev/null" # a file will do
: >"$root/var/lib/dpkg/status"
ln -s bin "$root/sbin"
for tool in sh rm rmdir grep mkdir systemd-sysusers systemd-tmpfiles; do
	path=$(command -v "$tool") || continue
	cp -L "$path" "$root/bin/$tool"
	ldd "$path" 2>/dev/null | grep -o '/[^ ]*' | while read -r lib; do
		mkdir -p "$root$(dirname "$lib")"
		cp -nL "$lib" "$root$lib"
	done
done
printf '#!/bin/sh\necho "$*" >>/systemctl.log\n' >"$root/bin/systemctl"
chmod 755 "$root/bin/systemctl"
printf 'root:x:0:0:root:/root:/bin/sh\n' >"$root/etc/passwd"
printf 'root:x:0:\n' >"$root/etc/group"
: >"$root/systemctl.log"

# A key that was there before, and samples that have to be right.
mkdir -p "$root/var/lib/acme/keys/abc"
echo secret >"$root/var/lib/acme/keys/abc/privkey"
chmod 600 "$root/var/lib/acme/keys/abc/privkey"

[ -z "$maintainer" ] || is "names the maintainer it was given" [ "$(dpkg-deb -f "$deb" Maintainer)" = "$maintainer" ]
for bad in nobody 'Jo <jo>' 'jo@example.com' 'Jo <jo@example.com> <x@example.com>' "Jo <jo@example.com>
Depends: x"; do
	is "refuses the maintainer $(printf %s "$bad" | tr '\n' '|')" not env MAINTAINER="$bad" OUT="$work" build/deb.sh
done
is "installs" pkg -i "$deb"
is "says what to do next" says 'certd quickstart' "$work/dpkg"
is "the program runs" inside /usr/bin/certd version
is "the DNS helper runs" sh -c "chroot '$root' /usr/bin/certd-dns list | grep -q ^rfc2136"
for name in /usr/share/man/man8/certd-want.8.gz /usr/share/bash-completion/completions/certd \
	/usr/share/zsh/vendor-completions/_certd /usr/share/fish/vendor_completions.d/certd.fish \
	/usr/lib/systemd/system/certd.timer /usr/lib/systemd/system/certd.service /usr/lib/sysusers.d/certd.conf \
	/usr/lib/tmpfiles.d/certd.conf /usr/lib/acme/hooks/reload /usr/share/doc/certd/copyright \
	/usr/share/doc/certd/changelog.gz /usr/share/doc/certd/examples/target; do
	is "has $name" file "$name"
done
is "everything belongs to root" not sh -c "dpkg-deb -c '$deb' | grep -v ' root/root '"
if [ -x "$root/bin/systemd-sysusers" ]; then
	is "the user certd is there" says '^certd:' "$root/etc/passwd"
fi
is "enables and starts nothing" not says 'enable\|start' "$root/systemctl.log"
is "finds the bundled hooks" sh -c "chroot '$root' /usr/bin/certd hooks list | grep -q /usr/lib/acme/hooks/reload"
mkdir -p "$root/var/lib/acme/conf"
cp "$root"/usr/share/doc/certd/examples/* "$root/var/lib/acme/conf"
is "the samples are right" inside /usr/bin/certd plan
rm -r "$root/var/lib/acme/conf"

: >"$root/systemctl.log"
is "upgrades" pkg -i "$deb"
is "restarts only what runs" says '^try-restart certd.service' "$root/systemctl.log"
is "disables nothing in an upgrade" not says 'disable\|^stop' "$root/systemctl.log"

managed='# a file of quickstart\n#!certd-managed!#\n'
mkdir -p "$root/etc/systemd/system" "$root/etc/cron.d"
# shellcheck disable=SC2059 # the format is the file
printf "$managed" >"$root/etc/systemd/system/certd.service"
# shellcheck disable=SC2059
printf "$managed"'1 2 * * * root /usr/bin/certd --batch reconcile\n' >"$root/etc/cron.d/certd"
echo '# my own' >"$root/etc/systemd/system/certd.timer"
: >"$root/systemctl.log"
is "removes" pkg -r certd
is "stops what runs" says '^stop .*certd.service' "$root/systemctl.log"
is "disables what was enabled" says 'disable .*certd.timer' "$root/systemctl.log"
is "the program is gone" not file /usr/bin/certd
is "cron does not call it any more" not file /etc/cron.d/certd
is "the key stays" file /var/lib/acme/keys/abc/privkey

is "installs again" pkg -i "$deb"
is "purges" pkg -P certd
is "says that keys stay" says 'private keys stay in /var/lib/acme' "$work/dpkg"
is "the key stays after purge" says secret "$root/var/lib/acme/keys/abc/privkey"
is "installs to be purged with its keys" pkg -i "$deb"
is "purges keys if asked" env CERTD_PURGE_KEYS=yes sh -c '"$@" >"$0" 2>&1' "$work/dpkg" dpkg --root="$root" --log=/dev/null --force-unsafe-io -P certd
is "the key is gone" not file /var/lib/acme/keys/abc/privkey
is "what quickstart wrote is gone" not file /etc/systemd/system/certd.service
is "what the administrator wrote stays" file /etc/systemd/system/certd.timer
is "nothing of it is listed" sh -c "! dpkg --root='$root' -s certd 2>/dev/null | grep -q '^Status: install'"
exit $failed
