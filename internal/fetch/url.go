package fetch

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// maxURL bounds a URL's length in bytes.
const maxURL = 2048

// CheckURL reads a URL that a Client could fetch: https, or http to this machine
// (localhost, 127.0.0.0/8, ::1), without user information and without a fragment. The
// error does not quote the URL.
func CheckURL(raw string) (*url.URL, error) {
	if len(raw) > maxURL {
		return nil, fmt.Errorf("a URL has at most %d bytes; this one has %d", maxURL, len(raw))
	}
	if strings.Contains(raw, "#") {
		return nil, errors.New("a URL that is fetched has no fragment (#…)")
	}
	u, err := url.Parse(raw)
	if err != nil {
		if e := (*url.Error)(nil); errors.As(err, &e) {
			err = e.Err // without the URL
		}
		return nil, fmt.Errorf("not a URL: %w", err)
	}
	if err := checkURL(u); err != nil {
		return nil, err
	}
	return u, nil
}

func checkURL(u *url.URL) error {
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return errors.New("the URL must begin with https:// (or http:// for this machine)")
	case u.Opaque != "" || u.Hostname() == "":
		return errors.New("the URL has no host")
	case strings.ContainsAny(u.Host, "<>{} "):
		return errors.New("the host has something to fill in: <…> or {…} stands for yours")
	case u.User != nil:
		return errors.New("the URL must not hold a user name or password")
	case u.Fragment != "":
		return errors.New("a URL that is fetched has no fragment (#…)")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return fmt.Errorf("%s: http is for this machine alone (localhost, 127.0.0.0/8, ::1); it must be https", u.Host)
	}
	if _, port, ok := strings.Cut(u.Host[strings.LastIndex(u.Host, "]")+1:], ":"); ok {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return fmt.Errorf("%s: %q is not a port", u.Hostname(), port)
		}
	}
	return nil
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}

// SameOrigin reports whether two URLs lead to the same scheme, host and port: what the
// operator said of one holds for the other.
func SameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && portOf(a) == portOf(b)
}

func portOf(u *url.URL) string {
	if port := u.Port(); port != "" {
		return port
	}
	if u.Scheme == "https" {
		return "443"
	}
	return "80"
}
