package bolt

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// againAsNobody runs the calling test in a process of a user without privileges.
func againAsNobody(t *testing.T) {
	t.Helper()
	// the link leads to this program wherever it is, also below a folder of root's
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "TMPDIR=/tmp", "HOME=/")
	const nobody = 65534
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("as nobody: %v\n%s", err, out)
	}
}
