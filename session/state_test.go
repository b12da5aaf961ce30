package session

import (
	"fmt"
	"slices"
	"strings"
)

var waitsFor = map[outState]string{awaitPuback: "PUBACK", awaitPubrec: "PUBREC", awaitPubcomp: "PUBCOMP"}

// stateWords says what a session holds, leaving out what it does not.
func stateWords(s *Session) string {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if s.Inflight() > 0 {
		var list []string
		for _, e := range s.out.inflight {
			list = append(list, fmt.Sprintf("%d(%s)", e.id, waitsFor[e.state]))
		}
		add("inflight %s", strings.Join(list, " "))
	}
	if n, bytes := s.Queued(); n > 0 {
		add("mqueue %d messages %d bytes", n, bytes)
	}
	if s.AwaitingRel() > 0 {
		ids := slices.Clone(s.got().awaitingRel)
		slices.Sort(ids)
		add("awaiting rel %s", strings.Trim(fmt.Sprint(ids), "[]"))
	}
	if n := s.got().pending.len(); n > 0 {
		add("pending %d", n)
	}
	for _, d := range []struct {
		why string
		n   uint64
	}{
		{"queue full", s.Dropped().QueueFull}, {"expired", s.Dropped().Expired},
		{"too large", s.Dropped().TooLarge}, {"offline", s.Dropped().Offline},
	} {
		if d.n > 0 {
			add("dropped %d %s", d.n, d.why)
		}
	}
	if len(parts) == 0 {
		return "empty"
	}
	return strings.Join(parts, ", ")
}
