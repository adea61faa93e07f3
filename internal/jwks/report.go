package jwks

import (
	"crypto/sha256"
	"net/url"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-rr/caddy-rr/internal/jose"
)

// warnEvery is how often an outage that goes on is reported.
const warnEvery = 10 * time.Minute

// maxNamed bounds how many kids one line of the log names.
const maxNamed = 20

// report remembers what the log has, so that it does not get the same over and over.
type report struct {
	outage  time.Time         // of the last warning about an outage, zero if there is none
	detour  time.Time         // of the last warning about discovery alone
	skipped [sha256.Size]byte // the content whose skipped keys were reported
}

// name tells one Source from another in the log.
func (s *Source) name() zap.Field {
	if s.cfg.URL == "" {
		return zap.String("issuer", s.cfg.Issuer)
	}
	u, err := url.Parse(s.cfg.URL)
	if err != nil {
		return zap.Skip()
	}
	return zap.String("jwks_url", (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()) // a query may be secret
}

func (r *report) failure(s *Source, err error) {
	if now := time.Now(); r.outage.IsZero() || now.Sub(r.outage) >= warnEvery {
		r.outage = now
		s.cfg.Log.Warn("fetching the issuer's keys failed", s.name(), zap.Error(err), zap.Bool("keys_held", s.Set() != nil))
	}
}

func (r *report) success(s *Source, before *held, doc *document) {
	log := s.cfg.Log
	if !r.outage.IsZero() {
		log.Info("fetching the issuer's keys succeeds again", s.name())
		r.outage = time.Time{}
	}
	if now := time.Now(); doc.asked && doc.detour == nil {
		r.detour = time.Time{}
	} else if doc.detour != nil && (r.detour.IsZero() || now.Sub(r.detour) >= warnEvery) {
		r.detour = now
		log.Warn("the issuer's discovery failed; its keys come from where they were", s.name(), zap.Error(doc.detour))
	}
	if before == nil {
		log.Info("the issuer's keys are loaded", s.name(), zap.Int("keys", len(doc.set.Keys())), zap.Strings("kids", names(doc.set, nil)))
	} else if before.set.Generation != doc.set.Generation {
		log.Info("the issuer's keys have changed", s.name(), zap.Int("keys", len(doc.set.Keys())),
			zap.Strings("added", names(doc.set, before.set)), zap.Strings("removed", names(before.set, doc.set)))
	}
	if len(doc.skipped) == 0 {
		return
	}
	if sum := sha256.Sum256(doc.raw); sum != r.skipped {
		r.skipped = sum
		log.Info("keys of the issuer are skipped", s.name(), zap.Errors("reasons", doc.skipped[:min(len(doc.skipped), maxNamed)]), zap.Int("skipped", len(doc.skipped)))
	}
}

// names are the kids of the keys that another set does not have. Keys without one are
// named by their thumbprint.
func names(set, other *jose.Set) []string {
	list := []string{}
	for _, k := range set.Keys() {
		if other != nil && slices.ContainsFunc(other.Keys(), func(o *jose.Key) bool { return o.ID == k.ID && o.Thumbprint == k.Thumbprint }) {
			continue
		}
		name := k.ID
		if name == "" {
			name = k.ThumbprintText()
		}
		if len(list) == maxNamed {
			return append(list, "…")
		}
		list = append(list, name[:min(len(name), 64)])
	}
	return list
}
