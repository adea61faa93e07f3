#!/bin/sh
# Install what the tests need outside Go: a C compiler (the race detector), curl, jq,
# node for the npm packages that call the gateway (examples/) or that it calls
# (test/), and those packages. Changes the system only as root, where apt is,
# and only for what is missing. What cannot be installed is said; the tests that
# need it then fail, or are skipped with RR_REQUIRE_EXTERNAL=0.
set -eu
cd "$(dirname "$0")/.."

packages=$(find examples test -name node_modules -prune -o -name package.json -print 2>/dev/null | sort)

missing=
need() { # need COMMAND DEBIAN-PACKAGE
	command -v "$1" >/dev/null || missing="$missing $2"
}
need gcc "gcc libc6-dev"
need curl curl
need jq jq # the shell blocks of the pages
need openssl openssl
if [ -n "$packages" ]; then
	need node nodejs
	need npm npm
fi

if [ -n "$missing" ]; then
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		apt-get update -qq
		# shellcheck disable=SC2086 # a list of packages
		DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing </dev/null
	else
		echo "missing, install them by hand:$missing" >&2
		echo "(RR_REQUIRE_EXTERNAL=0 skips the tests that need node)" >&2
	fi
fi
command -v npm >/dev/null || exit 0

# The OpenID provider of the tests needs a younger node than some distributions have.
if [ "$(node -p 'process.versions.node.split(".")[0]')" -lt 20 ] && [ ! -d bin/node/node_modules ]; then
	case $(uname -m) in
	x86_64) arch=x64 ;;
	aarch64) arch=arm64 ;;
	*) arch= ;;
	esac
	if [ -n "$arch" ]; then
		echo "node $(node --version) is too old for test/testdata/oidc: taking one from npm"
		npm install --prefix bin/node --no-audit --no-fund --ignore-scripts "node-linux-$arch@22" </dev/null
	fi
fi

# npm ci deletes and reinstalls; once per lock file is enough.
for package in $packages; do
	folder=$(dirname "$package")
	mark=$folder/node_modules/.installed
	if [ -f "$mark" ] && cmp -s "$mark" "$folder/package-lock.json"; then
		continue
	fi
	echo "npm ci in $folder"
	(cd "$folder" && npm ci --no-audit --no-fund --ignore-scripts </dev/null)
	cp "$folder/package-lock.json" "$mark"
done
