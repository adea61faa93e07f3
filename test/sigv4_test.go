package test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

const (
	awsID     = "AKIDOFTHEGATEWAY"
	awsSecret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYofTheGateway"
	awsToken  = "session-token-of-the-gateway-0123456789=="
)

// awsService answers as AWS does: it computes the signature of what it got by itself, from
// the bytes of the request, and refuses what does not agree.
type awsService struct{ id, secret, token, region, service string }

func (a *awsService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = a.verify(r, body)
	}
	if err != nil {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, "SignatureDoesNotMatch: %v", err)
		return
	}
	fmt.Fprintf(w, "%d bytes", len(body))
}

func (a *awsService) verify(r *http.Request, body []byte) error {
	var credential, signedHeaders, signature string
	fields, ok := strings.CutPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ")
	if _, err := fmt.Sscanf(strings.ReplaceAll(fields, ",", " "), "Credential=%s SignedHeaders=%s Signature=%s", &credential, &signedHeaders, &signature); err != nil || !ok || len(r.Header["Authorization"]) != 1 {
		return fmt.Errorf("Authorization is %q", r.Header["Authorization"])
	}
	date := r.Header.Get("X-Amz-Date")
	at, err := time.Parse("20060102T150405Z", date)
	if age := time.Since(at); err != nil || age > time.Minute || age < -time.Minute {
		return fmt.Errorf("X-Amz-Date is %q", date)
	}
	scope := date[:8] + "/" + a.region + "/" + a.service + "/aws4_request"
	if credential != a.id+"/"+scope || r.Header.Get("X-Amz-Security-Token") != a.token {
		return fmt.Errorf("credential %s, token %q", credential, r.Header.Get("X-Amz-Security-Token"))
	}
	hash := r.Header.Get("X-Amz-Content-Sha256")
	if sum := hex.EncodeToString(sum256(string(body))); hash == "" {
		hash = sum
	} else if len(hash) == 64 && hash != sum {
		return fmt.Errorf("the body has hash %s, not %s", sum, hash)
	}
	signed := strings.Split(signedHeaders, ";")
	for name := range r.Header {
		if name = strings.ToLower(name); strings.HasPrefix(name, "x-amz-") && !slices.Contains(signed, name) {
			return fmt.Errorf("there were headers present in the request which were not signed: %s", name)
		}
	}
	path, query, _ := strings.Cut(r.RequestURI, "?")
	canonical := []string{r.Method, a.path(path), canonicalQuery(query)}
	for _, name := range signed {
		values := slices.Clone(r.Header.Values(name))
		switch name {
		case "host":
			values = []string{r.Host}
		case "content-length":
			values = []string{fmt.Sprint(r.ContentLength)}
		}
		for i, v := range values {
			values[i] = strings.Join(strings.Fields(v), " ")
		}
		canonical = append(canonical, name+":"+strings.Join(values, ","))
	}
	canonical = append(canonical, "", signedHeaders, hash)
	key := []byte("AWS4" + a.secret)
	for _, part := range strings.Split(scope, "/") {
		key = mac(key, part)
	}
	text := "AWS4-HMAC-SHA256\n" + date + "\n" + scope + "\n" + hex.EncodeToString(sum256(strings.Join(canonical, "\n")))
	if want := hex.EncodeToString(mac(key, text)); want != signature {
		return fmt.Errorf("the signature is %s, want %s over\n%s", signature, want, strings.Join(canonical, "\n"))
	}
	return nil
}

// path is S3's decoded path encoded anew; others encode what they got once more.
func (a *awsService) path(path string) string {
	if a.service == "s3" {
		path, _ = url.PathUnescape(path)
	}
	segments := strings.Split(path, "/")
	for i, s := range segments {
		segments[i] = strings.ReplaceAll(url.QueryEscape(s), "+", "%20")
	}
	return strings.Join(segments, "/")
}

func canonicalQuery(raw string) string {
	var pairs []string
	for _, pair := range strings.Split(raw, "&") {
		if name, value, _ := strings.Cut(pair, "="); pair != "" {
			n, _ := url.QueryUnescape(name)
			v, _ := url.QueryUnescape(value)
			// = is below all that a name can have but %, so pairs sort like names
			pairs = append(pairs, strings.ReplaceAll(url.QueryEscape(n), "+", "%20")+"\x00"+strings.ReplaceAll(url.QueryEscape(v), "+", "%20"))
		}
	}
	slices.Sort(pairs)
	return strings.ReplaceAll(strings.Join(pairs, "&"), "\x00", "=")
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func sum256(text string) []byte {
	sum := sha256.Sum256([]byte(text))
	return sum[:]
}

// signedProxy has a proxy that presents PRESENT.
const signedProxy = `
{
	log {
		level DEBUG
	}
	rr {
		credential signer PRESENT
		proxy p {
			accept key {env.CALLER_KEY} {
				from header X-Gateway-Key
			}
			encoded_slash keep
			target UPSTREAM
			present credential signer
		}
	}
}
:GATEPORT {
	rr_proxy p {
		LINES
	}
}
`

const asCaller = "X-Gateway-Key: " + callerKey

func startSigned(t testing.TB, upstream, present string, more ...string) *gateway {
	t.Helper()
	t.Setenv("CALLER_KEY", callerKey)
	t.Setenv("AWS_ID", awsID)
	t.Setenv("AWS_KEY", awsSecret)
	t.Setenv("AWS_TOKEN", awsToken)
	return start(t, signedProxy, append(more, "PRESENT", present, "UPSTREAM", upstream, "LINES", "")...)
}

func sigv4Of(service string, lines ...string) string {
	return "present sigv4 {\n" + strings.Join(append(lines, "access_key_id {env.AWS_ID}", "secret_access_key {env.AWS_KEY}",
		"session_token {env.AWS_TOKEN}", "region eu-central-1", "service "+service), "\n") + "\n}"
}

func awsUpstream(t testing.TB, service string) *rrtest.Upstream {
	t.Helper()
	u := rrtest.NewUpstream(t)
	u.Handle("", &awsService{awsID, awsSecret, awsToken, "eu-central-1", service})
	return u
}

// wantGranted checks that the upstream accepted the signature.
func (a answer) wantGranted(t testing.TB, body string) {
	t.Helper()
	if a.want(t, 200, "proxy-access-granted"); a.Body != body {
		t.Errorf("the upstream says %s", a.Body)
	}
}

func TestSigV4(t *testing.T) {
	for _, service := range []string{"execute-api", "s3"} {
		t.Run(service, func(t *testing.T) {
			u := awsUpstream(t, service)
			g := startSigned(t, u.URL+"/stage", sigv4Of(service))
			for _, path := range []string{
				"/", "/a/b", "/my%20file(1)!'*.txt", "/%C3%A9/~x", "/a+b@c:d,e;f=g&h$", "/?a=1", "/?b=2&a=1&b=1&a", "/?q=a+b&r=c%20d&s=%2B",
				"/?tag=a/b&tag=a-b&%C3%A4=1&z=2", "/?filter[x]=1&filter2=2&f=a:1;b", "/?empty=&&acl", "/x?",
			} {
				g.get(path, asCaller).wantGranted(t, "0 bytes")
			}
			for _, method := range []string{"POST", "PUT", "PATCH", "DELETE"} {
				g.do(method, "/x", "", asCaller).wantGranted(t, "0 bytes")
				g.do(method, "/x", `{"a":1}`, asCaller, "Content-Type: application/json; charset=utf-8", "X-Amz-Target: A.b", "X-Amz-Meta-Two:  two   words ", "X-Amz-Meta-Two: more").wantGranted(t, "7 bytes")
			}
			g.do("POST", "/x", strings.Repeat("a", 1<<20), asCaller).wantGranted(t, "1048576 bytes")
			received(u)
			g.get("/my%20file(1)?b=c+d&a", asCaller).wantGranted(t, "0 bytes")
			if got := one(t, u); got.URI != "/stage/my%20file%281%29?b=c%20d&a" {
				t.Errorf("sent to %s", got.URI)
			}
			for _, s := range []string{awsSecret, awsToken, "AWS4-HMAC-SHA256"} {
				if strings.Contains(g.Logs(), s) {
					t.Errorf("%s is in a log", s)
				}
			}
		})
	}
	t.Run("an encoded slash", func(t *testing.T) {
		g := startSigned(t, awsUpstream(t, "s3").URL, sigv4Of("s3"))
		g.get("/bucket/a%2Fb", asCaller).wantGranted(t, "0 bytes")
	})
}

// sendChunked sends a body of unknown length.
func (g *gateway) sendChunked(body string) answer {
	g.t.Helper()
	return answer{rrtest.Raw(g.t, g.addr, fmt.Sprintf("PUT /x HTTP/1.1\r\nHost: g\r\n%s\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", asCaller, len(body), body))}
}

// TestSigV4Lengths: bodies with a length, without one, and beyond what is kept.
func TestSigV4Lengths(t *testing.T) {
	small, large := strings.Repeat("a", 10000), strings.Repeat("b", 10001)
	t.Run("s3", func(t *testing.T) {
		u := awsUpstream(t, "s3")
		g := startSigned(t, u.URL, sigv4Of("s3", "max_body 10KB"))
		hash := hex.EncodeToString(sum256(small))
		for _, tt := range []struct {
			name           string
			a              answer
			body, hash     string
			hasFixedLength bool
		}{
			{"small", g.do("PUT", "/x", small, asCaller), "10000 bytes", hash, true},
			{"small, of unknown length", g.sendChunked(small), "10000 bytes", hash, true},
			{"large", g.do("PUT", "/x", large, asCaller), "10001 bytes", "UNSIGNED-PAYLOAD", true},
			{"large, of unknown length", g.sendChunked(large), "10001 bytes", "UNSIGNED-PAYLOAD", false},
		} {
			tt.a.wantGranted(t, tt.body)
			for i, got := range u.Received() {
				if got.Header.Get("X-Amz-Content-Sha256") == tt.hash && (got.Header.Get("Content-Length") != "") == tt.hasFixedLength && fmt.Sprintf("%d bytes", got.BodySize) == tt.body {
					break
				} else if i == 3 {
					t.Errorf("%s: the upstream got none such", tt.name)
				}
			}
		}
		received(u)
		const framed = "PUT /x HTTP/1.1\r\nHost: g\r\n" + asCaller + "\r\nX-Amz-Content-Sha256: %s\r\nX-Amz-Trailer: x-amz-checksum-crc32\r\nContent-Encoding: aws-chunked\r\nX-Amz-Decoded-Content-Length: 1\r\nContent-Length: 4\r\n\r\n1\r\na"
		answer{rrtest.Raw(t, g.addr, fmt.Sprintf(framed, "STREAMING-UNSIGNED-PAYLOAD-TRAILER"))}.wantGranted(t, "4 bytes")
		received(u)
		answer{rrtest.Raw(t, g.addr, fmt.Sprintf(framed, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"))}.want(t, 502, "target-credential-failed")
		if got := received(u); len(got) > 0 {
			t.Errorf("the upstream got %+v", got)
		}
	})
	t.Run("another service", func(t *testing.T) {
		u := awsUpstream(t, "lambda")
		g := startSigned(t, u.URL, sigv4Of("lambda", "max_body 10KB"))
		g.sendChunked(small).wantGranted(t, "10000 bytes")
		received(u)
		g.do("POST", "/x", large, asCaller).want(t, 502, "target-credential-failed")
		g.sendChunked(large).want(t, 502, "target-credential-failed")
		g.refusal(func(e map[string]any) bool {
			return strings.Contains(fmt.Sprint(e["reason"]), "signer: the body has more than the 10000 bytes that are kept to sign it; raise max_body, or say unsigned_payload if lambda takes that")
		})
		if got := received(u); len(got) > 0 {
			t.Errorf("the upstream got %+v", got)
		}
	})
}

// TestSignedBodyWasJudged: what rules have read of a body is signed and sent all the same.
func TestSignedBodyWasJudged(t *testing.T) {
	u := awsUpstream(t, "execute-api")
	g := startSigned(t, u.URL, sigv4Of("execute-api", "allow POST {\nbody $.a ^1$\n}"))
	g.do("POST", "/x", `{"a":1}`, asCaller, "Content-Type: application/json").wantGranted(t, "7 bytes")
	received(u)
	g.do("POST", "/x", `{"a":2}`, asCaller, "Content-Type: application/json").want(t, 403, "proxy-access-denied")
	if got := received(u); len(got) > 0 {
		t.Errorf("the upstream got %+v", got)
	}
}

// TestSigV4OfCallersIsRemoved: nothing of the caller's own signature passes, however it is
// spelled, and nothing that the caller says takes ours away.
func TestSigV4OfCallersIsRemoved(t *testing.T) {
	u := awsUpstream(t, "execute-api")
	g := startSigned(t, u.URL, sigv4Of("execute-api"))
	const evil = "evil-0123456789"
	for _, headers := range [][]string{
		{"Authorization: AWS4-HMAC-SHA256 Credential=" + evil + ", SignedHeaders=host, Signature=" + evil},
		{"X-Amz-Date: " + evil, "x-amz-security-token: " + evil, "X-Amz-Content-Sha256: " + evil, "X-Amz-S3session-Token: " + evil},
		{"X_Amz_Date: " + evil, "X.Amz.Security.Token: " + evil, "X-Amz_Security-Token: " + evil, "x_authorization: 1", "Authorization_: 1"},
		{"Connection: X-Amz-Date, Authorization, X-Amz-Security-Token, Host", "Keep-Alive: X-Amz-Date"},
	} {
		g.do("POST", "/x", "body", append(headers, asCaller)...).wantGranted(t, "4 bytes")
		if got := one(t, u); got.Contains(evil) || len(got.Header["X-Amz-Date"]) != 1 || len(got.Header["X-Amz-Security-Token"]) != 1 {
			t.Errorf("%q: the upstream got %v", headers, got.Header)
		}
	}
	g.get("/x?a=b&X-Amz-Signature="+evil+"&x-amz-credential="+evil+"&X%2DAmz-Security-Token="+evil+"&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date="+evil+"&X-Amz-SignedHeaders=host&X-Amz-Expires=60", asCaller).wantGranted(t, "0 bytes")
	if got := one(t, u); got.URI != "/x?a=b" {
		t.Errorf("the upstream got %s", got.URI)
	}
	// a query that AWS could read in two ways
	g.get("/x?a=100%", asCaller).want(t, 502, "target-credential-failed")
	if got := received(u); len(got) > 0 {
		t.Errorf("the upstream got %+v", got)
	}
}

// TestSigV4PresignedAnswersPass: upstreams send callers on to URLs that they signed.
func TestSigV4PresignedAnswersPass(t *testing.T) {
	u := rrtest.NewUpstream(t)
	const location = "https://bucket.s3.amazonaws.com/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=abc"
	u.Handle("", http.RedirectHandler(location, http.StatusTemporaryRedirect))
	g := startSigned(t, u.URL, sigv4Of("execute-api"))
	a := g.get("/x", asCaller)
	if a.want(t, 307, "proxy-access-granted"); a.Header.Get("Location") != location {
		t.Errorf("Location is %s", a.Header.Get("Location"))
	}
}

// TestSigV4OverTLS: what is signed is what leaves over HTTP/2, too.
func TestSigV4OverTLS(t *testing.T) {
	ca := rrtest.NewCA(t)
	u := rrtest.NewTLSUpstream(t, ca)
	u.Handle("", &awsService{awsID, awsSecret, awsToken, "eu-central-1", "execute-api"})
	t.Setenv("CALLER_KEY", callerKey)
	t.Setenv("AWS_ID", awsID)
	t.Setenv("AWS_KEY", awsSecret)
	t.Setenv("AWS_TOKEN", awsToken)
	text := strings.Replace(signedProxy, "proxy p {", "target t UPSTREAM {\ntransport http {\ntls_trust_pool file CAFILE\n}\n}\nproxy p {", 1)
	text = strings.Replace(text, "\t\t\ttarget UPSTREAM", "\t\t\ttarget t", 1)
	g := start(t, text, "PRESENT", sigv4Of("execute-api"), "LINES", "", "UPSTREAM", u.URL, "CAFILE", ca.File)
	g.get("/a(b)?c=d+e&a", asCaller, "Cookie: a=b; c=d", "Accept-Encoding: br").wantGranted(t, "0 bytes")
	g.do("POST", "/x", "body", asCaller).wantGranted(t, "4 bytes")
	g.sendChunked("body").wantGranted(t, "4 bytes")
	for _, got := range received(u) {
		if got.Proto != "HTTP/2.0" {
			t.Errorf("over %s", got.Proto)
		}
	}
}

// TestSignedAgain: an attempt after a failed one has the same body and a signature of its
// own.
func TestSignedAgain(t *testing.T) {
	for name, present := range map[string]string{"sigv4": sigv4Of("execute-api"), "http_signature": "present http_signature {\nsecret {env.AWS_KEY}\n}"} {
		t.Run(name, func(t *testing.T) {
			port := rrtest.FreePort(t)
			g := startSigned(t, "http://"+rrtest.Addr(port), present, "LINES", "lb_try_duration 20s\nlb_try_interval 20ms")
			aws := &awsService{awsID, awsSecret, awsToken, "eu-central-1", "execute-api"}
			s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				if err := aws.verify(r, body); name == "sigv4" && err != nil {
					w.WriteHeader(http.StatusForbidden)
				}
				fmt.Fprintf(w, "%d %s %s", r.ContentLength, body, r.Header.Get("Content-Digest"))
			})}
			t.Cleanup(func() { s.Close() })
			go func() {
				for !strings.Contains(g.Logs(), "upstream roundtrip") { // no attempt has failed yet
					time.Sleep(time.Millisecond)
				}
				if l, err := net.Listen("tcp", rrtest.Addr(port)); err == nil {
					_ = s.Serve(l)
				}
			}()
			a := answer{rrtest.Raw(t, g.addr, "POST /x HTTP/1.1\r\nHost: g\r\n"+asCaller+"\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n")}
			if a.want(t, 200, "proxy-access-granted"); !strings.HasPrefix(a.Body, "4 body ") || (name == "sigv4") == strings.Contains(a.Body, "sha-256=:") {
				t.Errorf("the upstream says %s", a.Body)
			}
		})
	}
}

// TestSignedInline: beside a reverse_proxy of one's own a signature needs the transport rr.
func TestSignedInline(t *testing.T) {
	u := awsUpstream(t, "execute-api")
	t.Setenv("CALLER_KEY", callerKey)
	t.Setenv("AWS_ID", awsID)
	t.Setenv("AWS_KEY", awsSecret)
	t.Setenv("AWS_TOKEN", awsToken)
	const site = `
:GATEPORT {
	rr_verify {
		accept key {env.CALLER_KEY} {
			from header X-Gateway-Key
		}
	}
	rr_inject {
		PRESENT
		deferred
	}
	reverse_proxy UPSTREAM {
		header_up Host {upstream_hostport}
		transport rr
	}
}
`
	g := start(t, site, "PRESENT", sigv4Of("execute-api"), "UPSTREAM", u.Addr)
	g.do("POST", "/x?b&a=c+d", "body", asCaller).wantGranted(t, "4 bytes")
	received(u)
	early := strings.NewReplacer("\t\tdeferred\n", "", "\t\ttransport rr\n", "").Replace(site)
	if err := g.reload(early); err != nil { // refused when it loads, or when it is asked
		if !strings.Contains(err.Error(), "deferred") {
			t.Error(err)
		}
		return
	}
	g.get("/x", asCaller).want(t, 502, "target-credential-failed")
	if got := received(u); len(got) > 0 {
		t.Errorf("the upstream got %+v", got)
	}
}

// TestSigV4SecretFile: a new secret takes effect at once, without a reload.
func TestSigV4SecretFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("the-old-secret-0123456789")
	u := awsUpstream(t, "execute-api")
	g := startSigned(t, u.URL, strings.Replace(sigv4Of("execute-api"), "{env.AWS_KEY}", "{file."+file+"}", 1))
	g.get("/x", asCaller).want(t, 403, "proxy-access-granted")
	write(awsSecret)
	rrtest.Eventually(t, "the new secret signs", func() bool { return g.get("/x", asCaller).Status == 200 })
	write("not a secret access key")
	g.WaitLog("a changed secret of sigv4 cannot be used")
	g.get("/x", asCaller).wantGranted(t, "0 bytes")
	if logs := g.Logs(); strings.Contains(logs, "not a secret access key") || strings.Contains(logs, "the-old-secret") {
		t.Error("a secret is in a log")
	}
}

// TestSignedLoadErrors name what is wrong, and no secret.
func TestSignedLoadErrors(t *testing.T) {
	t.Setenv("CALLER_KEY", callerKey)
	t.Setenv("AWS_ID", awsID)
	t.Setenv("AWS_KEY", "s3cret with spaces")
	for _, tt := range []struct{ name, present, want string }{
		{"unset", strings.Replace(sigv4Of("s3"), "AWS_KEY", "RR_UNSET", 1), "secret_access_key: {env.RR_UNSET}: the environment variable is not set or empty"},
		{"unfit", strings.Replace(sigv4Of("s3"), "AWS_TOKEN", "AWS_ID", 1), "secret_access_key: it has characters that none has"},
		{"no key", "present http_signature {\nprivate_key {env.AWS_KEY}\n}", "private_key: the private key is not PEM"},
		{"no base64", "present http_signature {\nsecret {env.AWS_KEY} base64\n}", "secret: it is not base64"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.NewReplacer("PRESENT", tt.present, "UPSTREAM", "http://127.0.0.1:1", "GATEPORT", "0", "LINES", "").Replace(signedProxy)
			logs, err := rrtest.StartError(t, text)
			if !strings.Contains(err.Error(), "credential signer: present ") || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if strings.Contains(err.Error()+logs, "s3cret") {
				t.Error("the secret is shown")
			}
		})
	}
}
