package api_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/api"
	"github.com/caddy-rr/caddy-rr/internal/audit"
)

// TestAuditOfChanges: who did what, by the names of fields.
func TestAuditOfChanges(t *testing.T) {
	k := newKit(t)
	bob := api.Principal{Actor: audit.Actor{Kind: audit.User, Name: "bob", Address: "192.0.2.7"}, Role: api.Editor, Clients: []string{"acme"}}
	id, made := k.make("acme", "credentials", fmt.Sprintf(vendorBody, "v"), as(bob))
	one := "/clients/acme/credentials/" + id
	k.call("PUT", one, string(lift(t, made, "credentials")), as(bob)).want(http.StatusOK)
	k.call("PUT", one, `{"credentialName":"w","credentialHosts":["api.example.com"]}`, as(bob)).want(http.StatusOK)
	k.call("PUT", one, `{"credentialSecret":{"key":"CANARY-next-0123456789"}}`, as(bob)).want(http.StatusOK)
	k.call("POST", one+"/rotate", `{"credentialSecret":{"key":"CANARY-rotated-0123456789"}}`, as(bob)).want(http.StatusOK)
	rule := k.call("POST", one+"/rules", `{"effect":"deny"}`, as(bob)).want(http.StatusCreated).text("rules.0.ruleId")
	k.call("PUT", one+"/rules/"+rule, `{"effect":"allow"}`, as(bob)).want(http.StatusOK)
	k.call("DELETE", one+"/rules/"+rule, "", as(bob)).want(http.StatusOK)
	k.call("DELETE", one, "", as(bob)).want(http.StatusOK)
	var got []string
	a := k.call("GET", "/clients/acme/audit", "").want(http.StatusOK)
	for i := range a.get("audit").([]any) {
		at := fmt.Sprintf("audit.%d.", i)
		fields, _ := a.get(at + "fields").([]any)
		got = append(got, fmt.Sprint(a.text(at+"action"), " ", a.text(at+"resource"), " ", fields))
		if a.text(at+"actor.name") != "bob" || a.text(at+"actor.kind") != "user" || a.text(at+"actor.address") != "192.0.2.7" || a.text(at+"client") != "acme" {
			t.Errorf("%s", a.body)
		}
		if want := map[string]string{"credentials": id, "rules": rule}[a.text(at+"resource")]; a.text(at+"id") != want {
			t.Errorf("entry %d is about %s, want %s", i, a.text(at+"id"), want)
		}
	}
	want := []string{
		"create credentials [credentialAuthType credentialName credentialSecret credentialType]",
		"update credentials []",
		"update credentials [credentialHosts credentialName]",
		"update credentials [credentialSecret]",
		"rotate credentials [credentialRotatedAt credentialSecret]",
		"update credentials [rules]", "create rules []",
		"update credentials [rules]", "update rules []",
		"update credentials [rules]", "delete rules []",
		"delete credentials []",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if strings.Contains(k.answers.String(), "CANARY") {
		t.Error("an answer has a secret")
	}
}

func TestAuditFilters(t *testing.T) {
	k := newKit(t) // entries are a minute apart, from 12:00 on
	bob := api.Principal{Actor: audit.Actor{Kind: audit.User, Name: "bob"}, Role: api.Owner, All: true}
	first, _ := k.make("acme", "targets", fmt.Sprintf(targetBody, "a"))
	k.make("acme", "targets", fmt.Sprintf(targetBody, "b"), as(bob))
	k.make("globex", "credentials", fmt.Sprintf(callerBody, "c"), as(bob))
	k.call("DELETE", "/clients/acme/targets/"+first, "").want(http.StatusOK)
	for path, want := range map[string]int{
		"/audit":                            4,
		"/audit?actor=bob":                  2,
		"/audit?actor=nobody":               0,
		"/audit?resource=targets":           3,
		"/audit?id=" + first:                2,
		"/audit?since=2027-01-31T12:01:00Z": 3,
		"/audit?until=2027-01-31T12:01:00Z": 1,
		"/audit?since=2027-01-31T13:01:00%2B01:00&until=2027-01-31T12:02:00Z": 1,
		"/clients/acme/audit":                   3,
		"/clients/acme/audit?actor=bob":         1,
		"/clients/globex/audit":                 1,
		"/clients/default/audit":                0,
		"/audit?actor=bob&resource=credentials": 1,
	} {
		if got := len(k.call("GET", path, "").want(http.StatusOK).get("audit").([]any)); got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
		lines := k.call("GET", path, "", header("Accept", "application/x-ndjson")).want(http.StatusOK)
		if got := bytes.Count(lines.body, []byte("\n")); got != want || lines.Header.Get("Content-Type") != "application/x-ndjson" {
			t.Errorf("%s: %d lines of %s, want %d", path, got, lines.Header.Get("Content-Type"), want)
		}
	}
	for _, path := range []string{"/audit?since=yesterday", "/audit?until=2027-01-31", "/audit?limit=0", "/audit?cursor=x"} {
		k.call("GET", path, "").problem(http.StatusBadRequest, "bad-parameter")
	}
	var seen []float64
	path := "/audit?limit=1&actor=bob"
	for pages := 0; path != "" && pages < 10; pages++ {
		a := k.call("GET", path, "").want(http.StatusOK)
		for _, e := range a.get("audit").([]any) {
			seen = append(seen, e.(map[string]any)["seq"].(float64))
		}
		path = ""
		if cursor, _ := a.get("cursor").(string); cursor != "" {
			path = "/audit?limit=1&actor=bob&cursor=" + url.QueryEscape(cursor)
		}
	}
	if fmt.Sprint(seen) != "[2 3]" {
		t.Error(seen)
	}
	if got := bytes.Count(k.call("GET", "/audit?limit=3", "", header("Accept", "application/x-ndjson")).body, []byte("\n")); got != 3 {
		t.Errorf("%d lines", got)
	}
}

// TestAuditExport: what is exported can be verified by whoever has it.
func TestAuditExport(t *testing.T) {
	k := newKit(t)
	for i := range 5 {
		k.make("acme", "targets", fmt.Sprintf(targetBody, fmt.Sprint(i)))
	}
	lines := k.call("GET", "/audit", "", header("Accept", "application/x-ndjson")).want(http.StatusOK).body
	if n, err := audit.Verify(audit.ReadLines(bytes.NewReader(lines))); n != 5 || err != nil {
		t.Errorf("%d entries, %v", n, err)
	}
	a := k.call("GET", "/audit/verify", "").want(http.StatusOK)
	if a.get("valid") != true || a.get("entries") != 5.0 {
		t.Errorf("%s", a.body)
	}
	k.fake.log[2].Name = "other"
	if a := k.call("GET", "/audit/verify", "").want(http.StatusOK); a.get("valid") != false || a.get("entries") != 2.0 || !strings.Contains(a.text("detail"), "entry 3") {
		t.Errorf("%s", a.body)
	}
	k.fake.log[2].Name = "2"
	k.fake.log = k.fake.log[:4]
	if a := k.call("GET", "/audit/verify", "").want(http.StatusOK); a.get("valid") != false || a.get("entries") != 4.0 {
		t.Errorf("%s", a.body)
	}
}
