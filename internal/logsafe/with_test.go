package logsafe

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-rr/caddy-rr/internal/redact"
	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

// sentRequest is a request as reverse_proxy's transport gets it, and its loggers do after.
func sentRequest(t testing.TB) *http.Request {
	t.Helper()
	addr, requests := rrtest.Addr(rrtest.FreePort(t)), make(chan *http.Request, 1)
	captured.Store(&requests)
	config, err := adaptText(t, "{\nadmin off\npersist_config off\n}\nhttp://"+addr+" {\nreverse_proxy 127.0.0.1:9 {\ntransport rr_logsafe_test\n}\n}\n")
	if err != nil {
		t.Fatal(err)
	}
	runConfig(t, config)
	ask(t, "http://"+addr)
	return <-requests
}

func init() { caddy.RegisterModule(captureTransport{}) }

var captured atomic.Pointer[chan *http.Request]

// captureTransport gives away the requests that reverse_proxy sends.
type captureTransport struct{}

func (captureTransport) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.reverse_proxy.transport.rr_logsafe_test", New: func() caddy.Module { return new(captureTransport) }}
}

func (*captureTransport) UnmarshalCaddyfile(*caddyfile.Dispenser) error { return nil }

func (*captureTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	*captured.Load() <- r
	return &http.Response{StatusCode: http.StatusNoContent, Body: http.NoBody, Header: http.Header{}}, nil
}

// counted counts how often it is encoded.
type counted struct{ times int }

func (c *counted) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	c.times++
	enc.AddInt("times", c.times)
	return nil
}

// TestFieldsOfLoggersAreAsWhenTheyWereAdded: what a logger is made with is what its lines
// show, whatever becomes of it later, in the order in which it was added.
func TestFieldsOfLoggersAreAsWhenTheyWereAdded(t *testing.T) {
	for name, encoder := range map[string]zapcore.Encoder{"json": jsonEncoder(), "console": consoleEncoder()} {
		list, object, header := []string{"a"}, new(counted), http.Header{"A": {"old"}}
		line := logged(newSafeEncoder(encoder, testNames(t)), func(log *zap.Logger) {
			log = log.With(zap.String("s", "x"), zap.Strings("list", list), zap.Int("n", 1), zap.Object("object", object),
				zap.Any("header", header), zap.Duration("d", time.Second), zap.Bool("b", true))
			other := log.With(zap.String("other", "y"))
			list[0], header["A"][0] = "changed", "changed"
			log = log.With(zap.Namespace("inner"), zap.Float64("f", 0.5))
			other.Info("not this one's fields")
			log.Info("line", zap.Uint8("u", 7))
		})
		lines := strings.Split(strings.TrimSpace(line), "\n")
		if len(lines) != 2 || object.times != 1 {
			t.Fatalf("%s: encoded %d times:\n%s", name, object.times, line)
		}
		const common = `"s":"x","list":["a"],"n":1,"object":{"times":1},"header":{"A":["old"]},"d":1,"b":true`
		for i, want := range []string{common + `,"other":"y"`, common + `,"inner":{"f":0.5,"u":7}`} {
			if got := strings.ReplaceAll(lines[i], " ", ""); !strings.Contains(got, want) {
				t.Errorf("%s: %s lacks %s", name, lines[i], want)
			}
		}
	}
}

// TestSentRequestsAreEncodedWithTheLine: reverse_proxy makes a logger with the request that
// it has sent, for each one; that must cost little while nothing is written with it, and the
// line, if one is written, has it all.
func TestSentRequestsAreEncodedWithTheLine(t *testing.T) {
	r := sentRequest(t)
	if !sent(caddyhttp.LoggableHTTPRequest{Request: r}) || sent(caddyhttp.LoggableHTTPRequest{Request: accessRequest()}) || sent(caddyhttp.LoggableHTTPRequest{}) {
		t.Fatal("it is not told apart what was sent")
	}
	fields := []zap.Field{zap.String("upstream", "127.0.0.1:9"), zap.Duration("duration", time.Second), zap.Object("request", caddyhttp.LoggableHTTPRequest{Request: r})}
	e := newSafeEncoder(jsonEncoder(), testNames(t))
	clone := e.Clone().(*safeEncoder)
	for _, f := range fields {
		f.AddTo(clone)
	}
	if len(clone.later) != len(fields) || clone.own || len(e.later) != 0 {
		t.Errorf("%d fields are left for later, want %d", len(clone.later), len(fields))
	}
	var got map[string]any
	line := logged(e, func(log *zap.Logger) { log.With(fields...).Info("roundtrip", zap.Int("status", 204)) })
	if err := json.Unmarshal([]byte(line), &got); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	headers, _ := got["request"].(map[string]any)["headers"].(map[string]any)
	if leaks(line) || got["upstream"] != "127.0.0.1:9" || got["duration"] != 1.0 || got["status"] != 204.0 || len(headers) < 3 {
		t.Error(line)
	}
}

// TestLateLinesHideWhatWasHidden: the end of a stream may be logged when the configuration
// that told the names of its headers is long forgotten.
func TestLateLinesHideWhatWasHidden(t *testing.T) {
	r := sentRequest(t)
	r.Header.Set("X-Of-The-Past", canary)
	r.URL.RawQuery = "past=" + canary
	r.RequestURI = "/?past=" + canary
	names := testNames(t)
	forgetHeader, forgetQuery := names.Add(redact.Header, "X-Of-The-Past"), names.Add(redact.Query, "past")
	line := logged(newSafeEncoder(jsonEncoder(), names), func(log *zap.Logger) {
		log = log.With(zap.String("text", "past="+canary), zap.Object("request", caddyhttp.LoggableHTTPRequest{Request: r}))
		forgetHeader()
		forgetQuery()
		log.Warn("aborting with incomplete response")
		log.With(zap.Int("read", 1)).Warn("read error")
		names.Add(redact.Header, "X-New")
		log.With(zap.String("X-New", "new")).Warn("another", zap.String("X-New", "new"))
	})
	if leaks(line) || strings.Contains(line, `"X-New":"new"`) {
		t.Error(line)
	}
}

// BenchmarkLoggerOfARoundtrip is what reverse_proxy does for each request, at the usual
// level for nothing.
func BenchmarkLoggerOfARoundtrip(b *testing.B) {
	r := sentRequest(b)
	for name, encoder := range map[string]zapcore.Encoder{"json": jsonEncoder(), "rr": newSafeEncoder(jsonEncoder(), testNames(b))} {
		b.Run(name, func(b *testing.B) {
			log := zap.New(zapcore.NewCore(encoder, zapcore.AddSync(nil), zapcore.InfoLevel))
			b.ReportAllocs()
			for b.Loop() {
				log.With(zap.String("upstream", "127.0.0.1:9"), zap.Duration("duration", time.Second),
					zap.Object("request", caddyhttp.LoggableHTTPRequest{Request: r})).Debug("upstream roundtrip")
			}
		})
	}
}
