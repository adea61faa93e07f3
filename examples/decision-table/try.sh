#!/bin/sh
# Runs a scenario: starts a gateway, makes the scenario's calls, compares what comes with its
# expected.txt, and stops the gateway.
#
#   try.sh SCENARIO         the gateway has the scenario's Caddyfile
#   try.sh SCENARIO --api   it has api.caddyfile, and the scenario's api.sh makes the rest
#
# Environment: RR_PORT and STANDIN_PORT, ports on 127.0.0.1 (8080 and 9001); others as in lib.sh.
set -eu
cd "$(dirname "$0")/../.."
folder=examples/decision-table

fail() {
	echo "try.sh: $*" >&2
	exit 1
}

scenario=$folder/${1:-none}
[ -f "$scenario/calls.sh" ] || fail "say which: $(cd $folder && echo */ | tr -d /)"
case ${2-} in
'') config=$scenario/Caddyfile ;;
--api) config=$folder/api.caddyfile ;;
*) fail "what is $2?" ;;
esac

export STANDIN_PORT="${STANDIN_PORT:-9001}"
export VENDOR_PORT="${VENDOR_PORT:-$STANDIN_PORT}" AUTH0_PORT="${AUTH0_PORT:-$STANDIN_PORT}"
export OKTA_PORT="${OKTA_PORT:-$STANDIN_PORT}" TOKEN_PORT="${TOKEN_PORT:-$STANDIN_PORT}"
gateway=http://127.0.0.1:${RR_PORT:-8080}/
command -v curl >/dev/null || fail "curl is needed"
if curl -s --noproxy '*' -o /dev/null "$gateway"; then fail "something else answers at $gateway (RR_PORT says another port)"; fi
go build -buildvcs=false -o bin/caddy ./cmd/caddy

dir=$(mktemp -d)
RR_STORE=$dir/rr.db bin/caddy run --envfile $folder/example.env --config "$config" >"$dir/log" 2>&1 &
pid=$!
trap 'kill $pid 2>/dev/null || true; wait $pid || true; rm -rf "$dir"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

tries=0
until curl -s --noproxy '*' -o /dev/null "$gateway"; do
	if ! kill -0 $pid 2>/dev/null || [ $tries -ge 100 ]; then
		cat "$dir/log" >&2
		fail "the gateway does not answer at $gateway"
	fi
	tries=$((tries + 1))
	sleep 0.1
done

if [ "${2-}" = --api ]; then "$scenario/api.sh"; fi
"$scenario/calls.sh" | tee "$dir/got"
diff "$scenario/expected.txt" "$dir/got" >&2 || fail "$scenario/expected.txt says something else"
echo "as $scenario/expected.txt says"
