#!/bin/sh
# The scenario's calls; expected.txt is what they print.
. "$(dirname "$0")/../lib.sh"

call "orders" GET /erp/v1/invoices "X-API-Key: $ORDERS_KEY"
call "orders, with the same token upstream" GET /erp/v1/invoices/1 "X-API-Key: $ORDERS_KEY"
call "orders, what no rule allows" DELETE /erp/v1/invoices/1 "X-API-Key: $ORDERS_KEY"
call "the client secret is not for callers" GET /erp/v1/invoices "X-API-Key: $ERP_SECRET"
call "nobody" GET /erp/v1/invoices
