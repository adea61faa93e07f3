#!/bin/sh
# Install what the tests need outside Go: node, for the examples that call the
# gateway with an npm package, and those packages. Changes the system only as
# root, where apt is, and only when node is missing. What cannot be installed is
# said; the tests that need it then fail, or are skipped with
# RR_REQUIRE_EXTERNAL=0.
set -eu
cd "$(dirname "$0")/.."

packages=$(find examples -name node_modules -prune -o -name package.json -print 2>/dev/null | sort)
[ -n "$packages" ] || exit 0

if ! command -v npm >/dev/null || ! command -v node >/dev/null; then
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		apt-get update -qq
		DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends nodejs npm
	else
		echo "node and npm are missing: install them, or use RR_REQUIRE_EXTERNAL=0 to skip the tests that need them" >&2
		exit 0
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
