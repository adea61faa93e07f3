//go:build !linux

package main

import (
	"errors"
	"os/exec"
	"time"
)

var errNotLinux = errors.New("the benchmark binds processes to cores and reads their CPU clocks, which it can do on Linux only")

func pinSelf(int) error { return errNotLinux }

func startPinned(*exec.Cmd, int) (<-chan struct{}, error) { return nil, errNotLinux }

func onCores([]int, func()) error { return errNotLinux }

func cpuTime(int) (time.Duration, error) { return 0, errNotLinux }

func threadTime() (time.Duration, error) { return 0, errNotLinux }

func peakMemory(int) (float64, error) { return 0, errNotLinux }
