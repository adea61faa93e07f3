package bolt

import (
	"os"
	"syscall"
)

// noRoomHere are ERROR_HANDLE_DISK_FULL and ERROR_DISK_FULL.
var noRoomHere = []syscall.Errno{39, 112}

// abandon closes a file that bbolt does not let go of.
func abandon(file *os.File) error { return file.Close() }
