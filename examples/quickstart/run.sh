#!/bin/sh
# Starts Stripe's mock server and the gateway in front of it, and prints calls to try.
#
#   run.sh           stays in the foreground; Ctrl-C stops both
#   run.sh --check   makes the calls itself, checks their answers, and stops
#
# Environment: RR_PORT and STRIPE_PORT, the ports on 127.0.0.1 (8080 and 12111).
set -eu
cd "$(dirname "$0")/../.."

RR_PORT=${RR_PORT:-8080}
STRIPE_PORT=${STRIPE_PORT:-12111}
gateway=http://127.0.0.1:$RR_PORT
dir=$(mktemp -d)
pids=

finish() {
	for pid in $pids; do kill "$pid" 2>/dev/null || true; done
	for pid in $pids; do wait "$pid" 2>/dev/null || true; done
	rm -rf "$dir"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

fail() {
	echo "run.sh: $*" >&2
	exit 1
}

# start NAME URL COMMAND...: in the background, with its output in $dir/NAME.log; returns
# when it answers at URL, within 10 seconds
start() {
	name=$1
	url=$2
	shift 2
	if curl -s -o /dev/null "$url"; then
		fail "$name cannot start: something else answers at $url (RR_PORT and STRIPE_PORT say other ports)"
	fi
	"$@" >"$dir/$name.log" 2>&1 &
	pid=$!
	pids="$pids $pid"
	tries=0
	until curl -s -o /dev/null "$url"; do
		if ! kill -0 "$pid" 2>/dev/null || [ "$tries" -ge 100 ]; then
			cat "$dir/$name.log" >&2
			fail "$name does not answer at $url"
		fi
		tries=$((tries + 1))
		sleep 0.1
	done
}

command -v curl >/dev/null || fail "curl is needed"
go build -o bin/caddy ./cmd/caddy
[ -x bin/stripe-mock ] || GOBIN=$PWD/bin go install github.com/stripe/stripe-mock@v0.203.0

# The caller's key is new at every start; the vendor's is one that the mock takes. Only
# the gateway's environment has the latter.
CALLER_KEY=$(bin/caddy rr keygen | sed -n 's/^key: *//p')
[ -n "$CALLER_KEY" ] || fail "caddy rr keygen printed no key"
export RR_PORT STRIPE_PORT CALLER_KEY

start stripe-mock "http://127.0.0.1:$STRIPE_PORT/" bin/stripe-mock -http-addr "127.0.0.1:$STRIPE_PORT" -https-addr 127.0.0.1:0
start gateway "$gateway/" env STRIPE_KEY=sk_test_quickstart bin/caddy run --config examples/quickstart/Caddyfile

if [ "${1-}" != --check ]; then
	cat <<END

The gateway listens on $gateway, Stripe's mock server on port $STRIPE_PORT.
The caller's key is good for the gateway only; the vendor's key stays inside. Try:

  allowed (200):
    curl -i -H 'Authorization: Bearer $CALLER_KEY' $gateway/v1/charges

  denied by a rule (403):
    curl -i -H 'Authorization: Bearer $CALLER_KEY' $gateway/v1/charges -d amount=2000 -d currency=rub

  denied, wrong credential (401):
    curl -i -H 'Authorization: Bearer sk_test_quickstart' $gateway/v1/charges

Ctrl-C stops both. The gateway's log:

END
	tail -n 0 -f "$dir/gateway.log" & # without what it said when it was started and asked above
	pids="$pids $!"
	wait "$pid"
	exit
fi

# expect STATUS CURL-ARGUMENTS...
expect() {
	want=$1
	shift
	got=$(curl -s -o "$dir/body" -w '%{http_code}' "$@")
	echo "$got (want $want): $(head -c 100 "$dir/body" | tr '\n' ' ')"
	[ "$got" = "$want" ] || {
		cat "$dir/gateway.log" >&2
		fail "a call was answered with $got, not $want"
	}
}
bearer="Authorization: Bearer $CALLER_KEY"
expect 401 -H "$bearer" "http://127.0.0.1:$STRIPE_PORT/v1/charges" # the vendor does not know it
expect 200 -H "$bearer" "$gateway/v1/charges"
expect 403 -H "$bearer" "$gateway/v1/charges" -d amount=2000 -d currency=rub
expect 401 -H "Authorization: Bearer sk_test_quickstart" "$gateway/v1/charges"
if grep -q -e "$CALLER_KEY" -e sk_test_quickstart "$dir/gateway.log"; then
	fail "a key is in the gateway's log"
fi
echo "all calls were answered as they should be"
