package idp

import (
	"encoding/json"
	"net/url"
	"testing"
)

// post sends a form to the token endpoint, and returns the status and the answer.
func post(t *testing.T, s *Tokens, form url.Values) (int, map[string]any) {
	t.Helper()
	req, err := formRequest(s.URL(), "rr", form)
	if err != nil {
		t.Fatal(err)
	}
	status, text, err := send(req)
	if err != nil {
		t.Fatal(err)
	}
	var answer map[string]any
	if err := json.Unmarshal(text, &answer); err != nil {
		t.Fatalf("%d %s", status, text)
	}
	return status, answer
}

func TestRefreshTokensComeOnce(t *testing.T) {
	s := NewTokens(t, TokenClient{ID: "rr", Auth: "client_secret_basic", Secret: ExternalSecret("rr")})
	s.Rotate()
	use := func(token string) (status int, next string) {
		t.Helper()
		status, answer := post(t, s, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}})
		next, _ = answer["refresh_token"].(string)
		if status == 200 && !s.Good("Bearer "+answer["access_token"].(string)) {
			t.Error("the access token is not good")
		}
		return status, next
	}
	first := s.Grant("rr")
	_, second := use(first)
	status, third := use(second)
	if status != 200 || second == first || third == second || s.Current(first) != third {
		t.Fatalf("%d; %q, %q, %q", status, first, second, third)
	}
	if status, _ := use(first); status != 400 || s.Reused() != 1 {
		t.Errorf("a stolen one: %d", status)
	}
	if status, _ := use(third); status != 400 || s.Current(first) != "" {
		t.Errorf("after a theft: %d", status)
	}
	other := s.Grant("another")
	if status, _ := use(other); status != 400 {
		t.Errorf("another client's: %d", status)
	}
	if len(s.Requests()) != 5 || s.Count() != 5 {
		t.Errorf("%d requests", s.Count())
	}
}
