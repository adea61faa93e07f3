package catalog

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-rr/caddy-rr/internal/metrics"
	"github.com/caddy-rr/caddy-rr/store"
)

// TestSeriesOfRecordsAreBounded serves more proxies than may have series of their own.
func TestSeriesOfRecordsAreBounded(t *testing.T) {
	k := newKit(t, nil)
	registry := prometheus.NewRegistry()
	if err := metrics.Register(registry); err != nil {
		t.Fatal(err)
	}
	labels := func() (own int, shared bool) {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() != "caddy_rr_verify_duration_seconds" {
				continue
			}
			for _, m := range f.GetMetric() {
				switch name := m.GetLabel()[0].GetValue(); {
				case name == manySeries:
					shared = true
				case len(name) > 7 && name[:7] == "series-":
					own++
				}
			}
		}
		return own, shared
	}
	in := map[uuid.UUID]*served{}
	for i := range maxSeries + 20 {
		p := &proxy{id: uuid.New(), tenant: store.DefaultClient, name: fmt.Sprintf("series-%d", i)}
		in[p.id] = k.enter(p)
	}
	if own, shared := labels(); own != maxSeries || !shared {
		t.Errorf("%d proxies have series of their own; those of the others are there: %v", own, shared)
	}
	for id, s := range in {
		k.leave(id, s)
	}
	if own, shared := labels(); own != 0 || shared || k.labels != 0 {
		t.Errorf("%d proxies have series when none is served; those of the others are there: %v", own, shared)
	}
}

// TestRecordsAreBounded makes records with too much in them.
func TestRecordsAreBounded(t *testing.T) {
	k := newKit(t, nil)
	k.usual()
	crowded := aProxy("crowded")
	for i := range maxAccepted + 1 {
		crowded.CredentialIDs = append(crowded.CredentialIDs, fmt.Sprint(i))
	}
	wantError(t, k.try(crowded), "at most 1000 credentials")
	large := keyCredential("large", key2)
	large.Previous = []store.Previous{{Spec: make(store.Secret, maxSpecs), Until: time.Now().Add(time.Hour)}}
	wantError(t, k.try(large), "at most 4194304 are kept")
	full := errors.New("the blocklist took one more")
	err := k.Change(t.Context(), admin, func(tx *Tx) error {
		for range maxBlocks {
			id := uuid.New()
			tx.draft.putBlock(&block{id: id, version: 1, tenant: store.DefaultClient, record: store.Block{TokenID: id.String()}})
		}
		if err := tx.Put("create", &store.Block{Head: mine, TokenID: "one more"}); err != nil {
			return err
		}
		return full
	})
	wantError(t, err, "it has 100000 entries")
	for i := range maxAlike {
		k.put(&store.Block{Head: mine, Subject: "bob", Before: time.Unix(int64(i), 0)})
	}
	again := &store.Block{Head: mine, Subject: "bob"}
	wantError(t, k.try(again), "has 100 entries about the same")
	again.Subject = "eve"
	k.put(again)
	k.put(again) // with a new version it is itself
	again.Subject = "bob"
	wantError(t, k.try(again), "has 100 entries about the same")
	for limit, want := range map[int]int{0: maxPage, 1: 1, maxPage: maxPage, maxPage + 1: maxPage, -1: maxPage} {
		if got := (Query{Limit: limit}).limit(); got != want {
			t.Errorf("a page of %d has %d", limit, got)
		}
	}
}

func TestRevisionsOfItsOwnAreBounded(t *testing.T) {
	var own revisions
	for i := range uint64(rememberedRevisions + 100) {
		own.add(i)
	}
	if len(own.made) != rememberedRevisions || len(own.last) != rememberedRevisions || own.has(99) || !own.has(100) {
		t.Errorf("%d are remembered", len(own.made))
	}
}

// TestChangesAreWrittenInBatches has more changes wait than are made at once.
func TestChangesAreWrittenInBatches(t *testing.T) {
	k := newKit(t, nil)
	r := k.Records()
	var queue []*pending
	for range batchMax + 10 {
		queue = append(queue, &pending{ctx: t.Context(), done: make(chan error, 1), run: func(*batch, *view) (*view, bool, error) { return nil, false, nil }})
	}
	r.mu.Lock()
	r.busy, r.queue = true, queue
	r.mu.Unlock()
	if !r.work() || len(r.queue) != 10 {
		t.Errorf("%d are left", len(r.queue))
	}
	for r.work() {
	}
	for i, p := range queue {
		if err := <-p.done; err != nil {
			t.Errorf("change %d: %v", i, err)
		}
	}
}

// TestALostRaceEnds has another process be faster again and again.
func TestALostRaceEnds(t *testing.T) {
	k := newKit(t, nil)
	k.mem.Fail(store.ErrConflict)
	var tries atomic.Int64
	err := k.Change(t.Context(), admin, func(tx *Tx) error {
		tries.Add(1)
		return tx.Put("create", aTarget("vendor"))
	})
	if n := tries.Load(); !errors.Is(err, store.ErrConflict) || n < maxLost || n > 2*(maxLost+1) {
		t.Errorf("%v after %d tries", err, n)
	}
}

// TestWhatIsMadeReadyIsBounded begins a configuration when very much is in use.
func TestWhatIsMadeReadyIsBounded(t *testing.T) {
	k := newKit(t, nil)
	for range maxHot + 10 {
		s := &served{catalog: k.Catalog, id: uuid.New()}
		s.current.Store(&gates{})
		k.served.Store(s.id, s)
	}
	if n := len(k.Records().hot()); n != maxHot {
		t.Errorf("%d proxies are made ready", n)
	}
	k.served.Clear()
	d := k.Records().view.Load().draft()
	for i := range maxHot + 10 {
		head := store.Head{ID: uuid.NewString(), Client: store.DefaultClient, Version: 1}
		c := headOf(&store.Credential{Head: head, AuthType: "key", Side: store.ProxySide}, uuid.MustParse(head.ID))
		c.eager = true
		d.putCredential(c, fmt.Sprint(i), nil)
	}
	if n := len(d.finish().eager()); n != maxHot {
		t.Errorf("%d credentials are made ready", n)
	}
}
