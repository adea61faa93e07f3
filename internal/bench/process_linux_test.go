package main

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestPinnedChildRunsOnItsCoreOnly(t *testing.T) {
	var out strings.Builder
	command := exec.Command("cat", "/proc/self/status")
	command.Stdout = &out
	exited, err := startPinned(command, 0)
	if err != nil {
		t.Fatal(err)
	}
	<-exited
	if !strings.Contains(out.String(), "\nCpus_allowed_list:\t0\n") {
		t.Errorf("the child's status:\n%s", out.String())
	}
}

func TestStartPinnedSaysWhatFailed(t *testing.T) {
	for name, core := range map[string]int{"/no/such/program": 0, "cat": 100_000} {
		exited, err := startPinned(exec.Command(name), core)
		if err == nil {
			t.Errorf("%s on core %d: started", name, core)
		}
		<-exited
	}
}

func TestCPUTimeAgreesWithRusage(t *testing.T) {
	for spin := time.Now(); time.Since(spin) < 50*time.Millisecond; {
	}
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	got, err := cpuTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	want := time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	if difference := (got - want).Abs(); difference > 25*time.Millisecond {
		t.Errorf("CPU time %s, rusage %s", got, want)
	}
	if got, err := cpuTime(1 << 28); err == nil {
		t.Errorf("a process that is not there used %s", got)
	}
}
