package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// session is what the commands share: how the API is reached, and how answers are shown.
// One process runs one command.
type session struct {
	connection
	clock
	json, quiet bool
	// secret says where a credential's secret is, and secretMember where it goes.
	secret       secretFlags
	secretMember string

	api *client
	// terminal reports whether a person can be asked; pause waits.
	terminal func(*cobra.Command) bool
	pause    func(context.Context, time.Duration) error
}

func newSession() *session {
	return &session{
		clock:    clock{now: time.Now, zone: time.Local},
		terminal: isTerminal,
		pause:    pause,
	}
}

func isTerminal(cmd *cobra.Command) bool {
	f, ok := cmd.InOrStdin().(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// action is what a command does, with the API ready.
type action func(ctx context.Context, cmd *cobra.Command, args []string) error

// calling makes a command call the API. The flags of the connection are its own, or those
// of the group that it is in.
func (s *session) calling(cmd *cobra.Command, run action) *cobra.Command {
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cmd.SilenceUsage = true
		ctx, err := s.open(cmd)
		if err != nil {
			return err
		}
		return run(ctx, cmd, args)
	}
	return cmd
}

func (s *session) open(cmd *cobra.Command) (context.Context, error) {
	var err error
	if s.api, err = s.connection.open(); err != nil {
		return nil, err
	}
	s.api.pause = s.pause
	if ctx := cmd.Context(); ctx != nil {
		return ctx, nil
	}
	return context.Background(), nil
}

// ofClient adds the flag that says whose records a command is about.
func (s *session) ofClient(cmd *cobra.Command) {
	cmd.Flags().String("client", "default", "the client that owns the record")
	s.complete(cmd, "client", clients)
}

// ownerOf is the client whose records a command is about.
func ownerOf(cmd *cobra.Command) string { return cmd.Flag("client").Value.String() }

func (s *session) withJSON(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&s.json, "json", false, "print the API's JSON")
}

func (s *session) withQuiet(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&s.quiet, "quiet", "q", false, "no messages on standard error")
}

// say tells a person something. Standard output is for what a program may want.
func (s *session) say(cmd *cobra.Command, format string, args ...any) {
	if !s.quiet {
		fmt.Fprintf(cmd.ErrOrStderr(), format+"\n", args...)
	}
}

// errNo is a question that was not answered with yes.
var errNo = errors.New("nothing was changed")

// confirm asks before something is done that cannot be undone.
func (s *session) confirm(cmd *cobra.Command, question string) error {
	if !s.terminal(cmd) {
		return errors.New("nobody is there to be asked whether that is meant: say so with --yes")
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s [y/N] ", question)
	var answer [16]byte
	n, err := cmd.InOrStdin().Read(answer[:])
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	switch string(bytes.ToLower(bytes.TrimSpace(answer[:n]))) {
	case "y", "yes":
		return nil
	}
	return errNo
}

// get reads one record.
func (s *session) get(ctx context.Context, r *resource, path string) (record, *answer, error) {
	answer, err := s.api.do(ctx, call{method: http.MethodGet, path: path})
	if err != nil {
		return nil, nil, err
	}
	rec, err := r.one(answer.body)
	return rec, answer, err
}

// fetch reads a JSON object that is no record.
func (s *session) fetch(ctx context.Context, call call) (record, *answer, error) {
	answer, err := s.api.do(ctx, call)
	if err != nil {
		return nil, nil, err
	}
	rec, err := decodeRecord(answer.body)
	if err != nil {
		return nil, nil, fmt.Errorf("the answer of %s is not a JSON object", s.api.place)
	}
	return rec, answer, nil
}

// printJSON writes JSON of the API, indented.
func printJSON(w io.Writer, raw []byte) error {
	var b bytes.Buffer
	if err := json.Indent(&b, bytes.TrimSpace(raw), "", "  "); err != nil {
		return errors.New("the answer is not JSON")
	}
	b.WriteByte('\n')
	_, err := b.WriteTo(w)
	return err
}

// printList writes the items of a list's pages as one page.
func printList(w io.Writer, member string, items []json.RawMessage) error {
	if items == nil {
		items = []json.RawMessage{}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(map[string]any{member: items, "message": "Success"}); err != nil {
		return err
	}
	return printJSON(w, b.Bytes())
}
