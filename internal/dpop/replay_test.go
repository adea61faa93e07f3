package dpop

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"
)

// numbered is a digest for a number.
func numbered(n int) [32]byte {
	return digest(string(binary.BigEndian.AppendUint64(nil, uint64(n))))
}

func use(tb testing.TB, m *MemoryReplay, by, key int, until time.Time) bool {
	tb.Helper()
	fresh, err := m.Use(numbered(by), numbered(key), until)
	if err != nil {
		tb.Fatal(err)
	}
	return fresh
}

func TestReplayForgetsWhatHasEnded(t *testing.T) {
	at := newClock()
	m := NewReplay(10, at.now)
	last := start.Add(4 * time.Second)
	for i := range 5 {
		if !use(t, m, i, i, start.Add(time.Duration(i)*time.Second)) {
			t.Fatal("not fresh")
		}
	}
	for want := 5; want > 0; want-- {
		if use(t, m, 4, 4, last) {
			t.Errorf("the last is fresh again after %v", at.now().Sub(start))
		}
		if len(m.seen) != want || len(m.held) != want {
			t.Errorf("%d of %d callers are remembered after %v, want %d", len(m.seen), len(m.held), at.now().Sub(start), want)
		}
		at.add(time.Second)
	}
	if use(t, m, 4, 4, last) {
		t.Error("the last is fresh again when it has ended")
	}
	requireEmpty(t, m)
}

// requireEmpty also finds what was counted wrong.
func requireEmpty(t *testing.T, m *MemoryReplay) {
	t.Helper()
	m.forget(m.now().Unix())
	if len(m.seen) != 0 || len(m.held) != 0 {
		t.Errorf("%d proofs of %d callers are left", len(m.seen), len(m.held))
	}
	free := 0
	for i := m.free; i != none; i = m.slots[i].next {
		free++
	}
	if free != len(m.slots) {
		t.Errorf("%d of %d slots are free", free, len(m.slots))
	}
}

func TestReplayRefusesWhenFull(t *testing.T) {
	at := newClock()
	m := NewReplay(100, at.now)
	until := start.Add(time.Minute)
	refused := 0
	for i := range 200 { // each of another caller
		if _, err := m.Use(numbered(i), numbered(i), until); errors.Is(err, ErrReplayFull) {
			refused++
		}
	}
	if refused != 100 || len(m.seen) != 100 || len(m.slots) != 100 {
		t.Errorf("%d are refused, %d remembered in %d slots", refused, len(m.seen), len(m.slots))
	}
	if use(t, m, 7, 7, until) {
		t.Error("a proof that was used is fresh as the store is full")
	}
	at.add(time.Minute + time.Second)
	if !use(t, m, 1, 1000, at.now().Add(time.Minute)) || len(m.slots) != 100 {
		t.Error("the store does not use its room again")
	}
}

func TestNobodyCanFillTheStoreForAll(t *testing.T) {
	m := NewReplay(1000, newClock().now)
	until := start.Add(time.Minute)
	key := 0
	// takes all that it is given
	greedy := func(by int) (got int) {
		for {
			key++
			if _, err := m.Use(numbered(by), numbered(key), until); err != nil {
				if !errors.Is(err, ErrReplayFull) {
					t.Fatal(err)
				}
				return got
			}
			got++
		}
	}
	for by, want := range []int{500, 250, 125, 63} {
		if got := greedy(by); got != want {
			t.Errorf("caller %d gets %d, want %d", by, got, want)
		}
	}
	if !use(t, m, 100, 1_000_000, until) {
		t.Error("nothing is left for the next caller")
	}
}

func TestTheLongestAndTheShortestAreKeptApart(t *testing.T) {
	at := newClock()
	m := NewReplay(10, at.now)
	longest := start.Add(time.Duration(window) * time.Second)
	if !use(t, m, 1, 1, start) || !use(t, m, 1, 2, longest) {
		t.Fatal("not fresh")
	}
	for range window {
		at.add(time.Second)
		if use(t, m, 1, 2, longest) {
			t.Fatalf("fresh again after %v", at.now().Sub(start))
		}
	}
	at.add(time.Second)
	requireEmpty(t, m)
}

func TestReplayRefusesWhatEndsTooLate(t *testing.T) {
	m := NewReplay(10, newClock().now)
	longest := start.Add(maxAgeLimit + leewayLimit)
	if !use(t, m, 1, 1, longest) {
		t.Error("the longest is refused")
	}
	if _, err := m.Use(numbered(1), numbered(2), longest.Add(time.Second)); err == nil || errors.Is(err, ErrProof) {
		t.Errorf("got %v", err)
	}
}

// TestAClockThatGoesBackForgetsNothing moves the clock in ways that clocks should not.
func TestAClockThatGoesBackForgetsNothing(t *testing.T) {
	for _, tt := range []struct {
		name  string
		moves []time.Duration
	}{
		{"a little", []time.Duration{61 * time.Second, -20 * time.Second}},
		{"a year ahead, and back", []time.Duration{365 * 24 * time.Hour, -365 * 24 * time.Hour}},
		{"an hour ahead, and back slowly", []time.Duration{time.Hour, -10 * time.Minute, -40 * time.Minute, -10 * time.Minute}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			at := newClock()
			m := NewReplay(10, at.now)
			until := start.Add(time.Minute)
			if !use(t, m, 1, 1, until) {
				t.Fatal("not fresh")
			}
			for i, d := range tt.moves {
				at.add(d)
				use(t, m, 2, 10+i, at.now().Add(time.Minute))
			}
			if use(t, m, 1, 1, until) {
				t.Error("a proof is fresh again")
			}
			// proofs that are made from now on are accepted again soon
			at.add(time.Minute)
			if !use(t, m, 1, 2, at.now().Add(time.Minute)) {
				t.Error("a new proof is refused")
			}
		})
	}
}

// TestReplayAgainstAModel compares with a map that never forgets.
func TestReplayAgainstAModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	at := newClock()
	m := NewReplay(300, at.now)
	used := map[int]time.Time{}
	for range 20_000 {
		at.add(time.Duration(rng.IntN(400)) * time.Millisecond)
		if rng.IntN(2000) == 0 {
			at.add(time.Duration(rng.IntN(1000)) * time.Second)
		}
		key := rng.IntN(1000)
		until, was := used[key]
		if !was || until.Add(2*time.Second).Before(at.now()) { // seconds are remembered whole
			until, was = at.now().Add(time.Duration(rng.IntN(90_000))*time.Millisecond), false
		}
		fresh, err := m.Use(numbered(rng.IntN(40)), numbered(key), until)
		switch {
		case err != nil && !errors.Is(err, ErrReplayFull):
			t.Fatal(err)
		case was && fresh:
			t.Fatal("a proof is fresh again")
		case !was && !fresh && err == nil:
			t.Fatal("a new proof is not fresh")
		case fresh:
			used[key] = until
		}
		total := 0
		for _, n := range m.held {
			total += n
		}
		if total != len(m.seen) || len(m.slots) > 300 {
			t.Fatalf("%d held, %d remembered, %d slots", total, len(m.seen), len(m.slots))
		}
	}
	at.add(time.Duration(window) * time.Second)
	requireEmpty(t, m)
}

func TestReplayMemory(t *testing.T) {
	at := newClock()
	heap := func() uint64 {
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return s.HeapAlloc
	}
	before := heap()
	m := NewReplay(0, at.now)
	for range 3 { // more than fits, three times over, each of another caller
		for i := range DefaultReplayMax + 1000 {
			_, _ = m.Use(numbered(i), numbered(i), at.now().Add(time.Minute))
		}
		at.add(2 * time.Minute)
	}
	grown := heap() - before
	runtime.KeepAlive(m)
	t.Logf("%d bytes for each proof", grown/DefaultReplayMax)
	if grown > 200*DefaultReplayMax {
		t.Errorf("%d bytes for %d proofs", grown, DefaultReplayMax)
	}
}

func TestReplayAtOnce(t *testing.T) {
	m := NewReplay(0, nil)
	until := time.Now().Add(time.Minute)
	const keys = 500
	fresh := make(chan int, 8*keys)
	var wg sync.WaitGroup
	for by := range 8 {
		wg.Go(func() {
			for key := range keys {
				if ok, err := m.Use(numbered(by), numbered(key), until); ok && err == nil {
					fresh <- key
				}
			}
		})
	}
	wg.Wait()
	if n := len(fresh); n != keys {
		t.Errorf("%d of %d keys were fresh", n, keys)
	}
}

func BenchmarkReplay(b *testing.B) {
	at := newClock()
	m := NewReplay(0, at.now)
	key := make([][32]byte, 1<<16)
	for i := range key {
		key[i] = numbered(i)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if i%500 == 0 { // 500 proofs a second
			at.add(time.Second)
		}
		i++
		_, _ = m.Use(key[i%7], key[i%len(key)], at.now().Add(time.Minute))
	}
}
