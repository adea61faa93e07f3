package cli

import "github.com/spf13/cobra"

// The kinds of records that the API has.

var clients = &resource{
	plural: "clients", singular: "client", id: "clientId", name: "clientName",
	short: "Tenants",
	about: "Tenants: each has its own credentials, targets and proxies. The client default always exists.",
	home:  func(*cobra.Command) []string { return []string{"clients"} },
	scope: func(*session, *cobra.Command) {},
	columns: func(clock) []column {
		return []column{member("ID", "clientId"), member("NAME", "clientName")}
	},
	more:    func(c clock) []column { return stamps(c, "client") },
	filters: []filter{{flag: "name", parameter: "name", usage: "clients of this name"}},
	options: options{
		{flag: "name", member: "clientName", usage: "its name"},
		{flag: "id", member: "clientId", once: true, usage: "its id, as it is in URLs (default: one is made)"},
	},
	examples: map[string]string{
		"create": "  caddy rr clients create --name 'Acme Ltd' --id acme",
		"update": "  caddy rr clients update acme --name Acme",
	},
}

var credentials = &resource{
	plural: "credentials", singular: "credential", id: "credentialId", name: "credentialName",
	short: "What callers prove themselves with, and what upstreams accept",
	about: "What callers prove themselves with (proxy), and what upstreams accept (target). A secret goes in and\nnever comes out again, but for a key that is made: that is shown once.",
	home:  owned("credentials"), scope: (*session).ofClient,
	columns: func(c clock) []column {
		return []column{
			member("NAME", "credentialName"), member("TYPE", "credentialType"), member("KIND", "credentialAuthType"),
			member("REGION", "credentialRegion"), c.column("EXPIRES", "credentialExpiresAt"), c.column("LAST USED", "credentialLastUsedAt"),
			told("CONSENT", func(r record) string {
				if r.at("credentialTemporary") == true {
					return "waited for"
				}
				return ""
			}),
			fromConfig, member("ID", "credentialId"),
		}
	},
	more: func(c clock) []column {
		return append([]column{
			member("DEFAULT", "credentialDefaultRuleEffect"), ruleLines("credentialRules"), member("HOSTS", "credentialHosts"), member("SECRET", "credentialSecret"),
			c.column("ROTATED", "credentialRotatedAt"), c.column("PREVIOUS UNTIL", "credentialPreviousUntil"),
		}, stamps(c, "credential")...)
	},
	filters: []filter{
		{flag: "name", parameter: "name", usage: "the credential of this name"},
		{flag: "type", parameter: "credentialType", usage: "credentials of this side: proxy or target", values: sides},
		{flag: "kind", parameter: "credentialAuthType", usage: "credentials of this kind, as in jwtVerify", values: kinds},
		{flag: "include-temporary", parameter: "includeTemporary", usage: "those too that nobody has consented to yet", yes: true},
	},
	options: common("credential", credentialOptions...),
	hooks:   &hooks{add: addSecretFlags, fill: fillSecret},
	examples: map[string]string{
		"create": `  KEY=$(caddy rr credentials create --type proxy --kind key --name research-agent --quiet)
  caddy rr credentials create --type target --kind bearer --name stripe --secret-file /run/secrets/stripe
  printenv PASSWORD | caddy rr credentials create --type target --kind basic --name erp --username svc --secret-stdin
  caddy rr credentials create --type proxy --kind jwtVerify --name staff --issuer https://tenant.eu.auth0.com/ --audience https://gw.example.com
  caddy rr credentials create --type target --kind jwt --name analytics --secret-file key.pem --algorithm RS256 --claim iss=gateway --claim aud=analytics
  caddy rr credentials create --file credential.json`,
		"update": "  caddy rr credentials update stripe --host api.stripe.com --host files.stripe.com\n  caddy rr credentials update research-agent --expires 90d",
	},
}

var targets = &resource{
	plural: "targets", singular: "target", id: "targetId", name: "targetName",
	short: "Upstreams",
	about: "Upstreams.",
	home:  owned("targets"), scope: (*session).ofClient,
	columns: func(clock) []column {
		return []column{
			member("NAME", "targetName"), member("URL", "targetBaseURL"), member("REGION", "targetRegion"), member("DEFAULT", "targetDefaultRuleEffect"),
			fromConfig, member("ID", "targetId"),
		}
	},
	more: func(c clock) []column {
		return append([]column{member("TEST PATH", "targetTestPath"), member("INSECURE HTTP", "targetInsecureHTTP"), ruleLines("targetRules")}, stamps(c, "target")...)
	},
	filters: []filter{{flag: "name", parameter: "name", usage: "the target of this name"}},
	options: common("target",
		option{flag: "base-url", member: "targetBaseURL", usage: "where it is, as in https://api.example.com/v2"},
		option{flag: "test-path", member: "targetTestPath", usage: "a path that answers to a simple GET, for caddy rr test"},
		option{flag: "insecure-http", member: "targetInsecureHTTP", form: yes, usage: "allow plain http to public addresses"},
	),
	examples: map[string]string{
		"create": "  caddy rr targets create --name stripe --base-url https://api.stripe.com --test-path /v1/balance",
		"update": "  caddy rr targets update stripe --test-path /v1/charges?limit=1",
	},
}

var proxies = &resource{
	plural: "proxies", singular: "proxy", id: "proxyId", name: "proxyName",
	short: "What callers call",
	about: "What callers call: proxy credentials, a target, the credential for it, and rules.",
	home:  owned("proxies"), scope: (*session).ofClient,
	columns: func(clock) []column {
		return []column{
			member("NAME", "proxyName"), member("ALIAS", "proxyAlias"), reference("TARGET", "proxyTargetId", targets),
			reference("CREDENTIALS", "proxyProxyCredentialIds", credentials), member("ACTIVE", "proxyActive"), member("DEFAULT", "proxyDefaultRuleEffect"),
			member("REGION", "proxyRegion"), fromConfig, member("ID", "proxyId"),
		}
	},
	more: func(c clock) []column {
		return append([]column{
			reference("TARGET CREDENTIAL", "proxyTargetCredentialId", credentials),
			ruleLines("proxyRules"), member("ENCODED SLASH", "proxyEncodedSlash"), member("MAX BODY", "proxyMaxBody"),
		}, stamps(c, "proxy")...)
	},
	filters: []filter{
		{flag: "name", parameter: "name", usage: "the proxy of this name"},
		{flag: "alias", parameter: "alias", usage: "the proxy of this alias"},
	},
	options: common("proxy",
		option{flag: "alias", member: "proxyAlias", usage: "another name for its URL, unique among all"},
		option{flag: "credential", member: "proxyProxyCredentialIds", form: texts, refers: credentials, usage: "name or id of what callers prove themselves with; repeated"},
		option{flag: "target", member: "proxyTargetId", refers: targets, usage: "name or id of the target"},
		option{flag: "target-credential", member: "proxyTargetCredentialId", refers: credentials, usage: "name or id of the credential for the target"},
		option{flag: "active", member: "proxyActive", form: yes, usage: "whether it serves requests (default: it does)"},
		option{flag: "encoded-slash", member: "proxyEncodedSlash", usage: "keep lets %2F through inside path segments", values: []string{"keep"}},
		option{flag: "max-body", member: "proxyMaxBody", form: number, usage: "the largest body, in bytes, that body rules look into"},
	),
	examples: map[string]string{
		"create": "  caddy rr proxies create --name stripe --target stripe --target-credential stripe --credential research-agent --default deny --allow 'GET /v1/*'",
		"update": "  caddy rr proxies update stripe --active=false\n  caddy rr proxies update stripe --credential research-agent --credential staff",
	},
}

var blocklist = &resource{
	plural: "blocklist", singular: "block", id: "blockId",
	short: "Tokens that are refused though they verify",
	about: "Tokens that are refused though they verify: one token (--jti), a subject's, or an issuer's.",
	home:  owned("blocklist"), scope: (*session).ofClient,
	columns: func(c clock) []column {
		return []column{
			member("ID", "blockId"), member("TOKEN", "jti"), member("SUBJECT", "sub"), c.column("BEFORE", "before"), member("ISSUER", "iss"),
			c.column("EXPIRES", "expiresAt"), member("NOTE", "note"),
		}
	},
	more: func(c clock) []column { return stamps(c, "block") },
	filters: []filter{
		{flag: "jti", parameter: "jti", usage: "entries for the token of this id"},
		{flag: "sub", parameter: "sub", usage: "entries for this subject"},
		{flag: "iss", parameter: "iss", usage: "entries for this issuer"},
	},
	options: options{
		{flag: "jti", member: "jti", usage: "the token with this id"},
		{flag: "sub", member: "sub", usage: "the tokens of this subject"},
		{flag: "before", member: "before", form: moment, usage: "with --sub: only those issued before this time (RFC 3339)"},
		{flag: "iss", member: "iss", usage: "all tokens of this issuer"},
		{flag: "expires", member: "expiresAt", form: moment, usage: "when the entry may be forgotten: RFC 3339, or from now on as in 90d (default: never)"},
		{flag: "note", member: "note", usage: "why"},
	},
	fixed:    true,
	examples: map[string]string{"create": "  caddy rr blocklist create --sub svc-billing --before 2027-01-31T12:00:00Z --note 'laptop stolen' --expires 30d"},
}

var rules = &resource{
	plural: "rules", singular: "rule", id: "ruleId",
	short: "What is allowed and denied, in proxies, targets and credentials",
	about: "Rules of a proxy, a target or a credential. All four scopes of a request must allow it; in each, any\nmatching deny denies, else any matching allow allows, else the default decides.",
	home:  func(cmd *cobra.Command) []string { return append(parentOf(cmd), "rules") }, scope: addParentFlags,
	columns: func(clock) []column {
		return []column{member("EFFECT", "effect"), told("RULE", describeRule), member("PRIORITY", "priority"), member("NOTE", "notes"), member("ID", "ruleId")}
	},
	more: func(c clock) []column { return []column{c.column("CREATED", "ruleCreatedAt")} },
	options: options{
		{flag: "path-regexp", member: "path", usage: "a regular expression (RE2) for the path"},
		{flag: "header", member: "headers", form: checkList, usage: "a header: Name is there, Name=pattern, or with ! in front must not be; repeated"},
		{flag: "query", member: "query", form: checkList, usage: "a query parameter, likewise"},
		{flag: "claim", member: "token", form: checkList, usage: "a claim of the verified caller, likewise"},
		{flag: "body", member: "body", form: checkList, usage: "a JSONPath into the body, likewise"},
		{flag: "note", member: "notes", usage: "why the rule exists"},
		{flag: "priority", member: "priority", form: number, usage: "its place in lists, 0 to 1000; it decides nothing"},
	},
	hooks: &hooks{
		add: func(_ *session, cmd *cobra.Command) { addRuleFlags(cmd) },
		fill: func(_ *session, cmd *cobra.Command, body record, old func() (record, error)) (bool, error) {
			return fillRule(cmd, body, old == nil)
		},
	},
	whole: true,
	examples: map[string]string{
		"create": `  caddy rr rules create --proxy stripe --allow 'GET,POST /v1/charges /v1/charges/*' --claim 'roles=^billing$'
  caddy rr rules create --credential research-agent --deny 'DELETE *' --note 'agents delete nothing'`,
		"update": "  caddy rr rules update --proxy stripe 0199d3a0-5f1e-7c5a-9d1b-3f5c8e2a7b61 --note 'read only'",
	},
}

// resources in the order of help.
var resources = []*resource{credentials, targets, proxies, rules, clients, blocklist}

var sides = []string{"proxy", "target"}
