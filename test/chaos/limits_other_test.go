//go:build !linux

package chaos

import (
	"errors"
	"syscall"
)

// canLimit says that the limits of another process cannot be set here.
const canLimit = false

func descriptors(int) (int, error) { return 0, errors.New("not on this system") }

func limitDescriptors(int, uint64) (uint64, error) { return 0, errors.New("not on this system") }

// Signals that have a process stand still, and go on: not on every system.
const (
	standStill = syscall.Signal(0)
	goOn       = syscall.Signal(0)
)
