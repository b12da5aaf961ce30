package topic

import (
	"errors"
	"strings"
)

// exclusivePrefix starts a subscription that only one session may have at a time.
// "$exclusive" without the '/' is an ordinary filter.
const exclusivePrefix = "$exclusive/"

// What an exclusive subscription can be refused for, besides what a topic filter is.
var (
	ErrExclusiveFilter = errors.New("$exclusive/ must be followed by a topic filter")
	ErrExclusiveNested = errors.New("topic filter of an exclusive subscription is itself exclusive or shared")
)

// ParseExclusive splits "$exclusive/rest". ok is false, and err nil, for any other
// filter. With an error rest may not be used.
//
// rest is a valid filter when err is nil, and the one that is judged and matched
// (A086). One that begins with "$exclusive/" or "$share/" again is refused: whoever
// takes off a second prefix would see another filter than the one that was judged.
func ParseExclusive(filter string) (rest string, ok bool, err error) {
	rest, ok = strings.CutPrefix(filter, exclusivePrefix)
	switch {
	case !ok:
		return "", false, nil
	case rest == "":
		return "", true, ErrExclusiveFilter
	case strings.HasPrefix(rest, exclusivePrefix) || strings.HasPrefix(rest, sharePrefix):
		return "", true, ErrExclusiveNested
	}
	if err := ValidFilter(rest); err != nil {
		return "", true, err
	}
	return rest, true, nil
}
