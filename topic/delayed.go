package topic

import (
	"bytes"
	"errors"
)

// delayedPrefix starts a name whose message is for later. "$delayed" without the
// '/' is an ordinary name.
const delayedPrefix = "$delayed/"

// DelaySecondsMax is the longest delay that can be written, about 497 days. It is
// EMQX's: the number of hundredths of a second that 32 bits hold.
const DelaySecondsMax = 42_949_670

// What a delayed publish can be refused for.
var (
	ErrDelay       = errors.New("delay must be a number of seconds from 1 to 42949670, in digits and without a leading zero")
	ErrDelayTopic  = errors.New("delay must be followed by '/' and a topic name")
	ErrDelayNested = errors.New("topic name of a delayed message is itself delayed")
)

// ParseDelayed splits "$delayed/seconds/rest", a valid topic name. ok is false, and
// err nil, for a name that is not delayed. With an error nothing else may be used.
//
// rest is a valid topic name when err is nil, and the one that is judged and
// published to. Seconds have one way to be written: a name is also a key, and two
// names for one thing are one too many. Unlike EMQX, a number that is too large is
// no point in time.
func ParseDelayed(name []byte) (seconds uint32, rest []byte, ok bool, err error) {
	after, ok := bytes.CutPrefix(name, []byte(delayedPrefix))
	if !ok {
		return 0, nil, false, nil
	}
	digits, rest, found := bytes.Cut(after, []byte("/"))
	if len(digits) == 0 || len(digits) > 8 || digits[0] == '0' {
		return 0, nil, true, ErrDelay
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, nil, true, ErrDelay
		}
		seconds = seconds*10 + uint32(c-'0')
	}
	switch {
	case seconds > DelaySecondsMax:
		return 0, nil, true, ErrDelay
	case !found || len(rest) == 0:
		return 0, nil, true, ErrDelayTopic
	case bytes.HasPrefix(rest, []byte(delayedPrefix)):
		return 0, nil, true, ErrDelayNested
	}
	if err := ValidName(rest); err != nil {
		return 0, nil, true, err
	}
	return seconds, rest, true, nil
}
