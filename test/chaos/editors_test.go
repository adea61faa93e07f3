package chaos

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

// made is the outcome of a change that was acknowledged.
const made = "made"

// editor is a program that makes credentials and proxies through the API, uses, changes and
// deletes them, and sees after each acknowledged step that it holds.
type editor struct {
	w      *world
	name   string
	number int
	client *http.Client

	steps    atomic.Int64 // acknowledged changes
	progress atomic.Int64 // when the last step was done, Unix nanoseconds
	streams  atomic.Int64 // that were ended with their caller's credential

	mu   sync.Mutex
	kept map[string]string // path → the name of a record that has to be there, "" for one that must not
}

// pace is how long an editor rests before a change.
const pace = 50 * time.Millisecond

// keptLives is how many lives of an editor end without deleting what they made.
const keptLives = 4

func newEditor(w *world, number int) *editor {
	return &editor{w: w, name: fmt.Sprintf("e%d", number), number: number, client: newClient(&http.Transport{}), kept: map[string]string{}}
}

// work leads one life after another.
func (e *editor) work(ctx context.Context) {
	defer e.client.CloseIdleConnections()
	for n := 0; ctx.Err() == nil; n++ {
		e.life(ctx, fmt.Sprintf("%s-%d", e.name, n), n < keptLives)
	}
}

// life is that of a caller's key, the vendor's token and the proxy between them.
func (e *editor) life(ctx context.Context, name string, keep bool) {
	first, second := secret(ofVendor), secret(ofVendor)
	key := e.create("credentials", name+"-caller", `{"credentialType":"proxy","credentialAuthType":"key","credentialName":%q}`)
	e.create("credentials", name+"-token", `{"credentialType":"target","credentialAuthType":"bearer","credentialName":%q,"credentialSecret":{"token":"`+first+`"}}`)
	e.create("targets", name+"-target", `{"targetName":%q,"targetBaseURL":"`+e.w.up.url()+`/made"}`)
	e.create("proxies", name, fmt.Sprintf(`{"proxyName":%%q,"proxyProxyCredentialId":"%[1]s-caller","proxyTargetId":"%[1]s-target","proxyTargetCredentialId":"%[1]s-token"}`, name))
	e.sees(name, key, granted, first)

	rotated := e.change("POST", "credentials/"+name+"-caller/rotate", "{}")
	old, key := key, keyIn(rotated.Body)
	e.sees(name, old, denied, "")
	e.sees(name, key, granted, first)
	if ctx.Err() != nil {
		return
	}
	e.change("PUT", "credentials/"+name+"-token", `{"credentialSecret":{"token":"`+second+`"}}`)
	e.sees(name, key, granted, second)
	e.change("PUT", "proxies/"+name, `{"proxyActive":false}`)
	e.sees(name, key, inactive, "")
	e.change("PUT", "proxies/"+name, `{"proxyActive":true}`)
	e.sees(name, key, granted, second)
	if keep || ctx.Err() != nil {
		return
	}
	ended := e.stream(ctx, name, key, second)
	e.remove("credentials", name+"-caller", true)
	e.endsSoon(ended)
	e.sees(name, key, denied, "")
	e.remove("proxies", name, false)
	e.remove("targets", name+"-target", false)
	e.remove("credentials", name+"-token", false)
}

// change has a change made, however often that takes, and returns the answer that
// acknowledges it.
func (e *editor) change(method, path, body string) rrtest.Answer {
	headers := []string{"Content-Type: application/json"}
	if method == http.MethodPost {
		headers = append(headers, "Idempotency-Key: "+rand.Text())
	}
	if method == http.MethodDelete {
		headers = nil
	}
	unknown := false // whether an attempt had no answer, so that it may have been made
	time.Sleep(pace)
	for {
		c := &call{sort: &sort{name: "change by the API", usual: []string{made}, needs: []string{onStore}}, caller: e.name, from: time.Now()}
		a, err := e.w.gw.ask(method, "/rr/clients/default/"+path, body, headers...)
		c.to, c.id = time.Now(), method+" "+path
		code := ""
		switch {
		case err != nil:
			c.outcome, unknown = none, true
		case a.Status < 300, unknown && method == http.MethodDelete && a.Status == http.StatusNotFound:
			c.outcome = made
		default:
			c.outcome, code, c.problem = problemOf(a)
			e.w.bodies.scan("a problem of the API", []byte(a.Body))
		}
		if !(unknown && code == "still-running") { // the attempt that had no answer is under way
			e.w.judge.call(c)
		}
		if c.outcome == made {
			e.steps.Add(1)
			return a
		}
		if e.w.over.Load() {
			return a
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// problemOf is the outcome of an answer that is not a success.
func problemOf(a rrtest.Answer) (outcome, code, problem string) {
	var p struct {
		Status int
		Code   string
	}
	if json.Unmarshal([]byte(a.Body), &p) != nil || a.Header.Get("Content-Type") != "application/problem+json" || p.Status != a.Status || p.Code == "" {
		problem = fmt.Sprintf("no problem+json, or another one: %.300s", a.Body)
	}
	return fmt.Sprint(a.Status, " ", p.Code), p.Code, problem
}

// create makes a record and returns the key that was made with it, if any.
func (e *editor) create(kind, name, body string) (key string) {
	a := e.change("POST", kind, fmt.Sprintf(body, name))
	e.keeps(kind+"/"+name, name)
	return keyIn(a.Body)
}

func (e *editor) remove(kind, name string, force bool) {
	path := kind + "/" + name
	if force {
		path += "?force=true"
	}
	e.change("DELETE", path, "")
	e.keeps(kind+"/"+name, "")
}

func (e *editor) keeps(path, name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.kept[path] = name
}

// keyIn is the key that an answer shows.
func keyIn(body string) string {
	var a struct {
		Credentials []struct {
			CredentialSecret struct{ Key string }
		}
	}
	_ = json.Unmarshal([]byte(body), &a)
	if len(a.Credentials) != 1 {
		return ""
	}
	return a.Credentials[0].CredentialSecret.Key
}

// sees calls a proxy until the outcome is the one that has to be; others have to be excused.
func (e *editor) sees(proxy, key, want, token string) {
	s := &sort{name: "edited, " + want, usual: []string{want}, needs: []string{onUpstream}}
	if want != granted {
		s.needs = nil
	}
	for try := 0; try < 1000 && !e.w.over.Load(); try++ {
		r := e.request(s.good(), proxy, "/x/", key, token)
		c := e.w.callers.do(e.client, s, r, e.name, r.Header.Get(callID))
		e.w.judge.call(c)
		if c.outcome == want {
			e.progress.Store(time.Now().UnixNano())
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// request makes a request to a proxy; the upstream has to get the token with it.
func (e *editor) request(good bool, proxy, path, key, token string) *http.Request {
	id := mustNotPass
	if good {
		id = mayPass
	}
	id += fmt.Sprint(e.w.callers.count.Add(1))
	if good {
		e.w.up.expects(id, token)
	}
	r, err := http.NewRequest(http.MethodGet, "http://"+e.w.gw.gate+"/api/"+proxy+path+id, nil)
	if err != nil {
		panic(err)
	}
	r.Header.Set(callID, id)
	r.Header.Set("Authorization", "Bearer "+key)
	r.Header.Set("X-Forwarded-For", fmt.Sprintf("203.0.113.%d", e.number))
	return r
}

// stream opens an endless stream; the channel is closed when it ends. It is nil if there is
// no stream because something fails.
func (e *editor) stream(ctx context.Context, proxy, key, token string) <-chan struct{} {
	r := e.request(true, proxy, "/stream/endless/", key, token)
	res, err := e.client.Do(r.WithContext(ctx))
	if err != nil {
		return nil
	}
	if res.StatusCode != http.StatusOK || !strings.Contains(res.Header.Get("Content-Type"), "event-stream") {
		res.Body.Close()
		return nil
	}
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
		close(ended)
	}()
	return ended
}

// endsSoon waits for the end of a stream whose credential has been deleted: it has a second,
// and a busy machine some more.
func (e *editor) endsSoon(ended <-chan struct{}) {
	if ended == nil {
		return
	}
	select {
	case <-ended:
		e.streams.Add(1)
	case <-time.After(15 * time.Second):
		e.w.judge.violate("%s: a stream goes on 15 s after its credential was deleted", e.name)
	}
}

// verify looks whether all that was acknowledged is there, and nothing that was deleted.
func (e *editor) verify() (checked int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for path, name := range e.kept {
		a, err := e.w.gw.ask("GET", "/rr/clients/default/"+path, "")
		want := http.StatusOK
		if name == "" {
			want = http.StatusNotFound
		}
		if err != nil || a.Status != want {
			e.w.judge.violate("%s: %s answers %d, and has to answer %d: %v %.300s", e.name, path, a.Status, want, err, a.Body)
		}
		checked++
	}
	return checked
}
