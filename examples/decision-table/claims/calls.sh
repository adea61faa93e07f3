#!/bin/sh
# The scenario's calls; expected.txt is what they print.
. "$(dirname "$0")/../lib.sh"

call "Ann, agent of acme" GET /tickets/acme/tickets "Authorization: Bearer $AGENT_TOKEN"
call "Ann" POST /tickets/acme/tickets "Authorization: Bearer $AGENT_TOKEN"
call "Ann, who is no admin" DELETE /tickets/acme/tickets/1 "Authorization: Bearer $AGENT_TOKEN"
call "Bob, admin of acme" DELETE /tickets/acme/tickets/1 "Authorization: Bearer $ADMIN_TOKEN"
call "Eve, admin of globex" GET /tickets/globex/tickets "Authorization: Bearer $STRANGER_TOKEN"
call "Eve, elsewhere" GET /tickets/acme/tickets "Authorization: Bearer $STRANGER_TOKEN"
call "a token without a tenant" GET /tickets/acme/tickets "Authorization: Bearer $AUTH0_TOKEN"
call "nobody" GET /tickets/acme/tickets
