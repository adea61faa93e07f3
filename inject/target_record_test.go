package inject

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/caddy-rr/caddy-rr/internal/host"
	"github.com/caddy-rr/caddy-rr/internal/rrtest"
	"github.com/caddy-rr/caddy-rr/internal/rule"
)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// recordLoader loads guests of one record until the test ends.
func recordLoader(t testing.TB, o host.RecordOptions) *host.Loader {
	t.Helper()
	l := host.NewRecordLoader(testContext(t), zap.NewNop(), o)
	t.Cleanup(l.Close)
	return l
}

// TestCheckTarget: where a target may lead that the operator did not write.
func TestCheckTarget(t *testing.T) {
	names := rrtest.NewNames(t)
	names.Set("public.example", "203.0.113.7")
	names.Set("inside.example", "10.1.2.3")
	names.Set("both.example", "203.0.113.7", "10.1.2.3")
	opened := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("127.0.0.0/8")}
	for _, tt := range []struct {
		spec  TargetSpec
		allow []netip.Prefix
		want  string
	}{
		{TargetSpec{URL: "https://public.example/v2"}, nil, ""},
		{TargetSpec{URL: "https://unknown.example"}, nil, ""},
		{TargetSpec{URL: "https://127.0.0.1:8443"}, nil, "not allowed"},
		{TargetSpec{URL: "https://0x7f.1"}, nil, "not allowed"},
		{TargetSpec{URL: "https://2130706433"}, nil, "not allowed"},
		{TargetSpec{URL: "https://0177.0.0.1"}, nil, "not allowed"},
		{TargetSpec{URL: "https://[::1]"}, nil, "not allowed"},
		{TargetSpec{URL: "https://[::ffff:127.0.0.1]"}, nil, "not allowed"},
		{TargetSpec{URL: "https://[fe80::1%25eth0]"}, nil, "not allowed"},
		{TargetSpec{URL: "https://[fe80::1%25a$b]"}, nil, "zone"},
		{TargetSpec{URL: "https://127.0.0.1."}, nil, "not allowed"},
		{TargetSpec{URL: "https://１２７.０.０.１"}, nil, "not allowed"},
		{TargetSpec{URL: "https://169.254.169.254/latest"}, nil, "not allowed"},
		{TargetSpec{URL: "https://10.0.0.1"}, nil, "not allowed"},
		{TargetSpec{URL: "https://[fd00::1]"}, nil, "not allowed"},
		{TargetSpec{URL: "https://100.64.0.1"}, nil, "not allowed"},
		{TargetSpec{URL: "https://[64:ff9b::a00:1]"}, nil, "not allowed"},
		{TargetSpec{URL: "https://localhost"}, nil, "not allowed"},
		{TargetSpec{URL: "https://inside.example"}, nil, "not allowed"},
		{TargetSpec{URL: "https://both.example"}, nil, "not allowed"},
		{TargetSpec{URL: "https://8.8.8.8"}, nil, ""},
		{TargetSpec{URL: "https://inside.example"}, opened, ""},
		{TargetSpec{URL: "https://127.0.0.1:8443"}, opened, ""},
		{TargetSpec{URL: "https://192.168.0.1"}, opened, "not allowed"},
		// plain http
		{TargetSpec{URL: "http://public.example"}, nil, "plain http"},
		{TargetSpec{URL: "h2c://public.example"}, nil, "plain http"},
		{TargetSpec{URL: "http://8.8.8.8"}, nil, "plain http"},
		{TargetSpec{URL: "http://8.8.8.8"}, []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}, "plain http"},
		{TargetSpec{URL: "http://public.example", InsecureHTTP: true}, nil, ""},
		{TargetSpec{URL: "http://127.0.0.1"}, nil, "not allowed"},
		{TargetSpec{URL: "http://127.0.0.1", InsecureHTTP: true}, nil, "not allowed"},
		{TargetSpec{URL: "http://127.0.0.1"}, opened, ""},
		{TargetSpec{URL: "http://inside.example"}, opened, ""},
		{TargetSpec{URL: "http://unknown.example"}, nil, ""}, // which is judged when it is dialled
		{TargetSpec{URL: "ftp://public.example"}, nil, "scheme"},
	} {
		err := CheckTarget(t.Context(), &tt.spec, tt.allow)
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%s with %v: %v", tt.spec.URL, tt.allow, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s with %v: %v, want %q", tt.spec.URL, tt.allow, err, tt.want)
		}
	}
}

// TestRecordsHaveNoOperatorsOptions: what names files and proxies of the machine, or reads
// its environment, is for configurations.
func TestRecordsHaveNoOperatorsOptions(t *testing.T) {
	l := recordLoader(t, host.RecordOptions{})
	for want, s := range map[string]*TargetSpec{
		"transport: its options are for targets of the configuration": {URL: "https://a.example", Transport: []byte(`{"tls":{"root_ca_pem_files":["/etc/passwd"]}}`)},
		"rules made through the API have no expressions":              {URL: "https://a.example", Scope: rule.Scope{Rules: []rule.Rule{{Effect: "deny", Expression: "{env.HOME} == 'x'"}}}},
	} {
		if _, err := NewTarget(l, "t", s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if target, err := NewTarget(l, "t", &TargetSpec{URL: "https://a.example"}); err != nil || target.transport.Transport.Proxy != nil {
		t.Errorf("the proxy of the environment is used (%v)", err)
	}
	c := &Credential{Name: "c", Raw: []byte(`{"kind":"oauth2","grant":"refresh_token","token_url":"https://as.example/token","client_id":"rr","client_secret":"s","refresh_token":"{file./etc/passwd}","keep_rotated":true}`)}
	if err := c.Provision(l); err == nil || !strings.Contains(err.Error(), "keep_rotated") {
		t.Errorf("keep_rotated: %v", err)
	}
	if err := (&Credential{Name: "c", Raw: []byte(`{"kind":"bearer","token":"x"}`), Scope: rule.Scope{Rules: []rule.Rule{{Effect: "allow", Expression: "true"}}}}).Provision(l); err == nil {
		t.Error("the rules of a credential have an expression")
	}
}

// TestTheDialledAddressIsJudged calls the dialer itself.
func TestTheDialledAddressIsJudged(t *testing.T) {
	rrtest.NoLeak(t)
	names := rrtest.NewNames(t)
	u := rrtest.NewUpstream(t)
	_, port, _ := strings.Cut(u.Addr, ":")
	dial := func(url string, allow []netip.Prefix, insecure bool) error {
		target, err := parseTarget(url)
		if err != nil {
			t.Fatal(err)
		}
		target.insecureHTTP = insecure
		conn, err := target.reach(allow).dialer()(t.Context(), "tcp", target.dial)
		if err == nil {
			conn.Close()
		}
		return err
	}
	names.Set("moves.example", "127.0.0.1")
	for _, tt := range []struct {
		url     string
		allow   []netip.Prefix
		refused bool
	}{
		{"http://127.0.0.1:" + port, nil, true},
		{"http://127.0.0.1:" + port, loopback, false},
		{"http://moves.example:" + port, nil, true},
		{"http://moves.example:" + port, loopback, false},
		{"https://[::ffff:127.0.0.1]:" + port, nil, true},
		{"http://localhost:" + port, nil, true},
	} {
		for _, insecure := range []bool{false, true} {
			err := dial(tt.url, tt.allow, insecure)
			if got := errors.Is(err, errAddress); got != tt.refused || !tt.refused && err != nil {
				t.Errorf("%s with %v: %v", tt.url, tt.allow, err)
			}
			if tt.refused && failed(err).Code != "address-not-allowed" {
				t.Errorf("%s: the caller sees %s", tt.url, failed(err).Code)
			}
		}
	}
	// of several addresses those that are open are tried
	names.Set("both.example", "10.255.255.1", "127.0.0.1")
	if err := dial("http://both.example:"+port, loopback, false); err != nil {
		t.Errorf("a name with an open address: %v", err)
	}
}
