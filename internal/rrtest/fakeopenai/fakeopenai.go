// Package fakeopenai speaks as much of OpenAI's HTTP API as its official SDKs need for
// models and chat completions, streamed or whole. The model says the last message back.
// Every call must carry the vendor's key, so an answer proves that the caller's was
// replaced.
package fakeopenai

import (
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Model is the one model there is.
const Model = "gpt-fake"

// created is the time in all answers, in Unix seconds: they are the same at every run.
const created = 1767225600

// New returns the API. key is the vendor's key; pace is the pause before each chunk of a
// stream but the first.
func New(key string, pace time.Duration) http.Handler {
	s := &server{pace: pace}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/models", s.models)
	mux.HandleFunc("GET /v1/models/{id}", s.model)
	mux.HandleFunc("POST /v1/chat/completions", s.complete)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, http.StatusNotFound, "unknown_url", fmt.Sprintf("Unknown request URL: %s %s.", r.Method, r.URL.Path))
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		switch {
		case !bearer:
			fail(w, http.StatusUnauthorized, "", "No API key was provided: send it as a bearer token in the Authorization header.")
		case subtle.ConstantTimeCompare([]byte(given), []byte(key)) != 1:
			fail(w, http.StatusUnauthorized, "invalid_api_key", "Incorrect API key provided.")
		default:
			mux.ServeHTTP(w, r)
		}
	})
}

type server struct{ pace time.Duration }

// fail answers in the vendor's form of errors. An empty code is sent as null.
func fail(w http.ResponseWriter, status int, code, message string) {
	body := map[string]any{"message": message, "type": "invalid_request_error", "param": nil, "code": nil}
	if code != "" {
		body["code"] = code
	}
	answer(w, status, map[string]any{"error": body})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Request-Id", "req_fake")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func (s *server) models(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{"object": "list", "data": []any{model}})
}

func (s *server) model(w http.ResponseWriter, r *http.Request) {
	if r.PathValue("id") != Model {
		fail(w, http.StatusNotFound, "model_not_found", "The model does not exist.")
		return
	}
	answer(w, http.StatusOK, model)
}

var model = map[string]any{"id": Model, "object": "model", "created": created, "owned_by": "fake"}

// chat is a request for a completion, as far as the fake looks at it.
type chat struct {
	Model    string `json:"model"`
	Messages []struct {
		Role    string `json:"role"`
		Content string `json:"content"`
	} `json:"messages"`
	Stream        bool `json:"stream"`
	StreamOptions struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`
}

// usage counts words, where the vendor counts tokens.
type usage struct {
	Prompt     int `json:"prompt_tokens"`
	Completion int `json:"completion_tokens"`
	Total      int `json:"total_tokens"`
}

func (s *server) complete(w http.ResponseWriter, r *http.Request) {
	var c chat
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&c); err != nil || len(c.Messages) == 0 {
		fail(w, http.StatusBadRequest, "", "The body is not a chat completion request with text messages.")
		return
	}
	if c.Model != Model {
		fail(w, http.StatusNotFound, "model_not_found", "The model does not exist.")
		return
	}
	words := strings.Fields(c.Messages[len(c.Messages)-1].Content)
	var u usage
	for _, m := range c.Messages {
		u.Prompt += len(strings.Fields(m.Content))
	}
	u.Completion, u.Total = len(words), u.Prompt+len(words)
	if c.Stream {
		s.stream(w, r, words, u, c.StreamOptions.IncludeUsage)
		return
	}
	answer(w, http.StatusOK, map[string]any{
		"id": "chatcmpl-fake", "object": "chat.completion", "created": created, "model": Model, "usage": u,
		"choices": []any{map[string]any{
			"index": 0, "finish_reason": "stop", "logprobs": nil,
			"message": map[string]any{"role": "assistant", "content": strings.Join(words, " "), "refusal": nil},
		}},
	})
}

// stream sends one chunk for the role, one for each word, one with the reason to stop, one
// with the usage if that was asked for, and the mark of the end.
func (s *server) stream(w http.ResponseWriter, r *http.Request, words []string, u usage, withUsage bool) {
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	w.Header().Set("X-Request-Id", "req_fake")
	send := func(data []byte) {
		fmt.Fprintf(w, "data: %s\n\n", data)
		_ = http.NewResponseController(w).Flush()
	}
	chunk := func(delta any, finish any) {
		send(chunkJSON([]any{map[string]any{"index": 0, "delta": delta, "logprobs": nil, "finish_reason": finish}}, nil))
	}
	chunk(map[string]any{"role": "assistant", "content": ""}, nil)
	for i, word := range words {
		select {
		case <-r.Context().Done():
			return
		case <-time.After(s.pace):
		}
		if i > 0 {
			word = " " + word
		}
		chunk(map[string]any{"content": word}, nil)
	}
	chunk(map[string]any{}, "stop")
	if withUsage {
		send(chunkJSON([]any{}, u))
	}
	send([]byte("[DONE]"))
}

func chunkJSON(choices []any, u any) []byte {
	b, err := json.Marshal(map[string]any{
		"id": "chatcmpl-fake", "object": "chat.completion.chunk", "created": created, "model": Model,
		"choices": choices, "usage": u,
	})
	if err != nil {
		panic(err) // maps of plain values always marshal
	}
	return b
}
