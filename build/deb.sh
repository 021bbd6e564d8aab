#!/bin/sh
# Makes dist/certd_<version>_<arch>.deb; `OUT=dir` puts it elsewhere, GOARCH is for
# another machine, MAINTAINER='Name <mail>' who answers for it. The same commit
# makes the same package.
set -eu
cd "$(dirname "$0")/.."
: "${GO:=go}" "${OUT:=dist}" "${VERSION=}"
[ -n "${MAINTAINER-}" ] || MAINTAINER="The certd authors <certd@localhost>"
umask 022

case $MAINTAINER in
*[[:cntrl:]]* | *'<'*'<'* | *'>'*'>'*) good=no ;;
?*' <'?*'@'?*'>') good=yes ;;
*) good=no ;;
esac
if [ $good = no ]; then
	echo "deb: MAINTAINER '$MAINTAINER': want one line such as Jo Doe <jo@example.com>" >&2
	exit 64
fi

commit=$(git rev-parse --short=9 HEAD 2>/dev/null) || commit=unknown
[ -n "${SOURCE_DATE_EPOCH-}" ] || SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null) || SOURCE_DATE_EPOCH=$(date +%s)
export SOURCE_DATE_EPOCH

# Debian's versions begin with a digit and sort: 1.2.0~rc1 < 1.2.0 < 1.2.0+5.gabc;
# before the first tag they go by the time of the commit.
if [ -z "$VERSION" ]; then
	if tag=$(git describe --tags --match 'v[0-9]*' 2>/dev/null); then
		VERSION=$(echo "${tag#v}" | sed -E 's/-([0-9]+)-g/+\1.g/; s/-/~/g')
	else
		VERSION=0.0.0+$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y%m%d%H%M%S).$commit
	fi
	git diff --quiet HEAD 2>/dev/null || VERSION=$VERSION+dirty
fi
arch=$("$GO" env GOARCH)
[ "$arch" != arm ] || arch=arm$("$GO" env GOARM | cut -c1)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
env -u GOOS -u GOARCH "$GO" -C tools/deb build -o "$work/pack" .
DESTDIR=$work/tree PREFIX=/usr VERSION=$VERSION build/install.sh >/dev/null

cd "$work/tree/usr/share"
mkdir -p zsh/vendor-completions doc/certd/examples
mv zsh/site-functions/_certd zsh/vendor-completions/ # where Debian's zsh looks
rmdir zsh/site-functions
cd "$OLDPWD"
doc=$work/tree/usr/share/doc/certd
cp README.md docs/*.md "$doc"
cp packaging/deb/examples/* "$doc/examples"
find "$doc" -name '*.md' -exec sed -i -E 's#\]\((\.\./)?(docs/)?([a-z-]+\.md)#](\3#g; s#\]\(\.\./README\.md#](README.md#g' {} +
gzip -9n <CHANGELOG.md >"$doc/changelog.gz"
{
	echo "certd is under this licence:"
	echo
	cat LICENSE
	# What is linked in comes with its own.
	for program in certd certd-dns; do
		"$GO" -C cmd/$program list -buildvcs=false -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}' .
	done | sort -u |
		while read -r module version dir; do
			find "$dir" -maxdepth 1 -type f \( -iname 'LICEN[CS]E*' -o -iname 'COPYING*' -o -iname 'NOTICE*' \) | sort |
				while read -r file; do
					printf '\n----\nIt contains %s %s, with %s:\n\n' "$module" "$version" "$(basename "$file")"
					cat "$file"
				done
		done
	printf '\n----\nIt contains the standard library of Go, with LICENSE:\n\n'
	cat "$("$GO" env GOROOT)/LICENSE" 2>/dev/null || echo "see https://go.dev/LICENSE"
} >"$doc/copyright"

mkdir -p "$OUT"
"$work/pack" -tree "$work/tree" -scripts packaging/deb -out "$OUT" -version "$VERSION" -arch "$arch" -maintainer "$MAINTAINER"
