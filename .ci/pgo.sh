#!/bin/sh
# Measure what profile-guided optimization (go.dev/doc/pgo) would give: takes a CPU
# profile of a gateway under the benchmark's load, builds the published binary with it,
# and compares the two by turns. Leaves bin/rr.pprof and bin/caddy-pgo. A build from
# nothing with a profile takes some minutes. Needs curl.
#
# Environment: SECONDS_OF_PROFILE (30), BENCHFLAGS for the comparison.
set -eu
cd "$(dirname "$0")/.."

seconds=${SECONDS_OF_PROFILE:-30}
go build -buildvcs=false -o bin/bench ./internal/bench
go run ./internal/release binary -o bin/caddy-plain

# Rows take turns, so the gateway of the row is busy for half of the profile's time.
folder=$(mktemp -d)
TMPDIR=$folder bin/bench -caddy bin/caddy-plain -parts one-core -rows '^key-bearer$' -lives 1 \
	-rounds $((seconds * 10)) -duration 200ms -warmup 1s >"$folder/said" 2>&1 &
load=$!
trap 'kill $load 2>/dev/null || true; wait $load 2>/dev/null || true; rm -rf "$folder"' EXIT
sleep 4 # both warm-ups of both rows
if ! curl -sS -f -o bin/rr.pprof --unix-socket "$folder"/rr-bench-*/1/admin.sock "http://admin/debug/pprof/profile?seconds=$seconds"; then
	cat "$folder/said" >&2
	exit 1
fi
kill $load
wait $load 2>/dev/null || true
go tool pprof -top -nodecount 5 bin/rr.pprof

go run ./internal/release binary -pgo bin/rr.pprof -o bin/caddy-pgo
ls -l bin/caddy-plain bin/caddy-pgo
# shellcheck disable=SC2086 # flags
bin/bench -caddy bin/caddy-plain -parts one-core -rows '^(key-bearer|again|pgo)$' \
	-variant again=key-bearer -variant pgo=key-bearer,caddy=bin/caddy-pgo ${BENCHFLAGS-}
