package store

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Times and numbers of documents as texts whose order is theirs. PostgreSQL's functions of the same names are in the
// migrations.

// foldCase is how text is compared without case.
func foldCase(s string) string { return strings.ToLower(s) }

var timeForm = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])?$`)

// parseTimeKey returns the key of a dateTime value (RFC 7643, section 2.3.5); one without a zone is taken as UTC.
func parseTimeKey(s string) (string, bool) {
	m := timeForm.FindStringSubmatch(s)
	if m == nil {
		return "", false
	}
	if m[2] == "" {
		s += "Z"
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	return timeKey(t), err == nil
}

// keyedSince is the number of seconds from the first of March of the year -400, from which days are easily counted, to
// 1970.
const keyedSince = 865565 * 24 * 60 * 60

// timeKey is the number of seconds and nanoseconds since a time that no year of four digits comes before.
func timeKey(t time.Time) string {
	return fmt.Sprintf("%012d.%09d", t.Unix()+keyedSince, t.Nanosecond())
}

// maxDigits and maxExponent bound the numbers that are compared: what is stored is shorter, also where PostgreSQL writes
// it out.
const (
	maxDigits   = 1000
	maxExponent = 1000
)

// isNumber tells whether a text is a JSON number of a sensible size.
func isNumber(s string) bool {
	_, _, _, ok := decimal(s)
	return ok
}

// decimal reads a number as 0.digits times ten to the exponent; digits neither begin nor end with a zero.
func decimal(s string) (negative bool, digits string, exponent int, ok bool) {
	if len(s) > maxDigits || strings.Trim(s, "0123456789-+.eE") != "" || !json.Valid([]byte(s)) {
		return false, "", 0, false
	}
	s, negative = strings.CutPrefix(s, "-")
	mantissa, power, written := strings.Cut(strings.ToLower(s), "e")
	if written {
		var err error
		if exponent, err = strconv.Atoi(power); err != nil || exponent > maxExponent || exponent < -maxExponent {
			return false, "", 0, false
		}
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	exponent += len(whole)
	digits = whole + fraction
	significant := strings.TrimLeft(digits, "0")
	exponent -= len(digits) - len(significant)
	return negative, strings.TrimRight(significant, "0"), exponent, true
}

// parseNumberKey returns the key of a number: a sign, the exponent and the digits, for negative ones turned round.
func parseNumberKey(s string) (string, bool) {
	negative, digits, exponent, ok := decimal(s)
	switch {
	case !ok:
		return "", false
	case digits == "":
		return "1", true
	case !negative:
		return fmt.Sprintf("2%04d%s", exponent+5000, digits), true
	}
	turned := []byte(digits)
	for i, c := range turned {
		turned[i] = '0' + '9' - c
	}
	return fmt.Sprintf("0%04d%s~", 5000-exponent, turned), true
}

// jsonPresent tells whether a JSON value is there and not empty: an object is empty when all that it has is.
func jsonPresent(s string) bool {
	switch {
	case s == "", s == "null", s == `""`, s == "[]":
		return false
	case s[0] != '{':
		return true
	}
	var object map[string]json.RawMessage
	if json.Unmarshal([]byte(s), &object) != nil {
		return false
	}
	for _, member := range object {
		if jsonPresent(string(member)) {
			return true
		}
	}
	return false
}
