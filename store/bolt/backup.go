package bolt

import (
	"context"
	"errors"
	"io"

	"go.etcd.io/bbolt"
)

// Backup implements store.Backuper. What is written while it runs is not in the copy.
func (b *backend) Backup(ctx context.Context, w io.Writer) error {
	out := &copyWriter{call: ctx, store: b.ctx, to: w}
	err := b.view(ctx, func(tx *bbolt.Tx) error {
		_, err := tx.WriteTo(out)
		return err
	})
	if out.panicked != nil {
		panic(out.panicked) // the caller's own affair
	}
	if out.err != nil {
		return out.err
	}
	return err
}

// copyWriter ends with a call, or with the store. It keeps its error, of which bbolt
// leaves no more than the text, and a panic, which is no damage of the file.
type copyWriter struct {
	call, store context.Context
	to          io.Writer
	err         error
	panicked    any
}

func (c *copyWriter) Write(p []byte) (n int, err error) {
	defer func() {
		if c.panicked = recover(); c.panicked != nil {
			err = errors.New("the writer has panicked")
		}
		c.err = err
	}()
	if c.store.Err() != nil {
		return 0, errClosed
	}
	if err := c.call.Err(); err != nil {
		return 0, err
	}
	return c.to.Write(p)
}
