package cli

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/redoubtmq/redoubt/mqtt"
)

// The kinds of flag values that pflag does not have. Each refuses with the range
// it wants.

// choice is a flag value made by a function.
type choice struct {
	text  string // what it says now
	kind  string // for the help
	parse func(string) error
}

func (c *choice) String() string { return c.text }
func (c *choice) Type() string   { return c.kind }
func (c *choice) Set(s string) error {
	if err := c.parse(s); err != nil {
		return err
	}
	c.text = s
	return nil
}

func qosValue(q *mqtt.QoS) pflag.Value {
	return &choice{text: "0", kind: "0|1|2", parse: func(s string) error {
		switch s {
		case "0", "1", "2":
			*q = mqtt.QoS(s[0] - '0')
			return nil
		}
		return usage("QoS is 0, 1 or 2, not %q", s)
	}}
}

// versionNames are mosquitto's and MQTTX's.
var versionNames = map[string]mqtt.Version{
	"5": mqtt.V5, "5.0": mqtt.V5, "mqttv5": mqtt.V5,
	"311": mqtt.V311, "3.1.1": mqtt.V311, "mqttv311": mqtt.V311, "4": mqtt.V311,
	"31": mqtt.V31, "3.1": mqtt.V31, "mqttv31": mqtt.V31, "3": mqtt.V31,
}

func versionValue(v *mqtt.Version) pflag.Value {
	return &choice{text: "5", kind: "5|311|31", parse: func(s string) error {
		x, ok := versionNames[s]
		if !ok {
			return usage("the version of MQTT is 5, 311 or 31 (or 5.0, 3.1.1, 3.1, mqttv5, mqttv311, mqttv31), not %q", s)
		}
		*v = x
		return nil
	}}
}

// wholeValue is a whole number within a range.
func wholeValue(p *int, low, high int, unit string) pflag.Value {
	text := ""
	if *p != 0 {
		text = strconv.Itoa(*p)
	}
	return &choice{text: text, kind: unit, parse: func(s string) error {
		n, err := strconv.Atoi(s)
		if err != nil || n < low || n > high {
			return usage("%q is not a whole number from %d to %d", s, low, high)
		}
		*p = n
		return nil
	}}
}

// expiry is a Session Expiry Interval: seconds, or for ever.
func expiryValue(p *uint32, given *bool) pflag.Value {
	return &choice{kind: "SECONDS", parse: func(s string) error {
		*given = true
		if s == "-1" || s == "∞" {
			*p = math.MaxUint32
			return nil
		}
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil {
			return usage("%q is not a number of seconds from 0 to 4294967295 (or -1 for a session that never expires)", s)
		}
		*p = uint32(n)
		return nil
	}}
}

// secondsMax bounds durations on the command line.
const secondsMax = 365 * 24 * time.Hour

// durationValue takes mosquitto's plain seconds, whole or not, and Go's 1m30s.
func durationValue(p *time.Duration, zero bool) pflag.Value {
	text := ""
	if *p != 0 {
		text = p.String()
	}
	return &choice{text: text, kind: "SECONDS", parse: func(s string) error {
		d, err := parseDuration(s)
		if err != nil || d < 0 || d > secondsMax || d == 0 && !zero {
			least := "more than 0"
			if zero {
				least = "0"
			}
			return usage("%q is not a number of seconds, or a duration like 1m30s, from %s to one year", s, least)
		}
		*p = d
		return nil
	}}
}

func parseDuration(s string) (time.Duration, error) {
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		if math.IsNaN(f) || f < 0 || f > secondsMax.Seconds() {
			return 0, errors.New("out of range")
		}
		return time.Duration(f * float64(time.Second)), nil
	}
	return time.ParseDuration(s)
}

// refused is a flag that the other tools have and this one does not.
func refused(why string) pflag.Value {
	return &choice{parse: func(string) error { return usage("%s", why) }}
}

// flagName finds the flag in a parse error, as it was written.
func flagName(err error) string {
	var invalid *pflag.InvalidValueError
	if !errors.As(err, &invalid) {
		return ""
	}
	f := invalid.GetFlag()
	if f.Shorthand != "" {
		return "-" + f.Shorthand + ", --" + f.Name
	}
	return "--" + strings.TrimSpace(f.Name)
}
