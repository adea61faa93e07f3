package inject

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-rr/caddy-rr/internal/exchange"
	"github.com/caddy-rr/caddy-rr/internal/rule"
	"github.com/caddy-rr/caddy-rr/store/secret"
)

// bare is a context in which secrets are their text.
func bare(t testing.TB) caddy.Context {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	t.Cleanup(cancel)
	return ctx
}

// leaving is a request as the transport hands it over.
func leaving(t testing.TB, method, address, body string, headers ...string) *http.Request {
	t.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequest(method, address, r)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Add(name, value)
	}
	return req
}

// awsSigner signs as of the time of AWS's test suite.
func awsSigner(t testing.TB, change func(s *SigV4)) *SigV4 {
	t.Helper()
	s := &SigV4{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", Region: "us-east-1", Service: "service"}
	if change != nil {
		change(s)
	}
	if err := s.Provision(bare(t)); err != nil {
		t.Fatal(err)
	}
	s.now = func() time.Time { return time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC) }
	return s
}

func mustInject(t testing.TB, x Injector, r *http.Request) {
	t.Helper()
	if err := x.Inject(r); err != nil {
		t.Fatal(err)
	}
}

func TestSigV4Vectors(t *testing.T) {
	raw, err := os.ReadFile("testdata/sigv4.json")
	if err != nil {
		t.Fatal(err)
	}
	var suite struct {
		Vectors []struct {
			Name, Method, Target, Body, Authorization string
			Headers                                   []string
			SessionToken                              secret.String `json:"session_token"`
			EncodedOnce                               bool          `json:"encoded_once"`
		}
	}
	if err := json.Unmarshal(raw, &suite); err != nil || len(suite.Vectors) == 0 {
		t.Fatalf("%d vectors, %v", len(suite.Vectors), err)
	}
	for _, v := range suite.Vectors {
		t.Run(v.Name, func(t *testing.T) {
			s := awsSigner(t, func(s *SigV4) { s.SessionToken = v.SessionToken })
			s.covers = func(string) bool { return true } // as the suite does
			s.tellsHash = v.Body != ""
			if v.EncodedOnce {
				s.keys.Store(awsSigner(t, func(s *SigV4) { s.Service = "s3" }).keys.Load())
			}
			r := leaving(t, v.Method, "https://example.amazonaws.com"+v.Target, v.Body, v.Headers...)
			mustInject(t, s, r)
			if got := r.Header.Get("Authorization"); got != v.Authorization {
				t.Errorf("Authorization is\n%s\nwant\n%s", got, v.Authorization)
			}
		})
	}
}

// TestSigV4S3Vectors are the examples of S3's documentation (Authenticating Requests: Using
// the Authorization Header).
func TestSigV4S3Vectors(t *testing.T) {
	s := awsSigner(t, func(s *SigV4) {
		s.AccessKeyID, s.SecretAccessKey, s.Service = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "s3"
	})
	s.now = func() time.Time { return time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC) }
	s.covers = func(header string) bool { return header == "Range" || header == "Date" || ofAWS(header) }
	for _, tt := range []struct {
		name, method, target, body, signature string
		headers                               []string
	}{
		{"GET Object", "GET", "/test.txt", "", "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41", []string{"Range: bytes=0-9"}},
		{"PUT Object", "PUT", "/test$file.text", "Welcome to Amazon S3.", "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd", []string{"Date: Fri, 24 May 2013 00:00:00 GMT", "X-Amz-Storage-Class: REDUCED_REDUNDANCY"}},
		{"GET Bucket Lifecycle", "GET", "/?lifecycle", "", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543", nil},
		{"List Objects", "GET", "/?prefix=J&max-keys=2", "", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7", nil},
	} {
		r := leaving(t, tt.method, "https://examplebucket.s3.amazonaws.com"+tt.target, tt.body, tt.headers...)
		mustInject(t, s, r)
		if tt.body != "" { // the example does not sign Content-Length, which clients of today do
			r.ContentLength = 0
			if err := s.sign(r, r.Header.Get("X-Amz-Content-Sha256")); err != nil {
				t.Fatal(err)
			}
		}
		if got := r.Header.Get("Authorization"); !strings.HasSuffix(got, "Signature="+tt.signature) {
			t.Errorf("%s: Authorization is %s, want %s", tt.name, got, tt.signature)
		}
	}
}

// TestSigV4SendsWhatItSigned: paths and queries leave in the one spelling that every reader
// encodes alike.
func TestSigV4SendsWhatItSigned(t *testing.T) {
	for _, tt := range []struct{ target, want string }{
		{"/a", "/a"},
		{"", ""},
		{"/my%20file(1)!.txt", "/my%20file%281%29%21.txt"},
		{"/%61%7e~/b", "/a~~/b"},
		{"/a%2fb/c", "/a%2Fb/c"},
		{"/a+b@c:d", "/a%2Bb%40c%3Ad"},
		{"/é", "/%C3%A9"},
		{"/?b=2&a=1&b=1", "/?b=2&a=1&b=1"},
		{"/?acl", "/?acl"},
		{"/?acl=", "/?acl="},
		{"/?a=b+c&d=%20", "/?a=b%20c&d=%20"},
		{"/?a=b/c:d;e", "/?a=b%2Fc%3Ad%3Be"},
		{"/?a=b=c&&=d", "/?a=b%3Dc&=d"},
		// what a caller signed itself
		{"/?X-Amz-Algorithm=AWS4-HMAC-SHA256&a=b&X-Amz-Credential=AKID&X-Amz-Date=1&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=ab&X-Amz-Security-Token=t", "/?a=b"},
		{"/?x%2Damz-signature=ab&X-AMZ-Security-Token=t", "/"},
		{"/?a=1;X-Amz-Signature=ab", "/?a=1"},
	} {
		s := awsSigner(t, nil)
		r := leaving(t, "GET", "https://a.example"+tt.target, "")
		mustInject(t, s, r)
		if got := strings.TrimPrefix(r.URL.String(), "https://a.example"); got != tt.want {
			t.Errorf("%s leaves as %s, want %s", tt.target, got, tt.want)
		}
	}
	r := leaving(t, "GET", "https://a.example/", "")
	r.URL.RawQuery = "a=100%&secret=s3cret"
	if err := awsSigner(t, nil).Inject(r); err == nil || strings.Contains(err.Error(), "s3cret") || r.Header.Get("Authorization") != "" {
		t.Errorf("a query that cannot be read: %v", err)
	}
}

// TestSigV4Host: the host is signed and sent without the scheme's own port.
func TestSigV4Host(t *testing.T) {
	signature := func(address, host string) (string, string) {
		r := leaving(t, "GET", address, "")
		r.Host = host
		mustInject(t, awsSigner(t, nil), r)
		return r.Header.Get("Authorization"), r.Host
	}
	plain, _ := signature("https://a.example/", "a.example")
	for _, tt := range []struct {
		address, host, sent string
		same                bool
	}{
		{"https://a.example/", "a.example:443", "a.example", true},
		{"http://a.example/", "a.example:80", "a.example", true},
		{"//a.example/", "a.example:443", "a.example", true},
		{"https://a.example/", "a.example:80", "a.example:80", false},
		{"http://a.example/", "a.example:443", "a.example:443", false},
		{"https://a.example/", "a.example:8443", "a.example:8443", false},
		{"https://a.example/", "b.example", "b.example", false},
	} {
		if got, sent := signature(tt.address, tt.host); sent != tt.sent || (got == plain) != tt.same {
			t.Errorf("%s with Host %s: sent as %s, %s", tt.address, tt.host, sent, got)
		}
	}
}

func TestSigV4Headers(t *testing.T) {
	r := leaving(t, "POST", "https://a.example/", "{}", "Content-Type: application/x-amz-json-1.0", "X-Amz-Target: DynamoDB.GetItem",
		"Accept-Encoding: gzip", "User-Agent: x", "X-Forwarded-For: 1.2.3.4", "Via: 1.1 Caddy", "X-Amzn-Trace-Id: 1", "Cookie: a=b", "Accept: */*", "Range: bytes=0-1")
	shared := r.Header["X-Amz-Target"]
	mustInject(t, awsSigner(t, nil), r)
	if got, want := r.Header.Get("Authorization"), "SignedHeaders=content-length;content-type;host;x-amz-date;x-amz-target,"; !strings.Contains(got, want) {
		t.Errorf("Authorization is %s, want %s", got, want)
	}
	if &shared[0] != &r.Header["X-Amz-Target"][0] || r.Header.Get("X-Amz-Content-Sha256") != "" || r.Header.Get("X-Amz-Date") != "20150830T123600Z" {
		t.Errorf("headers are %v", r.Header)
	}
}

func hexSHA256(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// unknown is a body of unknown length.
func unknown(r *http.Request, body io.Reader) *http.Request {
	r.Body, r.ContentLength, r.GetBody, r.TransferEncoding = io.NopCloser(body), -1, nil, []string{"chunked"}
	return r
}

func readBody(t testing.TB, r *http.Request) string {
	t.Helper()
	if r.Body == nil {
		return ""
	}
	data, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestSigV4Bodies(t *testing.T) {
	small, large := strings.Repeat("a", 1000), strings.Repeat("b", 1001)
	for _, tt := range []struct {
		name, service, body string
		unsigned, unknown   bool
		hash                string // of X-Amz-Content-Sha256, which is sent to S3
		length              int64
		fault               string
	}{
		{"none", "s3", "", false, false, hexSHA256(""), 0, ""},
		{"small", "s3", small, false, false, hexSHA256(small), 1000, ""},
		{"small, of unknown length", "s3", small, false, true, hexSHA256(small), 1000, ""},
		{"empty, of unknown length", "s3", "", false, true, hexSHA256(""), 0, ""},
		{"large", "s3", large, false, false, unsignedPayload, 1001, ""},
		{"large, of unknown length", "s3", large, false, true, unsignedPayload, -1, ""},
		{"small, unsigned", "s3", small, true, false, unsignedPayload, 1000, ""},
		{"unknown, unsigned", "s3", small, true, true, unsignedPayload, -1, ""},
		{"small, elsewhere", "execute-api", small, false, true, "", 1000, ""},
		{"unsigned, elsewhere", "vpc-lattice-svcs", large, true, false, unsignedPayload, 1001, ""},
		{"small, OpenSearch Serverless", "aoss", small, false, false, hexSHA256(small), 1000, ""},
		{"large, elsewhere", "execute-api", large, false, false, "", 0, "raise max_body, or say unsigned_payload if execute-api takes that"},
		{"large, of unknown length, elsewhere", "execute-api", large, false, true, "", 0, "raise max_body"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := awsSigner(t, func(s *SigV4) { s.Service, s.UnsignedPayload, s.MaxBody = tt.service, tt.unsigned, 1000 })
			r := leaving(t, "PUT", "https://a.example/x", tt.body)
			if tt.unknown {
				unknown(r, iotest{strings.NewReader(tt.body)})
			}
			err := s.Inject(r)
			if tt.fault != "" {
				if err == nil || !strings.Contains(err.Error(), tt.fault) || r.Header.Get("Authorization") != "" {
					t.Fatalf("got %v, want %q", err, tt.fault)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := r.Header.Get("X-Amz-Content-Sha256"); got != tt.hash || r.ContentLength != tt.length {
				t.Errorf("the hash is %q, the length %d; want %q, %d", got, r.ContentLength, tt.hash, tt.length)
			}
			signed := strings.Contains(r.Header.Get("Authorization"), "content-length;")
			if want := tt.length > 0; signed != want || (tt.length < 0) != (len(r.TransferEncoding) > 0) {
				t.Errorf("Content-Length is signed: %v; %v", signed, r.TransferEncoding)
			}
			if got := readBody(t, r); got != tt.body {
				t.Errorf("the body is %.20q… of %d bytes", got, len(got))
			}
			if tt.length > 0 && tt.length <= 1000 && !tt.unsigned { // the transport may try again
				again, err := r.GetBody()
				if err != nil {
					t.Fatal(err)
				}
				if data, _ := io.ReadAll(again); string(data) != tt.body {
					t.Errorf("again the body is %.20q", data)
				}
			}
		})
	}
}

// iotest reads one byte at a time.
type iotest struct{ io.Reader }

func (r iotest) Read(p []byte) (int, error) {
	if len(p) > 1 {
		p = p[:1]
	}
	return r.Reader.Read(p)
}

// attemptsOf is the context of a verified request that caller sent.
func attemptsOf(ctx context.Context, caller *http.Request) *exchange.Exchange {
	x, _ := exchange.Begin(ctx)
	x.Onward, x.Deferred = &Gate{deferred: true}, true
	x.Input = rule.Input{Request: caller}
	return x
}

// TestSignedAttempts: reverse_proxy tries again with the request it had, whose body has been
// read.
func TestSignedAttempts(t *testing.T) {
	s := awsSigner(t, func(s *SigV4) { s.Service, s.MaxBody = "s3", 10 })
	try := func(x *exchange.Exchange, original *http.Request) (*http.Request, error) {
		out := original.WithContext(x)
		u := *original.URL
		out.URL, out.Header = &u, original.Header.Clone()
		return out, s.Inject(out)
	}
	for _, body := range []string{"", "body"} {
		original := unknown(leaving(t, "PUT", "https://a.example/x", ""), strings.NewReader(body))
		x := attemptsOf(t.Context(), original)
		for range 3 {
			out, err := try(x, original)
			if err != nil {
				t.Fatal(err)
			}
			if got := readBody(t, out); got != body || out.Header.Get("X-Amz-Content-Sha256") != hexSHA256(body) || out.ContentLength != int64(len(body)) {
				t.Errorf("an attempt sends %q, hash %s", got, out.Header.Get("X-Amz-Content-Sha256"))
			}
		}
	}
	original := unknown(leaving(t, "PUT", "https://a.example/x", ""), strings.NewReader("a body of more bytes"))
	x := attemptsOf(t.Context(), original)
	out, err := try(x, original)
	if err != nil || readBody(t, out) != "a body of more bytes" {
		t.Fatalf("the first attempt: %v", err)
	}
	if out, err = try(x, original); err == nil || !strings.Contains(err.Error(), "too large to be kept") || out.Header.Get("Authorization") != "" {
		t.Errorf("the second attempt, without its body: %v", err)
	}
	// the caller goes away
	original = unknown(leaving(t, "PUT", "https://a.example/x", ""), io.MultiReader(strings.NewReader("bo"), failing{}))
	x = attemptsOf(t.Context(), original)
	for range 2 {
		if out, err = try(x, original); err == nil || out.Header.Get("Authorization") != "" {
			t.Errorf("half a body was signed: %v", err)
		}
	}
	short := leaving(t, "PUT", "https://a.example/x", "body")
	short.Body = io.NopCloser(strings.NewReader("bo"))
	if _, err := try(attemptsOf(t.Context(), short), short); err == nil || !strings.Contains(err.Error(), "2 bytes, not the 4") {
		t.Errorf("a body shorter than announced: %v", err)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// TestSignedTrailers: a body with trailers keeps its chunks, which carry them.
func TestSignedTrailers(t *testing.T) {
	r := unknown(leaving(t, "PUT", "https://a.example/x", ""), strings.NewReader("body"))
	r.Trailer = http.Header{"X-Check": nil}
	mustInject(t, awsSigner(t, nil), r)
	if got := readBody(t, r); got != "body" || r.ContentLength != -1 || r.GetBody != nil || strings.Contains(r.Header.Get("Authorization"), "content-length") {
		t.Errorf("body %q, length %d, %s", got, r.ContentLength, r.Header.Get("Authorization"))
	}
}

// TestSigV4Chunks: what a caller's SDK has framed is passed on where no signature of its own
// is in it.
func TestSigV4Chunks(t *testing.T) {
	const framed = "4\r\nbody\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n"
	for _, tt := range []struct {
		name, service, hash, encoding string
		passes                        bool
	}{
		{"unsigned, to S3", "s3", unsignedChunks, "aws-chunked", true},
		{"unsigned, not said in the encoding", "s3", unsignedChunks, "", true},
		{"signed", "s3", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "aws-chunked", false},
		{"signed, not said in the encoding", "s3", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", "", false},
		{"signed, with another encoding", "s3", "", "gzip, AWS-Chunked", false},
		{"to another service", "execute-api", unsignedChunks, "aws-chunked", false},
	} {
		s := awsSigner(t, func(s *SigV4) { s.Service = tt.service })
		caller := leaving(t, "PUT", "https://a.example/x", framed)
		for name, value := range map[string]string{"X-Amz-Content-Sha256": tt.hash, "Content-Encoding": tt.encoding} {
			if value != "" {
				caller.Header.Set(name, value)
			}
		}
		out := caller.WithContext(attemptsOf(t.Context(), caller))
		out.Header = caller.Header.Clone()
		out.Header.Del("X-Amz-Content-Sha256") // a slot
		err := s.Inject(out)
		if (err == nil) != tt.passes || err != nil && (!strings.Contains(err.Error(), "aws-chunked") || out.Header.Get("Authorization") != "") {
			t.Errorf("%s: %v", tt.name, err)
		}
		if err == nil && (out.Header.Get("X-Amz-Content-Sha256") != unsignedChunks || readBody(t, out) != framed) {
			t.Errorf("%s: %v", tt.name, out.Header)
		}
	}
}

// TestSignedEarly: before a handler that may change the request nothing is signed.
func TestSignedEarly(t *testing.T) {
	x, _ := exchange.Begin(t.Context())
	for _, gate := range []any{nil, &Gate{}, &Gate{deferred: true}} {
		x.Onward = gate
		r := leaving(t, "GET", "https://a.example/x", "").WithContext(x)
		if err := awsSigner(t, nil).Inject(r); err == nil || !strings.Contains(err.Error(), "deferred") || r.Header.Get("Authorization") != "" {
			t.Errorf("gate %v: %v", gate, err)
		}
	}
}

func TestSigV4Secrets(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		change     func(s *SigV4)
	}{
		{"no id", "needs access_key_id", func(s *SigV4) { s.AccessKeyID = "" }},
		{"no secret", "needs access_key_id and secret_access_key", func(s *SigV4) { s.SecretAccessKey = "" }},
		{"no region", "needs region", func(s *SigV4) { s.Region = "" }},
		{"a placeholder for a region", "{$NAME}", func(s *SigV4) { s.Region = "{env.AWS_REGION}" }},
		{"a service that is a path", "service", func(s *SigV4) { s.Service = "s3/x" }},
		{"an id with a slash", "access_key_id", func(s *SigV4) { s.AccessKeyID = "a/b" }},
		{"a line break", "secret_access_key: it has characters", func(s *SigV4) { s.SecretAccessKey = "s3cret\nsecond" }},
		{"a space", "session_token: it has characters", func(s *SigV4) { s.SessionToken = "s3cret token" }},
		{"a NUL", "NUL", func(s *SigV4) { s.SessionToken = "s3cret\x00" }},
		{"too much", "64 MiB", func(s *SigV4) { s.MaxBody = 65 << 20 }},
	} {
		s := &SigV4{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "secret", Region: "us-east-1", Service: "s3"}
		tt.change(s)
		if err := s.Provision(bare(t)); err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// TestSigV4SecretsChangeTogether: all three at once, and nothing derived of the old secret is
// in use after.
func TestSigV4SecretsChangeTogether(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(dir+"/"+name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("id", "AKIDOLD")
	write("secret", "old-secret")
	write("token", "old-token")
	e := new(secret.Expander)
	ctx, cancel := caddy.NewContext(caddy.Context{Context: e.Context(t.Context())})
	t.Cleanup(cancel)
	file := func(name string) string { return "{file." + dir + "/" + name + "}" }
	s := &SigV4{AccessKeyID: secret.Template(file("id")), SecretAccessKey: secret.String(file("secret")), SessionToken: secret.String(file("token")), Region: "us-east-1", Service: "service"}
	if err := s.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	sign := func(s *SigV4) string {
		s.now = func() time.Time { return time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC) }
		r := leaving(t, "GET", "https://example.amazonaws.com/", "")
		mustInject(t, s, r)
		return r.Header.Get("Authorization") + r.Header.Get("X-Amz-Security-Token")
	}
	fixed := func(id, key, token string) string {
		return sign(awsSigner(t, func(s *SigV4) {
			s.AccessKeyID, s.SecretAccessKey, s.SessionToken = secret.Template(id), secret.String(key), secret.String(token)
		}))
	}
	if got := sign(s); got != fixed("AKIDOLD", "old-secret", "old-token") {
		t.Errorf("signed with %s", got)
	}
	seen := map[string]bool{}
	keys := s.keys.Load()
	write("id", "AKIDNEW2")
	write("secret", "new-secret-2")
	write("token", "new-token-2")
	done := make(chan struct{})
	go func() { defer close(done); e.Poll() }()
	for poll := true; poll; {
		select {
		case <-done:
			poll = false
		default:
		}
		k := s.keys.Load()
		seen[k.credentials.AccessKeyID+k.credentials.SecretAccessKey+k.credentials.SessionToken] = true
	}
	for set := range seen {
		if set != "AKIDOLDold-secretold-token" && set != "AKIDNEW2new-secret-2new-token-2" {
			t.Errorf("in between there was %s", set)
		}
	}
	if got := sign(s); got != fixed("AKIDNEW2", "new-secret-2", "new-token-2") || s.keys.Load() == keys {
		t.Errorf("then signed with %s", got)
	}
	// the same id with another secret
	write("secret", "secret-three")
	e.Poll()
	if got := sign(s); got != fixed("AKIDNEW2", "secret-three", "new-token-2") {
		t.Errorf("at last signed with %s", got)
	}
	// what cannot be used changes nothing
	write("secret", "secret four with spaces")
	e.Poll()
	if got := sign(s); got != fixed("AKIDNEW2", "secret-three", "new-token-2") {
		t.Errorf("with an unfit secret signed with %s", got)
	}
}

// FuzzStrictQuery: the spelling is one that url.Values reads as it read the original, and
// stays as it is.
func FuzzStrictQuery(f *testing.F) {
	f.Add("a=b&c=d+e&f")
	f.Add("%41=%zz&=;&a=%C3%A9")
	f.Fuzz(func(t *testing.T, raw string) {
		strict, err := strictQuery(raw)
		if err != nil {
			return
		}
		again, err := strictQuery(strict)
		if err != nil || again != strict {
			t.Errorf("%q is %q, then %q, %v", raw, strict, again, err)
		}
		before, _ := url.ParseQuery(strings.ReplaceAll(raw, ";", "%3B"))
		after, err := url.ParseQuery(strict)
		if err != nil || before.Encode() != after.Encode() {
			t.Errorf("%q reads %q, then %q, %v", raw, before.Encode(), after.Encode(), err)
		}
		if bytes.ContainsAny([]byte(strict), "+;/ \"'<>()!") {
			t.Errorf("%q is %q", raw, strict)
		}
	})
}
