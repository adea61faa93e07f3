package test

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

// GitHub's token endpoint answers in another format than JSON unless it is asked for JSON.
// Sources: coupergateway/couper#307
// Here: The endpoint is told `Accept: application/json`, and the form in which GitHub answers otherwise is read too.
func TestPeer_couper_307_AskForJSON(t *testing.T) {
	s := newTokens(t)
	s.Fault(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept") == "application/json" {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"access_token":"gho_json","token_type":"bearer"}`)
		}
	})
	g, u := startOAuth2(t, s, byBasic)
	u.Handle("", rrtest.Echo)
	g.get("/p/", withKey).want(t, 200, "proxy-access-granted")
	if got := one(t, u).Header.Get("Authorization"); got != "Bearer gho_json" {
		t.Errorf("the upstream got %q", got)
	}
	s.Raw("application/x-www-form-urlencoded", "access_token=gho_form&token_type=bearer")
	if err := g.reload(strings.Replace(oauth2Proxy, "LINES", "LINES\nparam a b", 1)); err != nil {
		t.Fatal(err)
	}
	g.get("/p/", withKey).want(t, 200, "proxy-access-granted")
	if got := one(t, u).Header.Get("Authorization"); got != "Bearer gho_form" {
		t.Errorf("the upstream got %q", got)
	}
}

// The client's id and secret went into Basic as they are, so that those with special characters were read as
// others.
// Sources: coupergateway/couper#537, RFC 6749 section 2.3.1
// Here: Both are form-encoded before they are joined and encoded for Basic.
func TestPeer_couper_537_IdAndSecretAreEncodedForBasic(t *testing.T) {
	const id, secret = "r:r%20+ü", "s:ecret+/%&= ü"
	s := newTokens(t)
	s.Fault(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		u, err1 := url.QueryUnescape(user)
		p, err2 := url.QueryUnescape(password)
		if err1 != nil || err2 != nil || u != id || p != secret {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"access_token":"at-1"}`)
	})
	t.Setenv("RR_ID", id)
	t.Setenv("RR_SECRET", secret)
	g, u := startOAuth2(t, s, "grant client_credentials\ntoken_url TOKENURL\nclient_id {env.RR_ID}\nclient_secret {env.RR_SECRET}")
	u.Handle("", rrtest.Echo)
	g.get("/p/", withKey).want(t, 200, "proxy-access-granted")
}

// Requests to the token endpoint were repeated where repeating could not help.
// Sources: coupergateway/couper#529, neondatabase/mcp-server-neon#231
// Here: A refusal by the endpoint is remembered for a while; callers get 502 without another request to
// it. A 5xx is tried again after a pause that grows.
func TestPeer_couper_529_ARefusalIsNotRepeated(t *testing.T) {
	for _, status := range []int{400, 401, 403, 500, 503} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			s := newTokens(t)
			s.Status(status)
			g, u := startOAuth2(t, s, byBasic)
			for range 20 {
				g.get("/p/", withKey).want(t, 502, "target-credential-failed")
			}
			if n := s.Count(); n > 2 {
				t.Errorf("the endpoint was asked %d times", n)
			}
			silent(t, u)
			s.Fault(nil)
			if status >= 500 {
				rrtest.Eventually(t, "it is tried again", func() bool { return g.get("/p/", withKey).Status == 200 })
			}
		})
	}
}

// The endpoint did not say how long the token lives, which was taken for no time at all, and so each request fetched a token
// of its own.
// Sources: coupergateway/couper
// Here: Without `expires_in`, or with one that makes no sense, a token serves for five minutes.
func TestPeer_Requirement_ATokenWithoutExpiresIn(t *testing.T) {
	for name, value := range map[string]any{"none": nil, "zero": 0, "negative": -1, "text": "x"} {
		t.Run(name, func(t *testing.T) {
			s := newTokens(t)
			s.Members(map[string]any{"expires_in": value})
			g, _ := startOAuth2(t, s, byBasic)
			for range 20 {
				g.get("/p/", withKey).want(t, 200, "proxy-access-granted")
			}
			if n := s.Count(); n != 1 {
				t.Errorf("%d tokens for 20 requests", n)
			}
		})
	}
}

// Only status 200 was taken for success; GitHub answers 201.
// Sources: superfly/tokenizer#53
// Here: Any 2xx with a token in it is an answer.
func TestPeer_tokenizer_53_Any2xx(t *testing.T) {
	for _, status := range []int{200, 201, 202, 203} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			s := newTokens(t)
			s.Fault(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(status)
				fmt.Fprint(w, `{"access_token":"at-1","expires_in":3600}`)
			})
			g, u := startOAuth2(t, s, byBasic)
			u.Handle("", rrtest.Echo)
			g.get("/p/", withKey).want(t, 200, "proxy-access-granted")
		})
	}
}

// Some vendors want the client's id in the form when a token is refreshed; it was left out.
// Sources: onecli/onecli#433, onecli/onecli#434
// Here: A client that authenticates in the form, or not at all, has its id there for every grant.
func TestPeer_onecli_434_TheFormHasTheClient(t *testing.T) {
	for _, auth := range []string{"post", "none"} {
		t.Run(auth, func(t *testing.T) {
			client := idp.TokenClient{ID: "rr", Auth: "client_secret_post", Secret: oauth2Secret}
			lines := "grant refresh_token\ntoken_url TOKENURL\nclient_id rr\nclient_auth " + auth + "\nrefresh_token {env.RR_REFRESH}"
			if auth == "none" {
				client = idp.TokenClient{ID: "rr", Auth: "none"}
			} else {
				lines += "\nclient_secret {env.OAUTH_SECRET}"
			}
			s := idp.NewTokens(t, client)
			t.Setenv("RR_REFRESH", s.Grant("rr"))
			g, _ := startOAuth2(t, s, lines)
			g.get("/p/", withKey).want(t, 200, "proxy-access-granted")
			if form := s.Last(); form.Get("client_id") != "rr" || form.Get("grant_type") != "refresh_token" {
				t.Errorf("the endpoint got %v", form)
			}
		})
	}
}

// Requests to token endpoints had no limit of time; one that hung held all callers.
// Sources: agentgateway/agentgateway#2401, agentgateway/agentgateway#2410, agentgateway/agentgateway#2637
// Here: A caller waits for at most `timeout`, and is answered 502.
func TestPeer_agentgateway_2401_AnEndpointThatHangs(t *testing.T) {
	s := newTokens(t)
	g, u := startOAuth2(t, s, byBasic+"\ntimeout 1s")
	resume := s.Hang()
	begun := time.Now()
	g.get("/p/", withKey).want(t, 502, "target-credential-failed")
	if took := time.Since(begun); took > 4*time.Second {
		t.Errorf("the caller waited for %v", took)
	}
	silent(t, u)
	resume()
	rrtest.Eventually(t, "it goes on", func() bool { return g.get("/p/", withKey).Status == 200 })
}

// Token endpoints want parameters that could not be sent, such as audience and resource.
// Sources: envoyproxy/envoy#42037
// Here: `audience`, `resource`, `scopes` with a separator, and any `param`.
func TestPeer_envoy_42037_ParametersOfTheTokenRequest(t *testing.T) {
	s := newTokens(t)
	g, _ := startOAuth2(t, s, byBasic+"\naudience https://a.example\nresource https://r.example/x\nscopes a b\nscope_separator \",\"\nparam organization org_1")
	g.get("/p/", withKey).want(t, 200, "proxy-access-granted")
	want := url.Values{"grant_type": {"client_credentials"}, "audience": {"https://a.example"}, "resource": {"https://r.example/x"}, "scope": {"a,b"}, "organization": {"org_1"}}
	if form := s.Last(); form.Encode() != want.Encode() {
		t.Errorf("the endpoint got %v", form)
	}
}

// A client that authenticates by its certificate could not be configured.
// Sources: envoyproxy/envoy#39183, envoyproxy/envoy#47308, RFC 8705 section 2
// Here: `client_auth mtls` shows the certificate at the token endpoint.
func TestPeer_envoy_39183_ClientCertificates(t *testing.T) {
	ca, clients := rrtest.NewCA(t), rrtest.NewCA(t)
	cert, key := clients.Files(t, "rr.example")
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	s := idp.NewTLSTokens(t, ca.Leaf(t, "127.0.0.1"), idp.TokenClient{ID: "rr", Auth: "tls_client_auth", Certificate: pair.Leaf})
	g, _ := startOAuth2(t, s, "grant client_credentials\ntoken_url TOKENURL\nclient_id rr\nclient_auth mtls\ncertificate {file."+cert+"}\nkey {file."+key+"}\nca {file."+ca.File+"}")
	g.get("/p/", withKey).want(t, 200, "proxy-access-granted")
	if r := s.Requests()[0]; r.Certificate == nil || r.Header.Get("Authorization") != "" {
		t.Errorf("the endpoint got %v", r.Header)
	}
}

// The answer of a token endpoint, with its error and what it quotes, went on to the caller.
// Sources: coupergateway/couper, apache/apisix
// Here: Callers get 502 with a fixed text; the log has the endpoint's status and error code, and never its words.
func TestPeer_Requirement_ErrorsOfTheEndpointStayHere(t *testing.T) {
	s := newTokens(t)
	s.Fault(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"error":"invalid_client","error_description":"client rr with %s at 10.0.0.7"}`, oauth2Secret)
	})
	g, _ := startOAuth2(t, s, byBasic)
	a := g.get("/p/", withKey)
	a.want(t, 502, "target-credential-failed")
	shown := fmt.Sprint(a.Header, a.Body)
	for _, word := range []string{oauth2Secret, "10.0.0.7", "invalid_client", "127.0.0.1"} {
		if strings.Contains(strings.ReplaceAll(shown, g.addr, ""), word) {
			t.Errorf("the caller reads %q in %s", word, shown)
		}
	}
	g.refusal(func(e map[string]any) bool { return strings.Contains(fmt.Sprint(e["reason"]), "400 invalid_client") })
	noSecrets(t, g, "10.0.0.7")
}
