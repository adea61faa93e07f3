package jwks

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/discovery"
	"github.com/caddy-rr/caddy-rr/internal/fetch"
	"github.com/caddy-rr/caddy-rr/internal/jose"
)

// document is a fetched key set.
type document struct {
	set     *jose.Set
	skipped []error // why keys of it are not used
	raw     []byte
	// lifetime is for how long the issuer says that it is good; negative if it does not.
	lifetime time.Duration
	// discovered is the address that discovery led to, "" without discovery.
	discovered string
	// asked says that discovery was tried, detour why it failed, if the address of the last
	// one was used instead.
	asked  bool
	detour error
}

// retrieve fetches the keys, with discovery if full or if their address is not known.
func (s *Source) retrieve(ctx context.Context, full bool) (*document, error) {
	doc := new(document)
	address, base := s.cfg.URL, s.cfg.URL
	if address == "" {
		base = s.cfg.Issuer
		s.mu.Lock()
		doc.discovered = s.uri
		s.mu.Unlock()
		if doc.asked = full || doc.discovered == ""; doc.asked {
			found, err := s.discover(ctx)
			if err == nil {
				doc.discovered = found
			} else if doc.detour = err; doc.discovered == "" {
				return nil, fmt.Errorf("discovery: %w", err)
			}
		}
		address = doc.discovered
	}
	res, err := s.get(ctx, base, address)
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	doc.raw = res.Body
	if doc.set, doc.skipped, err = jose.ParseSet(res.Body); err != nil {
		if len(doc.skipped) > 0 {
			err = fmt.Errorf("%w (%w)", err, doc.skipped[0])
		}
		return nil, fmt.Errorf("%s: %w", hostOf(address), err)
	}
	doc.lifetime = lifetime(res.Header, time.Now())
	return doc, nil
}

// get fetches a document. The operator's trust, and headers, are for the origin of base.
func (s *Source) get(ctx context.Context, base, address string) (*fetch.Response, error) {
	own, err := fetch.CheckURL(base)
	if err != nil {
		return nil, err
	}
	target, err := fetch.CheckURL(address)
	if err != nil {
		return nil, err
	}
	req := &http.Request{Method: http.MethodGet, URL: target, Header: http.Header{}}
	trusted := fetch.SameOrigin(own, target)
	if trusted && s.cfg.Header != nil {
		if h := s.cfg.Header(); h != nil {
			req.Header = h.Clone()
		}
	}
	if _, ok := req.Header["Accept"]; !ok {
		req.Header.Set("Accept", "application/json, application/jwk-set+json;q=0.9, */*;q=0.1")
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	res, err := s.send(ctx, trusted, req)
	if err != nil {
		return nil, err
	}
	if res.Status != http.StatusOK {
		return nil, fmt.Errorf("%s: %w", target.Host, statusError(res.Status))
	}
	return res, nil
}

func hostOf(address string) string {
	if u, err := url.Parse(address); err == nil {
		return u.Host
	}
	return ""
}

type statusError int

func (s statusError) Error() string { return fmt.Sprintf("the answer has status %d", int(s)) }

// discover returns the issuer's jwks_uri.
func (s *Source) discover(ctx context.Context) (string, error) {
	addresses, err := discovery.URLs(s.cfg.Issuer)
	if err != nil {
		return "", err
	}
	var failures []string
	for _, address := range addresses {
		res, err := s.get(ctx, s.cfg.Issuer, address)
		if err == nil {
			var uri string
			if uri, err = readDiscovery(res.Body, s.cfg.Issuer); err == nil {
				return uri, nil
			}
		} else if status := statusError(0); !errors.As(err, &status) {
			return "", err // who does not answer here will not answer there
		}
		failures = append(failures, err.Error())
	}
	return "", errors.New(strings.Join(failures, "; "))
}

// readDiscovery returns the document's jwks_uri, if the document is this issuer's.
func readDiscovery(data []byte, issuer string) (string, error) {
	doc, err := discovery.Read(data, issuer)
	if err != nil {
		return "", err
	}
	uri, _ := doc["jwks_uri"].(string)
	if uri == "" {
		return "", errors.New("the discovery document has no jwks_uri")
	}
	if _, err := fetch.CheckURL(uri); err != nil {
		return "", fmt.Errorf("the discovery document's jwks_uri: %w", err)
	}
	return uri, nil
}

// lifetime is for how long an answer is good (RFC 9111 section 4.2), negative if it does
// not say.
func lifetime(h http.Header, now time.Time) time.Duration {
	age, _ := strconv.ParseUint(h.Get("Age"), 10, 31)
	seconds, found := int64(0), false
	// the first max-age counts
	for directive := range strings.SplitSeq(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch strings.ToLower(name) {
		case "no-store", "no-cache":
			return 0
		case "max-age":
			if found {
				continue
			}
			found = true
			// what is no number is taken for 0 (section 4.2.1), a huge one is cut
			n, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31)
			if errors.Is(err, strconv.ErrRange) {
				n = 1<<31 - 1
			} else if err != nil {
				n = 0
			}
			seconds = int64(n)
		}
	}
	if found {
		return max(0, time.Duration(seconds-int64(age))*time.Second)
	}
	if _, ok := h["Expires"]; !ok {
		return -1
	}
	expires, err := http.ParseTime(h.Get("Expires"))
	if err != nil {
		return 0 // section 5.3: as if past
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	return max(0, expires.Sub(now)-time.Duration(age)*time.Second)
}
