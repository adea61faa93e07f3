package rule

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
)

// Claims are what is known of a caller.
type Claims interface {
	// All returns them as JSON values, numbers as json.Number; they are read only. It may
	// have to decode them first.
	All() map[string]any
}

// Decoded are claims as they are.
type Decoded map[string]any

// All implements Claims.
func (d Decoded) All() map[string]any { return d }

// AllOf returns claims that may be nil.
func AllOf(c Claims) map[string]any {
	if c == nil {
		return nil
	}
	return c.All()
}

// Claim returns a claim. The name is tried as it is, then as a path through nested
// objects, separated by dots.
func Claim(claims map[string]any, name string) (any, bool) {
	if v, ok := claims[name]; ok {
		return v, true
	}
	for i := range len(name) {
		if name[i] != '.' {
			continue
		}
		if inner, ok := claims[name[:i]].(map[string]any); ok {
			if v, ok := Claim(inner, name[i+1:]); ok {
				return v, true
			}
		}
	}
	return nil, false
}

// Text is a JSON value as text: strings as they are, numbers in plain decimal, lists and
// objects as compact JSON with sorted names.
func Text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		if plain, ok := decimal(v.String()); ok {
			return plain
		}
		return v.String()
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case bool:
		return strconv.FormatBool(v)
	case nil:
		return "null"
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // patterns are written for <, not for \u003c
	if err := enc.Encode(v); err != nil {
		return ""
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// anyFits reports whether a claim, or an element of a claim that is a list, fits.
func anyFits(p *pattern, v any) bool {
	if p == nil {
		return true
	}
	list, ok := v.([]any)
	if !ok {
		return p.fits(Text(v))
	}
	for _, x := range list {
		if p.fits(Text(x)) {
			return true
		}
	}
	return false
}

var errNumber = errors.New("it has a number of so many digits that servers read it differently")

// nodeFits compares a number as it is written and in plain decimal: 1e3 and 1000 are the
// same to the upstream. With broad, where fitting leads to a refusal, one of the forms is
// enough, and there is a third: what is left of the number in a float64, which is how
// many servers read 1000.00000000000000001.
func nodeFits(p *pattern, node any, broad bool) (bool, error) {
	if p == nil {
		return true, nil
	}
	number, ok := node.(json.Number)
	if !ok {
		return p.fits(Text(node)), nil
	}
	written := number.String()
	plain, ok := decimal(written)
	if !ok {
		return false, errNumber
	}
	if !broad {
		return p.fits(written) && p.fits(plain), nil
	}
	if p.fits(written) || p.fits(plain) {
		return true, nil
	}
	float, err := strconv.ParseFloat(written, 64)
	if err != nil {
		return false, errNumber
	}
	return p.fits(Text(float)), nil
}

// maxExponent bounds how many zeros an exponent may stand for.
const maxExponent = 400

// decimal writes a JSON number without exponent and without leading or trailing zeros.
// ok is false if that would take too many zeros.
func decimal(s string) (plain string, ok bool) {
	s, negative := strings.CutPrefix(s, "-")
	mantissa, exponent := s, "0"
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		mantissa, exponent = s[:i], s[i+1:]
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimLeft(whole+fraction, "0")
	if digits == "" {
		return "0", true
	}
	exp, err := strconv.ParseInt(exponent, 10, 32)
	if err != nil {
		return "", false
	}
	// the number is 0.digits × 10^point
	point := len(digits) - len(fraction) + int(exp)
	digits = strings.TrimRight(digits, "0")
	switch {
	case point < -maxExponent || point > max(maxExponent, len(digits)):
		return "", false
	case point <= 0:
		plain = "0." + strings.Repeat("0", -point) + digits
	case point >= len(digits):
		plain = digits + strings.Repeat("0", point-len(digits))
	default:
		plain = digits[:point] + "." + digits[point:]
	}
	if negative {
		plain = "-" + plain
	}
	return plain, true
}
