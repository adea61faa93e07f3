package token

import (
	"testing"
	"time"
)

func TestMargin(t *testing.T) {
	for _, c := range []struct{ life, low, high time.Duration }{
		{24 * time.Hour, 48 * time.Second, time.Minute},
		{time.Hour, 48 * time.Second, time.Minute},
		{5 * time.Minute, 24 * time.Second, 36 * time.Second},
		{100 * time.Second, 10 * time.Second, 12 * time.Second},
		{time.Minute, 10 * time.Second, 12 * time.Second},
		{20 * time.Second, 8 * time.Second, 10 * time.Second},
		{10 * time.Second, 4 * time.Second, 5 * time.Second},
		{time.Second, 400 * time.Millisecond, 500 * time.Millisecond},
	} {
		least, most := c.life, time.Duration(0)
		for range 2000 {
			m := margin(c.life)
			least, most = min(least, m), max(most, m)
		}
		if least < c.low || most > c.high {
			t.Errorf("a life of %v has margins from %v to %v, want %v to %v", c.life, least, most, c.low, c.high)
		}
		if most-least < (c.high-c.low)/2 {
			t.Errorf("a life of %v has margins from %v to %v only", c.life, least, most)
		}
	}
}

func TestLifetime(t *testing.T) {
	began := time.Now()
	now := began.Add(2 * time.Second)
	for name, c := range map[string]struct {
		token Token
		until time.Duration // from now; 0: none
		want  time.Duration // from now
		last  bool
	}{
		"said":                 {token: Token{Expires: now.Add(time.Hour)}, want: time.Hour},
		"not said":             {want: 5*time.Minute - 2*time.Second},
		"not said, since when": {token: Token{Obtained: now}, want: 5 * time.Minute},
		"ended":                {token: Token{Expires: now.Add(-time.Hour)}, want: time.Second},
		"ends now":             {token: Token{Expires: now}, want: time.Second},
		"for ever":             {token: Token{Expires: now.AddDate(200, 0, 0)}, want: 24*time.Hour - 2*time.Second},
		"longer than caller":   {token: Token{Expires: now.Add(time.Hour)}, until: time.Minute, want: time.Minute, last: true},
		"as long as caller":    {token: Token{Expires: now.Add(time.Minute)}, until: time.Minute, want: time.Minute, last: true},
		"shorter than caller":  {token: Token{Expires: now.Add(time.Hour)}, until: 2 * time.Hour, want: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			var until time.Time
			if c.until != 0 {
				until = now.Add(c.until)
			}
			got, last := lifetime(c.token, began, now, until)
			if d := got.Expires.Sub(now); d != c.want || last != c.last {
				t.Errorf("it lives %v, last %v; want %v, %v", d, last, c.want, c.last)
			}
			if got.Obtained.IsZero() {
				t.Error("it is not known since when")
			}
		})
	}
}
