package delay

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/redoubtmq/redoubt/mqtt"
)

var plenty = Limits{Messages: 1000, Bytes: 1 << 30, OwnerMessages: 1000, OwnerBytes: 1 << 30}

func at(ms int64) time.Time { return time.UnixMilli(ms) }

func frame(payload string) *mqtt.Frame { return mqtt.NewFrame([]byte("a"), nil, []byte(payload)) }

// put puts a message and lets go of it, as its publisher does.
func put(t testing.TB, s *Store[string], payload string, due int64, owner string) uint64 {
	t.Helper()
	f := frame(payload)
	defer f.Release()
	id, err := s.Put(f, due, owner, "by "+owner)
	if err != nil {
		t.Fatalf("Put(%s): %v", payload, err)
	}
	return id
}

// texts answers the payloads, and releases the frames if they are the caller's.
func texts(out []Message[string], ours bool) string {
	var s []string
	for _, m := range out {
		s = append(s, string(m.Frame.Payload()))
		if ours {
			m.Frame.Release()
		}
	}
	return strings.Join(s, " ")
}

// Messages come out when they are due, the earliest first, and of one moment in
// the order in which they came.
func TestDueInOrder(t *testing.T) {
	s := New[string](NewAccount(plenty))
	if !s.Next().IsZero() || s.Len() != 0 {
		t.Error("an empty store has something to do")
	}
	for i, due := range []int64{50, 10, 50, 30, 10, 50} {
		put(t, s, fmt.Sprintf("%d@%d", i, due), due, "o")
	}
	if s.Next() != at(10) || s.Len() != 6 {
		t.Errorf("next is at %v, of %d", s.Next(), s.Len())
	}
	for _, c := range []struct {
		now  int64
		max  int
		want string
	}{
		{9, 10, ""}, {10, 0, ""}, {10, 1, "1@10"}, {29, 10, "4@10"}, {49, 10, "3@30"}, {60, 2, "0@50 2@50"}, {60, 2, "5@50"}, {99, 2, ""},
	} {
		if got := texts(s.Due(at(c.now), c.max, nil), true); got != c.want {
			t.Errorf("at %d, at most %d: %q, want %q", c.now, c.max, got, c.want)
		}
	}
	put(t, s, "late", 10, "o") // its time has passed when it comes
	out := s.Due(at(5000), 10, []Message[string]{{}})
	if len(out) != 2 || out[1].Owner != "o" || out[1].By != "by o" || out[1].Due != 10 || out[1].ID != 7 {
		t.Errorf("%+v", out)
	}
	out[1].Frame.Release()
	if n, bytes := s.account.Held(); n != 0 || bytes != 0 || !s.Next().IsZero() {
		t.Errorf("left: %d messages, %d bytes", n, bytes)
	}
}

// The limits are of all stores together, in messages and in bytes, and what is
// refused changes nothing (A066).
func TestLimits(t *testing.T) {
	size := sizeOf(frame("x"), "ann")
	for name, c := range map[string]struct {
		max  Limits
		want error
	}{
		"messages":   {Limits{2, 1 << 30, 9, 1 << 30}, ErrTotal},
		"bytes":      {Limits{9, 2*size + size/2, 9, 1 << 30}, ErrTotal},
		"of owner":   {Limits{9, 1 << 30, 2, 1 << 30}, ErrOwner},
		"its bytes":  {Limits{9, 1 << 30, 9, 2*size + size/2}, ErrOwner},
		"no message": {Limits{}, ErrOwner},
	} {
		acc := NewAccount(c.max)
		a, b := New[string](acc), New[string](acc)
		f := frame("x")
		if name != "no message" {
			put(t, a, "x", 10, "ann")
			put(t, b, "x", 10, "ann") // another loop, the same owner
		}
		before, bytes := acc.Held()
		if id, err := a.Put(f, 10, "ann", ""); err != c.want || id != 0 {
			t.Errorf("%s: over the limit: %d, %v", name, id, err)
		}
		if n, now := acc.Held(); n != before || now != bytes || a.Len()+b.Len() != n {
			t.Errorf("%s: a refusal counts: %d messages, %d bytes", name, n, now)
		}
		_, err := a.Put(f, 10, "bob", "")
		if want := c.want; (err != nil) != (want == ErrTotal || name == "no message") {
			t.Errorf("%s: another owner: %v", name, err)
		}
		a.Clear()
		if name != "no message" {
			put(t, b, "x", 10, "ann") // there is room again
		}
		b.Clear()
		if n, now := acc.Held(); n != 0 || now != 0 || len(acc.owners) != 0 {
			t.Errorf("%s: left: %d messages, %d bytes, %d owners", name, n, now, len(acc.owners))
		}
		acc.SetMax(plenty)
		put(t, a, "x", 10, "ann")
		if n, now := acc.HeldBy("ann"); n != 1 || now != size {
			t.Errorf("%s: ann holds %d, %d bytes of %d", name, n, now, size)
		}
		acc.SetMax(Limits{}) // takes nothing away
		if got := texts(a.Due(at(10), 10, nil), true); got != "x" {
			t.Errorf("%s: lower limits took what waited: %q", name, got)
		}
		f.Release()
	}
}

// A message may be kept without a time, and one that was taken before is not refused.
func TestSetAndRestore(t *testing.T) {
	acc := NewAccount(Limits{1, 1 << 30, 1, 1 << 30})
	s := New[string](acc)
	f := frame("x")
	defer f.Release()
	id, err := s.Put(f, Never, "ann", "")
	if err != nil || !s.Next().IsZero() || s.Due(at(1<<50), 9, nil) != nil || s.Len() != 1 {
		t.Errorf("without a time: next %v, %v", s.Next(), err)
	}
	back := s.Restore(f, 20, "ann", "")
	if n, _ := acc.HeldBy("ann"); n != 2 || back <= id {
		t.Errorf("%d are counted", n)
	}
	if _, err := s.Put(f, 1, "bob", ""); err != ErrTotal {
		t.Errorf("over the limit: %v", err)
	}
	if !s.Set(id, 10) || s.Next() != at(10) || !s.Set(id, 30) || s.Next() != at(20) {
		t.Errorf("next %v", s.Next())
	}
	if got := s.Due(at(30), 9, nil); len(got) != 2 || got[0].ID != back || got[1].ID != id || texts(got, true) != "x x" {
		t.Errorf("due: %+v", got)
	}
	if s.Set(id, 1) || s.Set(back+1, 1) {
		t.Error("what waits no more has a time")
	}
	if n, bytes := acc.Held(); n != 0 || bytes != 0 {
		t.Errorf("left: %d messages, %d bytes", n, bytes)
	}
}

func TestListAndDelete(t *testing.T) {
	s := New[string](NewAccount(plenty))
	var ids []uint64
	for i := range 10 {
		ids = append(ids, put(t, s, fmt.Sprint(i), int64(100-i), "o"))
	}
	if got := texts(s.List(0, 3, nil), false); got != "0 1 2" {
		t.Errorf("the first three: %q", got)
	}
	if got := texts(s.List(ids[2], 100, nil), false); got != "3 4 5 6 7 8 9" {
		t.Errorf("the rest: %q", got)
	}
	if got := s.List(ids[9], 100, nil); got != nil {
		t.Errorf("behind the last: %v", got)
	}
	if got := s.List(^uint64(0), 100, nil); got != nil {
		t.Errorf("behind all there can be: %v", got)
	}
	for _, i := range []int{3, 4} {
		if !s.Delete(ids[i]) || s.Delete(ids[i]) {
			t.Errorf("%d was not deleted exactly once", i)
		}
	}
	if s.Delete(0) || s.Delete(ids[9]+1) {
		t.Error("deleted what was never there")
	}
	if got := texts(s.List(ids[1], 3, nil), false); got != "2 5 6" {
		t.Errorf("around what was deleted: %q", got)
	}
	if got := texts(s.Due(at(1000), 100, nil), true); got != "9 8 7 6 5 2 1 0" {
		t.Errorf("due: %q", got)
	}
	if s.Delete(ids[0]) {
		t.Error("deleted what has been published")
	}
}

// The store holds one reference to what waits: Due gives it away, Delete and Clear
// give it back.
func TestReferences(t *testing.T) {
	lastReleased := func(f *mqtt.Frame) (yes bool) {
		defer func() { yes = recover() != nil }()
		f.Release()
		return false
	}
	s := New[string](NewAccount(plenty))
	frames := map[string]*mqtt.Frame{}
	ids := map[string]uint64{}
	for i, what := range []string{"due", "deleted", "cleared"} {
		f := frame(what)
		id, err := s.Put(f, int64(i), "o", "")
		if err != nil {
			t.Fatal(err)
		}
		frames[what], ids[what] = f, id
	}
	out := s.Due(at(0), 1, nil)
	s.Delete(ids["deleted"])
	if n := s.Clear(); n != 1 {
		t.Errorf("%d cleared", n)
	}
	if out[0].Frame != frames["due"] {
		t.Fatal("another frame")
	}
	out[0].Frame.Release()
	for what, f := range frames { // ours is the last
		f.Hold()
		f.Release()
		if lastReleased(f) || !lastReleased(f) {
			t.Errorf("%s: the store does not have given back exactly one reference", what)
		}
	}
}

// Nothing is left of a store that was full once (A042).
func TestSmallAgain(t *testing.T) {
	s := New[string](NewAccount(Limits{1 << 20, 1 << 40, 1 << 20, 1 << 40}))
	for i := range 10_000 {
		put(t, s, "x", int64(i), fmt.Sprint(i))
	}
	for s.Len() > 10 {
		for _, m := range s.Due(at(20_000), min(1000, s.Len()-10), nil) {
			m.Frame.Release()
		}
	}
	if cap(s.arrived) > 40 || cap(s.byDue) > 40 {
		t.Errorf("room for %d and %d of 10", cap(s.arrived), cap(s.byDue))
	}
	if s.Clear(); len(s.account.owners) != 0 || cap(s.arrived) > 40 {
		t.Errorf("left: %d owners, room for %d", len(s.account.owners), cap(s.arrived))
	}
}

// Random messages in two stores against a plain list.
func TestAgainstTwin(t *testing.T) {
	type waiting struct {
		id    uint64
		due   int64
		owner string
	}
	rapid.Check(t, func(t *rapid.T) {
		max := Limits{Messages: 20, Bytes: 1 << 30, OwnerMessages: rapid.IntRange(5, 30).Draw(t, "per owner"), OwnerBytes: 1 << 30}
		acc := NewAccount(max)
		stores := [2]*Store[string]{New[string](acc), New[string](acc)}
		var twins [2][]waiting
		now := int64(0)
		count := func(owner string) (all, own int) {
			for _, w := range twins {
				all += len(w)
				for _, m := range w {
					if m.owner == owner {
						own++
					}
				}
			}
			return all, own
		}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			k := rapid.IntRange(0, 1).Draw(t, "store")
			s, w := stores[k], &twins[k]
			switch rapid.IntRange(0, 5).Draw(t, "op") {
			case 0, 1, 2:
				owner := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "owner")
				due := now + rapid.Int64Range(0, 20).Draw(t, "in")
				f := frame("x")
				id, err := s.Put(f, due, owner, "")
				f.Release()
				all, own := count(owner)
				if full := all == max.Messages || own == max.OwnerMessages; (err != nil) != full {
					t.Fatalf("Put with %d of all and %d of %s: %v", all, own, owner, err)
				}
				if err == nil {
					*w = append(*w, waiting{id, due, owner})
				}
			case 3:
				now += rapid.Int64Range(0, 10).Draw(t, "pass")
				most := rapid.IntRange(0, 5).Draw(t, "max")
				sorted := slices.Clone(*w)
				slices.SortStableFunc(sorted, func(a, b waiting) int { return int(a.due - b.due) })
				for _, m := range s.Due(at(now), most, nil) {
					if len(sorted) == 0 || m.ID != sorted[0].id || m.Due != sorted[0].due || m.Due > now || m.Owner != sorted[0].owner {
						t.Fatalf("Due at %d = %+v, want %v", now, m, sorted)
					}
					*w = slices.DeleteFunc(*w, func(x waiting) bool { return x.id == m.ID })
					sorted, most = sorted[1:], most-1
					m.Frame.Release()
				}
				if most > 0 && len(sorted) > 0 && sorted[0].due <= now {
					t.Fatalf("%v is due at %d and was left", sorted[0], now)
				}
			case 4:
				id := rapid.Uint64Range(0, 60).Draw(t, "id")
				was := len(*w)
				*w = slices.DeleteFunc(*w, func(x waiting) bool { return x.id == id })
				if got := s.Delete(id); got != (len(*w) < was) {
					t.Fatalf("Delete(%d) = %t", id, got)
				}
			default:
				after := rapid.Uint64Range(0, 60).Draw(t, "after")
				var want, got []uint64
				for _, x := range *w {
					if x.id > after && len(want) < 3 {
						want = append(want, x.id)
					}
				}
				for _, m := range s.List(after, 3, nil) {
					got = append(got, m.ID)
				}
				if !slices.Equal(got, want) {
					t.Fatalf("List(%d) = %v, want %v", after, got, want)
				}
			}
			all, _ := count("")
			if n, _ := acc.Held(); n != all || s.Len() != len(*w) || s.Next().IsZero() != (len(*w) == 0) {
				t.Fatalf("%d held, want %d; %d in this store, want %d", n, all, s.Len(), len(*w))
			}
		}
		for _, s := range stores {
			s.Clear()
		}
		if n, bytes := acc.Held(); n != 0 || bytes != 0 || len(acc.owners) != 0 {
			t.Fatalf("left: %d messages, %d bytes, %v", n, bytes, acc.owners)
		}
	})
}
