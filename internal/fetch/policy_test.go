package fetch

import (
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

func quiet() *log.Logger { return log.New(io.Discard, "", 0) }

func TestClassify(t *testing.T) {
	for want, list := range map[class]string{
		public: "8.8.8.8 172.32.0.1 172.15.0.1 100.128.0.1 2606:4700::1111 64:ff9b::808:808 2002:808:808::1 ::ffff:1.1.1.1 " +
			"2001:1::1 2001:200::1 ::fffe:0:7f00:1 169.253.0.1 11.0.0.1 192.167.1.1 223.255.255.255",
		private: "127.0.0.1 127.255.0.3 10.1.2.3 172.16.0.1 172.31.255.255 192.168.1.1 100.64.0.1 100.127.255.255 ::1 fc00::1 fdff::1 " +
			"::ffff:127.0.0.1 ::ffff:10.0.0.1 ::10.0.0.1 ::8.8.8.8 64:ff9b::7f00:1 64:ff9b::a00:1 64:ff9b:1::808:808 2002:7f00:1:: 2002:c0a8:101::1 " +
			"198.19.0.1 192.0.0.1 fec0::1 ::ffff:0:127.0.0.1 ::ffff:0:10.0.0.1 ::ffff:0:8.8.8.8 " +
			"2001:0:808:808::f7f7:f7f7 2001:0:808:808::80ff:fffe 2001:0:a00:1::f7f7:f7f7 2002:a00:1::1",
		never: "169.254.169.254 169.254.0.1 fe80::1 fe80::1%eth0 febf::1 0.0.0.0 0.1.2.3 :: 224.0.0.1 239.1.1.1 240.0.0.1 255.255.255.255 ff02::1 " +
			"fd00:ec2::254 fd20:ce::254 100.100.100.200 168.63.129.16 ::ffff:169.254.169.254 ::ffff:0.0.0.0 ::169.254.169.254 " +
			"64:ff9b::a9fe:a9fe 64:ff9b::1 2002:a9fe:a9fe::1 2002::1 64:ff9b:1::a9fe:a9fe 64:ff9b:1:a9fe:a9:fe00:: 64:ff9b:1:a9:fe:a9fe:: " +
			"64:ff9b:1:0:a9:fea9:fe00:0 ::ffff:0:169.254.169.254 ::ffff:0:0.0.0.0 2001:0:808:808::5601:5601 2001:0:a9fe:a9fe::f7f7:f7f7 2001:: " +
			"2002:6464:64c8::1",
	} {
		for _, s := range strings.Fields(list) {
			a := netip.MustParseAddr(s)
			if got := classify(a); got != want {
				t.Errorf("%s is %d, want %d", s, got, want)
			}
			if IsPrivate(a) != (want != public) {
				t.Errorf("IsPrivate(%s) is %v", s, IsPrivate(a))
			}
		}
	}
	if !IsPrivate(netip.Addr{}) {
		t.Error("no address is a public one")
	}
}

func TestPermits(t *testing.T) {
	allow := []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("169.254.10.0/24"), netip.MustParsePrefix("fd00::/8")}
	for _, tt := range []struct {
		address                       string
		trusted, untrusted, withAllow bool
	}{
		{"8.8.8.8", true, true, true},
		{"10.1.2.3", true, false, true},
		{"10.2.2.3", true, false, false},
		{"127.0.0.1", true, false, false},
		{"::ffff:10.1.2.3", true, false, true},
		{"64:ff9b::10.1.2.3", true, false, false},
		{"169.254.169.254", false, false, false},
		{"169.254.10.1", false, false, true},
		{"64:ff9b::169.254.169.254", false, false, false},
		{"fd00::1", true, false, true},
		{"fd00:ec2::254", false, false, true},
		{"0.0.0.0", false, false, false},
		{"ff02::1", false, false, false},
	} {
		a := netip.MustParseAddr(tt.address)
		for name, c := range map[string]struct {
			policy Policy
			want   bool
		}{
			"trusted":    {Policy{Trusted: true}, tt.trusted},
			"untrusted":  {Policy{}, tt.untrusted},
			"with allow": {Policy{Allow: allow}, tt.withAllow},
		} {
			if err := c.policy.permits(a); (err == nil) != c.want {
				t.Errorf("%s, %s: %v", tt.address, name, err)
			}
		}
	}
}

func TestAddressIsJudgedWhenDialled(t *testing.T) {
	rrtest.NoLeak(t)
	ca := rrtest.NewCA(t)
	reached := 0
	s := serveTLS(t, ca, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached++ }), "keys.example.com")
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	rrtest.NewNames(t).SetAll("127.0.0.1")
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	for _, tt := range []struct {
		name   string
		client *Client
		host   string
		refuse string
	}{
		{"a name that leads to loopback", client(t, Policy{RootCAs: ca.Pool}), "keys.example.com", "private"},
		{"localhost", client(t, Policy{RootCAs: ca.Pool}), "localhost", "private"},
		{"an address", client(t, Policy{RootCAs: ca.Pool}), "127.0.0.1", "private"},
		{"derived from a trusted client", client(t, Policy{RootCAs: ca.Pool, Trusted: true}).Untrusted(), "keys.example.com", "private"},
		{"trusted", client(t, Policy{RootCAs: ca.Pool, Trusted: true}), "keys.example.com", ""},
		{"allowed", client(t, Policy{RootCAs: ca.Pool, Allow: loopback}), "keys.example.com", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := reached
			_, err := get(t, tt.client, "https://"+net.JoinHostPort(tt.host, port))
			if tt.refuse != "" {
				expectError(t, err, tt.refuse)
				if reached != before {
					t.Error("it was reached all the same")
				}
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestMetadataIsRefusedToTheTrustedToo(t *testing.T) {
	rrtest.NewNames(t).SetAll("169.254.169.254")
	_, err := get(t, client(t, Policy{Trusted: true}), "https://token.example.com/latest")
	expectError(t, err, "169.254.169.254")
	expectError(t, err, "metadata")
}

func TestHTTPIsForThisMachine(t *testing.T) {
	s := serve(t, rrtest.Status(http.StatusOK, "x"))
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	c := client(t, Policy{Trusted: true})
	for _, host := range []string{"127.0.0.1", "localhost"} {
		if _, err := get(t, c, "http://"+net.JoinHostPort(host, port)); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	_, err := get(t, c, "http://example.com")
	expectError(t, err, "https")
	_, err = get(t, client(t, Policy{}), s.URL)
	expectError(t, err, "private")
	// localhost is what the resolver makes of it
	if err := (Policy{Trusted: true, Allow: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}}).permitsPlain(netip.MustParseAddr("10.0.0.1")); err == nil {
		t.Error("http would leave the machine")
	}
}
