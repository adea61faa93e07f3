package wire

import (
	"strings"

	"github.com/caddy-rr/caddy-rr/store"
)

// fieldNames are the API's names of records' fields, by bucket.
var fieldNames = map[string]map[string]string{
	store.Credentials: {
		"id": "credentialId", "name": "credentialName", "side": "credentialType", "auth_type": "credentialAuthType",
		"region": "credentialRegion", "spec": "credentialSecret", "previous": "credentialSecret", "default": "credentialDefaultRuleEffect",
		"hosts": "credentialHosts", "expires_at": "credentialExpiresAt", "temporary": "credentialTemporary", "rotated_at": "credentialRotatedAt",
	},
	store.Targets: {
		"id": "targetId", "name": "targetName", "url": "targetBaseURL", "test_path": "targetTestPath", "region": "targetRegion",
		"insecure_http": "targetInsecureHTTP", "default": "targetDefaultRuleEffect",
	},
	store.Proxies: {
		"id": "proxyId", "name": "proxyName", "alias": "proxyAlias", "region": "proxyRegion", "credential_ids": "proxyProxyCredentialIds",
		"target_id": "proxyTargetId", "target_credential_id": "proxyTargetCredentialId", "inactive": "proxyActive",
		"default": "proxyDefaultRuleEffect", "encoded_slash": "proxyEncodedSlash", "max_body": "proxyMaxBody",
	},
	store.Clients: {"id": "clientId", "name": "clientName"},
	store.Blocked: {"id": "blockId", "jti": "jti", "sub": "sub", "iss": "iss", "before": "before", "expires_at": "expiresAt", "note": "note"},
}

// specNames are options of kinds whose API name is not theirs in camelCase.
var specNames = map[string]string{
	"jwks_url": "jwksUri", "kid": "keyId", "keyid": "keyId", "hashes": "key", "secrets": "keys",
}

// ruleNames are where answers have a rule's fields.
var ruleNames = map[string]string{
	"path_regexp": "path/path/pattern", "path_absent": "path/presence", "claims": "token", "note": "notes",
}

// Pointer is the JSON pointer to a field of a record, in a body about such records: of
// credentials, spec/private_key is /credentialSecret/privateKey. kind is the records' bucket,
// or rules. An empty field is the whole body.
func Pointer(kind, field string) string {
	if field == "" {
		return ""
	}
	parts := strings.Split(field, "/")
	if parts[0] == "rules" {
		at := ""
		if kind != "rules" { // else the body is the rule
			at = "/" + strings.Join(parts[:min(2, len(parts))], "/")
		}
		return at + rulePointer(parts[min(2, len(parts)):])
	}
	if name, ok := fieldNames[kind][parts[0]]; ok {
		parts[0] = name
	}
	inSpec := parts[0] == "credentialSecret"
	at := ""
	for i, part := range parts {
		if inSpec && i > 0 {
			part = specName(part)
		}
		at = pointer(at, part)
	}
	return at
}

func specName(option string) string {
	if name, ok := specNames[option]; ok {
		return name
	}
	return camel(option)
}

func rulePointer(parts []string) string {
	at := ""
	for i, part := range parts {
		if name, ok := ruleNames[part]; ok && i == 0 {
			part = name
		}
		at += "/" + part // a place in an answer, of several parts maybe
	}
	return at
}

// camel is a name in snake_case in camelCase.
func camel(s string) string {
	first, rest, _ := strings.Cut(s, "_")
	for word := range strings.SplitSeq(rest, "_") {
		if word != "" {
			first += strings.ToUpper(word[:1]) + word[1:]
		}
	}
	return first
}
