package rrtest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// Echo reads the whole request and answers with what it got, an Echoed in JSON.
var Echo http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	sum := sha256.New()
	n, err := io.Copy(sum, r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(Echoed{
		r.Method, r.RequestURI, r.Host, r.Proto, r.Header, n, hex.EncodeToString(sum.Sum(nil)), r.Trailer,
	})
})

// Echoed is what Echo answers.
type Echoed struct {
	Method     string      `json:"method"`
	URI        string      `json:"uri"`
	Host       string      `json:"host"`
	Proto      string      `json:"proto"`
	Header     http.Header `json:"header"`
	BodySize   int64       `json:"body_size"`
	BodySHA256 string      `json:"body_sha256"`
	Trailer    http.Header `json:"trailer,omitempty"`
}

// Status answers with a status and a body.
func Status(status int, body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
}

// UnauthorizedFirst answers 401 to the first n requests and then leaves it to next.
func UnauthorizedFirst(n int, next http.Handler) http.Handler {
	var mu sync.Mutex
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		n--
		refuse := n >= 0
		mu.Unlock()
		if refuse {
			w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Parts writes each part, flushed, with a pause before each but the first.
func Parts(pause time.Duration, parts ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for i, part := range parts {
			if i > 0 {
				select {
				case <-time.After(pause):
				case <-r.Context().Done():
					return
				}
			}
			_, _ = io.WriteString(w, part)
			_ = http.NewResponseController(w).Flush()
		}
	})
}

// Trailers answers with a body and then trailers, which it announces.
func Trailers(body string, trailers map[string]string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for name := range trailers {
			w.Header().Add("Trailer", name)
		}
		_, _ = io.WriteString(w, body)
		_ = http.NewResponseController(w).Flush()
		for name, value := range trailers {
			w.Header().Set(name, value)
		}
	})
}

// EarlyHints sends 103 with a Link header (RFC 8297) and then leaves it to next.
func EarlyHints(link string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", link)
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		next.ServeHTTP(w, r)
	})
}

// Hang says nothing until the caller has left.
var Hang http.Handler = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
	<-r.Context().Done()
})

// BreakOff promises twice as many bytes as it sends, and then cuts the connection.
func BreakOff(sent string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(2*len(sent)))
		_, _ = io.WriteString(w, sent)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
}

// Download answers with Content(size).
func Download(size int64) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
		_, _ = io.Copy(w, Content(size))
	})
}

// Content generates size bytes that do not compress, always the same.
func Content(size int64) io.Reader {
	return io.LimitReader(rand.NewChaCha8([32]byte{}), size)
}

// Digest returns the SHA-256 of all that r has, in hexadecimal.
func Digest(r io.Reader) (string, error) {
	sum := sha256.New()
	_, err := io.Copy(sum, r)
	return hex.EncodeToString(sum.Sum(nil)), err
}

// WebSocketEcho sends every message back. A message over 1 MiB ends the connection.
var WebSocketEcho http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true}) // any Origin
	if err != nil {
		return // Accept has answered
	}
	defer c.CloseNow()
	c.SetReadLimit(1 << 20)
	for {
		kind, msg, err := c.Read(r.Context())
		if err != nil || c.Write(r.Context(), kind, msg) != nil {
			return
		}
	}
})

// GRPCEcho answers as a gRPC server does whose method returns its request: the body's
// frames come back as they arrive, and the status is in the trailers.
var GRPCEcho http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("Trailer", "Grpc-Status, Grpc-Message")
	flush := http.NewResponseController(w).Flush
	_ = flush()
	buf := make([]byte, 4096)
	for {
		n, err := r.Body.Read(buf)
		if _, writeErr := w.Write(buf[:n]); writeErr != nil {
			return
		}
		_ = flush()
		if err == io.EOF {
			break
		}
		if err != nil {
			return
		}
	}
	w.Header().Set("Grpc-Status", "0")
	w.Header().Set("Grpc-Message", fmt.Sprintf("echo of %s", r.URL.Path))
})
