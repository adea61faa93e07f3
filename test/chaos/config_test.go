package chaos

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	_ "github.com/caddy-rr/caddy-rr" // its directives
	"github.com/caddy-rr/caddy-rr/internal/rrtest"
	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

// template is the gateway of the run: a proxy for each way of verifying and injecting, and
// all that is made through the API. Names in capitals are replaced. Idle connections to
// upstreams end soon, so that leaks can be told.
const template = `{
	admin ADMIN
	default_bind 127.0.0.1
	auto_https off
	grace_period 15s
	log {
		format rr
		level DEBUG
	}
	servers {
		trusted_proxies static 127.0.0.1/32
	}
	rr {
		store bolt DISK/rr.db
		egress allow 127.0.0.0/8
		credential agent accept key {env.AGENT_KEY} {
			deny /keyed/denied/*
		}
		SEASONAL
		TARGETS
		proxy keyed {
			accept credential agent
			ACCEPT_SEASONAL
			target keyed
			present bearer {env.VENDOR_TOKEN}
			deny GET /variant/VARIANT
			MORE
		}
		proxy jwt {
			accept jwt_verify {
				issuer IDP
				audience https://gateway.example
				unknown_kid_interval 1s
				timeout 2s
			}
			target jwt
			present key {env.VENDOR_KEY} {
				header X-Vendor
			}
		}
		proxy opaque {
			accept introspect {
				url IDP/introspect
				client_id gateway
				client_secret {env.INTROSPECTION_SECRET}
				timeout 2s
			}
			target opaque
			present key {env.VENDOR_KEY} {
				query key
			}
		}
		proxy oauth {
			accept credential agent
			target oauth
			present oauth2 {
				grant client_credentials
				token_url TOKENS/token
				client_id gateway
				client_secret {env.OAUTH_SECRET}
				timeout 2s
			}
		}
		proxy login {
			accept credential agent
			target login
			present custom_token {
				url LOGIN/login
				request_header X-Password {secret.password}
				secret password {env.CUSTOM_PASSWORD}
				token $.session.token
				expires_in $.session.ttl
				to header X-Session
				timeout 2s
			}
		}
		proxy mint {
			accept jwt_verify {
				issuer IDP
				audience https://gateway.example
				unknown_kid_interval 1s
				timeout 2s
			}
			target mint
			present jwt {
				private_key {file.MINT_KEY}
				claims {
					iss gateway
					sub {http.auth.user.sub}
				}
			}
		}
	}
}

GATE {
	log to_file {
		output file DISK/access.log {
			roll_size 4MiB
			roll_keep 3
			roll_uncompressed
		}
		format rr
	}
	log to_stderr {
		output stderr
		format rr
	}
	handle /keyed/* {
		rr_proxy keyed
	}
	handle /jwt/* {
		rr_proxy jwt
	}
	handle /opaque/* {
		rr_proxy opaque
	}
	handle /oauth/* {
		rr_proxy oauth
	}
	handle /login/* {
		rr_proxy login
	}
	handle /mint/* {
		rr_proxy mint
	}
	handle /api/* {
		rr_gateway /api/*
	}
	EXTRA_SITE
}
`

// config writes the configurations of a run.
type config struct {
	seasonal string // file with the key that comes and goes
	taken    net.Listener
	vars     []string
	vendor   vendorSecrets
	agent    string
	caller   string // the seasonal key
}

// vendorSecrets are what the upstream accepts as it is.
type vendorSecrets struct{ token, key string }

func newConfig(t *testing.T, g *gateway, up *upstream, p *provider, tokens, login *issuer, mint *idp.Key) *config {
	t.Helper()
	c := &config{vendor: vendorSecrets{secret(ofVendor), secret(ofVendor)}, agent: secret(ofCaller), caller: secret(ofCaller)}
	c.seasonal = writeFile(t, "seasonal", []byte(c.caller))
	var err error
	if c.taken, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.taken.Close() })
	var targets strings.Builder
	for _, name := range []string{"keyed", "jwt", "opaque", "oauth", "login", "mint"} {
		fmt.Fprintf(&targets, `target %s %s {
			transport http {
				keepalive 2s
				dial_timeout 2s
				response_header_timeout 4s
			}
		}
		`, name, up.url())
	}
	_, port, _ := net.SplitHostPort(g.gate)
	c.vars = []string{
		"ADMIN", g.admin, "GATE", ":" + port, "DISK", g.disk.folder, "TARGETS", targets.String(), "IDP", p.url(), "TOKENS", tokens.url(),
		"LOGIN", login.url(), "MINT_KEY", writeFile(t, "mint.pem", mint.PrivatePEM()),
	}
	g.env = append(g.env, "AGENT_KEY="+c.agent, "VENDOR_TOKEN="+c.vendor.token, "VENDOR_KEY="+c.vendor.key,
		"INTROSPECTION_SECRET="+p.secret, "OAUTH_SECRET="+tokens.secret, "CUSTOM_PASSWORD="+login.secret)
	return c
}

func writeFile(t *testing.T, name string, text []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// text is a configuration: one of many that differ, with the seasonal key or without it.
func (c *config) text(variant int, seasonal bool) string { return c.fill(variant, seasonal, "", "") }

func (c *config) fill(variant int, seasonal bool, more, site string) string {
	declared, accepted := "", ""
	if seasonal {
		declared, accepted = "credential seasonal accept key {file."+c.seasonal+"}", "accept credential seasonal"
	}
	// the two longer names first: the others are parts of them
	vars := append([]string{"ACCEPT_SEASONAL", accepted, "EXTRA_SITE", site, "MORE", more, "SEASONAL", declared, "VARIANT", strconv.Itoa(variant)}, c.vars...)
	return strings.NewReplacer(vars...).Replace(template)
}

// invalid are configurations that must be refused, each at another stage of loading.
func (c *config) invalid(variant int) map[string]string {
	return map[string]string{
		"syntax":           c.fill(variant, false, "}", ""),
		"unknown option":   c.fill(variant, false, "acept none", ""),
		"regexp":           c.fill(variant, false, "deny GET /x {\n\theader X-Y (\n}", ""),
		"unset secret":     c.fill(variant, false, "accept key {env.RR_CHAOS_NOT_SET}", ""),
		"missing file":     c.fill(variant, false, "accept key {file./rr/chaos/not/there}", ""),
		"unknown proxy":    c.fill(variant, false, "", "handle /nope/* {\n\trr_proxy nope\n}"),
		"taken port":       c.fill(variant, false, "", "") + "\n:" + portOf(c.taken) + " {\n\trespond ok\n}\n",
		"nothing of rr's":  c.fill(variant, false, "", "reverse_proxy {\n\tnot_an_option\n}"),
		"no configuration": "\x00{",
	}
}

func portOf(l net.Listener) string {
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// TestConfigurations: those that shall load adapt, and what shall not load does not load for
// want of a word in the template.
func TestConfigurations(t *testing.T) {
	d := &disk{folder: t.TempDir()}
	g := &gateway{t: t, admin: "127.0.0.1:1", gate: "127.0.0.1:2", disk: d}
	p := newProvider(t)
	tokens, login := newTokens(t), newLogin(t)
	c := newConfig(t, g, newUpstream(t, nil), p, tokens, login, idp.NewKey(t, "ES256", ""))
	for _, seasonal := range []bool{true, false} {
		if _, err := rrtest.Adapt(c.text(1, seasonal)); err != nil {
			t.Error(err)
		}
	}
	if c.text(1, true) == c.text(2, true) || c.text(1, true) == c.text(1, false) {
		t.Error("they do not differ")
	}
}
