package storetest

import (
	"context"
	"iter"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/store"
)

// sabotageVariable names one of sabotages, for a process that runs the suite on it.
const sabotageVariable = "RR_STORETEST_SABOTAGE"

// spoilt is a Backend of which one method is replaced.
type spoilt struct {
	store.Backend
	get   func(context.Context, string, string) (store.Entry, error)
	list  func(context.Context, string, string) iter.Seq2[store.Entry, error]
	apply func(context.Context, ...store.Write) (uint64, error)
	watch func(context.Context, uint64) iter.Seq2[store.Change, error]
}

func (s *spoilt) Get(ctx context.Context, bucket, key string) (store.Entry, error) {
	if s.get != nil {
		return s.get(ctx, bucket, key)
	}
	return s.Backend.Get(ctx, bucket, key)
}

func (s *spoilt) List(ctx context.Context, bucket, after string) iter.Seq2[store.Entry, error] {
	if s.list != nil {
		return s.list(ctx, bucket, after)
	}
	return s.Backend.List(ctx, bucket, after)
}

func (s *spoilt) Apply(ctx context.Context, writes ...store.Write) (uint64, error) {
	if s.apply != nil {
		return s.apply(ctx, writes...)
	}
	return s.Backend.Apply(ctx, writes...)
}

func (s *spoilt) Watch(ctx context.Context, after uint64) iter.Seq2[store.Change, error] {
	if s.watch != nil {
		return s.watch(ctx, after)
	}
	return s.Backend.Watch(ctx, after)
}

// sabotages are faults that a backend may have, and the test of the suite that has to
// fail because of each.
var sabotages = map[string]struct {
	test  string
	spoil func(b store.Backend, s *spoilt)
}{
	"writes one by one": {"all writes are made, or none", func(b store.Backend, s *spoilt) {
		s.apply = func(ctx context.Context, writes ...store.Write) (r uint64, err error) {
			for _, w := range writes {
				if r, err = b.Apply(ctx, w); err != nil {
					return 0, err
				}
			}
			return r, nil
		}
	}},
	"ignores versions": {"versions decide", func(b store.Backend, s *spoilt) {
		s.apply = func(ctx context.Context, writes ...store.Write) (uint64, error) {
			for i := range writes {
				writes[i].Expect = store.Any
			}
			return b.Apply(ctx, writes...)
		}
	}},
	"acknowledges what it forgets": {"what was acknowledged is there after opening again", func(b store.Backend, s *spoilt) {
		s.apply = func(ctx context.Context, writes ...store.Write) (uint64, error) {
			if len(writes) == 3 && writes[0].Version == 9 {
				return b.Apply(ctx, writes[1:]...)
			}
			return b.Apply(ctx, writes...)
		}
	}},
	"lists an entry twice": {"long lists are whole", func(b store.Backend, s *spoilt) {
		s.list = func(ctx context.Context, bucket, after string) iter.Seq2[store.Entry, error] {
			return func(yield func(store.Entry, error) bool) {
				n := 0
				for e, err := range b.List(ctx, bucket, after) {
					if n++; !yield(e, err) || n == 2500 && !yield(e, err) {
						return
					}
				}
			}
		}
	}},
	"lists what comes at a key": {"lists begin after a key", func(b store.Backend, s *spoilt) {
		s.list = func(ctx context.Context, bucket, after string) iter.Seq2[store.Entry, error] {
			return func(yield func(store.Entry, error) bool) {
				if e, err := b.Get(ctx, bucket, after); err == nil && !yield(e, nil) {
					return
				}
				for e, err := range b.List(ctx, bucket, after) {
					if !yield(e, err) {
						return
					}
				}
			}
		}
	}},
	"misses a change": {"nobody misses a change", func(b store.Backend, s *spoilt) {
		s.watch = func(ctx context.Context, after uint64) iter.Seq2[store.Change, error] {
			return func(yield func(store.Change, error) bool) {
				for c, err := range b.Watch(ctx, after) {
					if c.Revision != 77 && !yield(c, err) {
						return
					}
				}
			}
		}
	}},
	"watches what it does not know": {"a revision that is not known", func(b store.Backend, s *spoilt) {
		s.watch = func(ctx context.Context, after uint64) iter.Seq2[store.Change, error] {
			if now, _ := b.Revision(ctx); after > now && ctx.Err() == nil {
				return func(func(store.Change, error) bool) {}
			}
			return b.Watch(ctx, after)
		}
	}},
	"shares its bytes": {"bytes belong to who has them", func(b store.Backend, s *spoilt) {
		kept := map[string]store.Entry{}
		s.get = func(ctx context.Context, bucket, key string) (store.Entry, error) {
			if e, ok := kept[key]; ok {
				return e, nil
			}
			e, err := b.Get(ctx, bucket, key)
			kept[key] = e
			return e, err
		}
	}},
	"does what nobody waits for": {"a call that is over does nothing", func(b store.Backend, s *spoilt) {
		s.apply = func(ctx context.Context, writes ...store.Write) (uint64, error) {
			r, err := b.Apply(context.WithoutCancel(ctx), writes...)
			if ctx.Err() != nil {
				return 0, ctx.Err()
			}
			return r, err
		}
	}},
	"takes what is too large": {"there are limits", func(b store.Backend, s *spoilt) {
		s.apply = func(ctx context.Context, writes ...store.Write) (uint64, error) {
			for i, w := range writes {
				if len(w.Value) > store.MaxValue {
					writes[i].Value = w.Value[:store.MaxValue]
				}
			}
			return b.Apply(ctx, writes...)
		}
	}},
}

type spoiltOpener struct {
	store.Opener
	spoil func(b store.Backend, s *spoilt)
}

func (o spoiltOpener) Open(ctx context.Context) (store.Backend, error) {
	b, err := o.Opener.Open(ctx)
	if err != nil {
		return nil, err
	}
	s := &spoilt{Backend: b}
	o.spoil(b, s)
	return s, nil
}

// TestSuiteFails runs the suite, in processes of their own, on backends with a fault each.
func TestSuiteFails(t *testing.T) {
	if name := os.Getenv(sabotageVariable); name != "" {
		Run(t, func(testing.TB) store.Opener { return spoiltOpener{Memory(), sabotages[name].spoil} })
		return
	}
	for name, c := range sabotages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test := strings.ReplaceAll(c.test, " ", "_")
			cmd := exec.Command(os.Args[0], "-test.run", "^TestSuiteFails$/^"+regexp.QuoteMeta(test)+"$")
			cmd.Env = append(os.Environ(), sabotageVariable+"="+name)
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), "--- FAIL: TestSuiteFails/"+test) {
				t.Errorf("the suite did not see it: %v\n%.2000s", err, out)
			}
		})
	}
}
