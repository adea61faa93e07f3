package jose

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"time"
)

// lastSecond is that of the year 9999.
const lastSecond = 253402300799

// NumericDate reads a time (RFC 7519 section 2): seconds, maybe with a fraction. Texts and
// negative numbers, -0 too, and what no calendar has, are errors, which continue the name
// of the claim.
func NumericDate(v any) (time.Time, error) {
	n, ok := v.(json.Number)
	if !ok {
		return time.Time{}, errors.New("is not a number")
	}
	seconds, err := n.Float64()
	if err != nil || seconds < 0 || seconds > lastSecond || strings.HasPrefix(n.String(), "-") {
		return time.Time{}, errors.New("is not a time")
	}
	whole, fraction := math.Modf(seconds)
	return time.Unix(int64(whole), int64(fraction*float64(time.Second))), nil
}
