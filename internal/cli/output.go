package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// writeFile writes a file that only its owner may read, whole or not at all. What is there
// already is replaced only if overwrite says so. The content comes from fill, which is not
// called if the file cannot be made.
func writeFile(path string, overwrite bool, fill func(io.Writer) error) error {
	if err := checkFree(path, overwrite); err != nil {
		return err
	}
	folder := filepath.Dir(path)
	f, err := os.CreateTemp(folder, ".rr-*.part") // 0600
	if err != nil {
		return fmt.Errorf("%s cannot be made: %w", path, causeOf(err))
	}
	defer os.Remove(f.Name()) // gone already when all went well
	err = fill(f)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := moveInto(f.Name(), path, overwrite); err != nil {
		return err
	}
	return syncFolder(folder)
}

// causeOf is an error without the name of the file, which here is a temporary one.
func causeOf(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

func checkFree(path string, overwrite bool) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is there and is not a file", path)
	case !overwrite:
		return fmt.Errorf("%s is there already; --overwrite replaces it", path)
	}
	return nil
}

// moveInto gives a file its name. Without overwrite an empty file takes the name first, which
// fails if somebody else has made one meanwhile.
func moveInto(from, to string, overwrite bool) error {
	if overwrite {
		return os.Rename(from, to)
	}
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s has been made by somebody else meanwhile", to)
	}
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		return errors.Join(err, os.Remove(to))
	}
	return nil
}

// syncFolder makes a new name durable, where the system can.
func syncFolder(folder string) error {
	f, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer f.Close()
	_ = f.Sync() // not every system lets folders be synced
	return nil
}
