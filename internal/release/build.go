package main

import (
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
)

// mainPackage is Caddy with its standard modules and rr.
const mainPackage = "./cmd/caddy"

// buildTags leave out the databases of Caddy's certificate authority that Caddy's own
// releases leave out too (xcaddy's default).
const buildTags = "nobadger,nomysql,nopgx"

// levels are the lowest processors of each architecture. Said, so that a variable of
// the builder's does not decide.
var levels = map[string]string{"amd64": "GOAMD64=v1", "arm64": "GOARM64=v8.0"}

// buildBinary builds from the checkout that is the working folder. Modules are those
// of go.sum; the version is the commit's tag, which the go command writes into the
// binary itself (-buildvcs). With a profile (.ci/pgo.sh) it is not what is published.
func buildBinary(p platform, profile, file string) error {
	level, known := levels[p.arch]
	if !known {
		return fmt.Errorf("%s: unknown architecture", p)
	}
	command := exec.Command("go", "build", "-buildvcs=true", "-trimpath", "-mod=readonly", "-tags="+buildTags, "-ldflags=-s -w", "-pgo="+profile, "-o", file, mainPackage)
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+p.os, "GOARCH="+p.arch, level, "GOFLAGS=-mod=readonly", "GOWORK=off", "GOFIPS140=off")
	command.Stdout, command.Stderr = os.Stderr, os.Stderr
	if err := command.Run(); err != nil {
		return fmt.Errorf("build for %s: %w", p, err)
	}
	return nil
}

// wantedSettings are how a binary for the platform says it was built.
func wantedSettings(p platform) map[string]string {
	settings := map[string]string{
		"-buildmode": "exe", "-compiler": "gc", "-tags": buildTags, "-trimpath": "true",
		"CGO_ENABLED": "0", "GOOS": p.os, "GOARCH": p.arch,
	}
	switch p.arch {
	case "amd64":
		settings["GOAMD64"] = "v1"
	case "arm64":
		settings["GOARM64"] = "v8.0"
	}
	return settings
}

// settingFaults are the differences between how the binary was built and how it should
// have been. Of the version control system only the commit counts, and it may be
// missing: in a source archive there is none.
func settingFaults(info *buildinfo.BuildInfo, p platform) []string {
	wanted := wantedSettings(p)
	var faults []string
	for _, s := range info.Settings {
		switch want, known := wanted[s.Key]; {
		case s.Key == "vcs" || s.Key == "vcs.revision" || s.Key == "vcs.time" || s.Key == "vcs.modified":
		case !known:
			faults = append(faults, fmt.Sprintf("built with %s=%s, which is not expected", s.Key, s.Value))
		case s.Value != want:
			faults = append(faults, fmt.Sprintf("built with %s=%s instead of %s", s.Key, s.Value, want))
		}
		delete(wanted, s.Key)
	}
	for key := range wanted {
		faults = append(faults, "not built with "+key+"="+wanted[key])
	}
	return faults
}

func setting(info *buildinfo.BuildInfo, key string) string {
	for _, s := range info.Settings {
		if s.Key == key {
			return s.Value
		}
	}
	return ""
}

// versionOf is the release that the binary says it is: the tag of its commit, a
// pseudo-version (golang.org/ref/mod) for a commit without one, "devel" without git.
func versionOf(info *buildinfo.BuildInfo) string {
	if info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "devel"
	}
	return info.Main.Version
}
