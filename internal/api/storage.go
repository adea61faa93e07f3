package api

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/caddy-rr/caddy-rr/internal/catalog"
	"github.com/caddy-rr/caddy-rr/store"
)

// Rotation says that the store's key was rotated.
type Rotation struct {
	Records int    `json:"records" doc:"How many records were sealed anew" example:"1234"`
	Message string `json:"message" example:"Success"`
}

// ExportRequest asks for an archive.
type ExportRequest struct {
	Passphrase string `json:"passphrase" minLength:"12" doc:"What opens the archive" example:"correct horse battery staple"`
}

// streamOut is an answer that is written while it is made.
type streamOut struct{ Body func(huma.Context) }

// opened is the store, or that there is none.
func (h *handler) opened() (*store.Store, error) {
	if s := h.catalogue.Store(); s != nil {
		return s, nil
	}
	return nil, catalog.ErrClosed
}

// note writes into the audit log that somebody has read or changed all of the store. A
// store that has no room, or cannot be written, is one that has to be saved: then the log
// of the process says it.
func (h *handler) note(ctx context.Context, action string) error {
	who := principalOf(ctx).Actor
	err := h.catalogue.Change(ctx, who, func(tx Tx) error {
		tx.Note(action, "store", "", "", "")
		return nil
	})
	if errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrReadOnly) {
		h.log.WarnContext(ctx, "the audit log could not be written", "action", action, "actor", who.Kind+" "+who.Name, "address", who.Address, "error", err.Error())
		return nil
	}
	return err
}

// backup answers with a copy of the store, sealed as it is.
func (h *handler) backup(ctx context.Context, _ *struct{}) (*streamOut, error) {
	s, err := h.opened()
	if err != nil {
		return nil, err
	}
	backend, can := s.Backend().(store.Backuper)
	if !can {
		return nil, problem(codeUnsupported, "this store has no backup of its own: use POST /store/export, or the means of the database")
	}
	if err := h.note(ctx, "backup"); err != nil {
		return nil, err
	}
	return h.stream(ctx, "caddy-rr.backup", func(w io.Writer) error { return backend.Backup(ctx, w) })
}

// export answers with an archive of the records, sealed with a passphrase.
func (h *handler) export(ctx context.Context, in *Raw) (*streamOut, error) {
	s, err := h.opened()
	if err != nil {
		return nil, err
	}
	members, err := object(in.RawBody, "passphrase")
	if err != nil {
		return nil, err
	}
	lock, err := passphrase(members)
	if err != nil {
		return nil, err
	}
	if err := h.note(ctx, "export"); err != nil {
		return nil, err
	}
	return h.stream(ctx, "caddy-rr.archive", func(w io.Writer) error {
		_, err := s.Export(ctx, w, lock)
		return err
	})
}

func passphrase(members map[string]any) (store.Lock, error) {
	words, err := text(members, "passphrase")
	if err != nil {
		return store.Lock{}, err
	}
	lock, err := store.PassphraseLock(words)
	if err != nil {
		return lock, badMember("/passphrase", "%s", err)
	}
	return lock, nil
}

// maxHeld is how many bytes of a stream are held back, so that what fails early is a
// problem and not half an answer.
const maxHeld = 64 << 10

// stream answers with what write writes. What fails later breaks the answer off.
func (h *handler) stream(ctx context.Context, file string, write func(io.Writer) error) (*streamOut, error) {
	return &streamOut{func(c huma.Context) {
		out := &held{out: c.BodyWriter(), begin: func() {
			c.SetHeader("Content-Type", bytesType)
			c.SetHeader("Content-Disposition", `attachment; filename="`+file+`"`)
		}}
		err := write(out)
		if err == nil {
			err = out.flush()
		}
		switch {
		case err == nil:
		case !out.begun:
			problemTo(c, h.problem(ctx, h.routes.operations[c.Operation().Method+" "+c.Operation().Path], err))
		default:
			h.log.ErrorContext(ctx, "a copy of the store was broken off", "error", err.Error())
			panic(http.ErrAbortHandler)
		}
	}}, nil
}

// problemTo answers with a problem where huma writes nothing.
func problemTo(c huma.Context, p *Problem) {
	_, w := unwrap(c)
	p.write(w)
}

// held is a writer that holds the first bytes back.
type held struct {
	out   io.Writer
	begin func()
	first bytes.Buffer
	begun bool
}

// Write implements io.Writer.
func (w *held) Write(b []byte) (int, error) {
	if !w.begun {
		if w.first.Len()+len(b) <= maxHeld {
			return w.first.Write(b)
		}
		if err := w.flush(); err != nil {
			return 0, err
		}
	}
	return w.out.Write(b)
}

func (w *held) flush() error {
	if w.begun {
		return nil
	}
	w.begin()
	w.begun = true
	_, err := w.out.Write(w.first.Bytes())
	w.first = bytes.Buffer{}
	return err
}

type rotationOut struct{ Body Rotation }

// rotateKey gives the store a new key. It goes on where an earlier one was interrupted, so
// that whoever asks may give up and ask again.
func (h *handler) rotateKey(ctx context.Context, _ *struct{}) (*rotationOut, error) {
	s, err := h.opened()
	if err != nil {
		return nil, err
	}
	if err := h.note(ctx, "rotate-key"); err != nil {
		return nil, err
	}
	out := &rotationOut{Rotation{Message: success}}
	err = s.RotateKey(ctx, func(done, _ int) { out.Body.Records = done })
	if errors.Is(err, store.ErrRotating) {
		return nil, problem(codeConflict, "the store's key is being rotated already")
	}
	return out, err
}
