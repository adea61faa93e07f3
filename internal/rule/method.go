package rule

import (
	"fmt"
	"strings"
)

// known are the methods of the IANA registry (RFC 9110 section 16.1), in the order of
// their bits.
var known = strings.Fields(`GET HEAD POST PUT PATCH DELETE OPTIONS QUERY CONNECT TRACE ACL BASELINE-CONTROL BIND
	CHECKIN CHECKOUT COPY LABEL LINK LOCK MERGE MKACTIVITY MKCALENDAR MKCOL MKREDIRECTREF MKWORKSPACE MOVE ORDERPATCH
	PRI PROPFIND PROPPATCH REBIND REPORT SEARCH UNBIND UNCHECKOUT UNLINK UNLOCK UPDATE UPDATEREDIRECTREF VERSION-CONTROL`)

var methodBits = func() map[string]uint64 {
	m := make(map[string]uint64, len(known))
	for i, name := range known {
		m[name] = 1 << i
	}
	return m
}()

// bit returns a method's bit, 0 if it is unknown. Methods are case-sensitive (RFC 9110
// section 9.1).
func bit(method string) uint64 { return methodBits[method] }

// anyCaseBit is bit for deny rules: an upstream may well take "get" for GET.
func anyCaseBit(method string) uint64 {
	if b := bit(method); b != 0 {
		return b
	}
	return bit(strings.ToUpper(method))
}

// methodMask returns the bits of a rule's methods, 0 for all methods.
func methodMask(methods []string) (mask uint64, err error) {
	all := false
	for _, m := range methods {
		if m == "*" {
			all = true
			continue
		}
		b := bit(m)
		if b == 0 {
			return 0, unknownMethod(m)
		}
		mask |= b
	}
	if all {
		return 0, nil
	}
	return mask, nil
}

func unknownMethod(m string) error {
	upper := strings.ToUpper(m)
	if bit(upper) != 0 {
		return fmt.Errorf("%q is written %s: methods are in capitals", m, upper)
	}
	hint := ""
	if near := nearest(upper); near != "" {
		hint = " (did you mean " + near + "?)"
	}
	return fmt.Errorf("%q is not a registered HTTP method%s; such requests match only rules for all methods", m, hint)
}

// nearest returns the known method that m is at most two typing errors away from, or "".
func nearest(m string) string {
	best, found := 3, ""
	for _, name := range known {
		if d := Distance(m, name); d < best && d < len(m) {
			best, found = d, name
		}
	}
	return found
}

// Distance is the Levenshtein distance of two texts, in bytes: how many typing errors apart they
// are.
func Distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
