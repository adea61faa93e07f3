package bolt

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
	"github.com/caddy-rr/caddy-rr/store"
)

// childVariable says that this process is a child of a test, and which.
const childVariable = "RR_BOLT_CHILD"

// children are what the test binary does, run again as another process. An error ends the
// process with a status that is not 0.
var children = map[string]func(path string) error{
	"hold":  hold,
	"write": writeForEver,
}

func TestMain(m *testing.M) {
	name := os.Getenv(childVariable)
	if name == "" {
		rrtest.Main(m)
	}
	if err := children[name](os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// child is a process that runs one of children.
type child struct {
	*exec.Cmd
	stdin  io.Closer
	lines  *bufio.Scanner
	stderr strings.Builder
}

// start starts a child; it is killed at the end of the test.
func start(t *testing.T, name, path string) *child {
	t.Helper()
	c := &child{Cmd: exec.Command(os.Args[0], path)}
	c.Env = append(os.Environ(), childVariable+"="+name)
	c.Stderr = &c.stderr
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.stdin, c.lines = in, bufio.NewScanner(out)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Process.Kill(); c.Wait() })
	return c
}

// says waits for the child's next line.
func (c *child) says(t *testing.T, want string) {
	t.Helper()
	if !c.lines.Scan() || c.lines.Text() != want {
		c.Process.Kill()
		c.Wait()
		t.Fatalf("the child said %q, not %q: %s", c.lines.Text(), want, c.stderr.String())
	}
}

// hold has the store open until its standard input ends.
func hold(path string) error {
	b, err := (&Bolt{Path: path}).Open(context.Background())
	if err != nil {
		return err
	}
	if _, err := b.Apply(context.Background(), put("b", "held", 1, "v")); err != nil {
		return err
	}
	fmt.Println("open")
	io.Copy(io.Discard, os.Stdin)
	return b.Close()
}

// put is a write that does not care what is there.
func put(bucket, key string, version uint64, value string) store.Write {
	return store.Write{Bucket: bucket, Key: key, Expect: store.Any, Version: version, Value: []byte(value)}
}

func remove(bucket, key string) store.Write {
	return store.Write{Bucket: bucket, Key: key, Expect: store.Any}
}

// write makes writes that have to succeed.
func write(t testing.TB, b store.Backend, writes ...store.Write) {
	t.Helper()
	if _, err := b.Apply(context.Background(), writes...); err != nil {
		t.Fatal(err)
	}
}
