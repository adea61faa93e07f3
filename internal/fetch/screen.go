package fetch

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/idna"
)

// lookUpTime bounds a look-up by CheckHost.
const lookUpTime = 3 * time.Second

// Permits judges an address that is about to be dialled, for https. The error says why not.
func (p Policy) Permits(a netip.Addr) error { return p.permits(a) }

// CheckAddress refuses a URL that CheckURL refuses, or that leads where the policy does
// not permit, as CheckHost tells.
func (p Policy) CheckAddress(ctx context.Context, raw string) error {
	u, err := CheckURL(raw)
	if err != nil {
		return err
	}
	if u.Scheme == "http" {
		return CheckHost(ctx, u.Hostname(), p.permitsPlain)
	}
	return CheckHost(ctx, u.Hostname(), p.permits)
}

// CheckHost refuses a host that leads where permits does not agree: an address, in whatever
// spelling somebody may understand as one, or a name that has such an address now. A name
// that cannot be looked up now, within 3 s, passes, since names change: whoever dials has
// to judge the address once more. The error does not tell the addresses of names.
func CheckHost(ctx context.Context, host string, permits func(netip.Addr) error) error {
	name, a, err := readHost(host)
	switch {
	case err != nil && a.IsValid(): // it is an address in a spelling of its own
		if refused := permits(a); refused != nil {
			return refused
		}
		return err
	case err != nil:
		return err
	case a.IsValid():
		return permits(a)
	case name == "localhost" || strings.HasSuffix(name, ".localhost"): // RFC 6761 section 6.3
		if permits(netip.AddrFrom4([4]byte{127, 0, 0, 1})) == nil {
			return nil
		}
		return permits(netip.IPv6Loopback())
	}
	ctx, cancel := context.WithTimeout(ctx, lookUpTime)
	defer cancel()
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", name)
	if err != nil {
		return nil
	}
	for _, a := range found {
		if err := permits(a); err != nil {
			return &leading{name, err}
		}
	}
	return nil
}

// leading says that a name has a closed address.
type leading struct {
	name string
	why  error
}

func (l *leading) Error() string { return l.name + " leads to an address that is not allowed" }
func (l *leading) Unwrap() error { return l.why }

// readHost tells a name from an address. With an error the address is what the host may be
// taken for, if anything.
func readHost(host string) (name string, a netip.Addr, err error) {
	name = strings.TrimSuffix(strings.ToLower(host), ".")
	if inner, ok := strings.CutPrefix(name, "["); ok {
		name = strings.TrimSuffix(inner, "]")
	}
	if a, err := netip.ParseAddr(name); err == nil {
		if a.Zone() != "" && !a.IsLinkLocalUnicast() {
			return name, a, errors.New("a zone (%…) is for link-local addresses alone")
		}
		return name, a, nil
	}
	if ascii, err := idna.Lookup.ToASCII(name); err == nil {
		name = ascii // which turns digits of other scripts into ours
	} else if strings.ContainsFunc(name, func(c rune) bool { return c > 0x7e || c <= ' ' }) {
		return name, a, errors.New("it is not a host name")
	}
	if name == "" || name[0] == '.' || strings.Contains(name, "..") || name[len(name)-1] == '.' {
		return name, a, errors.New("it is not a host name")
	}
	if a, err := netip.ParseAddr(name); err == nil {
		return name, a, fmt.Errorf("write the address as %s", a)
	}
	last := name[strings.LastIndexByte(name, '.')+1:]
	if _, ok := number(last); !ok && strings.Trim(last, "0123456789") != "" {
		return name, a, nil
	}
	// no top-level domain is a number, so somebody will take it for an address
	if a = oldAddress(name); a.IsValid() {
		return name, a, fmt.Errorf("write the address as %s", a)
	}
	return name, a, errors.New("it is neither a host name nor an address")
}

// oldAddress reads an IPv4 address as inet_aton does, and with it many programs: one to
// four numbers, each decimal, octal or hexadecimal, of which the last fills what is left.
func oldAddress(s string) netip.Addr {
	parts := strings.Split(s, ".")
	if len(parts) > 4 {
		return netip.Addr{}
	}
	var sum uint64
	for i, part := range parts {
		n, ok := number(part)
		width := 1
		if i == len(parts)-1 {
			width = 5 - len(parts)
		}
		if !ok || n >= 1<<(8*width) {
			return netip.Addr{}
		}
		sum = sum<<(8*width) | n
	}
	return netip.AddrFrom4([4]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)})
}

// number is one of an old address. With 0x alone it is 0 to some.
func number(s string) (n uint64, ok bool) {
	if hex, found := strings.CutPrefix(s, "0x"); found {
		if hex == "" {
			return 0, true
		}
		n, err := strconv.ParseUint(hex, 16, 32)
		return n, err == nil
	}
	if len(s) > 1 && s[0] == '0' {
		n, err := strconv.ParseUint(s[1:], 8, 32)
		return n, err == nil
	}
	n, err := strconv.ParseUint(s, 10, 32)
	return n, err == nil
}
