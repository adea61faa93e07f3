package api

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/wire"
	"github.com/caddy-rr/caddy-rr/store"
)

// Rules is the envelope of rules.
type Rules struct {
	Rules   []wire.Rule `json:"rules"`
	Cursor  string      `json:"cursor,omitempty" doc:"There is more: the parameter cursor of the next request"`
	Message string      `json:"message" example:"Success"`
}

type (
	rulesIn struct {
		One
		Page
	}
	ruleCreateIn struct {
		One
		Match
		Keyed
		Raw
	}
	// OneRule are the parameters of one rule.
	OneRule struct {
		One
		Rule string `path:"rule" doc:"The rule's id"`
	}
	ruleReadIn struct {
		OneRule
		NoneMatch string `header:"If-None-Match" doc:"ETags of what the rule belongs to: if it has one of them, the answer is 304 and empty"`
	}
	ruleReplaceIn struct {
		OneRule
		Match
		Raw
	}
	ruleDeleteIn struct {
		OneRule
		Match
	}
)

// ruled is a kind of records that have rules. A rule has the ETag of its record.
type ruled[R, V, E any] struct {
	*resource[R, V, E]
	rules func(*R) *[]store.Rule
}

func rulesOut(owner *store.Head, rules ...store.Rule) Rules {
	shown := make([]wire.Rule, len(rules))
	for i := range rules {
		shown[i] = wire.ShowRule(&rules[i], owner)
	}
	return Rules{Rules: shown, Message: success}
}

// rulePlace is where a rule is in a list: those with a higher priority come first.
type rulePlace struct {
	Priority int    `json:"p"`
	ID       string `json:"i"`
}

func placeOf(r *store.Rule) rulePlace { return rulePlace{r.Priority, r.ID} }

func (p rulePlace) compare(other rulePlace) int {
	return cmp.Or(cmp.Compare(other.Priority, p.Priority), cmp.Compare(p.ID, other.ID))
}

func (s *ruled[R, V, E]) listRules(ctx context.Context, in *rulesIn) (*listOut[Rules], error) {
	limit, err := in.Limit.number(defaultLimit)
	if err != nil {
		return nil, err
	}
	record, err := s.get(ctx, in.Client, in.ID)
	if err != nil {
		return nil, s.missing(err)
	}
	r := requestOf(ctx)
	rules := slices.Clone(*s.rules(record))
	slices.SortFunc(rules, func(a, b store.Rule) int { return placeOf(&a).compare(placeOf(&b)) })
	if in.Cursor != "" {
		var after rulePlace
		if err := in.after(r, &after); err != nil {
			return nil, err
		}
		rules = slices.DeleteFunc(rules, func(x store.Rule) bool { return placeOf(&x).compare(after) <= 0 })
	}
	if len(rules) <= limit {
		return &listOut[Rules]{rulesOut(s.head(record), rules...)}, nil
	}
	out := rulesOut(s.head(record), rules[:limit]...)
	out.Cursor = cursorAfter(r, placeOf(&rules[limit-1]))
	return &listOut[Rules]{out}, nil
}

// find returns a record and the place of one of its rules.
func (s *ruled[R, V, E]) find(ctx context.Context, in *OneRule) (record *R, i int, err error) {
	if record, err = s.get(ctx, in.Client, in.ID); err != nil {
		return nil, 0, s.missing(err)
	}
	i = slices.IndexFunc(*s.rules(record), func(x store.Rule) bool { return x.ID == in.Rule })
	if i < 0 {
		return nil, 0, problem(codeNotFound, "the %s has no such rule", s.singular)
	}
	return record, i, nil
}

func (s *ruled[R, V, E]) readRule(ctx context.Context, in *ruleReadIn) (*readOut[Rules], error) {
	record, i, err := s.find(ctx, &in.OneRule)
	if err != nil {
		return nil, err
	}
	known, err := parseCondition("If-None-Match", in.NoneMatch)
	if err != nil {
		return nil, err
	}
	out := &readOut[Rules]{Status: http.StatusOK, ETag: tagOf(s.head(record).Version)}
	if out.ETag != "" && known.same(s.head(record).Version) {
		out.Status = http.StatusNotModified
		return out, nil
	}
	out.Body = rulesOut(s.head(record), (*s.rules(record))[i])
	return out, nil
}

// editRules changes the rules of a record. edit returns the new ones, and which of them, or
// of the old ones, is the rule that it is about.
func (s *ruled[R, V, E]) editRules(ctx context.Context, h *handler, in *One, c condition, action string,
	edit func(old []store.Rule) ([]store.Rule, *store.Rule, error),
) (*recordOut[Rules], error) {
	return changeLatest(ctx, h, s.resource, in.Client, in.ID, c, func(old *R) (func(Tx) (*recordOut[Rules], error), error) {
		rules, rule, err := edit(slices.Clone(*s.rules(old)))
		if err == nil {
			err = wire.CheckRules(rules)
		}
		if err != nil {
			return nil, err
		}
		return func(tx Tx) (*recordOut[Rules], error) {
			record := *old
			*s.rules(&record) = slices.Clone(rules)
			if err := tx.Put("update", &record, "rules"); err != nil {
				return nil, err
			}
			tells(ctx, s.plural, s.head(&record))
			tx.Note(action, "rules", rule.ID, in.Client, s.plural+"/"+s.head(&record).ID)
			out := &recordOut[Rules]{ETag: tagOf(s.head(&record).Version), Body: rulesOut(s.head(&record), *rule)}
			if action == "create" {
				out.Location = "rules/" + rule.ID
			}
			return out, nil
		}, nil
	})
}

func (s *ruled[R, V, E]) createRule(ctx context.Context, h *handler, in *ruleCreateIn) (*recordOut[Rules], error) {
	c, err := in.condition()
	if err != nil {
		return nil, err
	}
	decoded, err := wire.DecodeRule(in.data(), nil)
	if err != nil {
		return nil, err
	}
	rule := *decoded
	rule.ID, rule.CreatedAt = newID(h.now()), h.now().UTC().Truncate(time.Millisecond)
	return s.editRules(ctx, h, &in.One, c, "create", func(old []store.Rule) ([]store.Rule, *store.Rule, error) {
		return append(old, rule), &rule, nil
	})
}

func (s *ruled[R, V, E]) replaceRule(ctx context.Context, h *handler, in *ruleReplaceIn) (*recordOut[Rules], error) {
	c, err := in.condition()
	if err != nil {
		return nil, err
	}
	body := in.data()
	return s.editRules(ctx, h, &in.One, c, "update", func(old []store.Rule) ([]store.Rule, *store.Rule, error) {
		i := slices.IndexFunc(old, func(x store.Rule) bool { return x.ID == in.Rule })
		if i < 0 {
			return nil, nil, problem(codeNotFound, "the %s has no such rule", s.singular)
		}
		edited, err := wire.DecodeRule(body, &old[i])
		if err != nil {
			return nil, nil, err
		}
		old[i] = *edited
		return old, &old[i], nil
	})
}

func (s *ruled[R, V, E]) removeRule(ctx context.Context, h *handler, in *ruleDeleteIn) (*doneOut, error) {
	c, err := in.condition()
	if err != nil {
		return nil, err
	}
	_, err = s.editRules(ctx, h, &in.One, c, "delete", func(old []store.Rule) ([]store.Rule, *store.Rule, error) {
		i := slices.IndexFunc(old, func(x store.Rule) bool { return x.ID == in.Rule })
		if i < 0 {
			return nil, nil, problem(codeNotFound, "the %s has no such rule", s.singular)
		}
		gone := old[i]
		return slices.Delete(old, i, i+1), &gone, nil
	})
	return &doneOut{Done{success}}, err
}

// newID is a UUID of version 7 (RFC 9562 section 5.7), whose order is that of time.
func newID(now time.Time) string {
	var b [16]byte
	_, _ = rand.Read(b[6:]) // never fails (Go 1.24)
	ms := binary.BigEndian.AppendUint64(nil, uint64(now.UnixMilli()))
	copy(b[:6], ms[2:])
	b[6] = b[6]&0x0f | 0x70
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
