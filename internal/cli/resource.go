package cli

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

// resource is a kind of record that the API has. The commands of all kinds are made of
// these.
type resource struct {
	// plural is the name in paths, envelopes and commands.
	plural, singular string
	// id and name are the members that identify a record; name may be empty.
	id, name string
	// short and about are what help says.
	short, about string
	// home are the segments of the list's path; scope adds the flags that it needs.
	home  func(cmd *cobra.Command) []string
	scope func(s *session, cmd *cobra.Command)
	// columns are what tables show, and more what is shown of one record beside them.
	columns, more func(clock) []column
	filters       []filter
	options       options
	// hooks add to the flags of create and update, and to the body that these make.
	hooks *hooks
	// whole says that PUT replaces all of a record: an update changes what is there.
	whole bool
	// fixed says that there is no update.
	fixed bool
	// examples are what help shows, by verb.
	examples map[string]string
}

// filter is a flag of list that becomes a parameter of the query.
type filter struct {
	flag, parameter, usage string
	values                 []string
	yes                    bool
}

// hooks are what a kind of records needs beside its options.
type hooks struct {
	add func(s *session, cmd *cobra.Command)
	// fill completes a body; old is the record that is changed, nil of a new one. It tells
	// whether flags of its own are given.
	fill func(s *session, cmd *cobra.Command, body record, old func() (record, error)) (given bool, err error)
}

// one is the record of an answer that is about one.
func (r *resource) one(body []byte) (record, error) {
	var envelope map[string]json.RawMessage
	var list []json.RawMessage
	if json.Unmarshal(body, &envelope) != nil || json.Unmarshal(envelope[r.plural], &list) != nil || len(list) != 1 {
		return nil, fmt.Errorf("the API's answer has no %s", r.singular)
	}
	return decodeRecord(list[0])
}

// called is how people call a record.
func (r *resource) called(rec record) string {
	id := printable(rec.text(r.id))
	if name := printable(rec.text(r.name)); r.name != "" && name != "" && name != id {
		return fmt.Sprintf("%s %s (%s)", r.singular, name, id)
	}
	return fmt.Sprintf("%s %s", r.singular, id)
}

// path is that of the list, or with an id or name, of one record.
func (r *resource) path(cmd *cobra.Command, more ...string) (string, error) {
	for _, name := range more {
		if name == "" || name == "." || name == ".." {
			return "", errors.New("a name or id is empty")
		}
	}
	return pathOf(append(r.home(cmd), more...)...), nil
}

// owned is the home of what a client owns.
func owned(plural string) func(*cobra.Command) []string {
	return func(cmd *cobra.Command) []string { return []string{"clients", ownerOf(cmd), plural} }
}

var effects = []string{"allow", "deny"}

// common are the options of all that has a name, a region and rules.
func common(prefix string, own ...option) options {
	return append(options{
		{flag: "name", member: prefix + "Name", usage: "its name, unique among the client's"},
		{flag: "region", member: prefix + "Region", usage: "a label that has to be the same in what works together"},
		{flag: "default", member: prefix + "DefaultRuleEffect", usage: "what holds when no rule matches: allow or deny", values: effects},
		{flag: "allow", member: prefix + "Rules", form: ruleList, once: true, usage: "a rule that allows these methods and paths, as in 'GET,POST /v1/*'; repeated"},
		{flag: "deny", member: prefix + "Rules", form: ruleList, once: true, usage: "a rule that denies these methods and paths; repeated"},
	}, own...)
}

// stamps are columns for when a record was made and changed.
func stamps(c clock, prefix string) []column {
	return []column{c.column("CREATED", prefix+"CreatedAt"), c.column("UPDATED", prefix+"UpdatedAt")}
}

// column shows a time.
func (c clock) column(title, path string) column {
	return told(title, func(r record) string { return c.show(r.text(path)) })
}

// ruleLines are a record's rules in words.
func ruleLines(path string) column {
	return told("RULES", func(r record) string {
		list, _ := r.at(path).([]any)
		text := ""
		for i, item := range list {
			rule, _ := item.(map[string]any)
			if i > 0 {
				text += "; "
			}
			text += record(rule).text("effect") + " " + describeRule(rule)
		}
		return text
	})
}

// fromConfig marks what the configuration declares.
var fromConfig = told("FROM", func(r record) string {
	if r.at("declared") == true {
		return "configuration"
	}
	return ""
})
