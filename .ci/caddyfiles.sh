#!/bin/sh
# Check every Caddyfile of the examples with bin/caddy: formatted as `caddy fmt`
# writes it, adapts without a warning and, when it needs no {env.*} or {file.*}
# secret, validates.
set -u
cd "$(dirname "$0")/.."

failed=0
fault() {
	printf '%s: %s\n' "$1" "$2"
	failed=1
}

check() {
	difference=$(bin/caddy fmt --diff "$1" 2>&1) || { fault "$1" "not formatted, run caddy fmt --overwrite"; printf '%s\n' "$difference"; }
	said=$(bin/caddy adapt --config "$1" --adapter caddyfile 2>&1 >/dev/null) || { fault "$1" "does not adapt: $said"; return; }
	case $said in *'"warn"'* | *WARN*) fault "$1" "adapts with a warning: $said" ;; esac
	if grep -qE '\{(env|file)\.' "$1"; then
		echo "$1: formatted, adapts"
		return
	fi
	said=$(bin/caddy validate --config "$1" --adapter caddyfile 2>&1) || { fault "$1" "not valid: $said"; return; }
	echo "$1: formatted, adapts, valid"
}

files=$(find examples \( -name node_modules \) -prune -o \( -name 'Caddyfile*' -o -iname '*.caddyfile' \) -type f -print | sort)
[ -n "$files" ] || { echo "no Caddyfile under examples/" >&2; exit 1; }
for file in $files; do
	check "$file"
done
exit $failed
