package topic

import (
	"strings"
	"unicode/utf8"
)

// sharePrefix starts every shared subscription. "$share" without the '/' is an
// ordinary filter, which only authorization has an opinion on.
const sharePrefix = "$share/"

// ParseShare splits "$share/group/rest". ok is false, and err nil, for a filter
// that is no shared subscription. With an error neither part may be used.
//
// rest is a valid filter when err is nil, so that the part that is matched is the
// part that was judged. A rest that begins with "$share/" again is refused: the
// specification is silent, and every reader that strips the prefix twice would
// see another filter than the one that was authorized.
func ParseShare(filter string) (group, rest string, ok bool, err error) {
	if !strings.HasPrefix(filter, sharePrefix) {
		return "", "", false, nil
	}
	group, rest, found := strings.Cut(filter[len(sharePrefix):], "/")
	switch {
	case group == "" || strings.ContainsAny(group, "+#\x00") || !utf8.ValidString(group):
		return "", "", true, ErrShareName
	case !found || rest == "":
		return "", "", true, ErrShareFilter
	case strings.HasPrefix(rest, sharePrefix):
		return "", "", true, ErrShareNested
	}
	if err := ValidFilter(rest); err != nil {
		return "", "", true, err
	}
	return group, rest, true, nil
}
