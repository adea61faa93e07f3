package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// pinnedVariable tells the program, once it runs pinned, that it does.
const pinnedVariable = "RR_BENCH_PINNED"

// pinSelf makes this whole process run on one core. Affinity belongs to threads
// and the runtime already has several, so the program starts itself anew, in the
// same process, from a thread that has it (sched_setaffinity(2): kept over
// execve(2)).
func pinSelf(core int) error {
	if os.Getenv(pinnedVariable) != "" {
		return nil
	}
	runtime.LockOSThread()
	if err := setAffinity(core); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return syscall.Exec(self, os.Args, append(os.Environ(), pinnedVariable+"=1"))
}

// startPinned starts the command on one core, or on allCores, and closes exited when it
// has ended.
// A child has the affinity of the thread that made it, and is killed when that
// thread ends (PR_SET_PDEATHSIG): so the thread is kept until the child is gone,
// and a gateway never outlives the benchmark, however that dies.
func startPinned(command *exec.Cmd, core int) (exited <-chan struct{}, err error) {
	started, ended := make(chan error), make(chan struct{})
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	go func() {
		defer close(ended)
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		if err := setAffinity(core); err != nil {
			started <- err
			return
		}
		err := command.Start()
		started <- err
		if err == nil {
			_ = command.Wait()
		}
	}()
	return ended, <-started
}

// onCores does the work on each of the cores at the same time, although the program
// itself runs on one.
func onCores(cores []int, work func()) error {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(len(cores)))
	done := make(chan error)
	for _, core := range cores {
		go func() {
			runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
			err := setAffinity(core)
			if err == nil {
				work()
			}
			done <- err
		}()
	}
	var failed []error
	for range cores {
		failed = append(failed, <-done)
	}
	return errors.Join(failed...)
}

// setAffinity binds the calling thread to one core, or to allCores that the system lets
// this process have.
func setAffinity(core int) error {
	var mask [16]uint64 // 1,024 cores, the size glibc uses
	switch {
	case core == allCores:
		for i := range mask {
			mask[i] = ^uint64(0)
		}
	case core < 0 || core >= len(mask)*64:
		return fmt.Errorf("core %d is out of range", core)
	default:
		mask[core/64] = 1 << (core % 64)
	}
	_, _, errno := syscall.RawSyscall(syscall.SYS_SCHED_SETAFFINITY, 0, unsafe.Sizeof(mask), uintptr(unsafe.Pointer(&mask)))
	if errno != 0 {
		return fmt.Errorf("bind to core %d: %w (choose cores with -gateway-core and -load-core)", core, errno)
	}
	return nil
}

// cpuTime is the user and system time that the process has used, to the
// nanosecond: its CPU-time clock (clock_getcpuclockid(3)), since the counters in
// /proc/PID/stat move in steps of 10 ms.
func cpuTime(pid int) (time.Duration, error) {
	const scheduledTime = 2 // CPUCLOCK_SCHED in the kernel's posix-timers.h
	return clockTime(int32(^pid<<3 | scheduledTime))
}

// threadTime is the user and system time that the calling thread has used.
func threadTime() (time.Duration, error) {
	const ownThread = 3 // CLOCK_THREAD_CPUTIME_ID
	return clockTime(ownThread)
}

func clockTime(clock int32) (time.Duration, error) {
	var now syscall.Timespec
	_, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, uintptr(clock), uintptr(unsafe.Pointer(&now)), 0)
	if errno != 0 {
		return 0, fmt.Errorf("cpu time by clock %d: %w", clock, errno)
	}
	return time.Duration(now.Nano()), nil
}

// peakMemory is the most resident memory that the process has had, in bytes (VmHWM in
// proc_pid_status(5)).
func peakMemory(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		var kibibytes float64
		if n, _ := fmt.Sscanf(line, "VmHWM: %f kB", &kibibytes); n == 1 {
			return kibibytes * 1024, nil
		}
	}
	return 0, fmt.Errorf("the kernel does not tell the memory of process %d", pid)
}
