#!/bin/sh
# The scenario's calls; expected.txt is what they print.
. "$(dirname "$0")/../lib.sh"

call "an application of Auth0" GET /warehouse/v1/orders "Authorization: Bearer $AUTH0_TOKEN"
call "a service of Okta" GET /warehouse/v1/orders "Authorization: Bearer $OKTA_TOKEN"
call "what no rule allows" POST /warehouse/v1/orders "Authorization: Bearer $AUTH0_TOKEN"
call "a token for another API" GET /warehouse/v1/orders "Authorization: Bearer $AUTH0_OTHER_AUDIENCE_TOKEN"
call "a token that has expired" GET /warehouse/v1/orders "Authorization: Bearer $AUTH0_EXPIRED_TOKEN"
call "the upstream's key is not for callers" GET /warehouse/v1/orders "Authorization: Bearer $WAREHOUSE_KEY"
call "nobody" GET /warehouse/v1/orders
