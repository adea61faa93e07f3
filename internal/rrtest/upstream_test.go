package rrtest

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
	"time"
)

func TestUpstreamRecordsExactlyWhatItGot(t *testing.T) {
	u := NewUpstream(t)
	req := Request(t, "PUT", u.URL+"/a%2Fb//c;d?x=1&x=2", "", "X-Two: 1", "X-Two: 2", "Host: other.example")
	req.Body = io.NopCloser(Content(200 << 10))
	req.Trailer = http.Header{"X-Sum": nil}
	req.Body = trailerAtEnd{req.Body, func() { req.Trailer["X-Sum"] = []string{"done"} }}
	a := Send(t, HTTP1(t, nil), req)

	digest, _ := Digest(Content(200 << 10))
	got := u.Last(t)
	if got.Method != "PUT" || got.URI != "/a%2Fb//c;d?x=1&x=2" || got.Host != "other.example" || got.Proto != "HTTP/1.1" {
		t.Errorf("request line and host: %+v", got)
	}
	if len(got.Header["X-Two"]) != 2 || got.Trailer.Get("X-Sum") != "done" {
		t.Errorf("header %v, trailer %v", got.Header, got.Trailer)
	}
	if got.BodySize != 200<<10 || got.BodySHA256 != digest || len(got.Body) != keptBody {
		t.Errorf("body: %d bytes, %d kept, digest %s", got.BodySize, len(got.Body), got.BodySHA256)
	}
	var echoed Echoed
	if err := json.Unmarshal([]byte(a.Body), &echoed); err != nil || echoed.BodySHA256 != digest || echoed.URI != got.URI {
		t.Errorf("echo: %v, %s", err, a.Body)
	}
	u.Reset()
	if n := len(u.Received()); n != 0 {
		t.Errorf("%d requests after Reset", n)
	}
}

// trailerAtEnd calls end when the body has been read.
type trailerAtEnd struct {
	io.ReadCloser
	end func()
}

func (b trailerAtEnd) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.end()
	}
	return n, err
}

func TestReceivedContainsFindsASecretAnywhere(t *testing.T) {
	for place, r := range map[string]Received{
		"target": {URI: "/?k=secret"}, "host": {Host: "secret.example"}, "body": {Body: "a secret"},
		"header": {Header: http.Header{"X": {"a", "secret"}}}, "name": {Header: http.Header{"X-secret": nil}},
		"trailer": {Trailer: http.Header{"X": {"secret"}}},
	} {
		if !r.Contains("secret") || r.Contains("other") {
			t.Errorf("in the %s", place)
		}
	}
}

func TestEventsArriveOneByOneAndTheUpstreamSeesWhoLeaves(t *testing.T) {
	u, e := NewUpstream(t), NewEvents()
	u.Handle("/events", e)
	resp, err := HTTP1(t, nil).Do(Request(t, "GET", u.URL+"/events", ""))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"one", "two"} {
		e.Send(t, want)
		buf := make([]byte, 100)
		n, err := resp.Body.Read(buf)
		if got := string(buf[:n]); err != nil || got != "data: "+want+"\n\n" {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	resp.Body.Close()
	e.WaitGone(t)

	time.AfterFunc(10*time.Millisecond, e.End)
	if a := Do(t, "GET", u.URL+"/events", ""); a.Body != "" || a.Status != 200 {
		t.Errorf("after End: %+v", a)
	}
}

func TestAnswersBehaveAsTheySay(t *testing.T) {
	u := NewUpstream(t)
	get := func(h http.Handler) Answer {
		u.Handle("/x", h)
		return Do(t, "GET", u.URL+"/x", "")
	}
	if a := get(Status(418, "tea")); a.Status != 418 || a.Body != "tea" {
		t.Errorf("Status: %+v", a)
	}
	once := UnauthorizedFirst(1, Status(200, "in"))
	if a := get(once); a.Status != 401 || a.Header.Get("WWW-Authenticate") == "" {
		t.Errorf("UnauthorizedFirst, first: %+v", a)
	}
	if a := get(once); a.Status != 200 || a.Body != "in" {
		t.Errorf("UnauthorizedFirst, second: %+v", a)
	}
	begin := time.Now()
	if a := get(Parts(30*time.Millisecond, "a", "b", "c")); a.Body != "abc" || time.Since(begin) < 60*time.Millisecond {
		t.Errorf("Parts: %+v after %s", a, time.Since(begin))
	}
	if a := get(Trailers("b", map[string]string{"X-End": "yes"})); a.Body != "b" || a.Trailer.Get("X-End") != "yes" {
		t.Errorf("Trailers: %+v", a)
	}
	digest, _ := Digest(Content(1 << 20))
	if got, _ := Digest(strings.NewReader(get(Download(1 << 20)).Body)); got != digest {
		t.Errorf("Download: digest %s, want %s", got, digest)
	}
}

func TestEarlyHintsComeBeforeTheAnswer(t *testing.T) {
	u := NewUpstream(t)
	u.Handle("/x", EarlyHints("</style.css>; rel=preload", Status(200, "page")))
	var hint string
	req := Request(t, "GET", u.URL+"/x", "")
	req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error { hint = h.Get("Link"); return nil },
	}))
	if a := Send(t, HTTP1(t, nil), req); a.Body != "page" || a.Header.Get("Link") != "" || hint == "" {
		t.Errorf("hint %q, then %+v", hint, a)
	}
}

func TestBreakOffAndHang(t *testing.T) {
	u := NewUpstream(t)
	u.Handle("/break", BreakOff("half"))
	u.Handle("/hang", Hang)
	resp, err := HTTP1(t, nil).Do(Request(t, "GET", u.URL+"/break", ""))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(resp.Body); string(got) != "half" || err != io.ErrUnexpectedEOF {
		t.Errorf("BreakOff: %q, %v", got, err)
	}
	client := HTTP1(t, nil)
	client.Timeout = 50 * time.Millisecond
	if _, err := client.Do(Request(t, "GET", u.URL+"/hang", "")); err == nil {
		t.Error("Hang answers")
	}
}

func TestGRPCEchoReturnsFramesAndStatusInTrailers(t *testing.T) {
	u := NewUpstream(t)
	u.Handle("/pkg.Service/Echo", GRPCEcho)
	frame := "\x00\x00\x00\x00\x03abc"
	a := Send(t, H2C(t), Request(t, "POST", u.URL+"/pkg.Service/Echo", frame, "Content-Type: application/grpc", "Te: trailers"))
	if a.Proto != "HTTP/2.0" || a.Body != frame || a.Trailer.Get("Grpc-Status") != "0" {
		t.Errorf("got %+v", a)
	}
}

func TestWebSocketEchoesUntilTheUpstreamIsGone(t *testing.T) {
	u := NewUpstream(t)
	u.Handle("/ws", WebSocketEcho)
	if status, c := WebSocket(t, nil, u.URL+"/elsewhere"); status != 200 || c != nil {
		t.Errorf("a path without WebSocket: %d", status)
	}
	status, c := WebSocket(t, nil, u.URL+"/ws", "X-Key: k")
	if status != 101 || u.Last(t).Header.Get("X-Key") != "k" {
		t.Fatalf("status %d, %+v", status, u.Last(t))
	}
	if !Echoes(t, c, "hello") {
		t.Error("another message came back")
	}
}

func TestRawUpstreamKeepsBytesInTheirOrderAndCase(t *testing.T) {
	u := NewRawUpstream(t, RawOK)
	request := "POST /%7e?q HTTP/1.1\r\nHOST: h\r\nx_odd.name: 1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: t\r\n\r\n"
	c := Dial(t, u.Addr)
	c.Say(request)
	if a := c.Answer("POST"); a.Status != 200 || a.Body != "ok" {
		t.Errorf("got %+v", a)
	}
	c.Say("GET /second HTTP/1.1\r\nHost: h\r\n\r\n")
	c.Answer("GET")
	c.Say("nonsense\r\n\r\n")
	if rest := c.WaitClosed(); rest != "" {
		t.Errorf("nonsense was answered: %q", rest)
	}
	if got := u.Received(); !strings.HasPrefix(got, request+"GET /second") {
		t.Errorf("got %q", got)
	}
}
