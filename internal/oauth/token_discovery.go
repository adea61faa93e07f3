package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/caddy-rr/caddy-rr/internal/discovery"
	"github.com/caddy-rr/caddy-rr/internal/fetch"
)

// Metadata are what an issuer tells of itself (RFC 8414 section 2), as far as they are
// used. URLs are not checked.
type Metadata struct {
	Token         string // token_endpoint
	MTLSToken     string // the same for clients with certificates (RFC 8705 section 5)
	Authorization string // authorization_endpoint
	IssuerSaid    bool   // the issuer names itself when a browser comes back (RFC 9207 section 3)
}

// discover fetches an issuer's metadata.
func discover(ctx context.Context, client *fetch.Client, issuer string) (*Metadata, error) {
	addresses, err := discovery.URLs(issuer)
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

// readMetadata reads an issuer's document.
func readMetadata(data []byte, issuer string) (*Metadata, error) {
	doc, err := discovery.Read(data, issuer)
	if err != nil {
		return nil, err
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
