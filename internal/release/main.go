// Command release makes what is published, and checks it.
//
//	release binary [-os OS] [-arch ARCH] [-licences FILE] [-pgo FILE] -o FILE
//	release archives [-version V] [-platforms OS/ARCH,…] [-out FOLDER]
//	release check [FOLDER]
//
// binary is Caddy with rr as it is published: the one place that says how. It is the
// same file, to the byte, whoever builds it in whatever folder, if commit, tag and
// version of Go are the same; the container image is built with it too.
//
// archives makes, for each platform, an archive with the binary and the licences of
// all that is in it, and a bill of materials (CycloneDX); then SHA256SUMS over them
// all. check holds such a folder against what the binaries in it say of themselves.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
)

// noProfile is the go command's word for a build without profile-guided optimization.
const noProfile = "off"

// platforms are those that a release is made for.
const platforms = "linux/amd64,linux/arm64,darwin/amd64,darwin/arm64,windows/amd64,windows/arm64"

// defaultFolder is where a release is made, from the top of the checkout.
const defaultFolder = "bin/release"

func main() {
	err := errors.New("say what to do: binary, archives or check")
	if len(os.Args) > 1 {
		err = run(os.Args[1], os.Args[2:])
	}
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(command string, args []string) error {
	flags := flag.NewFlagSet("release "+command, flag.ContinueOnError)
	switch command {
	case "binary":
		goos := flags.String("os", runtime.GOOS, "operating system, as GOOS")
		arch := flags.String("arch", runtime.GOARCH, "processor, as GOARCH")
		file := flags.String("o", "", "the `file` to write")
		profile := flags.String("pgo", noProfile, "a CPU profile `file` to optimize with, to try out what that gives")
		licences := flags.String("licences", "", "another `file`, for the licences of all that is in it")
		if err := flags.Parse(args); err != nil {
			return err
		}
		if *file == "" || flags.NArg() > 0 {
			return errors.New("binary: -o FILE is needed, and nothing else")
		}
		err := buildBinary(platform{*goos, *arch}, *profile, *file)
		if err == nil && *licences != "" {
			err = writeLicences(*file, *licences)
		}
		return err
	case "archives":
		version := flags.String("version", "", "fail unless the checkout is this `version`")
		list := flags.String("platforms", platforms, "comma-separated OS/ARCH")
		out := flags.String("out", defaultFolder, "`folder` to write to; what is in it is deleted")
		if err := flags.Parse(args); err != nil {
			return err
		}
		if flags.NArg() > 0 {
			return fmt.Errorf("archives: unexpected %q", flags.Args())
		}
		wanted, err := parsePlatforms(*list)
		if err != nil {
			return err
		}
		return makeRelease(*version, wanted, *out)
	case "check":
		if err := flags.Parse(args); err != nil {
			return err
		}
		folder := defaultFolder
		if flags.NArg() > 0 {
			folder = flags.Arg(0)
		}
		return checkRelease(folder, os.Stdout)
	}
	return fmt.Errorf("unknown command %q", command)
}

// platform is what a binary runs on.
type platform struct{ os, arch string }

func (p platform) String() string { return p.os + "/" + p.arch }

func parsePlatforms(list string) ([]platform, error) {
	var wanted []platform
	for _, item := range strings.Split(list, ",") {
		goos, arch, ok := strings.Cut(item, "/")
		if !ok || goos == "" || arch == "" {
			return nil, fmt.Errorf("platform %q: it must be OS/ARCH", item)
		}
		wanted = append(wanted, platform{goos, arch})
	}
	return wanted, nil
}
