package jwks

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-rr/caddy-rr/internal/jose"
)

const (
	recordVersion = 1
	// maxAhead is how much a record's time may be in the future: clocks differ.
	maxAhead = time.Minute
	// saveAfter is when keys that have not changed are saved again, for their time.
	saveAfter = 10 * time.Minute
	// storageTimeout bounds one access to the storage.
	storageTimeout = 10 * time.Second
)

// record is what is stored of a Source.
type record struct {
	Version   int             `json:"version"`
	Issuer    string          `json:"issuer"`
	URL       string          `json:"url"`
	Variant   string          `json:"variant,omitempty"`
	FetchedAt time.Time       `json:"fetched_at"`
	JWKSURI   string          `json:"jwks_uri,omitempty"`
	JWKS      json.RawMessage `json:"jwks"`
}

// saved is what the storage has.
type saved struct {
	mu         sync.Mutex // held while something is stored
	generation [sha256.Size]byte
	uri        string
	at         time.Time
}

// recordKey names the record after all that decides whose keys these are.
func recordKey(issuer, url, variant string) string {
	var parts []byte
	for _, part := range []string{issuer, url, variant} {
		parts = binary.BigEndian.AppendUint64(parts, uint64(len(part)))
		parts = append(parts, part...)
	}
	sum := sha256.Sum256(parts)
	return "rr/jwks/" + hex.EncodeToString(sum[:]) + ".json"
}

// restore puts the stored keys in force, unless there are newer ones already.
func (s *Source) restore() {
	if s.cfg.Storage == nil {
		return
	}
	ctx, cancel := context.WithTimeout(s.ctx, storageTimeout)
	defer cancel()
	data, err := s.cfg.Storage.Load(ctx, recordKey(s.cfg.Issuer, s.cfg.URL, s.cfg.Variant))
	if errors.Is(err, fs.ErrNotExist) || s.ctx.Err() != nil {
		return
	}
	var r *record
	var set *jose.Set
	if err == nil {
		r, set, err = s.readRecord(data)
	}
	if err != nil {
		s.cfg.Log.Warn("the stored keys of the issuer are not used", s.name(), zap.Error(err))
		return
	}
	s.saved.mu.Lock()
	s.saved.generation, s.saved.uri, s.saved.at = set.Generation, r.JWKSURI, r.FetchedAt
	s.saved.mu.Unlock()
	s.mu.Lock()
	used := s.current.Load() == nil
	if used {
		s.installLocked(newHeld(set, r.FetchedAt))
		s.uri = r.JWKSURI
	}
	s.mu.Unlock()
	if used {
		s.cfg.Log.Info("using the stored keys of the issuer", s.name(), zap.Int("keys", len(set.Keys())), zap.Time("fetched_at", r.FetchedAt))
		s.notify()
	}
}

// readRecord judges a stored record.
func (s *Source) readRecord(data []byte) (*record, *jose.Set, error) {
	r := new(record)
	if err := json.Unmarshal(data, r); err != nil {
		return nil, nil, errors.New("the record is not valid JSON")
	}
	age := time.Since(r.FetchedAt.Round(0))
	switch {
	case r.Version != recordVersion:
		return nil, nil, fmt.Errorf("the record has version %d, this program knows %d", r.Version, recordVersion)
	case r.Issuer != s.cfg.Issuer || r.URL != s.cfg.URL || r.Variant != s.cfg.Variant:
		return nil, nil, errors.New("the record is of another issuer")
	case age > s.cfg.MaxStale:
		return nil, nil, fmt.Errorf("they are too old: fetched at %s", r.FetchedAt.Format(time.RFC3339))
	case age < -maxAhead:
		return nil, nil, fmt.Errorf("their time is in the future: %s", r.FetchedAt.Format(time.RFC3339))
	}
	set, _, err := jose.ParseSet(r.JWKS)
	return r, set, err
}

// save stores keys in the background, if the storage has others or old ones.
func (s *Source) save(doc *document, at time.Time) {
	if s.cfg.Storage == nil || !s.saved.mu.TryLock() {
		return // the next fetch will see to it
	}
	same := s.saved.generation == doc.set.Generation && s.saved.uri == doc.discovered
	if same && at.Sub(s.saved.at) < min(saveAfter, s.cfg.MaxStale/10) {
		s.saved.mu.Unlock()
		return
	}
	s.work.Go(func() {
		defer s.saved.mu.Unlock()
		err := s.store(doc, at)
		if err != nil {
			if s.ctx.Err() == nil {
				s.cfg.Log.Warn("the issuer's keys could not be stored", s.name(), zap.Error(err))
			}
			return
		}
		s.saved.generation, s.saved.uri, s.saved.at = doc.set.Generation, doc.discovered, at
	})
}

func (s *Source) store(doc *document, at time.Time) error {
	data, err := json.Marshal(record{recordVersion, s.cfg.Issuer, s.cfg.URL, s.cfg.Variant, at.UTC(), doc.discovered, doc.raw})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(s.ctx, storageTimeout)
	defer cancel()
	return s.cfg.Storage.Store(ctx, recordKey(s.cfg.Issuer, s.cfg.URL, s.cfg.Variant), data)
}
