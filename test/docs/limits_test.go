package docs

import (
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// limitsPage says what bounds everything that can grow.
const limitsPage = "docs/limits.md"

// notLimits are constants that are named like limits and are none.
var notLimits = map[string]string{
	"internal/jwks.maxAhead": "how far clocks may differ",
}

var (
	limitName = regexp.MustCompile(`^(max|Max|most)[A-Z]`)
	codeName  = regexp.MustCompile("`([a-z0-9/]*)\\.([A-Za-z0-9_]+)`")
	quantity  = regexp.MustCompile(`^([0-9][0-9,]*)(?: ([A-Za-z]+))?`)
)

// units are what a limit's number is multiplied with; other words count one.
var units = map[string]int64{
	"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30,
	"ms": 1e6, "s": 1e9, "min": 60e9, "h": 3600e9, "days": 24 * 3600e9,
}

// TestLimitsArePublished holds the page of limits against the code: each number is that of
// the constant beside it, each test is there, and no limit is left out.
func TestLimitsArePublished(t *testing.T) {
	source := readSource(t)
	told := map[string]bool{}
	for number, line := range strings.Split(readPage(t, limitsPage), "\n") {
		row := tableCells(line)
		if row == nil || row[0] == "what" {
			continue
		}
		place := fmt.Sprintf("%s:%d", limitsPage, number+1)
		if len(row) != 5 {
			t.Errorf("%s: a row has what, limit, constant, beyond it, test", place)
			continue
		}
		for _, fault := range source.judge(row, told) {
			t.Errorf("%s: %s: %s", place, row[0], fault)
		}
	}
	for name := range source.constants {
		if limitName.MatchString(path.Ext(name)[1:]) && !told[name] && notLimits[name] == "" {
			t.Errorf("%s is in no row of %s", name, limitsPage)
		}
	}
	for name := range notLimits {
		if source.constants[name] == nil {
			t.Errorf("there is no %s", name)
		}
	}
	if len(told) < 100 {
		t.Errorf("only %d limits found", len(told))
	}
}

// TestRowsOfLimitsThatAreWrong breaks each rule once.
func TestRowsOfLimitsThatAreWrong(t *testing.T) {
	source := readSource(t)
	const good = "`verify.TestTokenCacheIsBounded`"
	for _, tt := range []struct{ limit, constant, test, fault string }{
		{"50,000 tokens", "`verify.maxTokens`", good, ""},
		{"64 MiB", "`verify.maxTokenBytes`", good, ""},
		{"256 MiB", "`verify.maxArgonMemory` KiB", good, ""},
		{"2 s", "`verify.maxWait`", good, ""},
		{"as many as there are requests", "", good, ""},
		{"50,001 tokens", "`verify.maxTokens`", good, "is 50000"},
		{"64 KiB", "`verify.maxTokenBytes`", good, "is 67108864"},
		{"many", "`verify.maxTokens`", good, "no number"},
		{"7", "`verify.maxNothing`", good, "no constant"},
		{"7 s", "", good, "no constant beside it"},
		{"50,000 tokens", "`verify.maxTokens`", "`verify.TestNothing`", "no test"},
		{"50,000 tokens", "`verify.maxTokens`", "", "no test"},
	} {
		faults := source.judge([]string{"x", tt.limit, tt.constant, "y", tt.test}, map[string]bool{})
		if len(faults) > 1 || (tt.fault == "") != (len(faults) == 0) || !strings.Contains(strings.Join(faults, ""), tt.fault) {
			t.Errorf("%s: faults are %q, want %q", tt.limit, faults, tt.fault)
		}
	}
}

// judge is what is wrong with a row; the constants in it are told of.
func (s *source) judge(row []string, told map[string]bool) (faults []string) {
	limit, constant, tests := row[1], row[2], codeName.FindAllStringSubmatch(row[4], -1)
	m, named := quantity.FindStringSubmatch(limit), codeName.FindStringSubmatch(constant)
	switch {
	case named == nil && m != nil:
		faults = append(faults, "a number has no constant beside it")
	case named != nil && m == nil:
		faults = append(faults, "there is no number beside the constant")
	case named != nil:
		name := named[1] + "." + named[2]
		told[name] = true
		want, _ := strconv.ParseInt(strings.ReplaceAll(m[1], ",", ""), 10, 64)
		if unit := units[m[2]]; unit > 0 {
			want *= unit
		}
		got, known := s.value(name)
		if strings.HasSuffix(constant, " KiB") {
			got *= 1 << 10
		}
		if !known {
			faults = append(faults, "there is no constant "+name)
		} else if got != want {
			faults = append(faults, fmt.Sprintf("%s is %d, the row says %d", name, got, want))
		}
	}
	if len(tests) == 0 {
		faults = append(faults, "there is no test in it")
	}
	for _, test := range tests {
		if !s.tests[test[1]+"."+test[2]] {
			faults = append(faults, fmt.Sprintf("there is no test %s.%s", test[1], test[2]))
		}
	}
	return faults
}

// TestWhoStartsGoroutinesLooksForThem: each package whose code starts one has a test that
// finds those that are left.
func TestWhoStartsGoroutinesLooksForThem(t *testing.T) {
	s := readSource(t)
	for folder := range s.starts {
		if !s.checks[folder] {
			t.Errorf("%s starts goroutines, and none of its tests calls rrtest.NoLeak or rrtest.Main", folder)
		}
	}
	for _, folder := range []string{"store/bolt", "internal/catalog", "internal/jwks", "inject/token"} {
		if !s.starts[folder] {
			t.Errorf("%s starts goroutines, and that is not seen", folder)
		}
	}
}
