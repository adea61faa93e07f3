#!/bin/sh
# The scenario's calls; expected.txt is what they print.
. "$(dirname "$0")/../lib.sh"

call "the CRM" GET /clearbit/v1/companies "X-API-Key: $CRM_KEY"
call "the CRM, as a bearer token" GET /clearbit/v1/companies/acme.com "Authorization: Bearer $CRM_KEY"
call "the CRM, what no rule allows" DELETE /clearbit/v1/companies/acme.com "X-API-Key: $CRM_KEY"
call "the vendor's key is not for callers" GET /clearbit/v1/companies "X-API-Key: $CLEARBIT_KEY"
call "nobody" GET /clearbit/v1/companies
