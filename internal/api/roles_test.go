package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/api"
	"github.com/caddy-rr/caddy-rr/internal/audit"
	"github.com/caddy-rr/caddy-rr/store"
)

// need is what an operation needs.
type need struct {
	role  api.Role
	whole bool // all clients
}

// needs has every operation: a new one does not pass without a row.
var needs = map[string]need{
	"listClients": {role: api.Reader}, "getClient": {role: api.Reader},
	"createClient": {api.Owner, true}, "replaceClient": {role: api.Owner}, "deleteClient": {role: api.Owner},

	"listCredentials": {role: api.Reader}, "getCredential": {role: api.Reader},
	"createCredential": {role: api.Editor}, "replaceCredential": {role: api.Editor}, "deleteCredential": {role: api.Editor},
	"rotateCredential": {role: api.Editor}, "authorizeCredential": {role: api.Editor},

	"listTargets": {role: api.Reader}, "getTarget": {role: api.Reader},
	"createTarget": {role: api.Editor}, "replaceTarget": {role: api.Editor}, "deleteTarget": {role: api.Editor},

	"listProxies": {role: api.Reader}, "getProxy": {role: api.Reader},
	"createProxy": {role: api.Editor}, "replaceProxy": {role: api.Editor}, "deleteProxy": {role: api.Editor}, "checkProxy": {role: api.Editor}, "testProxy": {role: api.Editor},

	"listCredentialRules": {role: api.Reader}, "getCredentialRule": {role: api.Reader},
	"createCredentialRule": {role: api.Editor}, "replaceCredentialRule": {role: api.Editor}, "deleteCredentialRule": {role: api.Editor},
	"listTargetRules": {role: api.Reader}, "getTargetRule": {role: api.Reader},
	"createTargetRule": {role: api.Editor}, "replaceTargetRule": {role: api.Editor}, "deleteTargetRule": {role: api.Editor},
	"listProxyRules": {role: api.Reader}, "getProxyRule": {role: api.Reader},
	"createProxyRule": {role: api.Editor}, "replaceProxyRule": {role: api.Editor}, "deleteProxyRule": {role: api.Editor},

	"listBlocklist": {role: api.Reader}, "getBlocklistEntry": {role: api.Reader},
	"createBlocklistEntry": {role: api.Editor}, "deleteBlocklistEntry": {role: api.Editor},

	"listClientAudit": {role: api.Owner}, "listAudit": {api.Owner, true}, "verifyAudit": {api.Owner, true},
	"backup": {api.Owner, true}, "export": {api.Owner, true}, "import": {api.Owner, true}, "rotateKey": {api.Owner, true},

	"openapi": {role: api.Reader}, "health": {}, "oauth2Callback": {},
}

// operations are all of the document, by id.
func (d *document) operations() map[string]documented {
	all := map[string]documented{}
	for path, item := range d.tree["paths"].(map[string]any) {
		for method, op := range item.(map[string]any) {
			o := documented{path: path, method: strings.ToUpper(method), op: op.(map[string]any)}
			all[o.op["operationId"].(string)] = o
		}
	}
	return all
}

type documented struct {
	path, method string
	op           map[string]any
}

// body is the example of the request, empty if it has none.
func (o *documented) body(t testing.TB) string {
	t.Helper()
	example := member(o.op, "requestBody", "content", "application/json", "example")
	if example == nil {
		return ""
	}
	text, err := json.Marshal(example)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// things are one record of each kind, and a rule of each.
func (k *kit) things(client string) map[string]string {
	k.t.Helper()
	proxy, caller, target, _ := k.proxy(client, "p")
	entry, _ := k.make(client, "blocklist", `{"jti":"t-1"}`)
	ids := map[string]string{"proxies": proxy, "credentials": caller, "targets": target, "blocklist": entry}
	for _, plural := range []string{"proxies", "credentials", "targets"} {
		a := k.call("POST", "/clients/"+client+"/"+plural+"/"+ids[plural]+"/rules", `{"effect":"deny","methods":["DELETE"]}`).want(http.StatusCreated)
		ids[plural+"/rule"] = a.text("rules.0.ruleId")
	}
	return ids
}

// concrete fills in the parameters of a path.
func concrete(path, client string, ids map[string]string) string {
	segments := strings.Split(path, "/")
	plural := ""
	for i, s := range segments {
		switch s {
		case "{client}":
			segments[i] = client
		case "{id}":
			plural = segments[i-1]
			segments[i] = ids[plural]
		case "{rule}":
			segments[i] = ids[plural+"/rule"]
		}
	}
	return strings.Join(segments, "/")
}

// TestRoles calls every operation as everybody.
func TestRoles(t *testing.T) {
	d := documentOf(t)
	operations := d.operations()
	for id := range needs {
		if _, ok := operations[id]; !ok {
			t.Errorf("there is no operation %s", id)
		}
	}
	for id, o := range operations {
		n, ok := needs[id]
		if !ok {
			t.Errorf("operation %s has no row: who may call it?", id)
			continue
		}
		if role := o.op["x-rr-role"]; role != n.role.String() {
			t.Errorf("%s: the document says that it needs %s", id, role)
		}
		if all, _ := o.op["x-rr-all-clients"].(bool); all != n.whole {
			t.Errorf("%s: the document says all clients: %t", id, all)
		}
		if len(o.op["security"].([]any)) == 0 != (n.role == api.NoRole) {
			t.Errorf("%s: security is %v", id, o.op["security"])
		}
		t.Run(id, func(t *testing.T) { tryRoles(t, n, &o) })
	}
}

func tryRoles(t *testing.T, n need, o *documented) {
	k := newKit(t)
	ids := k.things("acme")
	for _, role := range []api.Role{api.NoRole, api.Reader, api.Editor, api.Owner} {
		for _, scope := range []string{"all", "own", "foreign", "none"} {
			p := api.Principal{Actor: audit.Actor{Kind: audit.User, Name: "u"}, Role: role}
			switch scope {
			case "all":
				p.All = true
			case "own":
				p.Clients = []string{"acme", "default"}
			case "foreign":
				p.Clients = []string{"globex"}
			}
			t.Run(fmt.Sprintf("%s of %s", role, scope), func(t *testing.T) {
				if role >= n.role {
					k = newKit(t) // what is allowed may change something
					ids = k.things("acme")
				}
				k.t = t
				tryRole(k, n, o, p, ids)
			})
		}
	}
}

func tryRole(k *kit, n need, o *documented, p api.Principal, ids map[string]string) {
	k.t.Helper()
	a := k.call(o.method, concrete(o.path, "acme", ids), o.body(k.t), as(p))
	missing := k.call(o.method, concrete(o.path, "nowhere", ids), o.body(k.t), as(p))
	switch owned := strings.Contains(o.path, "{client}"); {
	case n.role == api.NoRole:
		if a.StatusCode == http.StatusForbidden {
			k.t.Errorf("%s", a.body)
		}
	case p.Role == api.NoRole:
		a.problem(http.StatusForbidden, "no-principal")
	case p.Role < n.role, n.whole && !p.All:
		a.problem(http.StatusForbidden, "role-missing")
	case owned && !p.All && !slices.Contains(p.Clients, "acme"):
		a.problem(http.StatusNotFound, "not-found")
		if !bytes.Equal(a.body, missing.body) {
			k.t.Errorf("a foreign client answers %s, one that is not there %s", a.body, missing.body)
		}
	default:
		if a.StatusCode == http.StatusForbidden || a.StatusCode == http.StatusNotFound || a.StatusCode >= 500 && a.StatusCode != http.StatusNotImplemented {
			k.t.Errorf("%d %s", a.StatusCode, a.body)
		}
	}
}

// TestNobody: without a principal everything is refused, whatever is there.
func TestNobody(t *testing.T) {
	k := newKit(t)
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"} {
		for _, path := range []string{"/clients", "/clients/acme", "/nothing", "/", "/openapi.json", "/store/backup"} {
			if a := k.call(method, path, "", nobody()); a.StatusCode != http.StatusForbidden {
				t.Errorf("%s %s: %d %s", method, path, a.StatusCode, a.body)
			}
		}
	}
	if n := len(k.fake.records[store.Clients]); n != 3 {
		t.Errorf("%d clients", n)
	}
}
