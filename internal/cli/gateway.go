package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"

	"github.com/spf13/cobra"
)

func (s *session) test() *cobra.Command {
	cmd := s.verb(proxies, "test <name or id>", "Call a proxy's target with its credential", cobra.ExactArgs(1))
	cmd.Long = `Has the gateway call the target's test path with the target credential, as a proxied request
would, but for the caller. The exit status is 0 if the answer is a 2xx or 3xx.`
	cmd.Example = "  caddy rr test stripe"
	s.withJSON(cmd)
	return s.calling(cmd, func(ctx context.Context, cmd *cobra.Command, args []string) error {
		path, err := proxies.path(cmd, args[0])
		if err != nil {
			return err
		}
		rec, answer, err := s.fetch(ctx, call{method: http.MethodPost, path: path + "/test", body: []byte("{}")})
		if err != nil {
			return err
		}
		if s.json {
			err = printJSON(cmd.OutOrStdout(), answer.body)
		} else {
			err = printRecord(cmd.OutOrStdout(), []column{
				member("STATUS", "status"), member("UPSTREAM", "upstream"), told("TOOK", func(r record) string { return r.text("durationMs") + " ms" }),
			}, rec)
		}
		if err != nil {
			return err
		}
		return testVerdict(rec)
	})
}

// testVerdict is an error unless a test's answer is a success.
func testVerdict(rec record) error {
	if why := printable(rec.text("error")); why != "" {
		return fmt.Errorf("the target cannot be used: %s", why)
	}
	if status, err := strconv.Atoi(rec.text("status")); err != nil || status < 200 || status > 399 {
		return fmt.Errorf("the target answers %s", printable(rec.text("status")))
	}
	return nil
}

func (s *session) health() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "health",
		Short:   "Tell whether the gateway's store can be used",
		Long:    "Tells whether the gateway's store can be read and written. The exit status is 0 if it can.",
		Example: "  caddy rr health",
		Args:    cobra.NoArgs,
	}
	s.withJSON(cmd)
	return s.calling(cmd, func(ctx context.Context, cmd *cobra.Command, _ []string) error {
		rec, answer, err := s.fetch(ctx, call{method: http.MethodGet, path: "/health"})
		if err != nil {
			return err
		}
		if s.json {
			err = printJSON(cmd.OutOrStdout(), answer.body)
		} else {
			err = printRecord(cmd.OutOrStdout(), healthColumns(rec), rec)
		}
		if err == nil && rec.text("status") != "ok" {
			err = fmt.Errorf("the store is %s", printable(rec.text("status")))
		}
		return err
	})
}

func healthColumns(rec record) []column {
	columns := []column{member("STATUS", "status"), member("DETAIL", "detail"), member("ROTATING", "rotating")}
	counts, _ := rec.at("records").(map[string]any)
	for _, kind := range slices.Sorted(maps.Keys(counts)) {
		columns = append(columns, member(kind, "records."+kind))
	}
	return columns
}

func (s *session) rotateKey() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rotate-key",
		Short: "Give the store a new key and seal every record anew",
		Long: `Gives the store a new key and seals every record anew, while it is in use. It goes on where an
earlier one was interrupted: if this command is, give it again. The key that the configuration
has (encryption_key) is another one; it seals the store's keys, and is not changed by this.`,
		Example: "  caddy rr rotate-key --yes",
		Args:    cobra.NoArgs,
	}
	var sure bool
	cmd.Flags().BoolVarP(&sure, "yes", "y", false, "do not ask")
	s.withQuiet(cmd)
	return s.calling(cmd, func(ctx context.Context, cmd *cobra.Command, _ []string) error {
		if !sure {
			if err := s.confirm(cmd, "Seal every record of the store with a new key?"); err != nil {
				return err
			}
		}
		if !cmd.Flags().Changed("timeout") {
			s.api.patient() // a million records take their time
		}
		rec, _, err := s.fetch(ctx, call{method: http.MethodPost, path: "/store/rotate-key"})
		if err != nil {
			if _, isAnswer := errors.AsType[*problem](err); !isAnswer {
				return fmt.Errorf("%w\nwhat was sealed anew stays so; the same command goes on", err)
			}
			return err
		}
		s.say(cmd, "sealed %s records with a new key", printable(rec.text("records")))
		return nil
	})
}
