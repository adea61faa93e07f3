#!/bin/sh
# Check the systemd unit: systemd reads all of it, and `systemd-analyze security`
# finds the sandbox no weaker than docs/deployment.md says. Exit status 75 (EX_TEMPFAIL
# of sysexits.h) where there is no systemd-analyze.
set -eu
cd "$(dirname "$0")/.."

unit=packaging/systemd/caddy-rr.service
# In tenths of systemd's exposure level. The level depends a little on systemd's
# version, so there is room for half a point.
most=20

if ! command -v systemd-analyze >/dev/null; then
	echo "no systemd-analyze here: the unit was not checked"
	exit 75
fi

# What ExecStart names need not be installed here.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
sed "s|/usr/local/bin/caddy|$(command -v true)|" "$unit" >"$work/caddy-rr.service"
said=$(systemd-analyze verify --man=no "$work/caddy-rr.service" 2>&1) || { printf '%s\n' "$said"; exit 1; }
if printf '%s\n' "$said" | grep -F caddy-rr.service; then
	echo "systemd has something to say about $unit" >&2
	exit 1
fi
status=0
said=$(systemd-analyze security --offline=yes --threshold=$most --no-pager "$work/caddy-rr.service") || status=$?
printf '%s\n' "$said" | grep -E '^✗|→'
exit $status
