package rule

import (
	"errors"
	"net/url"
	"strings"
)

type pair struct{ name, value string }

var errQuery = errors.New("the query cannot be decoded")

// parseQuery splits at & alone; what cannot be decoded is an error, since nobody knows
// what the upstream would make of it.
func parseQuery(raw string) ([]pair, error) {
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
