package test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

// editor is a program that makes, changes and deletes records of its own through the API,
// and remembers what it was told. At most one of its requests has no answer.
type editor struct {
	d      *daemon
	u      *rrtest.Upstream
	name   string
	random *rand.Rand
	count  int

	records map[string]*known // by id
	open    *edit             // the request without an answer
	acked   int               // how many changes were acknowledged
}

// known is a record as the API said that it is.
type known struct {
	kind, id string
	version  uint64
	// full is the record as it was shown last, nil if it was changed without being shown.
	full map[string]any
	// set are members that it has, whatever else.
	set    map[string]any
	secret string   // a caller's key, or the token for the upstream
	rules  []string // notes of its rules, in order
}

// edit is one request for a change.
type edit struct {
	method, path, body string
	headers            []string
	makes              []*known // what it makes
	changes            *known   // what it changes, or deletes
	then               known    // what is different afterwards: set, secret, rules
	deletes            bool
}

// again reports whether the request may be sent twice and is executed once.
func (e *edit) again() bool { return slices.ContainsFunc(e.headers, isOnce) }

func isOnce(header string) bool { return strings.HasPrefix(header, "Idempotency-Key: ") }

func (c *editor) fresh(what string) string {
	c.count++
	return fmt.Sprintf("%s-%s-%d", c.name, what, c.count)
}

func (c *editor) once() string { return "Idempotency-Key: " + c.fresh("once") }

// some returns the editor's records of a kind, and for credentials of a side.
func (c *editor) some(kind, side string) (list []*known) {
	for _, id := range slices.Sorted(maps.Keys(c.records)) {
		if r := c.records[id]; r.kind == kind && (side == "" || r.set["credentialType"] == side) {
			list = append(list, r)
		}
	}
	return list
}

func (c *editor) pick(kind, side string) *known {
	list := c.some(kind, side)
	if len(list) == 0 {
		return nil
	}
	return list[c.random.IntN(len(list))]
}

// most is how many records of a kind the editor has.
const most = 5

// next thinks of a change; nil if the one that was thought of is not possible.
func (c *editor) next() *edit {
	switch c.random.IntN(14) {
	case 0:
		return c.create("credentials", "proxy", map[string]any{"credentialType": "proxy", "credentialAuthType": "key"}, nil)
	case 1:
		token := c.fresh("token") + "-0123456789abcdef"
		e := c.create("credentials", "target", map[string]any{"credentialType": "target", "credentialAuthType": "bearer"},
			map[string]any{"credentialSecret": map[string]any{"token": token}})
		if e != nil {
			e.makes[0].secret = token
		}
		return e
	case 2:
		return c.create("targets", "", map[string]any{"targetBaseURL": c.u.URL + "/" + c.fresh("path")}, nil)
	case 3, 4:
		caller, token, target := c.pick("credentials", "proxy"), c.pick("credentials", "target"), c.pick("targets", "")
		if caller == nil || token == nil || target == nil {
			return nil
		}
		return c.create("proxies", "", map[string]any{
			"proxyProxyCredentialId": caller.id, "proxyTargetId": target.id, "proxyTargetCredentialId": token.id, "proxyAlias": c.fresh("alias"),
		}, nil)
	case 5:
		return c.put(c.pick("proxies", ""), map[string]any{"proxyMaxBody": float64(1000 + c.count), "proxyAlias": c.fresh("alias")}, nil)
	case 6:
		return c.put(c.pick("targets", ""), map[string]any{"targetBaseURL": c.u.URL + "/" + c.fresh("path")}, nil)
	case 7:
		token := c.fresh("token") + "-fedcba9876543210"
		e := c.put(c.pick("credentials", "target"), map[string]any{"credentialName": c.fresh("renamed")}, map[string]any{"credentialSecret": map[string]any{"token": token}})
		if e != nil {
			e.then.secret = token
		}
		return e
	case 8, 9:
		r := c.pick("credentials", "proxy")
		if r == nil {
			return nil
		}
		return &edit{method: "POST", path: "credentials/" + r.id + "/rotate", headers: []string{c.once()}, changes: r}
	case 10:
		return c.rule(c.pick("proxies", ""))
	case 11:
		return c.imported(c.pick("credentials", "proxy"))
	case 12:
		return c.remove(c.pick("proxies", ""))
	default:
		return c.remove(c.unused())
	}
}

// singular is what the members of a kind's records begin with.
func singular(kind string) string {
	if s, ok := strings.CutSuffix(kind, "ies"); ok {
		return s + "y"
	}
	return strings.TrimSuffix(kind, "s")
}

func (c *editor) create(kind, side string, set, hidden map[string]any) *edit {
	if len(c.some(kind, side)) >= most {
		return nil
	}
	set[singular(kind)+"Name"] = c.fresh(kind)
	return &edit{
		method: "POST", path: kind, body: asJSON(set, hidden), headers: []string{c.once()},
		makes: []*known{{kind: kind, version: 1, set: set}},
	}
}

func (c *editor) put(r *known, set, hidden map[string]any) *edit {
	if r == nil {
		return nil
	}
	return &edit{
		method: "PUT", path: r.kind + "/" + r.id, body: asJSON(set, hidden), headers: []string{fmt.Sprintf("If-Match: %q", fmt.Sprint(r.version))},
		changes: r, then: known{set: set},
	}
}

func (c *editor) remove(r *known) *edit {
	if r == nil {
		return nil
	}
	return &edit{method: "DELETE", path: r.kind + "/" + r.id, headers: []string{fmt.Sprintf("If-Match: %q", fmt.Sprint(r.version))}, changes: r, deletes: true}
}

// rule adds a rule that concerns no call of the test, and is large.
func (c *editor) rule(r *known) *edit {
	if r == nil || len(r.rules) >= most {
		return nil
	}
	note := c.fresh("note") + strings.Repeat(" padding", c.random.IntN(100))
	return &edit{
		method: "POST", path: r.kind + "/" + r.id + "/rules", headers: []string{c.once()}, changes: r,
		body: asJSON(map[string]any{"effect": "deny", "methods": []string{"DELETE"}, "notes": note}, nil), then: known{rules: append(slices.Clone(r.rules), note)},
	}
}

// imported makes a target, its credential and a proxy, all in one change.
func (c *editor) imported(caller *known) *edit {
	if caller == nil || len(c.some("proxies", "")) >= most {
		return nil
	}
	token := c.fresh("token") + "-imported-0123456789"
	ids := []string{uuid.NewString(), uuid.NewString(), uuid.NewString()}
	made := []*known{
		{kind: "targets", set: map[string]any{"targetId": ids[0], "targetName": c.fresh("targets"), "targetBaseURL": c.u.URL + "/" + c.fresh("path")}},
		{kind: "credentials", secret: token, set: map[string]any{"credentialId": ids[1], "credentialName": c.fresh("credentials"), "credentialType": "target", "credentialAuthType": "bearer"}},
		{kind: "proxies", set: map[string]any{
			"proxyId": ids[2], "proxyName": c.fresh("proxies"), "proxyProxyCredentialId": caller.id, "proxyTargetId": ids[0], "proxyTargetCredentialId": ids[1],
		}},
	}
	body := map[string]any{}
	for i, m := range made {
		m.id, m.version = ids[i], 1
		one := maps.Clone(m.set)
		if m.secret != "" {
			one["credentialSecret"] = map[string]any{"token": token}
		}
		body[m.kind] = []any{one}
	}
	return &edit{method: "POST", path: "/rr/store/import", body: asJSON(body, nil), headers: []string{c.once()}, makes: made}
}

// unused is a credential or target that no proxy of the editor has.
func (c *editor) unused() *known {
	used := map[any]bool{}
	for _, p := range c.some("proxies", "") {
		for _, member := range []string{"proxyProxyCredentialId", "proxyTargetId", "proxyTargetCredentialId"} {
			used[p.set[member]] = true
		}
	}
	list := slices.DeleteFunc(append(c.some("credentials", ""), c.some("targets", "")...), func(r *known) bool { return used[r.id] })
	if len(list) < 3 { // some have to be there to use
		return nil
	}
	return list[c.random.IntN(len(list))]
}

func asJSON(parts ...map[string]any) string {
	all := map[string]any{}
	for _, p := range parts {
		maps.Copy(all, p)
	}
	text, _ := json.Marshal(all)
	return string(text)
}

// work makes changes until one has no answer, and tells of each that was acknowledged.
func (c *editor) work(acknowledged func()) error {
	for {
		e := c.next()
		if e == nil {
			continue
		}
		a, err := c.d.call(e.method, e.path, e.body, e.headers...)
		for err == nil && a.Status == http.StatusConflict && a.Header.Get("Retry-After") != "" {
			// two others import; five seconds are long for this test
			time.Sleep(time.Millisecond)
			a, err = c.d.call(e.method, e.path, e.body, e.headers...)
		}
		if err != nil {
			c.open = e
			return nil
		}
		if a.Status >= 300 {
			return fmt.Errorf("%s: %s %s %s: %d %s", c.name, e.method, e.path, e.body, a.Status, a.Body)
		}
		if err := c.acknowledge(e, a); err != nil {
			return err
		}
		acknowledged()
	}
}

// acknowledge takes note of what an answer says.
func (c *editor) acknowledge(e *edit, a rrtest.Answer) error {
	c.acked++
	switch {
	case e.deletes:
		delete(c.records, e.changes.id)
		return nil
	case len(e.makes) > 1: // the answer does not show them
		for _, m := range e.makes {
			c.records[m.id] = m
		}
		return nil
	case e.then.rules != nil: // the answer shows the rule
		e.changes.rules, e.changes.full = e.then.rules, nil
		e.changes.version++
		return nil
	}
	r := e.changes
	if r == nil {
		r = e.makes[0]
	}
	list, err := recordsIn(r.kind, a.Body)
	if err != nil || len(list) != 1 {
		return fmt.Errorf("%s %s: %d records: %w", e.method, e.path, len(list), err)
	}
	r.full = list[0]
	if r.version, err = versionOf(a); err != nil {
		return err
	}
	if e.changes != nil {
		e.apply()
	}
	if made, ok := r.full["credentialSecret"].(map[string]any); ok && made["key"] != nil {
		r.secret = made["key"].(string)
		if delete(made, "key"); len(made) == 0 {
			delete(r.full, "credentialSecret")
		}
	}
	r.id, _ = r.full[singular(r.kind)+"Id"].(string)
	c.records[r.id] = r
	return r.fits(r.full)
}

// apply has the record be as it is afterwards.
func (e *edit) apply() {
	r := e.changes
	r.set = maps.Clone(r.set)
	maps.Copy(r.set, e.then.set)
	if e.then.secret != "" {
		r.secret = e.then.secret
	}
	if e.then.rules != nil {
		r.rules = e.then.rules
	}
}

func versionOf(a rrtest.Answer) (uint64, error) {
	return strconv.ParseUint(strings.Trim(a.Header.Get("ETag"), `"`), 10, 64)
}

// fits compares a record that the API shows with what is known.
func (r *known) fits(shown map[string]any) error {
	delete(shown, "credentialLastUsedAt")
	delete(shown, "credentialBoundTo") // a use says it, no change
	name := singular(r.kind)
	for _, member := range []string{name + "Id", name + "Name", name + "CreatedAt", name + "UpdatedAt", "clientId", "sKey"} {
		if text, _ := shown[member].(string); text == "" {
			return fmt.Errorf("half a record: no %s in %v", member, shown)
		}
	}
	for member, want := range r.set {
		if !reflect.DeepEqual(shown[member], want) {
			return fmt.Errorf("%s is %v, and has to be %v: %v", member, shown[member], want, shown)
		}
	}
	if r.full != nil && !reflect.DeepEqual(shown, r.full) {
		return fmt.Errorf("it is %v, and was acknowledged as %v", shown, r.full)
	}
	return nil
}

// check reads a record: found says whether it is there.
func (c *editor) check(r *known) (found bool, err error) {
	place := r.kind + "/" + r.id
	if r.id == "" {
		place = r.kind + "/" + r.set[singular(r.kind)+"Name"].(string)
	}
	a, err := c.d.call("GET", place, "")
	if err != nil || a.Status == http.StatusNotFound {
		return false, err
	}
	list, err := recordsIn(r.kind, a.Body)
	if err != nil || a.Status != http.StatusOK || len(list) != 1 {
		return true, fmt.Errorf("GET %s: %d %s", place, a.Status, a.Body)
	}
	version, err := versionOf(a)
	if err != nil || version != r.version {
		return true, fmt.Errorf("GET %s: version %d, and has to be %d: %w", place, version, r.version, err)
	}
	if err := r.fits(list[0]); err != nil {
		return true, fmt.Errorf("GET %s: %w", place, err)
	}
	if err := c.checkRules(r, place); err != nil {
		return true, err
	}
	r.full = list[0]
	r.id = list[0]["sKey"].(string)
	return true, nil
}

func (c *editor) checkRules(r *known, place string) error {
	a, err := c.d.call("GET", place+"/rules?limit=100", "")
	if err != nil {
		return err
	}
	list, err := recordsIn("rules", a.Body)
	if err != nil {
		return err
	}
	var notes []string
	for _, rule := range list {
		notes = append(notes, fmt.Sprint(rule["notes"]))
	}
	if slices.Sort(notes); !slices.Equal(notes, slices.Sorted(slices.Values(r.rules))) {
		return fmt.Errorf("GET %s has the rules %q, and has to have %q", place, notes, r.rules)
	}
	return nil
}
