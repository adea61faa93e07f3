package test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

// jwtAttackSite has one proxy for each way in which a caller's token is verified. Keys are
// fetched once at the start and then once for everything that is not known, as the
// interval is longer than the test.
const jwtAttackSite = `{
	servers {
		max_header_size 4MB # so that rr sees what Caddy itself would refuse
	}
	rr {
		throttle off
		proxy p {
			accept jwt_verify {
				issuer ISSUER-A
				jwks_url JWKS-A
				audience https://gateway.example
				unknown_kid_interval 1h
			}
			target UPSTREAM
			present bearer {env.RR_VENDOR}
		}
		proxy other {
			accept jwt_verify {
				issuer ISSUER-A
				jwks_url JWKS-A
				audience https://other.example
				unknown_kid_interval 1h
			}
			target UPSTREAM
			present bearer {env.RR_VENDOR}
		}
		proxy two {
			accept jwt_verify {
				issuer ISSUER-A
				jwks_url JWKS-A
				audience https://gateway.example
				unknown_kid_interval 1h
			}
			accept jwt_verify {
				issuer ISSUER-B
				jwks_url JWKS-B
				audience https://gateway.example
				unknown_kid_interval 1h
			}
			target UPSTREAM
			present bearer {env.RR_VENDOR}
		}
		proxy rs {
			accept jwt_verify {
				issuer ISSUER-A
				jwks_url JWKS-A
				audience https://gateway.example
				algorithms RS256
				unknown_kid_interval 1h
			}
			target UPSTREAM
			present bearer {env.RR_VENDOR}
		}
		proxy hmac {
			accept jwt_verify {
				issuer ISSUER-A
				secret {env.RR_SHARED}
				audience https://gateway.example
			}
			target UPSTREAM
			present bearer {env.RR_VENDOR}
		}
		proxy places {
			accept jwt_verify {
				issuer ISSUER-A
				jwks_url JWKS-A
				audience https://gateway.example
				unknown_kid_interval 1h
				from header Authorization Bearer
				from header X-Token
				from query access_token
				from cookie session
			}
			target UPSTREAM
			present bearer {env.RR_VENDOR}
		}
	}
}
http://:GATEPORT {
	rr_gateway
}
`

// jwtForger has what an attacker may have: the issuers' public keys, tokens of its own
// making, and a server of its own. It also signs with the issuer's keys, so that a token
// can be wrong in one respect alone.
type jwtForger struct {
	t        *testing.T
	a, b     *idp.Provider
	ec, rsa  *idp.Key // of issuer a
	ed       *idp.Key
	noAlg    *idp.Key // of issuer a, an RSA key that says no algorithm
	ecOfB    *idp.Key // of issuer b, of the same kid as ec
	shared   *idp.Key
	attacker *idp.Key
	server   *httptest.Server // the attacker's
	seen     atomic.Int32     // its requests
}

func newJWTForger(t *testing.T) *jwtForger {
	t.Helper()
	f := &jwtForger{t: t, a: idp.New(t, idp.Path("/tenant")), b: idp.New(t)}
	f.ec, f.rsa, f.ed = f.a.AddKey("ES256", "k1"), f.a.AddKey("RS256", "k2"), f.a.AddKey("EdDSA", "k3")
	f.noAlg = idp.NewKey(t, "RS256", "k4")
	f.noAlg.Members = map[string]any{"alg": nil}
	f.a.Publish(f.noAlg)
	f.ecOfB = f.b.AddKey("ES256", "k1")
	f.shared = idp.NewSecret("HS256", "", []byte(sharedSecret))
	f.attacker = idp.NewKey(t, "ES256", "k1")
	f.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		f.seen.Add(1)
		_, _ = w.Write(jwkSet(f.attacker))
	}))
	t.Cleanup(f.server.Close)
	return f
}

// claims are those of a good token, in JSON. changes are pairs of a name and its value in
// JSON; the value "" takes the member out.
func (f *jwtForger) claims(changes ...string) string {
	f.t.Helper()
	now := time.Now().Unix()
	members := []string{
		"iss", strconv.Quote(f.a.Issuer()), "aud", strconv.Quote(idp.Audience), "sub", `"svc-1"`,
		"iat", strconv.FormatInt(now, 10), "exp", strconv.FormatInt(now+300, 10),
	}
	for i := 0; i < len(changes); i += 2 {
		j := 0
		for j < len(members) && members[j] != changes[i] {
			j += 2
		}
		if j == len(members) {
			members = append(members, changes[i], "")
		}
		members[j+1] = changes[i+1]
	}
	var text []string
	for i := 0; i < len(members); i += 2 {
		if members[i+1] != "" {
			text = append(text, fmt.Sprintf(`"%s":%s`, members[i], members[i+1]))
		}
	}
	return "{" + strings.Join(text, ",") + "}"
}

// token has the usual header for the key, and changed claims.
func (f *jwtForger) token(k *idp.Key, changes ...string) string {
	f.t.Helper()
	return f.with(k, fmt.Sprintf(`{"alg":%q,"kid":%q,"typ":"JWT"}`, k.Alg, k.ID), changes...)
}

// with has this header, byte for byte, and a good signature of the key.
func (f *jwtForger) with(k *idp.Key, header string, changes ...string) string {
	f.t.Helper()
	return k.Sign([]byte(header), []byte(f.claims(changes...)))
}

// trick is a request that must be refused.
type trick struct {
	name string
	// token goes into Authorization after Bearer, unless headers are there
	token   string
	proxy   string   // default: p
	path    string   // what follows the proxy
	headers []string // instead of Authorization
}

// good is a token that each of the proxies takes.
func (f *jwtForger) good(proxy string) string {
	switch proxy {
	case "other":
		return f.token(f.ec, "aud", `"https://other.example"`)
	case "rs":
		return f.token(f.rsa)
	case "hmac":
		return f.with(f.shared, `{"alg":"HS256"}`)
	}
	return f.token(f.ec)
}

// sized is a good token of so many bytes.
func (f *jwtForger) sized(size int) string {
	for header := range 3 {
		for fill := size*3/4 - 600; ; fill++ {
			token := f.with(f.ec, `{"alg":"ES256","kid":"k1"}`+strings.Repeat(" ", header), "x", quoted(strings.Repeat("x", fill)))
			if len(token) == size {
				return token
			}
			if len(token) > size {
				break // base64 has no text of 4n+1 letters
			}
		}
	}
	f.t.Fatalf("no token has %d bytes", size)
	return ""
}

// quoted is text in JSON, with what is not ASCII as it is.
func quoted(text string) string { return string(mustMarshal(text)) }

func mustMarshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}
