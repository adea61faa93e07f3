package api

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/caddy-rr/caddy-rr/internal/catalog"
	"github.com/caddy-rr/caddy-rr/internal/exchange"
	"github.com/caddy-rr/caddy-rr/internal/wire"
	"github.com/caddy-rr/caddy-rr/store"
)

type (
	credentialsIn struct {
		Owned
		Page
		Name      string `query:"name" maxLength:"512" doc:"The credential of this name"`
		Side      Side   `query:"credentialType" doc:"Credentials of one side"`
		AuthType  string `query:"credentialAuthType" maxLength:"64" doc:"Credentials of one kind, under any of its names" example:"jwtVerify"`
		Temporary Flag   `query:"includeTemporary" doc:"Whether to list credentials that nobody has consented to yet"`
	}
	targetsIn struct {
		Owned
		Page
		Name string `query:"name" maxLength:"512" doc:"The target of this name"`
	}
	proxiesIn struct {
		Owned
		Page
		Name  string `query:"name" maxLength:"512" doc:"The proxy of this name"`
		Alias string `query:"alias" maxLength:"512" doc:"The proxy of this alias"`
	}
	rotateIn struct {
		One
		Match
		Keyed
		Raw
	}
	checkIn struct {
		One
		Raw
	}
)

func (h *handler) credentialOperations() {
	s := h.credentials
	add(h, operation{
		id: "listCredentials", method: http.MethodGet, path: "/clients/{client}/credentials", tag: s.plural, role: Reader, kind: s.plural,
		summary: "List a client's credentials", text: "In the order of their ids, which is that of creation.", example: exampleCredentials,
	}, h.listCredentials)
	recordOperations(h, s, recordTexts{
		id: "Credential", a: "a credential",
		createText: "A `key` proxy credential without a secret is given a key, which this answer alone shows.",
		putText:    "What the body says replaces what is there, what it does not say stays: so does an absent secret. A record as GET answered can be sent back.",
		deleteText: "The next request with it is refused, and open streams of its callers end. What proxies use is deleted with `force` alone.",
		body:       takes[wire.CredentialRequest](exampleCredentialRequest), made: exampleCredentialMade, example: exampleCredentials,
	})
	rotation := takes[wire.RotateRequest](exampleRotateRequest)
	rotation.optional = true
	add(h, operation{
		id: "rotateCredential", method: http.MethodPost, path: "/clients/{client}/credentials/{id}/rotate", tag: s.plural, role: Editor, kind: s.plural, changes: true, keyed: true,
		summary: "Give a credential a new secret", text: "It is accepted, or presented, at once. What callers have by then is accepted for `overlap` more.",
		body: rotation, example: exampleCredentialMade,
	}, func(ctx context.Context, in *rotateIn) (*recordOut[Credentials], error) {
		c, err := in.condition()
		if err != nil {
			return nil, err
		}
		body := in.data()
		return s.replace(ctx, h, in.Client, in.ID, "rotate", c, func(old *store.Credential) (*store.Credential, *wire.Generated, error) {
			return wire.DecodeRotate(body, old, h.now())
		})
	})
	consent := takes[ConsentRequest](exampleConsentRequest)
	consent.optional = true
	add(h, operation{
		id: "authorizeCredential", method: http.MethodPost, path: "/clients/{client}/credentials/{id}/oauth2/authorize", tag: s.plural, role: Editor, kind: s.plural, changes: true,
		summary: "Ask somebody for consent", text: "For `oauth2` credentials with the grant `authorization_code`: a browser is sent to `authorizationUrl`, and comes back to this API.",
		body: consent, example: exampleConsent,
	}, h.authorize)
}

func (h *handler) listCredentials(ctx context.Context, in *credentialsIn) (*listOut[Credentials], error) {
	temporary, err := in.Temporary.value("includeTemporary")
	if err != nil {
		return nil, err
	}
	if in.Side != "" && in.Side != store.ProxySide && in.Side != store.TargetSide {
		return nil, badParameter("credentialType", "it has to be proxy or target")
	}
	return h.credentials.page(ctx, in.Client, &in.Page, catalog.Query{Name: in.Name, Side: string(in.Side), AuthType: in.AuthType, Temporary: temporary})
}

func (h *handler) targetOperations() {
	s := h.targets
	add(h, operation{
		id: "listTargets", method: http.MethodGet, path: "/clients/{client}/targets", tag: s.plural, role: Reader, kind: s.plural,
		summary: "List a client's targets", text: "In the order of their ids, which is that of creation.", example: exampleTargets,
	}, func(ctx context.Context, in *targetsIn) (*listOut[Targets], error) {
		return s.page(ctx, in.Client, &in.Page, catalog.Query{Name: in.Name})
	})
	recordOperations(h, s, recordTexts{
		id: "Target", a: "a target",
		createText: "Private, loopback, link-local and metadata addresses are refused unless the operator allows them.",
		putText:    "What the body says replaces what is there, what it does not say stays.",
		deleteText: "What proxies use is deleted with `force` alone; they answer 503 then.",
		body:       takes[wire.TargetRequest](exampleTargetRequest), example: exampleTargets,
	})
}

func (h *handler) proxyOperations() {
	s := h.proxies
	add(h, operation{
		id: "listProxies", method: http.MethodGet, path: "/clients/{client}/proxies", tag: s.plural, role: Reader, kind: s.plural,
		summary: "List a client's proxies", text: "In the order of their ids, which is that of creation.", example: exampleProxies,
	}, func(ctx context.Context, in *proxiesIn) (*listOut[Proxies], error) {
		return s.pageOf(ctx, in.Client, &in.Page, catalog.Query{Name: in.Name}, func(r *store.Proxy) bool { return in.Alias == "" || in.Alias == r.Alias })
	})
	recordOperations(h, s, recordTexts{
		id: "Proxy", a: "a proxy",
		createText: "Callers reach it by its id, its alias, or, of the client `default`, its name.",
		putText:    "What the body says replaces what is there, what it does not say stays.",
		deleteText: "The next request to it is refused.",
		body:       takes[wire.ProxyRequest](exampleProxyRequest), example: exampleProxies,
	})
	add(h, operation{
		id: "checkProxy", method: http.MethodPost, path: "/clients/{client}/proxies/{id}/check", tag: s.plural, role: Editor, kind: "check", problems: []string{codeThrottled},
		summary: "Tell what would happen to a request", text: "Nothing is sent to the upstream. Keys of issuers are fetched, and introspection endpoints asked, as the gateway would.",
		body: takes[wire.CheckRequest](exampleCheckRequest), example: exampleCheck,
	}, h.check)
	add(h, operation{
		id: "testProxy", method: http.MethodPost, path: "/clients/{client}/proxies/{id}/test", tag: s.plural, role: Editor, kind: "test",
		summary: "Try a proxy's target", text: "Sends a GET for the target's `targetTestPath` with the target credential, as the gateway would for a caller. Rules are not asked. 409 if the target has no test path.",
		example: exampleTrial,
	}, h.test)
}

// Check is what would happen to a request.
type Check struct {
	Decision   string      `json:"decision" doc:"The code that RR-Proxy-Code would have" example:"proxy-access-granted"`
	Status     int         `json:"status,omitempty" doc:"The refusal's status; none: it would be forwarded" example:"403"`
	Credential string      `json:"credential,omitempty" doc:"The credential that recognises the caller"`
	Upstream   string      `json:"upstream,omitempty" doc:"Where it would go"`
	Rules      []CheckStep `json:"rules" doc:"What was looked at, in order: verifiers, then the rules of each scope"`
	Message    string      `json:"message" example:"Success"`
}

// CheckStep is one thing that was looked at.
type CheckStep struct {
	Scope  string `json:"scope" doc:"Whose it is" example:"proxy"`
	What   string `json:"what" doc:"The verifier or rule" example:"allow GET /v1/*"`
	Result string `json:"result" doc:"What it says" example:"matches"`
}

// beforeCallers are decisions for which nobody looks at the caller.
var beforeCallers = []string{exchange.CodeGranted, exchange.CodeMethodRefused, exchange.CodeLoop, exchange.CodeBadPath, exchange.CodeIncomplete}

type checkOut struct{ Body Check }

func (h *handler) check(ctx context.Context, in *checkIn) (*checkOut, error) {
	r, err := wire.DecodeCheck(in.data())
	if err != nil {
		return nil, err
	}
	request, err := r.Request(ctx)
	if err != nil {
		return nil, badMember("/path", "%s", err)
	}
	who := principalOf(ctx).Actor
	over, wait := h.guesses.begin(who.Kind+" "+who.Name, h.now())
	if over == nil {
		return nil, problem(codeThrottled, "too many checks were about callers that are not recognised").again(wait)
	}
	bare := len(request.Header) == 0 && request.URL.RawQuery == "" // nobody can be recognised by it
	guessed := true                                                // whatever comes of it, even a panic
	defer func() { over(guessed) }()
	report, err := h.catalogue.Check(ctx, in.Client, in.ID, request)
	if err != nil {
		guessed = !errors.Is(err, store.ErrNotFound)
		return nil, h.proxies.missing(err)
	}
	guessed = report.Credential == "" && !bare && !slices.Contains(beforeCallers, report.Decision)
	out := &checkOut{Check{report.Decision, report.Status, report.Credential, report.Upstream, []CheckStep{}, success}}
	for _, s := range report.Steps {
		out.Body.Rules = append(out.Body.Rules, CheckStep{s.Scope, s.What, s.Result})
	}
	return out, nil
}
