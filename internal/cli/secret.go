package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// secretLimit bounds a secret, in bytes; keys in PEM are far smaller.
const secretLimit = 1 << 20

// secretFlags say where a secret comes from. It is never a flag's value: command lines
// are seen by everybody on a machine, and stay in histories.
type secretFlags struct {
	file, env string
	stdin     bool
}

func (f *secretFlags) addFlags(cmd *cobra.Command, what string) {
	fs := cmd.Flags()
	fs.StringVar(&f.file, "secret-file", "", "file with "+what)
	fs.StringVar(&f.env, "secret-env", "", "name of the environment variable with "+what)
	fs.BoolVar(&f.stdin, "secret-stdin", false, "read "+what+" from standard input")
	cmd.MarkFlagsMutuallyExclusive("secret-file", "secret-env", "secret-stdin")
}

func (f *secretFlags) given() bool { return f.file != "" || f.env != "" || f.stdin }

// read returns the secret, or "" if no flag says where it is. A line's end after it does
// not belong to it.
func (f *secretFlags) read(cmd *cobra.Command) (string, error) {
	switch {
	case f.file != "":
		return secretFromFile(f.file, cmd.InOrStdin())
	case f.env != "":
		return secretFromEnv(f.env)
	case f.stdin:
		return secretFromStdin(cmd)
	}
	return "", nil
}

// secretFromFile reads a file; - is stdin, if there is one.
func secretFromFile(file string, stdin io.Reader) (string, error) {
	if file == "-" && stdin != nil {
		return readSecret(stdin, "standard input")
	}
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return readSecret(f, file)
}

func secretFromEnv(name string) (string, error) {
	secret := os.Getenv(name)
	if secret == "" {
		// the name is not repeated: it may be the secret, given to the wrong flag
		return "", errors.New("the environment variable that the flag names is empty or not there")
	}
	return readSecret(strings.NewReader(secret), "the environment")
}

// secretFromStdin asks for the secret, without showing it, if a person is there.
func secretFromStdin(cmd *cobra.Command) (string, error) {
	in := cmd.InOrStdin()
	file, ok := in.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return readSecret(in, "standard input")
	}
	fmt.Fprint(cmd.ErrOrStderr(), "secret (not shown): ")
	typed, err := term.ReadPassword(int(file.Fd()))
	fmt.Fprintln(cmd.ErrOrStderr())
	if err != nil {
		return "", err
	}
	return readSecret(strings.NewReader(string(typed)), "standard input")
}

func readSecret(r io.Reader, where string) (string, error) {
	b, err := io.ReadAll(io.LimitReader(r, secretLimit+1))
	if err != nil {
		return "", err
	}
	secret := strings.TrimRight(string(b), "\r\n")
	switch {
	case len(b) > secretLimit:
		return "", fmt.Errorf("the secret in %s has more than %d bytes", where, secretLimit)
	case secret == "":
		return "", fmt.Errorf("the secret in %s is empty", where)
	case !utf8.ValidString(secret):
		return "", fmt.Errorf("the secret in %s is not text in UTF-8, and JSON has nothing else", where)
	}
	return secret, nil
}
