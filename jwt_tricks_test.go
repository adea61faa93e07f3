package rr_test

import (
	"encoding/asn1"
	"encoding/base64"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

// algorithms: the token does not decide how it is verified.
func (f *jwtForger) algorithms() (rows []trick) {
	add := func(proxy, name, token string) {
		rows = append(rows, trick{name: proxy + ": " + name, proxy: proxy, token: token})
	}
	unsigned := func(header string) string {
		return idp.Base64([]byte(header)) + "." + idp.Base64([]byte(f.claims())) + "."
	}
	for _, alg := range []string{"none", "None", "NONE", "nOnE", "none ", " none", "ｎｏｎｅ", "null", "", "HS256", "hs256", "es256", "ES256 ", "ES384", "RS256", "EdDSA", "ES256K", "HS1"} {
		header := fmt.Sprintf(`{"alg":%s,"kid":"k1"}`, quoted(alg))
		add("p", fmt.Sprintf("alg %q with the signature of ES256", alg), f.with(f.ec, header))
		add("p", fmt.Sprintf("alg %q without signature", alg), unsigned(header))
		add("p", fmt.Sprintf("alg %q with a byte for signature", alg), unsigned(header)+"AA")
		add("hmac", fmt.Sprintf("alg %q without signature", alg), unsigned(header))
	}
	for _, alg := range []string{"null", "0", "false", `["ES256"]`, `{"ES256":1}`, "[]"} {
		add("p", "alg "+alg, f.with(f.ec, `{"alg":`+alg+`,"kid":"k1"}`))
	}
	add("p", "no alg", f.with(f.ec, `{"kid":"k1"}`))
	add("p", "alg in another case", f.with(f.ec, `{"Alg":"ES256","ALG":"ES256","kid":"k1"}`))
	add("rs", "an algorithm that is not allowed", f.token(f.ec))
	add("rs", "PS256 with the RSA key", f.token(f.rsa.With("PS256", "k2")))
	add("rs", "PS256 called RS256", f.with(f.rsa.With("PS256", "k2"), `{"alg":"RS256","kid":"k2"}`))
	add("rs", "RS512 with the RSA key", f.token(f.rsa.With("RS512", "k2")))
	add("p", "RS256 called PS256", f.with(f.rsa, `{"alg":"PS256","kid":"k2"}`))
	add("p", "RS256 with the key that is for ES256", f.with(f.rsa, `{"alg":"RS256","kid":"k1"}`))
	add("p", "ES384 with a P-256 key", f.token(f.ec.With("ES384", "k1")))
	add("p", "HS256 where public keys are", f.with(f.shared, `{"alg":"HS256"}`))
	add("hmac", "ES256 where a secret is", f.token(f.ec))
	add("hmac", "RS256 where a secret is", f.token(f.rsa))
	add("hmac", "HS512, which is not allowed", f.with(f.shared.With("HS512", ""), `{"alg":"HS512"}`))
	add("hmac", "another secret", f.with(idp.NewSecret("HS256", "", []byte(sharedSecret+"\n")), `{"alg":"HS256"}`))
	add("hmac", "an empty secret", f.with(idp.NewSecret("HS256", "", []byte{}), `{"alg":"HS256"}`))
	add("hmac", "the placeholder as secret", f.with(idp.NewSecret("HS256", "", []byte("{env.RR_SHARED}")), `{"alg":"HS256"}`))
	for _, k := range []*idp.Key{f.ec, f.rsa, f.ed} {
		jwk := mustMarshal(k.JWK())
		for form, secret := range map[string][]byte{
			"PEM": k.PublicPEM(), "PEM without line end": []byte(strings.TrimSpace(string(k.PublicPEM()))), "DER": k.PublicDER(), "JWK": jwk, "the set": jwkSet(f.ec, f.rsa, f.ed),
		} {
			for _, alg := range []string{"HS256", "HS512"} {
				for _, proxy := range []string{"p", "rs", "hmac"} {
					add(proxy, fmt.Sprintf("%s with the %s key as %s", alg, k.Alg, form), f.token(idp.NewSecret(alg, k.ID, secret)))
				}
			}
		}
	}
	return rows
}

// keys: the token does not decide with which key, either.
func (f *jwtForger) keys() (rows []trick) {
	add := func(name, token string) { rows = append(rows, trick{name: name, token: token}) }
	empty := idp.NewSecret("HS256", "", []byte{})
	add("another key of the same kid", f.token(f.attacker))
	add("another RSA key of the same kid", f.token(idp.NewKey(f.t, "RS256", "k2")))
	add("another Ed25519 key of the same kid", f.token(idp.NewKey(f.t, "EdDSA", "k3")))
	add("another key without kid", f.with(f.attacker, `{"alg":"ES256"}`))
	add("the key of issuer b, of the same kid", f.token(f.ecOfB))
	rows = append(rows,
		trick{name: "issuer a signed by b's key, both accepted", proxy: "two", token: f.token(f.ecOfB)},
		trick{name: "issuer b signed by a's key, both accepted", proxy: "two", token: f.token(f.ec, "iss", quoted(f.b.Issuer()))},
		trick{name: "issuer b signed by a's key of a kid that b does not have", proxy: "two", token: f.token(f.rsa, "iss", quoted(f.b.Issuer()))},
		trick{name: "both issuers in a list", proxy: "two", token: f.token(f.ec, "iss", "["+quoted(f.a.Issuer())+","+quoted(f.b.Issuer())+"]")},
		trick{name: "a token of b where only a is accepted", token: f.token(f.ecOfB, "iss", quoted(f.b.Issuer()))},
	)
	for name, kid := range map[string]string{
		"a number": "1", "zero": "0", "a list": `["k1"]`, "an object": `{"k1":1}`, "null": "null", "true": "true", "1e400": "1e400",
		"257 bytes": quoted(strings.Repeat("k", 257)), "10,000 bytes": quoted(strings.Repeat("k", 10000)),
		"a NUL behind": `"k1\u0000"`, "half a surrogate pair": `"k1\ud800"`, "unknown": `"k9"`, "in another case": `"K1"`, "with a space": `"k1 "`, "a Kelvin sign": `"\u212a1"`, "empty": `""`,
		"a path": `"../../../../dev/null"`, "an absolute path": `"/etc/passwd"`, "a Windows path": `"..\\..\\k1"`, "a URL": quoted(f.server.URL), "a file URL": `"file:///dev/null"`,
		"SQL": `"k1' OR '1'='1"`, "SQL that makes a key": `"x' UNION SELECT 'AA'--"`, "a command": `"k1|id"`, "a format": `"%s%n"`, "a placeholder": `"{env.RR_SHARED}"`, "a template": `"{{k1}}"`,
		"a pattern": `"*"`, "a line end": `"k1\r\nX: y"`, "an LDAP filter": `"*)(kid=*"`, "a prototype": `"__proto__"`,
	} {
		header := `{"alg":%q,"kid":` + kid + `}`
		add("kid: "+name+", an attacker's key", f.with(f.attacker, fmt.Sprintf(header, "ES256")))
		add("kid: "+name+", an empty secret", f.with(empty, fmt.Sprintf(header, "HS256")))
		add("kid: "+name+", the right key", f.with(f.ec, fmt.Sprintf(header, "ES256")))
	}
	jwk := mustMarshal(f.attacker.JWK())
	own := mustMarshal(f.attacker.With("ES256", "mine").JWK())
	certificate := quoted(base64.StdEncoding.EncodeToString(f.attacker.PublicDER()))
	url := quoted(f.server.URL + "/jwks")
	for name, members := range map[string]string{
		"jwk": `"kid":"k1","jwk":` + string(jwk), "jwk of another kid": `"kid":"mine","jwk":` + string(own), "jwk without kid": `"jwk":` + string(jwk), "jwk a string": `"kid":"k1","jwk":` + quoted(string(jwk)),
		"jku": `"kid":"k1","jku":` + url, "jku of another kid": `"kid":"mine","jku":` + url, "jku a list": `"kid":"k1","jku":[` + url + `]`,
		"jku in the issuer's name": `"kid":"k1","jku":` + quoted(f.a.JWKSURL()+"@"+strings.TrimPrefix(f.server.URL, "http://")),
		"x5u":                      `"kid":"k1","x5u":` + url, "x5u of another kid": `"kid":"mine","x5u":` + url, "x5c": `"kid":"k1","x5c":[` + certificate + `]`, "x5c without kid": `"x5c":[` + certificate + `]`,
		"everything": `"kid":"mine","jwk":` + string(own) + `,"jku":` + url + `,"x5u":` + url + `,"x5c":[` + certificate + `]`, "a metadata address": `"kid":"mine","jku":"http://169.254.169.254/latest/meta-data"`,
	} {
		add("embedded "+name, f.with(f.attacker, `{"alg":"ES256",`+members+`}`))
	}
	add("jku in the claims", f.token(f.attacker, "jku", url, "jwk", string(jwk)))
	return rows
}

// headers: what is critical, encrypted, nested or said twice.
func (f *jwtForger) headers() (rows []trick) {
	nested := f.token(f.ec)
	for name, header := range map[string]string{
		"an unknown crit": `{"alg":"ES256","kid":"k1","crit":["x"],"x":1}`, "crit with a known name": `{"alg":"ES256","kid":"k1","crit":["exp"]}`, "an empty crit": `{"alg":"ES256","kid":"k1","crit":[]}`,
		"crit null": `{"alg":"ES256","kid":"k1","crit":null}`, "a string as crit": `{"alg":"ES256","kid":"k1","crit":"x"}`,
		"b64 false": `{"alg":"ES256","kid":"k1","b64":false,"crit":["b64"]}`, "b64 false without crit": `{"alg":"ES256","kid":"k1","b64":false}`,
		"enc": `{"alg":"ES256","kid":"k1","enc":"A128GCM"}`, "zip": `{"alg":"ES256","kid":"k1","zip":"DEF"}`, "a nested token by name": `{"alg":"ES256","kid":"k1","cty":"JWT"}`,
		"alg twice": `{"alg":"none","alg":"ES256","kid":"k1"}`, "alg twice, none last": `{"alg":"ES256","alg":"none","kid":"k1"}`, "alg twice, escaped": `{"alg":"ES256","\u0061lg":"none","kid":"k1"}`,
		"kid twice": `{"alg":"ES256","kid":"k1","kid":"k2"}`, "a NUL in a name": `{"alg":"ES256","kid":"k1","x\u0000":1}`, "a list": `[{"alg":"ES256","kid":"k1"}]`, "something behind": `{"alg":"ES256","kid":"k1"}x`,
		"a numeric typ": `{"alg":"ES256","kid":"k1","typ":1}`, "a proof": `{"alg":"ES256","kid":"k1","typ":"dpop+jwt"}`, "a proof as a media type": `{"alg":"ES256","kid":"k1","typ":"application/dpop+jwt"}`,
		"a proof in capitals": `{"alg":"ES256","kid":"k1","typ":"DPoP+JWT"}`, "a log-out": `{"alg":"ES256","kid":"k1","typ":"logout+jwt"}`, "a security event": `{"alg":"ES256","kid":"k1","typ":"secevent+jwt"}`,
		"an introspection": `{"alg":"ES256","kid":"k1","typ":"token-introspection+jwt"}`, "a client's assertion": `{"alg":"ES256","kid":"k1","typ":"client-authentication+jwt"}`, "a request": `{"alg":"ES256","kid":"k1","typ":"oauth-authz-req+jwt"}`,
	} {
		rows = append(rows, trick{name: name, token: f.with(f.ec, header)})
	}
	return append(rows,
		trick{name: "a token as payload", token: f.ec.Sign([]byte(`{"alg":"ES256","kid":"k1"}`), []byte(nested))},
		trick{name: "a token as payload, by name", token: f.ec.Sign([]byte(`{"alg":"ES256","kid":"k1","cty":"JWT"}`), []byte(nested))},
		trick{name: "a token in quotes as payload", token: f.ec.Sign([]byte(`{"alg":"ES256","kid":"k1"}`), []byte(quoted(nested)))},
		trick{name: "a list as payload", token: f.ec.Sign([]byte(`{"alg":"ES256","kid":"k1"}`), []byte("["+f.claims()+"]"))},
		trick{name: "null as payload", token: f.ec.Sign([]byte(`{"alg":"ES256","kid":"k1"}`), []byte("null"))},
		trick{name: "claims that are not UTF-8", token: f.token(f.ec, "x", "\"\xff\"")},
		trick{name: "claims nested deeply", token: f.token(f.ec, "x", strings.Repeat("[", 3000)+strings.Repeat("]", 3000))},
	)
}

// spellings: one token is written in one way.
func (f *jwtForger) spellings() (rows []trick) {
	good := f.token(f.ec, "pad", `"`+strings.Repeat("x", (3-(len(f.claims())+10)%3+1)%3)+`"`) // bits are left over in the claims
	parts := strings.Split(good, ".")
	add := func(name, token string) { rows = append(rows, trick{name: name, token: token}) }
	for i, name := range []string{"header", "claims", "signature"} {
		replaced := func(p string) string {
			q := append([]string(nil), parts...)
			q[i] = p
			return strings.Join(q, ".")
		}
		p := parts[i]
		add("padding in the "+name, replaced(p+"="))
		add("more padding in the "+name, replaced(p+"=="))
		add("a letter more in the "+name, replaced(p+"A"))
		add("a letter less in the "+name, replaced(p[:len(p)-1]))
		add("a percent escape in the "+name, replaced(p[:3]+"%2d"+p[4:]))
		add("the other alphabet in the "+name, replaced(p[:3]+"+/"+p[5:]))
		add("a space in the "+name, replaced(p[:3]+" "+p[3:]))
		add("a tab in the "+name, replaced(p[:3]+"\t"+p[3:]))
		add("another case in the "+name, replaced(strings.ToUpper(p)))
		add("nothing in the "+name, replaced(""))
		if len(p)%4 != 0 {
			const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
			add("unused bits in the "+name, replaced(p[:len(p)-1]+string(alphabet[strings.IndexByte(alphabet, p[len(p)-1])|1])))
		}
	}
	add("a dot behind", good+".")
	add("a dot before", "."+good)
	add("four parts", good+".AA")
	add("an encrypted token", "eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4R0NNIiwia2lkIjoiazEifQ..AAAAAAAAAAAAAAAA.AAAA.AAAAAAAAAAAAAAAAAAAAAA")
	add("a token of five parts", good+".AA.AA")
	add("one part", parts[0])
	add("two parts", parts[0]+"."+parts[1])
	add("a detached payload", parts[0]+".."+parts[2])
	add("an unencoded payload", parts[0]+"."+`{"sub":"x"}`+"."+parts[2])
	add("the JSON serialization", `{"payload":"`+parts[1]+`","protected":"`+parts[0]+`","signature":"`+parts[2]+`"}`)
	add("an SD-JWT", good+"~")
	add("dots", "...")
	add("1 MB of dots", strings.Repeat(".", 1<<20))
	add("16 KiB of dots", strings.Repeat(".", 16<<10))
	add("1 MB without a dot", strings.Repeat("a", 1<<20))
	add("16 KiB + 1", f.sized(16<<10+1))
	add("32 KiB", f.sized(32<<10))
	return rows
}

// sized is a good token of so many bytes.
func (f *jwtForger) sized(size int) string {
	for header := range 3 {
		for fill := size*3/4 - 600; ; fill++ {
			token := f.with(f.ec, `{"alg":"ES256","kid":"k1"}`+strings.Repeat(" ", header), "x", quoted(strings.Repeat("x", fill)))
			if len(token) == size {
				return token
			}
			if len(token) > size {
				break // base64 has no text of 4n+1 letters
			}
		}
	}
	f.t.Fatalf("no token has %d bytes", size)
	return ""
}

// signatures: bytes that are none, or another writing of one.
func (f *jwtForger) signatures() (rows []trick) {
	zero := make([]byte, 256)
	for _, k := range []*idp.Key{f.ec, f.rsa, f.ed} {
		good := f.token(k)
		cut := strings.LastIndexByte(good, '.') + 1
		s := k.Signature([]byte(good[:cut-1]))
		for name, b := range map[string][]byte{
			"of zeros": zero[:len(s)], "one byte less": s[:len(s)-1], "without its first byte": s[1:], "a zero more": append(s[:len(s):len(s)], 0), "a zero before": append([]byte{0}, s...),
			"one byte": {0}, "63 bytes": zero[:63], "65 bytes": zero[:65], "twice": append(s[:len(s):len(s)], s...), "16 KB": make([]byte, 10000), "flipped": append([]byte{s[0] ^ 1}, s[1:]...),
		} {
			rows = append(rows, trick{name: k.Alg + ": " + name, token: good[:cut] + idp.Base64(b)})
		}
		rows = append(rows,
			trick{name: k.Alg + ": other claims", token: strings.Join([]string{strings.Split(good, ".")[0], idp.Base64([]byte(f.claims("sub", `"admin"`))), good[cut:]}, ".")},
			trick{name: k.Alg + ": of another token", token: good[:cut] + strings.Split(f.token(k, "sub", `"x"`), ".")[2]},
		)
		if k == f.ec {
			r, t := new(big.Int).SetBytes(s[:32]), new(big.Int).SetBytes(s[32:])
			der, _ := asn1.Marshal(struct{ R, S *big.Int }{r, t})
			one := append(append(append(zero[:31:31], 1), zero[:31]...), 1)
			rows = append(rows, trick{name: "ES256: DER", token: good[:cut] + idp.Base64(der)}, trick{name: "ES256: r=s=1", token: good[:cut] + idp.Base64(one)},
				trick{name: "ES256: r=0", token: good[:cut] + idp.Base64(append(zero[:32:32], s[32:]...))}, trick{name: "ES256: s=0", token: good[:cut] + idp.Base64(append(s[:32:32], zero[:32]...))})
		}
	}
	return rows
}

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
