package main

import (
	"fmt"
	"strings"
)

// globalOptions is the same in every Caddyfile, so that rows differ only in what
// they are about. Logs stay at Caddy's defaults: none per request.
const globalOptions = `
	admin {$BENCH_ADMIN}
	persist_config off
	auto_https off
`

// gatewayOptions are those of rr's rows, with the log encoder that every gateway should
// have.
const gatewayOptions = globalOptions + `	log {
		format rr
	}
`

const bareCaddyfile = `{` + globalOptions + `}

http://{$BENCH_ADDRESS} {
	reverse_proxy {$BENCH_UPSTREAM}
}
`

// headerUpCaddyfile is what Caddy can do by itself: compare one header with one
// value and set another.
const headerUpCaddyfile = `{` + globalOptions + `}

http://{$BENCH_ADDRESS} {
	@caller header Authorization "Bearer {env.BENCH_KEY}"
	handle @caller {
		reverse_proxy {$BENCH_UPSTREAM} {
			header_up Authorization "Bearer {env.BENCH_VENDOR}"
		}
	}
	handle {
		respond 401
	}
}
`

const inlineCaddyfile = `{` + gatewayOptions + `}

http://{$BENCH_ADDRESS} {
	rr_verify {
		accept key {env.BENCH_KEY}
		` + theRules + `
	}
	rr_inject {
		present bearer {env.BENCH_VENDOR}
	}
	reverse_proxy {$BENCH_UPSTREAM}
}
`

// What proxyCaddyfile takes.
const (
	acceptKey = `accept key {env.BENCH_KEY}`

	acceptToken = `accept jwt_verify {
				issuer ` + tokenIssuer + `
				audience ` + tokenAudience + `
				jwks {file.{$BENCH_KEYS}}
			}`

	presentBearer = `present bearer {env.BENCH_VENDOR}`

	presentMinted = `present jwt {
				secret {env.BENCH_KEY}
				claims {
					iss bench
				}
			}`

	presentFetched = `present oauth2 {
				grant client_credentials
				token_url http://{$BENCH_UPSTREAM}` + tokenPath + `
				client_id bench
				client_secret {env.BENCH_VENDOR}
			}`

	theRules = `default deny
			allow GET,POST /v1/*`
)

// proxyCaddyfile is rr_proxy for one proxy.
func proxyCaddyfile(accept, present, rules string) string {
	return `{` + gatewayOptions + `
	rr {
		proxy bench {
			` + accept + `
			target http://{$BENCH_UPSTREAM}
			` + present + `
			` + rules + `
		}
	}
}

http://{$BENCH_ADDRESS} {
	rr_proxy bench
}
`
}

// manyRules are so many rules, half of them denies: paths in full, paths with a star,
// stars within a segment, and methods. Of them only the last matches the measured
// request, and all others are compared with it.
func manyRules(count int) string {
	var b strings.Builder
	b.WriteString("default deny\n")
	for i := range count - 1 {
		switch i % 6 {
		case 0:
			fmt.Fprintf(&b, "\t\t\tdeny /v1/internal/section-%d\n", i)
		case 1:
			fmt.Fprintf(&b, "\t\t\tallow GET,POST /v1/accounts-%d/*\n", i)
		case 2:
			fmt.Fprintf(&b, "\t\t\tdeny * *.backup-%d\n", i)
		case 3:
			fmt.Fprintf(&b, "\t\t\tallow GET /v1/*/reports-%d\n", i)
		case 4:
			fmt.Fprintf(&b, "\t\t\tdeny DELETE,PATCH /v1/tenant-%d/* /v2/tenant-%d/*\n", i, i)
		case 5:
			fmt.Fprintf(&b, "\t\t\tallow PUT /v1/charges\n")
		}
	}
	b.WriteString("\t\t\tallow GET,POST " + measuredPath + " " + echoPath)
	return b.String()
}
