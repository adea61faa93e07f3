package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

// adminMount is where the API is on Caddy's admin endpoint.
const adminMount = "/rr"

// connection are the flags that say how the management API is reached: through the admin
// endpoint of a running Caddy, or at a URL where rr_api serves it.
type connection struct {
	address, config, adapter                    string
	url, tokenFile, tokenEnv, tokenHeader, user string
	ca                                          string
	timeout                                     time.Duration
}

// addFlags adds the flags to a command, or to all below it.
func (c *connection) addFlags(cmd *cobra.Command, below bool) {
	fs := cmd.Flags()
	if below {
		fs = cmd.PersistentFlags()
	}
	fs.StringVar(&c.address, "address", "", "address of Caddy's admin endpoint, as in localhost:2019 or unix//run/caddy/admin.sock")
	fs.StringVarP(&c.config, "config", "c", "", "configuration file that says where the admin endpoint is")
	fs.StringVarP(&c.adapter, "adapter", "a", "", "name of the configuration's adapter")
	fs.StringVar(&c.url, "url", "", "where rr_api serves the management API, as in https://gw.example.com/manage; in place of the admin endpoint")
	fs.StringVar(&c.tokenFile, "token-file", "", "file with the token or key for --url")
	fs.StringVar(&c.tokenEnv, "token-env", "", "name of the environment variable with the token or key for --url")
	fs.StringVar(&c.tokenHeader, "token-header", "", "header for the token (default: Authorization, as a bearer token)")
	fs.StringVar(&c.user, "user", "", "user name for --url, if the token is a password (Basic)")
	fs.StringVar(&c.ca, "ca", "", "file with the certificates that --url is to be trusted by, in place of the system's")
	fs.DurationVar(&c.timeout, "timeout", time.Minute, "how long the API may take to answer")
}

// check refuses flags that contradict one another.
func (c *connection) check() error {
	if c.url == "" {
		if c.tokenFile+c.tokenEnv+c.tokenHeader+c.user+c.ca != "" {
			return errors.New("--token-file, --token-env, --token-header, --user and --ca go with --url: the admin endpoint asks for no token")
		}
		return nil
	}
	switch {
	case c.address+c.config+c.adapter != "":
		return errors.New("--url takes the place of the admin endpoint, which --address and --config are about: say one of them")
	case c.tokenFile != "" && c.tokenEnv != "":
		return errors.New("the token is in a file or in the environment: say one of --token-file and --token-env")
	case c.tokenHeader != "" && c.user != "":
		return errors.New("--user is for Basic, which has its own header: --token-header does not go with it")
	}
	return nil
}

// open makes the client that the flags describe. Nothing is sent yet.
func (c *connection) open() (*client, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if c.url != "" {
		return c.openURL()
	}
	return c.openAdmin()
}

// openAdmin is for the admin endpoint, found as Caddy's own commands find it.
func (c *connection) openAdmin() (*client, error) {
	text, err := caddycmd.DetermineAdminAPIAddress(c.address, nil, c.config, c.adapter)
	if err != nil {
		return nil, err
	}
	address, err := caddy.ParseNetworkAddress(text)
	if err != nil || address.PortRangeSize() > 1 || address.IsFdNetwork() {
		return nil, fmt.Errorf("the admin endpoint's address %q is not one that can be called; say another with --address, as in localhost:2019 or unix//run/caddy/admin.sock", text)
	}
	network, dialled, origin := address.Network, address.JoinHostPort(0), address.JoinHostPort(0)
	if address.IsUnixNetwork() {
		// what follows the bar are the socket's permissions; the host is what Caddy wants of sockets
		dialled, _, _ = strings.Cut(address.Host, "|")
		network, origin = "unix", "127.0.0.1"
	}
	header := http.Header{}
	if !address.IsUnixNetwork() {
		header.Set("Origin", "http://"+origin)
	}
	dialer := net.Dialer{Timeout: 10 * time.Second}
	return &client{
		http: c.client(&http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return dialer.DialContext(ctx, network, dialled)
			},
		}),
		base:    "http://" + origin + adminMount,
		header:  header,
		timeout: c.timeout,
		place:   "Caddy's admin endpoint " + text,
		hint:    "is Caddy running, and its admin endpoint on and there? Say where with --address or --config, or use --url",
	}, nil
}

// openURL is for an API that rr_api serves.
func (c *connection) openURL() (*client, error) {
	u, err := url.Parse(c.url)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || (u.Scheme != "https" && u.Scheme != "http") {
		return nil, errors.New("--url is not an address such as https://gw.example.com/manage")
	}
	if u.Scheme == "http" && !isLoopback(u.Hostname()) {
		return nil, errors.New("--url has to be https: the token would go over the network in clear")
	}
	header, err := c.authorization()
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout: 10 * time.Second,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:   true,
	}
	if c.ca != "" {
		if transport.TLSClientConfig.RootCAs, err = readRoots(c.ca); err != nil {
			return nil, err
		}
	}
	return &client{
		http:    c.client(transport),
		base:    strings.TrimRight(u.String(), "/"),
		header:  header,
		timeout: c.timeout,
		place:   u.String(),
		hint:    "does --url say where rr_api is, and is the gateway running?",
	}, nil
}

// client never follows a redirect: it would carry the token elsewhere.
func (c *connection) client(transport *http.Transport) *http.Client {
	transport.ResponseHeaderTimeout = c.timeout
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// authorization is the header that --url is called with.
func (c *connection) authorization() (http.Header, error) {
	header := http.Header{}
	token, err := readToken(c.tokenFile, c.tokenEnv)
	switch {
	case err != nil:
		return nil, err
	case token == "":
		if c.user != "" || c.tokenHeader != "" {
			return nil, errors.New("--user and --token-header need the token, from --token-file or --token-env")
		}
	case c.user != "":
		header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(c.user+":"+token)))
	case c.tokenHeader != "":
		header.Set(c.tokenHeader, token)
	default:
		header.Set("Authorization", "Bearer "+token)
	}
	return header, nil
}

func readToken(file, variable string) (string, error) {
	switch {
	case file != "":
		return secretFromFile(file, nil)
	case variable != "":
		return secretFromEnv(variable)
	}
	return "", nil
}

func readRoots(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s has no PEM certificate", file)
	}
	return roots, nil
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback()
}
