package verify

import (
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// nameMatcher recognises certificates by what is in them.
type nameMatcher struct {
	uris         []uriPattern
	dns, email   []string // in the form in which they are compared
	fingerprints []digest
}

func newNameMatcher(uris, dns, email, fingerprints []string) (m nameMatcher, err error) {
	for _, s := range uris {
		p, err := newURIPattern(s)
		if err != nil {
			return m, fmt.Errorf("uri %q: %w", s, err)
		}
		m.uris = append(m.uris, p)
	}
	for _, s := range dns {
		name := strings.ToLower(strings.TrimSuffix(s, "."))
		if err := checkDNSPattern(name); err != nil {
			return m, fmt.Errorf("dns %q: %w", s, err)
		}
		m.dns = append(m.dns, name)
	}
	for _, s := range email {
		if strings.Count(s, "@") != 1 || s[0] == '@' || s[len(s)-1] == '@' || strings.ContainsAny(s, "* ") {
			return m, fmt.Errorf("email %q: it is not an address such as api@example.com", s)
		}
		m.email = append(m.email, foldEmail(s))
	}
	for _, s := range fingerprints {
		d, err := parseFingerprint(s)
		if err != nil {
			return m, fmt.Errorf("fingerprint %q: %w", s, err)
		}
		m.fingerprints = append(m.fingerprints, d)
	}
	return m, nil
}

// parseFingerprint reads sha256:<hex>, also with colons between the bytes and in capitals,
// as openssl prints it.
func parseFingerprint(s string) (digest, error) {
	text, ok := strings.CutPrefix(s, HashPrefix)
	d, err := ParseHash(HashPrefix + strings.ToLower(strings.ReplaceAll(text, ":", "")))
	if !ok || err != nil {
		return d, errors.New("it is not sha256: and the 64 hexadecimal digits that `openssl x509 -fingerprint -sha256` prints")
	}
	return d, nil
}

func fingerprintText(d digest) string { return HashPrefix + hex.EncodeToString(d[:]) }

func checkDNSPattern(name string) error {
	rest := strings.TrimPrefix(name, "*.")
	for label := range strings.SplitSeq(rest, ".") {
		if label == "" || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return errors.New("it is not a name such as api.example.com; *. at its beginning stands for one label")
		}
	}
	return nil
}

// foldEmail is an address as it is compared: the domain in any case.
func foldEmail(s string) string {
	i := strings.LastIndexByte(s, '@')
	return s[:i+1] + strings.ToLower(s[i+1:])
}

func (m *nameMatcher) any() bool {
	return len(m.uris)+len(m.dns)+len(m.email)+len(m.fingerprints) == 0
}

// identify tells who a certificate is. Whether it is trusted is not looked at.
func (m *nameMatcher) identify(c *x509.Certificate, sum digest) (recognised, error) {
	print := fingerprintText(sum)
	name, ok := m.match(c)
	pinned := slices.Contains(m.fingerprints, sum)
	switch {
	case ok: // a name tells more than a fingerprint
	case pinned:
		name = print
	case m.any():
		name = firstName(c, print)
	default:
		return recognised{}, errors.New("the client certificate has none of the accepted names")
	}
	claims := certificateClaims(c, print)
	return recognised{
		named:  Identity{ID: name, Claims: claims, Expires: c.NotAfter},
		bare:   Identity{ID: print, Claims: map[string]any{"fingerprint": print, "not_after": claims["not_after"]}, Expires: c.NotAfter},
		pinned: pinned,
	}, nil
}

// match returns the first accepted name of a certificate.
func (m *nameMatcher) match(c *x509.Certificate) (string, bool) {
	for _, u := range c.URIs {
		if slices.ContainsFunc(m.uris, func(p uriPattern) bool { return p.matches(u, c) }) {
			return u.String(), true
		}
	}
	for _, name := range c.DNSNames {
		folded := strings.ToLower(strings.TrimSuffix(name, "."))
		if slices.ContainsFunc(m.dns, func(p string) bool { return matchDNS(p, folded) }) {
			return folded, true
		}
	}
	for _, address := range c.EmailAddresses {
		if slices.Contains(m.email, foldEmail(address)) {
			return foldEmail(address), true
		}
	}
	return "", false
}

func matchDNS(pattern, name string) bool {
	domain, wild := strings.CutPrefix(pattern, "*")
	if !wild {
		return name == pattern
	}
	label, ok := strings.CutSuffix(name, domain)
	// a certificate for *.example.com is one for servers, and nobody in particular
	return ok && label != "" && !strings.ContainsAny(label, ".*")
}

// firstName is who a certificate is when every one is accepted.
func firstName(c *x509.Certificate, print string) string {
	switch {
	case len(c.URIs) > 0:
		return c.URIs[0].String()
	case len(c.DNSNames) > 0:
		return strings.ToLower(c.DNSNames[0])
	case len(c.EmailAddresses) > 0:
		return foldEmail(c.EmailAddresses[0])
	}
	return print
}

// certificateClaims are a certificate's statements, as JSON values.
func certificateClaims(c *x509.Certificate, print string) map[string]any {
	uris := make([]any, len(c.URIs))
	for i, u := range c.URIs {
		uris[i] = u.String()
	}
	return map[string]any{
		"uri": uris, "dns": anys(c.DNSNames), "email": anys(c.EmailAddresses),
		"subject": c.Subject.String(), "issuer": c.Issuer.String(), // RFC 4514
		"serial": c.SerialNumber.Text(16), "fingerprint": print,
		"not_after": json.Number(strconv.FormatInt(c.NotAfter.Unix(), 10)),
	}
}

func anys(texts []string) []any {
	list := make([]any, len(texts))
	for i, s := range texts {
		list[i] = s
	}
	return list
}

// uriPattern is a URI of which whole segments of the path may be *.
type uriPattern struct {
	segments []string // of the URI as text
	spiffe   bool
}

func newURIPattern(s string) (p uriPattern, err error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" || s != strings.TrimSpace(s) {
		return p, errors.New("it is not a URI such as spiffe://example.org/ns/prod/sa/api")
	}
	p = uriPattern{segments: strings.Split(s, "/"), spiffe: u.Scheme == "spiffe"}
	for i, segment := range p.segments {
		switch {
		case segment == "**":
			return p, errors.New("** is not known; * stands for one segment of the path")
		case segment == "*" && i > 2 && p.segments[1] == "":
		case strings.Contains(segment, "*"):
			return p, errors.New("* stands for one whole segment of the path, and nowhere else")
		}
	}
	if p.spiffe {
		if err := checkSPIFFE(strings.ReplaceAll(s, "*", "x")); err != nil {
			return p, err
		}
	}
	return p, nil
}

// matches compares with a URI of a certificate.
func (p uriPattern) matches(u *url.URL, c *x509.Certificate) bool {
	text := u.String()
	if p.spiffe && (len(c.URIs) != 1 || !isLeaf(c) || checkSPIFFE(text) != nil) {
		return false // not an X.509-SVID
	}
	segments := strings.Split(text, "/")
	return slices.EqualFunc(p.segments, segments, func(want, is string) bool {
		// an escaped slash would be two segments to others
		return want == is || want == "*" && is != "" && is != "." && is != ".." && !strings.ContainsAny(is, "%?#*")
	})
}

// isLeaf tells whether a certificate signs no others (X509-SVID section 4 and 5).
func isLeaf(c *x509.Certificate) bool {
	return !c.IsCA && c.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) == 0
}

// checkSPIFFE refuses what is not a SPIFFE ID: a trust domain in lower case and a path of
// plain segments, and nothing else (SPIFFE-ID section 2).
func checkSPIFFE(s string) error {
	domain, path, _ := strings.Cut(strings.TrimPrefix(s, "spiffe://"), "/")
	const lower = "abcdefghijklmnopqrstuvwxyz0123456789.-_"
	switch {
	case !strings.HasPrefix(s, "spiffe://"), domain == "", strings.Trim(domain, lower) != "":
		return errors.New("a SPIFFE ID is spiffe://, a trust domain in lower case, and a path")
	case len(s) > 2048, len(domain) > 255:
		return errors.New("a SPIFFE ID has at most 2048 bytes, its trust domain 255")
	}
	if len(s) == len("spiffe://")+len(domain) {
		return nil // the trust domain itself
	}
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "" || segment == "." || segment == ".." || strings.Trim(segment, lower+"ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
			return errors.New("the path of a SPIFFE ID is segments of letters, digits and .-_ between single slashes")
		}
	}
	return nil
}
