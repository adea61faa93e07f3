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
		Long:  "Makes keys for callers and explains the decisions of a configuration.",
		CobraFunc: func(cmd *cobra.Command) {
			cmd.Args = cobra.NoArgs // an unknown command is an error, not a request for help
			cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
			cmd.AddCommand(keygen(), check())
		},
	})
}
