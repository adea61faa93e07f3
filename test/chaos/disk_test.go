package chaos

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// diskSize is enough for what a run writes, and soon filled.
const diskSize = "64m"

// disk is a folder for all that the gateway writes, if possible on a small disk of its own.
type disk struct {
	folder string
	own    bool
	why    string // it is not its own
}

func newDisk(t *testing.T) *disk {
	t.Helper()
	d := &disk{folder: t.TempDir()}
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		d.why = "a disk can be mounted by root on Linux only"
		return d
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "mode=700,size="+diskSize, "tmpfs", d.folder).CombinedOutput(); err != nil {
		d.why = "no disk can be mounted: " + string(out)
		return d
	}
	d.own = true
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", d.folder).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	return d
}

// fill leaves no room on the disk.
func (d *disk) fill() error {
	f, err := os.OpenFile(d.filler(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2 // what is left is smaller
		}
	}
	return nil
}

// empty takes away what fill has put there.
func (d *disk) empty() error {
	if err := os.Remove(d.filler()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func (d *disk) filler() string { return filepath.Join(d.folder, "filler") }
