package cli

import (
	"context"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
)

// group is the command of one kind of records, with all that can be done with them.
func (s *session) group(r *resource, more ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use:     r.plural,
		Aliases: []string{r.singular},
		Short:   r.short,
		Long:    r.about,
		Args:    cobra.NoArgs, // an unknown command is an error, not a request for help
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	s.connection.addFlags(cmd, true)
	cmd.AddCommand(s.list(r), s.show(r), s.create(r))
	if !r.fixed {
		cmd.AddCommand(s.update(r))
	}
	cmd.AddCommand(s.remove(r))
	cmd.AddCommand(more...)
	return cmd
}

// verb begins a command for one kind of records.
func (s *session) verb(r *resource, use, short string, args cobra.PositionalArgs) *cobra.Command {
	name, _, _ := strings.Cut(use, " ")
	cmd := &cobra.Command{Use: use, Short: short, Args: args, Example: r.examples[name]}
	r.scope(s, cmd)
	if strings.Contains(use, "<") {
		cmd.ValidArgsFunction = s.completeArgs(r)
	} else {
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
	return cmd
}

// nameOf is what an argument of a command is called in its help.
func nameOf(r *resource) string {
	if r.name == "" {
		return "<id>"
	}
	return "<name or id>"
}

func (s *session) list(r *resource) *cobra.Command {
	cmd := s.verb(r, "list", "List "+r.plural, cobra.NoArgs)
	var limit int
	cmd.Flags().IntVar(&limit, "limit", 0, "list so many at most (default: all)")
	for _, f := range r.filters {
		if f.yes {
			cmd.Flags().Bool(f.flag, false, f.usage)
			continue
		}
		cmd.Flags().String(f.flag, "", f.usage)
		_ = cmd.RegisterFlagCompletionFunc(f.flag, cobra.FixedCompletions(f.values, cobra.ShellCompDirectiveNoFileComp))
	}
	s.withJSON(cmd)
	return s.calling(cmd, func(ctx context.Context, cmd *cobra.Command, _ []string) error {
		path, err := r.path(cmd)
		if err != nil {
			return err
		}
		query := url.Values{}
		for _, f := range r.filters {
			if given := cmd.Flags().Lookup(f.flag); given.Changed {
				query.Set(f.parameter, given.Value.String())
			}
		}
		items, err := s.api.list(ctx, path, r.plural, query, limit)
		if err != nil {
			return err
		}
		if s.json {
			return printList(cmd.OutOrStdout(), r.plural, items)
		}
		records, err := decodeRecords(items)
		if err != nil {
			return err
		}
		if len(records) == 0 {
			s.say(cmd, "there are none")
			return nil
		}
		columns := r.columns(s.clock)
		s.nameReferences(ctx, cmd, columns, records...)
		return printTable(cmd.OutOrStdout(), columns, records)
	})
}

func (s *session) show(r *resource) *cobra.Command {
	cmd := s.verb(r, "get "+nameOf(r), "Show one of the "+r.plural, cobra.ExactArgs(1))
	s.withJSON(cmd)
	return s.calling(cmd, func(ctx context.Context, cmd *cobra.Command, args []string) error {
		path, err := r.path(cmd, args[0])
		if err != nil {
			return err
		}
		rec, answer, err := s.get(ctx, r, path)
		if err != nil {
			return err
		}
		if s.json {
			return printJSON(cmd.OutOrStdout(), answer.body)
		}
		columns := append(r.columns(s.clock), r.more(s.clock)...)
		s.nameReferences(ctx, cmd, columns, rec)
		if answer.etag != "" {
			rec["etag"] = answer.etag
			columns = append(columns, member("ETAG", "etag"))
		}
		return printRecord(cmd.OutOrStdout(), columns, rec)
	})
}

// mostNames bounds how many names are looked up for one table.
const mostNames = 100

// nameReferences puts names in the place of ids, for people. What cannot be looked up stays.
func (s *session) nameReferences(ctx context.Context, cmd *cobra.Command, columns []column, records ...record) {
	known := map[string]string{}
	for _, c := range columns {
		for _, r := range records {
			if c.refers == nil {
				break
			}
			list := []any{}
			for _, id := range r.texts(c.path) {
				list = append(list, s.nameOf(ctx, cmd, c.refers, id, known))
			}
			r[c.path] = list
		}
	}
}

func (s *session) nameOf(ctx context.Context, cmd *cobra.Command, r *resource, id string, known map[string]string) string {
	if name, ok := known[id]; ok {
		return name
	}
	if len(known) == mostNames {
		return id
	}
	known[id] = id
	path, err := r.path(cmd, id)
	if err != nil {
		return id
	}
	if rec, _, err := s.get(ctx, r, path); err == nil && rec.text(r.name) != "" {
		known[id] = rec.text(r.name)
	}
	return known[id]
}
