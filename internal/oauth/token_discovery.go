package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/caddy-rr/caddy-rr/internal/fetch"
	"github.com/caddy-rr/caddy-rr/internal/strictjson"
)

// Metadata are what an issuer tells of itself (RFC 8414 section 2), as far as they are
// used. URLs are not checked.
type Metadata struct {
	Token         string // token_endpoint
	MTLSToken     string // the same for clients with certificates (RFC 8705 section 5)
	Authorization string // authorization_endpoint
	IssuerSaid    bool   // the issuer names itself when a browser comes back (RFC 9207 section 3)
}

// metadataURLs are where an issuer's document may be: OpenID Connect Discovery 1.0
// section 4 and RFC 8414 section 3.
func metadataURLs(issuer string) ([]string, error) {
	u, err := fetch.CheckURL(issuer)
	if err != nil {
		return nil, err
	}
	if u.RawQuery != "" || u.ForceQuery {
		return nil, errors.New("an issuer whose endpoints are discovered is a URL without a query")
	}
	origin, path := u.Scheme+"://"+u.Host, strings.TrimSuffix(u.EscapedPath(), "/")
	return []string{
		origin + path + "/.well-known/openid-configuration",
		origin + "/.well-known/oauth-authorization-server" + path,
	}, nil
}

// discover fetches an issuer's metadata.
func discover(ctx context.Context, client *fetch.Client, issuer string) (*Metadata, error) {
	addresses, err := metadataURLs(issuer)
	if err != nil {
		return nil, err
	}
	var failures []string
	for _, address := range addresses {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return nil, errors.New("the issuer's URL is not valid")
		}
		req.Header.Set("Accept", "application/json")
		res, err := client.Do(ctx, req, maxTokenAnswer)
		if err != nil {
			return nil, err // who does not answer here will not answer there
		}
		if res.Status != http.StatusOK {
			err = fmt.Errorf("the answer has status %d", res.Status)
		} else if m, wrong := readMetadata(res.Body, issuer); wrong != nil {
			err = wrong
		} else {
			return m, nil
		}
		failures = append(failures, fmt.Sprintf("%s: %v", req.URL.Host+req.URL.Path, err))
	}
	return nil, errors.New(strings.Join(failures, "; "))
}

// readMetadata reads a document, which has to be this issuer's, byte for byte: else one
// issuer could give out tokens in another's name.
func readMetadata(data []byte, issuer string) (*Metadata, error) {
	doc, err := strictjson.Object(data, strictjson.Options{})
	if err != nil {
		return nil, fmt.Errorf("the metadata: %w", err)
	}
	if says, _ := doc["issuer"].(string); says != issuer {
		hint := ""
		if strings.TrimSuffix(says, "/") == strings.TrimSuffix(issuer, "/") {
			hint = " (mind the slash at the end)"
		}
		return nil, fmt.Errorf("the metadata are of the issuer %.200q, configured is %q%s", says, issuer, hint)
	}
	m := new(Metadata)
	m.Token, _ = doc["token_endpoint"].(string)
	m.Authorization, _ = doc["authorization_endpoint"].(string)
	m.IssuerSaid, _ = doc["authorization_response_iss_parameter_supported"].(bool)
	if aliases, ok := doc["mtls_endpoint_aliases"].(map[string]any); ok {
		m.MTLSToken, _ = aliases["token_endpoint"].(string)
	}
	return m, nil
}
