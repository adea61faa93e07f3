package bolt

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// The permissions of what is made: nobody but Caddy's user.
const (
	fileMode   = 0o600
	folderMode = 0o700
)

// makeFolder makes a folder and those above it, so that they are there after a power cut.
func makeFolder(path string) error {
	if _, err := os.Stat(path); !missing(err) {
		return err
	}
	above := filepath.Dir(path)
	if err := makeFolder(above); err != nil {
		return err
	}
	if err := os.Mkdir(path, folderMode); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return syncFolder(above)
}

// syncFolder makes the names in a folder durable.
func syncFolder(path string) error {
	if runtime.GOOS == "windows" { // has no such thing
		return nil
	}
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	defer folder.Close()
	err = folder.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		return nil // some network file systems have no such thing either
	}
	return err
}

// besides is how the names of files begin that are made beside the store's, and take its
// place when they are complete.
func besides(path string) string { return filepath.Base(path) + ".new-" }

// makeBesides makes an empty file beside the store's.
func makeBesides(path string) (name string, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), besides(path)+"*") // mode 0600
	if err != nil {
		return "", err
	}
	return f.Name(), f.Close()
}

// sweep removes what a crash has left beside the store's file. Only who has the store
// locked may do that.
func sweep(path string) {
	folder := filepath.Dir(path)
	entries, err := os.ReadDir(folder)
	if err != nil {
		return // it may be entered but not listed: then it stays
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), besides(path)) {
			os.Remove(filepath.Join(folder, e.Name()))
		}
	}
}
