package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"
)

func (s *session) authorize() *cobra.Command {
	cmd := s.verb(credentials, "authorize <name or id>", "Have somebody consent to an OAuth credential, and wait for it", cobra.ExactArgs(1))
	cmd.Long = `Prints the address where a person consents that the gateway uses an OAuth credential
(authorization_code), and waits until the provider has sent the browser back to the gateway.
The address is on standard output alone, messages are on standard error.`
	cmd.Example = "  caddy rr authorize google-drive\n  xdg-open \"$(caddy rr authorize google-drive --wait 0 --quiet)\""
	var wait time.Duration
	var redirect string
	cmd.Flags().DurationVar(&wait, "wait", 10*time.Minute, "how long to wait for the consent; 0: not at all")
	cmd.Flags().StringVar(&redirect, "redirect-uri", "", "where the provider sends the browser, as it is registered there (default: the API's own callback)")
	s.withQuiet(cmd)
	return s.calling(cmd, func(ctx context.Context, cmd *cobra.Command, args []string) error {
		path, err := credentials.path(cmd, args[0])
		if err != nil {
			return err
		}
		before, err := s.lookForConsent(ctx, cmd, path)
		if err != nil {
			return err
		}
		body := record{}
		if redirect != "" {
			body["redirectUri"] = redirect
		}
		rec, _, err := s.fetch(ctx, call{method: http.MethodPost, path: path + "/oauth2/authorize", body: body.encode()})
		if err != nil {
			return err
		}
		s.say(cmd, "open this address in a browser and consent:")
		if _, err := fmt.Fprintln(cmd.OutOrStdout(), printable(rec.text("authorizationUrl"))); err != nil || wait == 0 {
			return err
		}
		return s.awaitConsent(ctx, cmd, path, before, wait)
	})
}

// consent is what can be seen of the consent to a credential.
type consent struct {
	credential record
	// temporary says that nobody has ever consented; count is how many times somebody has,
	// -1 if the caller may not know.
	temporary bool
	count     int
}

// lookForConsent looks at a credential, and, if somebody has consented to it before, into
// the audit log: a consent that renews another is seen there alone.
func (s *session) lookForConsent(ctx context.Context, cmd *cobra.Command, path string) (consent, error) {
	rec, _, err := s.get(ctx, credentials, path)
	if err != nil {
		return consent{}, err
	}
	c := consent{credential: rec, temporary: rec.at("credentialTemporary") == true}
	if c.temporary {
		return c, nil
	}
	query := url.Values{"resource": {credentials.plural}, "id": {rec.text(credentials.id)}}
	items, err := s.api.list(ctx, pathOf("clients", ownerOf(cmd), "audit"), "audit", query, 0)
	if p, ok := errors.AsType[*problem](err); ok && p.Status == http.StatusForbidden {
		c.count = -1
		return c, nil
	}
	if err != nil {
		return consent{}, err
	}
	entries, err := decodeRecords(items)
	for _, e := range entries {
		if e.text("action") == "consent" {
			c.count++
		}
	}
	return c, err
}

// consentPause is the time between two looks whether a consent has come.
const consentPause = 2 * time.Second

// awaitConsent waits until somebody has consented, for the first time or once more.
func (s *session) awaitConsent(ctx context.Context, cmd *cobra.Command, path string, before consent, wait time.Duration) error {
	if before.count < 0 {
		s.say(cmd, "somebody has consented before; your role cannot see whether it happens again, so it is not waited for")
		return nil
	}
	end := s.now().Add(wait)
	s.say(cmd, "waiting until %s", s.clock.show(end.Format(time.RFC3339)))
	for s.now().Before(end) {
		if err := s.pause(ctx, consentPause); err != nil {
			return err
		}
		now, err := s.lookForConsent(ctx, cmd, path)
		if err != nil {
			return err
		}
		if !now.temporary && (before.temporary || now.count > before.count) {
			s.say(cmd, "%s can be used", credentials.called(now.credential))
			return nil
		}
	}
	return errors.New("nobody has consented in time; the same command begins anew")
}
