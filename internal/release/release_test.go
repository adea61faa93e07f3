package main

import (
	"bytes"
	"cmp"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
)

// checkout makes a small program with all that a release needs, commits and tags it,
// and makes it the working folder. Its tool for bills of materials writes this one.
func checkout(t *testing.T, bill string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, content := range map[string]string{
		".gitignore":        "/bin/\n",
		"go.mod":            "module example.com/gateway\n\ngo 1.26.0\n",
		"cmd/caddy/main.go": "package main\n\nfunc main() {}\n",
		"LICENSE":           "ours",
		"README.md":         "read",
		unitFile:            "[Service]\n",
		sbomTool:            "#!/bin/sh\nwhile [ \"$1\" != -output ]; do shift; done\ncat >\"$2\" <<'END'\n" + bill + "\nEND\n",
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	git(t, "init", "-q")
	git(t, "add", ".")
	git(t, "-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-q", "-m", "first")
	git(t, "tag", "v1.2.3")
}

func git(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("git", args...).CombinedOutput(); err != nil {
		t.Fatalf("git %s: %v\n%s", args, err, out)
	}
}

func goodBill() string {
	return `{"bomFormat": "CycloneDX", "metadata": {"component": {"name": "example.com/gateway", "version": "v1.2.3"}},
		"components": [{"name": "std", "version": "` + runtime.Version() + `"}]}`
}

// TestRelease makes a release for two systems twice, finds it good and the same, and
// then finds each thing that can be wrong with it.
func TestRelease(t *testing.T) {
	checkout(t, goodBill())
	wanted := []platform{{"linux", "amd64"}, {"windows", "amd64"}}
	for _, folder := range []string{"bin/one", "bin/two"} {
		if err := makeRelease("v1.2.3", wanted, folder); err != nil {
			t.Fatal(err)
		}
		if err := checkRelease(folder, io.Discard); err != nil {
			t.Errorf("a good release: %v", err)
		}
	}
	if one, two := read(t, "bin/one/"+sumsFile), read(t, "bin/two/"+sumsFile); one != two || strings.Count(one, "\n") != 4 {
		t.Errorf("two releases of one commit are not the same:\n%s%s", one, two)
	}
	const folder = "bin/spoilt"
	const archive, otherBill = folder + "/caddy-rr_v1.2.3_linux_amd64.tar.gz", folder + "/caddy-rr_v1.2.3_linux_amd64.cdx.json"
	for _, c := range []struct {
		name    string
		spoil   func() error
		keepSum bool
		fault   string
	}{
		{"another file", func() error { return os.WriteFile(otherBill, nil, 0o644) }, true, "is not the file that"},
		{"an unlisted file", func() error { return os.WriteFile(folder+"/caddy-rr_more", nil, 0o644) }, true, "caddy-rr_more is missing in SHA256SUMS"},
		{"a lost file", func() error { return os.Remove(otherBill) }, true, "names no file"},
		{"no archive", func() error {
			return errors.Join(os.RemoveAll(folder), os.Mkdir(folder, 0o755))
		}, false, "has no archive"},
		{"a foreign bill", func() error {
			return os.WriteFile(otherBill, []byte(strings.ReplaceAll(goodBill(), "gateway", "other")), 0o644)
		}, false, "bill of materials is of {example.com/other v1.2.3}"},
		{"an archive of another version", func() error {
			return os.Rename(archive, strings.ReplaceAll(archive, "1.2.3", "1.2.4"))
		}, false, "is not directly in the folder"},
		{"a name that says nothing", func() error { return os.Rename(archive, folder+"/caddy-rr_x.tar.gz") }, false, "is not named"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := errors.Join(os.RemoveAll(folder), os.CopyFS(folder, os.DirFS("bin/one"))); err != nil {
				t.Fatal(err)
			}
			if err := c.spoil(); err != nil {
				t.Fatal(err)
			}
			if !c.keepSum {
				_ = os.Remove(folder + "/" + sumsFile)
				if err := writeSums(folder); err != nil {
					t.Fatal(err)
				}
			}
			expect(t, checkRelease(folder, io.Discard), c.fault)
		})
	}
}

// TestReleaseOfAnotherCheckout: a release is of a tagged commit and of nothing else.
func TestReleaseOfAnotherCheckout(t *testing.T) {
	checkout(t, goodBill())
	host := []platform{{runtime.GOOS, runtime.GOARCH}}
	expect(t, makeRelease("v1.2.4", host, "bin/release"), "this checkout is v1.2.3, not v1.2.4")
	if err := os.WriteFile("cmd/caddy/more.go", []byte("package main\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	expect(t, makeRelease("v1.2.3", host, "bin/release"), "+dirty, not v1.2.3")
}

// TestReleaseOfAnotherGo: the version of Go is the one that the commit names, and so is the one
// of the image that the container's binary is built in.
func TestReleaseOfAnotherGo(t *testing.T) {
	mod, container := read(t, "../../go.mod"), read(t, "../../Containerfile")
	if m := toolchainLine.FindStringSubmatch(mod); m == nil || !strings.Contains(container, "golang:"+strings.TrimPrefix(m[1], "go")+"\n") {
		t.Errorf("go.mod has %q, and Containerfile another version", m)
	}
	checkout(t, goodBill())
	info := &buildinfo.BuildInfo{GoVersion: "go1.26.1"}
	for line, want := range map[string]string{"": "", "\ntoolchain go1.26.1\n": "", "\ntoolchain go1.26.2\n": "built with go1.26.1, but go.mod says go1.26.2"} {
		if err := os.WriteFile("go.mod", []byte("module example.com/gateway\n\ngo 1.26.0\n"+line), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := sameToolchain("v1.2.3", info); want != "" || err != nil {
			expect(t, err, cmp.Or(want, "no error"))
		}
		if err := sameToolchain("", info); err != nil {
			t.Errorf("without a version any Go will do: %v", err)
		}
	}
}

func TestFolderWithOtherFilesIsKept(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "thesis.txt"), []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	expect(t, emptyFolder(folder), "thesis.txt")
	if read(t, filepath.Join(folder, "thesis.txt")) != "mine" {
		t.Error("the file is gone")
	}
}

func TestBill(t *testing.T) {
	info := &buildinfo.BuildInfo{GoVersion: "go1.26.8"}
	info.Main.Path = "example.com/gateway"
	info.Deps = append(info.Deps, &debug.Module{Path: "example.com/a", Version: "v1.0.0"}, &debug.Module{Path: "example.com/b", Version: "v2.0.0"})
	info.Deps[1].Replace = &debug.Module{Path: "example.com/fork", Version: "v2.0.1"}
	bill := func(components ...string) []byte {
		text := `{"bomFormat": "CycloneDX", "metadata": {"component": {"name": "example.com/gateway", "version": "v1.0.0"}}, "components": [`
		for i, id := range components {
			name, version, _ := strings.Cut(id, "@")
			text += strings.Repeat(",", min(i, 1)) + fmt.Sprintf(`{"name": %q, "version": %q}`, name, version)
		}
		return []byte(text + "]}")
	}
	const std, a, fork = "std@go1.26.8", "example.com/a@v1.0.0", "example.com/fork@v2.0.1"
	for _, c := range []struct {
		name  string
		bill  []byte
		fault string
	}{
		{"all", bill(std, a, fork), ""},
		{"one is missing", bill(std, fork), a + " is missing"},
		{"the standard library is missing", bill(a, fork), std + " is missing"},
		{"another version", bill(std, "example.com/a@v1.0.1", fork), "example.com/a@v1.0.1 is in the bill of materials, but not"},
		{"one too many", bill(std, a, fork, "example.com/c@v1.0.0"), "example.com/c@v1.0.0 is in the bill of materials, but not"},
		{"one twice", bill(std, a, a, fork), a + " is in the bill of materials, but not in the binary, or twice"},
		{"what was replaced", bill(std, a, fork, "example.com/b@v2.0.0"), "example.com/b@v2.0.0 is in"},
		{"no bill", []byte(`{"spdxVersion": "SPDX-2.3"}`), "is no CycloneDX"},
	} {
		t.Run(c.name, func(t *testing.T) {
			faults := strings.Join(billFaults(c.bill, info, "v1.0.0"), "; ")
			if (c.fault == "") != (faults == "") || !strings.Contains(faults, c.fault) {
				t.Errorf("faults %q, want %q", faults, c.fault)
			}
		})
	}
}

func TestSettings(t *testing.T) {
	p := platform{"linux", "arm64"}
	for _, c := range []struct{ key, value, fault string }{
		{"vcs.revision", "0123", ""},
		{"CGO_ENABLED", "1", "built with CGO_ENABLED=1 instead of 0"},
		{"-tags", "", "built with -tags= instead of " + buildTags},
		{"-race", "true", "built with -race=true, which is not expected"},
		{"GOEXPERIMENT", "x", "built with GOEXPERIMENT=x, which is not expected"},
		{"GOARM64", "v9.0", "built with GOARM64=v9.0 instead of v8.0"},
		{"-trimpath", "", "built with -trimpath= instead of true"},
	} {
		settings := wantedSettings(p)
		settings[c.key] = c.value
		info := &buildinfo.BuildInfo{}
		for key, value := range settings {
			info.Settings = append(info.Settings, debug.BuildSetting{Key: key, Value: value})
		}
		if faults := strings.Join(settingFaults(info, p), "; "); faults != c.fault {
			t.Errorf("%s=%s: %q, want %q", c.key, c.value, faults, c.fault)
		}
	}
	if faults := settingFaults(&buildinfo.BuildInfo{}, p); len(faults) != len(wantedSettings(p)) {
		t.Errorf("a binary that says nothing: %q", faults)
	}
}

// TestPaths: a folder of this machine in a binary is found.
func TestPaths(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if faults := pathFaults([]byte("\x00" + here + "/build.go\x00")); len(faults) != 1 {
		t.Errorf("%q", faults)
	}
	if faults := pathFaults([]byte("github.com/caddy-rr/caddy-rr/internal/release/build.go")); len(faults) != 0 {
		t.Errorf("%q", faults)
	}
}

func TestPlatforms(t *testing.T) {
	if wanted, err := parsePlatforms(platforms); err != nil || len(wanted) != 6 {
		t.Errorf("%v %v", wanted, err)
	}
	for _, bad := range []string{"", "linux", "linux/amd64,", "/amd64"} {
		if _, err := parsePlatforms(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	expect(t, buildBinary(platform{"linux", "mips"}, noProfile, filepath.Join(t.TempDir(), "x")), "unknown architecture")
}

func TestLicences(t *testing.T) {
	folder := t.TempDir()
	var all bytes.Buffer
	expect(t, addLicences(&all, "m@v1", folder), "has no licence")
	for _, name := range []string{"LICENSE.md", "Notice", "COPYING.LESSER", "licensing.go", "README"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte("text of "+name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := addLicences(&all, "m@v1", folder); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"LICENSE.md": true, "Notice": true, "COPYING.LESSER": true, "licensing.go": false, "README": false} {
		if strings.Contains(all.String(), "text of "+name) != want {
			t.Errorf("%s: %t expected in %q", name, want, all.String())
		}
	}
}

func expect(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want one with %q", err, want)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
