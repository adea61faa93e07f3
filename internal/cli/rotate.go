package cli

import (
	"context"
	"errors"
	"net/http"

	"github.com/spf13/cobra"
)

func (s *session) rotate() *cobra.Command {
	cmd := s.verb(credentials, "rotate <name or id>", "Give a credential a new secret", cobra.ExactArgs(1))
	cmd.Long = `Gives a credential a new secret, which holds at once. With --overlap a proxy credential's
earlier one is accepted for that time too, so that callers can change over without an outage.
A key credential of callers needs no new secret: one is made and printed, once.`
	cmd.Example = `  KEY=$(caddy rr credentials rotate research-agent --overlap 24h --quiet)
  caddy rr credentials rotate stripe --secret-file /run/secrets/stripe-new`
	var overlap, file, key, ifMatch string
	addSecretFlags(s, cmd)
	cmd.Flags().StringVar(&overlap, "overlap", "", "for how long the earlier secret is accepted, too, as in 24h or 7d (default: not at all)")
	cmd.Flags().StringVar(&file, "file", "", "JSON file with credentialSecret, as in the API; - for standard input")
	addKeyFlag(cmd, &key)
	addMatchFlag(cmd, &ifMatch)
	s.withJSON(cmd)
	s.withQuiet(cmd)
	return s.calling(cmd, func(ctx context.Context, cmd *cobra.Command, args []string) error {
		path, err := credentials.path(cmd, args[0])
		if err != nil {
			return err
		}
		body, err := s.rotation(ctx, cmd, path, file)
		if err != nil {
			return err
		}
		if overlap != "" {
			d, err := parsePeriod(overlap)
			if err != nil {
				return errors.New("--overlap is not a time such as 24h or 7d")
			}
			body["overlap"] = d.String()
		}
		answer, err := s.api.do(ctx, call{method: http.MethodPost, path: path + "/rotate", body: body.encode(), ifMatch: quoteTag(ifMatch), key: keyOr(key)})
		if err != nil {
			return err
		}
		return s.made(cmd, credentials, "rotated", answer)
	})
}

// rotation is the body with the new secret.
func (s *session) rotation(ctx context.Context, cmd *cobra.Command, path, file string) (record, error) {
	body := record{}
	if file != "" {
		if file == "-" && (s.secret.stdin || s.secret.file == "-") {
			return nil, errTwice
		}
		var err error
		if body, _, err = readBody(cmd, file); err != nil {
			return nil, err
		}
	}
	_, err := fillSecret(s, cmd, body, func() (record, error) {
		rec, _, err := s.get(ctx, credentials, path)
		return rec, err
	})
	return body, err
}
