package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
)

// fakeAPI is a management API in memory: it keeps what it is sent, with ids and versions,
// and writes down each request. What a script says beforehand is answered instead.
type fakeAPI struct {
	mu      sync.Mutex
	lists   map[string][]*fakeRecord // by the list's path
	made    int
	replies []fakeReply
	log     []string
	// most is how many records a page has.
	most int
}

type fakeRecord struct {
	id      string
	version int
	record  record
}

type fakeReply struct {
	status int
	body   string
}

func newFakeAPI() *fakeAPI { return &fakeAPI{lists: map[string][]*fakeRecord{}, most: 2} }

// takeLog returns the requests since the last call.
func (f *fakeAPI) takeLog() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	log := f.log
	f.log = nil
	return log
}

func (f *fakeAPI) reply(status int, body string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.replies = append(f.replies, fakeReply{status, body})
}

// ServeHTTP implements http.Handler.
func (f *fakeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(err)
	}
	f.log = append(f.log, describeRequest(r, body))
	path, mounted := strings.CutPrefix(r.URL.EscapedPath(), "/rr")
	if !mounted {
		path = strings.TrimPrefix(path, "/manage")
	}
	if len(f.replies) > 0 {
		reply := f.replies[0]
		f.replies = f.replies[1:]
		switch accept := r.Header.Get("Accept"); {
		case strings.HasPrefix(reply.body, "<"):
			w.Header().Set("Content-Type", "text/html")
		case accept == bytesType || accept == linesType:
			w.Header().Set("Content-Type", accept)
		default:
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
		}
		w.WriteHeader(reply.status)
		_, _ = io.WriteString(w, reply.body)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	f.serve(w, r, path, body)
}

// describeRequest is a request in one line. An Idempotency-Key that was made is not told.
func describeRequest(r *http.Request, body []byte) string {
	line := r.Method + " " + r.URL.RequestURI()
	if len(body) > 0 {
		line += " " + string(body)
	}
	for _, name := range []string{"If-Match", "Idempotency-Key", "Authorization", "X-Gateway-Key", "Accept"} {
		value := r.Header.Get(name)
		if name == "Idempotency-Key" && len(value) == 26 {
			value = "(made)"
		}
		if value != "" && name != "Accept" || value == linesType {
			line += " | " + name + ": " + value
		}
	}
	if body := len(body) > 0; body != (r.Header.Get("Content-Type") == "application/json") && r.Method != http.MethodPost {
		line += " | Content-Type: " + r.Header.Get("Content-Type")
	}
	return line
}

var fakePrefixes = map[string]string{
	"clients": "client", "credentials": "credential", "targets": "target", "proxies": "proxy", "rules": "rule", "blocklist": "block",
}

func (f *fakeAPI) serve(w http.ResponseWriter, r *http.Request, path string, body []byte) {
	segments := strings.Split(strings.Trim(path, "/"), "/")
	last := segments[len(segments)-1]
	if fakePrefixes[last] != "" {
		f.serveList(w, r, path, last, body)
		return
	}
	if last == "rotate" {
		segments = segments[:len(segments)-1]
	}
	if len(segments) < 2 || fakePrefixes[segments[len(segments)-2]] == "" {
		fakeProblem(w, http.StatusNotFound, "there is nothing at this path")
		return
	}
	list := "/" + strings.Join(segments[:len(segments)-1], "/")
	found := f.find(list, segments[len(segments)-1])
	if found == nil {
		fakeProblem(w, http.StatusNotFound, "there is no such "+fakePrefixes[segments[len(segments)-2]])
		return
	}
	f.serveRecord(w, r, list, found, body, last == "rotate")
}

func (f *fakeAPI) find(list, name string) *fakeRecord {
	for _, x := range f.lists[list] {
		if x.id == name || x.record.text(fakePrefixes[list[strings.LastIndex(list, "/")+1:]]+"Name") == name {
			return x
		}
	}
	return nil
}

func (f *fakeAPI) serveList(w http.ResponseWriter, r *http.Request, list, plural string, body []byte) {
	if r.Method == http.MethodPost {
		f.made++
		x := &fakeRecord{id: fmt.Sprintf("0199d3a0-0000-7000-8000-%012d", f.made), record: record{}}
		f.lists[list] = append(f.lists[list], x)
		x.record[fakePrefixes[plural]+"CreatedAt"] = "2027-01-31T11:00:00.123Z"
		f.put(x, plural, body)
		f.answer(w, http.StatusCreated, plural, x, f.newKey(x, body))
		return
	}
	start := 0
	if cursor := r.URL.Query().Get("cursor"); cursor != "" {
		_, _ = fmt.Sscanf(cursor, "after-%d", &start)
	}
	all := slices.Clone(f.lists[list][start:])
	page := map[string]any{"message": "Success"}
	if len(all) > f.most {
		all = all[:f.most]
		page["cursor"] = fmt.Sprintf("after-%d", start+f.most)
	}
	shown := []any{}
	for _, x := range all {
		shown = append(shown, x.record)
	}
	page[plural] = shown
	_ = json.NewEncoder(w).Encode(page)
}

func (f *fakeAPI) serveRecord(w http.ResponseWriter, r *http.Request, list string, x *fakeRecord, body []byte, rotate bool) {
	plural := list[strings.LastIndex(list, "/")+1:]
	if tag := r.Header.Get("If-Match"); tag != "" && tag != "*" && tag != fmt.Sprintf("%q", fmt.Sprint(x.version)) {
		fakeProblem(w, http.StatusPreconditionFailed, "its ETag is another one by now")
		return
	}
	key := ""
	switch r.Method {
	case http.MethodPut:
		f.put(x, plural, body)
	case http.MethodPost:
		key = f.newKey(x, body)
		x.version++
	case http.MethodDelete:
		f.lists[list] = slices.DeleteFunc(f.lists[list], func(other *fakeRecord) bool { return other == x })
		_, _ = io.WriteString(w, `{"message":"Success"}`)
		return
	}
	f.answer(w, http.StatusOK, plural, x, key)
}

// newKey is a key that the API makes, for a key credential that came without one.
func (f *fakeAPI) newKey(x *fakeRecord, body []byte) string {
	secret := record{}
	_ = json.Unmarshal(body, &secret)
	if x.record.text("credentialAuthType") == "key" && x.record.text("credentialType") == "proxy" && secret.text("credentialSecret.key") == "" {
		return fmt.Sprintf("rr_live_made%d", x.version)
	}
	return ""
}

// shownSecrets are the members of credentialSecret that are no secrets.
var shownSecrets = []string{"username", "header", "prefix", "issuer", "audience", "jwksUri", "algorithm", "scopes", "tokenUrl", "clientId", "grant"}

func (f *fakeAPI) put(x *fakeRecord, plural string, body []byte) {
	changes, err := decodeRecord(body)
	if err != nil {
		panic(err)
	}
	prefix := fakePrefixes[plural]
	maps.Copy(x.record, changes)
	if secret, ok := x.record["credentialSecret"].(map[string]any); ok {
		maps.DeleteFunc(secret, func(name string, _ any) bool { return !slices.Contains(shownSecrets, name) })
	}
	if id := changes.text("clientId"); plural == "clients" && id != "" {
		x.id = id
	}
	x.record[prefix+"Id"] = x.id
	for _, member := range []string{"proxyTargetId", "proxyTargetCredentialId"} {
		x.record.refer(f, member)
	}
	if list, ok := x.record["proxyProxyCredentialIds"].([]any); ok {
		for i := range list {
			list[i] = f.idOf("/clients/default/credentials", plain(list[i]))
		}
	}
	if plural == "proxies" && x.record["proxyActive"] == nil {
		x.record["proxyActive"] = true
	}
	x.version++
}

func (r record) refer(f *fakeAPI, member string) {
	if name := r.text(member); name != "" {
		list := "/clients/default/targets"
		if member != "proxyTargetId" {
			list = "/clients/default/credentials"
		}
		r[member] = f.idOf(list, name)
	}
}

func (f *fakeAPI) idOf(list, name string) string {
	if x := f.find(list, name); x != nil {
		return x.id
	}
	return name
}

func (f *fakeAPI) answer(w http.ResponseWriter, status int, plural string, x *fakeRecord, key string) {
	shown := maps.Clone(x.record)
	if key != "" {
		shown["credentialSecret"] = map[string]any{"key": key}
	}
	w.Header().Set("ETag", fmt.Sprintf("%q", fmt.Sprint(x.version)))
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{plural: []any{shown}, "message": "Success"})
}

func fakeProblem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"title": http.StatusText(status), "status": status, "detail": detail})
}

func TestFakeKeepsNoSecret(t *testing.T) {
	f := newFakeAPI()
	x := &fakeRecord{record: record{}}
	f.put(x, "credentials", []byte(`{"credentialSecret":{"token":"CANARY","username":"u"}}`))
	if text := x.record.encode(); bytes.Contains(text, []byte("CANARY")) || !bytes.Contains(text, []byte("username")) {
		t.Errorf("the fake keeps %s", text)
	}
}
