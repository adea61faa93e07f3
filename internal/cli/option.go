package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-rr/caddy-rr/internal/strictjson"
)

// form is how a flag's value becomes JSON.
type form int

const (
	text      form = iota // a string; an empty one is null
	texts                 // a list of strings: the flag is repeated, or has commas
	yes                   // true or false
	number                // a whole number
	moment                // a time: RFC 3339, or from now on as in 90d or 36h; never is null
	file                  // the content of a file
	pairs                 // an object: the flag is repeated, each name=value
	ruleList              // a list of rules, each as in 'GET /v1/*'
	checkList             // a list of conditions, each as in Name=pattern
)

// option is a flag that sets a member of a record. Dots go into members of members.
type option struct {
	flag, member string
	form         form
	usage        string
	// once says that the flag is for new records alone.
	once bool
	// refers is what the value names, for completion.
	refers *resource
	// values are what the value may be, for completion.
	values []string
}

func (o *option) add(s *session, cmd *cobra.Command) {
	fs := cmd.Flags()
	switch o.form {
	case texts:
		fs.StringSlice(o.flag, nil, o.usage)
	case pairs, ruleList, checkList:
		fs.StringArray(o.flag, nil, o.usage)
	case yes:
		fs.Bool(o.flag, false, o.usage)
	case number:
		fs.Int64(o.flag, 0, o.usage)
	default:
		fs.String(o.flag, "", o.usage)
	}
	switch {
	case o.refers != nil:
		s.complete(cmd, o.flag, o.refers)
	case o.values != nil:
		_ = cmd.RegisterFlagCompletionFunc(o.flag, cobra.FixedCompletions(o.values, cobra.ShellCompDirectiveNoFileComp))
	case o.form != file:
		_ = cmd.RegisterFlagCompletionFunc(o.flag, cobra.NoFileCompletions)
	}
}

// value is what the flag says, as JSON.
func (o *option) value(c clock, cmd *cobra.Command) (any, error) {
	fs := cmd.Flags()
	switch o.form {
	case texts:
		return fs.GetStringSlice(o.flag)
	case yes:
		return fs.GetBool(o.flag)
	case number:
		return fs.GetInt64(o.flag)
	case pairs, ruleList, checkList:
		list, err := fs.GetStringArray(o.flag)
		if err != nil {
			return nil, err
		}
		if len(list) == 0 { // which is how one empty text comes out
			return nil, errors.New("it is empty")
		}
		switch o.form {
		case ruleList:
			return parseRules(o.flag, list)
		case checkList:
			return parseChecks(list)
		}
		return parsePairs(list)
	}
	value, err := fs.GetString(o.flag)
	if err != nil {
		return nil, err
	}
	switch {
	case value == "":
		return nil, nil
	case o.form == moment:
		return c.parse(value)
	case o.form == file:
		content, err := os.ReadFile(value)
		return string(content), err
	}
	return value, nil
}

// options are the flags of a record. Rules of several flags are put together.
type options []option

func (list options) add(s *session, cmd *cobra.Command, isNew bool) {
	for i := range list {
		if isNew || !list[i].once {
			list[i].add(s, cmd)
		}
	}
}

// fill sets the members of a body whose flags are given, and reports whether there are any.
func (list options) fill(c clock, cmd *cobra.Command, body record) (given bool, err error) {
	for i := range list {
		o := &list[i]
		if !cmd.Flags().Changed(o.flag) {
			continue
		}
		given = true
		value, err := o.value(c, cmd)
		if err != nil {
			return given, fmt.Errorf("--%s: %w", o.flag, err)
		}
		if more, isList := value.([]any); isList {
			if there, ok := body.at(o.member).([]any); ok {
				value = append(there, more...)
			}
		}
		if err := body.set(o.member, value); err != nil {
			return given, fmt.Errorf("--%s: %w", o.flag, err)
		}
	}
	return given, nil
}

// set sets a member; dots go into members of members, which are made.
func (r record) set(path string, value any) error {
	object := map[string]any(r)
	for {
		name, rest, deeper := strings.Cut(path, ".")
		if !deeper {
			object[name] = value
			return nil
		}
		if object[name] == nil {
			object[name] = map[string]any{}
		}
		inner, ok := object[name].(map[string]any)
		if !ok {
			return fmt.Errorf("%s is there and is no object", name)
		}
		object, path = inner, rest
	}
}

func (r record) encode() []byte {
	text, err := json.Marshal(r)
	if err != nil { // texts, numbers and lists of them
		panic(err)
	}
	return text
}

// readBody reads a JSON object from a file, or from standard input if that is -. Its bytes
// are returned too: a body that no flag changes is sent as it is, so that it is the API that
// judges it.
func readBody(cmd *cobra.Command, name string) (record, []byte, error) {
	r := cmd.InOrStdin()
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, nil, err
		}
		defer f.Close()
		r = f
	}
	const most = 64 << 20
	raw, err := io.ReadAll(io.LimitReader(r, most+1))
	if err != nil {
		return nil, nil, err
	}
	if len(raw) > most {
		return nil, nil, fmt.Errorf("%s has more than %d bytes", name, most)
	}
	object, err := strictjson.Object(raw, strictjson.Options{})
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	return object, raw, nil
}

// parse reads a moment.
func (c clock) parse(text string) (any, error) {
	if text == "never" {
		return nil, nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t.Format(time.RFC3339), nil
	}
	d, err := parsePeriod(text)
	if err != nil {
		return nil, errors.New("it is neither a time as in 2027-01-31T12:00:00Z, nor one from now on as in 90d or 36h, nor never")
	}
	return c.now().Add(d).UTC().Format(time.RFC3339), nil
}

// parsePeriod reads a time.Duration, or whole days as in 90d.
func parsePeriod(text string) (time.Duration, error) {
	days, isDays := strings.CutSuffix(text, "d")
	if !isDays {
		return time.ParseDuration(text)
	}
	var n int
	if _, err := fmt.Sscanf(days+"\n", "%d\n", &n); err != nil || n < 0 || n > 36500 {
		return 0, errors.New("it is no number of days")
	}
	return time.Duration(n) * 24 * time.Hour, nil
}

// parsePairs reads name=value, where the value is text, and name:=value, where it is JSON.
func parsePairs(list []string) (any, error) {
	object := record{}
	for _, pair := range list {
		name, value, ok := strings.Cut(pair, "=")
		name, isJSON := strings.CutSuffix(name, ":")
		if !ok || name == "" {
			return nil, errors.New("each has to be name=value, or name:=value for JSON")
		}
		if !isJSON {
			object[name] = value
			continue
		}
		decoded, err := strictjson.Decode([]byte(value), strictjson.Options{})
		if err != nil {
			return nil, fmt.Errorf("%s:= has a value that is not JSON: %w", name, err)
		}
		object[name] = decoded
	}
	return map[string]any(object), nil
}
