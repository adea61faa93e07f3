package jwks

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestRestartDuringAnOutage(t *testing.T) {
	for name, change := range map[string]func(*Config){"url": func(*Config) {}, "discovery": discovering} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				i, m := newIssuer("a"), new(memory)
				i.documents[openIDURL] = configuration(issuerURL, keysURL)
				store := func(c *Config) { c.Storage = m }
				before := newSource(i, change, store)
				before.Start()
				pass(0)
				fetched := time.Now()
				before.Stop()
				i.set(func() { i.down = true })
				pass(time.Hour)

				s := newSource(i, change, store)
				changes := watch(s)
				start(t, s)
				expectFound(t, s, "a")
				if changes.Load() != 1 || !s.Stats().LastSuccess.Equal(fetched) {
					t.Errorf("%d changes, fetched at %v", changes.Load(), s.Stats().LastSuccess)
				}
				expectUnavailable(t, s, "x")
				// the time that they were fetched at counts, not that of the restart
				pass(23*time.Hour - time.Minute)
				expectFound(t, s, "a")
				pass(2 * time.Minute)
				expectUnavailable(t, s, "a")
			})
		})
	}
}

func TestStoredJWKSURIIsUsed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		i, m := newIssuer("a"), new(memory)
		i.documents[openIDURL] = configuration(issuerURL, keysURL)
		store := func(c *Config) { c.Storage = m }
		before := newSource(i, discovering, store)
		before.Start()
		pass(0)
		before.Stop()
		i.set(func() { delete(i.documents, openIDURL) })
		i.show("b")
		s := newSource(i, discovering, store)
		start(t, s)
		expectFound(t, s, "b")
	})
}

func TestStoredKeysAnswerWhileTheFetchHangs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		i, m := newIssuer("a"), new(memory)
		store := func(c *Config) { c.Storage = m }
		before := newSource(i, store)
		before.Start()
		pass(0)
		before.Stop()
		i.set(func() { i.hang = true })
		s := newSource(i, store)
		s.Start()
		defer s.Stop()
		begin := time.Now()
		expectFound(t, s, "a")
		if d := time.Since(begin); d != 0 {
			t.Errorf("it took %v", d)
		}
		pass(0)
		expectFetches(t, i, keysURL, 2) // at once, all the same
	})
}

func TestSlowStorageHoldsNobody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		i, m := newIssuer("a"), &memory{hang: true}
		s := newSource(i, func(c *Config) { c.Storage = m })
		s.Start()
		defer s.Stop()
		begin := time.Now()
		expectFound(t, s, "a")
		if d := time.Since(begin); d != restoreHeadStart {
			t.Errorf("it took %v", d)
		}
	})
}

func TestStorageFailureIsNotFatal(t *testing.T) {
	bubble(t, func(t *testing.T) {
		i, m := newIssuer("a"), &memory{fail: errors.New("the disk is gone")}
		logs, logged := withLog()
		s := newSource(i, logged, func(c *Config) { c.Storage = m })
		start(t, s)
		expectFound(t, s, "a")
		if logs.FilterMessageSnippet("not used").Len() != 1 || logs.FilterMessageSnippet("could not be stored").Len() != 1 {
			t.Errorf("the log has %v", logs.All())
		}
		m.mu.Lock()
		m.fail = nil
		m.mu.Unlock()
		pass(16 * time.Minute) // it is tried again
		if m.stores != 1 {
			t.Errorf("stored %d times", m.stores)
		}
	})
}

func TestWritesAreLimited(t *testing.T) {
	bubble(t, func(t *testing.T) {
		i, m := newIssuer("a"), new(memory)
		i.header.Set("Cache-Control", "max-age=60")
		s := newSource(i, func(c *Config) { c.Storage = m })
		start(t, s)
		pass(time.Hour)
		if n := i.count(keysURL); n < 60 || m.stores > 7 || m.stores < 5 {
			t.Errorf("%d fetches, stored %d times", n, m.stores)
		}
		before := m.stores
		i.show("b")
		expectFound(t, s, "b")
		pass(0)
		if m.stores != before+1 {
			t.Errorf("a change was stored %d times", m.stores-before)
		}
	})
}

func TestRecord(t *testing.T) {
	key := recordKey("https://a", "b", "")
	if key == recordKey("https://ab", "", "") || key == recordKey("", "https://ab", "") || key == recordKey("https://a", "c", "") || key == recordKey("https://a", "", "b") {
		t.Error("two sources have the same record")
	}
	if !strings.HasPrefix(key, "rr/jwks/") || len(key) != len("rr/jwks/")+64+len(".json") {
		t.Errorf("the key is %q", key)
	}
}

func TestStoredRecordIsJudged(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*record)
		used   bool
	}{
		"as it is":             {func(*record) {}, true},
		"another version":      {func(r *record) { r.Version = 2 }, false},
		"another issuer":       {func(r *record) { r.Issuer = "https://other.example" }, false},
		"another url":          {func(r *record) { r.URL = "https://other.example" }, false},
		"nearly too old":       {func(r *record) { r.FetchedAt = r.FetchedAt.Add(-24*time.Hour + time.Minute) }, true},
		"too old":              {func(r *record) { r.FetchedAt = r.FetchedAt.Add(-25 * time.Hour) }, false},
		"no time":              {func(r *record) { r.FetchedAt = time.Time{} }, false},
		"a little in future":   {func(r *record) { r.FetchedAt = r.FetchedAt.Add(30 * time.Second) }, true},
		"too far in future":    {func(r *record) { r.FetchedAt = r.FetchedAt.Add(2 * time.Minute) }, false},
		"an empty set":         {func(r *record) { r.JWKS = json.RawMessage(`{"keys":[]}`) }, false},
		"no set":               {func(r *record) { r.JWKS = nil }, false},
		"a set that is a list": {func(r *record) { r.JWKS = json.RawMessage(`[]`) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				i, m := newIssuer("a"), new(memory)
				store := func(c *Config) { c.Storage = m }
				before := newSource(i, store)
				before.Start()
				pass(0)
				before.Stop()
				key, data := m.only(t)
				r := new(record)
				if err := json.Unmarshal(data, r); err != nil {
					t.Fatal(err)
				}
				tt.change(r)
				m.data[key], _ = json.Marshal(r)
				i.set(func() { i.down = true })
				s := newSource(i, store)
				start(t, s)
				if tt.used {
					expectFound(t, s, "a")
				} else {
					expectUnavailable(t, s, "a")
				}
			})
		})
	}
}

func TestBrokenRecord(t *testing.T) {
	bubble(t, func(t *testing.T) {
		i, m := newIssuer("a"), new(memory)
		m.data = map[string][]byte{recordKey("", keysURL, ""): []byte(`{"version":1,"jwks":`)}
		s := newSource(i, func(c *Config) { c.Storage = m })
		start(t, s)
		expectFound(t, s, "a")
	})
}

// A fetch that was quicker than the storage has the newer keys.
func TestRestoreDoesNotReplaceFetchedKeys(t *testing.T) {
	bubble(t, func(t *testing.T) {
		i, m := newIssuer("old"), new(memory)
		before := newSource(i, func(c *Config) { c.Storage = m })
		before.Start()
		pass(0)
		before.Stop()
		i.show("new")
		s := newSource(i)
		start(t, s)
		s.cfg.Storage = m
		s.restore()
		if kids := kidsOf(s.Set()); len(kids) != 1 || kids[0] != "new" {
			t.Errorf("the keys are %v", kids)
		}
	})
}
