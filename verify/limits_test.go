package verify

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-rr/caddy-rr/internal/dpop"
)

// TestTablesOfTheProcessAreBounded fills the tables that outlive configurations, or ones
// like them, beyond what they may hold.
func TestTablesOfTheProcessAreBounded(t *testing.T) {
	if failed.max != maxAddresses || verdicts.max != maxVerdicts {
		t.Errorf("%d addresses, %d passwords", failed.max, verdicts.max)
	}
	addresses := newBounded[netip.Addr, failures](failed.max)
	for i := range maxAddresses + 100 {
		Throttle{}.fail(addresses, fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255), time.Unix(0, 0))
	}
	if n := addresses.len(); n != maxAddresses {
		t.Errorf("%d addresses are remembered", n)
	}
	if answers.maxEntries != maxAnswers || answers.maxCost != maxAnswerBytes || refusals.maxEntries != maxRefusals || refusals.maxCost != maxAnswerBytes {
		t.Errorf("%d answers in %d bytes, %d refusals in %d bytes", answers.maxEntries, answers.maxCost, refusals.maxEntries, refusals.maxCost)
	}
	told := newAnswerCache(refusals.maxEntries, refusals.maxCost)
	for i := range maxRefusals + 10 {
		told.put(digestOf(fmt.Sprint(i)), &answer{}, time.Unix(1000, 0))
	}
	if n := told.order.Len(); n != maxRefusals || len(told.entries) != n {
		t.Errorf("%d refusals are remembered", n)
	}
	slots, most := 0, 0
	for i := range tokens.shards {
		slots, most = slots+len(tokens.shards[i].queue), most+tokens.shards[i].maxBytes
	}
	if slots != maxTokens || most != maxTokenBytes {
		t.Errorf("%d tokens in %d bytes", slots, most)
	}
	certificates := mustMTLS(t, "fingerprint sha256:"+strings.Repeat("ab", 32)).known
	if certificates.max != maxKnownCertificates {
		t.Errorf("%d certificates", certificates.max)
	}
}

// TestUsedProofsAreBounded fills a store like that of the process, for two callers.
func TestUsedProofsAreBounded(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	used := dpop.NewReplay(maxProofs, func() time.Time { return now })
	held := 0
	for _, by := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t", "u", "v"} {
		for i := 0; ; i++ {
			fresh, err := used.Use(digestOf(by), digestOf(fmt.Sprint(by, i)), now.Add(time.Minute))
			if errors.Is(err, dpop.ErrReplayFull) {
				break
			}
			if err != nil || !fresh {
				t.Fatal(fresh, err)
			}
			held++
		}
	}
	if held > maxProofs || held < maxProofs-maxProofs/1000 {
		t.Errorf("%d proofs are held", held)
	}
}

// stuck is a password hash whose check does not end before the test says so.
type stuck struct {
	comparer
	until chan struct{}
}

func (s stuck) Compare(_, _ []byte) (bool, error) {
	<-s.until
	return true, nil
}

// TestNobodyWaitsLongForAPassword takes all turns; who comes then is refused after two
// seconds, or when it goes.
func TestNobodyWaitsLongForAPassword(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slots := make(semaphore, 2)
		until := make(chan struct{})
		ends := make(chan bool, 2)
		for range 2 {
			go func() {
				ok, _ := slots.compare(context.Background(), stuck{until: until}, "", "")
				ends <- ok
			}()
		}
		synctest.Wait()
		began := time.Now()
		var busy busyError
		if _, err := slots.compare(t.Context(), stuck{until: until}, "", ""); !errors.As(err, &busy) || time.Since(began) != 2*time.Second || busy.RetryAfter() != 2*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := slots.compare(gone, stuck{until: until}, "", ""); !errors.Is(err, context.Canceled) {
			t.Errorf("who has gone gets %v", err)
		}
		close(until)
		for range 2 {
			if !<-ends {
				t.Error("a check that had its turn was ended")
			}
		}
	})
}

func TestHashesThatTakeTooMuchMemory(t *testing.T) {
	const hash = "$argon2id$v=19$m=%d,t=1,p=1$SGbo3IT4vetCEsmDwrln9Q$3ac02yrhqNDRs/J1r+VBb8RQwkpcEh+3x9EPKoZhX6g"
	for kib, accepted := range map[int]bool{256 << 10: true, 256<<10 + 1: false, 1 << 31: false} {
		if err := checkHash(fmt.Sprintf(hash, kib)); (err == nil) != accepted {
			t.Errorf("%d KiB: %v", kib, err)
		}
	}
}

// TestNamesOfProxiesAreBounded: nothing longer than a host's name is looked up.
func TestNamesOfProxiesAreBounded(t *testing.T) {
	for n, found := range map[int]bool{253: true, 254: false, 8000: false} {
		r := httptest.NewRequest("GET", "/", nil)
		replacer := caddy.NewReplacer()
		replacer.Set("the.name", strings.Repeat("n", n))
		r = r.WithContext(context.WithValue(r.Context(), caddy.ReplacerCtxKey, replacer))
		if name, _, ok := (&gateway{name: "{the.name}"}).proxy(r); ok != found {
			t.Errorf("a name of %d bytes is looked up: %v", len(name), ok)
		}
	}
}
