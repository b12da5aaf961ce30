package broker

import (
	"cmp"
	"slices"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/store/fact"
)

// Members that come and go leave a part behind each time, with a message or two, and a part
// costs everybody a place in memory and a lookup. Whoever hands out joins the small ones:
// their messages are taken for the group itself and come to the end of its own, where one
// part holds them all.

const (
	// partsMax is how many small parts may wait. Half of them stay when some are joined, so
	// that the next one does not begin it again.
	partsMax = 64
	// partSmall is what a part has that is small, in messages. Of the others there is at most
	// one for as many messages that wait.
	partSmall = 64
)

// small chooses what is taken for the group of all that waits: the smallest parts, at most
// as much as is handed out in one go. all is in order, and so is the answer.
func small(all []awaited) (fold []awaited) {
	has := make(map[source]int)
	for i := range all {
		if from := all[i].from; from.part != 0 {
			has[from]++
		}
	}
	parts := make([]source, 0, len(has))
	for from, n := range has {
		if n <= partSmall {
			parts = append(parts, from)
		}
	}
	if len(parts) <= partsMax {
		return nil
	}
	slices.SortFunc(parts, func(a, b source) int {
		return cmp.Or(cmp.Compare(has[a], has[b]), cmp.Compare(a.part, b.part), cmp.Compare(a.id, b.id))
	})
	chosen, n := make(map[source]bool), 0
	for _, from := range parts[:len(parts)-partsMax/2] {
		if n += has[from]; n > grabMax {
			break
		}
		chosen[from] = true
	}
	bytes := int64(0)
	for i := range all {
		if m := &all[i]; chosen[m.from] {
			if bytes += int64(m.bytes); bytes > grabBytesMax && len(fold) > 0 {
				break
			}
			fold = append(fold, *m)
		}
	}
	return fold
}

// foldOne takes one message for the group itself.
func (h *Home) foldOne(now time.Time, q *queue, m *awaited, f *mqtt.Frame) {
	t := fact.Take{Group: q.l.id, Source: m.from.id, Part: m.from.part, Seq: m.seq}
	if !h.handable(now, q.l, f) {
		h.sayTake(now, q, nil, t) // nobody's any more
		return
	}
	h.scratch.one[0] = q.l.id
	body := fact.Message{Topic: f.Topic(), Props: f.Props(), Payload: f.Payload(), QoS: uint8(f.QoS), Retain: f.Retain, ExpiresAt: f.ExpiresAt, Filters: h.scratch.one[:]}
	t.Member, t.Body = q.l.id, body.Append(nil)
	q.l.coming.Add(1)
	h.sayTake(now, q, &handed{bytes: worth(f), at: f.CreatedAt}, t)
}
