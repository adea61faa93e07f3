// Package discovery reads what issuers publish about themselves: OpenID Connect Discovery
// 1.0 and RFC 8414.
package discovery

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/caddy-rr/caddy-rr/internal/strictjson"
)

// URLs are where an issuer's document may be, in the order in which they are asked:
// OpenID Connect Discovery 1.0 section 4, RFC 8414 section 3.
func URLs(issuer string) ([]string, error) {
	u, err := url.Parse(issuer)
	if err != nil || u.RawQuery != "" || u.ForceQuery {
		return nil, errors.New("an issuer that is asked about itself is a URL without a query")
	}
	origin, path := u.Scheme+"://"+u.Host, strings.TrimSuffix(u.EscapedPath(), "/")
	return []string{
		origin + path + "/.well-known/openid-configuration",
		origin + "/.well-known/oauth-authorization-server" + path,
	}, nil
}

// Read reads a document, which has to be this issuer's, byte for byte: else one issuer
// could speak in another's name.
func Read(data []byte, issuer string) (map[string]any, error) {
	doc, err := strictjson.Object(data, strictjson.Options{})
	if err != nil {
		return nil, fmt.Errorf("the discovery document: %w", err)
	}
	says, _ := doc["issuer"].(string)
	if says == issuer {
		return doc, nil
	}
	hint := ""
	if strings.TrimSuffix(says, "/") == strings.TrimSuffix(issuer, "/") {
		hint = " (mind the slash at the end)"
	}
	return nil, fmt.Errorf("the discovery document is of the issuer %.200q, configured is %q%s", says, issuer, hint)
}
