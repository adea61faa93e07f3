#!/bin/sh
# The scenario's calls; expected.txt is what they print.
. "$(dirname "$0")/../lib.sh"

call "the shop" GET /inventory/v1/stock "X-API-Key: $SHOP_KEY"
call "orders" GET /inventory/v1/stock/4711 "X-API-Key: $ORDERS_KEY"
call "orders" POST /inventory/v1/reservations "X-API-Key: $ORDERS_KEY"
call "the shop, which only reads" POST /inventory/v1/reservations "X-API-Key: $SHOP_KEY"
call "orders, what no rule allows" DELETE /inventory/v1/stock/4711 "X-API-Key: $ORDERS_KEY"
call "the service's own key is not for callers" GET /inventory/v1/stock "X-API-Key: $INVENTORY_KEY"
call "nobody" GET /inventory/v1/stock
