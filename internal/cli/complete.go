package cli

import (
	"context"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

const (
	// completeTime is how long a shell waits for names.
	completeTime = 2 * time.Second
	// mostCompletions is how many names are asked for.
	mostCompletions = 200
)

// complete has a flag's value completed with the names of records.
func (s *session) complete(cmd *cobra.Command, flag string, r *resource) {
	_ = cmd.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
		return s.completions(cmd, r, begun, nil), cobra.ShellCompDirectiveNoFileComp
	})
}

// completeArgs completes arguments with the names of records.
func (s *session) completeArgs(r *resource) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 && !strings.HasSuffix(cmd.Use, "...") {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return s.completions(cmd, r, begun, args), cobra.ShellCompDirectiveNoFileComp
	}
}

// completions are the names that begin so. A shell is told of no error: there are none
// then.
func (s *session) completions(cmd *cobra.Command, r *resource, begun string, but []string) []string {
	ctx, err := s.open(cmd)
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, completeTime)
	defer cancel()
	path, err := r.path(cmd)
	if err != nil {
		return nil
	}
	items, err := s.api.list(ctx, path, r.plural, url.Values{}, mostCompletions)
	if err != nil {
		return nil
	}
	records, err := decodeRecords(items)
	if err != nil {
		return nil
	}
	return matching(r, records, begun, but)
}

func matching(r *resource, records []record, begun string, but []string) []string {
	taken := map[string]bool{}
	for _, name := range but {
		taken[name] = true
	}
	var found []string
	for _, rec := range records {
		id := rec.text(r.id)
		name := id
		if r != clients && rec.text(r.name) != "" { // clients go by their id
			name = rec.text(r.name)
		}
		if strings.HasPrefix(name, begun) && !taken[name] && !taken[id] {
			found = append(found, printable(name))
		}
	}
	return found
}
