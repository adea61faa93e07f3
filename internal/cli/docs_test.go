package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// commands calls f with all commands of rr that do something, and their names.
func commands(f func(name string, cmd *cobra.Command)) {
	root := &cobra.Command{Use: "rr"}
	populate(root, newSession())
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		if !cmd.HasSubCommands() {
			f(cmd.CommandPath(), cmd)
		}
		for _, c := range cmd.Commands() {
			walk(c)
		}
	}
	walk(root)
}

// flagsOf are a command's flags, those of its group too.
func flagsOf(cmd *cobra.Command) []string {
	flags := regexp.MustCompile(`(?m)^ +(?:-\w, )?--([a-z-]+)`).FindAllStringSubmatch(cmd.LocalFlags().FlagUsages()+cmd.InheritedFlags().FlagUsages(), -1)
	var names []string
	for _, m := range flags {
		names = append(names, m[1])
	}
	return names
}

// TestEveryFlagIsTried looks for each flag in the scripts: with its command, or, as the
// commands are made of the same parts, with the same verb or for the same kind of records.
// The flags of the connection are tried with any command.
func TestEveryFlagIsTried(t *testing.T) {
	tried := map[string]bool{}
	for _, line := range triedLines(t) {
		args := words(line)
		for _, arg := range args {
			flag, _, _ := strings.Cut(arg, "=")
			if strings.HasPrefix(flag, "-") {
				tried[args[0]+" "+flag], tried[args[min(1, len(args)-1)]+" "+flag], tried[flag] = true, true, true
			}
		}
	}
	reaching := &cobra.Command{}
	new(connection).addFlags(reaching, false)
	commands(func(name string, cmd *cobra.Command) {
		if name == "rr keygen" || name == "rr check" {
			return // they have tests of their own
		}
		for _, flag := range flagsOf(cmd) {
			found := reaching.Flag(flag) != nil && tried["--"+flag]
			for _, part := range strings.Fields(name) {
				found = found || tried[part+" --"+flag] || tried[part+" -"+cmd.Flag(flag).Shorthand]
			}
			if !found {
				t.Errorf("%s --%s is not tried", name, flag)
			}
		}
	})
}

// triedLines are the commands of the scripts.
func triedLines(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, file := range files {
		for _, m := range regexp.MustCompile(`(?m)^\$ (?:.* )?rr (.*)$`).FindAllStringSubmatch(string(mustRead(t, file)), -1) {
			lines = append(lines, m[1])
		}
	}
	return lines
}

// TestDocs looks for each command and flag in docs/cli.md, with an example of the command,
// and for each flag of docs/cli.md in the commands.
func TestDocs(t *testing.T) {
	docs := string(mustRead(t, "../../docs/cli.md"))
	real := map[string]bool{}
	commands(func(name string, cmd *cobra.Command) {
		if !regexp.MustCompile(`caddy ` + name + `\b`).MatchString(docs) {
			t.Errorf("docs/cli.md has no example of caddy %s", name)
		}
		for _, flag := range flagsOf(cmd) {
			real[flag] = true
			if !regexp.MustCompile("--" + flag + `\b`).MatchString(docs) {
				t.Errorf("docs/cli.md has no --%s (%s)", flag, name)
			}
		}
	})
	for _, m := range regexp.MustCompile(`--([a-z][a-z-]*)`).FindAllStringSubmatch(docs, -1) {
		if !real[m[1]] {
			t.Errorf("docs/cli.md has --%s, which no command has", m[1])
		}
	}
}

// TestExamplesParse reads the examples of help and of docs/cli.md: their commands and flags
// exist.
func TestExamplesParse(t *testing.T) {
	text := strings.ReplaceAll(string(mustRead(t, "../../docs/cli.md")), "\\\n", " ")
	docs := strings.Join(regexp.MustCompile(`(?m)^\$ .*$`).FindAllString(text, -1), "\n")
	if n := parseExamples(t, docs, ""); n < 60 {
		t.Errorf("docs/cli.md has only %d examples", n)
	}
	commands(func(name string, cmd *cobra.Command) { parseExamples(t, cmd.Example, name) })
}

// parseExamples parses the commands in a text, which have to be one if that is said, and
// returns how many there are.
func parseExamples(t *testing.T, text, want string) int {
	t.Helper()
	examples := regexp.MustCompile(`caddy rr ([^\n|]*)`).FindAllStringSubmatch(text, -1)
	for _, m := range examples {
		line, _, _ := strings.Cut(m[1], " > ")
		root := &cobra.Command{Use: "rr"}
		populate(root, newSession())
		found, rest, err := root.Find(words(strings.TrimRight(line, ")\"")))
		if err != nil || found.HasSubCommands() || (want != "" && found.CommandPath() != want) {
			t.Errorf("%q is an example of %s: %v", line, found.CommandPath(), err)
			continue
		}
		if err := found.ParseFlags(rest); err != nil {
			t.Errorf("%q: %v", line, err)
		} else if err := found.ValidateArgs(found.Flags().Args()); err != nil {
			t.Errorf("%q: %v", line, err)
		}
	}
	return len(examples)
}

func mustRead(t *testing.T, file string) []byte {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return content
}
