package api_test

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/api"
	"github.com/caddy-rr/caddy-rr/internal/audit"
	"github.com/caddy-rr/caddy-rr/store"
)

func key(text string) option { return header("Idempotency-Key", text) }

const generated = `{"credentialName":%q,"credentialType":"proxy","credentialAuthType":"key"}`

// TestSameRequestTwice: the second gets the first one's answer, to the byte, and nothing is
// made twice.
func TestSameRequestTwice(t *testing.T) {
	k := newKit(t)
	body := fmt.Sprintf(generated, "agent")
	first := k.call("POST", "/clients/acme/credentials", body, key("k-1")).want(http.StatusCreated)
	second := k.call("POST", "/api/clients/acme/credentials", body, key("k-1")).want(http.StatusCreated)
	if !bytes.Equal(first.body, second.body) || first.etag() != second.etag() || first.Header.Get("Location") != second.Header.Get("Location") {
		t.Errorf("first %v %s\nsecond %v %s", first.Header, first.body, second.Header, second.body)
	}
	if !strings.Contains(string(first.body), "rr_live_") {
		t.Errorf("no key was made: %s", first.body)
	}
	if first.Header.Get("Idempotency-Replayed") != "" || second.Header.Get("Idempotency-Replayed") != "true" {
		t.Error("the answers do not tell which is which")
	}
	if n := len(k.fake.records[store.Credentials]); n != 1 {
		t.Errorf("%d credentials", n)
	}
	other := k.call("POST", "/clients/acme/credentials", fmt.Sprintf(generated, "other"), key("k-1"))
	if places := other.problem(http.StatusUnprocessableEntity, "idempotency-key-reused"); !slices.Equal(places, []string{"Idempotency-Key"}) {
		t.Error(places)
	}
	// a key is one principal's, for one path
	k.call("POST", "/clients/globex/credentials", body, key("k-1")).want(http.StatusCreated)
	bob := api.Principal{Actor: audit.Actor{Kind: audit.User, Name: "bob"}, Role: api.Owner, All: true}
	k.call("POST", "/clients/acme/credentials", body, key("k-1"), as(bob)).problem(http.StatusConflict, "conflict")
	// whoever may not create may not see what was created either
	reader := root
	reader.Role = api.Reader
	k.call("POST", "/clients/acme/credentials", body, key("k-1"), as(reader)).problem(http.StatusForbidden, "role-missing")

	k.clock.pass(24*time.Hour + time.Second)
	k.call("POST", "/clients/acme/credentials", body, key("k-1")).problem(http.StatusConflict, "conflict")
	k.call("POST", "/clients/acme/credentials", fmt.Sprintf(generated, "later"), key("k-1")).want(http.StatusCreated)
	k.call("POST", "/clients/acme/credentials", fmt.Sprintf(generated, "later"), key("k-1")).want(http.StatusCreated)
}

// TestFailuresAreNotKept: what failed has changed nothing, and may be tried again.
func TestFailuresAreNotKept(t *testing.T) {
	k := newKit(t)
	k.call("POST", "/clients/acme/targets", `{}`, key("k")).problem(http.StatusUnprocessableEntity, "invalid")
	k.fake.err = store.ErrFull
	k.call("POST", "/clients/acme/targets", fmt.Sprintf(targetBody, "a"), key("k")).problem(http.StatusInsufficientStorage, "store-full")
	k.fake.err = nil
	k.call("POST", "/clients/acme/targets", fmt.Sprintf(targetBody, "a"), key("k")).want(http.StatusCreated)
}

// TestSameRequestAtOnce: one is executed; the others are told that it runs, or get its
// answer.
func TestSameRequestAtOnce(t *testing.T) {
	k := newKit(t)
	const count = 16
	inside, leave := make(chan struct{}, count), make(chan struct{})
	k.fake.before = func() {
		inside <- struct{}{}
		<-leave
	}
	statuses := make([]int, count)
	var all sync.WaitGroup
	for i := range statuses {
		all.Go(func() {
			a := k.call("POST", "/clients/acme/targets", fmt.Sprintf(targetBody, "a"), key("k"))
			if statuses[i] = a.StatusCode; a.StatusCode == http.StatusConflict {
				a.problem(http.StatusConflict, "still-running")
				if a.Header.Get("Retry-After") == "" {
					t.Error("no Retry-After")
				}
			}
		})
		if i == 0 {
			<-inside // the first is being executed
		}
	}
	go func() {
		time.Sleep(50 * time.Millisecond) // proves nothing: it lets some others come meanwhile
		close(leave)
	}()
	all.Wait()
	if n := len(k.fake.records[store.Targets]); n != 1 || statuses[0] != http.StatusCreated {
		t.Errorf("%d targets; %v", n, statuses)
	}
	for _, s := range statuses {
		if s != http.StatusCreated && s != http.StatusConflict {
			t.Error(statuses)
		}
	}
	k.fake.before = nil
	k.call("POST", "/clients/acme/targets", fmt.Sprintf(targetBody, "a"), key("k")).want(http.StatusCreated)
}

// TestAnotherNodeWasQuicker: two nodes with one store, the same request.
func TestAnotherNodeWasQuicker(t *testing.T) {
	k := newKit(t)
	other := api.New(k.fake, api.Options{Prefix: "/rr", Now: k.clock.Now})
	here := k.handler
	k.fake.before = func() {
		k.fake.before = nil
		k.handler = other
		k.call("POST", "/clients/acme/targets", fmt.Sprintf(targetBody, "a"), key("k")).want(http.StatusCreated)
		k.handler = here
		for _, r := range k.fake.records[store.Targets] {
			r.(*store.Target).Name = "renamed" // so that the name is not what is in the way
		}
	}
	k.call("POST", "/clients/acme/targets", fmt.Sprintf(targetBody, "a"), key("k")).problem(http.StatusConflict, "still-running")
	if n := len(k.fake.records[store.Targets]); n != 1 {
		t.Errorf("%d targets", n)
	}
	k.call("POST", "/clients/acme/targets", fmt.Sprintf(targetBody, "a"), key("k")).want(http.StatusCreated)
}

func TestBadKeys(t *testing.T) {
	k := newKit(t)
	for _, bad := range []string{"", strings.Repeat("k", 256), "tab\there", "ümlaut"} {
		places := k.call("POST", "/clients/acme/targets", fmt.Sprintf(targetBody, "a"), key(bad)).problem(http.StatusBadRequest, "bad-parameter")
		if !slices.Equal(places, []string{"Idempotency-Key"}) {
			t.Errorf("%q: %v", bad, places)
		}
	}
	k.call("POST", "/clients/acme/targets", fmt.Sprintf(targetBody, "a"), key("a"), key("b")).problem(http.StatusBadRequest, "bad-parameter")
	k.call("POST", "/clients/acme/targets", fmt.Sprintf(targetBody, "a"), key(strings.Repeat("k", 255))).want(http.StatusCreated)
}

// TestKeptAnswersAreBounded: what is too old goes, and the oldest goes first.
func TestKeptAnswersAreBounded(t *testing.T) {
	k := newKit(t)
	kept := func() (n int) {
		for _, err := range k.fake.store.List(t.Context(), store.Replies, "") {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		return n
	}
	for i := range 20 {
		k.call("POST", "/clients/acme/targets", fmt.Sprintf(targetBody, fmt.Sprint(i)), key(fmt.Sprint(i))).want(http.StatusCreated)
	}
	if n := kept(); n != 20 {
		t.Fatalf("%d answers are kept", n)
	}
	k.clock.pass(25 * time.Hour)
	k.call("POST", "/clients/acme/targets", fmt.Sprintf(targetBody, "last"), key("last")).want(http.StatusCreated)
	if n := kept(); n != 1 {
		t.Errorf("%d answers are kept after a day", n)
	}
}

// TestKeptAnswersAreSealed: an answer may show a key that was made.
func TestKeptAnswersAreSealed(t *testing.T) {
	k := newKit(t)
	made := k.call("POST", "/clients/acme/credentials", fmt.Sprintf(generated, "agent"), key("k")).text("credentials.0.credentialSecret.key")
	for e, err := range k.fake.memory.List(t.Context(), store.Replies, "") {
		if err != nil || bytes.Contains(e.Value, []byte(made)) || bytes.Contains(e.Value, []byte("agent")) {
			t.Errorf("%v: %q", err, e.Value)
		}
	}
}

// TestAnswersOfOthersStay: requests of one client do not make the gateway forget the answers
// of another.
func TestAnswersOfOthersStay(t *testing.T) {
	k := newKit(t)
	body := fmt.Sprintf(generated, "agent")
	k.call("POST", "/clients/globex/credentials", body, key("mine")).want(http.StatusCreated)
	for i := range 2_500 {
		_, err := k.fake.store.Apply(t.Context(), store.Put{
			Bucket: store.Replies, Key: fmt.Sprint("acme-", i), Version: 1,
			Value: map[string]any{"client": "acme", "expires_at": k.clock.Now().Add(24*time.Hour + time.Duration(i)*time.Second)},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	k.clock.pass(11 * time.Minute)
	k.call("POST", "/clients/acme/targets", fmt.Sprintf(targetBody, "a"), key("k")).want(http.StatusCreated)
	n := 0
	for sealed, err := range k.fake.store.List(t.Context(), store.Replies, "acme-") {
		if err != nil {
			t.Fatal(err)
		}
		if n++; sealed.Key == "acme-0" {
			t.Error("the oldest stays")
		}
	}
	if n < 800 || n > 1000 {
		t.Errorf("%d answers of acme stay", n)
	}
	if k.call("POST", "/clients/globex/credentials", body, key("mine")).want(http.StatusCreated).Header.Get("Idempotency-Replayed") == "" {
		t.Error("it was not replayed")
	}
}

// TestWhatWasDeletedIsNotShownAgain: nor is its secret.
func TestWhatWasDeletedIsNotShownAgain(t *testing.T) {
	k := newKit(t)
	body := fmt.Sprintf(generated, "agent")
	made := k.call("POST", "/clients/acme/credentials", body, key("k")).want(http.StatusCreated)
	one := "/clients/acme/credentials/" + made.text("credentials.0.credentialId")
	k.call("POST", one+"/rotate", "", key("r")).want(http.StatusOK)
	k.call("DELETE", one, "").want(http.StatusOK)
	k.call("POST", "/clients/acme/credentials", body, key("k")).problem(http.StatusNotFound, "not-found")
	k.call("POST", one+"/rotate", "", key("r")).problem(http.StatusNotFound, "not-found")
	k.call("POST", "/clients/acme/credentials", body, key("k2")).want(http.StatusCreated)

	list := `{"client":"acme","credentials":[{"credentialName":"i","credentialType":"proxy","credentialAuthType":"key"}]}`
	made = k.call("POST", "/store/import", list, key("i")).want(http.StatusOK)
	k.call("POST", "/store/import", list, key("i")).want(http.StatusOK)
	k.call("DELETE", "/clients/acme/credentials/"+made.text("credentials.0.credentialId"), "").want(http.StatusOK)
	k.call("POST", "/store/import", list, key("i")).problem(http.StatusNotFound, "not-found")
}
