package bolt

import (
	"errors"
	"fmt"
	"io/fs"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/caddy-rr/caddy-rr/store"
)

// noRoom are the system's errors that say that there is no room: on the disk, in a quota,
// or below the limit of a file's size.
var noRoom = append([]syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG}, noRoomHere...)

// noMemory says that there is not enough address space.
var noMemory = []syscall.Errno{syscall.ENOMEM}

// noWriting are the system's errors that say that the disk or the file is read-only.
var noWriting = []syscall.Errno{syscall.EROFS, syscall.EACCES, syscall.EPERM}

// explain makes what bbolt or the system said an error of the store, which says what to do.
func explain(path string, err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = fmt.Errorf("%s: %w", p.Op, p.Err) // its path may be that of a file beside
	}
	switch {
	case err == nil:
		return nil
	case isAny(err, noRoom):
		return fmt.Errorf("%w: %s: %w; make room on its disk, no restart is needed", store.ErrFull, path, err)
	case isAny(err, noWriting):
		return fmt.Errorf("%w: %s: %w; let Caddy's user write the file and its folder", store.ErrReadOnly, path, err)
	}
	return fmt.Errorf("the store file %s: %w", path, err)
}

// isSystem tells errors that the system gave from those that this package made.
func isSystem(err error) bool { return errors.As(err, new(syscall.Errno)) }

// isAny finds errors also by their text: bbolt keeps no more of some of them.
func isAny(err error, list []syscall.Errno) bool {
	for _, e := range list {
		if errors.Is(err, e) || strings.HasSuffix(err.Error(), e.Error()) {
			return true
		}
	}
	return false
}

// damage is that a file's content makes no sense.
type damage struct {
	path, what string
}

func (d *damage) Error() string {
	return fmt.Sprintf("the store file %s is damaged: %s. It was left as it is: keep a copy of it, "+
		"and put a backup in its place (see docs/store.md, \"Restore\")", d.path, d.what)
}

// Unwrap makes it a store.ErrUnavailable.
func (*damage) Unwrap() error { return store.ErrUnavailable }

// guard calls f, which reads the file through bbolt. bbolt panics when it meets what it
// does not understand, and the system signals a fault when the file is shorter than it
// says; both are returned as damage, so that the gateway goes on.
func guard(path string, f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = &damage{path, fmt.Sprint(p)}
		}
	}()
	return f()
}

// errClosed is what is said after Close.
var errClosed = fmt.Errorf("%w: it is closed", store.ErrUnavailable)

// missing says that a file or folder is not there.
func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
