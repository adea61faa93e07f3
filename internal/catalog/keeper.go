package catalog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/oauth"
	"github.com/caddy-rr/caddy-rr/store"
)

// keeper keeps a grant of a credential in the store; it implements oauth.Keeper.
type keeper struct {
	records    *Records
	credential string
	key        string
}

// keeper returns what keeps one part of a credential's grants.
func (r *Records) keeper(credential, part string) oauth.Keeper {
	return &keeper{r, credential, grantKey(credential) + part}
}

// grantKey begins the keys of a credential's grants.
func grantKey(credential string) string { return credential + ":" }

// Load implements oauth.Keeper. It proves that the store can be written by writing: that a
// grant's successor cannot be kept must not be found out when the grant has been used.
func (k *keeper) Load(ctx context.Context) (*oauth.Grant, error) {
	for try := 0; ; try++ {
		g := new(oauth.Grant)
		version, err := k.records.store.Get(ctx, store.Grants, k.key, g)
		proof := store.Put{Bucket: store.Grants, Key: k.key, Expect: version, Version: version + 1, Value: g}
		if errors.Is(err, store.ErrNotFound) { // deleting what never is there is a change, too
			g, err = nil, nil
			proof = store.Put{Bucket: store.Grants, Key: k.key + ":", Expect: store.Any}
		}
		if err != nil {
			return nil, err
		}
		_, err = k.records.store.Apply(ctx, proof)
		if errors.Is(err, store.ErrConflict) && try < 3 {
			continue
		}
		if k.records.note(err); err != nil {
			return nil, fmt.Errorf("a grant that cannot be kept is not used: %w", err)
		}
		return g, nil
	}
}

// Save implements oauth.Keeper.
func (k *keeper) Save(ctx context.Context, before string, g *oauth.Grant) error {
	// a token that was under way when the credential was deleted is for nobody
	if _, err := k.records.store.Get(ctx, store.Credentials, k.credential, new(struct{})); err != nil {
		return err
	}
	for try := 0; ; try++ {
		old := new(oauth.Grant)
		version, err := k.records.store.Get(ctx, store.Grants, k.key, old)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if version > 0 && old.Refresh != before {
			return nil // another one by now
		}
		_, err = k.records.store.Apply(ctx, store.Put{Bucket: store.Grants, Key: k.key, Expect: version, Version: version + 1, Value: g})
		if !errors.Is(err, store.ErrConflict) || try == 3 {
			k.records.note(err)
			return err
		}
	}
}

// dropGrants forgets what consents have given for a credential.
func (tx *Tx) dropGrants(credential string) error {
	prefix := grantKey(credential)
	for item, err := range tx.records.store.List(tx.ctx, store.Grants, prefix) {
		if err != nil {
			return err
		}
		if len(item.Key) <= len(prefix) || item.Key[:len(prefix)] != prefix {
			return nil
		}
		tx.Keep(store.Grants, item.Key, store.Any, 0, nil)
	}
	return nil
}

// consent is what is kept of a consent that somebody was asked for, until the browser is back.
type consent struct {
	Client     string         `json:"client"`
	Credential string         `json:"credential"`
	Version    uint64         `json:"version"`
	Pending    *oauth.Consent `json:"pending"`
	ExpiresAt  time.Time      `json:"expires_at"`
}
