package examples

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

const stripeKey = "sk_test_of_the_vendor_itself"

// mounted puts what the Caddyfiles find in a pod or beside a SPIRE agent into a folder of
// the test, and returns the text with its paths changed to there.
func mounted(t *testing.T, text, bundle string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"var/run/secrets/kubernetes.io/serviceaccount/ca.crt": bundle,
		"var/run/secrets/kubernetes.io/serviceaccount/token":  "token-of-the-gateway-itself",
		"run/spire/bundle.pem":                                bundle,
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return strings.ReplaceAll(text, "{file./", "{file."+dir+"/")
}

func readText(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestJWTCallersAreValid adapts and validates the Caddyfile of each provider as it stands.
func TestJWTCallersAreValid(t *testing.T) {
	t.Setenv("STRIPE_KEY", stripeKey)
	files, err := filepath.Glob("jwt-callers/*.Caddyfile")
	if err != nil || len(files) != 9 {
		t.Fatalf("found %v, %v", files, err)
	}
	bundle := newSPIFFE(t).bundle
	page, guide := readText(t, "jwt-callers/README.md"), readText(t, "../docs/providers.md")
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			config, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt(
				[]byte(mounted(t, readText(t, file), bundle)), map[string]any{"filename": file})
			if err != nil || len(warnings) > 0 {
				t.Fatalf("%v %v", err, warnings)
			}
			var cfg caddy.Config
			if err := json.Unmarshal(config, &cfg); err != nil {
				t.Fatal(err)
			}
			cfg.StorageRaw = json.RawMessage(`{"module": "file_system", "root": ` + strconv.Quote(t.TempDir()) + `}`)
			if err := caddy.Validate(&cfg); err != nil {
				t.Error(err)
			}
			if !strings.Contains(page, "("+filepath.Base(file)+")") || !strings.Contains(guide, "(../examples/"+file+")") {
				t.Error("the example's page or docs/providers.md has no link to it")
			}
		})
	}
}

// TestGuideHasTheExamples compares the configurations of docs/providers.md with those of
// the examples: options in the guide are in the provider's Caddyfile too.
func TestGuideHasTheExamples(t *testing.T) {
	guide := readText(t, "../docs/providers.md")
	section := regexp.MustCompile(`(?ms)^\[([\w-]+\.Caddyfile)\]\(.*?\)$(.*?)(?:^## |\z)`)
	block := regexp.MustCompile("(?ms)^```caddyfile\n(.*?)^```")
	found := 0
	for _, m := range section.FindAllStringSubmatch(guide, -1) {
		example := " " + strings.Join(strings.Fields(readText(t, "jwt-callers/"+m[1])), " ")
		for _, b := range block.FindAllStringSubmatch(m[2], -1) {
			found++
			for line := range strings.Lines(b[1]) {
				if line = strings.Join(strings.Fields(line), " "); line != "}" && !strings.Contains(example, " "+line+" ") {
					t.Errorf("%s has no %q, which docs/providers.md shows", m[1], line)
				}
			}
		}
	}
	if found < 10 {
		t.Errorf("only %d configurations found in docs/providers.md", found)
	}
}

// TestJWTCallers runs each example with a provider of its own in the place of the real one,
// whose keys alone are different, and a vendor that records what it gets.
func TestJWTCallers(t *testing.T) {
	t.Setenv("STRIPE_KEY", stripeKey)
	provider := idp.New(t)
	provider.AddKey("RS256", "k1")
	workloads := newSPIFFE(t)
	expected := "\n\n" + readText(t, "jwt-callers/expected.txt") + "\n"
	files := map[string]bool{}
	for _, c := range jwtCalls {
		files[c.file] = true
	}
	for file := range files {
		t.Run(file, func(t *testing.T) {
			vendor := rrtest.NewUpstream(t)
			site := newSite(t, file, provider, vendor, workloads)
			var answers strings.Builder
			for _, c := range jwtCalls {
				if c.file != file {
					continue
				}
				status := site.call(t, c.name, provider.Token("k1", c.token, nil), c.method, c.want)
				fmt.Fprintf(&answers, "%d %s, %s: %s\n", status, file, c.method, c.name)
				if c.want != http.StatusOK {
					continue
				}
				old := with(c.token, claims{"iat": time.Now().Add(-48 * time.Hour).Unix()})
				site.call(t, c.name+", but of two days ago", provider.Token("k1", old, nil), c.method, 401)
				if file != "spiffe" { // which has no issuer
					other := with(c.token, claims{"iss": fmt.Sprint(c.token["iss"], "x")})
					site.call(t, c.name+", but of another issuer", provider.Token("k1", other, nil), c.method, 401)
				}
			}
			if file == "spiffe" {
				site.callWithCertificates(t, workloads)
			}
			if !strings.Contains(expected, "\n\n"+answers.String()+"\n") {
				t.Errorf("jwt-callers/expected.txt does not have\n%s", answers.String())
			}
			for _, got := range vendor.Received() {
				if got.Header.Get("Authorization") != "Bearer "+stripeKey {
					t.Errorf("the vendor got %v", got.Header)
				}
			}
		})
	}
}

// site is an example that runs.
type site struct {
	url    string
	client *http.Client
	caddy  *rrtest.Caddy
	vendor *rrtest.Upstream
}

var (
	jwksURLLine    = regexp.MustCompile(`(?m)^\s*jwks_url .*\n`)
	algorithmsLine = regexp.MustCompile(`(?m)^\s*algorithms .*\n`)
)

// newSite starts an example. Its issuers stay, their keys come from the provider.
func newSite(t *testing.T, file string, provider *idp.Provider, vendor *rrtest.Upstream, workloads *spiffeDomain) *site {
	t.Helper()
	address := rrtest.Addr(rrtest.FreePort(t))
	s := &site{url: "http://" + address, client: rrtest.HTTP1(t, nil), vendor: vendor}
	text := mounted(t, readText(t, "jwt-callers/"+file+".Caddyfile"), workloads.bundle)
	text = jwksURLLine.ReplaceAllString(text, "")
	text = algorithmsLine.ReplaceAllString(text, "${0}jwks_url "+provider.JWKSURL()+"\n")
	text = strings.NewReplacer("https://api.stripe.com", vendor.URL, "hosts api.stripe.com", "hosts "+vendor.URL,
		"\trr {\n", "\trr {\n\t\tthrottle off\n").Replace(text)
	if file == "spiffe" {
		ca := rrtest.NewCA(t)
		cert, key := ca.Files(t, "localhost") // a name: with client_auth Caddy wants SNI and Host to be the same
		s.url, s.client = "https://"+strings.Replace(address, "127.0.0.1", "localhost", 1), rrtest.HTTP1(t, ca)
		text = strings.NewReplacer("\ngateway.example.com {", "\n"+s.url+" {", "\ttls {", "\ttls "+cert+" "+key+" {").Replace(text)
	}
	t.Setenv("GATEWAY", s.url)
	s.caddy = rrtest.Start(t, text)
	token := provider.Token("k1", claims{"iss": "nobody"}, nil)
	rrtest.Eventually(t, "the keys are there", func() bool { return s.send(t, s.client, token, "GET").Status != http.StatusServiceUnavailable })
	return s
}

func (s *site) send(t *testing.T, client *http.Client, token, method string) rrtest.Answer {
	t.Helper()
	path, headers := "/v1/charges", []string{"X-Test: yes"}
	if method == "POST" {
		path = "/v1/refunds"
	}
	if token != "" {
		headers = append(headers, "Authorization: Bearer "+token)
	}
	return rrtest.Send(t, client, rrtest.Request(t, method, s.url+path, "", headers...))
}

// call makes a call whose answer has to have this status, and returns the one it has.
func (s *site) call(t *testing.T, name, token, method string, want int) int {
	t.Helper()
	got := s.send(t, s.client, token, method)
	if got.Status != want {
		t.Errorf("%s, %s: %d, want %d", name, method, got.Status, want)
	}
	if token != "" && strings.Contains(s.caddy.Logs(), token) {
		t.Errorf("%s: the token is in the log", name)
	}
	return got.Status
}

// callWithCertificates calls the site of spiffe.Caddyfile as workloads with X509-SVIDs.
func (s *site) callWithCertificates(t *testing.T, workloads *spiffeDomain) {
	t.Helper()
	for _, c := range []struct {
		id     string
		domain *spiffeDomain
		method string
		want   int
	}{
		{"spiffe://example.org/ns/billing/sa/worker", workloads, "GET", 200},
		{"spiffe://example.org/ns/billing/sa/worker", workloads, "POST", 200},
		{"spiffe://example.org/ns/billing/sa/clerk", workloads, "POST", 403},
		{"spiffe://example.org/ns/shop/sa/worker", workloads, "GET", 401},
		{"spiffe://example.org/ns/billing/sa/worker", newSPIFFE(t), "GET", 401},
	} {
		client := *s.client
		transport := client.Transport.(*http.Transport).Clone()
		transport.TLSClientConfig.Certificates = []tls.Certificate{c.domain.svid(t, c.id)}
		client.Transport = transport
		t.Cleanup(transport.CloseIdleConnections)
		if got := s.send(t, &client, "", c.method); got.Status != c.want {
			t.Errorf("certificate of %s, %s: %d, want %d", c.id, c.method, got.Status, c.want)
		}
	}
	s.call(t, "neither certificate nor token", "", "GET", 401)
}
