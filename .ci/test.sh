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
# failed what its failing tests have printed, the last lines of each; everything,
# if none of them says that it failed (a panic, a build) or there is a data race.
shorten() {
	awk -v most=80 '
		function forget() { split("", out); split("", lines); split("", names); count = 0; whole = 0; kept = "" }
		function report(  i, name, n, from) {
			if (whole || count == 0) { if (kept != "FAIL\n") printf "%s", kept; return }
			for (i = 1; i <= count; i++) {
				name = names[i]
				print said[name]
				n = lines[name]
				from = n > most ? n - most + 1 : 1
				if (from > 1) print "    [" from - 1 " lines more]"
				for (; from <= n; from++) print out[name, from]
			}
		}
		/^(ok|\?) +\t/ { if (!/no test files/) print; forget(); next }
		/^FAIL\t/ { report(); print; forget(); next }
		/^=== (RUN|CONT|NAME|PAUSE)/ { test = $3; next }
		/^ *--- PASS/ { next }
		/^ *--- FAIL: / { names[++count] = $3; said[$3] = $0; kept = kept $0 "\n"; next }
		/^(panic: |fatal error: |WARNING: DATA RACE)/ { whole = 1 }
		{ kept = kept $0 "\n"; out[test, ++lines[test]] = $0 }
		END { report() }' "$log"
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
