package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/catalog"
	"github.com/caddy-rr/caddy-rr/internal/wire"
	"github.com/caddy-rr/caddy-rr/store"
)

// resource is one kind of records: R as they are stored, V as they are shown, E in their
// envelope.
type resource[R, V, E any] struct {
	plural, singular string
	get              func(ctx context.Context, client, id string) (*R, error)
	list             func(ctx context.Context, client string, q catalog.Query) ([]*R, string, error)
	now              func(tx Tx, client, id string) (*R, error)
	decode           func(body []byte, old *R) (*R, *wire.Generated, error)
	show             func(*R, *wire.Generated) V
	envelope         func(shown []V, cursor string) E
	head             func(*R) *store.Head
	// secret tells what of a record is not shown, to see whether it was changed; nil:
	// nothing.
	secret func(*R) (name string, value []byte)
	// ready makes a decoded record one of a client.
	ready func(r *R, client string)
}

// page answers with a page of a list.
func (s *resource[R, V, E]) page(ctx context.Context, client string, page *Page, q catalog.Query) (*listOut[E], error) {
	return s.pageOf(ctx, client, page, q, func(*R) bool { return true })
}

// pageOf is page for what fits. A page may be short, or empty, and have a cursor all the
// same.
func (s *resource[R, V, E]) pageOf(ctx context.Context, client string, page *Page, q catalog.Query, fits func(*R) bool) (*listOut[E], error) {
	r := requestOf(ctx)
	var err error
	if q.Limit, err = page.Limit.number(defaultLimit); err != nil {
		return nil, err
	}
	if err := page.after(r, &q.After); err != nil {
		return nil, err
	}
	shown := []V{}
	limit := q.Limit
	for scanned := 0; ; {
		records, next, err := s.list(ctx, client, q)
		if err != nil {
			return nil, err
		}
		for _, record := range records {
			if fits(record) {
				shown = append(shown, s.show(record, nil))
			}
		}
		scanned += len(records)
		if next == "" {
			return &listOut[E]{s.envelope(shown, "")}, nil
		}
		if q.Limit = limit - len(shown); q.Limit == 0 || scanned >= maxScan {
			return &listOut[E]{s.envelope(shown, cursorAfter(r, next))}, nil
		}
		q.After = next
	}
}

func (s *resource[R, V, E]) read(ctx context.Context, client, id, noneMatch string) (*readOut[E], error) {
	record, err := s.get(ctx, client, id)
	if err != nil {
		return nil, s.missing(err)
	}
	known, err := parseCondition("If-None-Match", noneMatch)
	if err != nil {
		return nil, err
	}
	out := &readOut[E]{Status: http.StatusOK, ETag: tagOf(s.head(record).Version)}
	if out.ETag != "" && known.same(s.head(record).Version) {
		out.Status = http.StatusNotModified
		return out, nil
	}
	out.Body = s.envelope([]V{s.show(record, nil)}, "")
	return out, nil
}

// changeable refuses what no change can be made to, or not under this condition.
func (s *resource[R, V, E]) changeable(record *R, c condition) error {
	if head := s.head(record); !head.Declared {
		return c.check(head.Version)
	}
	return problem(codeConflict, "the configuration declares this %s: change it there", s.singular)
}

// missing says what is missing.
func (s *resource[R, V, E]) missing(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return problem(codeNotFound, "the client has no such %s", s.singular)
	}
	return err
}

// answer is that of a change which left the record as it is.
func (s *resource[R, V, E]) answer(record *R, made *wire.Generated) *recordOut[E] {
	return &recordOut[E]{ETag: tagOf(s.head(record).Version), Body: s.envelope([]V{s.show(record, made)}, "")}
}

func (s *resource[R, V, E]) create(ctx context.Context, h *handler, client string, body []byte) (*recordOut[E], error) {
	decoded, made, err := s.decode(body, nil)
	if err != nil {
		return nil, err
	}
	return change(ctx, h, func(tx Tx) (*recordOut[E], error) {
		record := *decoded // the function may run twice
		s.ready(&record, client)
		if err := tx.Put("create", &record, memberNames(body)...); err != nil {
			return nil, err
		}
		tells(ctx, s.plural, s.head(&record))
		out := s.answer(&record, made)
		out.Location = s.plural + "/" + s.head(&record).ID
		return out, nil
	})
}

// replace changes a record to what edit makes of it.
func (s *resource[R, V, E]) replace(ctx context.Context, h *handler, client, id, action string, c condition, edit func(old *R) (*R, *wire.Generated, error)) (*recordOut[E], error) {
	return changeLatest(ctx, h, s, client, id, c, func(old *R) (func(Tx) (*recordOut[E], error), error) {
		edited, made, err := edit(old)
		if err != nil {
			return nil, err
		}
		fields := s.changed(old, edited)
		return func(tx Tx) (*recordOut[E], error) {
			record := *edited
			if err := tx.Put(action, &record, fields...); err != nil {
				return nil, err
			}
			tells(ctx, s.plural, s.head(&record))
			return s.answer(&record, made), nil
		}, nil
	})
}

func (s *resource[R, V, E]) remove(ctx context.Context, h *handler, client, id string, c condition, force Flag) (*doneOut, error) {
	forced, err := force.value("force")
	if err != nil {
		return nil, err
	}
	_, err = changeLatest(ctx, h, s, client, id, c, func(old *R) (func(Tx) (*recordOut[E], error), error) {
		return func(tx Tx) (*recordOut[E], error) { return nil, tx.Delete(old, forced) }, nil
	})
	return &doneOut{Done{success}}, err
}

const (
	// outside is how often a change is planned before it is made; after that, within it.
	outside = 3
	// tries is how often in all it is begun anew because the record was changed meanwhile.
	tries = 20
	// pause is how long the first pause is between tries; each is longer by as much.
	pause = 5 * time.Millisecond
)

// changeLatest makes a change to a record as it is by then. plan returns what makes it; it
// may cost time, such as for hashing a password, so that it is called while nobody waits for
// it, as long as nobody else is quicker with another change each time. With a condition,
// that is a problem; without one, what others change is not lost, and the change is made.
func changeLatest[R, V, E, O any](ctx context.Context, h *handler, s *resource[R, V, E], client, id string, c condition,
	plan func(old *R) (func(Tx) (*recordOut[O], error), error),
) (*recordOut[O], error) {
	planned := func(old *R, err error) (func(Tx) (*recordOut[O], error), error) {
		if err == nil {
			err = s.changeable(old, c)
		}
		if err != nil {
			return nil, s.missing(err)
		}
		return plan(old)
	}
	within := func(tx Tx) (*recordOut[O], error) {
		put, err := planned(s.now(tx, client, id))
		if err != nil {
			return nil, err
		}
		return put(tx)
	}
	for i := 1; ; i++ {
		put := within
		if i <= outside {
			var err error
			if put, err = planned(s.get(ctx, client, id)); err != nil {
				return nil, err
			}
		}
		out, err := change(ctx, h, put)
		if !errors.Is(err, store.ErrConflict) || c.set && !c.any || i == tries {
			return out, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Duration(i) * pause):
		}
	}
}

// changed are the names of what was changed, for the audit log.
func (s *resource[R, V, E]) changed(old, edited *R) []string {
	before, after := members(s.show(old, nil)), members(s.show(edited, nil))
	names := []string{}
	for name, value := range after {
		if !bytes.Equal(before[name], value) {
			names = append(names, name)
		}
	}
	for name := range before {
		if _, kept := after[name]; !kept {
			names = append(names, name)
		}
	}
	if s.secret != nil {
		name, was := s.secret(old)
		if _, is := s.secret(edited); !bytes.Equal(was, is) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// members are those of a value's JSON object.
func members(value any) map[string]json.RawMessage {
	text, err := json.Marshal(value)
	if err != nil {
		return nil
	}
	var list map[string]json.RawMessage
	_ = json.Unmarshal(text, &list) // a list has no members
	return list
}

// memberNames are the names in a body that was decoded already, sorted.
func memberNames(body []byte) []string {
	var list map[string]json.RawMessage
	_ = json.Unmarshal(body, &list) // it was decoded already
	return slices.Sorted(maps.Keys(list))
}
