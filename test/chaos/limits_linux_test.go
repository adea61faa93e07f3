package chaos

import (
	"fmt"
	"os"
	"syscall"
	"unsafe"
)

// canLimit says that the limits of another process can be set here.
const canLimit = true

// descriptors is how many file descriptors a process has open.
func descriptors(pid int) (int, error) {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return len(entries), err
}

// limitDescriptors sets how many descriptors a process may have, and returns how many it
// might before (prlimit(2)).
func limitDescriptors(pid int, limit uint64) (before uint64, err error) {
	var old syscall.Rlimit
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(pid), syscall.RLIMIT_NOFILE, 0, uintptr(unsafe.Pointer(&old)), 0, 0); errno != 0 {
		return 0, errno
	}
	set := syscall.Rlimit{Cur: limit, Max: old.Max}
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(pid), syscall.RLIMIT_NOFILE, uintptr(unsafe.Pointer(&set)), 0, 0, 0); errno != 0 {
		return 0, errno
	}
	return old.Cur, nil
}

// Signals that have a process stand still, and go on.
const (
	standStill = syscall.SIGSTOP
	goOn       = syscall.SIGCONT
)
