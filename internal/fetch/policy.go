package fetch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"
)

// Policy says which addresses a Client may reach, and how it shows itself there.
type Policy struct {
	// Allow are addresses that may be reached in any case.
	Allow []netip.Prefix
	// Trusted says that the operator wrote the URLs: loopback and private addresses may be
	// reached. Link-local addresses, cloud metadata services, multicast and the unspecified
	// address need Allow even so.
	Trusted bool
	// RootCAs judge the server's certificate; nil stands for the system's.
	RootCAs *x509.CertPool
	// Certificate is the client certificate to show, if a server asks for one.
	Certificate *tls.Certificate
}

// transport makes a Transport that dials where permits agrees. It speaks HTTP/1.1 only,
// which is all that these small documents need, without the environment's proxy.
func (p Policy) transport(permits func(netip.Addr) error) *http.Transport {
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: p.RootCAs}
	if p.Certificate != nil {
		config.Certificates = []tls.Certificate{*p.Certificate}
	}
	dialer := &net.Dialer{
		KeepAlive: 15 * time.Second,
		// the last moment before the connection is made: the address is final
		ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
			a, err := netip.ParseAddrPort(address)
			if err != nil {
				return &refusal{address, "is no address"}
			}
			return permits(a.Addr())
		},
	}
	return &http.Transport{
		DialContext:            dialer.DialContext,
		TLSClientConfig:        config,
		DisableCompression:     true,
		MaxIdleConns:           maxIdle,
		MaxIdleConnsPerHost:    maxIdle,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxHeaderBytes,
	}
}

// permits judges an address that is about to be dialled for https.
func (p Policy) permits(a netip.Addr) error {
	kind := classify(a)
	if kind == public || p.allows(a) {
		return nil
	}
	if kind == never {
		return &refusal{a.String(), "is link-local, a metadata service's or not one host's, and is not allowed"}
	}
	if !p.Trusted {
		return &refusal{a.String(), "is private, and is not allowed"}
	}
	return nil
}

// permitsPlain is permits for http, which never leaves the machine.
func (p Policy) permitsPlain(a netip.Addr) error {
	if !a.Unmap().IsLoopback() {
		return &refusal{a.String(), "is not loopback: http is for this machine alone"}
	}
	return p.permits(a)
}

func (p Policy) allows(a netip.Addr) bool {
	a = a.WithZone("")
	for _, prefix := range p.Allow {
		if prefix.Contains(a) || prefix.Contains(a.Unmap()) {
			return true
		}
	}
	return false
}

// refusal is a policy's no to an address.
type refusal struct{ address, why string }

func (r *refusal) Error() string { return fmt.Sprintf("the address %s %s", r.address, r.why) }
