package inject

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-rr/caddy-rr/internal/exchange"
	"github.com/caddy-rr/caddy-rr/store/secret"
)

// What the kinds have in common that sign the request.

// How much of a body, in bytes, is kept in memory to sign it.
const (
	defaultSignedBody = 1 << 20
	maxSignedBody     = 64 << 20
)

// errEarly says that a signature would be over another request than the one that leaves.
var errEarly = errors.New("it signs the request as it leaves, which is not known before a handler that may still change it; use rr_proxy, or `deferred` in rr_inject and `transport rr` in the reverse_proxy that follows")

// asItLeaves makes sure that r is the request as it leaves, and brings its host into the form
// in which it is signed and sent: without the scheme's own port.
func asItLeaves(r *http.Request) error {
	if x := exchange.From(r.Context()); x != nil && !x.Deferred {
		return errEarly
	}
	port := "443" // where the scheme is not settled yet, the transport takes this one off
	if r.URL.Scheme == "http" {
		port = "80"
	}
	r.Host = strings.TrimSuffix(r.Host, ":"+port)
	return nil
}

// kept is a body, or that an earlier attempt has sent one that was too large to keep.
type kept struct {
	data []byte
	lost bool
}

// wholeBody returns the body if it has at most max bytes; r then has it again, with its
// length. If it is larger, whole is false and r's body is as it was. Attempts after
// the first, whose body has been read, get the same.
func wholeBody(r *http.Request, max int64) (data []byte, whole bool, err error) {
	x := exchange.From(r.Context())
	if x != nil && x.Kept != nil {
		k := x.Kept.(*kept)
		if k.lost {
			return nil, false, errors.New("the body has been sent in an attempt before and was too large to be kept")
		}
		setBody(r, k.data)
		return k.data, true, nil
	}
	if r.Body == nil || r.Body == http.NoBody {
		return nil, true, nil
	}
	if r.ContentLength > max {
		return nil, false, nil
	}
	k := new(kept)
	if x != nil {
		x.Kept = k
	}
	if k.data, err = io.ReadAll(io.LimitReader(r.Body, max+1)); err != nil {
		k.lost = true
		return nil, false, fmt.Errorf("the caller's body could not be read: %w", err)
	}
	if int64(len(k.data)) > max {
		rest := r.Body
		r.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(k.data), rest), rest}
		k.data, k.lost = nil, true
		return nil, false, nil
	}
	if r.ContentLength >= 0 && r.ContentLength != int64(len(k.data)) {
		k.lost = true
		return nil, false, fmt.Errorf("the caller's body has %d bytes, not the %d that were announced", len(k.data), r.ContentLength)
	}
	setBody(r, k.data)
	return k.data, true, nil
}

// setBody has r send data, again if the transport tries again. With trailers the length
// stays open, since HTTP/1.1 has no other room for them.
func setBody(r *http.Request, data []byte) {
	switch {
	case len(r.Trailer) > 0:
		r.Body, r.GetBody, r.ContentLength = io.NopCloser(bytes.NewReader(data)), nil, -1
	case len(data) == 0:
		r.Body, r.GetBody, r.ContentLength, r.TransferEncoding = http.NoBody, nil, 0, nil
	default:
		r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
		r.Body, _ = r.GetBody()
		r.ContentLength, r.TransferEncoding = int64(len(data)), nil
	}
}

// part is one of several secrets that belong together.
type part struct {
	option string
	text   string
	public bool // text in clear is no secret to warn of
	absent bool // may be missing
}

// together resolves secrets and has use called with their values, now and after each
// change, with all that changed at the same look at the files. The first error is
// returned; later ones are reported, and what use made before stays.
func together(ctx context.Context, parts []part, report func(error), use func(values []string) error) error {
	values, texts, changes := make([]string, len(parts)), make([]string, len(parts)), false
	for i, p := range parts {
		placeholder := expands(ctx) && secret.IsPlaceholder(p.text)
		changes = changes || placeholder
		switch {
		case p.text == "" && p.absent:
			continue
		case p.public && !placeholder && !strings.Contains(p.text, "{"):
			values[i] = p.text
		default:
			v, err := secret.String(p.text).Resolve(ctx)
			if err != nil {
				return fmt.Errorf("%s: %w", p.option, err)
			}
			values[i] = v.Get()
		}
		texts[i] = p.text
	}
	for i, v := range values {
		if strings.ContainsRune(v, 0) {
			return fmt.Errorf("%s: it has a NUL", parts[i].option)
		}
	}
	if err := use(values); err != nil || !changes {
		return err
	}
	// one text of them all changes once for all of them
	all, err := secret.Template(strings.Join(texts, "\x00")).Resolve(ctx)
	if err != nil {
		return err
	}
	begun := false
	all.OnChange(func(text string) {
		if !begun {
			begun = true
			return
		}
		values := strings.Split(text, "\x00")
		err := errors.New("a file has a NUL")
		if len(values) == len(parts) {
			err = use(values)
		}
		if err != nil {
			report(err)
		}
	})
	return nil
}

// onceFlag reads an option without arguments.
func onceFlag(d *caddyfile.Dispenser, field *bool) error {
	option := d.Val()
	if *field || d.NextArg() {
		return d.Errf("%s is said once, without arguments", option)
	}
	*field = true
	return nil
}

// onceSize reads an option with a size of what is kept in memory.
func onceSize(d *caddyfile.Dispenser, field *int64) error {
	option := d.Val()
	var text string
	if *field != 0 || !d.AllArgs(&text) {
		return d.Errf("%s is said once, with a size such as 1MiB", option)
	}
	size, err := parseSize(text)
	if err == nil {
		err = checkSignedBody(size)
	}
	if err != nil || size == 0 {
		return d.Errf("%s %q is not a size up to 64MiB, such as \"1MiB\"", option, text)
	}
	*field = size
	return nil
}

func checkSignedBody(size int64) error {
	if size < 0 || size > maxSignedBody {
		return errors.New("max_body is a number of bytes up to 67108864 (64 MiB): bodies are kept in memory")
	}
	return nil
}

// parseSize reads 65536, 512KiB, 1MB and the like.
func parseSize(text string) (int64, error) {
	number := strings.TrimRight(text, "BbIiKkMm")
	unit, ok := map[string]int64{"": 1, "b": 1, "k": 1000, "kb": 1000, "kib": 1 << 10, "m": 1e6, "mb": 1e6, "mib": 1 << 20}[strings.ToLower(text[len(number):])]
	n, err := strconv.ParseInt(number, 10, 32)
	if !ok || err != nil {
		return 0, errors.New("not a size")
	}
	return n * unit, nil
}
