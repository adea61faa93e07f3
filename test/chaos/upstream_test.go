package chaos

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

// Headers between the callers and the upstream.
const (
	callID  = "X-Call"    // the caller's name for the call
	seen    = "X-Seen"    // that name, from whoever got the call
	subject = "X-Subject" // whom the caller is, for tokens that speak of callers
)

// Calls whose names begin with one of these may, or must not, reach an upstream.
const (
	mayPass     = "ok-"
	mustNotPass = "bad-"
)

// chunk is what streams and large answers are made of.
const (
	streamed = 12        // events, one in 100 ms
	bigSize  = 512 << 10 // bytes
)

// upstream is the vendor behind all proxies: it knows which credential belongs to which
// path, and which must not arrive.
type upstream struct {
	*party
	right map[string]func(r *http.Request) string // by the first part of the path: what is wrong

	mu     sync.Mutex
	wrong  []string
	tokens map[string]string // calls through proxies made by the API: the token that is right
	steady string            // for those that are not in tokens
	calls  int
}

func newUpstream(t *testing.T, right map[string]func(r *http.Request) string) *upstream {
	u := &upstream{right: right, tokens: map[string]string{}}
	u.party = newParty(t, "upstream", u.check, http.HandlerFunc(u.serve))
	return u
}

// expects says which token a call through a proxy made by the API has to bring.
func (u *upstream) expects(id, token string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.tokens[id] = token
}

// check looks for what must not arrive, and for what has to.
func (u *upstream) check(r *http.Request) {
	why := u.fault(r)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.calls++
	if why != "" && len(u.wrong) < 20 {
		u.wrong = append(u.wrong, fmt.Sprintf("%s of call %s: %s", r.URL.Path, r.Header.Get(callID), why))
	}
}

func (u *upstream) fault(r *http.Request) string {
	id := r.Header.Get(callID)
	if !strings.HasPrefix(id, mayPass) {
		return "a call that must not pass"
	}
	part, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	mints := part == "mint"
	for name, values := range r.Header {
		text := strings.Join(values, "\n")
		if strings.Contains(text, ofCaller) || strings.Contains(text, ofRR) || signed.MatchString(text) && !(mints && name == "Authorization") {
			return "a caller's credential in " + name
		}
	}
	if strings.Contains(r.RequestURI, ofCaller) || strings.Contains(r.RequestURI, ofRR) || signed.MatchString(r.RequestURI) {
		return "a caller's credential in the target"
	}
	if part == "made" {
		u.mu.Lock()
		token := cmp.Or(u.tokens[id], u.steady)
		u.mu.Unlock()
		if r.Header.Get("Authorization") != "Bearer "+token {
			return "another vendor credential than the one in force"
		}
		return ""
	}
	right := u.right[part]
	if right == nil {
		return "a path that no proxy leads to"
	}
	return right(r)
}

// serve answers by the second part of the path.
func (u *upstream) serve(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get(tooOld) != "" { // as check has found
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	switch {
	case strings.Contains(r.URL.Path, "/stream/"):
		u.stream(w, r)
	case strings.Contains(r.URL.Path, "/big/"):
		w.Header().Set("Content-Length", fmt.Sprint(bigSize))
		for block, n := make([]byte, 32<<10), 0; n < bigSize; n += len(block) {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	default:
		sum := sha256.New()
		n, err := io.Copy(sum, r.Body)
		if err != nil && !errors.Is(err, http.ErrBodyReadAfterClose) { // it was read before an answer began
			panic(http.ErrAbortHandler)
		}
		_, _ = fmt.Fprintf(w, "%s %d %s", r.Header.Get(callID), n, hex.EncodeToString(sum.Sum(nil)))
	}
}

func (u *upstream) stream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	endless := strings.Contains(r.URL.Path, "/endless")
	for n := 0; n < streamed || endless; n++ {
		if _, err := fmt.Fprintf(w, "data: %d\n\n", n); err != nil || http.NewResponseController(w).Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// tooOld is a header by which check tells serve that the credential has expired.
const tooOld = "X-Too-Old"

// bearer checks for one token in Authorization.
func bearer(token string) func(*http.Request) string {
	return func(r *http.Request) string {
		if r.Header.Get("Authorization") != "Bearer "+token {
			return "not the vendor's token"
		}
		return ""
	}
}

// issuedBy checks for a token that an endpoint has issued; one that is over is marked, and
// gets 401, as from any vendor.
func issuedBy(i *issuer, header, prefix string) func(*http.Request) string {
	return func(r *http.Request) string {
		token, ok := strings.CutPrefix(r.Header.Get(header), prefix)
		known, over := i.verdict(token)
		if !ok || !known {
			return "a token that was never issued"
		}
		if over {
			r.Header.Set(tooOld, "yes")
		}
		return ""
	}
}

// mintedFor checks for a JWT that the gateway has signed for the very caller.
func mintedFor(key *idp.Key) func(*http.Request) string {
	return func(r *http.Request) string {
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		parts := strings.Split(token, ".")
		if len(parts) != 3 {
			return "no JWT"
		}
		signature, err := base64.RawURLEncoding.DecodeString(parts[2])
		digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
		if err != nil || len(signature) != 64 || !ecdsa.Verify(key.Private.Public().(*ecdsa.PublicKey), digest[:],
			new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])) {
			return "a JWT that the gateway has not signed"
		}
		var claims struct {
			Sub string
			Exp float64
		}
		text, err := base64.RawURLEncoding.DecodeString(parts[1])
		if err != nil || json.Unmarshal(text, &claims) != nil {
			return "a JWT without claims"
		}
		if claims.Sub == "" || claims.Sub != r.Header.Get(subject) {
			return "a JWT for another caller: " + claims.Sub
		}
		if time.Now().After(time.Unix(int64(claims.Exp), 0)) {
			r.Header.Set(tooOld, "yes")
		}
		return ""
	}
}
