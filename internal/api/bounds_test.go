package api

import (
	"fmt"
	"testing"
	"time"
)

// TestQuota makes room among the answers that are kept: no client has more than its share,
// all together no more than theirs, and who has most loses first.
func TestQuota(t *testing.T) {
	few := map[string]int{"a": maxClientReplies, "b": 5, "c": maxClientReplies + 50}
	quota(few, maxClientReplies, maxReplies)
	if few["a"] != 900 || few["b"] != 5 || few["c"] != 900 {
		t.Errorf("two clients with too many: %v", few)
	}
	many, sum := map[string]int{"small": 3}, 0
	for i := range 20 {
		many[fmt.Sprint(i)] = 999
	}
	quota(many, maxClientReplies, maxReplies)
	for _, n := range many {
		sum += n
	}
	if sum > maxReplies*9/10 || sum < maxReplies/2 || many["small"] != 3 {
		t.Errorf("%d are kept in all, %d of the small client", sum, many["small"])
	}
}

// TestGuessesAreBounded: when the table is full of those who guess now, nobody else may,
// and there is room again when their time is over.
func TestGuessesAreBounded(t *testing.T) {
	g, now := &guesses{table: map[string]*guessing{}}, time.Unix(1000, 0)
	for i := range maxGuessing {
		over, wait := g.begin(fmt.Sprint(i), now)
		if over == nil {
			t.Fatalf("%d has to wait %v", i, wait)
		}
		over(true)
	}
	if over, wait := g.begin("late", now); over != nil || wait != guessWindow || len(g.table) != maxGuessing {
		t.Errorf("wait %v, %d in the table", wait, len(g.table))
	}
	over, _ := g.begin("late", now.Add(guessWindow))
	if over == nil || len(g.table) != 1 {
		t.Fatalf("%d are in the table", len(g.table))
	}
	over(false)
	if len(g.table) != 0 {
		t.Error("who was recognised stays in the table")
	}
}
