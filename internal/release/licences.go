package main

import (
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
)

// licencesFile has the licence texts of all modules in the binary: most licences want
// their text to come along with the work.
const licencesFile = "THIRD-PARTY-LICENSES.txt"

// licenceName is what files with licences and notices are called.
var licenceName = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|unlicense)([._-].*)?$`)

// writeLicences writes the licences of what is in the binary to a file.
func writeLicences(binary, to string) error {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return err
	}
	text, err := thirdPartyLicences(info)
	if err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o644)
}

// thirdPartyLicences are the licences and notices of the modules in the binary, and of
// Go's standard library, from the module cache. A module without one is an error.
func thirdPartyLicences(info *buildinfo.BuildInfo) ([]byte, error) {
	folders, err := moduleFolders(info)
	if err != nil {
		return nil, err
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("go env GOROOT: %w", err)
	}
	var all bytes.Buffer
	fmt.Fprintf(&all, "The program is made of the following modules. Their licences and notices:\n")
	if err := addLicences(&all, "The Go standard library, "+info.GoVersion, strings.TrimSpace(string(root))); err != nil {
		return nil, err
	}
	for _, dep := range info.Deps {
		if err := addLicences(&all, moduleID(dep), folders[moduleID(dep)]); err != nil {
			return nil, err
		}
	}
	return all.Bytes(), nil
}

func addLicences(all *bytes.Buffer, title, folder string) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return fmt.Errorf("licence of %s: %w", title, err)
	}
	found := false
	for _, entry := range entries {
		if entry.IsDir() || !licenceName.MatchString(entry.Name()) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(folder, entry.Name()))
		if err != nil {
			return err
		}
		found = true
		fmt.Fprintf(all, "\n%s\n%s: %s\n\n%s\n", strings.Repeat("=", 80), title, entry.Name(), bytes.TrimSpace(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))))
	}
	if !found {
		return fmt.Errorf("%s has no licence in %s", title, folder)
	}
	return nil
}

// moduleFolders are where the modules of the binary lie in the module cache.
func moduleFolders(info *buildinfo.BuildInfo) (map[string]string, error) {
	command := exec.Command("go", "list", "-m", "-json", "all")
	command.Env = append(os.Environ(), "GOFLAGS=-mod=readonly", "GOWORK=off")
	out, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("go list -m all: %w", err)
	}
	folders := map[string]string{}
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var m struct{ Path, Version, Dir string }
		if err := decoder.Decode(&m); errors.Is(err, io.EOF) {
			return folders, nil
		} else if err != nil {
			return nil, err
		}
		folders[m.Path+"@"+m.Version] = m.Dir
	}
}

// moduleID is path@version of what is really in the binary.
func moduleID(m *debug.Module) string {
	for m.Replace != nil {
		m = m.Replace
	}
	return m.Path + "@" + m.Version
}
