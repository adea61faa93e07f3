package verify

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/exchange"
)

func request(t testing.TB, target string, headers ...string) *http.Request {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, "http://gateway.test"+target, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header[name] = append(r.Header[name], value)
	}
	return r
}

func TestCarrierRead(t *testing.T) {
	bearer := Carrier{In: InHeader, Name: "Authorization", Prefix: "Bearer"}
	for _, tt := range []struct {
		name    string
		carrier Carrier
		target  string
		headers []string
		want    string
		err     error
	}{
		{"a bearer token", bearer, "/", []string{"Authorization: Bearer abc"}, "abc", nil},
		{"a scheme in any case", bearer, "/", []string{"Authorization: bEARER abc"}, "abc", nil},
		{"several spaces after the scheme", bearer, "/", []string{"Authorization: Bearer   abc "}, "abc", nil},
		{"another scheme", bearer, "/", []string{"Authorization: Basic abc"}, "", ErrAbsent},
		{"a scheme that only begins alike", bearer, "/", []string{"Authorization: Bearerabc"}, "", ErrAbsent},
		{"a scheme alone", bearer, "/", []string{"Authorization: Bearer"}, "", ErrAbsent},
		{"the header twice", bearer, "/", []string{"Authorization: Bearer abc", "Authorization: Bearer abc"}, "", ErrRejected},
		{"nothing", bearer, "/", nil, "", ErrAbsent},
		{"a bare header", Carrier{In: InHeader, Name: "X-Api-Key"}, "/", []string{"X-Api-Key: abc"}, "abc", nil},
		{"a prefix without space", Carrier{In: InHeader, Name: "Authorization", Prefix: "Token token="}, "/", []string{"Authorization: Token token=abc"}, "abc", nil},
		{"a query parameter", Carrier{In: InQuery, Name: "api_key"}, "/?a=1&api_key=a%2Bb+c", nil, "a+b c", nil},
		{"a query parameter with an escaped name", Carrier{In: InQuery, Name: "api_key"}, "/?api%5fkey=abc", nil, "abc", nil},
		{"a query parameter twice", Carrier{In: InQuery, Name: "api_key"}, "/?api_key=a&api_key=a", nil, "", ErrRejected},
		{"a query parameter hidden behind a semicolon", Carrier{In: InQuery, Name: "api_key"}, "/?api_key=a&x=1;api_key=b", nil, "", ErrRejected},
		{"a query parameter in another case", Carrier{In: InQuery, Name: "api_key"}, "/?api_key=a&API_KEY=b", nil, "", ErrRejected},
		{"a cookie", Carrier{In: InCookie, Name: "session"}, "/", []string{"Cookie: a=1; session=abc; b=2"}, "abc", nil},
		{"a cookie twice", Carrier{In: InCookie, Name: "session"}, "/", []string{"Cookie: session=abc", "Cookie: session=def"}, "", ErrRejected},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.carrier.Validate(); err != nil {
				t.Fatal(err)
			}
			got, err := tt.carrier.Read(request(t, tt.target, tt.headers...))
			if got != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func TestStripRemovesTheCredentialAndNothingElse(t *testing.T) {
	var s slots
	s.add([]Carrier{
		{In: InHeader, Name: "X-Gateway-Key"}, {In: InQuery, Name: "access_token"}, {In: InCookie, Name: "rr"},
	})
	s.finish()
	for _, tt := range []struct{ name, query, want string }{
		{"alone", "access_token=s", ""},
		{"first", "access_token=s&a=1&b=%20", "a=1&b=%20"},
		{"last", "a=1&access_token=s", "a=1"},
		{"between, the rest byte for byte", "z=%7e&access_token=s&&a=+", "z=%7e&&a=+"},
		{"behind a semicolon", "a=1;access_token=s;b=2", "a=1;b=2"},
		{"escaped", "%61ccess_token=s&a=1", "a=1"},
		{"in another case", "Access_Token=s&a=1", "a=1"},
		{"without a value", "access_token&a=1", "a=1"},
		{"names that only begin alike", "access_tokens=1&a=access_token", "access_tokens=1&a=access_token"},
		{"none", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := request(t, "/p?"+tt.query, "X-Gateway-Key: s", "Authorization: Bearer s", "Proxy-Authorization: Basic s",
				"x-gateway-key: s", "X_gateway_key: s", "X.Gateway.Key: s", "Cookie: a=1; rr=s; b=\"2\"", "X-Other: 1")
			s.strip(r, true)
			if r.URL.RawQuery != tt.want {
				t.Errorf("query %q, want %q", r.URL.RawQuery, tt.want)
			}
			if got := r.Header; len(got) != 2 || got["X-Other"][0] != "1" || got["Cookie"][0] != `a=1; b="2"` {
				t.Errorf("headers left: %v", got)
			}
		})
	}
}

func TestOneCredentialPerRequest(t *testing.T) {
	var s slots
	s.add(keyCarriers())
	s.add([]Carrier{{In: InQuery, Name: "key"}, {In: InCookie, Name: "key"}})
	s.finish()
	for _, tt := range []struct {
		name    string
		target  string
		headers []string
		found   int
		err     error
	}{
		{"none", "/", nil, 0, nil},
		{"one", "/", []string{"X-Api-Key: a"}, 1, nil},
		{"the same in two places", "/?key=a", []string{"X-Api-Key: a", "Authorization: Bearer a", "Cookie: key=a"}, 4, nil},
		{"two different", "/", []string{"X-Api-Key: a", "Authorization: Bearer b"}, 0, errAmbiguous},
		{"two different, one in the query", "/?key=b", []string{"X-Api-Key: a"}, 0, errAmbiguous},
		{"one place twice", "/", []string{"X-Api-Key: a", "X-Api-Key: a"}, 0, errTwice},
		{"an empty header is none", "/", []string{"Authorization: ", "X-Api-Key: a"}, 1, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := s.read(request(t, tt.target, tt.headers...), nil)
			if !errors.Is(err, tt.err) || err == nil && len(got) != tt.found {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

func FuzzStripQuery(f *testing.F) {
	for _, s := range []string{"a=1&key=2", "key", ";key=1", "&&key=%zz", "k%65y=1;a", "a=1&", "key=1&", ";;"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got := exchange.WithoutParameter(raw, "key")
		if _, n := readQuery(got, "key"); n != 0 {
			t.Errorf("%q became %q, which still has the parameter", raw, got)
		}
		if _, n := readQuery(raw, "key"); n == 0 && got != raw {
			t.Errorf("%q was changed to %q without need", raw, got)
		}
	})
}
