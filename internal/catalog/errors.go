package catalog

import (
	"fmt"
	"strings"
)

// Invalid says that a record cannot be as it is.
type Invalid struct {
	// Field is where: a path in the record, such as spec, name or rules/3/path_regexp.
	Field string
	// Detail says what is wrong and what to do; it has no secret.
	Detail string
}

// Error implements error.
func (e *Invalid) Error() string { return e.Field + ": " + e.Detail }

// Ref names a resource.
type Ref struct {
	Kind string // credentials, targets, proxies or blocklist
	ID   string
	Name string
}

// Conflict says that a change does not go together with what is there.
type Conflict struct {
	Detail string
	// Users are what stands in the way.
	Users []Ref
}

// Error implements error.
func (e *Conflict) Error() string {
	if len(e.Users) == 0 {
		return e.Detail
	}
	names := make([]string, len(e.Users))
	for i, u := range e.Users {
		names[i] = fmt.Sprintf("%s %s", singular(u.Kind), u.Name)
	}
	return e.Detail + ": " + strings.Join(names, ", ")
}

// singular is what a bucket has.
func singular(bucket string) string {
	if s, ok := strings.CutSuffix(bucket, "ies"); ok {
		return s + "y"
	}
	return strings.TrimSuffix(bucket, "s")
}

func conflict(format string, args ...any) error {
	return &Conflict{Detail: fmt.Sprintf(format, args...)}
}

func invalid(field, format string, args ...any) error {
	return &Invalid{Field: field, Detail: fmt.Sprintf(format, args...)}
}
