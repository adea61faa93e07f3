package cli

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/caddy-rr/caddy-rr/internal/strictjson"
)

// bytesType is the type of archives and copies.
const bytesType = "application/octet-stream"

// saving are the flags of what writes a file.
type saving struct {
	output    string
	overwrite bool
}

func (f *saving) addFlags(s *session, cmd *cobra.Command) {
	cmd.Flags().StringVarP(&f.output, "output", "o", "", "the file to write, readable by its owner alone; - for standard output")
	cmd.Flags().BoolVar(&f.overwrite, "overwrite", false, "replace the file if it is there")
	_ = cmd.MarkFlagRequired("output")
	s.withQuiet(cmd)
}

// save writes what a call answers.
func (f *saving) save(ctx context.Context, s *session, cmd *cobra.Command, call call) error {
	fill := func(w io.Writer) error {
		res, err := s.api.open(ctx, call)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if _, err := io.Copy(w, res.Body); err != nil {
			return fmt.Errorf("the answer of %s broke off: %w", s.api.place, err)
		}
		return nil
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM) // nothing half is left
	defer stop()
	if f.output == "-" {
		return fill(cmd.OutOrStdout())
	}
	if err := writeFile(f.output, f.overwrite, fill); err != nil {
		return err
	}
	s.say(cmd, "wrote %s", f.output)
	return nil
}

// passphraseFlags say where the passphrase of an archive comes from.
type passphraseFlags struct{ file, env string }

func (f *passphraseFlags) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.file, "passphrase-file", "", "file with the archive's passphrase; - for standard input")
	cmd.Flags().StringVar(&f.env, "passphrase-env", "", "name of the environment variable with it")
	cmd.MarkFlagsMutuallyExclusive("passphrase-file", "passphrase-env")
}

// read returns the passphrase. A person is asked for it if no flag says where it is.
func (f *passphraseFlags) read(s *session, cmd *cobra.Command) (string, error) {
	switch {
	case f.file != "":
		return secretFromFile(f.file, cmd.InOrStdin())
	case f.env != "":
		return secretFromEnv(f.env)
	case s.terminal(cmd):
		return secretFromStdin(cmd)
	}
	return "", errors.New("the archive has a passphrase: say where it is with --passphrase-file or --passphrase-env")
}

func (s *session) export() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write all records, secrets included, into an archive sealed with a passphrase",
		Long: `Writes an archive with the records of all clients, secrets included, sealed with a passphrase
of at least 12 characters. import reads it, on this gateway or another one. The audit log and
what the configuration declares are not in it.`,
		Example: "  caddy rr export -o rr.archive --passphrase-file /run/secrets/archive",
		Args:    cobra.NoArgs,
	}
	var f saving
	var p passphraseFlags
	f.addFlags(s, cmd)
	p.addFlags(cmd)
	return s.calling(cmd, func(ctx context.Context, cmd *cobra.Command, _ []string) error {
		if f.output != "-" {
			if err := checkFree(f.output, f.overwrite); err != nil {
				return err
			}
		}
		words, err := p.read(s, cmd)
		if err != nil {
			return err
		}
		return f.save(ctx, s, cmd, call{method: http.MethodPost, path: "/store/export", accept: bytesType, body: record{"passphrase": words}.encode()})
	})
}

func (s *session) backup() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "backup",
		Short: "Copy the store while it is in use",
		Long: `Writes a consistent copy of the store's file, sealed as it is: it can take the file's place, and
needs the same encryption key. Keep that elsewhere. For another gateway, or another key, use
export.`,
		Example: "  caddy rr backup -o /var/backups/rr.db",
		Args:    cobra.NoArgs,
	}
	var f saving
	f.addFlags(s, cmd)
	return s.calling(cmd, func(ctx context.Context, cmd *cobra.Command, _ []string) error {
		return f.save(ctx, s, cmd, call{method: http.MethodGet, path: "/store/backup", accept: bytesType})
	})
}

func (s *session) load() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import <file>...",
		Short: "Read an archive of export, or JSON of the original's API",
		Long: `Reads an archive that export wrote, or JSON as the API's lists return it, the original product's
too: objects with clients, credentials, targets or proxies, in one file or several. All of it is
imported, or nothing. Lists have no secrets: add credentialSecret to credentials first; a key
credential of callers without one is given a key. Keys that were made are printed as JSON lines,
once, and nothing else is on standard output.`,
		Example: `  caddy rr import rr.archive --passphrase-file /run/secrets/archive
  caddy rr import credentials.json targets.json proxies.json > keys.jsonl`,
		Args: cobra.MinimumNArgs(1),
	}
	var p passphraseFlags
	var replace bool
	var client, key string
	p.addFlags(cmd)
	cmd.Flags().BoolVar(&replace, "replace", false, "let records take the place of those with the same id (default: it is a conflict)")
	cmd.Flags().StringVar(&client, "client", "", "of JSON: the client that all records go to (default: the clientId of each)")
	s.complete(cmd, "client", clients)
	addKeyFlag(cmd, &key)
	s.withJSON(cmd)
	s.withQuiet(cmd)
	return s.calling(cmd, func(ctx context.Context, cmd *cobra.Command, args []string) error {
		body, err := importBody(args, func() (string, error) { return p.read(s, cmd) })
		if err != nil {
			return err
		}
		if replace {
			body["replace"] = true
		}
		if client != "" {
			body["client"] = client
		}
		rec, answer, err := s.fetch(ctx, call{method: http.MethodPost, path: "/store/import", body: body.encode(), key: keyOr(key)})
		if err != nil {
			return err
		}
		return s.imported(cmd, rec, answer)
	})
}

// importBody makes one body of all files.
func importBody(files []string, passphrase func() (string, error)) (record, error) {
	body := record{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if object, err := strictjson.Object(data, strictjson.Options{}); err == nil {
			if err := addLists(body, object); err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			continue
		}
		if len(files) > 1 {
			return nil, fmt.Errorf("%s is not a JSON object; an archive is imported alone", file)
		}
		words, err := passphrase()
		if err != nil {
			return nil, err
		}
		return record{"passphrase": words, "archive": base64.StdEncoding.EncodeToString(data)}, nil
	}
	return body, nil
}

// importable are the lists that an import takes.
var importable = []string{"clients", "credentials", "targets", "proxies"}

// addLists appends the lists of an answer of the API to those of a body.
func addLists(body record, object map[string]any) error {
	found := false
	for _, name := range importable {
		list, isList := object[name].([]any)
		if !isList {
			continue
		}
		found = true
		there, _ := body[name].([]any)
		body[name] = append(there, list...)
	}
	if cursor, _ := object["cursor"].(string); cursor != "" {
		return errors.New("it is one page of a list that has more, after its cursor")
	}
	if !found {
		return fmt.Errorf("it has none of the lists %v", importable)
	}
	return nil
}

// imported tells what an import has made. Keys are for programs.
func (s *session) imported(cmd *cobra.Command, rec record, answer *answer) error {
	if s.json {
		return printJSON(cmd.OutOrStdout(), answer.body)
	}
	counts, _ := rec.at("records").(map[string]any)
	for _, kind := range slices.Sorted(maps.Keys(counts)) {
		s.say(cmd, "imported %s: %s", printable(kind), printable(plain(counts[kind])))
	}
	ids, _ := rec.at("ids").(map[string]any)
	for _, old := range slices.Sorted(maps.Keys(ids)) {
		s.say(cmd, "%s is %s now", printable(old), printable(plain(ids[old])))
	}
	made, _ := rec.at("credentials").([]any)
	if len(made) > 0 {
		s.say(cmd, "these keys were made; they are not shown again:")
	}
	lines := json.NewEncoder(cmd.OutOrStdout())
	for _, item := range made {
		c, _ := item.(map[string]any)
		credential := record(c)
		if err := lines.Encode(map[string]string{
			"credentialId": credential.text("credentialId"), "credentialName": credential.text("credentialName"), "key": credential.text("credentialSecret.key"),
		}); err != nil {
			return err
		}
	}
	return nil
}
