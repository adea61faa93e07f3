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
(authorization_code), and waits until the provider has sent the browser back.
The address is on standard output alone, messages are on standard error.

The browser comes back to this command, which listens at http://127.0.0.1:<port>/callback
meanwhile, and passes on what it brings; so the browser has to be on this machine. With
--redirect-uri it comes back to a callback of the management API on a site.`
	cmd.Example = `  caddy rr authorize google-drive
  caddy rr authorize google-drive --port 8400
  caddy rr authorize google-drive --quiet | xargs -n1 xdg-open
  caddy rr authorize google-drive --redirect-uri https://gw.example.com/manage/oauth2/callback`
	var f consentFlags
	cmd.Flags().DurationVar(&f.wait, "wait", 10*time.Minute, "how long to wait for the consent; 0: not at all")
	cmd.Flags().StringVar(&f.redirect, "redirect-uri", "", "where the provider sends the browser, as it is registered there (default: this command itself; with --wait 0 the API's own callback, if it has one)")
	cmd.Flags().Uint16Var(&f.port, "port", 0, "the port at which the browser comes back to this command (default: any)")
	s.withQuiet(cmd)
	return s.calling(cmd, func(ctx context.Context, cmd *cobra.Command, args []string) error {
		if f.port != 0 && !f.listens() {
			return errors.New("--port is for a browser that comes back to this command, which it does not with --redirect-uri or --wait 0")
		}
		path, err := credentials.path(cmd, args[0])
		if err != nil {
			return err
		}
		if f.listens() {
			return s.authorizeHere(ctx, cmd, path, f)
		}
		return s.authorizeElsewhere(ctx, cmd, path, f)
	})
}

// consentFlags are the flags of authorize.
type consentFlags struct {
	wait     time.Duration
	redirect string
	port     uint16
}

// listens reports whether the browser comes back to this command.
func (f consentFlags) listens() bool { return f.redirect == "" && f.wait != 0 }

// authorizeHere has the browser come back to this command.
func (s *session) authorizeHere(ctx context.Context, cmd *cobra.Command, path string, f consentFlags) error {
	rec, _, err := s.get(ctx, credentials, path)
	if err != nil {
		return err
	}
	l, err := listenForBrowser(f.port)
	if err != nil {
		return err
	}
	defer l.listen.Close()
	where, err := s.beginConsent(ctx, path, l.uri)
	if err != nil {
		return err
	}
	if u, err := url.Parse(where); err == nil {
		l.state = u.Query().Get("state")
	}
	if l.state == "" {
		return fmt.Errorf("the answer of %s has no authorizationUrl with a state", s.api.place)
	}
	l.pass = func(query url.Values) error { return s.endConsent(ctx, query) }
	if err := s.showConsent(cmd, where); err != nil {
		return err
	}
	s.say(cmd, "waiting at %s until %s", l.uri, s.until(f.wait))
	if err := l.await(ctx, f.wait); err != nil {
		return err
	}
	s.say(cmd, "%s can be used", credentials.called(rec))
	return nil
}

// authorizeElsewhere has the browser come back to the API, and looks there for what has
// come of it.
func (s *session) authorizeElsewhere(ctx context.Context, cmd *cobra.Command, path string, f consentFlags) error {
	before, err := s.lookForConsent(ctx, cmd, path)
	if err != nil {
		return err
	}
	where, err := s.beginConsent(ctx, path, f.redirect)
	if p, ok := errors.AsType[*problem](err); ok && f.redirect == "" && p.isAbout("/redirectUri") {
		return fmt.Errorf("%w\nsay it with --redirect-uri, or let the browser come back to this command, without --wait 0", err)
	}
	if err != nil {
		return err
	}
	if err := s.showConsent(cmd, where); err != nil || f.wait == 0 {
		return err
	}
	return s.awaitConsent(ctx, cmd, path, before, f.wait)
}

// beginConsent returns the address where somebody consents. Without a redirect URI it is
// the API's own.
func (s *session) beginConsent(ctx context.Context, path, redirect string) (string, error) {
	body := record{}
	if redirect != "" {
		body["redirectUri"] = redirect
	}
	rec, _, err := s.fetch(ctx, call{method: http.MethodPost, path: path + "/oauth2/authorize", body: body.encode()})
	return rec.text("authorizationUrl"), err
}

// endConsent passes on what a browser has brought.
func (s *session) endConsent(ctx context.Context, query url.Values) error {
	_, err := s.api.do(ctx, call{method: http.MethodGet, path: "/oauth2/callback", query: query, accept: "text/html", once: true})
	if _, ok := errors.AsType[*problem](err); err != nil && !ok {
		return fmt.Errorf("%w\nwhether the consent counts is not known: the same command begins anew", err)
	}
	return err
}

func (s *session) showConsent(cmd *cobra.Command, where string) error {
	s.say(cmd, "open this address in a browser and consent:")
	_, err := fmt.Fprintln(cmd.OutOrStdout(), printable(where))
	return err
}

// until is the end of a time that begins now.
func (s *session) until(wait time.Duration) string {
	return s.clock.show(s.now().Add(wait).Format(time.RFC3339))
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
	s.say(cmd, "waiting until %s", s.until(wait))
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
	return errNobody
}
