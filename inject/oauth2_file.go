package inject

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/caddy-rr/caddy-rr/internal/oauth"
)

// maxTokenFile bounds a file with a refresh token, in bytes.
const maxTokenFile = 64 << 10

// tokenFile keeps a refresh token in the file that it came from: the operator's path to
// it. It implements oauth.Keeper.
type tokenFile string

// Load implements oauth.Keeper.
func (f tokenFile) Load(context.Context) (*oauth.Grant, error) {
	path, token, err := f.read()
	if err != nil {
		return nil, err
	}
	// the folder has to take a new file later, when it would be too late to find out
	trial, err := create(path)
	if err != nil {
		return nil, err
	}
	trial.Close()
	if err := os.Remove(trial.Name()); err != nil {
		return nil, plain("write beside", err)
	}
	return &oauth.Grant{Refresh: token}, nil
}

// Save implements oauth.Keeper. The file has the old token or the new one at any moment,
// also when the machine loses power.
func (f tokenFile) Save(_ context.Context, before string, g *oauth.Grant) (err error) {
	path, token, err := f.read()
	if err != nil {
		return err
	}
	if token != before { // somebody has put another one there
		return nil
	}
	made, err := create(path)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(made.Name())
		}
	}()
	_, err = io.WriteString(made, g.Refresh+"\n")
	if err == nil {
		err = made.Sync()
	}
	if closed := made.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(made.Name(), path)
	}
	if err != nil {
		return plain("write", err)
	}
	return syncFolder(filepath.Dir(path))
}

// read returns the file's token and its real path: the one that is configured may be a
// link, which stays.
func (f tokenFile) read() (path, token string, err error) {
	if path, err = filepath.EvalSymlinks(string(f)); err != nil {
		return "", "", plain("read", err)
	}
	file, err := os.Open(path)
	if err != nil {
		return "", "", plain("read", err)
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, maxTokenFile+1))
	if err != nil {
		return "", "", plain("read", err)
	}
	if token = strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r"); token == "" || len(b) > maxTokenFile {
		return "", "", errors.New("the file of the refresh token is empty or too large")
	}
	return path, token, nil
}

// create makes a new file beside path that only its owner can read.
func create(path string) (*os.File, error) {
	file, err := os.CreateTemp(filepath.Dir(path), ".rr-"+filepath.Base(path)+"-*")
	if err != nil {
		return nil, plain("write beside", err)
	}
	return file, nil
}

// syncFolder makes a rename in a folder last.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return plain("write", err)
	}
	defer folder.Close()
	// some systems cannot do it, and need not
	if err := folder.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, fs.ErrInvalid) && !errors.Is(err, fs.ErrPermission) {
		return plain("write", err)
	}
	return nil
}

// plain is an error of the file system without its paths, which the configuration has.
func plain(what string, err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
	} else if e, ok := errors.AsType[*os.LinkError](err); ok {
		err = e.Err
	}
	return fmt.Errorf("cannot %s the file of the refresh token: %w", what, err)
}
