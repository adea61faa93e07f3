package bolt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
	"go.uber.org/zap"

	"github.com/caddy-rr/caddy-rr/store"
)

// The layout: a bucket of the backend's own, and one for each bucket of the store, with a
// prefix that keeps them apart. A value begins with its version, 8 bytes, big endian.
var (
	ownBucket   = []byte("rr")
	formatKey   = []byte("format")
	revisionKey = []byte("revision")
)

const (
	bucketPrefix = "b/"
	format       = "1"
	versionSize  = 8
)

const (
	lockWait  = 5 * time.Second       // for another process
	lockRetry = 50 * time.Millisecond // between attempts
	// growth is by how much the file grows at least: each time costs an fsync.
	growth = 1 << 20
	// smallest is the size of an empty store: four pages, on the systems with the smallest
	smallest = 4 * 4096
)

// mapSizes are the address space that is tried for the file, in bytes; it costs no memory.
// Only when the file outgrows it has bbolt to map it anew, for which it stops all readers
// and waits for a running backup. Where address space is limited less has to do.
func mapSizes() []int {
	if math.MaxInt == math.MaxInt32 || runtime.GOOS == "windows" { // which makes the file as large
		return []int{0}
	}
	var large int64 = 16 << 30
	return []int{int(large), 1 << 30, 0}
}

// handle is an open file.
type handle struct {
	db    *bbolt.DB
	file  *os.File       // bbolt's own
	users sync.WaitGroup // calls that use it
}

// errMoved is that another file has taken the place of the one that was opened: the
// process that had it locked has compacted it.
var errMoved = errors.New("the file was replaced while it was opened")

// open opens the store's file, and makes it if it is not there. The path has no links.
func open(ctx context.Context, path string, log *zap.Logger) (*backend, error) {
	for waited := time.Duration(0); ; waited += lockRetry {
		b, err := attempt(path, log)
		if missing(err) {
			if err := create(path); err != nil && !missing(err) {
				return nil, fmt.Errorf("making the store: %w", explain(path, err))
			}
			b, err = attempt(path, log)
		}
		switch {
		case err == nil:
			return b, nil
		case waited >= lockWait && errors.Is(err, berrors.ErrTimeout):
			return nil, fmt.Errorf("%w: %s: stop it (another Caddy may still be running), or give each its own file with `store bolt <path>`",
				store.ErrLocked, path)
		case waited >= lockWait, !errors.Is(err, berrors.ErrTimeout) && !errors.Is(err, errMoved) && !missing(err):
			return nil, err
		}
		select {
		case <-time.After(lockRetry):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// purpose is what a file is opened for.
type purpose int

const (
	forWriting purpose = iota
	forReading
	forMaking // it is empty
)

// attempt opens a file that is there, for reading only if it cannot be written.
func attempt(path string, log *zap.Logger) (*backend, error) {
	h, err := openFile(path, forWriting)
	if err != nil && isSystem(err) && isAny(err, noWriting) {
		cause := err
		if h, err = openFile(path, forReading); err == nil {
			log.Warn("the store cannot be written, only read", zap.Error(explain(path, cause)))
		}
	}
	if err != nil {
		if isSystem(err) && !missing(err) {
			err = fmt.Errorf("opening the store: %w", explain(path, err))
		}
		return nil, err
	}
	revision, err := h.check(path)
	if err != nil {
		h.db.Close()
		return nil, err
	}
	return newBackend(path, h, revision, log), nil
}

// openFile opens and locks one file. A lock that another process has is ErrTimeout.
func openFile(path string, why purpose) (h *handle, err error) {
	for _, size := range mapSizes() {
		if h, err = mapFile(path, why, size); err == nil || !isAny(err, noMemory) {
			break
		}
	}
	return h, err
}

func mapFile(path string, why purpose, size int) (*handle, error) {
	h := new(handle)
	var judgement error
	err := guard(path, func() (err error) {
		h.db, err = bbolt.Open(path, fileMode, &bbolt.Options{
			Timeout:         1, // one attempt
			FreelistType:    bbolt.FreelistMapType,
			ReadOnly:        why == forReading,
			InitialMmapSize: size,
			OpenFile: func(name string, flag int, _ os.FileMode) (file *os.File, err error) {
				// it is made by create, in one step
				if file, err = os.OpenFile(name, flag&^os.O_CREATE, 0); err != nil {
					return nil, err
				}
				if judgement = judge(name, file, why); judgement != nil {
					file.Close()
					return nil, judgement
				}
				h.file = file
				return file, nil
			},
		})
		return err
	})
	switch {
	case err == nil:
		h.db.AllocSize = growth
		return h, nil
	case judgement == nil && errors.As(err, new(*damage)): // bbolt has panicked, and not cleaned up
		if h.file != nil {
			abandon(h.file)
		}
	case judgement == nil && !isSystem(err) && !errors.Is(err, berrors.ErrTimeout):
		err = &damage{path, err.Error()}
	}
	return nil, err
}

// judge refuses files that others may read or change, and what cannot be a store.
func judge(path string, file *os.File, why purpose) error {
	info, err := file.Stat()
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("the store %s is not a file", path)
	case info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows":
		return fmt.Errorf("the store file %s can be used by others than its owner (mode %04o): make it private with `chmod 600 %s`, "+
			"and change the secrets in it if somebody may have copied it together with its key", path, info.Mode().Perm(), path)
	case info.Size() < smallest && why != forMaking:
		return &damage{path, fmt.Sprintf("it has no more than %d bytes", info.Size())}
	}
	return nil
}

// check looks whether the file is a whole one of this package, and still in its place. It
// returns the last revision.
func (h *handle) check(path string) (revision uint64, err error) {
	info, err := h.file.Stat()
	if err != nil {
		return 0, err
	}
	if now, err := os.Stat(path); err != nil && !missing(err) {
		return 0, err
	} else if err != nil || !os.SameFile(info, now) {
		return 0, errMoved
	}
	err = guard(path, func() error {
		return h.db.View(func(tx *bbolt.Tx) error {
			if tx.Size() > info.Size() {
				return &damage{path, fmt.Sprintf("it has %d bytes of %d", info.Size(), tx.Size())}
			}
			own := tx.Bucket(ownBucket)
			if own == nil {
				return fmt.Errorf("the file %s is no store of rr: nothing was changed in it; say another path with `store bolt <path>`", path)
			}
			if f := string(own.Get(formatKey)); f != format {
				return fmt.Errorf("the store file %s has format %.20q, this rr knows format %q: use the version of rr that wrote it", path, f, format)
			}
			revision, err = readRevision(own)
			return err
		})
	})
	return revision, err
}

func readRevision(own *bbolt.Bucket) (uint64, error) {
	v := own.Get(revisionKey)
	if len(v) != 8 {
		return 0, errors.New("the store has no revision")
	}
	return binary.BigEndian.Uint64(v), nil
}

// create makes the file, complete, in one step: whoever opens it, after whatever crash,
// finds a store or nothing. If somebody else makes it at the same time, theirs stays.
func create(path string) error {
	folder := filepath.Dir(path)
	if err := makeFolder(folder); err != nil {
		return err
	}
	name, err := makeBesides(path)
	if err != nil {
		return err
	}
	defer os.Remove(name)
	h, err := openFile(name, forMaking)
	if err != nil {
		return err
	}
	err = h.db.Update(func(tx *bbolt.Tx) error { return begin(tx, 0) })
	if err = errors.Join(err, h.db.Close()); err != nil {
		return err
	}
	err = os.Link(name, path) // which does not replace
	switch {
	case errors.Is(err, os.ErrExist), missing(err): // missing: who has it locked has swept
		return nil
	case err != nil:
		if err = os.Rename(name, path); err != nil { // a file system without links
			return err
		}
	}
	return syncFolder(folder)
}

// begin writes what the backend keeps for itself.
func begin(tx *bbolt.Tx, revision uint64) error {
	own, err := tx.CreateBucketIfNotExists(ownBucket)
	if err != nil {
		return err
	}
	if err := own.Put(formatKey, []byte(format)); err != nil {
		return err
	}
	return own.Put(revisionKey, binary.BigEndian.AppendUint64(nil, revision))
}
