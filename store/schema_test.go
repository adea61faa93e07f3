package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/caddy-rr/caddy-rr/store"
	"github.com/caddy-rr/caddy-rr/store/storetest"
)

// region is a made-up migration: targets get the region that a made-up old version did not
// know. It writes one by one, so that a death leaves it half done.
func region(name string) func(context.Context, *store.Store) error {
	return func(ctx context.Context, s *store.Store) error {
		for r, err := range s.List(ctx, store.Targets, "") {
			if err != nil {
				return err
			}
			var target store.Target
			if err := r.Open(&target); err != nil {
				return err
			}
			if target.Region != "" {
				continue
			}
			target.Region = name
			if _, err := s.Apply(ctx, store.Put{Bucket: store.Targets, Key: r.Key, Expect: r.Version, Version: r.Version + 1, Value: target}); err != nil {
				return err
			}
		}
		return nil
	}
}

// alias is the made-up migration after that, which needs what the first one did.
func alias(ctx context.Context, s *store.Store) error {
	for r, err := range s.List(ctx, store.Targets, "") {
		var target store.Target
		if err = errors.Join(err, r.Open(&target)); err != nil {
			return err
		}
		if target.Region == "" {
			return errors.New("the first migration has not been made")
		}
		_, err = s.Apply(ctx, store.Put{Bucket: store.Proxies, Key: r.Key, Expect: store.Any, Version: 1, Value: store.Proxy{Alias: target.Name + "." + target.Region}})
		if err != nil {
			return err
		}
	}
	return nil
}

const oldTargets = 5

func oldStore(t *testing.T) *storetest.Mem {
	b := storetest.Memory()
	s, err := store.OpenWith(t.Context(), options(t, b, "a"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range oldTargets {
		apply(t, s, put(store.Targets, fmt.Sprint(i), 1, map[string]string{"name": fmt.Sprint("t", i)}))
	}
	return b
}

func expectMigrated(t *testing.T, s *store.Store) {
	t.Helper()
	for i := range oldTargets {
		var target store.Target
		var proxy store.Proxy
		key := fmt.Sprint(i)
		version, err := s.Get(t.Context(), store.Targets, key, &target)
		_, err2 := s.Get(t.Context(), store.Proxies, key, &proxy)
		if err != nil || err2 != nil || version != 2 || proxy.Alias != "t"+key+".eu" {
			t.Errorf("target %s has version %d and region %q, its proxy alias %q: %v", key, version, target.Region, proxy.Alias, errors.Join(err, err2))
		}
	}
}

func TestMigrations(t *testing.T) {
	steps := []func(context.Context, *store.Store) error{region("eu"), alias}
	t.Run("that die", func(t *testing.T) {
		crashes(t, oldStore, func(t *testing.T, b store.Backend) error {
			_, err := store.OpenWith(t.Context(), options(t, b, "a"), steps...)
			return err
		}, func(t *testing.T, b store.Backend) {
			s, err := store.OpenWith(t.Context(), options(t, b, "a"), steps...)
			if err != nil {
				t.Fatal(err)
			}
			expectMigrated(t, s)
			before := dump(t, b)
			if _, err := store.OpenWith(t.Context(), options(t, b, "a"), steps...); err != nil {
				t.Fatal(err)
			}
			if dump(t, b) != before {
				t.Error("they were made again")
			}
		})
	})
	t.Run("one version at a time", func(t *testing.T) {
		b := oldStore(t)
		for n := range len(steps) + 1 {
			if _, err := store.OpenWith(t.Context(), options(t, b, "a"), steps[:n]...); err != nil {
				t.Fatal(err)
			}
		}
		s, err := store.OpenWith(t.Context(), options(t, b, "a"), steps...)
		if err != nil {
			t.Fatal(err)
		}
		expectMigrated(t, s)
	})
	t.Run("are not made for a new store", func(t *testing.T) {
		never := func(context.Context, *store.Store) error { return errors.New("it was made") }
		if _, err := store.OpenWith(t.Context(), options(t, storetest.Memory(), "a"), never); err != nil {
			t.Error(err)
		}
	})
	t.Run("that fail", func(t *testing.T) {
		b := oldStore(t)
		failure := errors.New("there is a stone in the way")
		_, err := store.OpenWith(t.Context(), options(t, b, "a"), region("eu"), func(context.Context, *store.Store) error { return failure })
		expectError(t, err, failure, "from schema 2 to 3")
		s, err := store.OpenWith(t.Context(), options(t, b, "a"), steps...)
		if err != nil {
			t.Fatal(err)
		}
		expectMigrated(t, s)
	})
	t.Run("two at once", func(t *testing.T) {
		b := oldStore(t)
		var second *store.Store
		var err2 error
		first, err := store.OpenWith(t.Context(), options(t, b, "a"), region("eu"), func(ctx context.Context, s *store.Store) error {
			if second, err2 = store.OpenWith(ctx, options(t, b, "a"), region("eu"), alias); err2 != nil {
				return err2
			}
			return alias(ctx, s)
		})
		if err != nil {
			t.Fatal(err)
		}
		expectMigrated(t, first)
		expectMigrated(t, second)
	})
}

func TestNewerSchema(t *testing.T) {
	b := oldStore(t)
	if _, err := store.OpenWith(t.Context(), options(t, b, "a"), region("eu"), alias); err != nil {
		t.Fatal(err)
	}
	for _, keys := range []string{"a", "ba"} {
		for n, steps := range [][]func(context.Context, *store.Store) error{nil, {region("eu")}} {
			before := dump(t, b)
			_, err := store.OpenWith(t.Context(), options(t, b, keys), steps...)
			expectError(t, err, store.ErrNewer, fmt.Sprintf("it has schema 3, and this one knows schemas up to %d", n+1))
			if dump(t, b) != before {
				t.Error("the store was changed")
			}
		}
	}
}

func TestBucketsAreAllNamed(t *testing.T) {
	want := []string{
		store.Clients, store.Credentials, store.Targets, store.Proxies, store.Blocked, store.Grants,
		store.Bound, store.Consents, store.Used, store.Replies, store.Audit, store.Meta,
	}
	if !slices.Equal(slices.Sorted(slices.Values(store.Buckets)), slices.Sorted(slices.Values(want))) {
		t.Errorf("buckets are %q: a rotation finds only what is in them", store.Buckets)
	}
}
