package main

import (
	"debug/buildinfo"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// about is what figures are worth nothing without.
type about struct {
	Date    string   `json:"date"`
	Machine string   `json:"machine"`
	Go      string   `json:"go"`    // that built the measured Caddy
	Caddy   string   `json:"caddy"` // the module's version in it
	Peers   []string `json:"peers,omitempty"`
	Missing []string `json:"missing,omitempty"` // rows whose program is not installed
	Command string   `json:"command"`
}

func describe(o options, series []part, missing []string) (about, error) {
	a := about{Date: time.Now().Format(time.DateOnly), Machine: machine(), Missing: missing, Command: strings.TrimSpace("make bench BENCHFLAGS='" + o.given + "'")}
	if o.given == "" {
		a.Command = "make bench"
	}
	built, err := buildinfo.ReadFile(o.caddy)
	if err != nil {
		return a, fmt.Errorf("%w (`make caddy` builds it)", err)
	}
	a.Go = strings.TrimPrefix(built.GoVersion, "go")
	for _, d := range built.Deps {
		if d.Path == "github.com/caddyserver/caddy/v2" {
			a.Caddy = strings.TrimPrefix(d.Version, "v")
		}
	}
	for _, p := range series {
		for _, r := range p.selected {
			if r.Program.Name == "" {
				continue
			}
			if version := r.Program.version(); !slices.Contains(a.Peers, version) {
				a.Peers = append(a.Peers, version)
			}
		}
	}
	return a, nil
}

func (a about) peers() string {
	if len(a.Peers) == 0 {
		return ""
	}
	return ", " + strings.Join(a.Peers, ", ")
}

// machine is the processor, how many cores of it there are, and the system. This process
// may be bound to one of them, so the runtime does not know.
func machine() string {
	name, virtual, cores := runtime.GOARCH, "", 0
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		key, value, _ := strings.Cut(line, ":")
		switch strings.TrimSpace(key) {
		case "processor":
			cores++
		case "model name":
			name = strings.TrimSpace(value)
		case "flags":
			if slices.Contains(strings.Fields(value), "hypervisor") {
				virtual = "virtual "
			}
		}
	}
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	numbers := strings.SplitN(string(release), ".", 3)
	return fmt.Sprintf("%d %scores of %s, Linux %s", max(cores, 1), virtual, name, strings.Join(numbers[:min(2, len(numbers))], "."))
}
