package wire

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/store"
)

// TestDocsNameEveryField looks for all JSON names in docs/api-records.md.
func TestDocsNameEveryField(t *testing.T) {
	text, err := os.ReadFile("../../docs/api-records.md")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, v := range []any{Credential{}, CredentialRequest{}, RotateRequest{}, Target{}, TargetRequest{}, Proxy{}, ProxyRequest{}, Client{}, ClientRequest{}, Block{}, BlockRequest{}, CheckRequest{},
		Carrier{}, Placement{}, ClaimMatch{}, Revoked{}, RevokedSubject{}, DPoP{}, BasicParts{}, SuccessParts{}, TokenIn{}, CustomValue{}, RuleCheck{}, RuleBodyCheck{}, RuleTokenCheck{}, RulePath{}, Pattern{}} {
		names = append(names, namesOf(reflect.TypeOf(v))...)
	}
	names = append(names, namesOf(reflect.TypeOf(Rule{}))...)
	for _, members := range ruleMembers {
		names = append(names, members...)
	}
	for _, later := range []map[string]string{credentialRequest.later, proxyRequest.later, clientRequest.later} {
		for name := range later {
			if !strings.HasSuffix(name, "Filters") && !strings.HasSuffix(name, "Meters") {
				names = append(names, name)
			}
		}
	}
	for _, side := range []string{store.ProxySide, store.TargetSide} {
		names = append(names, AuthTypes(side)...)
		for _, k := range kindsOf(side) {
			names = append(names, k.schema().known...)
		}
	}
	missing := map[string]bool{}
	for _, name := range names {
		if !strings.Contains(string(text), "`"+name+"`") && !strings.Contains(string(text), `"`+name+`"`) {
			missing[name] = true
		}
	}
	for _, name := range sortedKeys(missing) {
		t.Errorf("docs/api-records.md does not tell of %s", name)
	}
}
