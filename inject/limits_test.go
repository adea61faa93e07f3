package inject

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-rr/caddy-rr/inject/token"
	"github.com/caddy-rr/caddy-rr/internal/exchange"
	"github.com/caddy-rr/caddy-rr/internal/redact"
)

// TestStatesAreBounded holds more tokens than the state page tells of.
func TestStatesAreBounded(t *testing.T) {
	for i := range maxTokenStates + 5 {
		using(t, define(t, fmt.Sprint(i), new(issuer)))
	}
	if states, more := Tokens(); len(states) != maxTokenStates || more != 5 {
		t.Errorf("%d states, and %d more", len(states), more)
	}
	if text := withoutSecrets(errors.New(strings.Repeat("e", 1<<20))); len(text) != maxErrorText {
		t.Errorf("an error has %d bytes", len(text))
	}
}

// TestTokensThatAreHiddenAreBounded: the latest tokens are kept out of logs, the ones before
// are worth nothing.
func TestTokensThatAreHiddenAreBounded(t *testing.T) {
	for most, callers := range map[int]*token.Callers{hiddenTokens: nil, hiddenCallerTokens: token.NewCallers(0)} {
		s := &sharedTokens{callers: callers}
		value := func(i int) string { return fmt.Sprintf("canary-of-%d-%d-0123456789", most, i) }
		for i := range most + 3 {
			s.hide(value(i))
		}
		if len(s.hidden) != most {
			t.Errorf("%d are hidden, want %d", len(s.hidden), most)
		}
		for i, hidden := range map[int]bool{2: false, 3: true, most + 2: true} {
			if line := string(redact.Default().Line([]byte(value(i)))); (line == redact.Redacted) != hidden {
				t.Errorf("of %d, number %d is hidden: %v", most, i, !hidden)
			}
		}
		for _, release := range s.hidden {
			release()
		}
	}
}

// always is a gate whose callers never lose access.
type always struct{}

func (always) Name() string              { return "always" }
func (always) Holds(exchange.Proof) bool { return true }

// TestSmallBodiesAreNotWatched: what is over before anybody could lose access is no stream.
func TestSmallBodiesAreNotWatched(t *testing.T) {
	exchange.Streams.Enter(always{})
	defer exchange.Streams.Leave(always{})
	for length, watched := range map[int64]bool{0: false, maxUnwatched: false, maxUnwatched + 1: true, -1: true} {
		body := io.NopCloser(strings.NewReader(""))
		res := &http.Response{StatusCode: 200, ContentLength: length, Body: body}
		watchDownload(&exchange.Exchange{Gate: always{}}, res, nil)
		if (res.Body != body) != watched {
			t.Errorf("a body of %d bytes is watched: %v", length, !watched)
		}
		_ = res.Body.Close()
	}
}

// TestAnUploadIsNotWaitedForLong: an upstream refuses without reading, and the caller sends
// no more.
func TestAnUploadIsNotWaitedForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body, write := io.Pipe()
		req, err := http.NewRequestWithContext(t.Context(), "POST", "http://127.0.0.1/", body)
		if err != nil {
			t.Fatal(err)
		}
		b := newReplay(req)
		ended := make(chan error)
		go func() {
			_, err := b.Read(make([]byte, 10))
			ended <- err
		}()
		synctest.Wait()
		began := time.Now()
		if b.ready(req) || time.Since(began) != time.Second {
			t.Errorf("it took %v", time.Since(began))
		}
		_ = write.CloseWithError(context.Canceled)
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// TestWhatIsKeptToSendAgainIsBounded reads a body of just as much, and of more.
func TestWhatIsKeptToSendAgainIsBounded(t *testing.T) {
	for size, kept := range map[int]bool{maxReplay: true, maxReplay + 1: false} {
		req, err := http.NewRequestWithContext(t.Context(), "POST", "http://127.0.0.1/", strings.NewReader(strings.Repeat("x", size)))
		if err != nil {
			t.Fatal(err)
		}
		b := newReplay(req)
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			t.Fatal(err)
		}
		if b.ready(req) != kept || b.kept.Len() > maxReplay || !kept && b.kept.Cap() != 0 {
			t.Errorf("of %d bytes %d are kept", size, b.kept.Len())
		}
	}
}
