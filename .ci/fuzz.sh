#!/bin/sh
# Run each fuzz target of the root module for FUZZTIME, found by asking the
# packages which they have. An input that fails is written to the package's
# testdata/fuzz/, where it becomes a test: commit it with the fix.
set -u
cd "$(dirname "$0")/.."

failed=0
found=0
packages=$(grep -rl --include='*_test.go' --exclude-dir=node_modules '^func Fuzz' . | xargs -r -n1 dirname | sort -u)
for package in $packages; do
	targets=$(go test -list '^Fuzz' "$package" | grep '^Fuzz') || { echo "$package does not build" >&2; exit 1; }
	for target in $targets; do
		found=$((found + 1))
		printf '\n-- %s in %s for %s\n' "$target" "$package" "${FUZZTIME:-20s}"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-20s}" "$package" || failed=1
	done
done
printf '\n%d fuzz targets\n' "$found"
[ "$found" -gt 0 ] || { echo "no fuzz target was found" >&2; exit 1; }
exit $failed
