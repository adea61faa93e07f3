package rrtest

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// Names answers what this process looks up. Names that it does not know do not exist,
// except localhost and others in the machine's own list.
type Names struct {
	mu    sync.Mutex
	known map[string][]netip.Addr
	all   []netip.Addr
	down  bool
}

// NewNames has all look-ups of this process answered, until the test ends. Call it before
// anything is started that may look up names.
func NewNames(t testing.TB) *Names {
	t.Helper()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &Names{known: map[string][]netip.Addr{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 512)
		for {
			size, from, err := server.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = server.WriteTo(n.answer(buf[:size]), from)
		}
	}()
	before := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", server.LocalAddr().String())
	}}
	t.Cleanup(func() {
		net.DefaultResolver = before
		server.Close()
		<-done
	})
	return n
}

// Set says which addresses a name has from now on; none: it does not exist.
func (n *Names) Set(name string, addresses ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.known[name] = parsed(addresses)
}

// SetAll says which addresses all names have that Set does not know.
func (n *Names) SetAll(addresses ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = parsed(addresses)
}

func parsed(addresses []string) (list []netip.Addr) {
	for _, s := range addresses {
		list = append(list, netip.MustParseAddr(s))
	}
	return list
}

// Down has look-ups fail, as if there were no network, or work again.
func (n *Names) Down(down bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = down
}

// answer is the DNS answer to a query.
func (n *Names) answer(query []byte) []byte {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	name := strings.ToLower(strings.TrimSuffix(q.Name.String(), "."))
	n.mu.Lock()
	addresses, known := n.known[name]
	if !known {
		addresses = n.all
	}
	down := n.down
	n.mu.Unlock()
	m.Response, m.Additionals = true, nil
	switch {
	case down:
		m.RCode = dnsmessage.RCodeServerFailure
	case len(addresses) == 0:
		m.RCode = dnsmessage.RCodeNameError
	}
	for _, a := range addresses {
		var body dnsmessage.ResourceBody
		switch {
		case q.Type == dnsmessage.TypeA && a.Is4():
			body = &dnsmessage.AResource{A: a.As4()}
		case q.Type == dnsmessage.TypeAAAA && a.Is6():
			body = &dnsmessage.AAAAResource{AAAA: a.As16()}
		default:
			continue
		}
		m.Answers = append(m.Answers, dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}, Body: body})
	}
	out, _ := m.Pack()
	return out
}
