package idp

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// ask returns the status, header and body of an answer; the status is 0 when there is none.
func ask(t *testing.T, url string) (int, http.Header, string) {
	t.Helper()
	client := &http.Client{
		Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := client.Get(url)
	if err != nil {
		return 0, nil, ""
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(text)
}

// parts decodes a token.
func parts(t *testing.T, token string) (header, claims map[string]any, signature []byte) {
	t.Helper()
	three := strings.Split(token, ".")
	if len(three) != 3 {
		t.Fatalf("%d parts", len(three))
	}
	var raw [3][]byte
	for i, part := range three {
		var err error
		if raw[i], err = base64.RawURLEncoding.DecodeString(part); err != nil {
			t.Fatal(err)
		}
	}
	if err := json.Unmarshal(raw[0], &header); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw[1], &claims); err != nil {
		t.Fatal(err)
	}
	return header, claims, raw[2]
}

func TestEveryAlgorithmSigns(t *testing.T) {
	p := New(t)
	for _, alg := range Algorithms {
		key := p.AddKey(alg, "k-"+alg)
		token := p.Token("k-"+alg, nil, nil)
		header, _, signature := parts(t, token)
		if header["alg"] != alg || header["kid"] != "k-"+alg || header["typ"] != "JWT" {
			t.Errorf("%s: header %v", alg, header)
		}
		input := []byte(token[:strings.LastIndexByte(token, '.')])
		if !verifies(key.Private.Public(), alg, input, signature) {
			t.Errorf("%s: the signature does not verify", alg)
		}
		input[0] ^= 1
		if verifies(key.Private.Public(), alg, input, signature) {
			t.Errorf("%s: the signature verifies anything", alg)
		}
	}
	_, _, set := ask(t, p.JWKSURL())
	var keys struct{ Keys []map[string]any }
	if err := json.Unmarshal([]byte(set), &keys); err != nil || len(keys.Keys) != len(Algorithms) {
		t.Fatalf("%v: %s", err, set)
	}
	for _, jwk := range keys.Keys {
		if jwk["d"] != nil || jwk["use"] != "sig" || jwk["kid"] != "k-"+jwk["alg"].(string) {
			t.Errorf("JWK %v", jwk)
		}
	}
}

func verifies(public crypto.PublicKey, alg string, input, signature []byte) bool {
	hash := map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}[alg[2:]]
	var digest []byte
	if hash != 0 {
		h := hash.New()
		h.Write(input)
		digest = h.Sum(nil)
	}
	switch key := public.(type) {
	case *rsa.PublicKey:
		if alg[0] == 'P' {
			return rsa.VerifyPSS(key, hash, digest, signature, &rsa.PSSOptions{SaltLength: hash.Size()}) == nil
		}
		return rsa.VerifyPKCS1v15(key, hash, digest, signature) == nil
	case *ecdsa.PublicKey:
		half := len(signature) / 2
		return ecdsa.Verify(key, digest, new(big.Int).SetBytes(signature[:half]), new(big.Int).SetBytes(signature[half:]))
	case ed25519.PublicKey:
		return ed25519.Verify(key, input, signature)
	}
	return false
}

// TestThumbprint has the examples of RFC 7638 section 3.1 (its JWK, hashed) and RFC 8037
// appendix A.3.
func TestThumbprint(t *testing.T) {
	seed, _ := base64.RawURLEncoding.DecodeString("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")
	k := &Key{Alg: "EdDSA", Private: ed25519.NewKeyFromSeed(seed)}
	if got := k.Thumbprint(); got != "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k" {
		t.Errorf("Ed25519: %s", got)
	}
	modulus, err := base64.RawURLEncoding.DecodeString("0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMs" +
		"tn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw")
	if err != nil {
		t.Fatal(err)
	}
	r := &Key{Alg: "RS256", Private: &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: new(big.Int).SetBytes(modulus), E: 65537}}}
	if got := r.Thumbprint(); got != "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs" {
		t.Errorf("RSA: %s", got)
	}
}

func TestClaimsAndHeaderAreOverlaid(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	p := New(t, Clock(func() time.Time { return now }), Issuer("https://issuer.example/"))
	p.AddKey("ES256", "k")
	header, claims, _ := parts(t, p.Token("k", map[string]any{"sub": nil, "scope": "read"}, map[string]any{"typ": "at+jwt", "kid": nil}))
	if _, has := header["kid"]; has || header["typ"] != "at+jwt" {
		t.Errorf("header %v", header)
	}
	if _, has := claims["sub"]; has || claims["scope"] != "read" || claims["iss"] != "https://issuer.example/" ||
		claims["exp"] != float64(now.Add(Lifetime).Unix()) || claims["aud"] != Audience {
		t.Errorf("claims %v", claims)
	}
	if got := p.Key("k").Sign([]byte("{"), []byte("\x00")); !strings.HasPrefix(got, "ew.AA.") {
		t.Errorf("any bytes: %s", got)
	}
	hmac := NewSecret("HS256", "", []byte("0123456789abcdef0123456789abcdef")).Token(claims, nil)
	if _, _, signature := parts(t, hmac); len(signature) != 32 {
		t.Errorf("an HMAC of %d bytes", len(signature))
	}
}

func TestDiscoveryNamesIssuerAndKeySet(t *testing.T) {
	for _, tt := range []struct {
		name                string
		options             []Option
		issuer              string // behind the origin
		oauth, openID       string
		hasOAuth, hasOpenID int
	}{
		{"plain", nil, "", PathOAuth, PathOpenID, 200, 200},
		{"slash", []Option{Slash()}, "/", PathOAuth, PathOpenID, 200, 200},
		{"path", []Option{Path("/tenant")}, "/tenant", PathOAuth + "/tenant", "/tenant" + PathOpenID, 200, 200},
		{"one of them", []Option{Only(PathOAuth)}, "", PathOAuth, PathOpenID, 200, 404},
		{"the other", []Option{Only(PathOpenID)}, "", PathOAuth, PathOpenID, 404, 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := New(t, tt.options...)
			origin := "http://" + p.server.Addr()
			for path, want := range map[string]int{tt.oauth: tt.hasOAuth, tt.openID: tt.hasOpenID} {
				status, _, text := ask(t, origin+path)
				if status != want {
					t.Errorf("%s: got %d, want %d", path, status, want)
				}
				var doc struct {
					Issuer string
					JWKS   string `json:"jwks_uri"`
				}
				if want == 200 && (json.Unmarshal([]byte(text), &doc) != nil || doc.Issuer != origin+tt.issuer || doc.JWKS != p.JWKSURL()) {
					t.Errorf("%s: %s", path, text)
				}
			}
		})
	}
}

func TestKeysComeAndGo(t *testing.T) {
	p := New(t)
	kids := func() []string {
		_, _, text := ask(t, p.JWKSURL())
		var set struct{ Keys []struct{ Kid string } }
		if err := json.Unmarshal([]byte(text), &set); err != nil {
			t.Fatal(err)
		}
		list := []string{}
		for _, k := range set.Keys {
			list = append(list, k.Kid)
		}
		return list
	}
	p.AddKey("ES256", "a")
	p.AddKey("EdDSA", "b")
	if got := kids(); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("added: %v", got)
	}
	p.RemoveKey("a")
	if got := kids(); !slices.Equal(got, []string{"b"}) {
		t.Errorf("removed: %v", got)
	}
	p.Token("a", nil, nil) // a removed key still signs
	p.Rotate("ES384", "c")
	if got := kids(); !slices.Equal(got, []string{"c"}) {
		t.Errorf("rotated: %v", got)
	}
	p.SetJWKS([]byte("nonsense"))
	if _, _, text := ask(t, p.JWKSURL()); text != "nonsense" {
		t.Errorf("got %q", text)
	}
	p.SetJWKS(nil)
	if got := kids(); len(got) != 1 || p.JWKSFetches() != 5 || p.DiscoveryFetches() != 0 {
		t.Errorf("%v after %d and %d fetches", got, p.JWKSFetches(), p.DiscoveryFetches())
	}
}

func TestFaults(t *testing.T) {
	p := New(t)
	status := func() int { s, _, _ := ask(t, p.JWKSURL()); return s }

	p.Down()
	if got := status(); got != 0 {
		t.Errorf("down: %d", got)
	}
	p.Up()
	if got := status(); got != 200 {
		t.Errorf("up at the same port: %d", got)
	}
	p.Status(302, "Location", "https://elsewhere.example/")
	if got, h, _ := ask(t, p.JWKSURL()); got != 302 || h.Get("Location") == "" {
		t.Errorf("status: %d %v", got, h)
	}
	p.Status(0)
	p.CacheControl("max-age=60")
	if _, h, _ := ask(t, p.URL()+PathOpenID); h.Get("Cache-Control") != "max-age=60" {
		t.Errorf("header %v", h)
	}

	p.Hang()
	before := p.JWKSFetches()
	var waiting sync.WaitGroup
	answers := make(chan int, 2)
	for range 2 {
		waiting.Go(func() { answers <- status() })
	}
	p.WaitJWKSFetches(t, before+2)
	if len(answers) != 0 {
		t.Error("a request that hangs is answered")
	}
	p.Resume()
	waiting.Wait()
	if a, b := <-answers, <-answers; a != 200 || b != 200 {
		t.Errorf("after Resume: %d, %d", a, b)
	}
	p.Hang()
	waiting.Go(func() { answers <- status() })
	p.WaitJWKSFetches(t, before+3)
	p.Down() // lets go who hangs
	if got := <-answers; got != 0 {
		t.Errorf("down while it hangs: %d", got)
	}
}

func TestIntrospection(t *testing.T) {
	p := New(t)
	p.OnlyClient("gate way", "s:3cret")
	token := p.Opaque(map[string]any{"scope": "read", "username": nil})
	introspect := func(token string, auth func(*http.Request)) (int, map[string]any) {
		t.Helper()
		r, err := http.NewRequest("POST", p.IntrospectionURL(), strings.NewReader(url.Values{"token": {token}}.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		auth(r)
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var answer map[string]any
		if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, answer
	}
	basic := func(r *http.Request) { r.SetBasicAuth(url.QueryEscape("gate way"), url.QueryEscape("s:3cret")) }
	if status, answer := introspect(token, basic); status != 200 || answer["active"] != true || answer["scope"] != "read" || answer["iss"] != p.Issuer() {
		t.Errorf("%d %v", status, answer)
	}
	if status, answer := introspect(token, func(*http.Request) {}); status != 401 || answer["active"] != nil {
		t.Errorf("without a client: %d %v", status, answer)
	}
	for name, token := range map[string]string{
		"unknown": "x", "expired": p.Opaque(map[string]any{"exp": time.Now().Unix() - 1}),
	} {
		if status, answer := introspect(token, basic); status != 200 || answer["active"] != false || len(answer) != 1 {
			t.Errorf("%s: %d %v", name, status, answer)
		}
	}
	p.Revoke(token)
	if _, answer := introspect(token, basic); answer["active"] != false {
		t.Errorf("revoked: %v", answer)
	}
	p.SetIntrospection([]byte(`{"active":"true"}`))
	if _, answer := introspect(token, basic); answer["active"] != "true" {
		t.Errorf("malformed: %v", answer)
	}
	if asked := p.Introspections(); len(asked) != 6 || p.IntrospectionCount() != 6 || asked[0].Form.Get("token") != token {
		t.Errorf("%d requests: %v", len(asked), asked)
	}
}

func TestProofIsBoundToRequestAndToken(t *testing.T) {
	for _, alg := range []string{"ES256", "EdDSA"} {
		client := NewProver(t, alg)
		proof := client.Proof("GET", "https://gateway.example/x", "token", map[string]any{"nonce": "n"}, nil)
		header, claims, signature := parts(t, proof)
		jwk, _ := header["jwk"].(map[string]any)
		if header["typ"] != "dpop+jwt" || header["alg"] != alg || jwk["kty"] == nil || jwk["d"] != nil {
			t.Errorf("%s: header %v", alg, header)
		}
		if claims["htm"] != "GET" || claims["htu"] != "https://gateway.example/x" || claims["nonce"] != "n" ||
			claims["ath"] != "PEaenWxYddN6Q_NT1PiOYfz4EsZu7jRXRlpAsNpBU-A" || claims["jti"] == "" {
			t.Errorf("%s: claims %v", alg, claims)
		}
		if !verifies(client.Key.Private.Public(), alg, []byte(proof[:strings.LastIndexByte(proof, '.')]), signature) {
			t.Errorf("%s: the proof does not verify", alg)
		}
		if client.Confirmation()["jkt"] != client.Key.Thumbprint() {
			t.Errorf("%s: %v", alg, client.Confirmation())
		}
	}
}
