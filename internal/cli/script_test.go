package cli

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

var rewrite = flag.Bool("update", false, "write what the scripts' commands do into testdata")

// TestScripts runs testdata/*.txt. A script is read line by line:
//
//	# …                    is said to the reader
//	@ name text            makes a file; \n in the text is a line's end
//	! 409 {…}              is what the API answers to the next request that has no such line yet
//	< text                 is a line of standard input of the next command
//	tty                    says that a person is at the terminal of the next command
//	$ NAME=value rr …      is a command, maybe with environment variables
//
// and after a command there is what it did: the requests (>), standard output (1), standard
// error (2) and whether it failed (x). With -update that is written anew.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { runScript(t, file) })
	}
}

func runScript(t *testing.T, file string) {
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	path, err := filepath.Abs(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	x := newScript(t)
	var out []string
	for line := range strings.SplitSeq(strings.TrimSuffix(string(source), "\n"), "\n") {
		if line != "" && strings.Contains(">12x", line[:1]) && (len(line) == 1 || line[1] == ' ') {
			continue // what the command did when the script was written
		}
		out = append(out, line)
		out = append(out, x.line(line)...)
	}
	got := strings.Join(out, "\n") + "\n"
	switch {
	case got == string(source):
	case *rewrite:
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s is now (go test -update writes it):\n%s", file, got)
	}
}

// script is the state of a script that runs.
type script struct {
	t     *testing.T
	api   *fakeAPI
	names map[string]string // what $NAME stands for
	stdin []string
	tty   bool
	now   time.Time
}

func newScript(t *testing.T) *script {
	x := &script{t: t, api: newFakeAPI(), now: time.Date(2027, 1, 31, 12, 0, 0, 0, time.UTC)}
	plain := httptest.NewServer(x.api)
	t.Cleanup(plain.Close)
	secure := httptest.NewTLSServer(x.api)
	t.Cleanup(secure.Close)
	socket := filepath.Join(t.TempDir(), "admin.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	local := &http.Server{Handler: x.api, ReadHeaderTimeout: time.Minute}
	go func() { _ = local.Serve(l) }()
	t.Cleanup(func() { _ = local.Close() })
	writeCA(t, secure)
	x.names = map[string]string{
		"$ADMIN": plain.Listener.Addr().String(), "$SOCKET": "unix/" + socket, "$GATEWAY": secure.URL, "$PLAIN": plain.URL,
	}
	return x
}

// line runs a line and returns what it did.
func (x *script) line(line string) []string {
	what, rest, _ := strings.Cut(line, " ")
	switch what {
	case "$":
		return x.command(rest)
	case "@":
		name, text, _ := strings.Cut(rest, " ")
		for name, value := range x.names {
			text = strings.ReplaceAll(text, name, value)
		}
		if err := os.WriteFile(name, []byte(strings.ReplaceAll(text, `\n`, "\n")), 0o600); err != nil {
			x.t.Fatal(err)
		}
	case "!":
		status, body, _ := strings.Cut(rest, " ")
		n, err := strconv.Atoi(status)
		if err != nil {
			x.t.Fatal(err)
		}
		x.api.reply(n, strings.ReplaceAll(body, `\n`, "\n"))
	case "<":
		x.stdin = append(x.stdin, rest)
	case "tty":
		x.tty = true
	case "", "#":
	default:
		x.t.Fatalf("what is the line %q?", line)
	}
	return nil
}

func (x *script) command(text string) []string {
	args := words(text)
	for ; len(args) > 0 && args[0] != "rr"; args = args[1:] {
		name, value, ok := strings.Cut(args[0], "=")
		if !ok {
			x.t.Fatalf("%q is no command", text)
		}
		x.t.Setenv(name, value)
	}
	args = args[1:]
	for i := range args {
		for name, value := range x.names {
			args[i] = strings.ReplaceAll(args[i], name, value)
		}
	}
	if !strings.Contains(text, "--address") && !strings.Contains(text, "--url") && !strings.Contains(text, "--config") {
		args = append(args, "--address", x.names["$ADMIN"])
	}
	stdout, stderr, err := x.run(args)
	did := prefixed("> ", strings.Join(x.api.takeLog(), "\n"))
	did = append(did, prefixed("1 ", stdout)...)
	did = append(did, prefixed("2 ", stderr)...)
	if err != nil {
		did = append(did, "x")
	}
	for i := range did {
		for name, value := range x.names {
			did[i] = strings.ReplaceAll(did[i], value, name)
		}
		did[i] = loopbackURI.ReplaceAllString(did[i], "http://127.0.0.1:(port)/callback")
	}
	return did
}

// loopbackURI is where a browser comes back to authorize, at any port.
var loopbackURI = regexp.MustCompile(`http://127\.0\.0\.1:\d+/callback`)

// run runs a command as Caddy's main does.
func (x *script) run(args []string) (stdout, stderr string, err error) { return x.runAs("", args) }

// runAs is run with another command of Caddy's before rr.
func (x *script) runAs(first string, args []string) (stdout, stderr string, err error) {
	s := newSession()
	s.clock = clock{now: func() time.Time { return x.now }, zone: time.FixedZone("CET", 3600)}
	s.pause = func(ctx context.Context, d time.Duration) error { x.now = x.now.Add(d); return ctx.Err() }
	tty := x.tty
	s.terminal = func(*cobra.Command) bool { return tty }
	cmd := &cobra.Command{Use: "rr"}
	populate(cmd, s)
	caddy := &cobra.Command{Use: "caddy", SilenceUsage: true}
	caddy.AddCommand(cmd)
	var out, errs bytes.Buffer
	caddy.SetOut(&out)
	caddy.SetErr(&errs)
	caddy.SetIn(strings.NewReader(strings.Join(x.stdin, "\n") + "\n"))
	args = append([]string{"rr"}, args...)
	if first != "" {
		args = append([]string{first}, args...)
	}
	caddy.SetArgs(args)
	x.stdin, x.tty = nil, false
	err = caddy.ExecuteContext(x.t.Context())
	return out.String(), errs.String(), err
}

// prefixed are the lines of a text, each with a prefix.
func prefixed(prefix, text string) []string {
	if text == "" {
		return nil
	}
	var lines []string
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		lines = append(lines, strings.TrimRight(prefix+line, " "))
	}
	return lines
}

// words splits a line as a shell does, with single quotes alone.
func words(line string) []string {
	var list []string
	word, quoted, any := "", false, false
	for _, c := range line {
		switch {
		case c == '\'':
			quoted, any = !quoted, true
		case c == ' ' && !quoted:
			if any {
				list = append(list, word)
			}
			word, any = "", false
		default:
			word, any = word+string(c), true
		}
	}
	if any {
		list = append(list, word)
	}
	return list
}

func TestWords(t *testing.T) {
	if got, want := fmt.Sprintf("%q", words("a  'b c' d='e f' ''")), `["a" "b c" "d=e f" ""]`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
