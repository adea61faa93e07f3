package api

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/caddy-rr/caddy-rr/store"
)

// How many records a page has, unless the request says.
const (
	defaultLimit = 100
	maxLimit     = 1000
)

// Page are the parameters of lists.
type Page struct {
	Limit  Limit  `query:"limit" doc:"How many records the answer has at most"`
	Cursor string `query:"cursor" maxLength:"1024" doc:"The cursor of the page before, to go on behind it"`
}

// Limit is a number of records.
type Limit string

// Schema implements huma.SchemaProvider.
func (Limit) Schema(huma.Registry) *huma.Schema {
	least, most := 1.0, float64(maxLimit)
	return &huma.Schema{Type: huma.TypeInteger, Minimum: &least, Maximum: &most, Default: defaultLimit}
}

// number is the limit, or unset.
func (l Limit) number(unset int) (int, error) {
	if l == "" {
		return unset, nil
	}
	n, err := strconv.Atoi(string(l))
	if err != nil || n < 1 || n > maxLimit {
		return 0, badParameter("limit", "it has to be a number from 1 to %d", maxLimit)
	}
	return n, nil
}

// Flag is a parameter that is true or false.
type Flag string

// Schema implements huma.SchemaProvider.
func (Flag) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeBoolean, Default: false}
}

func (f Flag) value(name string) (bool, error) {
	switch f {
	case "true":
		return true, nil
	case "", "false":
		return false, nil
	}
	return false, badParameter(name, "it has to be true or false")
}

// listMark is how many bytes of a cursor say which list it is of.
const listMark = 8

// list names what a request lists: its path and its filters.
func listOf(r *http.Request) [listMark]byte {
	filters := r.URL.Query()
	filters.Del("limit")
	filters.Del("cursor")
	sum := sha256.Sum256([]byte(r.URL.Path + "?" + filters.Encode()))
	return [listMark]byte(sum[:])
}

// cursorAfter is the cursor of what is behind a place in the list of a request.
func cursorAfter(r *http.Request, place any) string {
	mark := listOf(r)
	text, err := json.Marshal(place)
	if err != nil { // texts and numbers alone
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(append(mark[:], text...))
}

// after reads a cursor of the list of a request into place, which stays as it is if there
// is none.
func (p *Page) after(r *http.Request, place any) error {
	if p.Cursor == "" {
		return nil
	}
	data, err := base64.RawURLEncoding.Strict().DecodeString(p.Cursor)
	if err != nil || len(data) < listMark || [listMark]byte(data) != listOf(r) {
		return badParameter("cursor", "it is not the cursor of a page of this list with these filters")
	}
	if json.Unmarshal(data[listMark:], place) != nil {
		return badParameter("cursor", "it is not one that this list has given")
	}
	return nil
}

// Side is the side of a credential.
type Side string

// Schema implements huma.SchemaProvider.
func (Side) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Enum: []any{store.ProxySide, store.TargetSide}}
}
