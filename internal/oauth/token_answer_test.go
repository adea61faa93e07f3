package oauth

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/fetch"
)

func answered(status int, media, body string) *fetch.Response {
	return &fetch.Response{Status: status, Header: http.Header{"Content-Type": {media}}, Body: []byte(body)}
}

func TestReadToken(t *testing.T) {
	const typeJSON, typeForm, text = "application/json;charset=UTF-8", "application/x-www-form-urlencoded; charset=utf-8", "text/plain"
	for _, tt := range []struct {
		name        string
		status      int
		media, body string
		want        AccessToken
	}{
		{"as the RFC has it", 200, typeJSON, `{"access_token":"2YotnFZFEjr1zCsicMWpAA","token_type":"bearer","expires_in":3600,"refresh_token":"tGzv3JOkF0XG5Qx2TlKWIA","example_parameter":"x"}`,
			AccessToken{Value: "2YotnFZFEjr1zCsicMWpAA", Type: "Bearer", Life: time.Hour, Refresh: "tGzv3JOkF0XG5Qx2TlKWIA"}},
		{"201", 201, typeJSON, `{"access_token":"a"}`, AccessToken{Value: "a", Type: "Bearer"}},
		{"BEARER", 200, typeJSON, `{"access_token":"a","token_type":"BEARER"}`, AccessToken{Value: "a", Type: "Bearer"}},
		{"another type", 200, typeJSON, `{"access_token":"a","token_type":"Zoho-oauthtoken"}`, AccessToken{Value: "a", Type: "Zoho-oauthtoken"}},
		{"no type", 200, typeJSON, `{"access_token":"a","token_type":null}`, AccessToken{Value: "a", Type: "Bearer"}},
		{"no media type", 200, "", ` {"access_token":"a"} `, AccessToken{Value: "a", Type: "Bearer"}},
		{"JSON called text", 200, text, `{"access_token":"a"}`, AccessToken{Value: "a", Type: "Bearer"}},
		{"JSON called a page", 200, "text/html", `{"access_token":"a"}`, AccessToken{Value: "a", Type: "Bearer"}},
		{"a form", 200, typeForm, `access_token=gho_16C7e42F292c6912E7710c838347Ae178B4a&scope=repo%2Cgist&token_type=bearer`, AccessToken{Value: "gho_16C7e42F292c6912E7710c838347Ae178B4a", Type: "Bearer"}},
		{"a form called text", 200, text, "access_token=a&expires_in=60\n", AccessToken{Value: "a", Type: "Bearer", Life: time.Minute}},
		{"no refresh token", 200, typeJSON, `{"access_token":"a","refresh_token":null}`, AccessToken{Value: "a", Type: "Bearer"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ReadToken(answered(tt.status, tt.media, tt.body))
			if err != nil {
				t.Fatal(err)
			}
			if *got != tt.want {
				t.Errorf("got %+v", []any{got.Value, got.Type, got.Life, got.Refresh})
			}
			if strings.Contains(fmt.Sprintf("%v %+v %#v %s", got, got, got, got), got.Value+" ") {
				t.Error("a token shows itself")
			}
		})
	}
}

func TestReadTokenRefuses(t *testing.T) {
	for _, tt := range []struct {
		name        string
		media, body string
		err         string
	}{
		{"nothing", "", "", "is empty"},
		{"a page", "text/html; charset=utf-8", "<html>s3cret</html>", "is a web page"},
		{"a page called JSON", "application/json", "<html>s3cret</html>", "is a web page"},
		{"no object", "application/json", `["s3cret"]`, "not a JSON object"},
		{"half", "application/json", `{"access_token":"s3cret"`, "not valid JSON"},
		{"no token", "application/json", `{"token":"s3cret"}`, "has no access_token"},
		{"null", "application/json", `{"access_token":null}`, "has no access_token"},
		{"an empty one", "application/json", `{"access_token":""}`, "has no access_token"},
		{"a number", "application/json", `{"access_token":17}`, "access_token is no text"},
		{"a list", "application/json", `{"access_token":["s3cret"]}`, "access_token is no text"},
		{"a line break", "application/json", `{"access_token":"s3cret\r\nX: y"}`, "characters that no token has"},
		{"a space", "application/json", `{"access_token":"s3cret s3cret"}`, "characters that no token has"},
		{"not ASCII", "application/json", `{"access_token":"s3crét"}`, "characters that no token has"},
		{"twice", "application/json", `{"access_token":"a","access_token":"s3cret"}`, "member twice"},
		{"a refresh token of another type", "application/json", `{"access_token":"a","refresh_token":{}}`, "refresh_token is no text"},
		{"a type that is none", "application/json", `{"access_token":"a","token_type":"Bearer s3cret"}`, "token_type is no name"},
		{"a type that is a list", "application/json", `{"access_token":"a","token_type":["Bearer"]}`, "token_type is no name"},
		{"a long type", "application/json", `{"access_token":"a","token_type":"` + strings.Repeat("x", 41) + `"}`, "token_type is no name"},
		{"a form with a member twice", "text/plain", "access_token=a&access_token=s3cret", "member twice"},
		{"a bad form", "text/plain", "access_token=%zz&s3cret", "neither JSON nor a form"},
		{"a form called JSON", "application/json", "access_token=s3cret", "not valid JSON"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ReadToken(answered(200, tt.media, tt.body))
			if err == nil || !strings.Contains(err.Error(), tt.err) || strings.Contains(err.Error(), "s3cr") {
				t.Errorf("error %v, want %q", err, tt.err)
			}
		})
	}
}

func TestTokenFailures(t *testing.T) {
	for _, tt := range []struct {
		status      int
		media, body string
		want        string
		permanent   bool
	}{
		{400, "application/json", `{"error":"invalid_grant","error_description":"s3cret"}`, "the endpoint answers 400 invalid_grant", true},
		{401, "application/json", `{"error":"invalid_client"}`, "the endpoint answers 401 invalid_client", true},
		{200, "application/json", `{"error":"bad_verification_code"}`, "the endpoint answers 200 bad_verification_code", true},
		{200, "application/x-www-form-urlencoded", `error=bad_verification_code&error_description=s3cret`, "the endpoint answers 200 bad_verification_code", true},
		{400, "text/plain", `error=invalid_request`, "the endpoint answers 400 invalid_request", true},
		{403, "text/html", `<html>s3cret</html>`, "the endpoint answers 403", true},
		{404, "", ``, "the endpoint answers 404", true},
		{400, "application/json", `{"error":{"code":1}}`, "the endpoint answers 400", true},
		{400, "application/json", `{"error":"s3cret token"}`, "the endpoint answers 400", true},
		{200, "application/json", `{"error":"temporarily_unavailable"}`, "the endpoint answers 200 temporarily_unavailable", false},
		{400, "application/json", `{"error":"slow_down"}`, "the endpoint answers 400 slow_down", false},
		{408, "", "", "the endpoint answers 408", false},
		{429, "", "", "the endpoint answers 429", false},
		{500, "text/html", "<html>", "the endpoint answers 500", false},
		{503, "application/json", `{"error":"invalid_client"}`, "the endpoint answers 503 invalid_client", false},
	} {
		_, err := ReadToken(answered(tt.status, tt.media, tt.body))
		var f *Failure
		if !errors.As(err, &f) || f.Error() != tt.want || f.Permanent() != tt.permanent {
			t.Errorf("%d %s: %v", tt.status, tt.body, err)
		}
	}
	res := answered(429, "", "")
	res.Header.Set("Retry-After", "7")
	_, err := ReadToken(res)
	if f := (*Failure)(nil); !errors.As(err, &f) || f.Wait != 7*time.Second {
		t.Errorf("Retry-After: %v", err)
	}
}

func TestExpiresIn(t *testing.T) {
	for text, want := range map[string]time.Duration{
		`3600`: time.Hour, `"3600"`: time.Hour, `3600.9`: time.Hour, `1e3`: 1000 * time.Second, `1`: time.Second, `315360000`: longestLife,
		`0`: 0, `0.5`: 0, `-1`: 0, `-3600`: 0, `"-3600"`: 0, `""`: 0, `"1h"`: 0, `" 60"`: 0, `"60.0"`: 0, `"+60"`: 0, `null`: 0, `true`: 0, `[60]`: 0, `{}`: 0,
		`315360001`: 0, `1e99`: 0, `1e999`: 0, `9223372036854775808`: 0, `"9223372036854775808"`: 0, `18446744073709551617`: 0,
	} {
		got, err := ReadToken(answered(200, "application/json", `{"access_token":"a","expires_in":`+text+`}`))
		if err != nil || got.Life != want {
			t.Errorf("%s: %v, want %v (%v)", text, got.Life, want, err)
		}
	}
}

func TestScheme(t *testing.T) {
	for kind, ok := range map[string]bool{"Bearer": true, "token": true, "SSWS": true, "DPoP": false, "dpop": false, "mac": false, "PoP": false, "N_A": false, "n_a": false} {
		got, err := (&AccessToken{Type: kind}).Scheme()
		if ok && (err != nil || got != kind) || !ok && (err == nil || !strings.Contains(err.Error(), kind)) {
			t.Errorf("%s: %q %v", kind, got, err)
		}
	}
}

// FuzzReadToken: whatever an endpoint answers, it is a token that can be sent or an error
// that quotes nothing.
func FuzzReadToken(f *testing.F) {
	f.Add(200, "application/json", `{"access_token":"a","token_type":"bearer","expires_in":3600,"refresh_token":"b"}`)
	f.Add(200, "text/plain", "access_token=a&token_type=bearer&expires_in=1")
	f.Add(400, "application/json", `{"error":"invalid_grant"}`)
	f.Fuzz(func(t *testing.T, status int, media, body string) {
		token, err := ReadToken(answered(status, media, body))
		if (token == nil) == (err == nil) {
			t.Fatalf("%v and %v", token, err)
		}
		if err != nil {
			if len(err.Error()) > 200 || !json.Valid([]byte(`"`+strings.ReplaceAll(err.Error(), `"`, "")+`"`)) {
				t.Errorf("error %q", err)
			}
			return
		}
		for _, text := range []string{token.Value, token.Refresh, token.Type} {
			if u, err := url.Parse("https://h/?" + url.QueryEscape(text)); err != nil || u.Fragment != "" || strings.ContainsAny(text, " \r\n\x00") {
				t.Errorf("%q cannot be sent", text)
			}
		}
		if token.Value == "" || token.Type == "" || token.Life < 0 || token.Life > longestLife || status < 200 || status > 299 {
			t.Errorf("%d: %+v", status, token.Life)
		}
	})
}
