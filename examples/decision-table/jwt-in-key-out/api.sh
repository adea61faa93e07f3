#!/bin/sh
# What the Caddyfile declares, made through the management API instead.
. "$(dirname "$0")/../lib.sh"

create credentials <<END
{
  "credentialType": "proxy",
  "credentialAuthType": "jwtVerify",
  "credentialName": "auth0-m2m",
  "credentialRegion": "us-east-1",
  "credentialSecret": {
    "issuer": "https://tenant.eu.auth0.com/",
    "jwksUri": "$auth0/jwks",
    "audience": "https://gateway.example.com"
  }
}
END
verifier=$id

create targets <<END
{
  "targetName": "stripe",
  "targetRegion": "us-east-1",
  "targetBaseURL": "$vendor/stripe"
}
END
target=$id

create credentials <<END
{
  "credentialType": "target",
  "credentialAuthType": "bearer",
  "credentialName": "stripe-api-key",
  "credentialRegion": "us-east-1",
  "credentialSecret": {
    "token": "$STRIPE_KEY"
  }
}
END
key=$id

# the payload of the article, with the ids of what was made
create proxies <<END
{
  "proxyName": "stripe-payment-api",
  "proxyRegion": "us-east-1",
  "proxyProxyCredentialId": "$verifier",
  "proxyTargetId": "$target",
  "proxyTargetCredentialId": "$key",
  "proxyDefaultRuleEffect": "deny"
}
END

create "proxies/$id/rules" <<END
{"effect": "allow", "methods": ["GET"], "paths": ["/v1/charges", "/v1/charges/*"]}
END
