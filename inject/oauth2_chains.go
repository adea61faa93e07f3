package inject

import (
	"container/list"
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"strings"
	"sync"

	"github.com/caddy-rr/caddy-rr/internal/oauth"
	"github.com/caddy-rr/caddy-rr/internal/redact"
	"github.com/caddy-rr/caddy-rr/store/secret"
)

// maxChains bounds how many grants are remembered.
const maxChains = 10_000

// chains are the grants of the process. They outlive configurations: of a refresh token
// that was replaced nobody else knows the successor. Credentials that differ in anything
// but the refresh token have the same.
var chains = chainCache{byKey: map[[sha256.Size]byte]*list.Element{}, limit: maxChains}

// chainCache forgets what was not used for longest.
type chainCache struct {
	mu    sync.Mutex
	byKey map[[sha256.Size]byte]*list.Element
	order list.List // of *chainEntry, the latest first
	limit int
}

type chainEntry struct {
	key   [sha256.Size]byte
	chain *oauth.Chain
}

func (c *chainCache) get(key [sha256.Size]byte, keeper func() oauth.Keeper) *oauth.Chain {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.byKey[key]; e != nil {
		c.order.MoveToFront(e)
		return e.Value.(*chainEntry).chain
	}
	if len(c.byKey) >= c.limit {
		delete(c.byKey, c.order.Remove(c.order.Back()).(*chainEntry).key)
	}
	chain := oauth.NewChain(keeper())
	chain.Replaced = hideLatest()
	c.byKey[key] = c.order.PushFront(&chainEntry{key, chain})
	return chain
}

// hideLatest keeps the latest refresh tokens of a chain out of logs; the ones before are
// worth nothing.
func hideLatest() func(token string) {
	before, last := func() {}, func() {}
	return func(token string) { // of who has the chain's turn
		before()
		before = last
		last, _ = redact.Default().AddSecret(token)
	}
}

// chain returns the chain of refresh tokens, and what it goes back to.
func (o *OAuth2) chain() (*oauth.Chain, [sha256.Size]byte) {
	if o.kept != nil {
		return o.kept.chain, o.kept.root()
	}
	token := o.secrets.get("refresh_token")
	if o.KeepRotated {
		path, _ := secretFile(o.RefreshToken)
		if real, err := filepath.EvalSymlinks(path); err == nil {
			path = real
		}
		c := chains.get(chainKey("file", path), func() oauth.Keeper { return tokenFile(path) })
		return c, c.Root(token)
	}
	if o.grant() == oauth.AuthorizationCode {
		c := chains.get(chainKey(o.consented()...), func() oauth.Keeper { return oauth.Memory(nil) })
		return c, c.Current()
	}
	c := chains.get(chainKey("memory", token), func() oauth.Keeper { return oauth.Memory(&oauth.Grant{Refresh: token}) })
	return c, sha256.Sum256([]byte(token))
}

// consented is what somebody consents to: all that is asked for, where, by whom.
func (o *OAuth2) consented() []string {
	ask := o.ask()
	return []string{
		"consent", o.TokenURL, o.Issuer, o.secrets.get("client_id"), o.AuthorizationURL, ask.Scope(),
		fmt.Sprintf("%q", []any{ask.Audiences, ask.Resources, ask.Params}),
	}
}

func chainKey(parts ...string) [sha256.Size]byte {
	var text []byte
	for _, part := range parts {
		text = appendPart(text, part)
	}
	return sha256.Sum256(text)
}

// secretFile is the path of the file that a secret stands in.
func secretFile(s secret.String) (path string, ok bool) {
	rest, ok := strings.CutPrefix(string(s), "{file.")
	path, end := strings.CutSuffix(rest, "}")
	return path, ok && end && strings.HasPrefix(path, "/")
}
