package api_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/store"
	"github.com/caddy-rr/caddy-rr/store/storetest"
)

const words = "correct horse battery staple"

// saved is a backend with a backup.
type saved struct {
	*storetest.Mem
	content []byte
	err     error
	panics  bool
}

func (s *saved) Backup(_ context.Context, w io.Writer) error {
	if _, err := w.Write(s.content); err != nil {
		return err
	}
	if s.panics {
		panic("half way")
	}
	return s.err
}

// over has a kit's store be over another backend.
func (k *kit) over(b store.Backend) {
	k.t.Helper()
	key, err := store.ParseKey("MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1ub3BxcnN0dXY=")
	if err != nil {
		k.t.Fatal(err)
	}
	if k.fake.store, err = store.Open(k.t.Context(), store.Options{Backend: b, Keys: []store.Key{key}}); err != nil {
		k.t.Fatal(err)
	}
}

func TestBackup(t *testing.T) {
	k := newKit(t)
	k.call("GET", "/store/backup", "").problem(http.StatusNotImplemented, "not-supported")

	b := &saved{Mem: storetest.Memory(), content: bytes.Repeat([]byte("sealed "), 100_000)}
	k.over(b)
	a := k.call("GET", "/store/backup", "").want(http.StatusOK)
	if !bytes.Equal(a.body, b.content) || a.Header.Get("Content-Type") != "application/octet-stream" || !strings.Contains(a.Header.Get("Content-Disposition"), "attachment") {
		t.Errorf("%v, %d bytes", a.Header, len(a.body))
	}
	if last := k.fake.log[len(k.fake.log)-1]; last.Action != "backup" || last.Resource != "store" || last.Actor.Name != "admin.sock" {
		t.Errorf("%+v", last)
	}
	k.call("HEAD", "/store/backup", "").want(http.StatusMethodNotAllowed)

	b.content, b.err = []byte("few bytes"), store.ErrUnavailable // early enough for a problem
	k.call("GET", "/store/backup", "").problem(http.StatusServiceUnavailable, "store-unavailable")
	b.content, b.err = bytes.Repeat([]byte("x"), 1<<20), errors.New("a bad sector") // too late
	k.brokenOff("/store/backup")
	b.panics = true
	k.brokenOff("/store/backup")
	b.panics = false

	b.content, b.err = []byte("sealed"), nil
	for _, err := range []error{store.ErrFull, store.ErrReadOnly} { // it has to be saved all the more
		k.fake.err = err
		k.call("GET", "/store/backup", "").want(http.StatusOK)
	}
	if !strings.Contains(k.log.String(), "the audit log could not be written") {
		t.Error("nothing says that the audit log was not written")
	}
	k.fake.err = store.ErrUnavailable
	k.call("GET", "/store/backup", "").problem(http.StatusServiceUnavailable, "store-unavailable")
}

// brokenOff expects an answer that ends without an end.
func (k *kit) brokenOff(path string) {
	k.t.Helper()
	defer func() {
		if p := recover(); p != http.ErrAbortHandler {
			k.t.Errorf("the answer was not broken off: %v", p)
		}
	}()
	k.call("GET", path, "")
}

func TestRotateKey(t *testing.T) {
	k := newKit(t)
	for i := range 3 {
		k.make("acme", "targets", fmt.Sprintf(targetBody, fmt.Sprint(i)), key(fmt.Sprint(i))) // kept in the store
	}
	a := k.call("POST", "/store/rotate-key", "").want(http.StatusOK)
	if n := a.get("records").(float64); n < 3 {
		t.Errorf("%s", a.body)
	}
	k.call("POST", "/clients/acme/targets", fmt.Sprintf(targetBody, "0"), key("0")).want(http.StatusCreated) // can still be opened
	if last := k.fake.log[len(k.fake.log)-1]; last.Action != "rotate-key" {
		t.Errorf("%+v", last)
	}
}

// fill puts what a fake has into its store, where an export finds it.
func (k *kit) fill() {
	k.t.Helper()
	for bucket, records := range k.fake.records {
		for id, r := range records {
			if _, err := k.fake.store.Apply(k.t.Context(), store.Put{Bucket: bucket, Key: id, Version: headOf(r).Version, Value: r}); err != nil {
				k.t.Fatal(err)
			}
		}
	}
	grant := store.Put{Bucket: store.Grants, Key: "g", Version: 1, Value: map[string]string{"refresh": "CANARY-grant"}}
	if _, err := k.fake.store.Apply(k.t.Context(), grant); err != nil {
		k.t.Fatal(err)
	}
}

func importBody(archive []byte, more string) string {
	return fmt.Sprintf(`{"passphrase":%q,"archive":%q%s}`, words, base64.StdEncoding.EncodeToString(archive), more)
}

func TestExportAndImport(t *testing.T) {
	k := newKit(t)
	proxy, caller, _, vendor := k.proxy("acme", "p")
	k.make("acme", "blocklist", `{"jti":"t-1"}`)
	k.call("POST", "/clients/acme/proxies/"+proxy+"/rules", `{"effect":"deny"}`).want(http.StatusCreated)
	k.fill()
	a := k.call("POST", "/store/export", fmt.Sprintf(`{"passphrase":%q}`, words)).want(http.StatusOK)
	if bytes.Contains(a.body, []byte("CANARY")) || bytes.Contains(a.body, []byte("billing")) {
		t.Error("the archive is not sealed")
	}
	archive := a.body
	if last := k.fake.log[len(k.fake.log)-1]; last.Action != "export" {
		t.Errorf("%+v", last)
	}

	other := newKit(t)
	delete(other.fake.records[store.Clients], "acme")
	delete(other.fake.records[store.Clients], "globex")
	delete(other.fake.records[store.Clients], store.DefaultClient)
	done := other.call("POST", "/store/import", importBody(archive, "")).want(http.StatusOK)
	for kind, want := range map[string]float64{"clients": 3, "credentials": 2, "targets": 1, "proxies": 1, "blocklist": 1} {
		if got := done.get("records." + kind); got != want {
			t.Errorf("%v %s: %s", got, kind, done.body)
		}
	}
	for _, id := range []string{caller, vendor} {
		was, is := k.fake.records[store.Credentials][id].(*store.Credential), other.fake.records[store.Credentials][id].(*store.Credential)
		if !bytes.Equal(was.Spec, is.Spec) || was.Name != is.Name || !was.CreatedAt.Equal(is.CreatedAt) {
			t.Errorf("%s is another one", is.Name)
		}
	}
	if rules := other.fake.records[store.Proxies][proxy].(*store.Proxy).Rules; len(rules) != 1 {
		t.Errorf("%d rules", len(rules))
	}
	var grant map[string]string
	if _, err := other.fake.store.Get(t.Context(), store.Grants, "g", &grant); err != nil || grant["refresh"] != "CANARY-grant" {
		t.Errorf("%v %v", err, len(grant))
	}
	last := other.fake.log[len(other.fake.log)-1]
	if last.Action != "import" || last.Resource != "store" {
		t.Errorf("%+v", last)
	}

	again := other.call("POST", "/store/import", importBody(archive, ""))
	again.problem(http.StatusConflict, "conflict")
	if n := len(again.get("users").([]any)); n != 8 {
		t.Errorf("%d records stand in the way: %s", n, again.body)
	}
	other.fake.records[store.Proxies][proxy].(*store.Proxy).Name = "changed"
	other.call("POST", "/store/import", importBody(archive, `,"replace":true`)).want(http.StatusOK)
	if name := other.fake.records[store.Proxies][proxy].(*store.Proxy).Name; name != "p" {
		t.Error(name)
	}
	if strings.Contains(k.answers.String()+other.answers.String()+k.log.String()+other.log.String(), "CANARY") {
		t.Error("an answer or the log has a secret")
	}
}

func TestBadImports(t *testing.T) {
	k := newKit(t)
	k.fill()
	archive := k.call("POST", "/store/export", fmt.Sprintf(`{"passphrase":%q}`, words)).want(http.StatusOK).body
	cut := slices.Clone(archive[:len(archive)-1])
	edited := slices.Clone(archive)
	edited[len(edited)-20] ^= 1
	for _, c := range []struct{ name, body, place string }{
		{"another passphrase", strings.Replace(importBody(archive, ""), "staple", "stable", 1), "/passphrase"},
		{"no passphrase", fmt.Sprintf(`{"archive":%q}`, base64.StdEncoding.EncodeToString(archive)), "/passphrase"},
		{"short passphrase", `{"archive":"eA==","passphrase":"short"}`, "/passphrase"},
		{"cut off", importBody(cut, ""), "/archive"},
		{"edited", importBody(edited, ""), "/archive"},
		{"something else", importBody([]byte("not an archive, but long enough to have a header of one, if it were one at all, which it is not: it is a text"), ""), "/archive"},
		{"empty", importBody(nil, ""), "/archive"},
		{"no base64", fmt.Sprintf(`{"passphrase":%q,"archive":"###"}`, words), "/archive"},
		{"no text", fmt.Sprintf(`{"passphrase":%q,"archive":7}`, words), "/archive"},
		{"both", importBody(archive, `,"targets":[]`), "/targets"},
		{"nothing", `{}`, ""},
		{"no list", `{"targets":{}}`, "/targets"},
		{"no object", `{"targets":[7]}`, "/targets/0"},
		{"replace", `{"replace":"yes","targets":[]}`, "/replace"},
		{"unknown", `{"tergets":[]}`, ""},
		{"no such client", `{"targets":[{"targetName":"a","targetBaseURL":"https://a.example","clientId":"nowhere"}]}`, "/targets/0/clientId"},
		{"no such client for all", `{"client":"nowhere","targets":[{"targetName":"a","targetBaseURL":"https://a.example"}]}`, "/client"},
		{"a bad record", `{"targets":[{"targetName":"a","targetBaseURL":"https://a.example"},{"targetName":7}]}`, "/targets/1/targetBaseURL"},
	} {
		t.Run(c.name, func(t *testing.T) {
			k.t = t
			if places := k.call("POST", "/store/import", c.body).problem(http.StatusUnprocessableEntity, "invalid"); !slices.Contains(places, c.place) {
				t.Errorf("places %q, want %q", places, c.place)
			}
		})
	}
	for _, short := range []string{`{}`, `{"passphrase":"short"}`, `{"passphrase":7}`} {
		if places := k.call("POST", "/store/export", short).problem(http.StatusUnprocessableEntity, "invalid"); !slices.Equal(places, []string{"/passphrase"}) {
			t.Error(places)
		}
	}
}

// TestImportOfTheOriginal: records as the hosted product's API answers them, with the
// secrets that it does not answer.
func TestImportOfTheOriginal(t *testing.T) {
	k := newKit(t)
	const body = `{
	"clients": [{"clientId":"0b6f9a7e-3c1d-4e52-9f64-2a8b7c5d1e30","clientName":"Shop"}],
	"credentials": [
		{"pKey":"x","sKey":"cred_caller","userId":"u","clientId":"0b6f9a7e-3c1d-4e52-9f64-2a8b7c5d1e30","parentId":"x","credentialName":"agent","credentialType":"proxy","credentialAuthType":"apiKey","credentialRegion":"us-east-1"},
		{"sKey":"1f0c7a52-8d3e-4b61-a7f9-5e2d4c3b1a09","clientId":"0b6f9a7e-3c1d-4e52-9f64-2a8b7c5d1e30","credentialName":"stripe","credentialType":"target","credentialAuthType":"key","credentialSecret":{"key":"CANARY-stripe-0123456789"}}
	],
	"targets": [{"targetId":"tgt_1","sKey":"tgt_1","clientId":"0b6f9a7e-3c1d-4e52-9f64-2a8b7c5d1e30","targetName":"stripe","targetBaseURL":"https://api.stripe.com","targetDefaultRuleEffect":"allow","targetCreatedAt":"2025-01-01T00:00:00.000Z"}],
	"proxies": [{"proxyId":"proxy_1","clientId":"0b6f9a7e-3c1d-4e52-9f64-2a8b7c5d1e30","proxyName":"pay","proxyActive":true,"proxyProxyCredentialId":"cred_caller","proxyTargetId":"tgt_1","proxyTargetCredentialId":"1f0c7a52-8d3e-4b61-a7f9-5e2d4c3b1a09","proxyDefaultRuleEffect":"deny"}]
}`
	a := k.call("POST", "/store/import", body).want(http.StatusOK)
	caller, target, proxy := a.text("ids.cred_caller"), a.text("ids.tgt_1"), a.text("ids.proxy_1")
	if made := a.text("credentials.0.credentialSecret.key"); !strings.HasPrefix(made, "rr_live_") || a.text("credentials.0.credentialId") != caller {
		t.Errorf("%s", a.body)
	}
	p := k.fake.records[store.Proxies][proxy].(*store.Proxy)
	if p.Alias != "proxy_1" || !slices.Equal(p.CredentialIDs, []string{caller}) || p.TargetID != target || p.TargetCredentialID != "1f0c7a52-8d3e-4b61-a7f9-5e2d4c3b1a09" || p.Client != "0b6f9a7e-3c1d-4e52-9f64-2a8b7c5d1e30" {
		t.Errorf("%+v", p)
	}
	if k.fake.records[store.Credentials]["1f0c7a52-8d3e-4b61-a7f9-5e2d4c3b1a09"] == nil {
		t.Error("the id of the vendor's credential has changed")
	}
	// without clients, into one that is here
	other := newKit(t)
	cut := `{"client":"acme",` + body[strings.Index(body, `"credentials"`):]
	other.call("POST", "/store/import", cut).want(http.StatusOK)
	if n := len(other.call("GET", "/clients/acme/proxies", "").get("proxies").([]any)); n != 1 {
		t.Errorf("%d proxies", n)
	}
	if strings.Contains(k.answers.String()+k.log.String(), "CANARY") {
		t.Error("an answer or the log has a secret")
	}
}

// TestImportLeavesWhatIsDeclared: what another gateway's configuration declares is not made a
// record here.
func TestImportLeavesWhatIsDeclared(t *testing.T) {
	k := newKit(t)
	k.call("POST", "/store/import", `{"targets":[
		{"targetName":"theirs","targetBaseURL":"https://a.example","declared":true},
		{"targetName":"ours","targetBaseURL":"https://b.example"}]}`).want(http.StatusOK)
	var names []string
	for _, r := range k.fake.records[store.Targets] {
		names = append(names, r.(*store.Target).Name)
	}
	if !slices.Equal(names, []string{"ours"}) {
		t.Errorf("imported %q", names)
	}
}
