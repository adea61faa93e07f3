package api

import (
	"mime"
	"strconv"
	"strings"
)

const (
	jsonType  = "application/json"
	linesType = "application/x-ndjson"
	bytesType = "application/octet-stream"
	htmlType  = "text/html; charset=utf-8"
)

// preferred is the first of some types that the Accept fields of a request want most (RFC
// 9110 section 12.5.1), empty if they want none. Without a field everything is wanted.
func preferred(accept []string, offers []string) string {
	all := strings.Join(accept, ",")
	if strings.TrimSpace(all) == "" {
		return offers[0]
	}
	best, most := "", 0.0
	for _, offer := range offers {
		if q := quality(all, strings.TrimSpace(strings.Split(offer, ";")[0])); q > most {
			best, most = offer, q
		}
	}
	return best
}

// quality is how much a type is wanted: what the most specific range says that fits it.
func quality(accept, offer string) float64 {
	major, _, _ := strings.Cut(offer, "/")
	q, precision := 0.0, 0
	for entry := range strings.SplitSeq(accept, ",") {
		media, parameters, err := mime.ParseMediaType(entry)
		if err != nil {
			continue
		}
		p := 0
		switch media {
		case offer:
			p = 3
		case major + "/*":
			p = 2
		case "*/*":
			p = 1
		}
		if p > precision {
			q, precision = weight(parameters["q"]), p
		}
	}
	return q
}

func weight(q string) float64 {
	if q == "" {
		return 1
	}
	f, err := strconv.ParseFloat(q, 64)
	if err != nil || !(f >= 0 && f <= 1) {
		return 0
	}
	return f
}
