package test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// madeUp is a history in which nothing went wrong: two publishers of ten messages, of
// which the last of the second was never acknowledged nor delivered, one kill, a
// subscriber of each QoS for the first and one for both.
func madeUp() *history {
	h := &history{outages: []outage{{down: 1055, up: 1500}}}
	for i := range 2 {
		a := account{id: fmt.Sprint("pub-", i)}
		for seq := range 10 {
			a.acked = append(a.acked, stamp(1000+10*seq))
		}
		h.sent = append(h.sent, a)
	}
	h.sent[1].acked[9] = 0
	for i, r := range []hearing{{id: "one", qos: 1, from: []uint16{0}}, {id: "two", qos: 2, from: []uint16{0}}, {id: "both", qos: 1, from: []uint16{0, 1}}} {
		r.window = 3
		for seq := range 10 {
			for _, from := range r.from {
				if h.sent[from].acked[seq] > 0 {
					r.got = append(r.got, arrival{from, uint32(seq + 1), stamp(1001 + 10*seq + i)})
				}
			}
		}
		h.heard = append(h.heard, r)
	}
	return h
}

// repeat makes a subscriber hear the messages first to last of a publisher again, at
// the end.
func (r *hearing) repeat(from uint16, first, last uint32) {
	for seq := first; seq <= last; seq++ {
		r.got = append(r.got, arrival{from, seq, 1600})
	}
}

// TestDurableJudge: whatever can go wrong with a message is found, told with its
// place among the kills, and nothing else is.
func TestDurableJudge(t *testing.T) {
	for _, c := range []struct {
		name string
		spin func(h *history)
		want verdict // its counts of what is wrong
		say  string  // in its text
	}{
		{name: "nothing", spin: func(*history) {}},
		{"a lost one", func(h *history) { h.heard[0].got = slices.Delete(h.heard[0].got, 5, 6) },
			verdict{lost: 1}, "one: lost 6-6 of pub-0, acknowledged at 1.049 s, 5 ms before kill 1"},
		{"a run of lost ones", func(h *history) { h.heard[1].got = slices.Delete(h.heard[1].got, 4, 8) },
			verdict{lost: 4}, "two: lost 5-8 of pub-0"},
		{"two gaps", func(h *history) {
			h.heard[1].got = slices.Delete(slices.Delete(h.heard[1].got, 8, 9), 1, 2)
		}, verdict{lost: 2}, "two: lost 9-9 of pub-0"},
		{"the last one lost", func(h *history) { h.heard[1].got = h.heard[1].got[:9] }, verdict{lost: 1}, "lost 10-10"},
		{"what has not come yet", func(h *history) { h.heard[1].got, h.heard[1].behind = h.heard[1].got[:7], true },
			verdict{behind: 3}, "two: 3 acknowledged messages had not come when the wait was over, after 7 deliveries"},
		{"and a lost one before it", func(h *history) {
			h.heard[1].got, h.heard[1].behind = slices.Delete(h.heard[1].got, 4, 5)[:7], true
		}, verdict{behind: 2, lost: 1}, "two: lost 5-5 of pub-0"},
		{"everything lost", func(h *history) { h.heard[2].got = nil }, verdict{lost: 19}, "both: lost 1-9 of pub-1, acknowledged at 0.999 s, 55 ms before kill 1, to 1.079 s"},
		{"one of two publishers lost", func(h *history) {
			h.heard[2].got = slices.DeleteFunc(h.heard[2].got, func(a arrival) bool { return a.from == 1 && a.seq == 3 })
		}, verdict{lost: 1}, "both: lost 3-3 of pub-1"},
		{name: "not acknowledged and delivered", spin: func(h *history) { h.heard[2].repeat(1, 10, 10) }},
		{name: "not acknowledged and not delivered", spin: func(h *history) {
			h.sent[0].acked[9] = 0
			h.heard[1].got = h.heard[1].got[:9]
		}},
		{"two that changed places", func(h *history) { got := h.heard[0].got; got[3], got[4] = got[4], got[3] },
			verdict{reordered: 1}, "one: got 4 of pub-0 at 1.030 s, after 5; 24 ms before kill 1"},
		{"one that came very late", func(h *history) {
			got := h.heard[1].got
			h.heard[1].got = append(slices.Delete(slices.Clone(got), 0, 1), got[0])
		}, verdict{reordered: 1}, "two: got 1 of pub-0"},
		{name: "the order between two publishers", spin: func(h *history) { got := h.heard[2].got; got[3], got[4] = got[4], got[3] }},
		{"one again at QoS 2", func(h *history) { h.heard[1].repeat(0, 7, 7) },
			verdict{excess: 1}, "two: got 7 of pub-0 again at 1.599 s, 100 ms after start 1"},
		{"one sent again at QoS 2", func(h *history) {
			h.sent[0].again = map[uint32]int{7: 1}
			h.heard[1].repeat(0, 7, 7)
		}, verdict{excess: 1}, "two: got 7 of pub-0 again"},
		{name: "a window again at QoS 1", spin: func(h *history) { h.heard[0].repeat(0, 4, 6) }},
		{"more than a window again", func(h *history) { h.heard[0].repeat(0, 4, 7) },
			verdict{excess: 1}, "one: got 4 messages again that were not sent again, 3 may be"},
		{"one again without a kill", func(h *history) {
			h.outages = nil
			h.heard[0].repeat(0, 4, 4)
		}, verdict{excess: 1}, "one: got 1 messages again that were not sent again, 0 may be"},
		{name: "one again for a client that lost its connection", spin: func(h *history) {
			h.outages, h.heard[0].losses = nil, 1
			h.heard[0].repeat(0, 4, 6)
		}},
		{name: "what was sent again", spin: func(h *history) {
			h.outages, h.sent[0].again = nil, map[uint32]int{4: 1, 5: 2}
			h.heard[0].repeat(0, 4, 5)
			h.heard[0].repeat(0, 5, 5)
		}},
		{"more often than it was sent again", func(h *history) {
			h.outages, h.sent[0].again = nil, map[uint32]int{4: 1, 5: 2}
			h.heard[0].repeat(0, 4, 4)
			h.heard[0].repeat(0, 4, 4)
		}, verdict{excess: 1}, "got 1 messages again"},
		{"a window again, and a lost one", func(h *history) {
			h.heard[0].got = slices.Delete(h.heard[0].got, 1, 2)
			h.heard[0].repeat(0, 4, 6)
		}, verdict{lost: 1}, "one: lost 2-2 of pub-0"},
		{"one that nobody sent", func(h *history) { h.heard[0].repeat(0, 11, 11) }, verdict{strange: 1}, "got message 11 of sender 0"},
		{"one of somebody else", func(h *history) { h.heard[0].repeat(1, 2, 2) }, verdict{strange: 1}, "got message 2 of sender 1"},
		{"number 0", func(h *history) { h.heard[0].repeat(0, 0, 0) }, verdict{strange: 1}, "got message 0 of sender 0"},
		{"a complaint", func(h *history) { h.complain = []string{"one: its session was gone"} }, verdict{}, "its session was gone"},
		{"many things", func(h *history) { h.heard[1].repeat(0, 1, 9) }, verdict{excess: 9}, "two: and 7 more lines"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := madeUp()
			c.spin(h)
			v := h.judge()
			if v.lost != c.want.lost || v.reordered != c.want.reordered || v.excess != c.want.excess || v.strange != c.want.strange || v.behind != c.want.behind {
				t.Errorf("got %+v\nwant %+v", *v, c.want)
			}
			if all := strings.Join(v.text, "\n"); !strings.Contains(all, c.say) || (c.say == "") != (all == "") {
				t.Errorf("it says %q, want %q", all, c.say)
			}
		})
	}
}

// TestDurablePayload: a message that was damaged on its way is not taken for one that
// was sent.
func TestDurablePayload(t *testing.T) {
	for _, seq := range []uint32{1, 255, 256, 257, 1 << 20} {
		b := appendPayload(nil, 7, seq)
		if from, got, ok := readPayload(b); !ok || from != 7 || got != seq || len(b) != payloadBytes {
			t.Errorf("%d came back as %d of %d, %v", seq, got, from, ok)
		}
		for i := 6; i < len(b); i++ { // before that are the numbers, which the judge knows
			b[i] ^= 1
			if _, got, ok := readPayload(b); ok {
				t.Errorf("%d: a bit of byte %d turned, and it is taken for %d", seq, i, got)
			}
			b[i] ^= 1
		}
	}
}
