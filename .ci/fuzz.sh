#!/bin/sh
# Run each fuzz target of the root module for FUZZTIME, found by asking the
# packages which they have; FUZZ, a regular expression, chooses among them. How long
# all of it takes at most is printed first. An input that fails is written to the
# package's testdata/fuzz/, where it becomes a test: commit it with the fix.
set -u
cd "$(dirname "$0")/.."
time=${FUZZTIME:-20s}

# Targets with their packages, one a line. Examples are modules of their own.
targets() {
	grep -rl --include='*_test.go' --exclude-dir=node_modules --exclude-dir=examples '^func Fuzz' . | sort | xargs -r \
		awk '/^func Fuzz/ { name = $2; sub(/\(.*/, "", name); folder = FILENAME; sub(/\/[^\/]*$/, "", folder); print name, folder }' |
		grep -E "^[A-Za-z0-9_]*(${FUZZ:-.})"
}

list=$(targets)
found=$(printf '%s' "$list" | grep -c .)
[ "$found" -gt 0 ] || { echo "no fuzz target was found" >&2; exit 1; }
printf '%d fuzz targets, %s each: %s x %s and the time to compile\n' "$found" "$time" "$found" "$time"

failed=0
began=$(date +%s)
while read -r target package; do
	printf '\n-- %s in %s for %s\n' "$target" "$package" "$time"
	go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$package" </dev/null || failed=1
done <<END
$list
END
printf '\n%d fuzz targets in %d s\n' "$found" $(($(date +%s) - began))
exit $failed
