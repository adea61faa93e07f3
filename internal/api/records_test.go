package api_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/catalog"
	"github.com/caddy-rr/caddy-rr/store"
)

// Bodies of records; %s is the name.
const (
	callerBody = `{"credentialName":%q,"credentialType":"proxy","credentialAuthType":"key","credentialSecret":{"key":"CANARY-caller-0123456789abcdef"}}`
	vendorBody = `{"credentialName":%q,"credentialType":"target","credentialAuthType":"key","credentialSecret":{"key":"CANARY-vendor-0123456789abcdef"}}`
	targetBody = `{"targetName":%q,"targetBaseURL":"https://api.example.com"}`
)

func (k *kit) make(client, plural, body string, options ...option) (id string, a *answer) {
	k.t.Helper()
	a = k.call("POST", "/clients/"+client+"/"+plural, body, options...).want(http.StatusCreated)
	_, id, _ = strings.Cut(a.Header.Get("Location"), "/")
	return id, a
}

// proxy makes a proxy and what it needs; names begin with name.
func (k *kit) proxy(client, name string) (proxy, caller, target, vendor string) {
	k.t.Helper()
	caller, _ = k.make(client, "credentials", fmt.Sprintf(callerBody, name+"-caller"))
	vendor, _ = k.make(client, "credentials", fmt.Sprintf(vendorBody, name+"-vendor"))
	target, _ = k.make(client, "targets", fmt.Sprintf(targetBody, name+"-target"))
	proxy, _ = k.make(client, "proxies", fmt.Sprintf(`{"proxyName":%q,"proxyProxyCredentialId":%q,"proxyTargetId":%q,"proxyTargetCredentialId":%q}`, name, caller, target, vendor))
	return proxy, caller, target, vendor
}

// TestRecordsFromCreationToDeletion goes the whole way with each kind.
func TestRecordsFromCreationToDeletion(t *testing.T) {
	for _, c := range []struct{ plural, prefix, body, edit string }{
		{"credentials", "credential", fmt.Sprintf(callerBody, "one"), `{"credentialName":"two"}`},
		{"targets", "target", fmt.Sprintf(targetBody, "one"), `{"targetName":"two"}`},
	} {
		t.Run(c.plural, func(t *testing.T) {
			k := newKit(t)
			id, made := k.make("acme", c.plural, c.body)
			if got := made.text(c.plural + ".0." + c.prefix + "Id"); got != id || made.etag() != `"1"` || made.text("message") != "Success" {
				t.Fatalf("id %s, ETag %s, %s", got, made.etag(), made.body)
			}
			one := "/clients/acme/" + c.plural + "/" + id
			read := k.call("GET", one, "").want(http.StatusOK)
			if read.etag() != `"1"` || read.text(c.plural+".0."+c.prefix+"Name") != "one" {
				t.Errorf("ETag %s, %s", read.etag(), read.body)
			}
			k.call("HEAD", one, "").want(http.StatusOK)
			k.call("GET", "/api"+one, "").want(http.StatusOK)
			k.call("GET", "/clients/acme/"+c.plural+"/one", "").want(http.StatusOK)
			k.call("PUT", one, string(bytes.TrimSpace(lift(t, read, c.plural)))).want(http.StatusOK)
			changed := k.call("PUT", one, c.edit).want(http.StatusOK)
			if changed.etag() != `"3"` || changed.text(c.plural+".0."+c.prefix+"Name") != "two" {
				t.Errorf("ETag %s, %s", changed.etag(), changed.body)
			}
			k.call("GET", "/clients/globex/"+c.plural+"/"+id, "").problem(http.StatusNotFound, "not-found")
			k.call("DELETE", "/clients/globex/"+c.plural+"/"+id, "").problem(http.StatusNotFound, "not-found")
			if text := string(k.call("DELETE", one, "").want(http.StatusOK).body); strings.TrimSpace(text) != `{"message":"Success"}` {
				t.Error(text)
			}
			k.call("GET", one, "").problem(http.StatusNotFound, "not-found")
			k.call("PUT", one, c.edit).problem(http.StatusNotFound, "not-found")
			k.call("DELETE", one, "").problem(http.StatusNotFound, "not-found")
		})
	}
}

// lift is the one record of an answer.
func lift(t *testing.T, a *answer, plural string) []byte {
	t.Helper()
	begin := bytes.IndexByte(a.body, '[')
	end := bytes.LastIndex(a.body, []byte(`],"message"`))
	if begin < 0 || end < begin {
		t.Fatalf("no record in %s", a.body)
	}
	return a.body[begin+1 : end]
}

func TestClients(t *testing.T) {
	k := newKit(t)
	made := k.call("POST", "/clients", `{"clientName":"Initech"}`).want(http.StatusCreated)
	id := made.text("clients.0.clientId")
	if id == "" || made.Header.Get("Location") != "clients/"+id {
		t.Errorf("id %q, Location %q", id, made.Header.Get("Location"))
	}
	k.call("PUT", "/clients/"+id, `{"clientName":"Initech Ltd"}`, header("If-Match", made.etag())).want(http.StatusOK)
	k.call("PUT", "/clients/"+id, `{"clientName":"Initech Inc"}`, header("If-Match", made.etag())).problem(http.StatusPreconditionFailed, "stale")
	if got := k.call("GET", "/clients/"+id, "").want(http.StatusOK).text("clients.0.clientName"); got != "Initech Ltd" {
		t.Error(got)
	}
	if n := len(k.call("GET", "/clients", "").want(http.StatusOK).get("clients").([]any)); n != 4 {
		t.Errorf("%d clients", n)
	}
	if n := len(k.call("GET", "/clients?name=Initech+Ltd", "").want(http.StatusOK).get("clients").([]any)); n != 1 {
		t.Errorf("%d clients of the name", n)
	}
	k.call("DELETE", "/clients/default", "").problem(http.StatusConflict, "conflict")
	k.proxy(id, "x")
	refused := k.call("DELETE", "/clients/"+id, "")
	refused.problem(http.StatusConflict, "conflict")
	if refused.text("users.0.name") != "x" || refused.text("users.0.kind") != "proxies" {
		t.Errorf("%s", refused.body)
	}
	k.call("DELETE", "/clients/"+id+"?force=true", "").want(http.StatusOK)
	k.call("GET", "/clients/"+id, "").problem(http.StatusNotFound, "not-found")
}

// TestScopedClients: whoever has to do with some clients sees these alone.
func TestScopedClients(t *testing.T) {
	k := newKit(t)
	k.who.All, k.who.Clients = false, []string{"globex", "acme", "nowhere", "acme"}
	first := k.call("GET", "/clients?limit=1", "").want(http.StatusOK)
	if first.text("clients.0.clientId") != "acme" {
		t.Errorf("%s", first.body)
	}
	second := k.call("GET", "/clients?limit=1&cursor="+url.QueryEscape(first.text("cursor")), "").want(http.StatusOK)
	if second.text("clients.0.clientId") != "globex" {
		t.Errorf("%s", second.body)
	}
	if n := len(k.call("GET", "/clients", "").get("clients").([]any)); n != 2 {
		t.Errorf("%d clients", n)
	}
}

func TestLists(t *testing.T) {
	k := newKit(t)
	const count = 25
	for i := range count {
		k.make("acme", "targets", fmt.Sprintf(targetBody, fmt.Sprintf("t%02d", i)))
	}
	k.make("globex", "targets", fmt.Sprintf(targetBody, "t00"))
	names := func(a *answer) (list []string) {
		for _, r := range a.get("targets").([]any) {
			list = append(list, r.(map[string]any)["targetName"].(string))
		}
		return list
	}
	if got := len(names(k.call("GET", "/clients/acme/targets", "").want(http.StatusOK))); got != count {
		t.Errorf("%d targets", got)
	}
	var all []string
	path := "/clients/acme/targets?limit=10"
	pages := 0
	for cursor := "-"; cursor != ""; pages++ {
		a := k.call("GET", path, "").want(http.StatusOK)
		all = append(all, names(a)...)
		cursor, _ = a.get("cursor").(string)
		path = "/clients/acme/targets?limit=10&cursor=" + url.QueryEscape(cursor)
	}
	if pages != 3 || len(all) != count || !slices.IsSorted(all) {
		t.Errorf("%d pages: %v", pages, all)
	}
	cursor := url.QueryEscape(k.call("GET", "/clients/acme/targets?limit=10", "").text("cursor"))
	for _, c := range []struct{ path, parameter string }{
		{"/clients/acme/targets?cursor=nonsense", "cursor"},
		{"/clients/acme/targets?cursor=AAAA", "cursor"},
		{"/clients/globex/targets?cursor=" + cursor, "cursor"},
		{"/clients/acme/targets?name=t01&cursor=" + cursor, "cursor"},
		{"/clients/acme/credentials?cursor=" + cursor, "cursor"},
		{"/clients/acme/targets?limit=0", "limit"},
		{"/clients/acme/targets?limit=1001", "limit"},
		{"/clients/acme/targets?limit=-1", "limit"},
		{"/clients/acme/targets?limit=ten", "limit"},
		{"/clients/acme/targets?limit=1e2", "limit"},
		{"/clients/acme/targets?limit=1&limit=2", "limit"},
		{"/clients/acme/credentials?includeTemporary=yes", "includeTemporary"},
		{"/clients/acme/credentials?credentialType=both", "credentialType"},
	} {
		if places := k.call("GET", c.path, "").problem(http.StatusBadRequest, "bad-parameter"); !slices.Equal(places, []string{c.parameter}) {
			t.Errorf("%s: %v", c.path, places)
		}
	}
	if got := names(k.call("GET", "/clients/acme/targets?name=t07", "").want(http.StatusOK)); !slices.Equal(got, []string{"t07"}) {
		t.Error(got)
	}
}

func TestFilters(t *testing.T) {
	k := newKit(t)
	k.make("acme", "credentials", fmt.Sprintf(callerBody, "a"))
	k.make("acme", "credentials", fmt.Sprintf(vendorBody, "b"))
	waiting, _ := k.make("acme", "credentials", fmt.Sprintf(vendorBody, "c"))
	k.fake.records[store.Credentials][waiting].(*store.Credential).Temporary = true
	k.proxy("acme", "p")
	k.make("acme", "blocklist", `{"jti":"t-1"}`)
	k.make("acme", "blocklist", `{"sub":"s-1"}`)
	for path, want := range map[string]int{
		"credentials":                                        4,
		"credentials?includeTemporary=true":                  5,
		"credentials?includeTemporary=false":                 4,
		"credentials?credentialType=proxy":                   2,
		"credentials?credentialType=target":                  2,
		"credentials?credentialAuthType=key":                 4,
		"credentials?credentialAuthType=oauth2":              0,
		"credentials?name=a":                                 1,
		"credentials?name=none":                              0,
		"proxies?alias=none":                                 0,
		"proxies?name=p":                                     1,
		"blocklist":                                          2,
		"blocklist?jti=t-1":                                  1,
		"blocklist?sub=s-1":                                  1,
		"blocklist?iss=https%3A%2F%2Fissuer.example":         0,
		"credentials?credentialType=proxy&includeTemporary=": 2,
	} {
		plural, _, _ := strings.Cut(path, "?")
		if got := len(k.call("GET", "/clients/acme/"+path, "").want(http.StatusOK).get(plural).([]any)); got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
}

func TestDeletingWhatIsInUse(t *testing.T) {
	k := newKit(t)
	proxy, caller, target, vendor := k.proxy("acme", "p")
	for _, path := range []string{"credentials/" + caller, "credentials/" + vendor, "targets/" + target} {
		a := k.call("DELETE", "/clients/acme/"+path, "")
		a.problem(http.StatusConflict, "conflict")
		if a.text("users.0.id") != proxy || a.text("users.0.name") != "p" || a.text("users.0.kind") != "proxies" {
			t.Errorf("%s: %s", path, a.body)
		}
		k.call("DELETE", "/clients/acme/"+path+"?force=perhaps", "").problem(http.StatusBadRequest, "bad-parameter")
		k.call("DELETE", "/clients/acme/"+path+"?force=true", "").want(http.StatusOK)
	}
	k.call("DELETE", "/clients/acme/proxies/"+proxy, "").want(http.StatusOK)
}

func TestConditions(t *testing.T) {
	k := newKit(t)
	id, _ := k.make("acme", "targets", fmt.Sprintf(targetBody, "a")) // version 1
	one := "/clients/acme/targets/" + id
	for _, c := range []struct {
		field  string
		status int
	}{
		{`"1"`, 304}, {`W/"1"`, 304}, {`*`, 304}, {`"7", "1"`, 304}, {`"7",W/"1"`, 304}, {`"2"`, 200}, {`"01"`, 200}, {`"x"`, 200},
		{`1`, 400}, {`"1`, 400}, {`"1" "`, 400}, {`""`, 200},
	} {
		a := k.call("GET", one, "", header("If-None-Match", c.field)).want(c.status)
		if c.status == 304 && (len(a.body) > 0 || a.etag() != `"1"`) {
			t.Errorf("%s: ETag %s, %q", c.field, a.etag(), a.body)
		}
	}
	version := 1
	for _, c := range []struct {
		field  string
		status int
	}{
		{`"%d"`, 200}, {`*`, 200}, {`"999", "%d"`, 200}, {`W/"%d"`, 412}, {`"999"`, 412}, {`"%d" trailing`, 400}, {`%d`, 400},
	} {
		a := k.call("PUT", one, `{"targetName":"a"}`, header("If-Match", strings.ReplaceAll(c.field, "%d", fmt.Sprint(version)))).want(c.status)
		if c.status == 200 {
			version++
		} else if c.status == 412 && a.etag() != fmt.Sprintf(`"%d"`, version) {
			t.Errorf("%s: the answer does not tell the present ETag but %s", c.field, a.etag())
		}
	}
	k.call("DELETE", one, "", header("If-Match", `"1"`)).problem(http.StatusPreconditionFailed, "stale")
	k.call("PUT", one, `{"targetName":"a"}`, header("If-Match", `"1"`), header("If-Match", fmt.Sprintf(`"%d"`, version))).want(http.StatusOK)
	k.call("PUT", "/clients/acme/targets/none", `{"targetName":"a"}`, header("If-Match", `"1"`)).problem(http.StatusNotFound, "not-found")
	k.call("DELETE", one, "", header("If-Match", fmt.Sprintf(`"%d"`, version+1))).want(http.StatusOK)
}

// TestTwoEditors: both have read the record, one of them is told that it has changed.
func TestTwoEditors(t *testing.T) {
	k := newKit(t)
	id, made := k.make("acme", "targets", fmt.Sprintf(targetBody, "a"))
	statuses := make([]int, 2)
	var both sync.WaitGroup
	for i := range statuses {
		both.Go(func() {
			statuses[i] = k.call("PUT", "/clients/acme/targets/"+id, fmt.Sprintf(`{"targetName":"editor %d"}`, i), header("If-Match", made.etag())).StatusCode
		})
	}
	both.Wait()
	slices.Sort(statuses)
	if !slices.Equal(statuses, []int{200, 412}) {
		t.Error(statuses)
	}
}

// TestChangeOnTopOfAnother: without a condition, a change that came in between is not lost,
// and no reason to refuse.
func TestChangeOnTopOfAnother(t *testing.T) {
	k := newKit(t)
	id, _ := k.make("acme", "targets", fmt.Sprintf(targetBody, "a"))
	one := "/clients/acme/targets/" + id
	between := 0
	k.fake.before = func() {
		if between++; between == 1 { // while the first change is being made
			k.call("PUT", one, `{"targetRegion":"eu-west-1"}`).want(http.StatusOK)
		}
	}
	a := k.call("PUT", one, `{"targetTestPath":"/health"}`).want(http.StatusOK)
	if a.text("targets.0.targetRegion") != "eu-west-1" || a.text("targets.0.targetTestPath") != "/health" {
		t.Errorf("%s", a.body)
	}
	k.fake.before = func() { // each time
		k.fake.mu.Lock()
		defer k.fake.mu.Unlock()
		k.fake.records[store.Targets][id].(*store.Target).Version++
	}
	k.call("PUT", one, `{"targetTestPath":"/up"}`).want(http.StatusOK)
	k.call("PUT", one, `{"targetTestPath":"/up2"}`, header("If-Match", "*")).want(http.StatusOK)
	k.call("POST", one+"/rules", `{"effect":"deny"}`).want(http.StatusCreated)
	version := k.fake.records[store.Targets][id].(*store.Target).Version
	k.call("PUT", one, `{"targetTestPath":"/up3"}`, header("If-Match", fmt.Sprintf(`"%d"`, version))).problem(http.StatusPreconditionFailed, "stale")
	k.call("DELETE", one, "").want(http.StatusOK)
}

// TestDeclared: what the configuration declares is shown, without an ETag, and not changed.
func TestDeclared(t *testing.T) {
	k := newKit(t)
	id := "6ba7b811-9dad-51d1-80b4-00c04fd430c8"
	k.fake.records[store.Targets][id] = &store.Target{Head: store.Head{ID: id, Client: store.DefaultClient, Declared: true}, Name: "declared", URL: "https://api.example.com"}
	one := "/clients/default/targets/" + id
	if a := k.call("GET", one, "", header("If-None-Match", "*")).want(http.StatusOK); a.etag() != "" {
		t.Error(a.etag())
	}
	k.call("PUT", one, `{"targetName":"x"}`).problem(http.StatusConflict, "conflict")
	k.call("DELETE", one, "").problem(http.StatusConflict, "conflict")
	k.call("POST", one+"/rules", `{"effect":"deny"}`).problem(http.StatusConflict, "conflict")
}

func TestParallelCreates(t *testing.T) {
	k := newKit(t)
	const count = 200
	ids := make([]string, count)
	var all sync.WaitGroup
	for i := range ids {
		all.Go(func() {
			ids[i] = k.call("POST", "/clients/acme/targets", fmt.Sprintf(targetBody, fmt.Sprint(i))).Header.Get("Location")
		})
	}
	all.Wait()
	slices.Sort(ids)
	if unique := slices.Compact(ids); len(unique) != count || unique[0] == "" {
		t.Errorf("%d different ids, the first is %q", len(unique), unique[0])
	}
	if n := len(k.call("GET", "/clients/acme/targets?limit=1000", "").get("targets").([]any)); n != count {
		t.Errorf("%d targets", n)
	}
	taken := k.call("POST", "/clients/acme/targets", fmt.Sprintf(targetBody, "7"))
	taken.problem(http.StatusConflict, "conflict")
	if taken.text("users.0.name") != "7" {
		t.Errorf("%s", taken.body)
	}
}

// TestFaultsOfTheCatalogue: what only the catalogue can tell is told with a pointer.
func TestFaultsOfTheCatalogue(t *testing.T) {
	k := newKit(t)
	k.fake.refused = func(any) error { return &catalog.Invalid{Field: "url", Detail: "a private address"} }
	places := k.call("POST", "/clients/acme/targets", fmt.Sprintf(targetBody, "a")).problem(http.StatusUnprocessableEntity, "invalid")
	if !slices.Equal(places, []string{"/targetBaseURL"}) {
		t.Error(places)
	}
}
