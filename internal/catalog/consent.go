package catalog

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/caddy-rr/caddy-rr/inject"
	"github.com/caddy-rr/caddy-rr/internal/audit"
	"github.com/caddy-rr/caddy-rr/internal/oauth"
	"github.com/caddy-rr/caddy-rr/store"
)

// consenting is what inject.OAuth2 can do for the grant authorization_code.
type consenting interface {
	Consent(ctx context.Context, redirectURI string) (where string, pending *oauth.Consent, err error)
	Redeem(ctx context.Context, pending *oauth.Consent, query url.Values) error
}

var _ consenting = (*inject.OAuth2)(nil)

// consents returns the injector of a credential, if it is one that somebody can consent to.
func (c *Catalog) consents(ctx context.Context, client, text string) (*store.Credential, consenting, error) {
	rec, err := c.Credential(ctx, client, text)
	if err != nil {
		return nil, nil, err
	}
	if rec.Declared {
		return nil, nil, conflict("credential %s is declared in the configuration; consent is for credentials that are made here", rec.Name)
	}
	id, _ := parseID(rec.ID)
	if rec.Side != store.TargetSide {
		return nil, nil, invalid("side", "consent is for target credentials")
	}
	x, err := c.present(id)
	if err != nil {
		return nil, nil, err
	}
	o, ok := x.Injector().(consenting)
	if !ok {
		return nil, nil, invalid("spec", "consent is for oauth2 with the grant authorization_code")
	}
	return rec, o, nil
}

// maxConsents is how many consents of a client are awaited at once; the oldest go.
const maxConsents = 100

// asking has one consent begun at a time, so that they can be counted.
var asking sync.Mutex

// BeginConsent begins to ask somebody for consent to a credential: it returns the URL that a
// browser is to be sent to. The browser comes back to redirectURI within ten minutes.
func (c *Catalog) BeginConsent(ctx context.Context, who audit.Actor, client, text, redirectURI string) (string, error) {
	rec, o, err := c.consents(ctx, client, text)
	if err != nil {
		return "", err
	}
	where, pending, err := o.Consent(ctx, redirectURI)
	if err != nil {
		return "", &Invalid{Field: "spec", Detail: err.Error()}
	}
	kept := consent{rec.Client, rec.ID, rec.Version, pending, pending.Expires}
	asking.Lock()
	defer asking.Unlock()
	if err := c.dropConsents(ctx, rec.Client, maxConsents-1); err != nil {
		return "", err
	}
	err = c.Change(ctx, who, func(tx *Tx) error {
		tx.Keep(store.Consents, stateKey(pending.State), 0, 1, kept)
		tx.Note("authorize", store.Credentials, rec.ID, rec.Client, rec.Name)
		return nil
	})
	if err != nil {
		return "", err
	}
	return where, nil
}

// dropConsents forgets the oldest consents that are awaited for a client, but for some.
func (c *Catalog) dropConsents(ctx context.Context, client string, but int) error {
	s := c.Store()
	if s == nil {
		return ErrClosed
	}
	type place struct {
		key       string
		expiresAt time.Time
	}
	var awaited []place
	for item, err := range s.List(ctx, store.Consents, "") {
		if err != nil {
			return err
		}
		var kept consent
		if err := item.Open(&kept); err == nil && kept.Client == client {
			awaited = append(awaited, place{item.Key, kept.ExpiresAt})
		}
	}
	if len(awaited) <= but {
		return nil
	}
	slices.SortFunc(awaited, func(a, b place) int { return a.expiresAt.Compare(b.expiresAt) })
	var puts []store.Put
	for _, p := range awaited[:len(awaited)-but] {
		puts = append(puts, store.Put{Bucket: store.Consents, Key: p.key, Expect: store.Any})
	}
	_, err := s.Apply(ctx, puts...)
	return err
}

// stateKey is where a consent is kept: the store's file does not show the state.
func stateKey(state string) string {
	sum := sha256.Sum256([]byte(state))
	return hex.EncodeToString(sum[:])
}

// errNoConsent says that nobody was asked for what a browser brings.
var errNoConsent = fmt.Errorf("no such consent is awaited: it took too long, or the browser has come back once already; ask again: %w", store.ErrNotFound)

// errConsentChanged says that what somebody was asked for is not what there is now.
var errConsentChanged = &Conflict{Detail: "the credential has been changed since somebody was asked for consent; ask again"}

// EndConsent ends a consent with the query that the browser has brought back. It may be called
// by anybody: who knows the state was asked.
func (c *Catalog) EndConsent(ctx context.Context, query url.Values) (client, credential string, err error) {
	s := c.Store()
	if s == nil {
		return "", "", ErrClosed
	}
	kept, key := new(consent), stateKey(query.Get("state"))
	version, err := s.Get(ctx, store.Consents, key, kept)
	if errors.Is(err, store.ErrNotFound) {
		return "", "", errNoConsent
	}
	if err != nil {
		return "", "", err
	}
	// once only, whatever comes of it
	if _, err := s.Apply(ctx, store.Put{Bucket: store.Consents, Key: key, Expect: version}); err != nil {
		if errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound) {
			err = errNoConsent
		}
		return "", "", err
	}
	if c.records.Load().now().After(kept.ExpiresAt) {
		return "", "", errNoConsent
	}
	rec, o, err := c.consents(ctx, kept.Client, kept.Credential)
	if err != nil {
		return "", "", err
	}
	// A code and its verifier are for the endpoint that the credential had when somebody was
	// asked. What redeems them was made of this version, or of a later one, which is seen by
	// reading it again.
	again, err := c.Credential(ctx, kept.Client, kept.Credential)
	if err != nil {
		return "", "", err
	}
	if rec.Version != kept.Version || again.Version != kept.Version {
		return "", "", errConsentChanged
	}
	if err := o.Redeem(ctx, kept.Pending, query); err != nil {
		return "", "", fmt.Errorf("credential %s: %w", rec.Name, err)
	}
	who := audit.Actor{Kind: "user", Name: "who consented"}
	err = c.Change(ctx, who, func(tx *Tx) error {
		now, err := tx.Credential(kept.Client, kept.Credential)
		if err != nil {
			return err
		}
		if !now.Temporary { // a new version of it tells that somebody has consented again
			return tx.Put("consent", now)
		}
		now.Temporary = false
		return tx.Put("consent", now, "credentialTemporary")
	})
	return rec.Client, rec.ID, err
}
