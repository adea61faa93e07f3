package store

import (
	"errors"
	"strings"
	"testing"
)

func TestCheckWrites(t *testing.T) {
	long := strings.Repeat("n", MaxName+1)
	value := []byte("v")
	for what, c := range map[string]struct {
		writes []Write
		want   string
	}{
		"nothing":                {nil, ""},
		"a create":               {[]Write{{Bucket: "b", Key: "k", Version: 1, Value: value}}, ""},
		"an empty value":         {[]Write{{Bucket: "b", Key: "k", Version: 1, Value: []byte{}}}, ""},
		"a deletion":             {[]Write{{Bucket: "b", Key: "k", Expect: 4}}, ""},
		"one key in two buckets": {[]Write{{Bucket: "a", Key: "k", Version: 1, Value: value}, {Bucket: "b", Key: "k", Version: 1, Value: value}}, ""},
		"the longest names":      {[]Write{{Bucket: long[1:], Key: long[1:], Version: 1, Value: value}}, ""},
		"any version":            {[]Write{{Bucket: "b", Key: "k", Expect: Any, Version: 1, Value: value}}, ""},
		"no bucket":              {[]Write{{Key: "k", Version: 1, Value: value}}, "a bucket's name has 1 to 512 bytes, not 0"},
		"a long bucket":          {[]Write{{Bucket: long, Key: "k", Version: 1, Value: value}}, "a bucket's name has 1 to 512 bytes, not 513"},
		"no key":                 {[]Write{{Bucket: "b"}}, "a key has 1 to 512 bytes, not 0"},
		"a long key":             {[]Write{{Bucket: "b", Key: long}}, "a key has 1 to 512 bytes, not 513"},
		"a large value":          {[]Write{{Bucket: "b", Key: "k", Version: 1, Value: make([]byte, MaxValue+1)}}, "not 8388609"},
		"no version":             {[]Write{{Bucket: "b", Key: "k", Value: value}}, "needs a version"},
		"Any as a version":       {[]Write{{Bucket: "b", Key: "k", Version: Any, Value: value}}, "needs a version"},
		"a renewal":              {[]Write{{Bucket: "b", Key: "k", Expect: 2, Version: 2, Value: value}}, ""},
		"a smaller version":      {[]Write{{Bucket: "b", Key: "k", Expect: 2, Version: 1, Value: value}}, "version 1 does not follow version 2"},
		"one record twice":       {[]Write{{Bucket: "b", Key: "k", Expect: 1}, {Bucket: "b", Key: "k", Version: 1, Value: value}}, "write 1: the record is written twice"},
	} {
		err := CheckWrites(c.writes)
		if c.want == "" && err != nil || c.want != "" && (!errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", what, err, c.want)
		}
	}
}

func TestJudge(t *testing.T) {
	value := []byte("v")
	for _, c := range []struct {
		expect uint64
		value  []byte
		has    uint64
		want   error
	}{
		{0, value, 0, nil},
		{0, value, 3, ErrConflict},
		{3, value, 3, nil},
		{3, value, 4, ErrConflict},
		{3, value, 0, ErrConflict},
		{Any, value, 0, nil},
		{Any, value, 3, nil},
		{3, nil, 3, nil},
		{3, nil, 4, ErrConflict},
		{3, nil, 0, ErrNotFound},
		{0, nil, 3, ErrConflict},
		{0, nil, 0, ErrNotFound},
		{Any, nil, 0, nil},
		{Any, nil, 3, nil},
	} {
		w := Write{Bucket: "b", Key: "k", Expect: c.expect, Value: c.value}
		if err := w.Judge(c.has); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("expecting %d of %d, deletion %v: %v, want %v", c.expect, c.has, c.value == nil, err, c.want)
		}
	}
}
