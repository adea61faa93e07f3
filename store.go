package rr

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-rr/caddy-rr/internal/catalog"
	"github.com/caddy-rr/caddy-rr/internal/host"
	"github.com/caddy-rr/caddy-rr/store"
	_ "github.com/caddy-rr/caddy-rr/store/bolt" // the default store
)

// storeNamespace is where kinds of stores are registered: rr.stores.<kind>.
const storeNamespace = "rr.stores"

// noStore in the place of a kind says that there is no store.
const noStore = "off"

// keyFileName is the key file's, beside the store.
const keyFileName = "rr.key"

// openTimeout bounds how long a store may take to open; reading many records takes its time.
const openTimeout = 2 * time.Minute

// stores are the open stores of the process. A reload goes on with the same.
var stores = caddy.NewUsagePool()

// openedStore is a store in the pool.
type openedStore struct {
	*catalog.Records

	mu     sync.Mutex
	claims []claim // of the configurations that use it, the latest last
}

// claim says with which keys a configuration has the store open.
type claim struct {
	app  *App
	ids  string
	keys []store.Key
}

// provisionStore loads the store's module, which touches no disk.
func (a *App) provisionStore() error {
	raw := a.StoreRaw
	if len(raw) == 0 {
		raw = json.RawMessage(`{"kind":"bolt"}`)
	}
	kind, _, err := host.Split(raw)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if kind == noStore {
		if len(a.EncryptionKey) > 0 {
			return errors.New("encryption_key is for a store, but the store is off")
		}
		return nil
	}
	guest, _, err := a.loader.Guest("store", storeNamespace, raw)
	if err != nil {
		return err
	}
	opener, ok := guest.(store.Opener)
	if !ok {
		return fmt.Errorf("store: module %s.%s is a %T, which is no store", storeNamespace, kind, guest)
	}
	for i, s := range a.EncryptionKey {
		v, err := a.loader.Secret("encryption_key", s)
		if err != nil {
			return fmt.Errorf("encryption_key: key %d: %w", i+1, err)
		}
		key, err := store.ParseKey(v.Get())
		if err != nil {
			return fmt.Errorf("encryption_key: key %d: %w", i+1, err)
		}
		a.keys = append(a.keys, key)
	}
	a.opener = opener
	return nil
}

// storeOff reports whether the configuration says that there is no store.
func (a *App) storeOff() bool {
	if len(a.StoreRaw) == 0 {
		return false
	}
	kind, _, err := host.Split(a.StoreRaw)
	return err == nil && kind == noStore
}

// wanted reports whether the configuration cannot do without its store: it names one, it has
// a handler that serves records, or there are records which may concern what it serves.
func (a *App) wanted() bool {
	if a.opener == nil {
		return false
	}
	if len(a.StoreRaw) > 0 || len(a.EncryptionKey) > 0 || a.wantsStore {
		return true
	}
	_, err := os.Stat(a.opener.Key())
	return err == nil
}

// openWanted opens the store if the configuration cannot do without it. Requests call it too,
// as they may come before the app has started.
func (a *App) openWanted() error {
	if a.unwanted.Load() {
		return nil
	}
	if !a.wanted() {
		a.unwanted.Store(true)
		return nil
	}
	return a.openStore()
}

// errNoStore says that the configuration has no store.
var errNoStore = errors.New("the configuration has no store (`store off`)")

// openStore opens the store, once. It is called when the configuration starts, if it wants a
// store, or else by the first request to the management API.
func (a *App) openStore() error {
	a.storeMu.Lock()
	defer a.storeMu.Unlock()
	switch {
	case a.opener == nil:
		return errNoStore
	case a.catalog.Records() != nil:
		return nil
	case a.over:
		return errors.New("the configuration has ended")
	}
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	key := a.opener.Key()
	x, loaded, err := stores.LoadOrNew(key, func() (caddy.Destructor, error) { return a.newStore(ctx) })
	if err != nil {
		return fmt.Errorf("store %s: %w", key, err)
	}
	opened := x.(*openedStore)
	if loaded {
		if err := a.rekey(ctx, opened); err != nil {
			_, _ = stores.Delete(key)
			return fmt.Errorf("store %s: encryption_key: %w", key, err)
		}
	}
	if err := a.catalog.Open(opened.Records); err != nil {
		return errors.Join(err, a.leaveStore(key, opened))
	}
	a.storeKey, a.store = key, opened
	return nil
}

// newStore opens the backend, the seal and the records.
func (a *App) newStore(ctx context.Context) (*openedStore, error) {
	began := time.Now()
	backend, err := a.opener.Open(ctx)
	if err != nil {
		return nil, err
	}
	s, err := store.Open(ctx, store.Options{Backend: backend, Keys: a.keys, KeyFile: a.keyFile()})
	if err != nil {
		return nil, errors.Join(err, backend.Close())
	}
	log := zap.New(host.ProcessLog("rr.store"))
	r, err := catalog.OpenRecords(ctx, s, log)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	log.Info("the store is open", zap.String("store", a.opener.Key()), zap.Duration("took", time.Since(began)))
	return &openedStore{Records: r, claims: []claim{a.claim()}}, nil
}

// claim is what the configuration has a store open with.
func (a *App) claim() claim {
	c := claim{app: a, keys: a.keys}
	for _, k := range a.keys {
		c.ids += k.ID() + " "
	}
	if len(a.keys) == 0 {
		if k, err := store.LoadKeyFile(a.keyFile()); err == nil { // else the store is not open
			c.keys = []store.Key{k}
		}
	}
	return c
}

// rekey makes sure that the store that is open already can be opened with this
// configuration's keys, and seals it with the first of them.
func (a *App) rekey(ctx context.Context, opened *openedStore) error {
	opened.mu.Lock()
	defer opened.mu.Unlock()
	mine := a.claim()
	if n := len(opened.claims); n == 0 || opened.claims[n-1].ids != mine.ids {
		if err := opened.Store().SetKeys(ctx, a.keys, a.keyFile()); err != nil {
			return err
		}
	}
	opened.claims = append(opened.claims, mine)
	return nil
}

// disclaim ends a configuration's claim. If it is the latest of several, its configuration
// was never in force, and the one before it goes on: the store is sealed as it was.
func (s *openedStore) disclaim(ctx context.Context, a *App) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.claims, func(c claim) bool { return c.app == a })
	if i < 0 {
		return nil
	}
	mine := s.claims[i]
	s.claims = slices.Delete(s.claims, i, i+1)
	if i == 0 || i < len(s.claims) || s.claims[i-1].ids == mine.ids {
		return nil
	}
	before := s.claims[i-1].keys
	err := s.Store().SetKeys(ctx, slices.Concat(before, mine.keys), "")
	if err == nil {
		err = s.Store().SetKeys(ctx, before, "")
	}
	if err != nil {
		err = fmt.Errorf("the store stays sealed with the encryption_key of the configuration that failed; name that one, too: %w", err)
	}
	return err
}

// keyFile is the key file beside the store, if there is a place for it.
func (a *App) keyFile() string {
	if folder := a.opener.Folder(); folder != "" {
		return filepath.Join(folder, keyFileName)
	}
	return ""
}

// closeStore lets the store go; the last one to do so closes it.
func (a *App) closeStore() error {
	a.storeMu.Lock()
	defer a.storeMu.Unlock()
	a.over = true
	if a.catalog != nil {
		a.catalog.Close()
	}
	if a.storeKey == "" {
		return nil
	}
	key := a.storeKey
	a.storeKey = ""
	return a.leaveStore(key, a.store)
}

// leaveStore gives back what LoadOrNew gave.
func (a *App) leaveStore(key string, opened *openedStore) error {
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	err := opened.disclaim(ctx, a)
	_, closeErr := stores.Delete(key)
	return errors.Join(err, closeErr)
}
