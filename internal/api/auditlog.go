package api

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/caddy-rr/caddy-rr/internal/audit"
	"github.com/caddy-rr/caddy-rr/store"
)

// AuditEntry is one change, as the audit log has it.
type AuditEntry struct {
	Seq      uint64     `json:"seq" doc:"Place in the log, from 1 on" example:"42"`
	Time     time.Time  `json:"time"`
	Actor    AuditActor `json:"actor"`
	Action   string     `json:"action" doc:"create, update, delete, rotate, consent, import, …" example:"rotate"`
	Resource string     `json:"resource" doc:"credentials, targets, proxies, rules, clients, blocklist or store" example:"credentials"`
	ID       string     `json:"id,omitempty" doc:"Id of what was changed"`
	Client   string     `json:"client,omitempty" doc:"The client that owns it"`
	Name     string     `json:"name,omitempty" doc:"Its name by then"`
	Fields   []string   `json:"fields,omitempty" doc:"Names of the fields that were changed, never their values"`
	Previous string     `json:"previous,omitempty" doc:"Hash of the entry before"`
	Hash     string     `json:"hash" doc:"SHA-256 over all of this"`
}

// AuditActor is who changed something.
type AuditActor struct {
	Kind    string `json:"kind" doc:"admin, user, credential or system" example:"user"`
	Name    string `json:"name,omitempty" doc:"The user's id, the credential's name, the socket" example:"root"`
	Address string `json:"address,omitempty" doc:"Where the request came from"`
}

// AuditLog is a part of the log, oldest first.
type AuditLog struct {
	Audit   []AuditEntry `json:"audit"`
	Cursor  string       `json:"cursor,omitempty" doc:"There may be more: the parameter cursor of the next request"`
	Message string       `json:"message" example:"Success"`
}

// AuditVerdict says whether the log is whole.
type AuditVerdict struct {
	Valid   bool   `json:"valid" doc:"Whether no entry was changed, moved or taken out"`
	Entries uint64 `json:"entries" doc:"How many entries are in order"`
	Detail  string `json:"detail,omitempty" doc:"What is wrong with the one after them"`
	Message string `json:"message" example:"Success"`
}

// AuditFilter are the parameters that choose entries.
type AuditFilter struct {
	Page
	Since    string `query:"since" format:"date-time" doc:"Entries from this time on (RFC 3339)" example:"2027-01-31T00:00:00Z"`
	Until    string `query:"until" format:"date-time" doc:"Entries before this time (RFC 3339)"`
	Actor    string `query:"actor" maxLength:"512" doc:"Entries of the actor with this name"`
	Resource string `query:"resource" maxLength:"64" doc:"Entries about this kind of resource" example:"credentials"`
	Record   string `query:"id" maxLength:"512" doc:"Entries about the resource with this id"`
}

type auditIn struct{ AuditFilter }

type clientAuditIn struct {
	Owned
	AuditFilter
}

type auditOut struct{ Body func(huma.Context) }

// maxScan is how many entries one page looks at: with a rare filter it may be short, and
// have a cursor all the same.
const maxScan = 100_000

// audit answers with a page of the log, or with all of it, one entry a line.
func (h *handler) audit(ctx context.Context, in *AuditFilter, client string) (*auditOut, error) {
	fits, err := in.fits(client)
	if err != nil {
		return nil, err
	}
	r := requestOf(ctx)
	var after uint64
	if err := in.after(r, &after); err != nil {
		return nil, err
	}
	limit, err := in.Limit.number(defaultLimit)
	if err != nil {
		return nil, err
	}
	if preferred(r.Header["Accept"], []string{jsonType, linesType}) == linesType {
		if in.Limit == "" {
			limit = -1
		}
		return h.auditLines(ctx, h.catalogue.Audit(ctx, after), fits, limit)
	}
	page := &AuditLog{Audit: []AuditEntry{}, Message: success}
	scanned := 0
	for entry, err := range h.catalogue.Audit(ctx, after) {
		if err != nil {
			return nil, err
		}
		if len(page.Audit) == limit || scanned == maxScan {
			page.Cursor = cursorAfter(r, after)
			break
		}
		scanned++
		after = entry.Seq
		if fits(&entry) {
			page.Audit = append(page.Audit, showEntry(&entry))
		}
	}
	return &auditOut{func(c huma.Context) {
		c.SetHeader("Content-Type", jsonType)
		_ = json.NewEncoder(c.BodyWriter()).Encode(page) // whoever asked may be gone
	}}, nil
}

// auditLines answers with the entries that fit, at most limit if that is not negative, in
// the form that is hashed. What fails after the first of them breaks the answer off, so that
// nobody takes it for whole.
func (h *handler) auditLines(ctx context.Context, entries iter.Seq2[audit.Entry, error], fits func(*audit.Entry) bool, limit int) (*auditOut, error) {
	next, stop := iter.Pull2(entries)
	entry, err, more := next()
	if err != nil {
		stop()
		return nil, err
	}
	chosen := func(yield func(audit.Entry, error) bool) {
		for ; more && limit != 0; entry, err, more = next() {
			if err == nil && !fits(&entry) {
				continue
			}
			if limit--; !yield(entry, err) {
				return
			}
		}
	}
	return &auditOut{func(c huma.Context) {
		defer stop()
		c.SetHeader("Content-Type", linesType)
		c.SetHeader("Content-Disposition", `attachment; filename="audit.ndjson"`)
		if _, err := audit.WriteLines(c.BodyWriter(), chosen); err != nil {
			h.log.WarnContext(ctx, "an export of the audit log was broken off", "error", err.Error())
			panic(http.ErrAbortHandler)
		}
	}}, nil
}

// fits is what the filters say of an entry; client "" is for all clients.
func (f *AuditFilter) fits(client string) (func(*audit.Entry) bool, error) {
	since, err := timeParameter("since", f.Since)
	if err != nil {
		return nil, err
	}
	until, err := timeParameter("until", f.Until)
	if err != nil {
		return nil, err
	}
	is := func(want, have string) bool { return want == "" || want == have }
	return func(e *audit.Entry) bool {
		return is(client, e.Client) && is(f.Actor, e.Actor.Name) && is(f.Resource, e.Resource) && is(f.Record, e.ID) &&
			!e.Time.Before(since) && (until.IsZero() || e.Time.Before(until))
	}, nil
}

func timeParameter(name, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, badParameter(name, "it has to be a time as in 2027-01-31T12:00:00Z (RFC 3339)")
	}
	return t, nil
}

func showEntry(e *audit.Entry) AuditEntry {
	return AuditEntry{
		Seq: e.Seq, Time: e.Time, Actor: AuditActor{e.Actor.Kind, e.Actor.Name, e.Actor.Address},
		Action: e.Action, Resource: e.Resource, ID: e.ID, Client: e.Client, Name: e.Name, Fields: e.Fields,
		Previous: e.Previous, Hash: e.Hash,
	}
}

type verdictOut struct{ Body AuditVerdict }

// verifyAudit reads the whole log and checks its chain, to the entry that is the last one
// when it begins.
func (h *handler) verifyAudit(ctx context.Context, _ *struct{}) (*verdictOut, error) {
	seq, hash, err := h.catalogue.AuditHead()
	if err != nil {
		return nil, err
	}
	count, err := audit.VerifyTo(h.catalogue.Audit(ctx, 0), audit.Head{Seq: seq, Hash: hash})
	v := AuditVerdict{Valid: err == nil, Entries: count, Message: success}
	if err != nil && !errors.Is(err, audit.ErrBroken) && !errors.Is(err, store.ErrTampered) {
		return nil, err // of reading, which says nothing of the log
	}
	if err != nil {
		v.Detail = err.Error()
	}
	return &verdictOut{v}, nil
}
