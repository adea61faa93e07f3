package cli

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-rr/caddy-rr/internal/exchange"
)

// Checker is the rr app, as far as `rr check` needs it.
type Checker interface {
	Check(proxy string, r *http.Request) (exchange.Report, error)
}

type checkFlags struct {
	config, adapter, proxy, secret, user, body string
	headers                                    []string
	json                                       bool
}

func check() *cobra.Command {
	var f checkFlags
	cmd := &cobra.Command{
		Use:   "check <method> <path>",
		Short: "Explain which verifier and which rules decide about a request",
		Long: `Loads the rr app of a configuration, without starting anything, and explains what
would happen to a request: which verifier recognises the caller, and what each rule of
each scope says. The credential is read from a file or from standard input (-), never
from the command line, and is sent as a bearer token; with --user it is the password of
that user. The request is not sent; issuers' keys are fetched and introspection endpoints asked,
as the gateway would. The exit status is 0 if the verifiers and rules let the request through;
whether a token for the upstream can be had is not tried.`,
		Example: `  printenv AGENT_KEY | caddy rr check --proxy stripe --secret - GET /v1/charges
  caddy rr check --proxy stripe --secret /run/secrets/agent POST /v1/charges --body charge.json -H 'Content-Type: application/json'`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0], args[1]) },
	}
	fs := cmd.Flags()
	fs.StringVarP(&f.config, "config", "c", "", "configuration file (default: Caddyfile in the current directory)")
	fs.StringVarP(&f.adapter, "adapter", "a", "", "name of the configuration's adapter")
	fs.StringVarP(&f.proxy, "proxy", "p", "", "name of the proxy")
	fs.StringVar(&f.secret, "secret", "", "file with the caller's credential, - for standard input")
	fs.StringVar(&f.user, "user", "", "user name, if the credential is a password (Basic)")
	fs.StringVar(&f.body, "body", "", "file with the request's body")
	fs.StringArrayVarP(&f.headers, "header", "H", nil, "header of the request, as in 'X-Env: prod'; {} in it stands for the credential")
	fs.BoolVar(&f.json, "json", false, "print JSON")
	_ = cmd.MarkFlagRequired("proxy")
	return cmd
}

func (f *checkFlags) run(cmd *cobra.Command, method, path string) error {
	cmd.SilenceUsage = true
	r, err := f.request(cmd.InOrStdin(), method, path)
	if err != nil {
		return err
	}
	report, err := f.ask(r)
	if err != nil {
		return err
	}
	if err := f.print(cmd.OutOrStdout(), report); err != nil {
		return err
	}
	if report.Status != 0 {
		return fmt.Errorf("the request would be refused: %d %s", report.Status, report.Decision)
	}
	return nil
}

// request builds the described request.
func (f *checkFlags) request(stdin io.Reader, method, path string) (*http.Request, error) {
	u, err := url.ParseRequestURI(path)
	if err != nil || !strings.HasPrefix(path, "/") {
		return nil, fmt.Errorf("%q is not a path such as /v1/charges?limit=3", path)
	}
	var body []byte
	if f.body != "" {
		if body, err = os.ReadFile(f.body); err != nil {
			return nil, err
		}
	}
	r, err := http.NewRequest(method, "http://localhost", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.URL, r.RequestURI = u, path
	secret, err := f.credential(stdin)
	if err != nil {
		return nil, err
	}
	inHeader := false
	for _, h := range f.headers {
		name, value, ok := strings.Cut(h, ":")
		if !ok {
			return nil, fmt.Errorf("header %q is not of the form 'Name: value'", h)
		}
		if strings.Contains(value, "{}") {
			inHeader = true
			value = strings.ReplaceAll(value, "{}", secret)
		}
		r.Header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	switch {
	case secret == "" || inHeader:
	case f.user != "":
		r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(f.user+":"+secret)))
	default:
		r.Header.Set("Authorization", "Bearer "+secret)
	}
	return r, nil
}

func (f *checkFlags) credential(stdin io.Reader) (string, error) {
	if f.secret == "" {
		return "", nil
	}
	var b []byte
	var err error
	if f.secret == "-" {
		b, err = io.ReadAll(io.LimitReader(stdin, 1<<20))
	} else {
		b, err = os.ReadFile(f.secret)
	}
	if err != nil {
		return "", err
	}
	secret := strings.TrimRight(string(b), "\r\n")
	if secret == "" {
		return "", errors.New("the credential is empty")
	}
	return secret, nil
}

// ask provisions the rr app alone and has it explain.
func (f *checkFlags) ask(r *http.Request) (exchange.Report, error) {
	raw, _, _, err := caddycmd.LoadConfig(f.config, f.adapter)
	if err != nil {
		return exchange.Report{}, err
	}
	if len(raw) == 0 {
		return exchange.Report{}, errors.New("there is no Caddyfile in this directory; say which configuration with --config")
	}
	var cfg struct {
		Apps map[string]json.RawMessage `json:"apps"`
	}
	if err := json.Unmarshal(raw, &cfg); err != nil {
		return exchange.Report{}, err
	}
	if cfg.Apps["rr"] == nil {
		return exchange.Report{}, errors.New("the configuration has no rr app: its Caddyfile has no global option `rr { … }`")
	}
	ctx, err := caddy.ProvisionContext(&caddy.Config{
		Admin:   &caddy.AdminConfig{Disabled: true},
		AppsRaw: caddy.ModuleMap{"rr": cfg.Apps["rr"]},
	})
	if err != nil {
		return exchange.Report{}, err
	}
	app, err := ctx.App("rr")
	if err != nil {
		return exchange.Report{}, err
	}
	checker, ok := app.(Checker)
	if !ok {
		return exchange.Report{}, fmt.Errorf("the app rr is a %T, which cannot explain", app)
	}
	return checker.Check(f.proxy, r)
}

func (f *checkFlags) print(w io.Writer, report exchange.Report) error {
	if f.json {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(report)
	}
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, s := range report.Steps {
		fmt.Fprintf(tw, "%s\t%s\t%s\n", s.Scope, s.What, s.Result)
	}
	fmt.Fprintf(tw, "decision\t%s\t%s\n", report.Decision, report.Upstream)
	return tw.Flush()
}
