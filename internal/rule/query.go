package rule

import (
	"errors"
	"net/url"
	"strings"
)

type pair struct{ name, value string }

var (
	errQuery     = errors.New("the query cannot be decoded")
	errSemicolon = errors.New("the query has a semicolon, which some servers take for a separator")
)

// parseQuery splits at & alone. What cannot be decoded, or what servers split in more than
// one way, is an error, since nobody knows what the upstream would make of it.
func parseQuery(raw string) ([]pair, error) {
	if strings.Contains(raw, ";") {
		return nil, errSemicolon
	}
	var list []pair
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		n, err := url.QueryUnescape(name)
		if err != nil {
			return nil, errQuery
		}
		v, err := url.QueryUnescape(value)
		if err != nil {
			return nil, errQuery
		}
		list = append(list, pair{n, v})
	}
	return list, nil
}
