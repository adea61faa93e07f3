#!/bin/sh
# What the Caddyfile declares, made through the management API instead.
. "$(dirname "$0")/../lib.sh"

# the payload of the article, as it stands
create credentials <<END
{
  "credentialType": "target",
  "credentialAuthType": "key",
  "credentialName": "clearbit-enrichment",
  "credentialRegion": "us-east-1",
  "credentialSecret": {
    "key": "sk_clearbit_xxxxxxxxxxxxxx"
  }
}
END

create credentials <<END
{
  "credentialType": "proxy",
  "credentialAuthType": "key",
  "credentialName": "crm",
  "credentialSecret": {"key": "$CRM_KEY"}
}
END

create targets <<END
{"targetName": "clearbit", "targetBaseURL": "$vendor/clearbit"}
END

create proxies <<END
{
  "proxyName": "clearbit",
  "proxyProxyCredentialId": "crm",
  "proxyTargetId": "clearbit",
  "proxyTargetCredentialId": "clearbit-enrichment",
  "proxyRules": [{"effect": "allow", "methods": ["GET"], "paths": ["/v1/companies", "/v1/companies/*"]}]
}
END
