package inject

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-rr/caddy-rr/internal/fetch"
	"github.com/caddy-rr/caddy-rr/internal/host"
)

// What Caddy's HTTP transport has without options.
const (
	dialTimeout   = 3 * time.Second
	probeInterval = 30 * time.Second
)

// reach is where the target of a record may lead.
type reach struct {
	policy fetch.Policy
	plain  bool // http, which goes to private addresses alone
}

// errPlainRecord is errAddress in words for those who make records.
var errPlainRecord = errors.New("plain http goes to private addresses that the operator has opened (egress allow), or anywhere with insecure_http; say https")

// closed says that an address is closed to a target; it is an errAddress.
type closed struct{ error }

func (c closed) Unwrap() error       { return c.error }
func (c closed) Is(other error) bool { return other == errAddress }

func (r reach) permits(a netip.Addr) error {
	if err := r.policy.Permits(a); err != nil {
		return closed{err}
	}
	if r.plain && !fetch.IsPrivate(a) {
		return closed{fmt.Errorf("the address %s is public: %w", a, errPlainRecord)}
	}
	return nil
}

func (t *Target) reach(allow []netip.Prefix) reach {
	return reach{fetch.Policy{Allow: allow}, t.scheme == "http" && !t.insecureHTTP}
}

// CheckTarget tells whether a record may have this target: whether its host is, or has
// now, an address that is neither public nor within the ranges that the operator has
// opened. Names are looked up, for 3 s at most; one that cannot be looked up now passes,
// and is judged when it is dialled. The error says what is wrong with the url.
func CheckTarget(ctx context.Context, s *TargetSpec, allow []netip.Prefix) error {
	t, err := parseTarget(s.URL)
	if err != nil {
		return err
	}
	t.insecureHTTP = s.InsecureHTTP
	err = fetch.CheckHost(ctx, t.host, t.reach(allow).permits)
	if errors.Is(err, errPlainRecord) {
		return errPlainRecord
	}
	return err
}

// loadForRecord makes the target's transport: Caddy's, with a dialer that judges each
// address before it connects to it.
func (t *Target) loadForRecord(l *host.Loader, options json.RawMessage) error {
	if len(options) > 0 {
		return errors.New("its options are for targets of the configuration: they name files and proxies")
	}
	transport := new(reverseproxy.HTTPTransport)
	if t.scheme == "https" {
		transport.TLS = new(reverseproxy.TLSConfig)
	}
	if t.http2PriorKnown {
		transport.Versions = []string{"h2c", "2"}
	}
	if err := l.Adopt(transport); err != nil {
		return err
	}
	transport.Transport.Proxy = nil // nor that of the environment
	transport.Transport.DialContext = t.reach(l.Egress()).dialer()
	t.transport = transport
	return nil
}

// dialer is what connects. A name may have other addresses than it had when the record was
// made, so the one that is about to be connected to is judged.
func (r reach) dialer() dialFunc {
	d := &net.Dialer{
		Timeout:         dialTimeout,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Interval: probeInterval},
		ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
			a, err := netip.ParseAddrPort(address)
			if err != nil {
				return closed{err}
			}
			return r.permits(a.Addr())
		},
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := d.DialContext(ctx, network, address)
		if err != nil && !errors.Is(err, errAddress) {
			err = unconnected{err}
		}
		return conn, err
	}
}

// unconnected says that nothing was sent, since there was no connection. To Caddy it is a
// reverseproxy.DialError, which nobody else can make: it tries again whatever the method.
type unconnected struct{ error }

func (u unconnected) Unwrap() error { return u.error }

func (unconnected) As(target any) bool {
	_, ok := target.(*reverseproxy.DialError)
	return ok
}
