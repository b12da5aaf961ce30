package broker

import (
	"fmt"
	"testing"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/view"
)

// A session that is far behind goes through its backlog in order, each message once, and
// asks the index once for a thousand of them.
func TestABacklogIsLookedForOnceForManyPortions(t *testing.T) {
	for _, n := range []int{1, 63, 64, 65, 1087, 1088, 1089, 5000} {
		backlog := make([]view.Posting, n)
		for i := range backlog {
			backlog[i] = view.Posting{Seq: store.Seq(3 * (i + 1)), Bytes: uint32(100 + i%50)} //nolint:gosec // small
		}
		upTo := backlog[n-1].Seq + 7
		var next *plan
		looks, at, pos := 0, 0, store.Seq(0)
		for pos < upTo {
			p := &portion{messagesMax: 1_000_000, bytesMax: 1 << 30}
			if next != nil && next.after == pos {
				p.plan = next
				p.upTo = next.upTo
				p.take(next.list, next.tail, next.last)
			} else {
				looks++
				p.upTo, p.waits = upTo, lag{messages: n - at}
				p.choose(backlog[at:])
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
