package secret

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// PollInterval is how often secret files are looked at. The documentation promises that a change
// takes effect within 5 s.
const PollInterval = 2 * time.Second

// maxFile bounds a secret file (Caddy's own {file.*} has the same bound).
const maxFile = 1 << 20

type expanderKey struct{}

// Expander resolves the placeholders of one configuration. The host makes one, hands it
// down in the context with which it loads its guests, and runs Watch for as long
// as the configuration lives.
type Expander struct {
	// Literal is called for each secret written in clear, if set.
	Literal func()
	// Resolved is called with the value of each secret, and with each new value, for
	// keeping them out of logs, if set.
	Resolved func(value string)
	// Report is called when a secret file could not be read or became empty (the last
	// good value stays) with the path and the reason, once per outage; and with a nil
	// error when it is well again. Never with a secret.
	Report func(path string, err error)

	// Changed is called after a Poll in which any file's content changed, if set.
	Changed func()

	mu    sync.Mutex
	files map[string]*file
	all   []*composed
}

// file is one watched secret file and the value that follows it.
type file struct {
	value *Value
	stamp stamp
	bad   bool
}

// stamp is what os.Stat tells of a file's content; Kubernetes' symlink swap changes the
// inode's identity, which os.SameFile sees.
type stamp struct {
	info os.FileInfo
}

func (a stamp) same(b stamp) bool {
	if a.info == nil || b.info == nil {
		return false
	}
	return os.SameFile(a.info, b.info) && a.info.Size() == b.info.Size() && a.info.ModTime().Equal(b.info.ModTime())
}

// Key returns the key and value by which a context carries e, for hosts whose context
// type has its own WithValue, as caddy.Context does.
func (e *Expander) Key() (key, value any) { return expanderKey{}, e }

// Context returns ctx with e in it.
func (e *Expander) Context(ctx context.Context) context.Context {
	return context.WithValue(ctx, expanderKey{}, e)
}

func expander(ctx context.Context) *Expander {
	e, _ := ctx.Value(expanderKey{}).(*Expander)
	return e
}

func (e *Expander) expand(s string) (*Value, error) {
	key, ok := placeholder(s)
	if !ok {
		if strings.Contains(s, "{env.") || strings.Contains(s, "{file.") {
			return nil, errors.New("a secret is one placeholder alone, {env.NAME} or {file./absolute/path}, with nothing before or after it")
		}
		e.literal()
		return e.known(Static(s)), nil
	}
	return e.lookup(key)
}

// known tells who wants to know of a secret's values.
func (e *Expander) known(v *Value) *Value {
	if e.Resolved != nil {
		v.OnChange(e.Resolved)
	}
	return v
}

func (e *Expander) literal() {
	if e.Literal != nil {
		e.Literal()
	}
}

func (e *Expander) lookup(key string) (*Value, error) {
	switch {
	case strings.HasPrefix(key, "env."):
		v := os.Getenv(key[len("env."):])
		if v == "" {
			return nil, fmt.Errorf("{%s}: the environment variable is not set or empty", key)
		}
		return e.known(Static(v)), nil
	case strings.HasPrefix(key, "file."):
		return e.file(key[len("file."):])
	default:
		return nil, errForm(key)
	}
}

// file returns the value that follows the file at path; the same for all who ask.
func (e *Expander) file(path string) (*Value, error) {
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf("{file.%s}: the path must be absolute, as in {file./run/secrets/name}", path)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if f, ok := e.files[path]; ok {
		return f.value, nil
	}
	text, st, err := read(path)
	if err != nil {
		return nil, fmt.Errorf("{file.%s}: %w", path, err)
	}
	if e.files == nil {
		e.files = make(map[string]*file)
	}
	f := &file{value: Static(text), stamp: st}
	e.files[path] = f
	return e.known(f.value), nil
}

// read returns a file's text without one trailing newline. Errors never hold content.
func read(path string) (string, stamp, error) {
	f, err := os.Open(path)
	if err != nil {
		var pe *os.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return "", stamp{}, fmt.Errorf("cannot read the file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", stamp{}, fmt.Errorf("cannot read the file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return "", stamp{}, errors.New("not a regular file")
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return "", stamp{}, errors.New("cannot read the file")
	}
	if len(b) > maxFile {
		return "", stamp{}, fmt.Errorf("the file is larger than %d bytes", maxFile)
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	if text == "" {
		return "", stamp{}, errors.New("the file is empty")
	}
	return text, stamp{info}, nil
}

// Watching reports whether any secret comes from a file, that is, whether Watch has
// anything to do.
func (e *Expander) Watching() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.files) > 0
}

// Watch looks at the files every PollInterval until ctx is done.
func (e *Expander) Watch(ctx context.Context) {
	t := time.NewTicker(PollInterval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			e.Poll()
		}
	}
}

// Poll looks at every file once and passes on what changed.
func (e *Expander) Poll() {
	e.mu.Lock()
	paths := make([]string, 0, len(e.files))
	for p := range e.files {
		paths = append(paths, p)
	}
	e.mu.Unlock()
	changed := false
	for _, p := range paths {
		changed = e.poll(p) || changed
	}
	if changed {
		e.mu.Lock()
		all := e.all
		e.mu.Unlock()
		for _, c := range all {
			c.update()
		}
		if e.Changed != nil {
			e.Changed()
		}
	}
}

func (e *Expander) poll(path string) (changed bool) {
	e.mu.Lock()
	f := e.files[path]
	e.mu.Unlock()
	info, err := os.Stat(path)
	if err == nil && !f.bad && f.stamp.same(stamp{info}) {
		return false
	}
	text, st, err := read(path)
	if err != nil {
		if !f.bad {
			f.bad = true
			e.report(path, err)
		}
		return false
	}
	if f.bad {
		f.bad = false
		e.report(path, nil)
	}
	f.stamp = st
	if text == f.value.Get() {
		return false
	}
	f.value.set(text)
	return true
}

func (e *Expander) report(path string, err error) {
	if e.Report != nil {
		e.Report(path, err)
	}
}

// composed is a Template's value: literal parts and the values between them.
type composed struct {
	value *Value
	parts []*Value
}

func (c *composed) text() string {
	var b strings.Builder
	for _, p := range c.parts {
		b.WriteString(p.Get())
	}
	return b.String()
}

func (c *composed) update() { c.value.set(c.text()) }

func (e *Expander) expandAll(s string) (*Value, error) {
	if IsPlaceholder(s) {
		return e.expand(s)
	}
	if strings.Contains(s, "{http.request.uri.path.file.") {
		return nil, errForm(s)
	}
	c := &composed{}
	rest, secrets := s, 0
	for {
		i := nextPlaceholder(rest)
		if i < 0 {
			break
		}
		end := strings.IndexByte(rest[i:], '}')
		if end < 0 {
			return nil, errors.New("a placeholder has no closing brace")
		}
		v, err := e.lookup(rest[i+1 : i+end])
		if err != nil {
			return nil, err
		}
		if i > 0 {
			c.parts = append(c.parts, Static(rest[:i]))
		}
		c.parts = append(c.parts, v)
		rest, secrets = rest[i+end+1:], secrets+1
	}
	if secrets == 0 {
		e.literal()
		return Static(s), nil
	}
	if rest != "" {
		c.parts = append(c.parts, Static(rest))
	}
	c.value = Static(c.text())
	e.mu.Lock()
	e.all = append(e.all, c)
	e.mu.Unlock()
	return c.value, nil
}

// nextPlaceholder is the index of the next {env. or {file. in s, or -1. Other braces
// are ordinary text: a value may well be JSON.
func nextPlaceholder(s string) int {
	env, file := strings.Index(s, "{env."), strings.Index(s, "{file.")
	switch {
	case env < 0:
		return file
	case file < 0:
		return env
	default:
		return min(env, file)
	}
}
