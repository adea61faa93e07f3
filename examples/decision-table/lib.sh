# What the scripts of the scenarios share. They begin with
#
#   . "$(dirname "$0")/../lib.sh"
#
# Environment: RR_PORT, the gateway's port (8080); STANDIN_PORT, that of the stand-ins (9001), and
# VENDOR_PORT, AUTH0_PORT, OKTA_PORT, TOKEN_PORT where upstreams, issuers or the token endpoint are
# elsewhere; EXAMPLE_ENV, the file with keys and tokens (example.env).
set -eu
. "${EXAMPLE_ENV:-$(dirname "$0")/../example.env}"

gateway=http://127.0.0.1:${RR_PORT:-8080}
standin=${STANDIN_PORT:-9001}
vendor=http://127.0.0.1:${VENDOR_PORT:-$standin}
auth0=http://127.0.0.1:${AUTH0_PORT:-$standin}/auth0
okta=http://127.0.0.1:${OKTA_PORT:-$standin}/okta
tokens=http://127.0.0.1:${TOKEN_PORT:-$standin}/token

answer=$(mktemp -d)
trap 'rm -rf "$answer"' EXIT

# send CURL-ARGUMENTS...: prints the status; the body is in $answer/body, the header in $answer/header
send() {
	curl -sS --max-time 20 --noproxy '*' -D "$answer/header" -o "$answer/body" -w '%{http_code}' "$@"
}

# create PATH: POSTs standard input to the management API. The id of what was made is in $id.
create() {
	status=$(send "$gateway/manage/clients/default/$1" -H "Authorization: $OPERATOR_KEY" \
		-H 'Content-Type: application/json' --data-binary @-)
	if [ "$status" != 201 ]; then
		echo "POST $1: $status $(cat "$answer/body")" >&2
		exit 1
	fi
	id=$(sed 's/.*"sKey":"\([^"]*\)".*/\1/' "$answer/body")
	echo "$status POST $1 $id"
}

# call WHO METHOD PATH [HEADER]: calls a proxy. Prints the upstream's answer, or the code of a refusal.
call() {
	tries=0
	while :; do
		status=$(send -X "$2" ${4:+-H "$4"} "$gateway/api$3")
		# 503: the issuer's keys are being fetched since the gateway started
		[ "$status" = 503 ] && [ $tries -lt 50 ] || break
		tries=$((tries + 1))
		sleep 0.2
	done
	code=$(tr -d '\r' <"$answer/header" | awk -F ': ' 'tolower($1) == "rr-proxy-code" { print $2 }')
	[ "$code" != proxy-access-granted ] || code=$(head -n 1 "$answer/body")
	echo "$status $2 $3 ($1): $code"
}
