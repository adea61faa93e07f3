package api

import (
	"cmp"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/caddy-rr/caddy-rr/internal/wire"
)

const schemaPrefix = "#/components/schemas/"

// about introduces the document.
const about = "Credentials, targets and proxies of the gateway, at run time. What a change says holds from the next request on, " +
	"once it has been answered.\n\n" +
	"Everything is also served below `/api`. Records come in an envelope: a list under the plural of their kind, and `message`. " +
	"Every other answer is a problem (RFC 9457) with a `code`; a path that is not here answers `not-found`, a method that is not here " +
	"`method-not-allowed` with `Allow`. The mount decides who the caller is and gives it a role; `x-rr-role` says which one a call needs. " +
	"A client that a caller has nothing to do with does not exist for it."

// schemes are how callers prove themselves to a mount on a site. On Caddy's admin endpoint,
// Caddy's own access control decides.
var schemes = map[string]*huma.SecurityScheme{
	"bearer": {Type: "http", Scheme: "bearer", Description: "A token or key that a verifier of the site accepts"},
	"basic":  {Type: "http", Scheme: "basic", Description: "A user of the site"},
	"key":    {Type: "apiKey", In: "header", Name: "Authorization", Description: "A key, bare"},
	"mtls":   {Type: "mutualTLS", Description: "A client certificate"},
}

// anyScheme is the security of what needs a principal. The empty one is the admin endpoint's.
var anyScheme = []map[string][]string{{"bearer": {}}, {"basic": {}}, {"key": {}}, {"mtls": {}}, {}}

// config is huma's for this API: none of what it would serve by itself, and names of schemas
// that what other users of huma in this process have set cannot clash with.
func config(o *Options) huma.Config {
	base := cmp.Or(o.BaseURL, o.Prefix)
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title: "caddy-rr management API", Description: about, Version: o.Version,
				License: &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"},
			},
			Servers: []*huma.Server{{URL: cmp.Or(base, "/")}, {URL: base + "/api"}},
			Tags:    tags,
			Components: &huma.Components{
				Schemas:         huma.NewMapRegistry(schemaPrefix, nameSchema),
				SecuritySchemes: schemes,
				Examples:        exampleProblems(),
				Responses:       map[string]*huma.Response{},
			},
		},
		Formats:       map[string]huma.Format{jsonType: huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat},
		DefaultFormat: jsonType,
		Transformers:  []huma.Transformer{ownProblems},
	}
}

// exampleProblems has one problem of each code.
func exampleProblems() map[string]*huma.Example {
	list := map[string]*huma.Example{}
	for code, kind := range kinds {
		list[code] = &huma.Example{Summary: kind.title, Value: problem(code, "")}
	}
	return list
}

// foreign begins the names of schemas that are not of this module. They are removed.
const foreign = "foreign."

func nameSchema(t reflect.Type, hint string) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.PkgPath() {
	case "", reflect.TypeFor[Problem]().PkgPath(), reflect.TypeFor[wire.Fault]().PkgPath():
	default:
		return foreign + t.PkgPath() + "." + t.Name()
	}
	return huma.DefaultSchemaNamer(t, hint)
}

// ownProblems is the last guard against problems of huma's own making, which could quote the
// request: none of its checks is in use.
func ownProblems(_ huma.Context, _ string, v any) (any, error) {
	if _, own := v.(*Problem); own {
		return v, nil
	}
	if e, other := v.(huma.StatusError); other {
		p := problem(codeInternal, "")
		if e.GetStatus() < http.StatusInternalServerError {
			p = problem(codeBadRequest, "")
		}
		p.Status = e.GetStatus()
		return p, nil
	}
	return v, nil
}

// described is the operation for huma. Its own checks are off: parameters and bodies are
// judged by this package, and problems are made here.
func (o *operation) described() huma.Operation {
	op := huma.Operation{
		OperationID: o.id, Method: o.method, Path: o.path,
		Summary: o.summary, Description: o.text, Tags: []string{o.tag},
		DefaultStatus:      o.status,
		SkipValidateParams: true, SkipValidateBody: true,
		Security:   []map[string][]string{},
		Extensions: map[string]any{"x-rr-role": o.role.String()},
		Responses:  map[string]*huma.Response{},
	}
	if o.role != NoRole {
		op.Security = anyScheme
	}
	if o.whole {
		op.Extensions["x-rr-all-clients"] = true
	}
	return op
}

// describe says of an operation what its types do not say.
func (h *handler) describe(o *operation) {
	registry := h.huma.OpenAPI().Components.Schemas
	op := operationAt(h.huma.OpenAPI().Paths[o.path], o.method)
	o.known = map[string]bool{}
	matches := false
	for _, p := range op.Parameters {
		o.known[p.Name] = p.In == "query"
		matches = matches || p.Name == "If-Match"
		if p.Schema != nil {
			p.Schema.Description = "" // it is the parameter's
		}
	}
	if o.body != nil {
		media := &huma.MediaType{Schema: registry.Schema(o.body.schema, true, ""), Example: o.body.example}
		op.RequestBody = &huma.RequestBody{Required: !o.body.optional, Content: map[string]*huma.MediaType{jsonType: media}}
	}
	o.describeSuccess(op, registry)
	delete(op.Responses, "default") // huma's own problem
	byStatus := map[int][]string{}
	for _, code := range o.codes(matches) {
		byStatus[kinds[code].status] = append(byStatus[kinds[code].status], code)
	}
	for status, codes := range byStatus {
		op.Responses[strconv.Itoa(status)] = h.problems(codes)
	}
	for status, words := range o.pages {
		op.Responses[strconv.Itoa(status)] = h.pageOrProblem(words, byStatus[status])
	}
	if o.conditional {
		op.Responses["304"] = &huma.Response{Description: "The record is the one that If-None-Match names"}
	}
}

// describeSuccess says what a success answers.
func (o *operation) describeSuccess(op *huma.Operation, registry huma.Registry) {
	answer := op.Responses[strconv.Itoa(o.status)]
	for _, field := range answer.Headers {
		field.Description, field.Schema.Description = field.Schema.Description, ""
	}
	if o.status != http.StatusCreated {
		delete(answer.Headers, "Location")
	}
	if o.bare {
		delete(answer.Headers, "ETag")
	}
	if media := answer.Content[jsonType]; media != nil && o.example != nil {
		media.Example = o.example
	}
	if o.answers != nil {
		answer.Content = map[string]*huma.MediaType{}
	}
	for media, t := range o.answers {
		content := &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString}}
		if t != nil {
			content.Schema = registry.Schema(t, true, "")
			content.Example = o.example
		}
		answer.Content[media] = content
	}
}

// codes are those of the problems that an operation may answer with.
func (o *operation) codes(matches bool) []string {
	list := append([]string{codeBadParameter, codeAccept, codeInternal}, o.problems...)
	if o.role != NoRole {
		list = append(list, codeNoPrincipal, codeRole, codeUnavailable)
	}
	if strings.Contains(o.path, "{") {
		list = append(list, codeNotFound)
	}
	if o.writes() {
		list = append(list, codeCrossSite, codeMediaType)
	}
	if o.body != nil {
		list = append(list, codeBadRequest, codeBadJSON, codeTooLarge, codeInvalid)
	}
	if o.changes {
		list = append(list, codeConflict, codeReadOnly, codeFull, codeStale)
	}
	if o.keyed {
		list = append(list, codeRunning, codeKeyReused, codeNotFound)
	}
	if matches {
		list = append(list, codeStale)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// problems is the answer with a problem of one of these codes, which have one status.
func (h *handler) problems(codes []string) *huma.Response {
	components := h.huma.OpenAPI().Components
	name := strings.Join(codes, ".")
	if components.Responses[name] == nil {
		r := &huma.Response{Content: map[string]*huma.MediaType{problemType: {
			Schema: components.Schemas.Schema(reflect.TypeFor[Problem](), true, ""), Examples: map[string]*huma.Example{},
		}}}
		var words []string
		for _, code := range codes {
			words = append(words, kinds[code].title+" (`"+code+"`)")
			r.Content[problemType].Examples[code] = &huma.Example{Ref: "#/components/examples/" + code}
			if kinds[code].status == http.StatusServiceUnavailable || code == codeRunning || code == codeThrottled {
				r.Headers = map[string]*huma.Header{"Retry-After": {Description: "Seconds to wait", Schema: &huma.Schema{Type: huma.TypeInteger}}}
			}
		}
		r.Description = strings.Join(words, ". ")
		components.Responses[name] = r
	}
	return &huma.Response{Ref: "#/components/responses/" + name}
}

// pageOrProblem is the answer with a page, or with a problem of one of these codes.
func (h *handler) pageOrProblem(words string, codes []string) *huma.Response {
	r := &huma.Response{Description: words, Content: map[string]*huma.MediaType{htmlType: {Schema: &huma.Schema{Type: huma.TypeString}}}}
	if codes != nil {
		same := h.huma.OpenAPI().Components.Responses[strings.Join(codes, ".")]
		r.Description += ". " + same.Description
		r.Content[problemType] = same.Content[problemType]
	}
	return r
}

func operationAt(item *huma.PathItem, method string) *huma.Operation {
	switch method {
	case http.MethodGet:
		return item.Get
	case http.MethodPost:
		return item.Post
	case http.MethodPut:
		return item.Put
	}
	return item.Delete
}
