package inject

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-rr/caddy-rr/store/secret"
)

// material are the secrets that a kind of token is made with, by the option or
// placeholder that they stand at.
type material map[string]*secret.Value

// resolve adds a secret that is an option; one that is not said is left out.
func (m material) resolve(ctx context.Context, option string, s secret.String) error {
	if s == "" {
		return nil
	}
	v, err := s.Resolve(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", option, err)
	}
	m[option] = v
	return nil
}

// get returns a secret's value of now, empty if there is none.
func (m material) get(option string) string {
	if v := m[option]; v != nil {
		return v.Get()
	}
	return ""
}

// watch has f called whenever a secret changes, with the option.
func (m material) watch(f func(option string)) {
	for _, option := range slices.Sorted(maps.Keys(m)) {
		var begun atomic.Bool
		m[option].OnChange(func(string) {
			if begun.Load() {
				f(option)
			}
		})
		begun.Store(true)
	}
}

// digest is over everything that decides a token: the kind's options, more texts, and the
// secrets' values of now.
func (m material) digest(options any, more ...string) (sum [sha256.Size]byte, err error) {
	raw, err := json.Marshal(options)
	if err != nil {
		return sum, err
	}
	parts := appendPart(nil, string(raw))
	for _, text := range more {
		parts = appendPart(parts, text)
	}
	for _, option := range slices.Sorted(maps.Keys(m)) {
		parts = appendPart(parts, option)
		parts = appendPart(parts, m[option].Get())
	}
	return sha256.Sum256(parts), nil
}

// appendPart appends a text with its length, so that no two lists of texts are the same.
func appendPart(parts []byte, text string) []byte {
	return append(binary.BigEndian.AppendUint64(parts, uint64(len(text))), text...)
}

// following keeps what is made of secrets in step with them. It does nothing for a
// configuration that has ended.
type following struct {
	mu   sync.Mutex
	last [32]byte
}

// follow has r use what define makes, now and after each change of a secret.
func (f *following) follow(ctx caddy.Context, module caddy.Module, r *renewable, secrets material, define func() (definition, error)) error {
	d, err := define()
	if err != nil {
		return err
	}
	if err := r.use(ctx, d); err != nil {
		return err
	}
	f.last = d.id
	log := ctx.Logger(module)
	secrets.watch(func(option string) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if ctx.Err() != nil {
			return
		}
		d, err := define()
		if err == nil && d.id != f.last {
			if err = r.use(ctx, d); err == nil {
				f.last = d.id
			}
		}
		if err != nil {
			// of two files that belong together one may come first
			log.Error("a changed secret cannot be used; those from before stay in use", zap.String("option", option), zap.Error(err))
		}
	})
	return nil
}
