package jose

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

// plain is what a token of the tests below says if it has no reason to say otherwise.
const (
	plainHeader = `{"alg":"EdDSA","kid":"k1"}`
	plainClaims = `{"sub":"svc"}`
)

// refused checks that a token is not well-formed, and that the error neither holds any of
// it nor is without the reason.
func refused(t *testing.T, raw, reason string) {
	t.Helper()
	token, err := Parse(raw)
	if err == nil {
		t.Fatalf("it is taken for a token: %+v", token.Header)
	}
	if token != nil || !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), reason) {
		t.Errorf("got %v and the error %q, want %q", token, err, reason)
	}
	for _, p := range append(strings.Split(raw, "."), raw) {
		if len(p) > 8 && strings.Contains(err.Error(), p) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("the error holds parts of the token: %.100q", err)
		}
	}
}

// TestHeadersThatAreRefused: every one of these tokens has a good signature.
func TestHeadersThatAreRefused(t *testing.T) {
	k := idp.NewKey(t, "EdDSA", "k1")
	const noString, unsupported, noJSON, noObject = "is not a string", "is not supported", "not valid JSON", "not a JSON object"
	huge := strings.Repeat("k", MaxKeyID+1)
	for name, c := range map[string]struct{ header, reason string }{
		"no alg":                        {`{"kid":"k1"}`, "alg is missing"},
		"an empty alg":                  {`{"alg":""}`, "alg is missing"},
		"alg in another case":           {`{"Alg":"EdDSA","ALG":"EdDSA"}`, "alg is missing"},
		"alg null":                      {`{"alg":null}`, noString},
		"a numeric alg":                 {`{"alg":0}`, noString},
		"alg false":                     {`{"alg":false}`, noString},
		"a list as alg":                 {`{"alg":["EdDSA"]}`, noString},
		"an empty list as alg":          {`{"alg":[]}`, noString},
		"an object as alg":              {`{"alg":{"EdDSA":1}}`, noString},
		"a numeric kid":                 {`{"alg":"EdDSA","kid":1}`, noString},
		"a huge number as kid":          {`{"alg":"EdDSA","kid":1e400}`, noString},
		"kid null":                      {`{"alg":"EdDSA","kid":null}`, noString},
		"kid true":                      {`{"alg":"EdDSA","kid":true}`, noString},
		"a list as kid":                 {`{"alg":"EdDSA","kid":["k1"]}`, noString},
		"an object as kid":              {`{"alg":"EdDSA","kid":{"k1":"k1"}}`, noString},
		"a huge kid":                    {`{"alg":"EdDSA","kid":"` + huge + `"}`, "kid is longer"},
		"a kid with NUL":                {`{"alg":"EdDSA","kid":"k1\u0000"}`, "NUL"},
		"a kid with half a pair":        {`{"alg":"EdDSA","kid":"k1\ud800"}`, "surrogate"},
		"an unknown crit":               {`{"alg":"EdDSA","crit":["x-s3cret"],"x-s3cret":1}`, unsupported},
		"a known crit":                  {`{"alg":"EdDSA","crit":["exp"],"exp":33000000000}`, unsupported},
		"crit of a registered name":     {`{"alg":"EdDSA","crit":["alg"]}`, unsupported},
		"an empty crit":                 {`{"alg":"EdDSA","crit":[]}`, unsupported},
		"crit null":                     {`{"alg":"EdDSA","crit":null}`, unsupported},
		"a string as crit":              {`{"alg":"EdDSA","crit":"exp"}`, unsupported},
		"b64 false":                     {`{"alg":"EdDSA","b64":false,"crit":["b64"]}`, unsupported},
		"b64 false without crit":        {`{"alg":"EdDSA","b64":false}`, unsupported},
		"b64 true":                      {`{"alg":"EdDSA","b64":true}`, unsupported},
		"enc":                           {`{"alg":"EdDSA","enc":"A128GCM"}`, unsupported},
		"enc null":                      {`{"alg":"EdDSA","enc":null}`, unsupported},
		"zip":                           {`{"alg":"EdDSA","zip":"DEF"}`, unsupported},
		"a token in the token":          {`{"alg":"EdDSA","cty":"JWT"}`, "token within a token"},
		"in lower case":                 {`{"alg":"EdDSA","cty":"jwt"}`, "token within a token"},
		"as a media type":               {`{"alg":"EdDSA","cty":"application/jwt"}`, "token within a token"},
		"as a media type, upper case":   {`{"alg":"EdDSA","cty":"APPLICATION/JWT"}`, "token within a token"},
		"a numeric cty":                 {`{"alg":"EdDSA","cty":1}`, noString},
		"a numeric typ":                 {`{"alg":"EdDSA","typ":1}`, noString},
		"a list as typ":                 {`{"alg":"EdDSA","typ":["JWT"]}`, noString},
		"typ null":                      {`{"alg":"EdDSA","typ":null}`, noString},
		"a list as jku":                 {`{"alg":"EdDSA","jku":["https://attacker.example"]}`, noString},
		"a number as x5u":               {`{"alg":"EdDSA","x5u":1}`, noString},
		"a list as x5t":                 {`{"alg":"EdDSA","x5t":[]}`, noString},
		"an object as x5t#S256":         {`{"alg":"EdDSA","x5t#S256":{}}`, noString},
		"a string as jwk":               {`{"alg":"EdDSA","jwk":"{}"}`, "jwk is not an object"},
		"jwk null":                      {`{"alg":"EdDSA","jwk":null}`, "jwk is not an object"},
		"a list as jwk":                 {`{"alg":"EdDSA","jwk":[{}]}`, "jwk is not an object"},
		"alg twice":                     {`{"alg":"none","alg":"EdDSA"}`, "twice"},
		"alg twice, none last":          {`{"alg":"EdDSA","alg":"none"}`, "twice"},
		"alg twice, one escaped":        {`{"alg":"EdDSA","\u0061lg":"none"}`, "twice"},
		"kid twice":                     {`{"alg":"EdDSA","kid":"k1","kid":"k2"}`, "twice"},
		"a member twice that nobody":    {`{"alg":"EdDSA","x":1,"x":1}`, "twice"},
		"a member twice deep within":    {`{"alg":"EdDSA","jwk":{"kty":"EC","kty":"OKP"}}`, "twice"},
		"NUL behind a name":             {`{"alg":"EdDSA","kid\u0000":"k1"}`, "NUL"},
		"NUL behind alg":                {`{"alg":"EdDSA\u0000"}`, "NUL"},
		"NUL in what nobody reads":      {`{"alg":"EdDSA","x":["\u0000"]}`, "NUL"},
		"a list":                        {`["EdDSA"]`, noObject},
		"a string":                      {`"EdDSA"`, noObject},
		"null":                          {`null`, noObject},
		"a number":                      {`1`, noObject},
		"an object in a list":           {`[{"alg":"EdDSA"}]`, noObject},
		"two objects":                   {`{"alg":"EdDSA"}{}`, noJSON},
		"something behind":              {`{"alg":"EdDSA"} x`, noJSON},
		"half an object":                {`{"alg":"EdDSA"`, noJSON},
		"no JSON":                       {"alg=EdDSA", noJSON},
		"not UTF-8":                     {"{\"alg\":\"EdDSA\",\"x\":\"\xff\"}", noJSON},
		"a byte order mark":             {"\ufeff" + `{"alg":"EdDSA"}`, noJSON},
		"UTF-16":                        {utf16Text(plainHeader), noJSON},
		"a comment":                     {`{"alg":"EdDSA"/*"none"*/}`, noJSON},
		"single quotes":                 {`{'alg':'EdDSA'}`, noJSON},
		"deeper than anybody needs":     {`{"alg":"EdDSA","x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`, "too deeply"},
		"deeper than encoding/json can": {strings.Repeat(`[`, 11000), noJSON},
	} {
		t.Run(name, func(t *testing.T) { refused(t, signed(k, c.header, plainClaims), c.reason) })
	}
}

func utf16Text(s string) string {
	var b strings.Builder
	for _, unit := range utf16.Encode([]rune(s)) {
		b.Write([]byte{byte(unit), byte(unit >> 8)})
	}
	return b.String()
}

// TestClaimsThatAreRefused: these have good signatures, too.
func TestClaimsThatAreRefused(t *testing.T) {
	k := idp.NewKey(t, "EdDSA", "k1")
	for name, c := range map[string]struct{ claims, reason string }{
		"a list":              {`[{"sub":"svc"}]`, "not a JSON object"},
		"a string":            {`"svc"`, "not a JSON object"},
		"null":                {`null`, "not a JSON object"},
		"a token":             {signed(k, plainHeader, plainClaims), "not valid JSON"},
		"text":                {"sub=svc", "not valid JSON"},
		"something behind":    {`{"sub":"svc"};`, "not valid JSON"},
		"not UTF-8":           {"{\"sub\":\"\xff\"}", "not valid JSON"},
		"a NUL behind":        {"{\"sub\":\"svc\"}\x00", "not valid JSON"},
		"compressed":          {"\x78\x9c\xabV*.MR\xb2R*.KV\xaa\x05\x00\x1d\x9f\x04\x8d", "not valid JSON"},
		"exp twice":           {`{"exp":1,"exp":33000000000}`, "twice"},
		"exp twice, escaped":  {`{"exp":1,"e\u0078p":33000000000}`, "twice"},
		"iss twice":           {`{"iss":"https://a","iss":"https://b"}`, "twice"},
		"aud twice":           {`{"aud":"a","aud":["a","b"]}`, "twice"},
		"twice deep within":   {`{"cnf":{"jkt":"a","jkt":"b"}}`, "twice"},
		"NUL in a name":       {`{"exp\u0000":1}`, "NUL"},
		"NUL in the issuer":   {`{"iss":"https://a\u0000.example"}`, "NUL"},
		"NUL in an audience":  {`{"aud":["a\u0000"]}`, "NUL"},
		"half a pair in sub":  {`{"sub":"s3cret\ud800"}`, "surrogate"},
		"deep":                {`{"a":` + strings.Repeat("[", 64) + strings.Repeat("]", 64) + `}`, "too deeply"},
		"a number that is no": {`{"exp":0x7fffffff}`, "not valid JSON"},
		"infinity":            {`{"exp":Infinity}`, "not valid JSON"},
	} {
		t.Run(name, func(t *testing.T) { refused(t, signed(k, plainHeader, c.claims), c.reason) })
	}
}

// TestSpellingsThatAreRefused: what is signed stays the same, what is sent does not.
func TestSpellingsThatAreRefused(t *testing.T) {
	k := idp.NewKey(t, "EdDSA", "k1")
	good := signed(k, `{"alg":"EdDSA" }`, plainClaims) // 16, 13 and 64 bytes: each leaves bits in its last letter
	if _, err := Parse(good); err != nil {
		t.Fatal(err)
	}
	h, c, s := part(good, 0), part(good, 1), part(good, 2)
	type row struct{ name, raw, reason string }
	const noBase64, parts, more = "not base64url", "not have three parts", "more than three parts"
	rows := []row{
		{"nothing", "", parts}, {"a dot", ".", parts}, {"two dots", "..", parts}, {"three dots", "...", more},
		{"one part", h, parts}, {"two parts", h + "." + c, parts},
		{"no signature", h + "." + c + ".", parts}, {"no header", "." + c + "." + s, parts},
		{"a detached payload", h + ".." + s, parts},
		{"four parts", good + "." + s, more}, {"an empty fourth part", good + ".", more}, {"a dot before", "." + good, more},
		{"an encrypted token", "eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4R0NNIn0..x.y.z", more},
		{"five parts", good + "." + h + "." + c, more},
		{"two tokens", good + good, more}, {"two tokens with a comma", good + "," + good, more},
		{"the JSON serialization", `{"payload":"` + c + `","protected":"` + h + `","signature":"` + s + `"}`, parts},
		{"1 MB of dots", strings.Repeat(".", 1<<20), "larger"}, {"16 KiB of dots", strings.Repeat(".", MaxToken), more},
		{"16 KiB without a dot", strings.Repeat("a", MaxToken), parts},
		{"one byte too large", sized(k, MaxToken+1), "larger"},
		{"a space before", " " + good, noBase64}, {"a space behind", good + " ", noBase64},
		{"a line end behind", good + "\n", noBase64}, {"a line end before", "\r\n" + good, noBase64},
		{"a NUL behind", good + "\x00", noBase64}, {"a scheme", "Bearer " + good, noBase64},
		{"quotes", `"` + good + `"`, noBase64}, {"full-width dots", strings.ReplaceAll(good, ".", "\uff0e"), parts},
		{"encoded dots", strings.ReplaceAll(good, ".", "%2e"), parts},
	}
	for i, name := range []string{"header", "claims", "signature"} {
		p := part(good, i)
		for how, replaced := range map[string]string{
			"one =":              p + "=",
			"two ==":             p + "==",
			"padding alone":      "==",
			"a line end inside":  p[:4] + "\n" + p[4:],
			"a CR inside":        p[:4] + "\r" + p[4:],
			"a line end behind":  p + "\n",
			"a space inside":     p[:4] + " " + p[4:],
			"a tab behind":       p + "\t",
			"a NUL inside":       p[:4] + "\x00" + p[4:],
			"one letter too few": p[:len(p)-len(p)%4+1],
			"a + of the other":   p[:4] + "+" + p[5:],
			"a / of the other":   p[:4] + "/" + p[5:],
			"a percent escape":   fmt.Sprintf("%s%%%02x%s", p[:4], p[4], p[5:]),
			"no ASCII":           p[:4] + "ä" + p[5:],
			"unused bits set":    unused(t, p),
		} {
			rows = append(rows, row{how + " in the " + name, with(good, i, replaced), noBase64})
		}
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) { refused(t, r.raw, r.reason) })
	}
}

// unused is a base64url text with bits in its last letter that stand for nothing.
func unused(t *testing.T, text string) string {
	t.Helper()
	if len(text)%4 == 0 {
		t.Fatal("it has no bits left over")
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, text[len(text)-1])
	return text[:len(text)-1] + alphabet[last|1:last|1+1]
}

// sized is a token of exactly so many bytes.
func sized(k *idp.Key, size int) string {
	raw := ""
	for fill := size*3/4 - 200; len(raw) < size; fill++ {
		raw = signed(k, plainHeader, `{"x":"`+strings.Repeat("a", fill)+`"}`)
	}
	if len(raw) > size { // base64 has no text of 4n+1 letters; one in the header more, and others fit
		raw = ""
		for fill := size*3/4 - 200; len(raw) < size; fill++ {
			raw = signed(k, plainHeader+" ", `{"x":"`+strings.Repeat("a", fill)+`"}`)
		}
	}
	return raw
}

func TestWhatParseTakes(t *testing.T) {
	k := idp.NewKey(t, "EdDSA", "k1")
	key := publicKey(t, k, "")
	for name, c := range map[string]struct {
		header string
		want   Header
	}{
		"the least":                {`{"alg":"EdDSA"}`, Header{Alg: "EdDSA"}},
		"RFC 9864's name":          {`{"alg":"Ed25519"}`, Header{Alg: "EdDSA"}},
		"an empty kid":             {`{"alg":"EdDSA","kid":""}`, Header{Alg: "EdDSA", HasKid: true}},
		"the longest kid":          {`{"alg":"EdDSA","kid":"` + strings.Repeat("k", MaxKeyID) + `"}`, Header{Alg: "EdDSA", Kid: strings.Repeat("k", MaxKeyID), HasKid: true}},
		"a kid like a path":        {`{"alg":"EdDSA","kid":"../../dev/null"}`, Header{Alg: "EdDSA", Kid: "../../dev/null", HasKid: true}},
		"a kid like SQL":           {`{"alg":"EdDSA","kid":"x' OR '1'='1"}`, Header{Alg: "EdDSA", Kid: "x' OR '1'='1", HasKid: true}},
		"a media type":             {`{"alg":"EdDSA","typ":"application/at+jwt"}`, Header{Alg: "EdDSA", Typ: "at+jwt"}},
		"names in another case":    {`{"alg":"EdDSA","ALG":"none","CRIT":["x"],"Kid":1,"ENC":1}`, Header{Alg: "EdDSA"}},
		"a content type":           {`{"alg":"EdDSA","cty":"json"}`, Header{Alg: "EdDSA"}},
		"keys of its own":          {`{"alg":"EdDSA","jku":"https://a","x5u":"https://a","x5c":["x"],"x5t":"x","x5t#S256":"x"}`, Header{Alg: "EdDSA"}},
		"a key for its possession": {`{"alg":"EdDSA","jwk":{}}`, Header{Alg: "EdDSA", JWK: map[string]any{}}},
		"blanks in the JSON":       {" {\n \"alg\" : \"EdDSA\" }\r\n", Header{Alg: "EdDSA"}},
	} {
		t.Run(name, func(t *testing.T) {
			raw := signed(k, c.header, plainClaims)
			token, err := Parse(raw)
			if err != nil {
				t.Fatal(err)
			}
			if h := token.Header; h.Alg != c.want.Alg || h.Kid != c.want.Kid || h.HasKid != c.want.HasKid || h.Typ != c.want.Typ || (h.JWK == nil) != (c.want.JWK == nil) {
				t.Errorf("got %+v, want %+v", h, c.want)
			}
			if err := token.VerifySignature(key, everything); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("the largest", func(t *testing.T) {
		if raw := sized(k, MaxToken); len(raw) != MaxToken || !verifies(raw, []*Key{key}, everything) {
			t.Errorf("a token of %d bytes", len(raw))
		}
	})
}

// FuzzParse: nothing panics, and what parses has no other spelling: its parts encode to
// the very bytes that came, and a byte less or more is not the same token.
func FuzzParse(f *testing.F) {
	k := idp.NewKey(f, "EdDSA", "k1")
	for _, s := range []string{
		signed(k, plainHeader, plainClaims), signed(k, `{"alg":"none"}`, `{}`), signed(k, `{"alg":"EdDSA","jwk":{"kty":"OKP"},"typ":"at+jwt"}`, `{"exp":1e400,"a":[{}]}`),
		"eyJhbGciOiJFZERTQSJ9.e30.AA", "eyJhbGciOiJFZERTQSJ9.e30.AB", "...", "eyJhbGciOiJFZERTQSJ9..AA", "", "eyJhbGciOiJFZERTQSJ9.e30.AA==",
	} {
		f.Add(s)
	}
	keys := newKeyring(f).keys(f)
	f.Fuzz(func(t *testing.T, raw string) {
		token, err := Parse(raw)
		if err != nil {
			if token != nil || !errors.Is(err, ErrMalformed) {
				t.Errorf("%q: %v, %v", raw, token, err)
			}
			return
		}
		var again []string
		for i := range 3 {
			b, err := decode64(part(raw, i))
			if err != nil || len(b) == 0 {
				t.Fatalf("%q parses, but its part %d is %q: %v", raw, i, b, err)
			}
			again = append(again, bytes64(b))
		}
		if got := strings.Join(again, "."); got != raw || len(raw) > MaxToken {
			t.Errorf("%q parses, but is written %q", raw, got)
		}
		if h := token.Header; h.Alg == "" || token.Claims == nil || len(h.Kid) > MaxKeyID || h.Kid != "" && !h.HasKid {
			t.Errorf("%q is %+v", raw, token)
		}
		for _, key := range keys {
			if token.VerifySignature(key, everything) == nil {
				t.Errorf("%q verifies", raw)
			}
		}
	})
}
