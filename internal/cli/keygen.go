package cli

import (
	"crypto/rand"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/caddy-rr/caddy-rr/store/secret"
	"github.com/caddy-rr/caddy-rr/verify"
)

func keygen() *cobra.Command {
	prefix := secret.DefaultKeyPrefix
	cmd := &cobra.Command{
		Use:   "keygen",
		Short: "Make an API key for a caller",
		Long: `Makes an API key with 256 random bits and prints it, once, with the line that
accepts it. The line holds only the key's SHA-256: the configuration then has no secret.
Nothing is stored.`,
		Example: "  caddy rr keygen\n  caddy rr keygen --prefix acme_test_",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			key, err := secret.NewKey(prefix, rand.Reader)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "key:  %s\nhash: %s\n\naccept key {\n\thash %s\n}\n",
				key, verify.FormatHash(key), verify.FormatHash(key))
			return err
		},
	}
	cmd.Flags().StringVar(&prefix, "prefix", prefix, "what the key begins with")
	return cmd
}
