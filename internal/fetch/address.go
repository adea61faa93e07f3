package fetch

import (
	"net/netip"
	"slices"
)

// class is how far an address is from a host on the public Internet.
type class int

const (
	public class = iota
	// private addresses lead into somebody's own network or machine.
	private
	// never are addresses that no operator means: link-local ones, cloud metadata services
	// (which give out credentials to whoever asks), the unspecified address (which leads to
	// the machine itself) and those that are not one host's.
	never
)

// The IANA special-purpose registries are the source of both lists (RFC 6890, RFC 8190).
var (
	privateNetworks = prefixes(
		"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", // RFC 1918
		"100.64.0.0/10",          // shared by a carrier's customers, RFC 6598
		"127.0.0.0/8", "::1/128", // loopback
		"192.0.0.0/24",          // protocol assignments, RFC 6890
		"198.18.0.0/15",         // benchmarks, RFC 2544
		"fc00::/7", "fec0::/10", // unique local, RFC 4193, and what was there before it
		"64:ff9b:1::/48", "::/96", // local NAT64, RFC 8215; IPv4-compatible, RFC 4291 2.5.5.1
		"::ffff:0:0:0/96", // IPv4-translated, RFC 2765: within somebody's own network
		"2001::/32",       // Teredo, RFC 4380: tunnels into hosts behind a NAT, and out of use
	)
	neverNetworks = prefixes(
		"0.0.0.0/8", "::/128", // this network, RFC 791
		"169.254.0.0/16", "fe80::/10", // link-local
		"224.0.0.0/4", "ff00::/8", // multicast
		"240.0.0.0/4", // reserved, and broadcast
		// metadata services outside the link-local networks
		"100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32", // Alibaba, Azure, Oracle
		"fd00:ec2::254/128", "fd20:ce::254/128", "fd00:c1::a9fe:a9fe/128", "fd00:42::42/128", // AWS, Google, Oracle, Scaleway
	)
	loopback6 = netip.MustParsePrefix("::1/128")
	linkLocal = netip.MustParsePrefix("169.254.0.0/16")

	// networks whose addresses hold an IPv4 address that the traffic ends at
	nat64      = netip.MustParsePrefix("64:ff9b::/96")    // RFC 6052: the last four bytes
	localNAT64 = netip.MustParsePrefix("64:ff9b:1::/48")  // RFC 8215: its owner decides where
	compatible = netip.MustParsePrefix("::/96")           // RFC 4291 section 2.5.5.1
	sixToFour  = netip.MustParsePrefix("2002::/16")       // RFC 3056: bytes 2 to 5
	translated = netip.MustParsePrefix("::ffff:0:0:0/96") // RFC 2765 (SIIT): the last four bytes
	teredo     = netip.MustParsePrefix("2001::/32")       // RFC 4380: the server's, and the inverted client's
)

func prefixes(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// IsPrivate reports whether an address is not a host's on the public Internet: loopback,
// link-local, private, shared, unique local, unspecified, multicast, a cloud's metadata
// service, or a mapped or translated form of one of these.
func IsPrivate(a netip.Addr) bool { return classify(a) != public }

func classify(a netip.Addr) class {
	if !a.IsValid() {
		return never
	}
	a = a.Unmap().WithZone("")
	within := func(p netip.Prefix) bool { return p.Contains(a) }
	if slices.ContainsFunc(neverNetworks, within) {
		return never
	}
	kind := public
	if slices.ContainsFunc(privateNetworks, within) {
		kind = private
	}
	if a.Is4() || loopback6.Contains(a) {
		return kind
	}
	return max(kind, classifyEmbedded(a))
}

// classifyEmbedded judges the IPv4 address within an IPv6 address.
func classifyEmbedded(a netip.Addr) class {
	b := a.As16()
	switch {
	case nat64.Contains(a), compatible.Contains(a), translated.Contains(a):
		return classify(netip.AddrFrom4([4]byte(b[12:16])))
	case sixToFour.Contains(a):
		return classify(netip.AddrFrom4([4]byte(b[2:6])))
	case teredo.Contains(a):
		server := netip.AddrFrom4([4]byte(b[4:8]))
		client := netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]})
		return max(classify(server), classify(client))
	case localNAT64.Contains(a):
		// the four places of RFC 6052 section 2.2 within a /48; byte 8 is not used
		for _, at := range [][4]byte{
			{b[6], b[7], b[9], b[10]}, {b[7], b[9], b[10], b[11]}, {b[9], b[10], b[11], b[12]}, {b[12], b[13], b[14], b[15]},
		} {
			if linkLocal.Contains(netip.AddrFrom4(at)) {
				return never
			}
		}
	}
	return public
}
