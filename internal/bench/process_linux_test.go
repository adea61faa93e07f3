package main

import (
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestChildRunsOnItsCoresOnly(t *testing.T) {
	own, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for core, want := range map[int]string{0: "0", allCores: coresOf(string(own))} {
		var out strings.Builder
		command := exec.Command("cat", "/proc/self/status")
		command.Stdout = &out
		exited, err := startPinned(command, core)
		if err != nil {
			t.Fatal(err)
		}
		<-exited
		if got := coresOf(out.String()); got != want {
			t.Errorf("told core %d it has %q, want %q", core, got, want)
		}
	}
}

// coresOf is the list of cores in a status file (proc(5)).
func coresOf(status string) string {
	_, list, _ := strings.Cut(status, "\nCpus_allowed_list:\t")
	cores, _, _ := strings.Cut(list, "\n")
	return cores
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

func TestWorkIsDoneOnEachCoreOnce(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]int{}
	cores := []int{0, runtime.NumCPU() - 1}
	err := onCores(cores, func() {
		status, err := os.ReadFile("/proc/thread-self/status")
		core := coresOf(string(status))
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			t.Error(err)
		}
		seen[core]++
	})
	want := map[string]int{}
	for _, core := range cores {
		want[strconv.Itoa(core)]++
	}
	if err != nil || !maps.Equal(seen, want) {
		t.Errorf("worked on %v, want %v: %v", seen, want, err)
	}
	if err := onCores([]int{0, 100_000}, func() {}); err == nil {
		t.Error("worked on a core that is not there")
	}
}

func TestRowsGetTheTokensThatTheyNeed(t *testing.T) {
	i, err := newIssuer()
	if err != nil {
		t.Fatal(err)
	}
	few, some := tokenRow("few", 0, 0, tokens{Algorithm: "EdDSA", Count: 2}), tokenRow("some", 0, 0, tokens{Algorithm: "EdDSA", Count: 5})
	o := options{gatewayCore: 0, loadCore: 0}
	if err := i.prepare(o, []row{few, some, sample}); err != nil {
		t.Fatal(err)
	}
	list := i.of(o, some)
	different := slices.Compact(slices.Sorted(slices.Values(list)))
	if len(list) != 5 || len(different) != 5 || slices.Contains(list, "") || !slices.Equal(i.of(o, few), list[:2]) {
		t.Errorf("made %q", list)
	}
	if len(i.of(o, sample)) != 0 {
		t.Error("a row without tokens has some")
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
