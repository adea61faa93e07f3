package wire

import (
	"strings"
	"time"
	"unicode"

	"github.com/caddy-rr/caddy-rr/store"
)

// BlockRequest is a body that makes or changes an entry of the blocklist: tokens that are
// not accepted although they verify. It has one of jti, sub and iss.
type BlockRequest struct {
	TokenID   string    `json:"jti,omitempty" maxLength:"1024" doc:"The token with this id" example:"7f3a1c0e"`
	Subject   string    `json:"sub,omitempty" maxLength:"1024" doc:"The tokens of this subject" example:"svc-billing"`
	Before    time.Time `json:"before,omitzero" doc:"With sub: only those issued before this time (RFC 3339). Default: all"`
	Issuer    string    `json:"iss,omitempty" maxLength:"1024" doc:"All tokens of this issuer" example:"https://old-tenant.example/"`
	ExpiresAt time.Time `json:"expiresAt,omitzero" doc:"When the entry may be forgotten (RFC 3339). Default: never"`
	Note      string    `json:"note,omitempty" maxLength:"1000" doc:"Why" example:"laptop stolen"`
}

// Block is an entry of the blocklist as it is shown.
type Block struct {
	Ids
	ID        string     `json:"blockId" readOnly:"true" example:"0199d3a0-5f1e-7c5a-9d1b-3f5c8e2a7b61"`
	TokenID   string     `json:"jti,omitempty" example:"7f3a1c0e"`
	Subject   string     `json:"sub,omitempty"`
	Before    *time.Time `json:"before,omitempty"`
	Issuer    string     `json:"iss,omitempty"`
	ExpiresAt *time.Time `json:"expiresAt,omitempty"`
	Note      string     `json:"note,omitempty"`
	CreatedAt time.Time  `json:"blockCreatedAt,omitzero" readOnly:"true"`
	UpdatedAt time.Time  `json:"blockUpdatedAt,omitzero" readOnly:"true"`
}

var blockRequest = newRequest(BlockRequest{}, Block{}, nil)

// DecodeBlock reads a body that makes an entry of the blocklist, or that changes old. The
// error is Faults.
func DecodeBlock(body []byte, old *store.Block) (*store.Block, error) {
	r := new(reader)
	b := new(store.Block)
	var head *store.Head
	if old != nil {
		*b = *old
		head = &old.Head
	}
	m, ok := blockRequest.read(r, body, head, "blockId")
	if !ok {
		return nil, r.err()
	}
	m.text("jti", &b.TokenID)
	m.text("sub", &b.Subject)
	m.text("iss", &b.Issuer)
	m.moment("before", &b.Before)
	m.moment("expiresAt", &b.ExpiresAt)
	m.text("note", &b.Note)
	said := 0
	for _, v := range []string{b.TokenID, b.Subject, b.Issuer} {
		if v != "" {
			said++
		}
	}
	if said != 1 && !m.bad["jti"] && !m.bad["sub"] && !m.bad["iss"] {
		r.fault("", "it has to have one of jti, sub and iss, and only one; null takes one away")
	}
	if !b.Before.IsZero() && b.Subject == "" && !m.bad["sub"] {
		r.fault(m.place("before", "before"), "it is for the tokens of a subject (sub)")
	}
	if strings.ContainsFunc(b.Note, func(c rune) bool { return unicode.IsControl(c) && c != '\n' && c != '\t' }) {
		r.fault(m.place("note", "note"), "it has a control character")
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	return b, nil
}

// ShowBlock is an entry of the blocklist as the API shows it.
func ShowBlock(b *store.Block) Block {
	return Block{
		Ids: idsOf(&b.Head), ID: b.ID, TokenID: b.TokenID, Subject: b.Subject, Before: shownTimes(b.Before), Issuer: b.Issuer,
		ExpiresAt: shownTimes(b.ExpiresAt), Note: b.Note, CreatedAt: shownTime(b.CreatedAt), UpdatedAt: shownTime(b.UpdatedAt),
	}
}
