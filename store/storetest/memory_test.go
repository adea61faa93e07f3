package storetest

import (
	"context"
	"errors"
	"testing"

	"github.com/caddy-rr/caddy-rr/store"
)

func TestMemory(t *testing.T) {
	Run(t, func(testing.TB) store.Opener { return Memory() })
}

func TestMemoryFails(t *testing.T) {
	m, ctx := Memory(), t.Context()
	apply := func(key string, want error) {
		t.Helper()
		_, err := m.Apply(ctx, create("b", key, "v"))
		if !errors.Is(err, want) {
			t.Errorf("Apply: %v, want %v", err, want)
		}
		if _, err := m.Get(ctx, "b", key); (err == nil) != (want == nil) {
			t.Errorf("after Apply was %v, Get: %v", want, err)
		}
	}
	m.FailNext(store.ErrFull, store.ErrReadOnly)
	apply("1", store.ErrFull)
	apply("2", store.ErrReadOnly)
	apply("3", nil)
	m.Fail(store.ErrUnavailable)
	m.FailNext(store.ErrFull)
	apply("4", store.ErrFull)
	apply("5", store.ErrUnavailable)
	apply("6", store.ErrUnavailable)
	m.Fail(nil)
	apply("7", nil)
	m.BeforeApply = func(_ context.Context, writes []store.Write) error {
		if writes[0].Key == "8" {
			return store.ErrFull
		}
		return nil
	}
	apply("8", store.ErrFull)
	apply("9", nil)
	if r, _ := m.Revision(ctx); r != 3 {
		t.Errorf("the revision is %d", r)
	}
	m.BeforeRead = func(_ context.Context, _, key string) error {
		if key == "" {
			return store.ErrUnavailable
		}
		return nil
	}
	if _, err := m.Get(ctx, "b", "9"); err != nil {
		t.Errorf("Get: %v", err)
	}
	for _, err := range m.List(ctx, "b", "") {
		if !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("List: %v", err)
		}
	}
}

func TestMemoryForgetsChanges(t *testing.T) {
	m := Memory()
	for i := range uint64(3 * memHistory) {
		if _, err := m.Apply(t.Context(), put("b", "k", i+1, "v")); err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range m.Watch(t.Context(), 1) {
		if !errors.Is(err, store.ErrTrimmed) {
			t.Errorf("watching after revision 1: %v", err)
		}
	}
	next := uint64(2*memHistory + 1)
	for c, err := range m.Watch(t.Context(), 2*memHistory) {
		if err != nil || c.Revision != next {
			t.Fatalf("%v, %v; want revision %d", c, err, next)
		}
		if next++; next > 3*memHistory {
			break
		}
	}
}

func TestMemoryIsShared(t *testing.T) {
	m := Memory()
	other, err := m.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Apply(t.Context(), create("b", "k", "v")); err != nil {
		t.Fatal(err)
	}
	for c, err := range other.Watch(t.Context(), 0) {
		if c.Key != "k" || err != nil {
			t.Errorf("the other was told of %v, %v", c, err)
		}
		break
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Get(t.Context(), "b", "k"); err != nil {
		t.Errorf("the other: %v", err)
	}
	m.Fail(store.ErrFull)
	if _, err := other.Apply(t.Context(), create("b", "l", "v")); !errors.Is(err, store.ErrFull) {
		t.Errorf("the other: %v", err)
	}
}
