package inject

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-rr/caddy-rr/internal/fetch"
	"github.com/caddy-rr/caddy-rr/internal/host"
	"github.com/caddy-rr/caddy-rr/internal/rule"
)

// TargetSpec is an upstream.
type TargetSpec struct {
	// The base URL: https://api.example.com/v2, http://… or h2c://… (HTTP/2 without TLS).
	// Requests go to its path followed by their own.
	URL string `json:"url"`
	// A path that answers to a simple GET, for trying the target out.
	TestPath string `json:"test_path,omitempty"`
	// Allow plain http to addresses that are neither loopback nor private, so that the
	// credential crosses the Internet unprotected.
	InsecureHTTP bool `json:"insecure_http,omitempty"`
	// Options of Caddy's HTTP transport towards this upstream: TLS trust, client
	// certificates, time-outs, keep-alive and so on, as in
	// http.reverse_proxy.transport.http.
	Transport json.RawMessage `json:"transport,omitempty"`

	// The rules of the target.
	rule.Scope
}

// Target is a compiled TargetSpec.
type Target struct {
	name            string
	scheme          string // https or http
	host, port      string
	dial            string // host:port
	authority       string // the Host header: without the scheme's own port
	base            string // path before the request's own, decoded and escaped
	escapedBase     string
	insecureHTTP    bool
	set             *rule.Set
	transport       *reverseproxy.HTTPTransport
	http2PriorKnown bool
}

// errAddress says that a dialled address is not allowed.
var errAddress = errors.New("plain http goes to loopback and private addresses only, unless the target says insecure_http")

// NewTarget compiles a target. It dials nothing. That of a record reaches no addresses but
// public ones and those that the operator has opened; CheckTarget says so beforehand.
func NewTarget(l *host.Loader, name string, s *TargetSpec) (*Target, error) {
	t, err := parseTarget(s.URL)
	if err != nil {
		return nil, fmt.Errorf("target %s: %w", name, err)
	}
	t.name, t.insecureHTTP = name, s.InsecureHTTP
	if t.set, err = s.Compile(l.RuleEnv()); err != nil {
		return nil, fmt.Errorf("target %s: %w", name, err)
	}
	if s.TestPath != "" && s.TestPath[0] != '/' {
		return nil, fmt.Errorf("target %s: test_path %q does not begin with a slash", name, s.TestPath)
	}
	if l.Untrusted() {
		err = t.loadForRecord(l, s.Transport)
	} else if err = t.checkPlain(); err != nil {
		return nil, fmt.Errorf("target %s: %s: %w", name, s.URL, err)
	} else {
		err = t.load(l, s.Transport)
	}
	if err != nil {
		return nil, fmt.Errorf("target %s: transport: %w", name, err)
	}
	return t, nil
}

// ParseTargetURL checks a target's URL; it is for parsers of configurations.
func ParseTargetURL(s string) error {
	_, err := parseTarget(s)
	return err
}

func parseTarget(s string) (*Target, error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("%q is not a URL such as https://api.example.com/v2", redactURL(s))
	}
	t := &Target{scheme: u.Scheme}
	switch {
	case u.User != nil:
		return nil, errors.New("a user or password in the URL is not for the target; use `present basic`")
	case u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		return nil, errors.New("the URL has a query or fragment; a target is scheme, host and path")
	case u.Scheme == "h2c":
		t.scheme, t.http2PriorKnown = "http", true
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, fmt.Errorf("the scheme is https, http or h2c, not %q", u.Scheme)
	}
	host, port, err := splitHostPort(u.Host)
	if err != nil {
		return nil, err
	}
	if t.host, err = canonicalHost(host); err != nil {
		return nil, fmt.Errorf("%q: %w", host, err)
	}
	if _, zone, _ := strings.Cut(t.host, "%"); strings.Trim(zone, zoneLetters) != "" {
		return nil, fmt.Errorf("%q: a zone is the name of an interface, such as eth0", host)
	}
	t.port, t.authority = port, u.Host
	if port == "" || port == defaultPort(t.scheme) {
		t.port, t.authority = defaultPort(t.scheme), bracketed(t.host)
	} else {
		t.authority = net.JoinHostPort(t.host, port)
	}
	t.dial = net.JoinHostPort(t.host, t.port)
	if p := strings.TrimRight(u.Path, "/"); p != "" {
		if _, err := rule.CanonicalPath(u, false); err != nil {
			return nil, fmt.Errorf("the URL's path: %w", err)
		}
		t.base, t.escapedBase = p, strings.TrimRight(u.EscapedPath(), "/")
	}
	return t, nil
}

// zoneLetters are those of interfaces' names; others would mean something elsewhere.
const zoneLetters = "abcdefghijklmnopqrstuvwxyz0123456789-_."

// redactURL keeps a password that somebody wrote into a URL out of messages.
func redactURL(s string) string {
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		return "…" + s[i:]
	}
	return s
}

func bracketed(host string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}

// checkPlain refuses plain http to an address that is known to be public; names are
// looked up when they are dialled.
func (t *Target) checkPlain() error {
	if t.scheme == "https" || t.insecureHTTP {
		return nil
	}
	if ip, err := netip.ParseAddr(t.host); err == nil && !fetch.IsPrivate(ip) {
		return errAddress
	}
	return nil
}

// load provisions Caddy's HTTP transport for the target.
func (t *Target) load(l *host.Loader, raw json.RawMessage) error {
	options := map[string]json.RawMessage{}
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &options); err != nil {
			return errors.New("not a JSON object")
		}
		if options == nil {
			return errors.New("it is null; leave it out")
		}
	}
	delete(options, "protocol")
	_, tls := options["tls"]
	switch {
	case t.scheme == "https" && !tls:
		options["tls"] = json.RawMessage(`{}`)
	case t.scheme == "http" && tls:
		return errors.New("it has TLS options, but the target's URL is not https")
	}
	if _, ok := options["network_proxy"]; !ok {
		// Caddy's default is HTTP_PROXY and its like, which would send credentials of
		// plain http targets through a machine that nobody configured here
		options["network_proxy"] = json.RawMessage(`{"from":"none"}`)
	}
	if t.http2PriorKnown {
		options["versions"] = json.RawMessage(`["h2c","2"]`)
	}
	merged, err := json.Marshal(options)
	if err != nil {
		return err
	}
	guest, err := l.Context().LoadModuleByID("http.reverse_proxy.transport.http", merged)
	if err != nil {
		return err
	}
	t.transport = guest.(*reverseproxy.HTTPTransport)
	if t.scheme == "http" && !t.insecureHTTP {
		t.transport.Transport.DialContext = onlyPrivate(t.transport.Transport.DialContext)
	}
	return nil
}

type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// onlyPrivate looks at the address that was really connected to, before a byte is sent.
func onlyPrivate(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		if tcp, ok := conn.RemoteAddr().(*net.TCPAddr); ok && !fetch.IsPrivate(tcp.AddrPort().Addr()) {
			_ = conn.Close()
			return nil, errAddress
		}
		return conn, nil
	}
}

// direct points a request, a copy, at the target, and with path puts the target's path
// before its own.
func (t *Target) direct(r *http.Request, path bool) {
	if path {
		joinPath(r.URL, t.base, t.escapedBase)
	}
	r.URL.Scheme, r.URL.Host, r.Host = t.scheme, t.dial, t.authority
}
