#!/bin/sh
# Build the published binary from two clones of the commit that is checked out, in
# folders of different length and depth, and fail unless the two are the same file.
#
#   reproducible.sh        both with the machine's build cache: finds what depends on
#                          the folder, the clock or the linker's mood. What does not
#                          depend on the folder is compiled once, so it is quick.
#   reproducible.sh cold   each with an empty cache, so that the compiler runs twice
#                          too; some minutes more
#
# Only what is committed is built; with uncommitted changes that is said.
set -eu
cd "$(dirname "$0")/.."

top=$PWD
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
[ -z "$(git status --porcelain)" ] || echo "note: what is not committed is not in these builds"

build() { # build FOLDER: clones there and builds ../FOLDER's name.bin
	git clone -q "$top" "$1"
	if [ "${2-}" = cold ]; then
		(cd "$1" && GOCACHE="$1.cache" go run ./internal/release binary -o "$1.bin")
	else
		(cd "$1" && go run ./internal/release binary -o "$1.bin")
	fi
}

first=$work/a
second=$work/another/folder/with-a-longer-name
mkdir -p "$(dirname "$second")"
build "$first" "${1-}"
build "$second" "${1-}"
sha256sum "$first.bin" "$second.bin"
cmp "$first.bin" "$second.bin"

for path in "$work" "$top" "$(go env GOMODCACHE)" "$(go env GOCACHE)"; do
	if grep -qaF "$path" "$first.bin"; then
		echo "the binary has the path $path in it" >&2
		exit 1
	fi
done
echo "the same file, $(wc -c <"$first.bin") bytes, with $(go version "$first.bin" | sed 's/.*: //')"
