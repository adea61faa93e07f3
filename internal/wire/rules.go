package wire

import (
	"slices"

	"github.com/caddy-rr/caddy-rr/store"
)

// rules sets the rules of a record, if the body has any: a list in the place of the one
// before. A rule that says the ruleId of one that is there stays that rule.
func (r *reader) rules(m *members, member string, to *[]store.Rule) {
	v, there := m.object[member]
	if !there {
		return
	}
	at, before := pointer("", member), *to
	*to = nil
	if v == nil {
		return
	}
	list, ok := v.([]any)
	if !ok {
		r.fault(at, "it has to be a list of rules")
		return
	}
	for i, x := range list {
		object, ok := x.(map[string]any)
		if !ok {
			r.fault(pointer(at, i), "it has to be a rule, an object")
			continue
		}
		own := &reader{size: r.size}
		d := newRuleReader(own, object)
		made := store.Rule{Priority: d.priority(), Rule: d.rule()}
		for _, f := range own.faults {
			r.fault(pointer(at, i)+f.Pointer, "%s", f.Detail)
		}
		if r.size = own.size; r.size > MaxScopeOps {
			return // nothing that follows is compiled any more
		}
		id, _ := object["ruleId"].(string)
		if j := slices.IndexFunc(before, func(b store.Rule) bool { return b.ID == id }); id != "" && j >= 0 {
			made.ID, made.CreatedAt = id, before[j].CreatedAt
		}
		*to = append(*to, made)
	}
	if r.err() != nil {
		return
	}
	if faults, ok := CheckRules(*to).(Faults); ok {
		for _, f := range faults {
			r.fault(at+f.Pointer, "%s", f.Detail)
		}
	}
}

// showRules are a record's rules as the API shows them.
func showRules(rules []store.Rule, owner *store.Head) []Rule {
	var list []Rule
	for i := range rules {
		list = append(list, ShowRule(&rules[i], owner))
	}
	return list
}
