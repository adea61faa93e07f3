package wire

import (
	"regexp/syntax"
	"testing"
)

// TestSizeOf compares with what is compiled.
func TestSizeOf(t *testing.T) {
	for _, source := range []string{
		"", "abc", "a{1000}", "(?:a{1000}){1}b{1000}c{1000}", "(a|bc|d){40}", "(?:ab?){3,500}", "x{2,}y*z+", "((a{10}){10}){10}", "(?i)straße{100}", "^.*$", `(\bab\b){200}`,
	} {
		tree, err := syntax.Parse(source, syntax.Perl)
		if err != nil {
			t.Fatal(err)
		}
		prog, err := syntax.Compile(tree.Simplify())
		if err != nil {
			t.Fatal(err)
		}
		if n, real := sizeOf(source), len(prog.Inst); n < real*9/10-4 || n > real*2+1 {
			t.Errorf("%s is judged to have %d parts and has %d", source, n, real)
		}
	}
}
