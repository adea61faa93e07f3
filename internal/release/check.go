package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	sumsFile   = "SHA256SUMS"
	sbomEnding = ".cdx.json"
)

// writeSums writes the checksums of all files in the folder, as `sha256sum -c` reads them.
func writeSums(folder string) error {
	entries, err := os.ReadDir(folder) // sorted by name
	if err != nil {
		return err
	}
	var sums bytes.Buffer
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(folder, entry.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(content), entry.Name())
	}
	return os.WriteFile(filepath.Join(folder, sumsFile), sums.Bytes(), 0o644)
}

// checkRelease gives everything that is wrong with a release as one error, and says on
// w what it has checked.
func checkRelease(folder string, w io.Writer) error {
	names, faults := checkSums(folder)
	archives := 0
	for _, name := range names {
		base, isArchive := strings.CutSuffix(name, tarEnding)
		if !isArchive {
			base, isArchive = strings.CutSuffix(name, zipEnding)
		}
		if !isArchive {
			continue
		}
		archives++
		modules, err := checkArchive(folder, name, base)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		fmt.Fprintf(w, "%s: %d modules, all in the bill of materials\n", name, modules)
	}
	if archives == 0 {
		faults = append(faults, fmt.Errorf("%s has no archive", folder))
	}
	return errors.Join(faults...)
}

// checkSums holds the folder's files against SHA256SUMS: each listed once, none besides.
func checkSums(folder string) (names []string, faults []error) {
	sums, err := os.ReadFile(filepath.Join(folder, sumsFile))
	entries, err2 := os.ReadDir(folder)
	if err := errors.Join(err, err2); err != nil {
		return nil, []error{err}
	}
	unlisted := map[string]bool{}
	for _, entry := range entries {
		unlisted[entry.Name()] = true
	}
	delete(unlisted, sumsFile)
	for lines := bufio.NewScanner(bytes.NewReader(sums)); lines.Scan(); {
		sum, name, ok := strings.Cut(lines.Text(), "  ")
		if !ok || !unlisted[name] {
			faults = append(faults, fmt.Errorf("%s: %q names no file, or one twice", sumsFile, lines.Text()))
			continue
		}
		delete(unlisted, name)
		content, err := os.ReadFile(filepath.Join(folder, name))
		if err == nil && fmt.Sprintf("%x", sha256.Sum256(content)) != sum {
			err = fmt.Errorf("%s is not the file that %s has the sum of", name, sumsFile)
		}
		if err != nil {
			faults = append(faults, err)
		}
		names = append(names, name)
	}
	for name := range unlisted {
		faults = append(faults, fmt.Errorf("%s is missing in %s", name, sumsFile))
	}
	return names, faults
}

// checkArchive holds an archive against its name, its binary and its bill of materials,
// and gives how many modules the binary has.
func checkArchive(folder, name, base string) (modules int, err error) {
	parts := strings.Split(base, "_")
	if len(parts) != 4 || parts[0] != product {
		return 0, fmt.Errorf("%s is not named %s_VERSION_OS_ARCH", name, product)
	}
	version, p := parts[1], platform{parts[2], parts[3]}
	files, err := readArchive(filepath.Join(folder, name), base)
	if err != nil {
		return 0, err
	}
	faults := fileFaults(files, p)
	info, err := buildinfo.Read(bytes.NewReader(files[binaryName(p)].content))
	if err != nil {
		return 0, fmt.Errorf("%s: %s: %w", name, binaryName(p), err)
	}
	if versionOf(info) != version {
		faults = append(faults, fmt.Sprintf("its binary is version %s", versionOf(info)))
	}
	faults = append(faults, settingFaults(info, p)...)
	faults = append(faults, pathFaults(files[binaryName(p)].content)...)
	bill, err := os.ReadFile(filepath.Join(folder, base+sbomEnding))
	if err == nil {
		faults = append(faults, billFaults(bill, info, version)...)
	}
	for _, dep := range info.Deps {
		if !bytes.Contains(files[licencesFile].content, []byte("\n"+moduleID(dep)+": ")) {
			faults = append(faults, "no licence of "+moduleID(dep)+" in "+licencesFile)
		}
	}
	errs := []error{err}
	for _, fault := range faults {
		errs = append(errs, fmt.Errorf("%s: %s", name, fault))
	}
	return len(info.Deps), errors.Join(errs...)
}

// fileFaults are files of an archive that are missing, unexpected or of another mode.
func fileFaults(files map[string]file, p platform) []string {
	wanted := map[string]fs.FileMode{binaryName(p): 0o755, "LICENSE": 0o644, "README.md": 0o644, licencesFile: 0o644}
	if p.os == "linux" {
		wanted[filepath.Base(unitFile)] = 0o644
	}
	var faults []string
	for _, f := range files {
		if mode, known := wanted[f.name]; !known || f.mode != mode {
			faults = append(faults, fmt.Sprintf("%s with mode %s is not expected", f.name, f.mode))
		}
		delete(wanted, f.name)
	}
	for name := range wanted {
		faults = append(faults, name+" is missing")
	}
	return faults
}

// pathFaults are folders of this machine that the binary has in it: whoever builds in
// others gets another file, and it is nobody's business.
func pathFaults(binary []byte) []string {
	var faults []string
	here, _ := os.Getwd()
	home, _ := os.UserHomeDir()
	for _, folder := range []string{here, filepath.Join(home, "go", "pkg", "mod"), os.Getenv("GOMODCACHE"), os.TempDir() + "/rr-release-"} {
		if len(folder) > 4 && bytes.Contains(binary, []byte(folder)) {
			faults = append(faults, "the binary has the path "+folder+" in it")
		}
	}
	return faults
}

// bill is what is read of a CycloneDX bill of materials.
type bill struct {
	BOMFormat string `json:"bomFormat"`
	Metadata  struct {
		Component component `json:"component"`
	} `json:"metadata"`
	Components []component `json:"components"`
}

type component struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// billFaults are the differences between a bill of materials and the modules that the
// binary says it has.
func billFaults(text []byte, info *buildinfo.BuildInfo, version string) []string {
	var b bill
	if err := json.Unmarshal(text, &b); err != nil || b.BOMFormat != "CycloneDX" {
		return []string{fmt.Sprintf("the bill of materials is no CycloneDX: %v", err)}
	}
	var faults []string
	if b.Metadata.Component != (component{info.Main.Path, version}) {
		faults = append(faults, fmt.Sprintf("the bill of materials is of %v", b.Metadata.Component))
	}
	missing := map[string]bool{"std@" + info.GoVersion: true}
	for _, dep := range info.Deps {
		missing[moduleID(dep)] = true
	}
	for _, c := range b.Components {
		id := c.Name + "@" + c.Version
		if !missing[id] {
			faults = append(faults, id+" is in the bill of materials, but not in the binary, or twice")
		}
		delete(missing, id)
	}
	for _, id := range slices.Sorted(maps.Keys(missing)) {
		faults = append(faults, id+" is missing in the bill of materials")
	}
	return faults
}
