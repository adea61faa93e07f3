#!/bin/sh
# Run the tests of every module with the race detector. Prints one line a
# package, and the whole output of those that fail. A skipped test is listed;
# with RR_REQUIRE_EXTERNAL=1 it is a failure, so that nothing goes untested
# unseen, unless it says "not here:" and why: what this machine or this user
# cannot do, such as mounting a disk, or being refused as root. (Fuzz targets may
# skip seeds that are of no interest to them.)
set -u
cd "$(dirname "$0")/.."
. .ci/lib.sh

mkdir -p bin
log=$PWD/bin/test.log
failed=0

# Keeps of `go test -v`: one line for a package that passed, and for one that
# failed its output, without the lines of the tests that passed.
shorten() {
	awk '
		/^(ok|\?) +\t/ { if (!/no test files/) print; kept = ""; next }
		/^FAIL\t/ { printf "%s", kept; print; kept = ""; next }
		/^ *(=== (RUN|PAUSE|CONT|NAME)|--- PASS)/ { next }
		{ kept = kept $0 "\n" }
		END { if (kept != "FAIL\n") printf "%s", kept }' "$log"
}

test_module() {
	printf '\n-- go test -race ./... in %s\n' "$1"
	(cd "$1" && go test -race -vet=off -timeout 15m -v ./...) >"$log" 2>&1 </dev/null || failed=1
	shorten
	echo "$(grep -cE '^ *--- PASS' "$log") passed, $(grep -cE '^ *--- FAIL' "$log") failed"
	skipped=$(grep -E '^ *--- SKIP' "$log" | grep -vc 'SKIP: Fuzz')
	excused=$(grep -cE '_test\.go:[0-9]+: not here: ' "$log")
	if [ "$skipped" != 0 ]; then
		echo "skipped:"
		grep -E -B2 '^ *--- SKIP' "$log" | grep -vE '^ *(--- SKIP: Fuzz|--- PASS|=== |--$)'
		if [ "${RR_REQUIRE_EXTERNAL:-0}" = 1 ] && [ "$skipped" -gt "$excused" ]; then
			failed=1
		fi
	fi
}

modules=$(go_modules)
for module in $modules; do
	test_module "$module"
done
exit $failed
