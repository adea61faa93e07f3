#!/bin/sh
# Run the tests of every module with the race detector. Prints one line a
# package, and the whole output of those that fail. A skipped test is listed;
# with RR_REQUIRE_EXTERNAL=1 it is a failure, so that nothing goes untested
# unseen. (Fuzz targets may skip seeds that are of no interest to them.)
set -u
cd "$(dirname "$0")/.."
. .ci/lib.sh

mkdir -p bin
log=$PWD/bin/test.log
failed=0

test_module() {
	printf '\n-- go test -race ./... in %s\n' "$1"
	(cd "$1" && go test -race -vet=off -timeout 15m -v ./...) >"$log" 2>&1 </dev/null
	status=$?
	if [ $status -ne 0 ]; then
		# Without the lines of what passed, the failures can be found.
		grep -vE '^ *(=== (RUN|PAUSE|CONT|NAME)|--- PASS)' "$log"
		failed=1
	else
		grep -E '^(ok|\?) ' "$log" | grep -v 'no test files'
	fi
	echo "$(grep -cE '^ *--- PASS' "$log") passed, $(grep -cE '^ *--- FAIL' "$log") failed"
	skipped=$(grep -E -A2 '^ *--- SKIP' "$log" | grep -vE '^ *(--- SKIP: Fuzz|--- PASS|=== |--$)')
	if [ -n "$skipped" ]; then
		printf 'skipped:\n%s\n' "$skipped"
		[ "${RR_REQUIRE_EXTERNAL:-0}" != 1 ] || failed=1
	fi
}

modules=$(go_modules)
for module in $modules; do
	test_module "$module"
done
exit $failed
