//go:build !windows && !solaris && !aix && !android

package bolt

import (
	"os"
	"syscall"
)

var noRoomHere []syscall.Errno

// abandon closes a file that bbolt does not let go of. Its mapping stays, and would keep
// it locked.
func abandon(file *os.File) error {
	syscall.Flock(int(file.Fd()), syscall.LOCK_UN)
	return file.Close()
}
