#!/bin/sh
# What the Caddyfile declares, made through the management API instead.
. "$(dirname "$0")/../lib.sh"

create credentials <<END
{
  "credentialType": "proxy",
  "credentialAuthType": "jwtVerify",
  "credentialName": "people",
  "credentialSecret": {
    "issuer": "https://tenant.eu.auth0.com/",
    "jwksUri": "$auth0/jwks",
    "audience": "https://gateway.example.com",
    "algorithms": ["RS256"],
    "requiredClaims": ["sub", "tenant"]
  }
}
END

create targets <<END
{"targetName": "tickets", "targetBaseURL": "$vendor/tickets"}
END

create credentials <<END
{
  "credentialType": "target",
  "credentialAuthType": "key",
  "credentialName": "tickets-key",
  "credentialSecret": {"key": "$TICKETS_KEY"}
}
END

create proxies <<END
{
  "proxyName": "tickets",
  "proxyProxyCredentialId": "people",
  "proxyTargetId": "tickets",
  "proxyTargetCredentialId": "tickets-key",
  "proxyDefaultRuleEffect": "deny"
}
END

# rules can also come one by one
proxy=$id
for tenant in acme globex; do
	create "proxies/$proxy/rules" <<END
{
  "effect": "allow",
  "methods": ["GET", "POST"],
  "paths": ["/$tenant/tickets", "/$tenant/tickets/*"],
  "token": [{"claim": "tenant", "value": {"pattern": "^$tenant\$"}}]
}
END
done
create "proxies/$proxy/rules" <<END
{
  "effect": "allow",
  "methods": ["DELETE"],
  "paths": ["/acme/tickets/*"],
  "token": [
    {"claim": "tenant", "value": {"pattern": "^acme\$"}},
    {"claim": "roles", "value": {"pattern": "^admin\$"}}
  ]
}
END
