package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-rr/caddy-rr/internal/oauth"
	"github.com/caddy-rr/caddy-rr/store/secret"
)

// RecordOptions are what the host decides about the guests of one record.
type RecordOptions struct {
	// ID is the record's. What outlives a guest, such as a grant and its tokens, is that of
	// all guests of the same record, whatever configuration they belong to. It is empty for
	// a guest that is only tried out.
	ID string
	// Egress are address ranges that the operator has opened: guests reach no others that
	// are not public.
	Egress []netip.Prefix
	// Blocklist is that of the record's client; nil if there is none.
	Blocklist Blocklist
	// Keeper returns what keeps a grant of the credential with this ID. A credential may
	// have several, one after the other: what one part keeps is nothing to another. A part
	// is a text of at most 64 letters and digits. A keeper that has nothing takes whatever
	// it is given, whatever was before. Nil: grants are kept in memory.
	Keeper func(credential, part string) oauth.Keeper
}

// Blocklist is what verify.Blocklist is.
type Blocklist interface {
	Revoked(issuer, subject, tokenID string, issued time.Time) bool
}

// record is what the Loader of a record has more.
type record struct {
	RecordOptions
	cancel func()
	detach func() bool // takes it off the context around it
	ending sync.Once

	// under Loader.mu
	cleanups []func() error
	nested   *caddy.Context // nil until it is needed
}

// NewRecordLoader returns a loader for one record that was made through the API. Its
// maker is not the operator: texts are values and are never expanded, and guests reach
// public addresses and what the operator has opened. It ends with ctx, which many records
// may share, or with its Close.
func NewRecordLoader(ctx caddy.Context, log *zap.Logger, o RecordOptions) *Loader {
	l := &Loader{log: log, egress: o.Egress, blocklist: o.Blocklist, record: &record{RecordOptions: o}}
	around := ctx.Context
	ctx.Context, l.record.cancel = context.WithCancel(around)
	ctx = ctx.WithValue((&secret.Plain{Resolved: l.hideOfRecord}).Key())
	l.ctx = ctx.WithValue(loaderKey{}, l)
	l.mu.Lock() // around may have ended
	defer l.mu.Unlock()
	l.record.detach = context.AfterFunc(around, l.Close)
	return l
}

// errEnded says that a loader was closed while it was in use.
var errEnded = errors.New("the configuration has ended")

// Close ends a record's guests: each is cleaned up, the latest first, and what they keep
// out of logs is kept out for some time more. Whoever calls it again waits for that. On the
// loader of a configuration it does nothing.
func (l *Loader) Close() {
	r := l.record
	if r == nil {
		return
	}
	r.ending.Do(func() {
		releases := l.close()
		r.detach()
		r.cancel()
		l.mu.Lock()
		cleanups := r.cleanups
		r.cleanups = nil
		l.mu.Unlock()
		for _, f := range slices.Backward(cleanups) {
			if err := f(); err != nil {
				l.log.Error("a credential or target could not be cleaned up", zap.String("where", l.place), zap.Error(err))
			}
		}
		LetGo(releases)
	})
}

// ownModules begins the paths of packages whose modules load no others.
const ownModules = "github.com/caddy-rr/caddy-rr/"

// loadForRecord is LoadModuleByID. Caddy's own would have the module live as long as the
// context, or take a context for each record, which costs 15 KB.
func (l *Loader) loadForRecord(id string, raw json.RawMessage) (any, error) {
	info, err := caddy.GetModule(id)
	if err != nil {
		return nil, err
	}
	module := info.New()
	if !strings.HasPrefix(reflect.Indirect(reflect.ValueOf(module)).Type().PkgPath(), ownModules) {
		ctx, err := l.nest()
		if err != nil {
			return nil, err
		}
		return ctx.LoadModuleByID(id, raw)
	}
	if err := caddy.StrictUnmarshalJSON(raw, module); err != nil {
		return nil, err
	}
	return module, l.Adopt(module)
}

// nest is the context for modules that may load others.
func (l *Loader) nest() (caddy.Context, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return caddy.Context{}, errEnded
	}
	r := l.record
	if r.nested == nil {
		ctx, cancel := caddy.NewContext(l.ctx)
		r.nested = &ctx
		r.cleanups = append(r.cleanups, func() error { cancel(); return nil })
	}
	return *r.nested, nil
}

// Adopt provisions a module that loads no others, for a record, and has it cleaned up
// with it.
func (l *Loader) Adopt(module any) error {
	cleanup := func() error { return nil }
	if c, ok := module.(caddy.CleanerUpper); ok {
		cleanup = c.Cleanup
	}
	err := provision(l.ctx, module)
	if err == nil && !l.cleanLater(cleanup) {
		err = errEnded
	}
	if err != nil {
		if failed := cleanup(); failed != nil {
			return fmt.Errorf("%w; and it could not be cleaned up: %w", err, failed)
		}
	}
	return err
}

func provision(ctx caddy.Context, module any) error {
	if p, ok := module.(caddy.Provisioner); ok {
		if err := p.Provision(ctx); err != nil {
			return err
		}
	}
	if v, ok := module.(caddy.Validator); ok {
		return v.Validate()
	}
	return nil
}

// cleanLater has f called by Close, unless that is over.
func (l *Loader) cleanLater(f func() error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return false
	}
	l.record.cleanups = append(l.record.cleanups, f)
	return true
}

// Untrusted reports whether the guest that ctx was made for is a record's.
func Untrusted(ctx context.Context) bool { return loaderOf(ctx).Untrusted() }

// Untrusted reports whether the loader is a record's, which the operator did not write.
func (l *Loader) Untrusted() bool { return l != nil && l.record != nil }

// Egress is what AllowEgress or RecordOptions have opened.
func (l *Loader) Egress() []netip.Prefix { return l.egress }

// SetBlocklist has guests that accept tokens ask a blocklist too, on every request. It has
// to be called before they are loaded.
func (l *Loader) SetBlocklist(b Blocklist) { l.blocklist = b }

// BlocklistOf is the blocklist of the guest that ctx was made for, nil if there is none.
func BlocklistOf(ctx context.Context) Blocklist {
	if l := loaderOf(ctx); l != nil {
		return l.blocklist
	}
	return nil
}

// GrantsOf is the ID of the credential that the guest is, and what keeps its grants; keeper
// is nil if the host keeps none.
func GrantsOf(ctx context.Context) (credential string, keeper func(part string) oauth.Keeper) {
	l := loaderOf(ctx)
	if !l.Untrusted() || l.record.Keeper == nil || l.record.ID == "" {
		return "", nil
	}
	r := l.record
	return r.ID, func(part string) oauth.Keeper { return r.Keeper(r.ID, part) }
}

func noExpression(string) (func(*http.Request) (bool, error), error) {
	return nil, errors.New("rules made through the API have no expressions, which could read the gateway's environment and files; say it with methods, paths, headers, query, claims and body, or in the configuration")
}
