package inject

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caddy-rr/caddy-rr/internal/rule"
	"github.com/caddy-rr/caddy-rr/internal/strictjson"
	"github.com/caddy-rr/caddy-rr/store/secret"
)

// Object is a JSON object that is read strictly: a name is there once, and numbers stay
// as they are written.
type Object map[string]any

// UnmarshalJSON implements json.Unmarshaler.
func (o *Object) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	object, err := strictjson.Object(data, strictjson.Options{})
	*o = object
	return err
}

// ofCaller begins the placeholders for what is known of the verified caller.
const ofCaller = "http.auth.user."

// template is the claims of tokens: JSON in whose texts placeholders may stand. It knows
// the values of all of them but those of the caller. It is safe for concurrent use.
type template struct {
	members map[string]node
	refs    []string // the caller's claims in use, sorted
}

// node is one value: list, object, text of segments, or fixed, if it is none of them.
type node struct {
	fixed    any
	segments []segment
	list     []node
	object   map[string]node
}

// segment is literal text or, if ref is set, the caller's claim of that name.
type segment struct{ text, ref string }

// templateSecrets adds the secrets that stand in claims to m. All placeholders are checked.
func templateSecrets(ctx context.Context, claims Object, m material) error {
	return eachText("", map[string]any(claims), func(place, text string) error {
		for _, p := range pieces(text) {
			switch {
			case !p.isPlaceholder(), isOfCaller(p):
			case p.root == "env", p.root == "file":
				v, err := secret.String(p.text).Resolve(ctx)
				if err != nil { // which names the placeholder
					return fmt.Errorf("%s: %w", place, err)
				}
				m[p.text] = v
			}
		}
		return nil
	})
}

// checkTemplate refuses placeholders that mean nothing.
func checkTemplate(claims Object) error {
	return eachText("", map[string]any(claims), func(place, text string) error {
		for _, p := range pieces(text) {
			if p.isPlaceholder() && p.root != "env" && p.root != "file" && !isOfCaller(p) {
				return fmt.Errorf("%s: %w", place, unknownPlaceholder(p, "{http.auth.user.*}", "{env.*}", "{file./absolute/path}"))
			}
		}
		return nil
	})
}

func isOfCaller(p piece) bool {
	name, ok := strings.CutPrefix(p.root+"."+p.rest, ofCaller)
	return ok && name != ""
}

// eachText visits all texts in a value; place says where they stand.
func eachText(place string, v any, visit func(place, text string) error) error {
	switch v := v.(type) {
	case string:
		return visit(place, v)
	case []any:
		for _, x := range v {
			if err := eachText(place, x, visit); err != nil {
				return err
			}
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			inner := strings.TrimPrefix(place+"."+name, ".")
			if placeholder.MatchString(name) {
				return fmt.Errorf("%s: a name cannot hold a placeholder", inner)
			}
			if err := eachText(inner, v[name], visit); err != nil {
				return err
			}
		}
	}
	return nil
}

// newTemplate makes a template with the secrets as they are now. Without expand all text
// is literal.
func newTemplate(claims Object, m material, expand bool) *template {
	t := &template{members: make(map[string]node, len(claims))}
	for name, v := range claims {
		t.members[name] = t.node(v, m, expand)
	}
	slices.Sort(t.refs)
	t.refs = slices.Compact(t.refs)
	return t
}

func (t *template) node(v any, m material, expand bool) node {
	switch v := v.(type) {
	case string:
		if expand {
			return t.text(v, m)
		}
	case []any:
		list := make([]node, len(v))
		for i := range v {
			list[i] = t.node(v[i], m, expand)
		}
		return node{list: list}
	case map[string]any:
		object := make(map[string]node, len(v))
		for name := range v {
			object[name] = t.node(v[name], m, expand)
		}
		return node{object: object}
	}
	return node{fixed: v}
}

func (t *template) text(text string, m material) node {
	var n node
	var literal strings.Builder
	flush := func() {
		if literal.Len() > 0 {
			n.segments = append(n.segments, segment{text: literal.String()})
			literal.Reset()
		}
	}
	for _, p := range pieces(text) {
		switch {
		case isOfCaller(p):
			flush()
			ref := strings.TrimPrefix(p.root+"."+p.rest, ofCaller)
			n.segments = append(n.segments, segment{ref: ref})
			t.refs = append(t.refs, ref)
		case p.isPlaceholder():
			literal.WriteString(m.get(p.text))
		default:
			literal.WriteString(p.text)
		}
	}
	if len(n.segments) == 0 {
		return node{fixed: literal.String()}
	}
	flush()
	return n
}

// fill returns the claims for a caller, who may be nil if no claim depends on it.
func (t *template) fill(c *caller) (map[string]any, error) {
	claims := make(map[string]any, len(t.members)+4)
	for name, n := range t.members {
		v, err := n.fill(c)
		if err != nil {
			return nil, fmt.Errorf("claim %s: %w", name, err)
		}
		claims[name] = v
	}
	return claims, nil
}

func (n node) fill(c *caller) (any, error) {
	switch {
	case n.list != nil:
		list := make([]any, len(n.list))
		for i, x := range n.list {
			v, err := x.fill(c)
			if err != nil {
				return nil, err
			}
			list[i] = v
		}
		return list, nil
	case n.object != nil:
		object := make(map[string]any, len(n.object))
		for name, x := range n.object {
			v, err := x.fill(c)
			if err != nil {
				return nil, err
			}
			object[name] = v
		}
		return object, nil
	case len(n.segments) == 1:
		return c.claim(n.segments[0].ref) // as it is: a list stays a list
	case len(n.segments) > 1:
		return n.join(c)
	}
	return n.fixed, nil
}

func (n node) join(c *caller) (string, error) {
	var text strings.Builder
	for _, s := range n.segments {
		if s.ref == "" {
			text.WriteString(s.text)
			continue
		}
		v, err := c.claim(s.ref)
		if err != nil {
			return "", err
		}
		text.WriteString(rule.Text(v))
	}
	return text.String(), nil
}

var errNoCaller = errors.New("there is no verified caller")

// claim is what is known of the caller under a name: id, or a claim. What is not there,
// null or an empty text is an error: nothing takes its place.
func (c *caller) claim(name string) (any, error) {
	if c == nil {
		return nil, errNoCaller
	}
	v, ok := any(c.ID), c.ID != ""
	if name != "id" {
		v, ok = rule.Claim(c.Claims, name)
	}
	if !ok || v == nil || v == "" {
		return nil, fmt.Errorf("the caller has no {%s%s}", ofCaller, name)
	}
	return v, nil
}

// key is a digest over all that the claims take from a caller, and over when its proof
// ends. It is made for each request.
func (t *template) key(c *caller) (sum [sha256.Size]byte, err error) {
	parts := make([]byte, 0, 512)
	for _, ref := range t.refs {
		v, err := c.claim(ref)
		if err != nil {
			return sum, err
		}
		kind := byte('s')
		text, isText := v.(string)
		if !isText {
			kind = 'j'
			raw, err := json.Marshal(v) // members in order
			if err != nil {
				return sum, err
			}
			text = string(raw)
		}
		parts = appendPart(parts, text)
		parts = append(parts, kind) // "1" is not 1
	}
	parts = binary.BigEndian.AppendUint64(parts, uint64(c.Expires.Unix()))
	return sha256.Sum256(parts), nil
}
