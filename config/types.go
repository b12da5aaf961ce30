package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/redoubtmq/redoubt/internal/secret"
)

// Size is a number of bytes, written 16KiB or 1MiB. A plain number is bytes.
type Size int64

var sizeUnits = []struct {
	name  string
	bytes int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

// String writes the size in the largest unit that holds it exactly; bytes have
// no unit, as in the example file.
func (s Size) String() string {
	for _, u := range sizeUnits {
		if u.bytes > 1 && s != 0 && int64(s)%u.bytes == 0 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// octal tells whether some readers of YAML would take digits for base 8.
func octal(digits string) bool {
	return len(digits) > 1 && digits[0] == '0' && strings.Trim(digits, "0123456789") == ""
}

var errOctal = errors.New("begins with 0, which some readers take for octal. Remove the 0")

func parseSize(text string) (Size, error) {
	digits := len(text) - len(strings.TrimLeft(text, "0123456789"))
	if digits == 0 {
		return 0, errors.New("is not a size. Write a number with B, KiB, MiB, GiB or TiB, such as 16KiB")
	}
	if octal(text[:digits]) {
		return 0, errOctal
	}
	n, err := strconv.ParseInt(text[:digits], 10, 64)
	unit := text[digits:]
	if unit == "" {
		unit = "B"
	}
	for _, u := range sizeUnits {
		if u.name != unit {
			continue
		}
		if err != nil || n > math.MaxInt64/u.bytes {
			return Size(math.MaxInt64), nil // so that the answer is the range
		}
		return Size(n * u.bytes), nil
	}
	for _, u := range sizeUnits { // 1MB, 1m, 1mib: somebody who means a unit of ours
		if strings.EqualFold(strings.TrimSpace(unit)[:1], u.name[:1]) {
			return 0, fmt.Errorf("has no unit this file knows. Write %s%s (units are B, KiB, MiB, GiB, TiB: powers of 1024)", text[:digits], u.name)
		}
	}
	return 0, errors.New("has no unit this file knows. Units are B, KiB, MiB, GiB and TiB, such as 16KiB")
}

// Duration is a length of time, written 500ms, 10s, 5m, 24h or 1h30m.
type Duration time.Duration

// Std is the duration as the standard library has it.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String drops the zero parts that time.Duration prints.
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// Seconds is a length of time in whole seconds, for what MQTT counts in them.
// It is written like a Duration.
type Seconds uint32

// Std is the same length of time as the standard library has it.
func (s Seconds) Std() time.Duration { return time.Duration(s) * time.Second }

// String writes days and longer in hours and everything else in seconds, which
// is how the protocol's fields are talked about.
func (s Seconds) String() string {
	if s >= 24*3600 && s%3600 == 0 {
		return strconv.FormatUint(uint64(s)/3600, 10) + "h"
	}
	return strconv.FormatUint(uint64(s), 10) + "s"
}

// ParseSpan is ParseDuration for a command line that says how long something lasts, which may
// be whole days: 30d.
func ParseSpan(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil { // 65,535 days are 179 years, which a Duration holds
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	return ParseDuration(text)
}

// ParseDuration reads a length of time, of the configuration or a command line. The error is
// the rest of a sentence that begins with the text.
func ParseDuration(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	switch {
	case err == nil && (text[len(text)-1] < '0' || text[len(text)-1] > '9'):
		return d, nil
	case text != "" && strings.Trim(text, "0123456789") == "":
		return 0, fmt.Errorf("has no unit. Write %ss for seconds (units are ms, s, m, h)", text)
	case strings.HasSuffix(text, "d"):
		if n, err := strconv.ParseUint(text[:len(text)-1], 10, 16); err == nil {
			return 0, fmt.Errorf("has no unit that is known here. Write %dh", n*24)
		}
	}
	return 0, errors.New("is not a duration. Write a number with ms, s, m or h, such as 10s, 5m or 24h")
}

// Count is a number, or Auto, which leaves it to the process.
type Count int

// Auto is the Count that the process works out at its start.
const Auto Count = 0

// String is "auto" or the number.
func (c Count) String() string {
	if c == Auto {
		return "auto"
	}
	return strconv.Itoa(int(c))
}

// SizeOrAuto is a Size, or AutoSize, which leaves it to the process.
type SizeOrAuto int64

// AutoSize is the SizeOrAuto that the process works out at its start.
const AutoSize SizeOrAuto = 0

// String is "auto" or the size.
func (s SizeOrAuto) String() string {
	if s == AutoSize {
		return "auto"
	}
	return Size(s).String()
}

// Date is a day in UTC, written 2027-03-31.
type Date struct{ t time.Time }

// DateOf is the day of t in UTC.
func DateOf(t time.Time) Date {
	y, m, d := t.UTC().Date()
	return Date{time.Date(y, m, d, 0, 0, 0, 0, time.UTC)}
}

// End is the first moment after the day.
func (d Date) End() time.Time { return d.t.AddDate(0, 0, 1) }

// AddDays is the day n days later.
func (d Date) AddDays(n int) Date { return Date{d.t.AddDate(0, 0, n)} }

// After tells whether d is a later day than o.
func (d Date) After(o Date) bool { return d.t.After(o.t) }

// String writes the day as 2027-03-31.
func (d Date) String() string { return d.t.Format(time.DateOnly) }

// Secret is a credential by reference: Ref says where it is, Value is what was
// there when the configuration was loaded.
type Secret struct {
	Ref   string // file:PATH, absolute once loaded, or credential:NAME
	Value secret.Value
}

// String is the reference, which is no secret.
func (s Secret) String() string { return s.Ref }
