#!/bin/sh
# What the Caddyfile declares, made through the management API instead.
. "$(dirname "$0")/../lib.sh"

create credentials <<END
{
  "credentialType": "proxy",
  "credentialAuthType": "jwtVerify",
  "credentialName": "auth0",
  "credentialSecret": {
    "issuer": "https://tenant.eu.auth0.com/",
    "jwksUri": "$auth0/jwks",
    "audience": "https://gateway.example.com",
    "algorithms": ["RS256"]
  }
}
END

create credentials <<END
{
  "credentialType": "proxy",
  "credentialAuthType": "jwtVerify",
  "credentialName": "okta",
  "credentialSecret": {
    "issuer": "https://dev-000000.okta.com/oauth2/default",
    "jwksUri": "$okta/jwks",
    "audience": "https://gateway.example.com",
    "algorithms": ["RS256"],
    "scope": ["gateway"]
  }
}
END

create targets <<END
{"targetName": "warehouse", "targetBaseURL": "$vendor/warehouse"}
END

create credentials <<END
{
  "credentialType": "target",
  "credentialAuthType": "key",
  "credentialName": "warehouse-key",
  "credentialSecret": {"key": "$WAREHOUSE_KEY"}
}
END

create proxies <<END
{
  "proxyName": "warehouse",
  "proxyProxyCredentialIds": ["auth0", "okta"],
  "proxyTargetId": "warehouse",
  "proxyTargetCredentialId": "warehouse-key",
  "proxyRules": [{"effect": "allow", "methods": ["GET"]}]
}
END
