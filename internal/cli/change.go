package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
)

// editing are the flags of what makes or changes a record.
type editing struct {
	file, ifMatch, key string
}

func (e *editing) addFlags(s *session, cmd *cobra.Command, r *resource, isNew bool) {
	r.options.add(s, cmd, isNew)
	if r.hooks != nil {
		r.hooks.add(s, cmd)
	}
	cmd.Flags().StringVar(&e.file, "file", "", "JSON file with the record, as in the API; - for standard input. Other flags are put over it")
	if isNew {
		addKeyFlag(cmd, &e.key)
	} else {
		addMatchFlag(cmd, &e.ifMatch)
	}
	s.withJSON(cmd)
	s.withQuiet(cmd)
}

func addKeyFlag(cmd *cobra.Command, key *string) {
	cmd.Flags().StringVar(key, "idempotency-key", "", "any text: the same command with the same one, within a day, is done once (default: a new one)")
}

func addMatchFlag(cmd *cobra.Command, tag *string) {
	cmd.Flags().StringVar(tag, "if-match", "", "do it only if the record has this ETag, as get shows it")
}

// errTwice is standard input that is asked for two things.
var errTwice = errors.New("standard input can be the record or the secret, not both")

// body is what the flags say, as JSON.
func (e *editing) body(s *session, cmd *cobra.Command, r *resource, old func() (record, error)) ([]byte, error) {
	body, raw := record{}, []byte(nil)
	if e.file == "-" && (s.secret.stdin || s.secret.file == "-") {
		return nil, errTwice
	}
	if e.file != "" {
		var err error
		if body, raw, err = readBody(cmd, e.file); err != nil {
			return nil, err
		}
	}
	given, err := r.options.fill(s.clock, cmd, body)
	if err != nil {
		return nil, err
	}
	if r.hooks != nil {
		more, err := r.hooks.fill(s, cmd, body, old)
		if err != nil {
			return nil, err
		}
		given = given || more
	}
	switch {
	case given:
		return body.encode(), nil
	case raw != nil:
		return raw, nil
	}
	return nil, errors.New("say what with flags, or with --file; --help lists them")
}

func (s *session) create(r *resource) *cobra.Command {
	cmd := s.verb(r, "create", "Create one of the "+r.plural, cobra.NoArgs)
	var e editing
	e.addFlags(s, cmd, r, true)
	return s.calling(cmd, func(ctx context.Context, cmd *cobra.Command, _ []string) error {
		path, err := r.path(cmd)
		if err != nil {
			return err
		}
		body, err := e.body(s, cmd, r, nil)
		if err != nil {
			return err
		}
		answer, err := s.api.do(ctx, call{method: http.MethodPost, path: path, body: body, key: keyOr(e.key)})
		if err != nil {
			return err
		}
		return s.made(cmd, r, "created", answer)
	})
}

// keyOr is an idempotency key, made if none was given.
func keyOr(given string) string {
	if given != "" {
		return given
	}
	return rand.Text()
}

func (s *session) update(r *resource) *cobra.Command {
	cmd := s.verb(r, "update "+nameOf(r), "Change one of the "+r.plural+"; what no flag says stays", cobra.ExactArgs(1))
	var e editing
	e.addFlags(s, cmd, r, false)
	return s.calling(cmd, func(ctx context.Context, cmd *cobra.Command, args []string) error {
		path, err := r.path(cmd, args[0])
		if err != nil {
			return err
		}
		put := call{method: http.MethodPut, path: path, ifMatch: quoteTag(e.ifMatch)}
		old := func() (record, error) { rec, _, err := s.get(ctx, r, path); return rec, err }
		if put.body, err = e.body(s, cmd, r, old); err != nil {
			return err
		}
		if r.whole && e.file == "" {
			if err := s.putOver(ctx, r, &put); err != nil {
				return err
			}
		}
		answer, err := s.api.do(ctx, put)
		if err != nil {
			return err
		}
		return s.made(cmd, r, "changed", answer)
	})
}

// putOver puts a body over the record that there is, so that a PUT that replaces all of it
// changes only what the body says.
func (s *session) putOver(ctx context.Context, r *resource, put *call) error {
	rec, answer, err := s.get(ctx, r, put.path)
	if err != nil {
		return err
	}
	if put.ifMatch == "" {
		put.ifMatch = answer.etag
	}
	changes, err := decodeRecord(put.body)
	if err != nil {
		return err
	}
	for name, value := range changes {
		rec[name] = value
	}
	put.body = rec.encode()
	return nil
}

// quoteTag is an entity-tag as If-Match has it; a version is taken without its quotes.
func quoteTag(tag string) string {
	if tag == "" || tag == "*" || strings.Contains(tag, `"`) {
		return tag
	}
	return `"` + tag + `"`
}

// made tells about a record that was made or changed. Standard output has a key that is
// shown once, or the id of what is no credential.
func (s *session) made(cmd *cobra.Command, r *resource, verb string, answer *answer) error {
	rec, err := r.one(answer.body)
	if err != nil {
		return err
	}
	for _, warning := range rec.texts("warnings") {
		s.say(cmd, "warning: %s", printable(warning))
	}
	if s.json {
		return printJSON(cmd.OutOrStdout(), answer.body)
	}
	s.say(cmd, "%s %s", verb, r.called(rec))
	out := ""
	switch {
	case r == credentials:
		if out = generated(rec); out != "" {
			s.say(cmd, "this is its key; it is not shown again:")
		}
	case verb == "created":
		out = rec.text(r.id)
	}
	if out == "" {
		return nil
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), printable(out))
	return err
}

func (s *session) remove(r *resource) *cobra.Command {
	cmd := s.verb(r, "delete "+nameOf(r)+"...", "Delete "+r.plural, cobra.MinimumNArgs(1))
	var sure, force bool
	var ifMatch string
	cmd.Flags().BoolVarP(&sure, "yes", "y", false, "do not ask")
	addMatchFlag(cmd, &ifMatch)
	if r != rules {
		cmd.Flags().BoolVar(&force, "force", false, "although something uses it, which then refuses requests; of a client: with all that it owns")
	}
	s.withQuiet(cmd)
	return s.calling(cmd, func(ctx context.Context, cmd *cobra.Command, args []string) error {
		for _, name := range args {
			path, err := r.path(cmd, name)
			if err != nil {
				return err
			}
			what := r.singular + " " + printable(name)
			if !sure {
				rec, _, err := s.get(ctx, r, path)
				if err != nil {
					return err
				}
				what = r.called(rec)
				if err := s.confirm(cmd, "Delete "+what+"?"); err != nil {
					return err
				}
				if path, err = r.path(cmd, rec.text(r.id)); err != nil { // what was shown, whatever has its name now
					return err
				}
			}
			query := url.Values{}
			if force {
				query.Set("force", "true")
			}
			if _, err := s.api.do(ctx, call{method: http.MethodDelete, path: path, query: query, ifMatch: quoteTag(ifMatch)}); err != nil {
				return err
			}
			s.say(cmd, "deleted %s", what)
		}
		return nil
	})
}
