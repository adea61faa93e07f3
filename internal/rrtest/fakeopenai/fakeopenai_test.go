package fakeopenai

import (
	"net/http/httptest"
	"strings"
	"testing"
)

func call(method, path, auth, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if auth != "" {
		r.Header.Set("Authorization", auth)
	}
	w := httptest.NewRecorder()
	New("sk-vendor", 0).ServeHTTP(w, r)
	return w
}

func TestOnlyTheVendorsKeyIsAnswered(t *testing.T) {
	for auth, want := range map[string]int{"": 401, "Bearer rr_live_x": 401, "sk-vendor": 401, "Bearer sk-vendor": 200} {
		w := call("GET", "/v1/models", auth, "")
		if w.Code != want {
			t.Errorf("%q: got %d, want %d", auth, w.Code, want)
		}
		if w.Code == 401 && !strings.Contains(w.Body.String(), `"type":"invalid_request_error"`) {
			t.Errorf("%q: not the vendor's form of an error: %s", auth, w.Body)
		}
		if strings.Contains(w.Body.String(), "rr_live_x") {
			t.Errorf("the error repeats the key: %s", w.Body)
		}
	}
}

func TestCompletions(t *testing.T) {
	const messages = `"messages":[{"role":"system","content":"be brief"},{"role":"user","content":"good morning all"}]`
	for _, tt := range []struct {
		name, path, body string
		status           int
		want             []string
	}{
		{"a whole one says the last message and counts words", "/v1/chat/completions", `{"model":"gpt-fake",` + messages + `}`,
			200, []string{`"finish_reason":"stop"`, `"content":"good morning all"`, `"total_tokens":8`}},
		{"a stream has a chunk for each word and an end", "/v1/chat/completions", `{"model":"gpt-fake","stream":true,` + messages + `}`,
			200, []string{`"content":"good"`, `"content":" morning"`, `"content":" all"`, `"finish_reason":"stop"`, "data: [DONE]\n\n"}},
		{"a stream has the usage when asked", "/v1/chat/completions", `{"model":"gpt-fake","stream":true,"stream_options":{"include_usage":true},` + messages + `}`,
			200, []string{`"choices":[]`, `"total_tokens":8`, "data: [DONE]\n\n"}},
		{"another model is not there", "/v1/chat/completions", `{"model":"other",` + messages + `}`, 404, []string{`"code":"model_not_found"`}},
		{"a request without messages is refused", "/v1/chat/completions", `{"model":"gpt-fake"}`, 400, []string{`"code":null`}},
		{"another path is not there", "/v1/else", ``, 404, []string{`"code":"unknown_url"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := call("POST", tt.path, "Bearer sk-vendor", tt.body)
			if w.Code != tt.status {
				t.Errorf("got %d, want %d", w.Code, tt.status)
			}
			at := 0
			for _, part := range tt.want {
				i := strings.Index(w.Body.String()[at:], part)
				if i < 0 {
					t.Fatalf("no %s after byte %d of:\n%s", part, at, w.Body)
				}
				at += i
			}
		})
	}
	if body := call("POST", "/v1/chat/completions", "Bearer sk-vendor", `{"model":"gpt-fake","stream":true,`+messages+`}`).Body.String(); strings.Contains(body, "total_tokens") {
		t.Error("a stream has the usage although nobody asked")
	}
}

func TestModels(t *testing.T) {
	if w := call("GET", "/v1/models/gpt-fake", "Bearer sk-vendor", ""); w.Code != 200 || !strings.Contains(w.Body.String(), `"object":"model"`) {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	if w := call("GET", "/v1/models/other", "Bearer sk-vendor", ""); w.Code != 404 {
		t.Errorf("got %d", w.Code)
	}
}
