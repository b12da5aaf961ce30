package retain

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"strings"
)

// compare orders topic names level by level: '/' comes before every other
// character, and a name before everything below it. So the names that a prefix of
// whole levels leads to stand together, whatever characters the levels hold.
func compare(a, b []byte) int {
	n := min(len(a), len(b))
	i := 0
	for i+8 <= n { // fleets share long prefixes
		if x := binary.LittleEndian.Uint64(a[i:]) ^ binary.LittleEndian.Uint64(b[i:]); x != 0 {
			i += bits.TrailingZeros64(x) / 8
			break
		}
		i += 8
	}
	for i < n && a[i] == b[i] {
		i++
	}
	switch {
	case i == n:
		return len(a) - len(b)
	case a[i] == '/':
		return -1
	case b[i] == '/':
		return 1
	}
	return int(a[i]) - int(b[i])
}

const (
	afterLevel  = '\x01' // appended to a level: the least level that is greater
	afterDollar = '%'    // the least first character greater than '$'
)

// after appends the least name that is greater than t.
func after(dst, t []byte) []byte {
	return append(append(dst, t...), '/')
}

// least appends the least name that filter could match.
func least(dst []byte, filter string) []byte {
	for first, more := true, true; more; first = false {
		var level string
		level, filter, more = strings.Cut(filter, "/")
		if level == "#" { // its parent is the least
			break
		}
		if !first {
			dst = append(dst, '/')
		}
		if level != "+" { // the least level is the empty one
			dst = append(dst, level...)
		}
	}
	return dst
}

// below appends what least does, as levels below those that are in dst.
func below(dst []byte, filter string) []byte {
	if filter == "#" {
		return dst
	}
	return least(append(dst, '/'), filter)
}

// skip appends a name that is greater than t and not greater than any name after
// t that filter matches. ok is false if there can be none. It is what keeps a walk
// for a/+/b away from everything else below a/x. filter must not match t.
func skip(dst []byte, filter string, t []byte) (target []byte, ok bool) {
	if bytes.HasPrefix(t, []byte("$")) && (filter[0] == '+' || filter[0] == '#') { // [MQTT-4.7.2-1]
		return append(dst, afterDollar), true
	}
	// The last '+' so far: where its level ends in t, and the filter behind it.
	plusEnd, plusRest, plusMore := -1, "", false
scan:
	for from := 0; ; {
		level, rest, more := strings.Cut(filter, "/")
		to := len(t)
		if i := bytes.IndexByte(t[from:], '/'); i >= 0 {
			to = from + i
		}
		switch {
		case level == "+":
			plusEnd, plusRest, plusMore = to, rest, more
		case string(t[from:to]) < level: // the level wanted is still to come
			return least(append(dst, t[:from]...), filter), true
		case string(t[from:to]) > level:
			break scan
		}
		switch {
		case !more: // t goes deeper than the filter
			break scan
		case to == len(t): // t is above what the filter wants
			return below(append(dst, t...), rest), true
		}
		filter, from = rest, to+1
	}
	// There is nothing more under the last '+' as it stands: take its next value.
	if plusEnd < 0 {
		return dst, false
	}
	dst = append(append(dst, t[:plusEnd]...), afterLevel)
	if plusMore {
		dst = below(dst, plusRest)
	}
	return dst, true
}
