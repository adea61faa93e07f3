package chaos

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

// audience is whom the callers' tokens are for.
const audience = "https://gateway.example"

// provider is the identity provider: discovery, keys and introspection.
type provider struct {
	*party
	t *testing.T

	mu      sync.Mutex
	keys    []*idp.Key // published; the newest signs
	gone    []*idp.Key // withdrawn
	forger  *idp.Key   // has the name of the first key, and nothing else
	opaque  map[string]time.Time
	secret  string   // of the gateway
	wrong   int      // introspections by somebody else
	strange []string // keys of callers that it was asked about, and should not know of
	rotated int
}

func newProvider(t *testing.T) *provider {
	p := &provider{t: t, opaque: map[string]time.Time{}, secret: secret(ofVendor)}
	p.keys = []*idp.Key{idp.NewKey(t, "ES256", "k0")}
	p.forger = idp.NewKey(t, "ES256", "k0")
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answerJSON(w, map[string]any{"issuer": p.url(), "jwks_uri": p.url() + "/jwks"})
	})
	mux.HandleFunc("GET /jwks", func(w http.ResponseWriter, _ *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		var keys []map[string]any
		for _, k := range p.keys {
			keys = append(keys, k.JWK())
		}
		answerJSON(w, map[string]any{"keys": keys})
	})
	mux.HandleFunc("POST /introspect", p.introspect)
	p.party = newParty(t, "identity provider", func(*http.Request) {}, mux)
	return p
}

func answerJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func (p *provider) introspect(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if id, secret, _ := r.BasicAuth(); id != "gateway" || secret != p.secret {
		p.wrong++
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if token := r.PostFormValue("token"); strings.HasPrefix(token, ofRR) {
		p.strange = append(p.strange, token)
	}
	ends, active := p.opaque[r.PostFormValue("token")]
	if !active {
		answerJSON(w, map[string]any{"active": false})
		return
	}
	answerJSON(w, map[string]any{"active": true, "sub": "opaque", "exp": ends.Unix(), "iss": p.url()})
}

// issue makes an opaque token; revoke ends it.
func (p *provider) issue() string {
	token := secret(ofCaller)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.opaque[token] = time.Now().Add(tokenLife)
	return token
}

func (p *provider) revoke(token string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.opaque, token)
}

// rotate replaces the key set by one new key.
func (p *provider) rotate() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rotated++
	p.gone = p.keys
	p.keys = []*idp.Key{idp.NewKey(p.t, "ES256", "k"+time.Now().Format("150405.000000"))}
}

// key is the one that signs.
func (p *provider) key() *idp.Key {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.keys[len(p.keys)-1]
}

// withdrawn is a key that was withdrawn, nil if there is none.
func (p *provider) withdrawn() *idp.Key {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.gone) == 0 {
		return nil
	}
	return p.gone[0]
}

// tokenLife is how long the callers' tokens are good.
const tokenLife = 5 * time.Minute

// claims of a token for a subject, and what is different about them.
func (p *provider) claims(subject string, over map[string]any) map[string]any {
	now := time.Now()
	all := map[string]any{"iss": p.url(), "aud": audience, "sub": subject, "jti": rand.Text(), "iat": now.Unix(), "exp": now.Add(tokenLife).Unix()}
	for name, value := range over {
		all[name] = value
	}
	return all
}

// issuer is an endpoint that gives tokens to the gateway: OAuth's, or a login of its own.
type issuer struct {
	*party
	mu     sync.Mutex
	secret string
	issued map[string]time.Time // and when they end
	wrong  int                  // requests by somebody else
	life   time.Duration
}

func newIssuer(t *testing.T, name string, answer func(token string, life time.Duration) any) *issuer {
	i := &issuer{secret: secret(ofVendor), issued: map[string]time.Time{}, life: 15 * time.Second}
	i.party = newParty(t, name, func(*http.Request) {}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, password, basic := r.BasicAuth()
		if !basic {
			password = r.Header.Get("X-Password")
		}
		i.mu.Lock()
		defer i.mu.Unlock()
		if r.Method != http.MethodPost || password != i.secret {
			i.wrong++
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		token := secret(ofVendor)
		i.issued[token] = time.Now().Add(i.life)
		answerJSON(w, answer(token, i.life))
	}))
	return i
}

// verdict tells about a token whether it was issued, and whether it is over.
func (i *issuer) verdict(token string) (known, over bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	ends, known := i.issued[token]
	return known, time.Now().After(ends)
}

func newTokens(t *testing.T) *issuer {
	return newIssuer(t, "token endpoint", func(token string, life time.Duration) any {
		return map[string]any{"access_token": token, "token_type": "Bearer", "expires_in": int(life.Seconds())}
	})
}

func newLogin(t *testing.T) *issuer {
	return newIssuer(t, "login endpoint", func(token string, life time.Duration) any {
		return map[string]any{"session": map[string]any{"token": token, "ttl": int(life.Seconds())}}
	})
}
