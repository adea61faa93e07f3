package api

import (
	"context"
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/caddy-rr/caddy-rr/internal/catalog"
	"github.com/caddy-rr/caddy-rr/internal/wire"
	"github.com/caddy-rr/caddy-rr/store"
)

// tags group the operations.
var tags = []*huma.Tag{
	{Name: store.Clients, Description: "Tenants. The client `default` always exists; what the configuration declares is its."},
	{Name: store.Credentials, Description: "What callers prove themselves with (`proxy`), and what upstreams accept (`target`). Secrets are never shown."},
	{Name: store.Targets, Description: "Upstreams."},
	{Name: store.Proxies, Description: "What callers call: proxy credentials, a target and its credential."},
	{Name: "rules", Description: "Allow and deny by method, path, headers, query, body and claims, in four scopes."},
	{Name: store.Blocked, Description: "Tokens that are refused though they verify."},
	{Name: store.Audit, Description: "Who changed what, when."},
	{Name: "store", Description: "Backup, archives, the store's key."},
	{Name: "gateway", Description: "The gateway itself."},
}

// operations makes all of them. It also documents them, in this order.
func (h *handler) operations() {
	h.clientOperations()
	h.credentialOperations()
	h.targetOperations()
	h.proxyOperations()
	ruleOperations(h, &ruled[store.Credential, wire.Credential, Credentials]{h.credentials, func(r *store.Credential) *[]store.Rule { return &r.Rules }})
	ruleOperations(h, &ruled[store.Target, wire.Target, Targets]{h.targets, func(r *store.Target) *[]store.Rule { return &r.Rules }})
	ruleOperations(h, &ruled[store.Proxy, wire.Proxy, Proxies]{h.proxies, func(r *store.Proxy) *[]store.Rule { return &r.Rules }})
	h.blockOperations()
	h.auditOperations()
	h.storeOperations()
	h.gatewayOperations()
}

type (
	clientsIn struct {
		Page
		Name string `query:"name" maxLength:"512" doc:"Clients of this name"`
	}
	clientCreateIn struct {
		Keyed
		Raw
	}
	clientReadIn struct {
		Owned
		NoneMatch string `header:"If-None-Match" doc:"ETags: if the client has one of them, the answer is 304 and empty"`
	}
	clientReplaceIn struct {
		Owned
		Match
		Raw
	}
	clientDeleteIn struct {
		Owned
		Match
		Force Flag `query:"force" doc:"Whether to delete what the client owns, too"`
	}
)

func (h *handler) clientOperations() {
	const path, one = "/clients", "/clients/{client}"
	s := h.clients
	add(h, operation{
		id: "listClients", method: http.MethodGet, path: path, tag: s.plural, role: Reader, kind: s.plural,
		summary: "List clients", text: "Those that the caller has to do with, in the order of their ids.", example: exampleClients,
	}, func(ctx context.Context, in *clientsIn) (*listOut[Clients], error) {
		return s.page(ctx, "", &in.Page, catalog.Query{Name: in.Name})
	})
	add(h, operation{
		id: "createClient", method: http.MethodPost, path: path, tag: s.plural, role: Owner, whole: true, kind: s.plural, changes: true, keyed: true,
		summary: "Create a client", status: http.StatusCreated, body: takes[wire.ClientRequest](exampleClientRequest), example: exampleClients,
	}, func(ctx context.Context, in *clientCreateIn) (*recordOut[Clients], error) {
		return s.create(ctx, h, "", in.data())
	})
	add(h, operation{
		id: "getClient", method: http.MethodGet, path: one, tag: s.plural, role: Reader, kind: s.plural, conditional: true,
		summary: "Get a client", example: exampleClients,
	}, func(ctx context.Context, in *clientReadIn) (*readOut[Clients], error) {
		return s.read(ctx, "", in.Client, in.NoneMatch)
	})
	add(h, operation{
		id: "replaceClient", method: http.MethodPut, path: one, tag: s.plural, role: Owner, kind: s.plural, changes: true,
		summary: "Change a client", body: takes[wire.ClientRequest](exampleClientRequest), example: exampleClients,
	}, func(ctx context.Context, in *clientReplaceIn) (*recordOut[Clients], error) {
		return replace(ctx, h, s, "", in.Client, &in.Match, &in.Raw)
	})
	add(h, operation{
		id: "deleteClient", method: http.MethodDelete, path: one, tag: s.plural, role: Owner, kind: s.plural, changes: true,
		summary: "Delete a client", text: "A client that owns something is deleted with `force` alone, and all it owns with it. `default` cannot be deleted.", example: exampleDone,
	}, func(ctx context.Context, in *clientDeleteIn) (*doneOut, error) {
		c, err := in.condition()
		if err != nil {
			return nil, err
		}
		return s.remove(ctx, h, "", in.Client, c, in.Force)
	})
}

// replace is PUT of any record.
func replace[R, V, E any](ctx context.Context, h *handler, s *resource[R, V, E], client, id string, match *Match, b *Raw) (*recordOut[E], error) {
	c, err := match.condition()
	if err != nil {
		return nil, err
	}
	body := b.data()
	return s.replace(ctx, h, client, id, "update", c, func(old *R) (*R, *wire.Generated, error) { return s.decode(body, old) })
}

// recordTexts are what differs between the kinds in the words and types of their operations.
type recordTexts struct {
	id, a               string // Credential, a credential
	createText, putText string
	deleteText          string
	body                *body
	made, example       any // answers
}

// recordOperations are those that all kinds of a client's records have, but for the list.
func recordOperations[R, V, E any](h *handler, s *resource[R, V, E], t recordTexts) {
	path := "/clients/{client}/" + s.plural
	one := path + "/{id}"
	base := operation{tag: s.plural, kind: s.plural, example: t.example}
	op := base
	op.id, op.method, op.path, op.role, op.status = "create"+t.id, http.MethodPost, path, Editor, http.StatusCreated
	if t.made != nil {
		op.example = t.made
	}
	op.summary, op.text, op.body, op.changes, op.keyed = "Create "+t.a, t.createText, t.body, true, true
	add(h, op, func(ctx context.Context, in *createIn) (*recordOut[E], error) {
		return s.create(ctx, h, in.Client, in.data())
	})

	op = base
	op.id, op.method, op.path, op.role, op.conditional = "get"+t.id, http.MethodGet, one, Reader, true
	op.summary = "Get " + t.a
	add(h, op, func(ctx context.Context, in *readIn) (*readOut[E], error) {
		return s.read(ctx, in.Client, in.ID, in.NoneMatch)
	})

	if t.putText != "" {
		op = base
		op.id, op.method, op.path, op.role = "replace"+t.id, http.MethodPut, one, Editor
		op.summary, op.text, op.body, op.changes = "Change "+t.a, t.putText, t.body, true
		add(h, op, func(ctx context.Context, in *replaceIn) (*recordOut[E], error) {
			return replace(ctx, h, s, in.Client, in.ID, &in.Match, &in.Raw)
		})
	}

	op = base
	op.id, op.method, op.path, op.role, op.example = "delete"+t.id, http.MethodDelete, one, Editor, exampleDone
	op.summary, op.text, op.changes = "Delete "+t.a, t.deleteText, true
	add(h, op, func(ctx context.Context, in *deleteIn) (*doneOut, error) {
		c, err := in.condition()
		if err != nil {
			return nil, err
		}
		return s.remove(ctx, h, in.Client, in.ID, c, in.Force)
	})
}

// ruleOperations are those of the rules of one kind of records.
func ruleOperations[R, V, E any](h *handler, s *ruled[R, V, E]) {
	path := "/clients/{client}/" + s.plural + "/{id}/rules"
	one := path + "/{rule}"
	name := strings.ToUpper(s.singular[:1]) + s.singular[1:] + "Rule"
	of := " of a " + s.singular
	body := takes[wire.RuleRequest](exampleRuleRequest)
	base := operation{tag: "rules", kind: "rules", example: exampleRules}
	op := base
	op.id, op.method, op.path, op.role = "list"+name+"s", http.MethodGet, path, Reader
	op.summary, op.text = "List the rules"+of, "Those with a higher priority first. The order decides nothing."
	add(h, op, s.listRules)

	op = base
	op.id, op.method, op.path, op.role, op.status = "create"+name, http.MethodPost, path, Editor, http.StatusCreated
	op.summary, op.text, op.body, op.changes, op.keyed = "Create a rule"+of, ruleText, body, true, true
	add(h, op, func(ctx context.Context, in *ruleCreateIn) (*recordOut[Rules], error) {
		return s.createRule(ctx, h, in)
	})

	op = base
	op.id, op.method, op.path, op.role, op.conditional = "get"+name, http.MethodGet, one, Reader, true
	op.summary = "Get a rule" + of
	add(h, op, s.readRule)

	op = base
	op.id, op.method, op.path, op.role = "replace"+name, http.MethodPut, one, Editor
	op.summary, op.text, op.body, op.changes = "Change a rule"+of, "The rule is then what the body says, and nothing more.", body, true
	add(h, op, func(ctx context.Context, in *ruleReplaceIn) (*recordOut[Rules], error) {
		return s.replaceRule(ctx, h, in)
	})

	op = base
	op.id, op.method, op.path, op.role, op.changes, op.example = "delete"+name, http.MethodDelete, one, Editor, true, exampleDone
	op.summary = "Delete a rule" + of
	add(h, op, func(ctx context.Context, in *ruleDeleteIn) (*doneOut, error) { return s.removeRule(ctx, h, in) })
}

const ruleText = "Any matching deny denies; else any matching allow allows; else the default effect decides. " +
	"All the shapes that the original's API takes are taken, and the names of the configuration."

type blocksIn struct {
	Owned
	Page
	TokenID string `query:"jti" maxLength:"512" doc:"Entries for the token of this id"`
	Subject string `query:"sub" maxLength:"512" doc:"Entries for this subject"`
	Issuer  string `query:"iss" maxLength:"2048" doc:"Entries for this issuer"`
}

func (h *handler) blockOperations() {
	s := h.blocks
	add(h, operation{
		id: "listBlocklist", method: http.MethodGet, path: "/clients/{client}/blocklist", tag: s.plural, role: Reader, kind: s.plural,
		summary: "List a client's blocklist", example: exampleBlocklist,
	}, func(ctx context.Context, in *blocksIn) (*listOut[Blocklist], error) {
		fits := func(b *store.Block) bool {
			return (in.TokenID == "" || in.TokenID == b.TokenID) && (in.Subject == "" || in.Subject == b.Subject) && (in.Issuer == "" || in.Issuer == b.Issuer)
		}
		return s.pageOf(ctx, in.Client, &in.Page, catalog.Query{}, fits)
	})
	recordOperations(h, s, recordTexts{
		id: "BlocklistEntry", a: "an entry of the blocklist",
		createText: "Tokens with this `jti`; or of this `sub`, all or those issued before a time; or of this `iss`. They are refused from the next request on, and streams end.",
		body:       takes[wire.BlockRequest](exampleBlockRequest), example: exampleBlocklist,
	})
}

func (h *handler) auditOperations() {
	answers := map[string]reflect.Type{jsonType: reflect.TypeFor[AuditLog](), linesType: nil}
	const text = "Oldest first. A page may be short, or empty, and have a cursor all the same. With `Accept: application/x-ndjson` it is all that fits, one entry a line, as it is hashed."
	add(h, operation{
		id: "listAudit", method: http.MethodGet, path: "/audit", tag: store.Audit, role: Owner, whole: true,
		summary: "Read the audit log", text: text, produces: []string{jsonType, linesType}, answers: answers, example: exampleAudit,
	}, func(ctx context.Context, in *auditIn) (*auditOut, error) { return h.audit(ctx, &in.AuditFilter, "") })
	add(h, operation{
		id: "listClientAudit", method: http.MethodGet, path: "/clients/{client}/audit", tag: store.Audit, role: Owner,
		summary: "Read the audit log of a client", text: text, produces: []string{jsonType, linesType}, answers: answers, example: exampleAudit,
	}, func(ctx context.Context, in *clientAuditIn) (*auditOut, error) {
		return h.audit(ctx, &in.AuditFilter, in.Client)
	})
	add(h, operation{
		id: "verifyAudit", method: http.MethodGet, path: "/audit/verify", tag: store.Audit, role: Owner, whole: true,
		summary: "Check that the audit log is whole", text: "Every entry has the hash of the one before.", example: exampleVerdict,
	}, h.verifyAudit)
}

func (h *handler) storeOperations() {
	file := map[string]reflect.Type{bytesType: nil}
	add(h, operation{
		id: "backup", method: http.MethodGet, path: "/store/backup", tag: "store", role: Owner, whole: true, getOnly: true, problems: []string{codeUnsupported},
		summary: "Copy the store", text: "A consistent copy of the store's file while it is in use, sealed as it is: it needs the same key.", produces: []string{bytesType}, answers: file,
	}, h.backup)
	add(h, operation{
		id: "export", method: http.MethodPost, path: "/store/export", tag: "store", role: Owner, whole: true, large: true, problems: []string{codeConflict}, produces: []string{bytesType}, answers: file,
		summary: "Export the records", text: "An archive with all records, and their secrets, sealed with a passphrase. The audit log is not in it.", body: takes[ExportRequest](exampleExportRequest),
	}, h.export)
	load := takes[ImportRequest](exampleImportRequest)
	load.max = maxImport
	add(h, operation{
		id: "import", method: http.MethodPost, path: "/store/import", tag: "store", role: Owner, whole: true, changes: true, keyed: true, bare: true, large: true,
		summary: "Import records", text: "An archive, or what the original's API returned. All of it, or nothing.", body: load, example: exampleImported,
	}, h.importAll)
	add(h, operation{
		id: "rotateKey", method: http.MethodPost, path: "/store/rotate-key", tag: "store", role: Owner, whole: true, changes: true,
		summary: "Rotate the store's key", text: "Seals every record anew, while the store is in use. If it is interrupted, the next one goes on.", example: exampleRotation,
	}, h.rotateKey)
}

func (h *handler) gatewayOperations() {
	add(h, operation{
		id: "health", method: http.MethodGet, path: "/health", tag: "gateway", problems: []string{codeUnavailable},
		summary: "Tell whether the store can be used", text: "Without a role, only the status. 503: it cannot be read.", example: exampleHealth,
	}, h.health)
	add(h, operation{
		id: "openapi", method: http.MethodGet, path: "/openapi.json", tag: "gateway", role: Reader,
		summary: "Get this document", answers: map[string]reflect.Type{jsonType: reflect.TypeFor[map[string]any]()},
	}, func(context.Context, *struct{}) (*documentOut, error) {
		text, err := h.document()
		return &documentOut{jsonType, text}, err
	})
	add(h, operation{
		id: "oauth2Callback", method: http.MethodGet, path: callbackPath, tag: store.Credentials, lenient: true, getOnly: true,
		summary: "Receive a consent", text: "Where providers send browsers back to. It needs no role: the state is the proof.",
		produces: []string{htmlType}, answers: map[string]reflect.Type{htmlType: nil},
		pages: map[int]string{
			http.StatusBadRequest: "No such consent is awaited", http.StatusBadGateway: "The provider gave no token",
			http.StatusServiceUnavailable: "It cannot be stored now", http.StatusInsufficientStorage: "There is no room to store it",
		},
	}, h.callback)
}

type documentOut struct {
	Type string `header:"Content-Type"`
	Body []byte
}
