package test

import (
	"encoding/asn1"
	"encoding/base64"
	"fmt"
	"math/big"
	"strings"

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
	for _, alg := range []string{"none", "None", "NONE", "nOnE", "none ", " none", "ｎｏｎｅ", "null", "", "HS256", "hs256", "es256", "ES256 ", "ES384", "RS256", "EdDSA", "Ed25519", "ES256K", "HS1"} {
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
	add("p", "PS256 with the key that is for RS256", f.token(f.rsa.With("PS256", "k2")))
	add("p", "RS512 with the key that is for RS256", f.token(f.rsa.With("RS512", "k2")))
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
