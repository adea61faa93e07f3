package rule

import (
	"fmt"

	"github.com/theory/jsonpath"
)

// JSONPath selects values of a JSON document (RFC 9535).
type JSONPath struct{ path *jsonpath.Path }

// ParseJSONPath reads a path such as $.data.token.
func ParseJSONPath(text string) (*JSONPath, error) {
	path, err := jsonpath.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%q is not a JSONPath such as $.amount (RFC 9535): %w", text, err)
	}
	return &JSONPath{path}, nil
}

// Select returns what the path selects of a document that strictjson has decoded.
func (p *JSONPath) Select(doc any) []any { return p.path.Select(doc) }
