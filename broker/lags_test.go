package broker

import (
	"cmp"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
	"github.com/redoubtmq/redoubt/store/view"
)

// lagsOneByOne asks every session about every posting.
func lagsOneByOne(sessions []*view.Session, postings func(fn func(id fact.FilterID, p view.Posting) error) error) ([]Lag, error) {
	type interest struct {
		of    int
		after store.Seq
	}
	wants := make(map[fact.FilterID][]interest)
	for k, s := range sessions {
		for i := range s.Subs {
			sub := &s.Subs[i]
			if sub.QoS == 0 {
				continue
			}
			wants[sub.ID] = append(wants[sub.ID], interest{k, max(sub.Start, s.Out.Cursor)})
		}
		wants[0] = append(wants[0], interest{k, s.Out.Cursor}) // what too many filters wanted
	}
	lags := make([]Lag, len(sessions))
	err := postings(func(id fact.FilterID, p view.Posting) error {
		for _, w := range wants[id] {
			if p.Seq <= w.after {
				continue
			}
			l := &lags[w.of]
			if l.First == 0 {
				l.First = p.Seq
			}
			l.First, l.Last = min(l.First, p.Seq), max(l.Last, p.Seq)
			if id != 0 { // who wants a broad message is not known before it is read
				l.Messages++
				l.Bytes += int64(p.Bytes)
			}
		}
		return nil
	})
	return lags, err
}

type posted struct {
	id fact.FilterID
	p  view.Posting
}

// lagsOf is what waits for each of the sessions, in their order.
func lagsOf(sessions []*view.Session, postings func(fn func(id fact.FilterID, p view.Posting) error) error) ([]Lag, error) {
	var w Waiters
	w.Expect(len(sessions))
	for _, s := range sessions {
		w.Add(s)
	}
	return w.Lags(postings)
}

// What waits is what asking every session about every posting would find, in whatever parts
// the postings come.
func TestLagsAreThoseOfEachPosting(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var sessions []*view.Session
		for i := range rapid.IntRange(0, 5).Draw(t, "sessions") {
			s := &view.Session{SID: store.SID{byte(i + 1)}}
			s.Out.Cursor = store.Seq(rapid.IntRange(0, 40).Draw(t, "cursor"))
			for range rapid.IntRange(0, 3).Draw(t, "subs") {
				s.Subs = append(s.Subs, view.Sub{Subscription: fact.Subscription{ID: fact.FilterID(rapid.IntRange(1, 4).Draw(t, "filter")), QoS: uint8(rapid.IntRange(0, 1).Draw(t, "qos"))}, Start: store.Seq(rapid.IntRange(0, 40).Draw(t, "start"))})
			}
			sessions = append(sessions, s)
		}
		var all []posted
		for seq := range store.Seq(40) {
			for id := range fact.FilterID(5) {
				if rapid.Bool().Draw(t, "posted") {
					all = append(all, posted{id, view.Posting{Seq: seq + 1, Bytes: uint32(seq)}})
				}
			}
		}
		part := store.Seq(rapid.IntRange(1, 40).Draw(t, "part"))
		slices.SortFunc(all, func(a, b posted) int {
			return cmp.Or(cmp.Compare(a.p.Seq/part, b.p.Seq/part), cmp.Compare(a.id, b.id), cmp.Compare(a.p.Seq, b.p.Seq))
		})
		postings := func(fn func(id fact.FilterID, p view.Posting) error) error {
			for _, p := range all {
				if err := fn(p.id, p.p); err != nil {
					return err
				}
			}
			return nil
		}
		got, err := lagsOf(sessions, postings)
		want, _ := lagsOneByOne(sessions, postings)
		if err != nil || !reflect.DeepEqual(got, want) {
			for i := range min(len(got), len(want)) {
				t.Logf("%d: %+v, want %+v", i, got[i], want[i])
			}
			t.Fatalf("%d lags, want %d; %v", len(got), len(want), err)
		}
	})
}

// Many sessions and many broad messages are not multiplied.
func TestLagsOfManyBroadMessages(t *testing.T) {
	const many = 20_000
	sessions := make([]*view.Session, many)
	for i := range sessions {
		sessions[i] = &view.Session{SID: store.SID{byte(i), byte(i >> 8)}}
		sessions[i].Out.Cursor = store.Seq(i)
	}
	lags, err := lagsOf(sessions, func(fn func(id fact.FilterID, p view.Posting) error) error {
		for seq := range store.Seq(many) {
			if err := fn(0, view.Posting{Seq: seq + 1, Bytes: 1}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || len(lags) != many || lags[7] != (Lag{First: 8, Last: many}) {
		t.Errorf("%d lags, %v", len(lags), err)
	}
}
