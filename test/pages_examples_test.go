package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

var (
	startLine = regexp.MustCompile(`(?m)^bin/caddy run (--envfile \S+ --config (\S+))$`)
	portName  = regexp.MustCompile(`\{\$(\w*PORT):`)
)

// TestPagesStartExamples runs the commands with which pages start examples, from the top of
// the repository, until Caddy serves. What examples do then, the tests of examples/ try.
func TestPagesStartExamples(t *testing.T) {
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	tried := map[string]bool{}
	for file, page := range rrtest.Pages(t, "..") {
		for _, b := range rrtest.Blocks(file, page) {
			m := startLine.FindStringSubmatch(b.Text)
			if b.Language != "sh" || m == nil || tried[m[1]] {
				continue
			}
			tried[m[1]] = true
			t.Run(strings.ReplaceAll(m[2], "/", "."), func(t *testing.T) { startExample(t, path, m[1], m[2]) })
		}
	}
	if len(tried) < 8 {
		t.Errorf("only %d examples are started by pages: %v", len(tried), tried)
	}
}

func startExample(t *testing.T, path, args, config string) {
	dir := t.TempDir()
	log := new(safeBuffer)
	cmd := exec.Command(path, append([]string{"run"}, strings.Fields(args)...)...)
	cmd.Dir, cmd.Stderr = "..", log
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_DATA_HOME="+dir, "RR_STORE="+filepath.Join(dir, "records", "rr.db"))
	files, err := filepath.Glob(filepath.Join("..", filepath.Dir(config), "*addyfile"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range portName.FindAllStringSubmatch(string(text), -1) {
			cmd.Env = append(cmd.Env, name[1]+"="+strconv.Itoa(rrtest.FreePort(t)))
		}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer func() {
		_ = cmd.Process.Signal(os.Interrupt)
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("it ends with %v\n%s", err, log)
			}
		case <-time.After(daemonPatience):
			_ = cmd.Process.Kill()
			t.Error("it does not end")
		}
	}()
	rrtest.Eventually(t, config+" is served", func() bool {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("it ends at once: %v\n%s", err, log)
		default:
		}
		return strings.Contains(log.String(), "serving initial configuration")
	})
}
