package store_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/rule"
	"github.com/caddy-rr/caddy-rr/store"
	"github.com/caddy-rr/caddy-rr/store/storetest"
)

// benchCredential is what a key credential with a rule is like.
func benchCredential(id string) *store.Credential {
	c := credential(id)
	c.Spec = store.Secret(`{"kind":"key","hashes":["sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"]}`)
	c.Default = "deny"
	c.Rules = []store.Rule{{ID: "0193", Rule: rule.Rule{Effect: "allow", Methods: []string{"GET"}}}}
	return c
}

// BenchmarkOpenRecords is the part of a start that grows with the records: unsealing and
// decoding, on all cores. 1,000,000 have to take less than 10 s on two.
func BenchmarkOpenRecords(b *testing.B) {
	const count = 10_000
	backend := storetest.Memory()
	s := openStore(b, backend, "a")
	var changes []store.Put
	for i := range count {
		id := fmt.Sprintf("0193a2f0-0000-7000-8000-%012d", i)
		changes = append(changes, put(store.Credentials, id, 1, benchCredential(id)))
	}
	apply(b, s, changes...)
	var records []store.Sealed
	for r, err := range s.List(b.Context(), store.Credentials, "") {
		if err != nil {
			b.Fatal(err)
		}
		records = append(records, r)
	}
	var next atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			var c store.Credential
			if err := records[next.Add(1)%count].Open(&c); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1e3, "s/million")
}

// BenchmarkApply is one change of one record, over a backend that costs nothing.
func BenchmarkApply(b *testing.B) {
	s := openStore(b, storetest.Memory(), "a")
	c := benchCredential("a")
	b.ReportAllocs()
	for v := range uint64(b.N) {
		apply(b, s, put(store.Credentials, "a", v+1, c))
	}
}
