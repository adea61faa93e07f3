#!/bin/sh
# Start a container image of rr as docs/deployment.md says, with a read-only root file
# system and no capability, and hold it to what is said there.
#
#   container.sh IMAGE [BINARY]    BINARY: the file that the image's caddy must be
#
# Environment: ENGINE, the command (docker, podman), and RUN_FLAGS, more flags for its
# run (a machine without container networking: --network host). Uses port 18080.
set -eu
cd "$(dirname "$0")/.."

image=$1
engine=${ENGINE:-docker}
work=$(mktemp -d)
name=rr-check-$$
finish() {
	$engine rm -f "$name" >/dev/null 2>&1 || true
	$engine volume rm -f "$name" >/dev/null 2>&1 || true
	rm -rf "$work"
}
trap finish EXIT

fail() {
	echo "container.sh: $*" >&2
	$engine logs "$name" 2>&1 | tail -n 20 >&2
	exit 1
}

cat >"$work/Caddyfile" <<'END'
{
	persist_config off
	log {
		format rr
	}
	rr {
		proxy vendor {
			accept key {file./run/secrets/caller}
			target http://127.0.0.1:18081
			present bearer {file./run/secrets/vendor}
		}
	}
}

http://:18080 {
	respond /healthz 200
	rr_proxy vendor
}

http://127.0.0.1:18081 {
	respond "{http.request.header.Authorization}"
}
END
printf 'key-of-the-caller-0123456789abcdef' >"$work/caller"
printf 'key-of-the-vendor' >"$work/vendor"
chmod -R a+rX "$work"

start() {
	# shellcheck disable=SC2086 # flags
	$engine run -d --name "$name" --read-only --cap-drop ALL --security-opt no-new-privileges \
		-v "$work/Caddyfile:/etc/caddy/Caddyfile:ro" -v "$work/caller:/run/secrets/caller:ro" -v "$work/vendor:/run/secrets/vendor:ro" \
		-v "$name:/data" -p 127.0.0.1:18080:18080 ${RUN_FLAGS-} "$image" >/dev/null
	ready
}

ready() {
	tries=0
	until curl -fsS -o /dev/null http://127.0.0.1:18080/healthz 2>/dev/null; do
		tries=$((tries + 1))
		[ "$tries" -lt 100 ] || fail "it does not answer"
		sleep 0.1
	done
}

call() { curl -sS -H "Authorization: Bearer $(cat "$work/caller")" http://127.0.0.1:18080/v1/charges; }
records() { $engine exec "$name" caddy rr credentials list; }

start
[ "$(call)" = "Bearer key-of-the-vendor" ] || fail "the vendor gets $(call)"
echo "a call goes through, with the vendor's key from a file"

pid=$($engine inspect -f '{{.State.Pid}}' "$name")
if [ -r "/proc/$pid/status" ]; then
	grep -qE '^Uid:	10001	10001	10001	10001' "/proc/$pid/status" || fail "it runs as another user: $(grep Uid "/proc/$pid/status")"
	grep -qE '^CapEff:	0+$' "/proc/$pid/status" || fail "it has capabilities"
	grep -qE '^CapBnd:	0+$' "/proc/$pid/status" || fail "it could get capabilities"
	grep -qE '^NoNewPrivs:	1' "/proc/$pid/status" || fail "it could get privileges"
	echo "user 10001, no capability, and no way to one"
fi
for shell in sh /bin/sh bash /busybox/sh; do
	if $engine exec "$name" "$shell" -c : 2>/dev/null; then fail "it has a shell: $shell"; fi
done
if $engine exec "$name" caddy storage export -c /etc/caddy/Caddyfile -o /usr/bin/x 2>/dev/null; then
	fail "its root file system can be written to"
fi
echo "no shell, and a root file system that is not written to"

$engine exec "$name" caddy rr credentials create --type proxy --kind key --name agent --quiet >/dev/null || fail "the command line does not reach the socket"
records | grep -q agent || fail "the record is not listed"
$engine kill "$name" >/dev/null
$engine start "$name" >/dev/null
ready
records | grep -q agent || fail "the record is lost after a kill"
echo "the management API is reached from inside, and what it made outlives a kill"

if [ -n "${2-}" ]; then
	$engine cp "$name:/usr/bin/caddy" "$work/caddy"
	cmp "$work/caddy" "$2" || fail "its binary is not $2"
	echo "its binary is $2, to the byte"
fi
