package broker

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/view"
)

// shelf is an index of n messages for everybody, numbered 3, 6, 9, ..., that are nowhere.
type shelf struct {
	Index
	n     int
	asked int // looks
	most  int // the largest answer
}

func (s *shelf) posting(i int) view.Posting {
	return view.Posting{Seq: store.Seq(3 * (i + 1)), Bytes: uint32(100 + i*7919%50)} //nolint:gosec // small
}

func (s *shelf) upTo() store.Seq { return store.Seq(3*s.n + 7) }

func (s *shelf) Pending(q *view.Query, dst []view.Posting) (list []view.Posting, upTo store.Seq, err error) {
	s.asked++
	for i := int(q.After / 3); i < s.n && (q.Before == 0 || s.posting(i).Seq < q.Before); i++ {
		if q.Most > 0 && len(dst) == q.Most {
			return dst, dst[len(dst)-1].Seq, nil
		}
		dst = append(dst, s.posting(i))
		s.most = max(s.most, len(dst))
	}
	return dst, s.upTo(), nil
}

// A session that is far behind goes through its backlog in order, each message once, and
// asks the index once for a thousand of them.
func TestABacklogIsLookedForOnceForManyPortions(t *testing.T) {
	for _, n := range []int{1, 63, 64, 65, 1087, 1088, 1089, 5000} {
		ix := &shelf{n: n}
		backlog, _, _ := ix.Pending(&view.Query{}, nil)
		upTo := ix.upTo()
		var next *plan
		looks, at, pos := 0, 0, store.Seq(0)
		for pos < upTo {
			p := &portion{limits: queueLimits{1_000_000, 1 << 30}}
			if next != nil && next.after == pos {
				p.plan = next
				p.upTo = next.upTo
				p.take(next.list, next.tail, next.last)
			} else {
				looks++
				p.query.After, p.waits = pos, lag{messages: n - at, last: backlog[n-1].Seq}
				if err := p.look(ix); err != nil {
					t.Fatal(err)
				}
			}
			for _, seq := range p.seqs {
				if seq != backlog[at].Seq {
					t.Fatalf("%d: message %d is %d, want %d", n, at, seq, backlog[at].Seq)
				}
				at++
			}
			if at < n != (p.left.first != 0) || at < n && (p.left.first != backlog[at].Seq || p.left.last != backlog[n-1].Seq || p.pos != backlog[at].Seq-1) {
				t.Fatalf("%d: after %d: %s", n, at, fmt.Sprintf("left %+v, pos %d", p.left, p.pos))
			}
			next, pos = p.plan, p.pos
		}
		if want := (n + 64 + planMax - 1) / (64 + planMax); at != n || looks != want {
			t.Errorf("%d: %d came, %d looks, want %d", n, at, looks, want)
		}
	}
}

// twinSurplus is surplus of a list that is in memory whole.
func twinSurplus(list []view.Posting, waits *lag, most queueLimits) (n int, dropped int64) {
	bytes := int64(0)
	for i := range list {
		bytes += int64(list[i].Bytes)
	}
	over, overBytes := min(waits.messages, len(list))-most.messages, min(waits.bytes, bytes)-most.bytes
	for n+1 < len(list) && (over > n || overBytes > dropped) {
		dropped += int64(list[n].Bytes)
		n++
	}
	return n, dropped
}

// What is over the limits is the same as if all of it was looked at at once.
func TestSurplusIsThatOfTheWhole(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range testkit.Seeds(20, 300) {
		ix := &shelf{n: []int{0, 1, 2, 10, 1000, lookMax - 1, lookMax, lookMax + 1, 2 * lookMax, 150_000}[random.IntN(10)]}
		some := func() int { return random.IntN(ix.n + ix.n/4 + 2) }
		q := view.Query{After: store.Seq(some())} //nolint:gosec // small
		list, _, _ := ix.Pending(&q, nil)
		ix.most = 0
		waits, most := lag{messages: some(), bytes: int64(some()) * 130}, queueLimits{max(1, some()), max(1, int64(some())*120)}
		n, dropped, from, err := most.surplus(ix, q, &waits)
		wantN, wantDropped := twinSurplus(list, &waits, most)
		if err != nil || n != wantN || dropped != wantDropped || n > 0 && from != list[n].Seq || ix.most > lookMax {
			t.Fatalf("%d messages, %+v wait, limits %+v: %d, %d bytes, from %d, %v; want %d, %d; %d at once", len(list), waits, most, n, dropped, from, err, wantN, wantDropped, ix.most)
		}
	}
}

// A session that was away for millions of messages has the next ones found in the memory of
// a few, also when most of them are over its limits.
func TestABacklogOfMillionsTakesLittleMemory(t *testing.T) {
	const n = 5_000_000
	for _, most := range []queueLimits{{1000, 1 << 40}, {n + 1, 1 << 40}} {
		ix := &shelf{n: n}
		p := &portion{limits: most, waits: lag{messages: n, bytes: 1 << 30, last: 3 * n}}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if err := p.look(ix); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		want := max(0, n-most.messages)
		if p.dropped != want || !slices.Equal(p.seqs[:2], []store.Seq{ix.posting(want).Seq, ix.posting(want + 1).Seq}) || p.left.last != 3*n {
			t.Errorf("%+v: %d dropped, %v comes", most, p.dropped, p.seqs[:2])
		}
		if spent := after.TotalAlloc - before.TotalAlloc; spent > 16<<20 || ix.most > lookMax {
			t.Errorf("%+v: it took %d bytes, %d at once", most, spent, ix.most)
		}
	}
}
