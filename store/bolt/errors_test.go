package bolt

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/caddy-rr/caddy-rr/store"
)

func TestErrorsOfTheDisk(t *testing.T) {
	for _, c := range []struct {
		err  error
		want error
	}{
		{&os.PathError{Op: "write", Path: "/x", Err: syscall.ENOSPC}, store.ErrFull},
		{syscall.EDQUOT, store.ErrFull},
		{fmt.Errorf("file resize error: %s", syscall.EFBIG), store.ErrFull}, // as bbolt words it
		{fmt.Errorf("file sync error: %s", syscall.ENOSPC), store.ErrFull},
		{syscall.EROFS, store.ErrReadOnly},
		{&os.PathError{Op: "open", Path: "/x", Err: syscall.EACCES}, store.ErrReadOnly},
		{syscall.EIO, syscall.EIO},
	} {
		err := explain("/data/rr.db", c.err)
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), "/data/rr.db") || strings.Contains(err.Error(), "/x") {
			t.Errorf("%v is told as %v", c.err, err)
		}
	}
	for _, none := range []error{syscall.EIO, errors.New("full")} {
		if err := explain("p", none); errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrReadOnly) {
			t.Errorf("%v is told as %v", none, err)
		}
	}
}
