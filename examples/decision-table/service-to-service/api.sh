#!/bin/sh
# What the Caddyfile declares, made through the management API instead.
. "$(dirname "$0")/../lib.sh"

create credentials <<END
{
  "credentialType": "proxy",
  "credentialAuthType": "key",
  "credentialName": "shop",
  "credentialSecret": {"key": "$SHOP_KEY"},
  "credentialRules": [{"effect": "allow", "methods": ["GET"]}]
}
END

create credentials <<END
{
  "credentialType": "proxy",
  "credentialAuthType": "key",
  "credentialName": "orders",
  "credentialSecret": {"key": "$ORDERS_KEY"}
}
END

create targets <<END
{"targetName": "inventory", "targetBaseURL": "$vendor/inventory"}
END

create credentials <<END
{
  "credentialType": "target",
  "credentialAuthType": "key",
  "credentialName": "inventory-key",
  "credentialSecret": {"key": "$INVENTORY_KEY"}
}
END

create proxies <<END
{
  "proxyName": "inventory",
  "proxyProxyCredentialIds": ["shop", "orders"],
  "proxyTargetId": "inventory",
  "proxyTargetCredentialId": "inventory-key",
  "proxyRules": [
    {"effect": "allow", "methods": ["GET"], "paths": ["/v1/stock", "/v1/stock/*"]},
    {"effect": "allow", "methods": ["POST"], "paths": ["/v1/reservations"]}
  ]
}
END
