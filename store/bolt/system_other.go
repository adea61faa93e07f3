//go:build solaris || aix || android

package bolt

import (
	"os"
	"syscall"
)

var noRoomHere []syscall.Errno

// abandon closes a file that bbolt does not let go of.
func abandon(file *os.File) error { return file.Close() }
