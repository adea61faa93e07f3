package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-rr/caddy-rr/internal/audit"
)

// linesType is the type of a log with one entry a line.
const linesType = "application/x-ndjson"

// auditFlags choose what of the audit log is shown, and how.
type auditFlags struct {
	client, since, until, actor, resource, id string
	limit                                     int
	follow, lines, verify                     bool
	file, head                                string
}

func (s *session) audit() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Show who changed what, check that the log is whole, or export it",
		Long: `Shows the audit log, oldest first. With --ndjson it is written one entry a line, exactly as it is
hashed; --verify reads all of it, or a file that was written so, and checks that no entry was
edited, moved, put in or taken out. What is missing at the end can be seen only with --head, an
earlier end that --verify has printed and somebody has kept elsewhere.`,
		Example: `  caddy rr audit --since 24h --resource credentials
  caddy rr audit --follow
  caddy rr audit --ndjson > audit.ndjson
  caddy rr audit --verify --head 42:3f1c…
  caddy rr audit --verify --file audit.ndjson`,
		Args: cobra.NoArgs,
	}
	var f auditFlags
	fs := cmd.Flags()
	fs.StringVar(&f.client, "client", "", "changes of this client's records alone (default: all)")
	s.complete(cmd, "client", clients)
	fs.StringVar(&f.since, "since", "", "from this time on: RFC 3339, or a time ago as in 24h or 7d")
	fs.StringVar(&f.until, "until", "", "before this time, likewise")
	fs.StringVar(&f.actor, "actor", "", "changes of the actor with this name")
	fs.StringVar(&f.resource, "resource", "", "changes of credentials, targets, proxies, rules, clients, blocklist or store")
	_ = cmd.RegisterFlagCompletionFunc("resource", cobra.FixedCompletions([]string{"credentials", "targets", "proxies", "rules", "clients", "blocklist", "store"}, cobra.ShellCompDirectiveNoFileComp))
	fs.StringVar(&f.id, "id", "", "changes of the record with this id")
	fs.IntVar(&f.limit, "limit", 0, "show so many at most (default: all)")
	fs.BoolVarP(&f.follow, "follow", "f", false, "go on with new entries until interrupted")
	fs.BoolVar(&f.lines, "ndjson", false, "write the entries as they are hashed, one a line")
	fs.BoolVar(&f.verify, "verify", false, "check that the log is whole")
	fs.StringVar(&f.file, "file", "", "with --verify: a file of --ndjson, in place of the gateway's log; - for standard input")
	fs.StringVar(&f.head, "head", "", "with --verify: an end of the log that was noted before, number:hash")
	s.withJSON(cmd)
	cmd.MarkFlagsMutuallyExclusive("json", "ndjson", "verify", "follow")
	cmd.MarkFlagsMutuallyExclusive("limit", "ndjson", "verify", "follow")
	return s.calling(cmd, func(ctx context.Context, cmd *cobra.Command, _ []string) error { return s.runAudit(ctx, cmd, &f) })
}

func (s *session) runAudit(ctx context.Context, cmd *cobra.Command, f *auditFlags) error {
	query, err := f.query(s.clock)
	switch {
	case err != nil:
		return err
	case f.verify:
		if len(query) > 0 || f.client != "" {
			return errors.New("--verify reads the whole log: a part of it proves nothing")
		}
		return s.verifyAudit(ctx, cmd, f)
	case f.file != "" || f.head != "":
		return errors.New("--file and --head go with --verify")
	case f.lines:
		return s.auditLines(ctx, f, query, cmd.OutOrStdout())
	case f.follow:
		return s.followAudit(ctx, cmd, f, query)
	}
	items, err := s.api.list(ctx, f.path(), "audit", query, f.limit)
	if err != nil {
		return err
	}
	if s.json {
		return printList(cmd.OutOrStdout(), "audit", items)
	}
	records, err := decodeRecords(items)
	if err != nil || len(records) == 0 {
		return err
	}
	return printTable(cmd.OutOrStdout(), auditColumns(s.clock), records)
}

// path is that of the log, or of a client's part of it.
func (f *auditFlags) path() string {
	if f.client == "" {
		return "/audit"
	}
	return pathOf("clients", f.client, "audit")
}

func (f *auditFlags) query(c clock) (url.Values, error) {
	query := url.Values{}
	for name, value := range map[string]string{"actor": f.actor, "resource": f.resource, "id": f.id} {
		if value != "" {
			query.Set(name, value)
		}
	}
	for name, value := range map[string]string{"since": f.since, "until": f.until} {
		if value == "" {
			continue
		}
		t, err := c.past(value)
		if err != nil {
			return nil, fmt.Errorf("--%s: %w", name, err)
		}
		query.Set(name, t)
	}
	return query, nil
}

// past reads a time, or how long ago it is.
func (c clock) past(text string) (string, error) {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t.UTC().Format(time.RFC3339Nano), nil
	}
	d, err := parsePeriod(text)
	if err != nil || d < 0 {
		return "", errors.New("it is neither a time as in 2027-01-31T12:00:00Z, nor how long ago it is, as in 24h or 7d")
	}
	return c.now().Add(-d).UTC().Format(time.RFC3339Nano), nil
}

func auditColumns(c clock) []column {
	return []column{
		member("SEQ", "seq"),
		told("TIME", func(r record) string { return c.precise(r.text("time")) }),
		told("WHO", func(r record) string { return strings.TrimSpace(r.text("actor.kind") + " " + r.text("actor.name")) }),
		member("FROM", "actor.address"), member("ACTION", "action"), member("WHAT", "resource"),
		told("NAME", func(r record) string { return cmp.Or(r.text("name"), r.text("id")) }),
		member("CLIENT", "client"), member("FIELDS", "fields"),
	}
}

// auditLines copies the log, one entry a line.
func (s *session) auditLines(ctx context.Context, f *auditFlags, query url.Values, w io.Writer) error {
	res, err := s.api.open(ctx, call{method: http.MethodGet, path: f.path(), query: query, accept: linesType})
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(w, res.Body); err != nil {
		return fmt.Errorf("the audit log broke off: %w", err)
	}
	return nil
}

// verifyAudit checks the chain here: what the gateway says of its own log proves less.
func (s *session) verifyAudit(ctx context.Context, cmd *cobra.Command, f *auditFlags) error {
	head, err := parseHead(f.head)
	if err != nil {
		return err
	}
	r, err := s.openLog(ctx, cmd, f.file)
	if err != nil {
		return err
	}
	defer r.Close()
	var last audit.Head
	count, err := audit.VerifyTo(remember(audit.ReadLines(r), &last), head)
	if err != nil {
		return fmt.Errorf("%d entries are in order, then: %w", count, err)
	}
	if count == 0 {
		fmt.Fprintln(cmd.OutOrStdout(), "the log is empty")
		return nil
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d entries are in order; the end is %d:%s\n", count, last.Seq, last.Hash)
	return err
}

func (s *session) openLog(ctx context.Context, cmd *cobra.Command, file string) (io.ReadCloser, error) {
	switch file {
	case "":
		res, err := s.api.open(ctx, call{method: http.MethodGet, path: "/audit", accept: linesType})
		if err != nil {
			return nil, err
		}
		return res.Body, nil
	case "-":
		return io.NopCloser(cmd.InOrStdin()), nil
	}
	return os.Open(file)
}

// remember notes the last entry that goes by.
func remember(entries iter.Seq2[audit.Entry, error], last *audit.Head) iter.Seq2[audit.Entry, error] {
	return func(yield func(audit.Entry, error) bool) {
		for e, err := range entries {
			*last = audit.Head{Seq: e.Seq, Hash: e.Hash}
			if !yield(e, err) {
				return
			}
		}
	}
}

func parseHead(text string) (audit.Head, error) {
	if text == "" {
		return audit.Head{}, nil
	}
	number, hash, _ := strings.Cut(text, ":")
	seq, err := strconv.ParseUint(number, 10, 64)
	if err != nil || seq == 0 || len(hash) != 64 {
		return audit.Head{}, errors.New("--head is not number:hash, as --verify prints it")
	}
	return audit.Head{Seq: seq, Hash: hash}, nil
}

// followPause is the time between two looks for new entries.
const followPause = 2 * time.Second

// clockSlip is how far the gateway's clock may go back without an entry being missed.
const clockSlip = time.Minute

// followAudit prints entries as they come. Without a --since it begins now.
func (s *session) followAudit(ctx context.Context, cmd *cobra.Command, f *auditFlags, query url.Values) error {
	if query.Get("since") == "" {
		query.Set("since", s.now().UTC().Format(time.RFC3339Nano))
	}
	var seen uint64
	for {
		items, err := s.api.list(ctx, f.path(), "audit", query, 0)
		if err != nil {
			return err
		}
		records, err := decodeRecords(items)
		if err != nil {
			return err
		}
		for _, r := range records {
			seq, err := strconv.ParseUint(r.text("seq"), 10, 64)
			if err != nil || seq <= seen {
				continue
			}
			seen = seq
			if t, err := time.Parse(time.RFC3339, r.text("time")); err == nil {
				query.Set("since", t.Add(-clockSlip).UTC().Format(time.RFC3339Nano))
			}
			if err := printLine(cmd.OutOrStdout(), auditColumns(s.clock), r); err != nil {
				return err
			}
		}
		if err := s.pause(ctx, followPause); err != nil {
			return err
		}
	}
}
