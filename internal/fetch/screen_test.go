package fetch

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

// TestCheckHost has every spelling of closed addresses that somebody may understand.
func TestCheckHost(t *testing.T) {
	names := rrtest.NewNames(t)
	names.Set("public.example", "203.0.113.7", "2001:db8::7")
	names.Set("inside.example", "10.1.2.3")
	names.Set("both.example", "203.0.113.7", "127.0.0.1")
	names.Set("metadata.example", "169.254.169.254")
	names.Set("six.example", "fd00::1")
	names.Set("mapped.example", "::ffff:10.0.0.1")
	opened := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("127.0.0.0/8")}
	for want, hosts := range map[string]string{
		"private, and is not allowed": "127.0.0.1 127.1 127.0.1 0x7f.1 0x7F.0.0.1 0x7f000001 2130706433 017700000001 0177.0.0.1 0177.1 127.0.0.1. " +
			"[::1] ::1 [::ffff:127.0.0.1] [::ffff:7f00:1] [::127.0.0.1] [64:ff9b::7f00:1] [2002:7f00:1::] " +
			"10.1.2.3 012.1.2.3 0xa010203 172.16.0.1 192.168.1.1 192.168.257 100.64.0.1 [fd00::1] [fc00::1] [64:ff9b::10.0.0.1] " +
			"localhost LOCALHOST localhost. a.localhost 127.0.0.1 １２７.０.０.１ ①②⑦.⓪.⓪.① 127。0。0。1 0x7f。1",
		"metadata": "169.254.169.254 0xa9fea9fe 2852039166 0251.0376.0251.0376 169.254.43518 [::ffff:169.254.169.254] [fe80::1] [fe80::1%eth0] " +
			"0.0.0.0 0 0x0 0x 00 [::] 224.0.0.1 255.255.255.255 100.100.100.200 168.63.129.16 [fd00:ec2::254] [ff02::1] 169.254.169.254.",
		"leads to an address that is not allowed": "inside.example INSIDE.example. both.example metadata.example six.example mapped.example",
		"write the address as 8.8.8.8":            "134744072 0x8.8.8.8 010.8.8.8 8.8.2056 ８.８.８.８",
		"neither a host name nor an address":      "1.2.3.4.5 256.256.256.256 1.2.3.999 example.1 a.0x1 08.1.1.1 4294967296 1.16777216",
		"not a host name":                         ". .. a..b .a 127.0.0.1.. exa\u0000mple",
		"a zone":                                  "[2001:db8::1%eth0]",
		"":                                        "public.example api.example.com unknown.example 8.8.8.8 [2606:4700::1111] xn--bcher-kva.example bücher.example a_b.example 1e100.example 0xff.example",
	} {
		for _, host := range strings.Fields(hosts) {
			t.Run(host, func(t *testing.T) {
				err := CheckHost(t.Context(), host, Policy{}.permits)
				if want == "" {
					if err != nil {
						t.Error(err)
					}
					return
				}
				expectError(t, err, want)
				if strings.Contains(want, "leads") && strings.ContainsAny(err.Error(), "0123456789") {
					t.Errorf("the error tells an address: %v", err)
				}
			})
		}
	}
	for host, want := range map[string]bool{
		"127.0.0.1": true, "localhost": true, "inside.example": true, "both.example": true, "10.9.9.9": true, "[::ffff:10.0.0.1]": true, "mapped.example": true,
		"[::1]": false, "192.168.1.1": false, "metadata.example": false, "six.example": false, "0x7f.1": false,
	} {
		if err := CheckHost(t.Context(), host, Policy{Allow: opened}.permits); (err == nil) != want {
			t.Errorf("%s with opened ranges: %v", host, err)
		}
	}
	// what cannot be looked up is judged when it is dialled
	names.Down(true)
	if err := CheckHost(t.Context(), "inside.example", Policy{}.permits); err != nil {
		t.Errorf("without a network: %v", err)
	}
}

func TestCheckAddress(t *testing.T) {
	rrtest.NewNames(t).Set("as.example", "203.0.113.7")
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	for _, tt := range []struct {
		url   string
		allow []netip.Prefix
		want  string
	}{
		{"https://as.example/token", nil, ""},
		{"https://127.0.0.1/token", nil, "private"},
		{"https://127.0.0.1/token", loopback, ""},
		{"http://127.0.0.1:8080/token", loopback, ""},
		{"http://127.0.0.1:8080/token", nil, "private"},
		{"http://localhost/token", loopback, ""},
		{"http://as.example/token", loopback, "http is for this machine alone"},
		{"https://user@as.example/token", nil, "user name"},
		{"ftp://as.example", nil, "https://"},
	} {
		err := Policy{Allow: tt.allow}.CheckAddress(t.Context(), tt.url)
		if tt.want == "" && err != nil {
			t.Errorf("%s: %v", tt.url, err)
		} else if tt.want != "" {
			expectError(t, err, tt.want)
		}
	}
}

// FuzzCheckHost: no host that Go's dialer or the C library would take for a closed address
// passes.
func FuzzCheckHost(f *testing.F) {
	for _, s := range []string{"127.0.0.1", "0x7f.1", "[::ffff:127.0.0.1]", "a.example", "１２７.1", "0", "1.2.3.4."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, host string) {
		name, a, err := readHost(host)
		if a.IsValid() || err != nil {
			return
		}
		if a := oldAddress(strings.TrimSuffix(name, ".")); a.IsValid() {
			t.Errorf("%q is taken for a name, and by others for %s", host, a)
		}
		if a, err := netip.ParseAddr(strings.Trim(strings.TrimSuffix(host, "."), "[]")); err == nil {
			t.Errorf("%q is taken for a name, and is %s", host, a)
		}
	})
}
