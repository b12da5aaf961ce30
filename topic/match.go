package topic

import "strings"

// Match tells whether filter matches name [MQTT-3.3.2-3]. Both must be valid; for anything else
// the answer means nothing, but it is given in linear time and without a panic.
//
// It is the rule itself, too plain to be wrong: package router is checked against
// it, and authorization uses it as it stands.
func Match(filter string, name []byte) bool {
	if filter == "" || len(name) == 0 {
		return false
	}
	if name[0] == '$' && startsWild(filter) { // [MQTT-4.7.2-1]
		return false
	}
	i, j := 0, 0
	for i < len(filter) {
		switch filter[i] {
		case '#': // the last level, and j is at the start of one
			return true
		case '+': // one whole level, which may be empty
			for j < len(name) && name[j] != '/' {
				j++
			}
			i++
			continue
		}
		if j == len(name) { // "a/#" matches its parent "a" as well
			return filter[i:] == "/#"
		}
		if filter[i] != name[j] {
			return false
		}
		i++
		j++
	}
	return j == len(name)
}

// Covers tells whether every name that filter b matches is matched by filter a.
// Both must be valid. The limit on the length of a name is left out of account,
// so for filters of nearly 65,535 bytes the answer may be false where true would
// do; it is never true in error.
func Covers(a, b string) bool {
	a, b = spelt(a), spelt(b)
	switch {
	case a == "" || b == "":
		return false
	case b == "#" && a == "+/#": // every name has a first level
		return true
	case b[0] == '$' && startsWild(a): // [MQTT-4.7.2-1]
		return false
	}
	for {
		la, restA, moreA := strings.Cut(a, "/")
		lb, restB, moreB := strings.Cut(b, "/")
		switch {
		case la == "#":
			return true
		case lb == "#":
			return false
		case la != "+" && la != lb: // a literal never covers '+'
			return false
		case !moreA:
			return !moreB
		case !moreB:
			return restA == "#" // "x/#" covers its parent "x"
		}
		a, b = restA, restB
	}
}

// Overlaps tells whether some name is matched by both filters. Both must be
// valid. The limit on the length of a name is left out of account, so the answer
// may be true where the only common names are longer than 65,535 bytes; it is
// never false in error.
func Overlaps(a, b string) bool {
	a, b = spelt(a), spelt(b)
	switch {
	case a == "" || b == "":
		return false
	case a[0] == '$' && startsWild(b), b[0] == '$' && startsWild(a): // [MQTT-4.7.2-1]
		return false
	}
	for {
		la, restA, moreA := strings.Cut(a, "/")
		lb, restB, moreB := strings.Cut(b, "/")
		switch {
		case la == "#" || lb == "#":
			return true
		case la != lb && la != "+" && lb != "+":
			return false
		case !moreA && !moreB:
			return true
		case !moreA:
			return restB == "#"
		case !moreB:
			return restA == "#"
		}
		a, b = restA, restB
	}
}

// spelt writes "/#" as the equal "/+/#". A '#' matches its parent too, but the
// parent of this one would be the name without characters, which does not exist
// [MQTT-4.7.3-1].
func spelt(filter string) string {
	if filter == "/#" {
		return "/+/#"
	}
	return filter
}

// startsWild tells whether the first level of a valid, non-empty filter is a
// wildcard.
func startsWild(filter string) bool {
	return filter[0] == '+' || filter[0] == '#'
}
