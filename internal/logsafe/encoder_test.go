package logsafe

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/logging"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-rr/caddy-rr/internal/redact"
)

// canary is in every secret of these tests and nowhere else.
const canary = "c4n4ry"

func jsonEncoder() zapcore.Encoder {
	return zapcore.NewJSONEncoder((*logging.LogEncoderConfig)(nil).ZapcoreEncoderConfig())
}

func consoleEncoder() zapcore.Encoder {
	return zapcore.NewConsoleEncoder((*logging.LogEncoderConfig)(nil).ZapcoreEncoderConfig())
}

func testNames(t testing.TB) *redact.Names {
	n := redact.New()
	n.Add(redact.Header, "X-Vendor-Token")
	n.Add(redact.Query, "hapikey")
	n.Add(redact.Cookie, "sid")
	if _, held := n.AddSecret(canary + "-by-value"); !held {
		t.Fatal("the secret is not held")
	}
	return n
}

// leaky are fields that each hold a canary, with what has to stay of them.
var leaky = map[string]struct {
	field zap.Field
	want  string
}{
	"a header's line":          {zap.Array("X-Vendor-Token", caddyhttp.LoggableStringArray{canary}), `"X-Vendor-Token":["REDACTED"]`},
	"a header's lines":         {zap.Strings("x_vendor_token", []string{canary, canary}), `"x_vendor_token":"REDACTED"`},
	"a header as a string":     {zap.String("X-Api-Key", canary), `"X-Api-Key":"REDACTED"`},
	"a header as bytes":        {zap.ByteString("X-Api-Key", []byte(canary)), `"X-Api-Key":"REDACTED"`},
	"a header as binary":       {zap.Binary("X-Api-Key", []byte(canary)), `"X-Api-Key":"UkVEQUNURUQ="`},
	"a header as an object":    {zap.Object("Authorization", zapcore.ObjectMarshalerFunc(addCanary)), `"Authorization":"REDACTED"`},
	"a header as a structure":  {zap.Any("client_secret", struct{ V string }{canary}), `"client_secret":"REDACTED"`},
	"a header as a Stringer":   {zap.Stringer("x.api.key", time.Month(0)), `"x.api.key":"REDACTED"`},
	"a request target":         {zap.String("uri", "/v1?hapikey=c4 n4ry&a=b"), `"uri":"/v1?hapikey=REDACTED&a=b"`},
	"a URL under another key":  {zap.String("from", "https://x/?access_token="+canary), `"from":"https://x/?access_token=REDACTED"`},
	"a URL":                    {zap.Stringer("to", mustParse("https://u:"+canary+"@x/?a=b")), `"to":"https://u:REDACTED@x/?a=b"`},
	"a Referer":                {zap.Array("Referer", caddyhttp.LoggableStringArray{"https://x/", "https://x/?key=" + canary}), `"Referer":["https://x/","https://x/?key=REDACTED"]`},
	"Locations":                {zap.Strings("location", []string{"/a b?key=c4 n4ry", "/"}), `"location":["/a b?key=REDACTED","/"]`},
	"URLs in an array":         {zap.Array("l", zapcore.ArrayMarshalerFunc(appendCanaries)), `"l":["/?key=REDACTED","/?key=REDACTED",{"X-Api-Key":"REDACTED"},["/?key=REDACTED"],{"secret":"REDACTED"}]`},
	"an error":                 {zap.Error(&url.Error{Op: "Get", URL: "https://x/?key=" + canary, Err: io.EOF}), `"error":"Get \"https://x/?key=REDACTED\": EOF"`},
	"errors":                   {zap.Errors("errors", []error{errors.New(`{"access_token":"` + canary + `"}`)}), `"errors":[{"error":"{\"access_token\":\"REDACTED\"}"}]`},
	"an error as a structure":  {zap.Reflect("e", &url.Error{Op: "Get", URL: "https://x/?key=" + canary}), `"URL":"https://x/?key=REDACTED"`},
	"an http.Header":           {zap.Any("h", http.Header{"X-Vendor-Token": {canary}, "Accept": {"a"}}), `"h":{"Accept":["a"],"X-Vendor-Token":"REDACTED"}`},
	"url.Values":               {zap.Any("q", url.Values{"hapikey": {canary}, "a": {"b"}}), `"q":{"a":["b"],"hapikey":"REDACTED"}`},
	"a cookie":                 {zap.Any("c", []*http.Cookie{{Name: "sid", Value: canary}}), `"Name":"sid"`},
	"a cookie's text":          {zap.String("c", "theme=dark; sid="+canary+"; x=y"), `"c":"theme=dark; sid=REDACTED; x=y"`},
	"a string in disguise":     {zap.Reflect("uri", "/?key=c4 n4ry&a=b"), `"uri":"/?key=REDACTED&a=b"`},
	"a nested object":          {zap.Object("o", zapcore.ObjectMarshalerFunc(addCanary)), `"o":{"deep":{"X-Vendor-Token":["REDACTED"],"uri":"/?key=REDACTED"},"after":1}`},
	"a dictionary":             {zap.Dict("d", zap.String("password", canary), zap.Int("port", 80)), `"d":{"password":"REDACTED","port":80}`},
	"an inline object":         {zap.Inline(zapcore.ObjectMarshalerFunc(addCanary)), `"deep":{"X-Vendor-Token":["REDACTED"],"uri":"/?key=REDACTED"},"after":1`},
	"a secret by its value":    {zap.String("note", "it is "+canary+"-by-value!"), `"note":"it is REDACTED!"`},
	"a secret in Basic":        {zap.String("note", "Basic "+base64.StdEncoding.EncodeToString([]byte("svc:"+canary+"-by-value"))), `"note":"Basic REDACTED"`},
	"a secret in binary":       {zap.Binary("note", []byte("svc: "+canary+"-by-value")), `"note":"REDACTED"`},
	"a secret as a field name": {zap.Int(canary+"-by-value", 7), `"REDACTED":7`},
	"a map's key":              {zap.Any("m", map[string]int{canary + "-by-value": 7}), `"m":{"REDACTED":7}`},
}

func mustParse(s string) *url.URL {
	u, err := url.Parse(s)
	if err != nil {
		panic(err)
	}
	return u
}

func addCanary(enc zapcore.ObjectEncoder) error {
	err := enc.AddObject("deep", zapcore.ObjectMarshalerFunc(func(enc zapcore.ObjectEncoder) error {
		err := enc.AddArray("X-Vendor-Token", caddyhttp.LoggableStringArray{canary})
		enc.AddString("uri", "/?key="+canary)
		return err
	}))
	enc.AddInt("after", 1)
	return err
}

func appendCanaries(enc zapcore.ArrayEncoder) error {
	enc.AppendString("/?key=" + canary)
	enc.AppendByteString([]byte("/?key=" + canary))
	return errors.Join(
		enc.AppendObject(zapcore.ObjectMarshalerFunc(func(enc zapcore.ObjectEncoder) error {
			enc.AddString("X-Api-Key", canary)
			return nil
		})),
		enc.AppendArray(caddyhttp.LoggableStringArray{"/?key=" + canary}),
		enc.AppendReflected(map[string]string{"secret": canary}),
	)
}

// logged returns what a logger with this encoder writes.
func logged(encoder zapcore.Encoder, write func(*zap.Logger)) string {
	var out bytes.Buffer
	write(zap.New(zapcore.NewCore(encoder, zapcore.AddSync(&out), zapcore.DebugLevel)))
	return out.String()
}

func leaks(s string) bool {
	plain, err := url.QueryUnescape(s)
	return strings.Contains(s, canary) || strings.Contains(s, "c4 n4ry") || err == nil && strings.Contains(plain, canary) ||
		strings.Contains(s, base64.StdEncoding.EncodeToString([]byte(canary)))
}

func TestEncoderHidesCredentialsInEveryTypeOfField(t *testing.T) {
	names := testNames(t)
	for name, c := range leaky {
		for how, write := range map[string]func(*zap.Logger){
			"a field":               func(l *zap.Logger) { l.Info("x", zap.Int("before", 1), c.field, zap.Int("behind", 2)) },
			"a field of the logger": func(l *zap.Logger) { l.With(c.field).Info("x") },
			"a field in a namespace": func(l *zap.Logger) {
				l.With(zap.Namespace("outer")).Info("x", zap.Namespace("inner"), c.field, zap.Int("behind", 2))
			},
			"a lazy field": func(l *zap.Logger) { l.WithLazy(c.field).Info("x") },
		} {
			got := logged(newSafeEncoder(jsonEncoder(), names), write)
			if !strings.Contains(got, c.want) || leaks(got) {
				t.Errorf("%s as %s: %s has no %s", name, how, got, c.want)
			}
			if !json.Valid([]byte(got)) {
				t.Errorf("%s as %s: not JSON: %s", name, how, got)
			}
			if got := logged(newSafeEncoder(consoleEncoder(), names), write); leaks(got) || !strings.Contains(got, redact.Redacted) && !strings.Contains(got, "UkVEQUNURUQ=") {
				t.Errorf("%s as %s, console: %s", name, how, got)
			}
		}
		if name != "a header as a Stringer" && !leaks(logged(jsonEncoder(), func(l *zap.Logger) { l.Info("x", c.field) })) &&
			!strings.Contains(c.want, "Basic") && !strings.Contains(name, "binary") {
			t.Errorf("%s: holds no canary to begin with", name)
		}
	}
}

func TestEncoderHidesCredentialsInMessageAndStack(t *testing.T) {
	got := logged(newSafeEncoder(jsonEncoder(), testNames(t)), func(l *zap.Logger) {
		entry := l.Check(zapcore.ErrorLevel, "asking https://x/?key="+canary+" with "+canary+"-by-value")
		entry.Stack = "panic: bad URL \"https://x/?key=" + canary + "\"\nmain.go:7"
		entry.Write()
	})
	want := `"msg":"asking https://x/?key=REDACTED with REDACTED","stacktrace":"panic: bad URL \"https://x/?key=REDACTED\"\nmain.go:7"`
	if leaks(got) || !strings.Contains(got, want) {
		t.Errorf("%s has no %s", got, want)
	}
}

func TestEncoderLeavesEverythingElseAsItIs(t *testing.T) {
	write := func(l *zap.Logger) {
		l.With(zap.Bool("with", true)).Named("http.log").Info("100% = done: a/b?c",
			zap.String("empty", ""), zap.String("Authorization", ""), zap.Duration("took", time.Second), zap.Time("at", time.Unix(7, 0)),
			zap.Float64("f", 1.5), zap.Uint8("u", 8), zap.Complex64("c", 1i), zap.Binary("b", []byte{0, 255}), zap.ByteString("s", []byte("é")),
			zap.Any("nothing", nil), zap.Any("list", []any{"a", 1, true, nil}), zap.Reflect("m", map[string]any{"code": 7, "key": "k"}),
			zap.Array("Accept", caddyhttp.LoggableStringArray{"*/*", "text/html;q=0.9"}), zap.Array("none", caddyhttp.LoggableStringArray(nil)),
			zap.String("uri", "/v1/x?limit=3&q=a%20b;c#d"), zap.Error(errors.New("dial tcp 10.0.0.1:443: refused")),
			zap.Namespace("ns"), zap.String("code", "proxy-access-denied"), zap.Skip())
	}
	stamp := func(s string) string { return s[strings.Index(s, "http.log"):] } // behind the time
	for name, encoder := range map[string]func() zapcore.Encoder{"json": jsonEncoder, "console": consoleEncoder} {
		want := stamp(logged(encoder(), write))
		if got := stamp(logged(newSafeEncoder(encoder(), testNames(t)), write)); got != want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
	}
}

func TestEncoderDoesNotChangeTheRequestItLogs(t *testing.T) {
	r := accessRequest()
	before := fmt.Sprint(r.Header)
	logged(newSafeEncoder(jsonEncoder(), testNames(t)), func(l *zap.Logger) { l.Info("x", accessFields(r)...) })
	if after := fmt.Sprint(r.Header); after != before {
		t.Errorf("headers were %s, are %s", before, after)
	}
}

func TestEncoderReportsWhatCannotBeEncoded(t *testing.T) {
	got := logged(newSafeEncoder(jsonEncoder(), testNames(t)), func(l *zap.Logger) {
		l.Info("x", zap.Reflect("f", func() {}), zap.Int("behind", 1))
	})
	if !strings.Contains(got, `"fError":"encoding a log field: json: unsupported type: func()","behind":1`) {
		t.Error(got)
	}
}

// accessRequest is a request as an access log gets it.
func accessRequest() *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/api/stripe/v1/charges?limit=3&access_token="+canary, nil)
	for name, value := range map[string]string{
		"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", "Accept": "application/json",
		"Content-Type": "application/x-www-form-urlencoded", "Authorization": "Bearer " + canary, "X-Vendor-Token": canary,
		"Referer": "https://app.example.com/checkout?step=2", "Accept-Encoding": "gzip, br", "Idempotency-Key": "7c1a2f",
	} {
		r.Header.Set(name, value)
	}
	return r
}

// accessFields are the fields of an entry of Caddy's access log.
func accessFields(r *http.Request) []zap.Field {
	answer := http.Header{"Content-Type": {"application/json"}, "Server": {"Caddy"}, "Set-Cookie": {"sid=" + canary}}
	return []zap.Field{
		zap.Object("request", caddyhttp.LoggableHTTPRequest{Request: r, ShouldLogCredentials: true}),
		zap.Int("bytes_read", 120), zap.String("user_id", "research-agent"), zap.Duration("duration", 12*time.Millisecond),
		zap.Int("size", 2312), zap.Int("status", 200),
		zap.Object("resp_headers", caddyhttp.LoggableHTTPHeader{Header: answer, ShouldLogCredentials: true}),
	}
}

func BenchmarkAccessLogLine(b *testing.B) {
	r := accessRequest()
	r = r.WithContext(context.WithValue(r.Context(), caddyhttp.VarsCtxKey, map[string]any{caddyhttp.ClientIPVarKey: "10.0.0.7"}))
	for name, encoder := range map[string]zapcore.Encoder{
		"json": jsonEncoder(), "rr json": newSafeEncoder(jsonEncoder(), redact.New()), "rr json, one secret": newSafeEncoder(jsonEncoder(), testNames(b)),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			log := zap.New(zapcore.NewCore(encoder, zapcore.AddSync(io.Discard), zapcore.InfoLevel))
			fields := accessFields(r)
			for b.Loop() {
				log.Info("handled request", fields...)
			}
		})
	}
}
