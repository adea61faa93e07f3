package test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

// commandsConfig is a gateway that commands reach on its admin endpoint, and with a token on
// its site.
const commandsConfig = `{
	admin ADMIN
	default_bind 127.0.0.1
	grace_period 1s
	rr {
		egress allow 127.0.0.0/8
		credential operator accept key {env.RR_OPERATOR}
	}
}
:GATEPORT {
	rr_verify /manage/* {
		accept credential operator
	}
	rr_api /manage/* {
		owner credential operator
		clients *
	}
	rr_gateway /api/*
}
`

// cliBefore are commands that a section of docs/cli.md takes for granted, by the command
// before which they have to be done; "" is the section's beginning.
var cliBefore = map[string]map[string]string{
	"Reaching the gateway": {"": "printf %s \"$RR_OPERATOR\" > ../secrets/rr-token"},
	"caddy rr credentials": {
		"caddy rr credentials list": "caddy rr targets create --name stripe --base-url https://api.stripe.com; " + makeProxy +
			"; curl -H \"Authorization: Bearer $KEY\" https://gateway.example.com/api/stripe/",
		"caddy rr credentials get": "caddy rr proxies delete stripe --yes",
		"":                         "printf %s sk_test_stripe > ../secrets/stripe; openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out key.pem 2>&1",
	},
	"caddy rr credentials rotate": {
		"": makeStripe + "; printf %s sk_test_new > ../secrets/stripe-new",
	},
	"caddy rr targets": {"caddy rr targets delete stripe": makeCredentials + "; " + makeProxy},
	"caddy rr proxies": {
		"": makeStripe,
		"caddy rr proxies update stripe --credential research-agent --credential staff": "caddy rr credentials create --type proxy --kind key --name staff",
	},
	"caddy rr rules":   {"": makeStripe + "; " + makeProxy},
	"caddy rr test":    {"": makeStripe + "; " + makeProxy},
	"caddy rr health":  {"": makeStripe + "; " + makeProxy + "; caddy rr credentials create --type proxy --kind key --name a; caddy rr credentials create --type proxy --kind key --name b"},
	"caddy rr audit":   {"": makeStripe + "; printf %s sk_test_new > ../secrets/stripe; caddy rr credentials rotate stripe --secret-file ../secrets/stripe"},
	"caddy rr clients": {"caddy rr clients delete acme --force --yes": "caddy rr targets create --client acme --name crm --base-url https://api.stripe.com"},
	"caddy rr export, import, backup": {
		"":                           makeStripe + "; printf %s 'a long passphrase' > ../secrets/archive",
		"caddy rr import rr.archive": "caddy rr targets delete stripe --yes; caddy rr credentials delete stripe research-agent --yes",
		"caddy rr import credentials.json": `echo '{"credentials":[{"credentialName":"c","credentialType":"proxy","credentialAuthType":"key"},{"credentialName":"v","credentialType":"target","credentialAuthType":"key","credentialSecret":{"key":"sk"}}]}' > credentials.json
			echo '{"targets":[{"targetName":"t","targetBaseURL":"https://api.stripe.com"}]}' > targets.json
			echo '{"proxies":[]}' > proxies.json`,
	},
	"caddy rr check": {"": "cp ../Readmefile Caddyfile"},
}

const (
	makeCredentials = "printf %s sk_test_stripe > ../secrets/stripe" +
		"; caddy rr credentials create --type proxy --kind key --name research-agent" +
		"; caddy rr credentials create --type target --kind bearer --name stripe --secret-file ../secrets/stripe"
	makeStripe = makeCredentials + "; caddy rr targets create --name stripe --base-url https://api.stripe.com --test-path /v1/balance"
	makeProxy  = "caddy rr proxies create --name stripe --target stripe --target-credential stripe --credential research-agent"
)

// cliOtherwise are commands that are run in another way than the page has them.
var cliOtherwise = []struct{ command, otherwise, why string }{
	{"caddy rr targets delete stripe\n", "caddy rr targets delete stripe --yes\n", "nobody is there to be asked"},
	{"caddy rr audit --follow\n", "timeout -s INT 2 caddy rr audit --follow || test $? = 124\n", "it goes on until it is interrupted"},
}

// cliAlike are commands of which only the first line of the output is as the page has it:
// the rest is about records that other commands have made.
var cliAlike = regexp.MustCompile(`^caddy rr (audit --since|health)`)

// TestPagesCommands runs the commands of docs/cli.md, each section against a gateway of its
// own, and compares what they print with what the page shows.
func TestPagesCommands(t *testing.T) {
	page, err := os.ReadFile("../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	heading := regexp.MustCompile(`(?m)^##+ (.*)$`)
	parts := heading.FindAllStringSubmatchIndex(string(page), -1)
	ran := 0
	for i, at := range parts {
		end := len(page)
		if i+1 < len(parts) {
			end = parts[i+1][0]
		}
		section := string(page[at[2]:at[3]])
		blocks := rrtest.Blocks("docs/cli.md", string(page[at[1]:end]))
		if len(blocks) == 0 || section == "caddy rr authorize" { // internal/cli plays who consents
			continue
		}
		t.Run(strings.ReplaceAll(section, " ", "_"), func(t *testing.T) {
			config := daemonConfig
			if section == "Reaching the gateway" {
				config = commandsConfig
			}
			w := newWorkshop(t, config, "RR_OPERATOR="+otherKey, "ERP_PASSWORD=erp-password", "MAPS_KEY=maps-key", "CRM_SECRET=crm-secret",
				"PARTNER_TOKEN=partner-token", "AGENT_KEY="+callerKey, "RESEARCH_AGENT_KEY="+callerKey, "STRIPE_KEY="+vendorKey)
			if err := os.WriteFile(filepath.Join(w.dir, "Readmefile"), []byte(block(t, "README.md", readmeFirst)), 0o600); err != nil {
				t.Fatal(err)
			}
			before := cliBefore[section]
			if before[""] != "" {
				w.must(before[""])
			}
			for _, b := range blocks {
				for _, c := range commandsOf(b.Text) {
					for command, script := range before {
						if command != "" && strings.HasPrefix(c.line, command) {
							w.must(script)
						}
					}
					ran++
					w.command(c)
				}
			}
		})
	}
	if ran < 55 {
		t.Errorf("only %d commands were run", ran)
	}
}

// command runs a command of a page and compares what it prints.
func (w *workshop) command(c shown) {
	w.t.Helper()
	if file, ok := strings.CutPrefix(c.line, "cat "); ok && !strings.ContainsAny(file, "|>") {
		w.file(strings.TrimSpace(file), c.output)
		return
	}
	line := c.line
	for _, o := range cliOtherwise {
		line = strings.Replace(line, o.command, o.otherwise, 1)
	}
	out, err := w.run(line)
	output := c.output
	if question, rest, ok := strings.Cut(output, "[y/N] y\n"); ok && strings.HasPrefix(question, "Delete ") {
		output = rest
	}
	if fails := strings.Contains(output, "Error: "); fails != (err != nil) {
		w.t.Errorf("%s%v\n%s", c.line, err, out)
		return
	}
	came := out
	if cliAlike.MatchString(c.line) {
		output, _, _ = strings.Cut(output, "\n")
		came, _, _ = strings.Cut(came, "\n")
	}
	if output != "" {
		if err := alike(output, came); err != nil {
			w.t.Errorf("%s%v", c.line, err)
		}
		w.learn(output, out)
	}
}
