// Package bolt is the default store: one file of one process, by bbolt.
//
// What Apply has acknowledged is on the disk. The package adds to bbolt what a gateway
// needs: changes of many callers are written together, the file is made in one step, a
// full or read-only disk and a damaged file are errors and not ends of the process, and
// the file can be compacted and copied while it is in use.
package bolt

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/caddy-rr/caddy-rr/internal/host"
	"github.com/caddy-rr/caddy-rr/store"
)

func init() { caddy.RegisterModule(new(Bolt)) }

const moduleID = "rr.stores.bolt"

// Bolt keeps records in one file.
type Bolt struct {
	// The file. It is made, with its folder, if it is not there. Default: rr/rr.db in
	// Caddy's data folder.
	Path string `json:"path,omitempty"`

	log *zap.Logger
}

// CaddyModule returns the Caddy module information.
func (*Bolt) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: moduleID, New: func() caddy.Module { return new(Bolt) }}
}

// Provision sets the path. It touches no disk.
func (b *Bolt) Provision(caddy.Context) (err error) {
	// the open store outlives the configuration that it was opened for
	b.log = zap.New(host.ProcessLog(moduleID))
	if b.Path == "" {
		b.Path = filepath.Join(caddy.AppDataDir(), "rr", "rr.db")
		return nil
	}
	if b.Path, err = caddy.NewReplacer().ReplaceOrErr(b.Path, true, true); err != nil {
		return err
	}
	b.Path, err = filepath.Abs(b.Path)
	return err
}

// UnmarshalCaddyfile sets up the store from Caddyfile tokens. Syntax:
//
//	store bolt [<path>] {
//		path <path>
//	}
func (b *Bolt) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the kind
	if d.NextArg() {
		b.Path = d.Val()
		if d.NextArg() {
			return d.Err("bolt has one path at most")
		}
	}
	for d.NextBlock(0) {
		if d.Val() != "path" {
			return d.Errf("unrecognized option %q of bolt; there is: path", d.Val())
		}
		if err := host.OnceText(d, &b.Path); err != nil {
			return err
		}
	}
	return nil
}

// Open implements store.Opener. It waits up to 5 seconds for another process that has the
// file open, then the error is store.ErrLocked.
func (b *Bolt) Open(ctx context.Context) (store.Backend, error) {
	log := b.log
	if log == nil {
		log = zap.NewNop()
	}
	opened, err := open(ctx, b.Key(), log)
	if err != nil {
		return nil, err
	}
	return opened, nil
}

// Key implements store.Opener: the file's absolute path, free of symbolic links.
func (b *Bolt) Key() string {
	path, err := filepath.Abs(b.Path)
	if err != nil { // there is no working folder
		return filepath.Clean(b.Path)
	}
	return resolve(path, maxLinks)
}

// Folder implements store.Opener: the one that the file is in.
func (b *Bolt) Folder() string { return filepath.Dir(b.Key()) }

// maxLinks is how many links to what is not there are followed, as Linux does.
const maxLinks = 40

// resolve follows symbolic links as far as the path exists.
func resolve(path string, links int) string {
	real, err := filepath.EvalSymlinks(path)
	if err == nil {
		return real
	}
	folder, name := filepath.Split(path)
	folder = filepath.Clean(folder)
	if !errors.Is(err, fs.ErrNotExist) || folder == path {
		return path
	}
	if to, err := os.Readlink(path); err == nil && links > 0 { // a link to what is not there
		if !filepath.IsAbs(to) {
			to = filepath.Join(resolve(folder, links-1), to)
		}
		return resolve(to, links-1)
	}
	return filepath.Join(resolve(folder, links), name)
}

var (
	_ caddy.Provisioner     = (*Bolt)(nil)
	_ caddyfile.Unmarshaler = (*Bolt)(nil)
	_ store.Opener          = (*Bolt)(nil)
)
