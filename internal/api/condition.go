package api

import (
	"strconv"
	"strings"
)

// condition is an If-Match or If-None-Match field (RFC 9110 section 13.1).
type condition struct {
	set, any bool
	versions []uint64 // of the entity-tags that are ours and strong
	weak     []uint64 // of those with W/
}

// tagOf is the entity-tag of a version; empty for what has none.
func tagOf(version uint64) string {
	if version == 0 {
		return ""
	}
	return `"` + strconv.FormatUint(version, 10) + `"`
}

// parseCondition reads such a field; name is its, for the problem. Entity-tags that are
// not of this API are no error: they fit nothing.
func parseCondition(name, field string) (condition, error) {
	switch strings.TrimSpace(field) {
	case "":
		return condition{}, nil
	case "*":
		return condition{set: true, any: true}, nil
	}
	c := condition{set: true}
	for rest := field; ; {
		rest = strings.TrimLeft(rest, " \t,")
		if rest == "" {
			return c, nil
		}
		opaque, weak := strings.CutPrefix(rest, "W/")
		if !strings.HasPrefix(opaque, `"`) {
			return condition{}, badParameter(name, `it has to be * or entity-tags as ETag had them, such as "7"`)
		}
		tag, after, closed := strings.Cut(opaque[1:], `"`)
		if !closed {
			return condition{}, badParameter(name, "an entity-tag has no closing quotation mark")
		}
		rest = after
		if version, err := strconv.ParseUint(tag, 10, 64); err == nil && tagOf(version) == `"`+tag+`"` {
			if weak {
				c.weak = append(c.weak, version)
			} else {
				c.versions = append(c.versions, version)
			}
		}
	}
}

// strong reports whether a record of a version may be changed.
func (c condition) strong(version uint64) bool {
	return !c.set || c.any || has(c.versions, version)
}

// same reports whether whoever asks has a record of this version already.
func (c condition) same(version uint64) bool {
	return c.set && (c.any || has(c.versions, version) || has(c.weak, version))
}

func has(list []uint64, version uint64) bool {
	for _, v := range list {
		if v == version {
			return true
		}
	}
	return false
}

// check is the problem of a change that was asked for with a condition.
func (c condition) check(version uint64) error {
	if c.strong(version) {
		return nil
	}
	return problem(codeStale, "its ETag is another one by now: read it again, and repeat the change on what it is now").with("ETag", tagOf(version))
}
