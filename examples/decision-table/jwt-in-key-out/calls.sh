#!/bin/sh
# The scenario's calls; expected.txt is what they print.
. "$(dirname "$0")/../lib.sh"

call "an application of Auth0" GET /stripe-payment-api/v1/charges "Authorization: Bearer $AUTH0_TOKEN"
call "the same" GET /stripe-payment-api/v1/charges/ch_1 "Authorization: Bearer $AUTH0_TOKEN"
call "what no rule allows" POST /stripe-payment-api/v1/charges "Authorization: Bearer $AUTH0_TOKEN"
call "a token for another API" GET /stripe-payment-api/v1/charges "Authorization: Bearer $AUTH0_OTHER_AUDIENCE_TOKEN"
call "a token that has expired" GET /stripe-payment-api/v1/charges "Authorization: Bearer $AUTH0_EXPIRED_TOKEN"
call "the vendor's key is not for callers" GET /stripe-payment-api/v1/charges "Authorization: Bearer $STRIPE_KEY"
call "nobody" GET /stripe-payment-api/v1/charges
