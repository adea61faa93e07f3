package api

import (
	"context"
	"errors"
	"html"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddy-rr/caddy-rr/internal/strictjson"
	"github.com/caddy-rr/caddy-rr/store"
)

// ConsentRequest begins a consent (OAuth 2.0 authorization code).
type ConsentRequest struct {
	RedirectURI string `json:"redirectUri,omitempty" format:"uri" doc:"Where the provider sends the browser afterwards, as it is registered there. Default: /oauth2/callback below the public URL of the API, where the configuration says one"`
}

// Consent is a consent that somebody has to give.
type Consent struct {
	AuthorizationURL string `json:"authorizationUrl" doc:"To be opened in a browser by whoever consents, within ten minutes" example:"https://login.example.com/authorize?client_id=…"`
	RedirectURI      string `json:"redirectUri" doc:"Where the browser comes back to"`
	Message          string `json:"message" example:"Success"`
}

type consentIn struct {
	One
	Raw
}

type consentOut struct{ Body Consent }

// callbackPath is where browsers come back to, below the mount.
const callbackPath = "/oauth2/callback"

func (h *handler) authorize(ctx context.Context, in *consentIn) (*consentOut, error) {
	if _, err := h.credentials.get(ctx, in.Client, in.ID); err != nil {
		return nil, h.credentials.missing(err)
	}
	redirect, err := h.redirectURI(requestOf(ctx), in.data())
	if err != nil {
		return nil, err
	}
	target, err := h.catalogue.BeginConsent(ctx, principalOf(ctx).Actor, in.Client, in.ID, redirect)
	if err != nil {
		return nil, err
	}
	return &consentOut{Consent{target, redirect, success}}, nil
}

// redirectURI is where a browser is sent after a consent.
func (h *handler) redirectURI(r *http.Request, body []byte) (string, error) {
	given := ""
	if len(body) > 0 {
		members, err := object(body, "redirectUri")
		if err != nil {
			return "", err
		}
		if given, err = text(members, "redirectUri"); err != nil {
			return "", err
		}
	}
	if given == "" {
		if base := h.base(r); base != "" {
			return base + callbackPath, nil
		}
		return "", badMember("/redirectUri", "it is needed: the gateway does not know by which address it is reached")
	}
	u, err := url.Parse(given)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "":
		return "", badMember("/redirectUri", "it has to be an absolute address without user and fragment")
	case u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())):
		return "", badMember("/redirectUri", "it has to be https, or http to loopback")
	}
	return given, nil
}

// base is the public address of the mount, empty if it is not known.
func (h *handler) base(r *http.Request) string {
	switch {
	case h.options.BaseURL != "":
		return h.options.BaseURL
	case !h.options.TrustHost || r.Host == "":
		return ""
	}
	u := url.URL{Scheme: "http", Host: r.Host, Path: h.options.Prefix}
	if r.TLS != nil {
		u.Scheme = "https"
	}
	if parsed, err := url.Parse(u.String()); err != nil || parsed.Host != r.Host {
		return ""
	}
	return u.String()
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

type callbackIn struct {
	State string `query:"state" required:"true" doc:"What the authorizationUrl had: it proves that the consent was asked for here"`
	Code  string `query:"code" doc:"What the provider gives for a token"`
	Error string `query:"error" doc:"Why the provider gives none"`
}

type pageOut struct {
	Status   int
	Type     string `header:"Content-Type"`
	Security string `header:"Content-Security-Policy"`
	Referrer string `header:"Referrer-Policy"`
	Body     []byte
}

// callback ends a consent. Whoever has the state was sent to the provider from here. The
// page has nothing of what the address says.
func (h *handler) callback(ctx context.Context, _ *callbackIn) (*pageOut, error) {
	r := requestOf(ctx)
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err == nil {
		_, _, err = h.catalogue.EndConsent(ctx, query)
	}
	if err == nil {
		return page(http.StatusOK, "Consent received", "The gateway has what it needs. You can close this window."), nil
	}
	p := problemOf(err, store.Credentials)
	switch {
	case errors.Is(err, store.ErrNotFound) || p.Status == http.StatusUnprocessableEntity || p.Status == http.StatusConflict:
		return page(http.StatusBadRequest, "Consent not received", "This address is not, or no longer, one that the gateway waits for. Begin the consent anew."), nil
	case p.Status == http.StatusInternalServerError:
		h.log.WarnContext(ctx, "a consent could not be ended", "error", err.Error())
		return page(http.StatusBadGateway, "Consent not received", "The provider did not give a token. The gateway's log says why."), nil
	}
	return page(p.Status, "Consent not received", "The gateway cannot store it at the moment. Begin the consent anew later."), nil
}

// page is a small HTML page.
func page(status int, title, words string) *pageOut {
	var b strings.Builder
	b.WriteString("<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n<title>")
	b.WriteString(html.EscapeString(title))
	b.WriteString("</title>\n<h1>" + html.EscapeString(title) + "</h1>\n<p>" + html.EscapeString(words) + "</p>\n</html>\n")
	return &pageOut{
		Status: status, Type: htmlType, Referrer: "no-referrer", Body: []byte(b.String()),
		Security: "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
	}
}

// object decodes a body that is an object with some of these members.
func object(body []byte, names ...string) (map[string]any, error) {
	members, err := strictjson.Object(body, strictjson.Options{NoNUL: true})
	if err != nil {
		return nil, badMember("", "%s", err)
	}
	known := map[string]bool{}
	for _, name := range names {
		known[name] = true
	}
	for name := range members {
		if !known[name] {
			return nil, badMember("", "there is a member that is not known here: %s are", strings.Join(names, ", "))
		}
	}
	return members, nil
}

// text is a member that is a string; empty if it is not there.
func text(members map[string]any, name string) (string, error) {
	switch v := members[name].(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	}
	return "", badMember("/"+name, "it has to be a string")
}

// truth is a member that is true or false; false if it is not there.
func truth(members map[string]any, name string) (bool, error) {
	switch v := members[name].(type) {
	case nil:
		return false, nil
	case bool:
		return v, nil
	}
	return false, badMember("/"+name, "it has to be true or false")
}
