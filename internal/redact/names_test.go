package redact

import (
	"fmt"
	"net/http"
	"reflect"
	"sync"
	"testing"
)

func TestFieldKnowsBuiltInNamesInAnySpelling(t *testing.T) {
	n := New()
	for _, name := range []string{"Authorization", "PROXY-AUTHORIZATION", "cookie", "Set-Cookie", "x_api_key", "X.Api.Key", "access_token", "client-secret"} {
		if !n.Field(name) {
			t.Errorf("Field(%q) = false, want true", name)
		}
	}
	for _, name := range []string{"", "uri", "code", "key", "token", "msg", "X-Api-Key-Id", "Accept"} {
		if n.Field(name) {
			t.Errorf("Field(%q) = true, want false", name)
		}
	}
}

func TestANameIsSensitiveUntilItsLastOwnerReleasesIt(t *testing.T) {
	n := New()
	old := n.Add(Header, "X-Vendor-Token")
	young := n.Add(Header, "x_vendor_token", "X-Other")
	old()
	old()
	if !n.Field("X-Vendor-Token") {
		t.Fatal("the name went with its first owner")
	}
	young()
	if n.Field("X-Vendor-Token") || n.Field("X-Other") {
		t.Fatal("the name stayed without an owner")
	}
	n.Add(Header, "Authorization")()
	if !n.Field("Authorization") {
		t.Fatal("releasing a built-in name removed it")
	}
}

func TestQueryAndCookieNamesAreNoFields(t *testing.T) {
	n := New()
	defer n.Add(Query, "key")()
	defer n.Add(Cookie, "code")()
	if n.Field("key") || n.Field("code") {
		t.Fatal("a parameter's name hides log fields of that name")
	}
}

func TestNamesCanChangeWhileTheyAreRead(t *testing.T) {
	n := New()
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 200 {
				release := n.Add(Header, fmt.Sprintf("X-%d-%d", i, j))
				drop, held := n.AddSecret(fmt.Sprintf("a-secret-%d-%d", i, j))
				if !held || !n.Field(fmt.Sprintf("X-%d-%d", i, j)) {
					t.Error("a name is not known right after Add")
				}
				if got := string(n.Line(fmt.Appendf(nil, "<a-secret-%d-%d>", i, j))); got != "<REDACTED>" {
					t.Errorf("a secret is not known right after AddSecret: %s", got)
				}
				drop()
				release()
			}
		})
	}
	wg.Wait()
	if len(n.refs) != 0 || len(n.values.held) != 0 || len(n.values.forms) != 0 {
		t.Fatalf("%d names, %d secrets, %d forms left behind", len(n.refs), len(n.values.held), len(n.values.forms))
	}
}

func TestLookingUpANameDoesNotAllocate(t *testing.T) {
	n := New()
	if got := testing.AllocsPerRun(100, func() { n.Field("X_Api_Key"); n.Field("User-Agent") }); got != 0 {
		t.Fatalf("%v allocations", got)
	}
}

func TestValueScrubsEveryDepth(t *testing.T) {
	n := New()
	defer n.Add(Cookie, "sid")()
	defer n.Add(Query, "hapikey")()
	type inner struct {
		Password string `json:"password"`
		Port     int    `json:"port"`
	}
	got, err := n.Value(map[string]any{
		"headers": http.Header{"X-Api-Key": {"s3cret"}, "Accept": {"*/*"}},
		"cookies": []*http.Cookie{{Name: "sid", Value: "s3cret"}, {Name: "theme", Value: "dark"}},
		"query":   map[string][]string{"hapikey": {"s3cret"}, "limit": {"3"}},
		"config":  &inner{"s3cret", 80},
		"url":     "https://x/?key=s3 cret",
		"list":    []any{"https://x/?key=s3cret", 12345678901234567, nil},
		"secret":  map[string]any{"a": "s3cret"},
		"code":    "proxy-access-denied",
	})
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprint(got)
	for _, want := range []string{
		"X-Api-Key:REDACTED", "Accept:[*/*]", "Name:sid", "Value:REDACTED", "Value:dark", "hapikey:REDACTED", "limit:[3]",
		"password:REDACTED", "port:80", "url:https://x/?key=REDACTED", "[https://x/?key=REDACTED 12345678901234567 <nil>]",
		"secret:REDACTED", "code:proxy-access-denied",
	} {
		if !contains(text, want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
	if contains(text, "s3") {
		t.Errorf("leaks: %s", text)
	}
}

func TestValueKeepsWhatJSONCannotHoldAsAnError(t *testing.T) {
	if v, err := New().Value(make(chan int)); err == nil {
		t.Fatalf("Value of a channel = %v, want an error", v)
	}
	if v, err := New().Value(42); err != nil || !reflect.DeepEqual(v, 42) {
		t.Fatalf("Value(42) = %v, %v", v, err)
	}
}
