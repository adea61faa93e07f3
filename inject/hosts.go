package inject

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
)

// Binding is where a secret may go: [https://|http://]host[:port], or *.example.com for
// one label. Without a scheme it is https, without a port the scheme's.
type Binding struct {
	scheme, host, port string
	wildcard           bool
}

// ParseBinding reads a binding.
func ParseBinding(s string) (Binding, error) {
	b := Binding{scheme: "https"}
	rest := s
	if scheme, r, ok := strings.Cut(s, "://"); ok {
		if scheme != "https" && scheme != "http" {
			return b, fmt.Errorf("host %q: the scheme is https or http", s)
		}
		b.scheme, rest = scheme, r
	}
	if strings.ContainsAny(rest, "/?#@ {}") {
		return b, fmt.Errorf("host %q: only a host and a port, as in api.example.com or https://*.example.com:8443", s)
	}
	host, port, err := splitHostPort(rest)
	if err != nil {
		return b, fmt.Errorf("host %q: %w", s, err)
	}
	if name, ok := strings.CutPrefix(host, "*."); ok {
		b.wildcard, host = true, name
		if !strings.Contains(name, ".") {
			return b, fmt.Errorf("host %q: a wildcard stands for one label before at least two, as in *.example.com", s)
		}
	}
	if strings.Contains(host, "*") {
		return b, fmt.Errorf("host %q: a wildcard is the whole first label, as in *.example.com", s)
	}
	if b.host, err = canonicalHost(host); err != nil {
		return b, fmt.Errorf("host %q: %w", s, err)
	}
	if b.port = port; port == "" {
		b.port = defaultPort(b.scheme)
	}
	return b, nil
}

// Allows reports whether the binding covers an address.
func (b Binding) Allows(scheme, host, port string) bool {
	if scheme != b.scheme || port != b.port {
		return false
	}
	host, err := canonicalHost(host)
	if err != nil {
		return false
	}
	if !b.wildcard {
		return host == b.host
	}
	label, rest, ok := strings.Cut(host, ".")
	return ok && label != "" && rest == b.host
}

// allowed reports whether any of the bindings covers an address.
func allowed(bindings []Binding, scheme, host, port string) bool {
	for _, b := range bindings {
		if b.Allows(scheme, host, port) {
			return true
		}
	}
	return false
}

// splitHostPort is net.SplitHostPort with an optional port.
func splitHostPort(s string) (host, port string, err error) {
	if s == "" {
		return "", "", errors.New("the host is missing")
	}
	if ip, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil && (s[0] == '[' || !strings.Contains(s, ":")) {
		return ip.String(), "", nil
	}
	if !strings.Contains(s, ":") {
		return s, "", nil
	}
	host, port, err = net.SplitHostPort(s)
	if err != nil {
		return "", "", errors.New("not a host and port; an IPv6 address needs brackets, as in [::1]:8443")
	}
	if n, err := net.LookupPort("tcp", port); err != nil || n == 0 {
		return "", "", fmt.Errorf("%q is not a port", port)
	}
	return host, port, nil
}

// canonicalHost is the host in lower case, without a trailing dot, internationalised
// names in their ASCII form, addresses as netip writes them.
func canonicalHost(host string) (string, error) {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if ip, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return ip.Unmap().String(), nil
	}
	ascii, err := idna.Lookup.ToASCII(host)
	if err != nil || ascii == "" {
		// names with an underscore are no host names, yet in use in private networks
		if strings.Contains(host, "_") && strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789-_.") == "" {
			return host, nil
		}
		return "", errors.New("not a host name")
	}
	return ascii, nil
}

func defaultPort(scheme string) string {
	if scheme == "https" {
		return "443"
	}
	return "80"
}
