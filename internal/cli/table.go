package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"
)

// record is one record of the API, as JSON.
type record map[string]any

// decodeRecord reads a record.
func decodeRecord(raw []byte) (record, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var r record
	if err := d.Decode(&r); err != nil || r == nil {
		return nil, fmt.Errorf("a record in the answer is not a JSON object")
	}
	return r, nil
}

func decodeRecords(items []json.RawMessage) ([]record, error) {
	records := make([]record, len(items))
	for i, raw := range items {
		var err error
		if records[i], err = decodeRecord(raw); err != nil {
			return nil, err
		}
	}
	return records, nil
}

// at is the value of a member; dots go into members of members.
func (r record) at(path string) any {
	var v any = map[string]any(r)
	for name := range strings.SplitSeq(path, ".") {
		object, _ := v.(map[string]any)
		v = object[name]
	}
	return v
}

// text is a member as text; "" if it is not there.
func (r record) text(path string) string { return plain(r.at(path)) }

// texts is a member that is a list of texts, or one text.
func (r record) texts(path string) []string {
	list, ok := r.at(path).([]any)
	if !ok {
		if s := r.text(path); s != "" {
			return []string{s}
		}
		return nil
	}
	texts := make([]string, len(list))
	for i, v := range list {
		texts[i] = plain(v)
	}
	return texts
}

// plain is a JSON value for people.
func plain(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case bool:
		if v {
			return "yes"
		}
		return "no"
	case json.Number:
		return v.String()
	case []any:
		parts := make([]string, len(v))
		for i, item := range v {
			parts[i] = plain(item)
		}
		return strings.Join(parts, ", ")
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // what was JSON is JSON
	return strings.TrimSuffix(b.String(), "\n")
}

// column is one of a table's.
type column struct {
	title string
	value func(record) string
	// path is the member that is shown, and refers what the ids in it are of.
	path   string
	refers *resource
}

// member is a column that shows a member.
func member(title, path string) column { return reference(title, path, nil) }

// reference is a column that shows the names of what a member refers to.
func reference(title, path string, to *resource) column {
	return column{title: title, value: func(r record) string { return r.text(path) }, path: path, refers: to}
}

// told is a column with something that is made of a record.
func told(title string, value func(record) string) column { return column{title: title, value: value} }

// printTable writes a table with a line for each record. Columns that are empty
// everywhere are left out, but for the first.
func printTable(w io.Writer, columns []column, records []record) error {
	rows := make([][]string, len(records))
	used := make([]bool, len(columns))
	used[0] = true
	for i, r := range records {
		for j, c := range columns {
			cell := shorten(printable(c.value(r)))
			used[j] = used[j] || cell != ""
			rows[i] = append(rows[i], cell)
		}
	}
	titles := make([]string, len(columns))
	for j, c := range columns {
		titles[j] = c.title
	}
	tw := newTabWriter(w)
	for _, row := range slices.Insert(rows, 0, titles) {
		var cells []string
		for j, cell := range row {
			if used[j] {
				cells = append(cells, orDash(cell))
			}
		}
		fmt.Fprintln(tw, strings.Join(cells, "\t"))
	}
	return tw.Flush()
}

// printRecord writes a record's columns below one another. Empty ones are left out.
func printRecord(w io.Writer, columns []column, r record) error {
	tw := newTabWriter(w)
	for _, c := range columns {
		if value := printable(c.value(r)); value != "" {
			fmt.Fprintf(tw, "%s\t%s\n", strings.ToLower(c.title), value)
		}
	}
	return tw.Flush()
}

// printLine writes a record's columns one after the other, for what is followed.
func printLine(w io.Writer, columns []column, r record) error {
	var cells []string
	for _, c := range columns {
		if cell := printable(c.value(r)); cell != "" {
			cells = append(cells, cell)
		}
	}
	_, err := fmt.Fprintln(w, strings.Join(cells, "  "))
	return err
}

func newTabWriter(w io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(w, 0, 4, 2, ' ', 0) }

func orDash(cell string) string {
	if cell == "" {
		return "-"
	}
	return cell
}

// widest is how many characters of a value a table shows.
const widest = 60

func shorten(s string) string {
	if utf8.RuneCountInString(s) <= widest {
		return s
	}
	return string([]rune(s)[:widest-1]) + "…"
}

// clock shows times where people are.
type clock struct {
	now  func() time.Time
	zone *time.Location
}

// show is an RFC 3339 time for people; another text stays as it is.
func (c clock) show(text string) string { return c.format(text, "2006-01-02 15:04") }

// precise is show to the second.
func (c clock) precise(text string) string { return c.format(text, "2006-01-02 15:04:05") }

func (c clock) format(text, layout string) string {
	t, err := time.Parse(time.RFC3339, text)
	switch {
	case err != nil:
		return text
	case t.IsZero():
		return ""
	}
	return t.In(c.zone).Format(layout)
}
