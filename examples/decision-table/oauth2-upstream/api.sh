#!/bin/sh
# What the Caddyfile declares, made through the management API instead.
. "$(dirname "$0")/../lib.sh"

create credentials <<END
{
  "credentialType": "target",
  "credentialAuthType": "oauth2",
  "credentialName": "erp",
  "credentialSecret": {
    "grant": "client_credentials",
    "tokenUrl": "$tokens",
    "clientId": "gateway",
    "clientSecret": "$ERP_SECRET",
    "scopes": ["invoices.read"]
  }
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
{"targetName": "erp", "targetBaseURL": "$vendor/erp"}
END

create proxies <<END
{
  "proxyName": "erp",
  "proxyProxyCredentialId": "orders",
  "proxyTargetId": "erp",
  "proxyTargetCredentialId": "erp",
  "proxyRules": [{"effect": "allow", "methods": ["GET"], "paths": ["/v1/invoices", "/v1/invoices/*"]}]
}
END
