#!/bin/sh
# What the Caddyfile declares, made through the management API instead.
. "$(dirname "$0")/../lib.sh"

# the payload of the article, with a whole private key
create credentials <<END
{
  "credentialType": "target",
  "credentialAuthType": "jwt",
  "credentialName": "internal-analytics-api",
  "credentialRegion": "us-east-1",
  "credentialSecret": {
    "privateKey": "$ANALYTICS_KEY",
    "algorithm": "RS256",
    "claims": {
      "iss": "my-service",
      "aud": "analytics-api"
    }
  }
}
END

create credentials <<END
{
  "credentialType": "proxy",
  "credentialAuthType": "key",
  "credentialName": "dashboard",
  "credentialSecret": {"key": "$DASHBOARD_KEY"}
}
END

create targets <<END
{"targetName": "analytics", "targetBaseURL": "$vendor/analytics"}
END

create proxies <<END
{
  "proxyName": "analytics",
  "proxyProxyCredentialId": "dashboard",
  "proxyTargetId": "analytics",
  "proxyTargetCredentialId": "internal-analytics-api",
  "proxyRules": [{"effect": "allow", "methods": ["GET"], "paths": ["/v1/reports", "/v1/reports/*"]}]
}
END
