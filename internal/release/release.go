package main

import (
	"bytes"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// product is what archives are named after.
const product = "caddy-rr"

// unitFile is the systemd unit, in archives for Linux.
const unitFile = "packaging/systemd/caddy-rr.service"

// sbomTool writes the bill of materials of a binary; `make tools` builds it.
const sbomTool = "bin/cyclonedx-gomod"

// makeRelease fills the folder. Everything is named after the version that the
// binaries themselves have; with a version wanted, it must be that one.
func makeRelease(wantVersion string, wanted []platform, folder string) error {
	if err := emptyFolder(folder); err != nil {
		return err
	}
	for _, p := range wanted {
		if err := releasePlatform(wantVersion, p, folder); err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
	}
	return writeSums(folder)
}

// emptyFolder deletes an earlier release. What does not look like one stays, and is an
// error: the folder is a flag, and a mistake in it must not cost anybody's files.
func emptyFolder(folder string) error {
	entries, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, entry := range entries {
		name := entry.Name()
		if entry.IsDir() || name != sumsFile && !strings.HasPrefix(name, product+"_") {
			return fmt.Errorf("%s has %s, which is not of a release: choose another folder", folder, name)
		}
	}
	for _, entry := range entries {
		if err := os.Remove(filepath.Join(folder, entry.Name())); err != nil {
			return err
		}
	}
	return os.MkdirAll(folder, 0o755)
}

func releasePlatform(wantVersion string, p platform, folder string) error {
	work, err := os.MkdirTemp("", "rr-release-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	binary := filepath.Join(work, binaryName(p))
	if err := buildBinary(p, noProfile, binary); err != nil {
		return err
	}
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return err
	}
	version := versionOf(info)
	if wantVersion != "" && version != wantVersion {
		return fmt.Errorf("this checkout is %s, not %s: a release is made from a clean clone with the tag on its commit", version, wantVersion)
	}
	if err := sameToolchain(wantVersion, info); err != nil {
		return err
	}
	name := fmt.Sprintf("%s_%s_%s_%s", product, version, p.os, p.arch)
	licences, err := thirdPartyLicences(info)
	if err != nil {
		return err
	}
	files, err := archiveFiles(p, binary, licences)
	if err != nil {
		return err
	}
	if err := writeArchive(filepath.Join(folder, name+archiveEnding(p)), name, files, commitTime(info)); err != nil {
		return err
	}
	return writeSBOM(binary, version, filepath.Join(folder, name+sbomEnding))
}

// sameToolchain refuses to release what another version of Go has built than the one that
// go.mod names: others could not build the same file.
func sameToolchain(wantVersion string, info *buildinfo.BuildInfo) error {
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		return err
	}
	toolchain := toolchainLine.FindSubmatch(mod)
	if wantVersion != "" && toolchain != nil && string(toolchain[1]) != info.GoVersion {
		return fmt.Errorf("built with %s, but go.mod says %s: set GOTOOLCHAIN=%[2]s", info.GoVersion, toolchain[1])
	}
	return nil
}

var toolchainLine = regexp.MustCompile(`(?m)^toolchain (\S+)`)

func binaryName(p platform) string {
	if p.os == "windows" {
		return "caddy.exe"
	}
	return "caddy"
}

// archiveFiles are what an archive holds.
func archiveFiles(p platform, binary string, licences []byte) ([]file, error) {
	files := []file{{name: licencesFile, mode: 0o644, content: licences}}
	sources := map[string]string{binaryName(p): binary, "LICENSE": "LICENSE", "README.md": "README.md"}
	if p.os == "linux" {
		sources[filepath.Base(unitFile)] = unitFile
	}
	for name, source := range sources {
		content, err := os.ReadFile(source)
		if err != nil {
			return nil, err
		}
		mode := fs.FileMode(0o644)
		if source == binary {
			mode = 0o755
		}
		files = append(files, file{name, mode, content})
	}
	return files, nil
}

// commitTime is the modification time of all files in an archive: when the commit was
// made, and without git a fixed day that zip can express.
func commitTime(info *buildinfo.BuildInfo) time.Time {
	at, err := time.Parse(time.RFC3339, setting(info, "vcs.time"))
	if err != nil {
		return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	return at.UTC()
}

// writeSBOM has the bill of materials written: no serial number and no time, so that
// it is the same each time; the standard library is in it, since vulnerabilities are
// found there too. Licences come from the module cache only.
func writeSBOM(binary, version, path string) error {
	command := exec.Command(sbomTool, "bin", "-json", "-noserial", "-notimestamp", "-licenses", "-std", "-version", version, "-output", path, binary)
	command.Env = append(os.Environ(), "GOPROXY=off", "GOFLAGS=-mod=mod")
	var said bytes.Buffer
	command.Stdout, command.Stderr = &said, &said
	if err := command.Run(); err != nil {
		return fmt.Errorf("%s: %w (is it built? `make tools`)\n%s", sbomTool, err, said.Bytes())
	}
	return nil
}
