// Package cli is the command `caddy rr …`.
package cli

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

// Register adds the command to Caddy's. It is for an init function.
func Register() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "rr",
		Short: "Work with the outbound API gateway",
		Long: `Makes keys for callers, explains the decisions of a configuration, and manages what a running
gateway has: credentials, targets, proxies, rules, clients and the blocklist.

What manages a running gateway calls its management API: through Caddy's admin endpoint, found
as for caddy reload (--address, --config), or with --url where rr_api serves it. Secrets come
from files, standard input or environment variables, never from the command line.`,
		CobraFunc: func(cmd *cobra.Command) { populate(cmd, newSession()) },
	})
}

// populate adds the commands to rr's own.
func populate(cmd *cobra.Command, s *session) {
	cmd.Args = cobra.NoArgs // an unknown command is an error, not a request for help
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.AddCommand(keygen(), check())
	for _, r := range resources {
		if r == credentials {
			cmd.AddCommand(s.group(r, s.rotate()))
			continue
		}
		cmd.AddCommand(s.group(r))
	}
	for _, c := range []*cobra.Command{s.authorize(), s.test(), s.health(), s.audit(), s.export(), s.load(), s.backup(), s.rotateKey()} {
		s.connection.addFlags(c, false)
		cmd.AddCommand(c)
	}
}
