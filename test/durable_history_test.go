package test

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// This file judges what a load has written down. It is a function of the history and
// nothing else, so that it is itself tried, on histories that were made up.

// stamp is a moment of the load: milliseconds since its begin, plus one. 0 is never.
type stamp uint32

func stampOf(begun time.Time) stamp { return stamp(time.Since(begun).Milliseconds()) + 1 }

func (s stamp) String() string { return fmt.Sprintf("%.3f s", float64(s-1)/1000) }

// arrival is one delivery to an application.
type arrival struct {
	from uint16
	seq  uint32
	at   stamp
}

// outage is one kill: the signal, and when the broker said that it serves again.
type outage struct{ down, up stamp }

// history is all of a load.
type history struct {
	outages  []outage
	sent     []account // by number of the sender
	heard    []hearing
	complain []string // what was wrong with a client, such as a session that was gone
}

// account is what one publisher did.
type account struct {
	id    string
	acked []stamp        // of each message sent, by sequence number - 1
	again map[uint32]int // how often one was sent again
}

// hearing is what one subscriber got.
type hearing struct {
	id     string
	qos    int
	window int      // messages the broker had unacknowledged at most
	losses int      // connections it lost to a fault of its own
	from   []uint16 // whose messages are for it
	got    []arrival
	behind bool // the load was over before it had everything that waited for it
}

// verdict is what is wrong, counted and told. Nothing is wrong when text is empty.
type verdict struct {
	acked      int // messages, by all publishers
	deliveries int
	lost       int // deliveries of acknowledged messages that never came
	behind     int // that had not come yet when nobody waited any longer
	reordered  int // first arrivals behind a later one of the same publisher
	duplicated int // deliveries of what had been delivered
	again      int // of those, the ones no publisher had sent again
	allowed    int // of those, at most
	excess     int // of those, more than a subscriber may get
	worst      int // most that one used of its allowance, percent
	strange    int // deliveries of what was not sent, or not to this one
	text       []string
}

// linesOfVerdict are told of each subscriber at most: the first few say it all.
const linesOfVerdict = 3

// judge goes through every subscriber's deliveries once.
func (h *history) judge() *verdict {
	v := &verdict{}
	for i := range h.sent {
		for _, at := range h.sent[i].acked {
			if at > 0 {
				v.acked++
			}
		}
	}
	for i := range h.heard {
		h.judgeOne(v, &h.heard[i])
	}
	v.text = append(slices.Clone(h.complain), v.text...)
	return v
}

func (h *history) judgeOne(v *verdict, r *hearing) {
	var lines []string
	seen, newest, again := make(map[uint16][]int), make(map[uint16]uint32), 0
	for _, from := range r.from {
		seen[from] = make([]int, len(h.sent[from].acked))
	}
	for _, a := range r.got {
		v.deliveries++
		of := seen[a.from]
		switch {
		case a.seq == 0 || int(a.seq) > len(of):
			v.strange++
			lines = append(lines, fmt.Sprintf("got message %d of sender %d at %v, which was not sent to it", a.seq, a.from, a.at))
			continue
		case of[a.seq-1] > 0:
			of[a.seq-1]++
			v.duplicated++
			if r.qos == 2 {
				lines = append(lines, fmt.Sprintf("got %d of %s again at %v, %s", a.seq, h.sent[a.from].id, a.at, h.place(a.at)))
			}
			if of[a.seq-1]-1 > h.repeats(r, a) {
				again++
			}
			continue
		case a.seq < newest[a.from]:
			v.reordered++
			lines = append(lines, fmt.Sprintf("got %d of %s at %v, after %d; %s", a.seq, h.sent[a.from].id, a.at, newest[a.from], h.place(a.at)))
		}
		of[a.seq-1] = 1
		newest[a.from] = max(newest[a.from], a.seq)
	}
	allowed := h.allowed(r)
	v.again, v.allowed = v.again+again, v.allowed+allowed
	if allowed > 0 {
		v.worst = max(v.worst, 100*again/allowed)
	}
	if again > allowed {
		v.excess += again - allowed
		lines = append(lines, fmt.Sprintf("got %d messages again that were not sent again, %d may be", again, allowed))
	}
	late := 0
	for _, from := range r.from {
		until := len(seen[from])
		if r.behind { // what is after the newest may be on its way
			until = int(newest[from])
		}
		n, told := h.lost(from, seen[from][:until])
		v.lost += n
		lines = append(lines, told...)
		for i := until; i < len(seen[from]); i++ {
			if h.sent[from].acked[i] > 0 {
				late++
			}
		}
	}
	if v.behind += late; r.behind {
		lines = append([]string{fmt.Sprintf("%d acknowledged messages had not come when the wait was over, after %d deliveries", late, len(r.got))}, lines...)
	}
	v.tell(r.id, lines)
}

// repeats is how many deliveries of a message, beyond the first, its publisher has
// asked for: at QoS 1 a PUBLISH with DUP may be one more message.
func (h *history) repeats(r *hearing, a arrival) int {
	if r.qos == 2 {
		return 0
	}
	return h.sent[a.from].again[a.seq]
}

// allowed is how many deliveries the broker may repeat by itself. At QoS 2 none. At
// QoS 1 each fault may repeat what it had sent and had no acknowledgement of.
func (h *history) allowed(r *hearing) int {
	if r.qos == 2 {
		return 0
	}
	return r.window * (len(h.outages) + r.losses)
}

// lost counts acknowledged messages that were not seen, and tells runs of them.
func (h *history) lost(from uint16, seen []int) (n int, lines []string) {
	acked := h.sent[from].acked[:len(seen)]
	missing := func(i int) bool { return acked[i] > 0 && seen[i] == 0 }
	for i := 0; i < len(acked); i++ {
		if !missing(i) {
			continue
		}
		first := i
		for i+1 < len(acked) && missing(i+1) {
			i++
		}
		n += i - first + 1
		line := fmt.Sprintf("lost %d-%d of %s, acknowledged at %v, %s", first+1, i+1, h.sent[from].id, acked[first], h.place(acked[first]))
		if acked[i] != acked[first] {
			line += fmt.Sprintf(", to %v, %s", acked[i], h.place(acked[i]))
		}
		lines = append(lines, line)
	}
	return n, lines
}

// place says where among the kills a moment lies.
func (h *history) place(at stamp) string {
	next := slices.IndexFunc(h.outages, func(o outage) bool { return at <= o.down })
	if next < 0 {
		next = len(h.outages)
	}
	var near []string
	if next > 0 && at < h.outages[next-1].up {
		near = append(near, fmt.Sprintf("before start %d was ready", next))
	} else if next > 0 {
		near = append(near, fmt.Sprintf("%d ms after start %d", at-h.outages[next-1].up, next))
	}
	if next < len(h.outages) {
		near = append(near, fmt.Sprintf("%d ms before kill %d", h.outages[next].down-at, next+1))
	}
	if near == nil {
		return "without a kill"
	}
	return strings.Join(near, " and ")
}

// tell keeps the first lines about one client, and how many more there were.
func (v *verdict) tell(id string, lines []string) {
	for i, line := range lines {
		if i == linesOfVerdict {
			v.text = append(v.text, fmt.Sprintf("%s: and %d more lines", id, len(lines)-i))
			return
		}
		v.text = append(v.text, id+": "+line)
	}
}
