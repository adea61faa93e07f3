package test

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

// audiences: the token is for this gateway, and says so.
func (f *jwtForger) audiences() (rows []trick) {
	const own = idp.Audience
	list := func(name string, values ...string) {
		for i, v := range values {
			rows = append(rows, trick{name: fmt.Sprintf("aud: %s %d", name, i), token: f.token(f.ec, "aud", v)})
		}
	}
	list("missing", "")
	list("of no type", "null", "0", "1", "true", "{}", `{"0":`+quoted(own)+`}`, "[]", "[null]", "[[]]", "["+"["+quoted(own)+"]]", "["+quoted(own)+",1]", "["+quoted(own)+",null]", `{"length":1}`)
	list("another", `"https://other.example"`, `["https://other.example"]`, `""`, `[""]`, `"*"`, `["*"]`, `"null"`, `"undefined"`)
	list("nearly", quoted(own+"/"), quoted(own+" "), quoted(" "+own), quoted(strings.ToUpper(own)), quoted(own+".evil.example"), quoted("x"+own), quoted(own[:len(own)-1]), quoted(own+","+own),
		quoted(own+" https://other.example"), quoted("http"+own[5:]), quoted(own+":443"), quoted(own+"#"), quoted(strings.Replace(own, "a", "\u0430", 1)), quoted(strings.Replace(own, "e", "\u0435", 1)),
		`"`+own+`\u0000"`, `"`+own+`\u0000.evil.example"`, `["`+own+`\u0000"]`, quoted(own+"\u200b"), quoted("\ufeff"+own), quoted(strings.Replace(own, ".", "\u3002", 1)), quoted(strings.Replace(own, "https", "https\u2028", 1)))
	rows = append(rows,
		trick{name: "aud: twice", token: f.ec.Sign([]byte(`{"alg":"ES256","kid":"k1"}`), []byte(`{"aud":"x",`+f.claims()[1:]))},
		// the same token is good at one credential and stays bad at the other
		trick{name: "aud: of another credential", proxy: "other", token: f.good("p")},
		trick{name: "aud: of this credential at the other", token: f.good("other")},
		trick{name: "azp and client_id are no aud", token: f.token(f.ec, "aud", "", "azp", quoted(own), "client_id", quoted(own))},
	)
	return rows
}

// issuers: compared byte for byte.
func (f *jwtForger) issuers() (rows []trick) {
	own := f.a.Issuer()
	host := strings.TrimPrefix(own, "http://")
	for i, v := range []string{
		"", "null", "0", "true", "{}", "[]", "[" + quoted(own) + "]", `""`, `"*"`, quoted(f.b.Issuer()), quoted(f.server.URL),
		quoted(own + "/"), quoted(own + "//"), quoted(own + " "), quoted(" " + own), quoted(own + "\n"), quoted(own + "?"), quoted(own + "#"), quoted(own + "/."), quoted(own + "/../tenant"), quoted(own + "2"), quoted(own[:len(own)-1]),
		quoted("https://" + host), quoted("HTTP://" + host), quoted("http://x@" + host), quoted(host), quoted("//" + host), quoted(strings.ToUpper(own)), quoted(strings.Replace(own, "127.0.0.1", "localhost", 1)),
		quoted(strings.Replace(own, "127.0.0.1", "127.1", 1)), quoted(strings.Replace(own, "/tenant", "/%74enant", 1)), quoted(strings.Replace(own, "/tenant", "\\tenant", 1)), quoted(strings.Replace(own, "t", "\u0442", 1)),
		quoted(strings.Replace(own, "tenant", "ten\u0430nt", 1)), quoted(strings.Replace(own, "/", "\u2215", 3)), `"` + own + `\u0000"`, `"` + own + `\u0000/x"`, quoted(own + "\u200b"), quoted("\ufeff" + own), quoted(own + ";"), quoted(own + "," + own),
		quoted(strings.Replace(own, "1", "\uff11", 1)), quoted("{env.RR_SHARED}"),
	} {
		rows = append(rows, trick{name: fmt.Sprintf("iss %d: %.60s", i, v), token: f.token(f.ec, "iss", v)}, trick{name: fmt.Sprintf("iss %d: %.60s, of two", i, v), proxy: "two", token: f.token(f.ec, "iss", v)})
	}
	return append(rows, trick{name: "iss twice", token: f.ec.Sign([]byte(`{"alg":"ES256","kid":"k1"}`), []byte(`{"iss":"https://evil.example",`+f.claims()[1:]))})
}

// times: numbers, of now.
func (f *jwtForger) times() (rows []trick) {
	now := time.Now().Unix()
	ahead := now + 120
	text := func(n int64) string { return strconv.FormatInt(n, 10) }
	for _, v := range []string{
		"", "null", "true", "false", `""`, `"9999999999"`, quoted(text(ahead)), `"never"`, `"2099-01-01T00:00:00Z"`, "[" + text(ahead) + "]", "{}", "[]", "0", "-0", "-0.0", "1", "-1", "-9999999999", "-1e400",
		"1e400", "1e308", "1e19", "9223372036854775807", "9223372036854775808", "18446744073709551616", "99999999999999999999", "253402300800", "1e12", text(ahead * 1000), "1e-400", text(now - 31), text(now-31) + ".5", strings.Repeat("9", 500),
	} {
		rows = append(rows, trick{name: "exp " + v[:min(len(v), 40)], token: f.token(f.ec, "exp", v)}, trick{name: "exp " + v[:min(len(v), 40)] + ", of a secret", proxy: "hmac", token: f.with(f.shared, `{"alg":"HS256"}`, "exp", v)})
	}
	for _, name := range []string{"nbf", "iat"} {
		for _, v := range []string{
			"null", "true", `""`, quoted(text(now - 10)), `"0"`, "[" + text(now-10) + "]", "{}", "-1", "-1e400", "1e400", "1e19", "99999999999999999999", text(ahead), text(ahead) + ".5", "253402300800", strings.Repeat("9", 500),
		} {
			rows = append(rows, trick{name: name + " " + v[:min(len(v), 40)], token: f.token(f.ec, name, v)})
		}
	}
	twice := func(claims string) string { return f.ec.Sign([]byte(`{"alg":"ES256","kid":"k1"}`), []byte(claims)) }
	return append(rows,
		trick{name: "exp twice", token: twice(`{"exp":1,` + f.claims()[1:])},
		trick{name: "exp twice, the past last", token: twice(strings.TrimSuffix(f.claims(), "}") + `,"exp":1}`)},
		trick{name: "exp twice, escaped", token: twice(strings.TrimSuffix(f.claims(), "}") + `,"e\u0078p":33000000000}`)},
		trick{name: "exp in hexadecimal", token: f.token(f.ec, "exp", "0x7fffffff")},
		trick{name: "exp infinite", token: f.token(f.ec, "exp", "Infinity")},
		trick{name: "exp with a plus", token: f.token(f.ec, "exp", "+9999999999")},
	)
}

// names: claims are named byte for byte, too.
func (f *jwtForger) names() (rows []trick) {
	values := map[string]string{"exp": strconv.FormatInt(time.Now().Unix()+300, 10), "iss": quoted(f.a.Issuer()), "aud": quoted(idp.Audience)}
	lookalike := map[string]string{"exp": "\u0435xp", "iss": "\u0456ss", "aud": "\u0430ud"}
	for name, v := range values {
		for _, other := range []string{strings.ToUpper(name), strings.ToUpper(name[:1]) + name[1:], lookalike[name], name + " ", " " + name, name + `\u0000`, `\u0000` + name, name + "\u200b", "\ufeff" + name, name + "\u0301", name + "[]", "." + name, name + ".0"} {
			rows = append(rows, trick{name: fmt.Sprintf("%q for %s", other, name), token: f.token(f.ec, name, "", other, v)})
		}
	}
	for _, c := range [][2]string{{"sub", "1"}, {"sub", "null"}, {"sub", `["svc-1"]`}, {"sub", `{}`}, {"sub", `""`}, {"sub", `"svc-1\u0000"`}, {"jti", "1"}, {"jti", "null"}, {"jti", `["a"]`}, {`x\u0000`, "1"}, {"x", `"a\u0000"`}, {"x", `["\ud800"]`}} {
		rows = append(rows, trick{name: c[0] + " " + c[1], token: f.token(f.ec, c[0], c[1])})
	}
	return rows
}

// confirmations: a token that is bound is nothing without what it is bound to.
func (f *jwtForger) confirmations() (rows []trick) {
	client, thief := idp.NewProver(f.t, "ES256"), idp.NewProver(f.t, "ES256")
	bound := mustMarshal(client.Confirmation())
	cert := `{"x5t#S256":` + quoted(idp.Base64(make([]byte, 32))) + `}`
	for i, v := range []string{
		"null", `""`, `"x"`, "1", "true", "[]", "[" + string(bound) + "]", "{}", `{"kid":"k1"}`, `{"jwk":{}}`, `{"x":1}`, `{"JKT":"x"}`, `{"jkt":1}`, `{"jkt":null}`, `{"jkt":""}`, `{"jkt":["x"]}`, `{"x5t#S256":1}`, `{"x5t#S256":null}`,
		`{"x5t#S256":""}`, `{"x5t#s256":"x"}`, `{"x5t#S256":"x"}`, cert, string(bound), `{"jkt":"a","jkt":"b"}`, `{"jkt":"x","x5t#S256":"y"}`,
	} {
		token := f.token(f.ec, "cnf", v)
		rows = append(rows, trick{name: fmt.Sprintf("cnf %d: %.40s", i, v), token: token},
			trick{name: fmt.Sprintf("cnf %d: %.40s, as DPoP", i, v), token: token, headers: []string{"Authorization: DPoP " + token}},
			trick{name: fmt.Sprintf("cnf %d: %.40s, with a header for a certificate", i, v), token: token, headers: []string{bearer(token), "X-Client-Cert: x", "X-Forwarded-Client-Cert: Hash=" + strings.Repeat("0", 64), "X-Forwarded-Tls-Client-Cert: x"}})
	}
	// the harness's address is not known here: proofs are for another one, or for nothing
	url := "http://gateway.example/p/v1/x"
	token := f.token(f.ec, "cnf", string(bound))
	with := func(name, scheme, token string, proofs ...string) {
		headers := []string{"Authorization: " + scheme + " " + token}
		for _, p := range proofs {
			headers = append(headers, "DPoP: "+p)
		}
		rows = append(rows, trick{name: "DPoP: " + name, token: token, headers: append(headers, "Host: gateway.example")})
	}
	proof := client.Proof("GET", url, token, nil, nil)
	with("as Bearer with a good proof", "Bearer", token, proof)
	with("a thief's proof", "DPoP", token, thief.Proof("GET", url, token, nil, nil))
	with("two proofs", "DPoP", token, client.Proof("GET", url, token, nil, nil), client.Proof("GET", url, token, nil, nil))
	with("an empty proof", "DPoP", token, "")
	with("the token as proof", "DPoP", token, token)
	with("another method", "DPoP", token, client.Proof("POST", url, token, nil, nil))
	with("another URL", "DPoP", token, client.Proof("GET", "http://gateway.example/other/v1/x", token, nil, nil))
	with("another host", "DPoP", token, client.Proof("GET", "http://evil.example/p/v1/x", token, nil, nil))
	with("another token", "DPoP", token, client.Proof("GET", url, f.good("p"), nil, nil))
	with("no token in the proof", "DPoP", token, client.Proof("GET", url, "", nil, nil))
	with("an old proof", "DPoP", token, client.Proof("GET", url, token, map[string]any{"iat": time.Now().Unix() - 600}, nil))
	with("a proof of the future", "DPoP", token, client.Proof("GET", url, token, map[string]any{"iat": time.Now().Unix() + 600}, nil))
	with("a proof of another type", "DPoP", token, client.Proof("GET", url, token, nil, map[string]any{"typ": "JWT"}))
	with("a proof with alg none", "DPoP", token, client.Proof("GET", url, token, nil, map[string]any{"alg": "none"}))
	with("a token that is not bound, with a proof", "DPoP", f.good("p"), client.Proof("GET", url, f.good("p"), nil, nil))
	return rows
}

// places: one token in one place.
func (f *jwtForger) places() (rows []trick) {
	good, bad := f.good("places"), f.token(f.attacker)
	for name, row := range map[string]trick{
		"Authorization twice":               {headers: []string{bearer(good), bearer(good)}},
		"Authorization twice, one bad":      {headers: []string{bearer(bad), bearer(good)}},
		"Authorization and X-Token":         {headers: []string{bearer(good), "X-Token: " + f.token(f.rsa)}},
		"Authorization good, X-Token bad":   {headers: []string{bearer(good), "X-Token: " + bad}},
		"Authorization bad, X-Token good":   {headers: []string{bearer(bad), "X-Token: " + good}},
		"X-Token twice":                     {headers: []string{"X-Token: " + good, "X-Token: " + good}},
		"a header and the query":            {headers: []string{bearer(good)}, path: "?access_token=" + bad},
		"the query twice":                   {headers: []string{"X: y"}, path: "?access_token=" + good + "&access_token=" + good},
		"the query twice, escaped":          {headers: []string{"X: y"}, path: "?access_token=" + bad + "&access%5ftoken=" + good},
		"the query twice, another case":     {headers: []string{"X: y"}, path: "?access_token=" + good + "&Access_Token=" + bad},
		"the query twice, with a semicolon": {headers: []string{"X: y"}, path: "?access_token=" + good + ";access_token=" + bad},
		"a header and a cookie":             {headers: []string{bearer(good), "Cookie: session=" + bad}},
		"the cookie twice":                  {headers: []string{"Cookie: session=" + good + "; session=" + bad}},
		"two cookie headers":                {headers: []string{"Cookie: session=" + good, "Cookie: session=" + bad}},
		"a token and Basic":                 {headers: []string{"Authorization: Basic dTpw", bearer(good)}},
		"in a place that is not one":        {headers: []string{"X-Tokens: " + good}},
		"in the body's place":               {headers: []string{"X: y"}, path: "?token=" + good},
		"in X-Token with a scheme":          {headers: []string{"X-Token: Bearer " + good}},
		"two tokens in one header":          {headers: []string{bearer(good + " " + good)}},
		"two tokens in one header, a comma": {headers: []string{bearer(good + ",Bearer " + good)}},
		"nothing after the scheme":          {headers: []string{"Authorization: Bearer "}},
		"nothing at all":                    {headers: []string{"X: y"}},
	} {
		row.name, row.proxy = name, "places"
		row.token = good
		rows = append(rows, row)
	}
	return rows
}
