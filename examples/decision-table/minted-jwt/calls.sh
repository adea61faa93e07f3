#!/bin/sh
# The scenario's calls; expected.txt is what they print.
. "$(dirname "$0")/../lib.sh"

call "the dashboard" GET /analytics/v1/reports "X-API-Key: $DASHBOARD_KEY"
call "the dashboard, with the same token upstream" GET /analytics/v1/reports/daily "X-API-Key: $DASHBOARD_KEY"
call "the dashboard, what no rule allows" POST /analytics/v1/reports "X-API-Key: $DASHBOARD_KEY"
call "another caller's key" GET /analytics/v1/reports "X-API-Key: $CRM_KEY"
call "nobody" GET /analytics/v1/reports
