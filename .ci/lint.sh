#!/bin/sh
# gofmt, go vet and staticcheck in every module; `make lint` has built the tools.
# Arguments choose some of them: lint.sh fmt, lint.sh vet staticcheck.
set -u
cd "$(dirname "$0")/.."
. .ci/lib.sh

root=$PWD
failed=0

lint_fmt() {
	unformatted=$(find . \( -name node_modules -o -name bin -o -name .git \) -prune -o -name '*.go' -print | xargs gofmt -l)
	[ -z "$unformatted" ] || { printf 'not formatted, run gofmt -w on:\n%s\n' "$unformatted"; failed=1; }
}

in_modules() {
	for module in $(go_modules); do
		(cd "$module" && "$@") || failed=1
	done
}

for check in ${*:-fmt vet staticcheck}; do
	case $check in
	fmt) lint_fmt ;;
	vet) in_modules go vet ./... ;;
	staticcheck) in_modules "$root/bin/staticcheck" ./... ;;
	*) echo "unknown check: $check" >&2; exit 2 ;;
	esac
done
exit $failed
