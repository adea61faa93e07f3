#!/bin/sh
# Makes credentials, a target, proxies and rules through the management API, and calls the proxies.
#
#   calls.sh            with the payloads of the hosted product, as they stand
#   calls.sh --delete   deletes all of it
#
# The gateway runs (see README.md). Needs curl. Environment: RR_PORT and STANDIN_PORT, as of
# the gateway (8080 and 9001); VENDOR_PORT, if the targets are at another port than the stand-in.
set -eu
cd "$(dirname "$0")"
. ./example.env

gateway=http://127.0.0.1:${RR_PORT:-8080}
vendor=http://127.0.0.1:${VENDOR_PORT:-${STANDIN_PORT:-9001}}
api=$gateway/manage # of the hosted product: https://api.requestrocket.com
clientId=default
answer=$(mktemp)
trap 'rm -f "$answer"' EXIT

# send CURL-ARGUMENTS...: prints the status and leaves the body in $answer
send() {
	curl -sS --max-time 20 --noproxy '*' -o "$answer" -w '%{http_code}' "$@"
}

# create PATH: POSTs standard input, and prints the id of what was made
create() {
	status=$(send "$api/clients/$clientId/$1" -H "Authorization: $OPERATOR_KEY" -H 'Content-Type: application/json' --data-binary @-)
	if [ "$status" != 201 ]; then
		echo "POST $1: $status $(cat "$answer")" >&2
		return 1
	fi
	id=$(sed 's/.*"sKey":"\([^"]*\)".*/\1/' "$answer")
	echo "$status POST $1 $id" >&2
	echo "$id"
}

# remove PATH: DELETEs it, if it is there
remove() {
	status=$(send -X DELETE "$api/clients/$clientId/$1" -H "Authorization: $OPERATOR_KEY")
	echo "$status DELETE $1"
	[ "$status" = 200 ] || [ "$status" = 404 ]
}

# expect STATUS METHOD PATH [TOKEN]: calls a proxy
expect() {
	status=$(send -X "$2" "$gateway/api$3" ${4:+-H "Authorization: Bearer $4"})
	echo "$status $2 $3: $(head -c 90 "$answer")"
	[ "$status" = "$1" ] || {
		echo "calls.sh: the answer should be $1" >&2
		exit 1
	}
}

if [ "${1-}" = --delete ]; then
	for it in proxies/stripe-payment-api proxies/clearbit proxies/analytics targets/stripe targets/clearbit targets/analytics \
		credentials/auth0-m2m credentials/stripe-api-key credentials/clearbit-enrichment credentials/internal-analytics-api; do
		remove "$it"
	done
	exit
fi

# An API key for an upstream.
clearbit=$(create credentials <<END
{
  "credentialType": "target",
  "credentialAuthType": "key",
  "credentialName": "clearbit-enrichment",
  "credentialRegion": "us-east-1",
  "credentialSecret": {
    "key": "$CLEARBIT_KEY"
  }
}
END
)

# A key that the gateway signs tokens for an upstream with.
analytics=$(create credentials <<END
{
  "credentialType": "target",
  "credentialAuthType": "jwt",
  "credentialName": "internal-analytics-api",
  "credentialRegion": "us-east-1",
  "credentialSecret": {
    "privateKey": "$ANALYTICS_KEY",
    "algorithm": "RS256",
    "claims": {
      "iss": "my-service",
      "aud": "analytics-api"
    }
  }
}
END
)

# Callers with tokens of an issuer.
verifier=$(create credentials <<END
{
  "credentialType": "proxy",
  "credentialAuthType": "jwtVerify",
  "credentialName": "auth0-m2m",
  "credentialRegion": "us-east-1",
  "credentialSecret": {
    "jwksUri": "$vendor/issuer/jwks.json",
    "issuer": "https://tenant.eu.auth0.com/",
    "audience": "https://gateway.example.com"
  }
}
END
)

# A vendor with a key of its own.
stripe=$(create targets <<END
{
  "targetName": "stripe",
  "targetRegion": "us-east-1",
  "targetBaseURL": "$vendor/stripe",
  "targetTestPath": "/v1/balance"
}
END
)
key=$(create credentials <<END
{
  "credentialType": "target",
  "credentialAuthType": "bearer",
  "credentialName": "stripe-api-key",
  "credentialRegion": "us-east-1",
  "credentialSecret": {
    "token": "$STRIPE_KEY"
  }
}
END
)

# The proxy: callers come with a token, the vendor gets its key.
proxy=$(create proxies <<END
{
  "proxyName": "stripe-payment-api",
  "proxyRegion": "us-east-1",
  "proxyProxyCredentialId": "$verifier",
  "proxyTargetId": "$stripe",
  "proxyTargetCredentialId": "$key",
  "proxyDefaultRuleEffect": "deny"
}
END
)

# Tokens are verified with the issuer's keys, which the gateway is fetching since the
# verifier was made.
tries=0
while [ "$(send "$gateway/api/$proxy/v1/charges" -H "Authorization: Bearer $CALLER_TOKEN")" = 503 ] && [ $tries -lt 50 ]; do
	tries=$((tries + 1))
	sleep 0.2
done

expect 403 GET "/stripe-payment-api/v1/charges" "$CALLER_TOKEN" # no rule allows it

# A rule allows reading. It holds from the next call on.
create "proxies/$proxy/rules" >/dev/null <<END
{
  "effect": "allow",
  "methods": ["GET"],
  "path": {"path": {"pattern": "^/v1/charges"}, "presence": "must_exist"}
}
END

expect 200 GET "/$proxy/v1/charges" "$CALLER_TOKEN"              # by its id
expect 200 GET "/stripe-payment-api/v1/charges" "$CALLER_TOKEN"  # by its name
expect 403 POST "/stripe-payment-api/v1/charges" "$CALLER_TOKEN" # only GET
expect 401 GET "/stripe-payment-api/v1/charges" "$OTHER_TOKEN"   # a token for another audience
expect 401 GET "/stripe-payment-api/v1/charges" "$STRIPE_KEY"    # the vendor's key is not for callers
expect 401 GET "/stripe-payment-api/v1/charges"

# The same callers, and upstreams that want something else.
for it in "clearbit $clearbit" "analytics $analytics"; do
	name=${it% *}
	target=$(create targets <<END
{"targetName": "$name", "targetRegion": "us-east-1", "targetBaseURL": "$vendor/$name"}
END
)
	create proxies >/dev/null <<END
{
  "proxyName": "$name",
  "proxyRegion": "us-east-1",
  "proxyProxyCredentialId": "$verifier",
  "proxyTargetId": "$target",
  "proxyTargetCredentialId": "${it#* }",
  "proxyDefaultRuleEffect": "allow"
}
END
	expect 200 GET "/$name/v1/companies" "$CALLER_TOKEN"
done
echo "all calls were answered as they should be"
